/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_RESOLVER_H
#define POSTERN_NET_RESOLVER_H

#include "base/addr.h"
#include "net/loop.h"

#define RESOLVER_ADDRESSES 16 /* of one name that are kept at most */

/*
 * Names to addresses, by DNS, in this process (c-ares). One channel for the life of the process, so that nothing is opened later;
 * one question for a name however many ask at once; a cache that obeys the TTL. It reads no file: the hosts file is the caller's.
 */
struct resolver;

/* TIMEOUT: no server answered, or none that could say. It is not remembered. */
enum resolver_result { RESOLVER_OK, RESOLVER_NO_NAME, RESOLVER_TIMEOUT };

/* NULL: no memory, or c-ares failed. */
MUST_CHECK struct resolver *resolver_new(struct loop *loop);
/* Open queries end without being told. */
void resolver_free(struct resolver *r);
/* New servers, and how long (ms) a name without addresses is remembered. If the servers changed, the cache is emptied and open
 * questions are put to the new ones. How long a look-up may take is the caller's to bound: it cancels. */
void resolver_configure(struct resolver *r, const struct addr *servers, size_t count, uint32_t negative_ttl);

struct resolver_query;
typedef void resolver_done(void *arg, enum resolver_result result, const struct addr *addresses, size_t count);

/* Does the cache know? Then *addresses points into it, until the loop's turn ends. */
bool resolver_cached(struct resolver *r, struct span name, enum resolver_result *result, const struct addr **addresses,
                     size_t *count);
/*
 * Asks for all addresses of `name` (normalised, no trailing dot). `done` is called later, once, unless the query is cancelled.
 * NULL: no memory, or too many questions are open.
 */
MUST_CHECK struct resolver_query *resolver_ask(struct resolver *r, struct span name, resolver_done *done, void *arg);
void resolver_cancel(struct resolver_query *q);

#endif
