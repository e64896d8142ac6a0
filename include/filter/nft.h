/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_NFT_H
#define POSTERN_FILTER_NFT_H

#include "filter/ruleset.h"

/*
 * The only place that knows libnftables: commits, lists and watches one table. Needs CAP_NET_ADMIN. Everything is synchronous. The
 * library ends the process when memory is out.
 */
struct nft;

#define NFT_ERROR 1024

/* `table` is its name in the family inet: a letter or "_", then letters, digits, "_" and "-", less than 64 characters. NULL:
 * `error` of NFT_ERROR bytes says why. */
MUST_CHECK struct nft *nft_open(const char *table, char *error);
void nft_close(struct nft *n);

/* One transaction: all of it or nothing. false: nothing has changed, and `error` is one line: what the kernel or the parser
 * said, and behind it the line of `text` that is meant. */
MUST_CHECK bool nft_commit(struct nft *n, const char *text, char *error);
/* The same, and `listing` is what nft_list(n, true) says of it; NULL also if anybody changed the ruleset in between, since it may
 * then be theirs. */
MUST_CHECK bool nft_commit_listed(struct nft *n, const char *text, char **listing, char *error);
/* nft_commit() without changing anything. */
MUST_CHECK bool nft_try(struct nft *n, const char *text, char *error);

/* The committed table as nft prints it: with counters and timeouts for people, or (`bare`) without counters and without what the
 * block sets hold, to be compared. malloc'd; "" if the table is not there; NULL: error. */
MUST_CHECK char *nft_list(struct nft *n, bool bare);

/* What the sets of blocked addresses hold, with the seconds left (1 at least; UINT32_MAX: without an end, put there by hand); at
 * most `max`. Ranges that are no network are left out. Returns how many; 0 also if it cannot be asked. */
size_t nft_blocks(struct nft *n, struct ruleset_block *out, size_t max);
/* Adds, or sets the time of what is there; removes. `seconds` is 1 at least. false: `error`. Removing what is not there is true;
 * but a network that overlaps with another blocked one is neither added nor removed: the error names the other. */
MUST_CHECK bool nft_block(struct nft *n, const struct network *network, uint32_t seconds, char *error);
MUST_CHECK bool nft_unblock(struct nft *n, const struct network *network, char *error);

/* Packets of the counter in the rule with this comment, summed over all such rules; 0 if there is none. */
uint64_t nft_counter(struct nft *n, const char *comment);

/* Base chains of all other tables, of every family, that packets pass; at most `max`. false: they cannot be listed. */
struct nft_chain {
    char name[192]; /* "FAMILY TABLE CHAIN", as nft takes it */
    char hook[16];
    bool drops; /* its policy is drop */
};
MUST_CHECK bool nft_others(struct nft *n, struct nft_chain *out, size_t max, size_t *count);

/*
 * Changes by others: a descriptor that becomes readable when the ruleset of this network namespace changed (NFNLGRP_NFTABLES).
 * nft_watch_read() takes what is there; true: something was changed by another socket than ours, in this table or in another, or
 * events were lost; whether it matters, a bare listing tells.
 */
int nft_watch_fd(const struct nft *n);
bool nft_watch_read(struct nft *n);

#endif
