/* SPDX-License-Identifier: ISC */
/*
 * Looking at a configuration without running it. It is read by the code that a start uses; what a start would do besides (open the
 * log, look up the user) is only looked at here, so that a check changes nothing. Root may also have the kernel look at the
 * ruleset.
 */
#include "app/check.h"

#include "app/files.h"
#include "app/generation_tls.h"
#include "app/identity.h"
#include "filter/nft.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool log_is_writable(const struct conf *conf)
{
    char copy[PATH_MAX];
    const char *place = conf->log_access;

    if (place == NULL || strcmp(place, "-") == 0)
        return true;
    snprintf(copy, sizeof(copy), "%s", place);
    if (access(place, F_OK) < 0)
        place = dirname(copy);
    if (access(place, W_OK) == 0)
        return true;
    fprintf(stderr, "%s:%u: log.access: %s: %s\n", conf->file, conf->lines.log_access, place, strerror(errno));
    return false;
}

static bool user_is_good(const struct conf *conf)
{
    struct identities who;
    char error[256];

    if (conf->user == NULL || identities_find(&who, conf->user, error, sizeof(error)))
        return true;
    fprintf(stderr, "%s:%u: user: %s\n", conf->file, conf->lines.user, error);
    return false;
}

/* The ruleset of this configuration; malloc'd, or NULL. Hosts files are nothing that packets are judged by. */
static char *compile(const struct conf *conf, const struct identities *who)
{
    struct hostset *files = calloc(conf->policy_count > 0 ? conf->policy_count : 1, sizeof(*files));
    struct rules *rules = files != NULL ? rules_new(conf, files) : NULL;
    struct ruleset_input in = {
        .conf = conf, .rules = rules, .workers = who->of[PROCESS_WORKER].uid, .filter = who->of[PROCESS_FILTER].uid
    };
    char *text = rules != NULL ? ruleset_text(&in) : NULL;

    rules_free(rules);
    free(files);
    return text;
}

/* Does the kernel take the ruleset? Asked without changing anything; only root can ask. */
static bool ruleset_is_good(const struct conf *conf)
{
    char error[NFT_ERROR] = "no memory for the ruleset", *text;
    struct identities who;
    struct nft *nft;
    bool good;

    if (conf->packet_filter.line == 0 || geteuid() != 0)
        return true;
    if (!identities_find(&who, conf->user, error, sizeof(error)))
        return true; /* said already */
    text = compile(conf, &who);
    nft = text != NULL ? nft_open(conf->packet_filter.table, error) : NULL;
    good = nft != NULL && nft_try(nft, text, error);
    if (!good)
        fprintf(stderr, "%s:%u: packet_filter: the kernel refuses the ruleset: %s\n", conf->file, conf->packet_filter.line, error);
    nft_close(nft);
    free(text);
    return good;
}

int check_configuration(const char *path)
{
    struct blueprint *b = blueprint_make(path, 1, "postern", NULL, stderr, stderr);
    bool good = b != NULL;

    if (good) {
        good = user_is_good(b->conf);
        good = blueprint_check_minter(b, stderr) && good;
        good = log_is_writable(b->conf) && good;
        good = ruleset_is_good(b->conf) && good;
    }
    blueprint_free(b);
    return good ? 0 : 1;
}

int check_print(const char *path)
{
    struct blueprint *b = blueprint_make(path, 1, "postern", NULL, stderr, stderr);
    char *text = b != NULL ? conf_print(b->conf) : NULL;
    bool good = text != NULL && fputs(text, stdout) >= 0 && fflush(stdout) == 0;

    free(text);
    blueprint_free(b);
    return good ? 0 : 1;
}
