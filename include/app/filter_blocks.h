/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_FILTER_BLOCKS_H
#define POSTERN_APP_FILTER_BLOCKS_H

#include "filter/ruleset.h"

/*
 * Who is blocked, and who is on the way to it: pure, with the time as a parameter (milliseconds, monotonic). The kernel's sets do
 * the blocking; this list is what they are filled with again when somebody has emptied them.
 */
#define BLOCKS_MAX 8192  /* networks blocked at once */
#define BLOCK_WHY 32     /* why it was, with the NUL: the name of a reason, or "operator" */
#define HOSTILE_MAX 8192 /* clients whose hostile events are counted at once */
#define HOSTILE_WINDOW_MS 60000u

struct blocks;

struct block {
    struct network network;
    uint64_t until_ms;
    char why[BLOCK_WHY];
};

MUST_CHECK struct blocks *blocks_new(void);
void blocks_free(struct blocks *b);
/* Adds or prolongs; false: the list is full. */
MUST_CHECK bool blocks_add(struct blocks *b, const struct network *network, uint64_t until_ms, const char *why);
/* false: it is not in the list. */
bool blocks_remove(struct blocks *b, const struct network *network);
/* Is this very network on the list? */
bool blocks_holds(struct blocks *b, const struct network *network, uint64_t now_ms);
/* Is this address in one of the networks? */
bool blocks_has(const struct blocks *b, const struct addr *address, uint64_t now_ms);
/* Forgets what ran out; returns how many are left. */
size_t blocks_expire(struct blocks *b, uint64_t now_ms);
size_t blocks_count(const struct blocks *b);
const struct block *blocks_at(const struct blocks *b, size_t index);
/* All that have time left, rounded up to seconds, as the ruleset takes them; malloc'd, NULL: no memory. */
MUST_CHECK struct ruleset_block *blocks_list(const struct blocks *b, uint64_t now_ms, size_t *count);

/* The network that stands for a client: IPv4 /32, IPv6 /64. */
struct network block_network(const struct addr *client);

/* Hostile events of clients in a sliding minute. A full table forgets the client with the fewest. */
struct hostile;

MUST_CHECK struct hostile *hostile_new(void);
void hostile_free(struct hostile *h);
/* One more; returns how many there were in the last minute, this one included. */
uint32_t hostile_count(struct hostile *h, const struct addr *client, uint64_t now_ms);
/* Begins anew for this client. */
void hostile_forget(struct hostile *h, const struct addr *client);

#endif
