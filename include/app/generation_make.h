/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_GENERATION_MAKE_H
#define POSTERN_APP_GENERATION_MAKE_H

#include "base/hash.h"
#include "policy/generation.h"

#include <stdio.h>

/* A compiled hosts file, and of which text: its length and its hash under a random key that nobody else knows. */
struct hosts_set {
    int fd; /* -1: none */
    struct hash_key key;
    uint64_t digest;
    size_t bytes, bad_lines, first_bad;
};

/*
 * A generation as the monitor keeps it: the configuration, read and found good, and sealed memory files from which every other
 * process makes its own struct generation (app/generation_load.h).
 */
struct blueprint {
    uint16_t number;
    struct conf *conf;
    int text_fd, hosts_fd;
    struct hosts_set *sets;   /* one a policy */
    struct span *tls_secrets; /* the keys among them, mapped and locked here until they are wiped; others are empty */
    int keylog_fd;            /* -1: none */
    int *tls_fds; /* one for each of conf->tls_files; the minter's key is the open file itself, which nobody but the minter reads */
    int64_t *tls_ends; /* likewise, when the certificate in it ends, in seconds of wall time; 0: there is none that we show */
    struct addr servers[RESOLVER_SERVERS];
    size_t server_count;
    char instance[INSTANCE_TEXT];
};

/*
 * Reads the configuration at `path` (NULL: the embedded default) and every file that it names. All errors are written to `errors`,
 * a line each, all warnings to `warnings`. Hosts files with the same text as one of `before` (NULL: there is none) are not compiled
 * again. NULL: there was an error. The caller frees it with blueprint_free().
 */
MUST_CHECK struct blueprint *blueprint_make(const char *path, uint16_t number, const char *instance, const struct blueprint *before,
                                            FILE *errors, FILE *warnings);
void blueprint_free(struct blueprint *b);
/* Sends it, without listeners and without the final IPC_COMMIT. false with errno set. */
MUST_CHECK bool blueprint_send(const struct blueprint *b, int ipc);

#endif
