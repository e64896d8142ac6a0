/* SPDX-License-Identifier: ISC */
/*
 * Removing what posternd leaves in the kernel, when none runs: the rules stay when it dies or stops (on_exit = "closed"), so there
 * must be one command that takes them away. The folder's lock is held meanwhile, so that none is started in between.
 */
#include "app/teardown.h"

#include "app/generation_make.h"
#include "app/runtime_dir.h"
#include "filter/nft.h"
#include "filter/policy_route.h"

#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_TABLE "postern"

static bool commit_removal(struct nft *nft, const char *table, char *error)
{
    char *text = ruleset_removal(table);
    bool good = text != NULL && nft_commit(nft, text, error);

    if (text == NULL)
        snprintf(error, NFT_ERROR, "no memory");
    free(text);
    return good;
}

static bool remove_table(const char *table)
{
    char error[NFT_ERROR] = "it cannot be listed";
    struct nft *nft = nft_open(table, error);
    char *listing = nft != NULL ? nft_list(nft, true) : NULL;
    bool there = listing != NULL && listing[0] != '\0', good = listing != NULL;

    if (there)
        good = commit_removal(nft, table, error);
    if (!good)
        fprintf(stderr, "posternd: table inet %s: %s\n", table, error);
    else
        printf("table inet %s: %s\n", table, there ? "removed" : "not there");
    free(listing);
    nft_close(nft);
    return good;
}

static bool remove_routing(void)
{
    bool there = policy_route_present(AF_INET) || policy_route_present(AF_INET6);
    char error[NFT_ERROR];
    bool good = policy_route_remove(error, sizeof(error));

    if (!good)
        fprintf(stderr, "posternd: policy routing: %s\n", error);
    else
        printf("ip rule and routing table %u: %s\n", ROUTE_TABLE, there ? "removed" : "not there");
    return good;
}

static int teardown(const struct conf *conf)
{
    struct runtime_dir folder = { 0 };
    char error[NFT_ERROR];
    bool good;

    if (!runtime_dir_open(&folder, conf->runtime_dir, error, sizeof(error))) {
        fprintf(stderr, "posternd: %s\n", error);
        return 1;
    }
    good = remove_table(conf->packet_filter.line != 0 ? conf->packet_filter.table : DEFAULT_TABLE);
    good = remove_routing() && good;
    runtime_dir_close(&folder);
    return good ? 0 : 1;
}

int teardown_main(const char *path)
{
    struct blueprint *b;
    int status = 1;

    if (geteuid() != 0) {
        fputs("posternd: --teardown needs root\n", stderr);
        return 1;
    }
    b = blueprint_make(path, 1, "postern", stderr, stderr);
    if (b != NULL)
        status = teardown(b->conf);
    blueprint_free(b);
    return status;
}
