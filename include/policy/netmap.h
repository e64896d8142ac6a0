/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_NETMAP_H
#define POSTERN_POLICY_NETMAP_H

#include "base/addr.h"
#include "policy/sets.h"

/* From an address to the set of policies that name a network that it lies in. The cost is that of one binary search. */
struct netmap {
    struct netmap_node *nodes; /* of IPv4, then of IPv6 */
    size_t count[2];
    uint32_t none; /* for addresses in no network */
};

struct netmap_item {
    struct network network;
    uint32_t member;
};

/*
 * Builds it of items, which are sorted in place. Every set holds the members of `none` too. false: no memory.
 */
MUST_CHECK bool netmap_build(struct netmap *map, struct netmap_item *items, size_t count, struct sets *sets, uint32_t none);
void netmap_fini(struct netmap *map);
/* The number of the set. Family 0 lies in no network. */
uint32_t netmap_find(const struct netmap *map, const struct addr *address);

#endif
