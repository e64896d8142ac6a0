/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_PREFIXMAP_H
#define POSTERN_POLICY_PREFIXMAP_H

#include "policy/sets.h"

/* From a text to the set of policies that name a beginning of it. The cost is that of one binary search. */
struct prefixmap {
    struct prefixmap_node *nodes;
    size_t count;
    uint32_t none; /* for texts that begin with none of them */
};

struct prefixmap_item {
    struct span prefix; /* outlives the map */
    uint32_t member;
};

/*
 * Builds it of items, which are sorted in place. Every set holds the members of `none` too. false: no memory.
 */
MUST_CHECK bool prefixmap_build(struct prefixmap *map, struct prefixmap_item *items, size_t count, struct sets *sets,
                                uint32_t none);
void prefixmap_fini(struct prefixmap *map);
/* The number of the set of those whose prefix `text` begins with. */
uint32_t prefixmap_find(const struct prefixmap *map, struct span text);

#endif
