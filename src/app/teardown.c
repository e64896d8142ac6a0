/* SPDX-License-Identifier: ISC */
/*
 * Removing what posternd leaves in the kernel, when none runs: the rules stay when it dies or stops (on_exit = "closed"), so there
 * must be one command that takes them away. The folder's lock and the table's are held meanwhile: none is started in between, and
 * nothing is taken from one that runs with another configuration.
 */
#include "app/teardown.h"

#include "app/generation_make.h"
#include "app/runtime_dir.h"
#include "app/table_lock.h"
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

static bool remove_all(const char *table)
{
    char error[TABLE_LOCK_ERROR];
    struct table_lock lock;
    bool good = table_lock_take(&lock, table, error);

    if (error[0] != '\0')
        fprintf(stderr, "posternd: %s\n", error);
    if (!good)
        return false;
    good = remove_table(table);
    good = remove_routing() && good;
    table_lock_drop(&lock);
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
    good = remove_all(conf->packet_filter.line != 0 ? conf->packet_filter.table : DEFAULT_TABLE);
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
    b = blueprint_make(path, 1, "postern", NULL, stderr, stderr);
    if (b != NULL)
        status = teardown(b->conf);
    blueprint_free(b);
    return status;
}
