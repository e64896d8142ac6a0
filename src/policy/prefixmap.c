/* SPDX-License-Identifier: ISC */
/*
 * Prefixes as a forest, as networks are in netmap.c: sorted, each stands behind all that it begins with. Whatever stands between a
 * prefix of a text and the text begins with that prefix, too. So the longest prefix of a text is the last that is not behind it, or
 * is found on the way up its parents; and what each knows is the set of its own policies together with those of its parents.
 */
#include "policy/prefixmap.h"

#include <stdlib.h>
#include <string.h>

#define NO_PARENT UINT32_MAX

struct prefixmap_node {
    struct span prefix;
    uint32_t parent, set;
};

static int order(struct span a, struct span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int by_bytes = len > 0 ? memcmp(a.at, b.at, len) : 0;

    return by_bytes != 0 ? by_bytes : (a.len > b.len) - (a.len < b.len);
}

static int compare(const void *a, const void *b)
{
    return order(((const struct prefixmap_item *)a)->prefix, ((const struct prefixmap_item *)b)->prefix);
}

struct build {
    struct prefixmap *map;
    struct sets *sets;
    uint64_t *scratch; /* one set */
};

/* Appends the prefix that the first `equal` items name alike. */
static void append(const struct build *b, const struct prefixmap_item *items, size_t equal)
{
    struct prefixmap_node *nodes = b->map->nodes;
    uint32_t at = (uint32_t)b->map->count++, parent = at > 0 ? at - 1 : NO_PARENT;

    while (parent != NO_PARENT && !span_starts(items[0].prefix, nodes[parent].prefix))
        parent = nodes[parent].parent;
    memcpy(b->scratch, sets_at(b->sets, parent == NO_PARENT ? b->map->none : nodes[parent].set),
           sets_words(b->sets) * sizeof(uint64_t));
    for (size_t i = 0; i < equal; i++)
        bits_add(b->scratch, items[i].member);
    nodes[at] = (struct prefixmap_node){ items[0].prefix, parent, sets_intern(b->sets, b->scratch) };
}

bool prefixmap_build(struct prefixmap *map, struct prefixmap_item *items, size_t count, struct sets *sets, uint32_t none)
{
    struct build b = { map, sets, calloc(sets_words(sets), sizeof(uint64_t)) };

    *map = (struct prefixmap){ .nodes = calloc(count + 1, sizeof(*map->nodes)), .none = none };
    if (b.scratch == NULL || map->nodes == NULL) {
        free(b.scratch);
        return false;
    }
    if (count > 0)
        qsort(items, count, sizeof(*items), compare);
    for (size_t i = 0, equal; i < count; i += equal) {
        for (equal = 1; i + equal < count && compare(&items[i], &items[i + equal]) == 0;)
            equal++;
        append(&b, &items[i], equal);
    }
    free(b.scratch);
    return !sets_failed(sets);
}

void prefixmap_fini(struct prefixmap *map)
{
    free(map->nodes);
    map->nodes = NULL;
}

uint32_t prefixmap_find(const struct prefixmap *map, struct span text)
{
    const struct prefixmap_node *nodes = map->nodes;
    size_t low = 0, high = map->count;
    uint32_t at;

    while (low < high) { /* to the first that stands behind the text */
        size_t middle = (low + high) / 2;

        if (order(nodes[middle].prefix, text) > 0)
            high = middle;
        else
            low = middle + 1;
    }
    at = low > 0 ? (uint32_t)(low - 1) : NO_PARENT;
    while (at != NO_PARENT && !span_starts(text, nodes[at].prefix))
        at = nodes[at].parent;
    return at == NO_PARENT ? map->none : nodes[at].set;
}
