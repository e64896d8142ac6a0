/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_NFT_RUN_H
#define POSTERN_FILTER_NFT_RUN_H

#include "filter/nft.h"

struct mnl_socket;

/* What the files of nft*.c share; nobody else includes this. */
struct nft_watch {
    struct mnl_socket *socket;
    int own_socket;    /* of libnftables */
    uint32_t own_port; /* its netlink port; 0: not known, then every change counts as another's */
    unsigned seen;     /* transactions so far, whoever sent them */
};

struct nft {
    struct nft_ctx *context;
    struct nft_watch watch;
    char table[64];
};

/* Runs commands in nft's language. `flags` are NFT_CTX_OUTPUT_*. true: what was printed is in nft_output(), until the next call. */
MUST_CHECK bool nft_run(struct nft *n, unsigned flags, const char *text, char *error);
const char *nft_output(struct nft *n);

MUST_CHECK bool nft_watch_open(struct nft_watch *w); /* false with errno */
void nft_watch_close(struct nft_watch *w);
void nft_watch_find_port(struct nft_watch *w); /* after each run: libnftables binds its socket when it first sends */

#endif
