/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_FOREST_H
#define POSTERN_POLICY_FOREST_H

#include "policy/sets.h"

/*
 * How maps of nested things (networks, prefixes) are built. Sorted, each thing stands behind all that it lies in; what each knows
 * is the set of its own policies together with those of the thing around it.
 */
#define FOREST_NO_PARENT UINT32_MAX

/* What policies name: `count` items of `size` bytes, the number of the policy (uint32_t) `member` bytes into each. */
struct forest_items {
    void *at;
    size_t count, size, member;
    int (*compare)(const void *a, const void *b);
};

/* Makes a node of `item`. Returns where the number of its set stands, which is now that of the thing around it, or of none. */
typedef uint32_t *forest_append(void *map, const void *item);

/* Sorts the items in place and appends a node for each different one, in order. false: no memory. */
MUST_CHECK bool forest_build(const struct forest_items *items, struct sets *sets, forest_append *append, void *map);

#endif
