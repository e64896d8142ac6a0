/* SPDX-License-Identifier: ISC */
/*
 * Prefixes as a forest, as networks are in netmap.c: sorted, each stands behind all that it begins with. Whatever stands between a
 * prefix of a text and the text begins with that prefix, too. So the longest prefix of a text is the last that is not behind it, or
 * is found on the way up its parents; and what each knows is the set of its own policies together with those of its parents.
 */
#include "policy/prefixmap.h"

#include "policy/forest.h"

#include <stdlib.h>
#include <string.h>

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

static uint32_t *append(void *arg, const void *of)
{
    struct prefixmap *map = arg;
    const struct prefixmap_item *item = of;
    struct prefixmap_node *nodes = map->nodes;
    uint32_t at = (uint32_t)map->count++, parent = at > 0 ? at - 1 : FOREST_NO_PARENT;

    while (parent != FOREST_NO_PARENT && !span_starts(item->prefix, nodes[parent].prefix))
        parent = nodes[parent].parent;
    nodes[at] = (struct prefixmap_node){ item->prefix, parent, parent == FOREST_NO_PARENT ? map->none : nodes[parent].set };
    return &nodes[at].set;
}

bool prefixmap_build(struct prefixmap *map, struct prefixmap_item *items, size_t count, struct sets *sets, uint32_t none)
{
    const struct forest_items all = { items, count, sizeof(*items), offsetof(struct prefixmap_item, member), compare };

    *map = (struct prefixmap){ .nodes = calloc(count + 1, sizeof(*map->nodes)), .none = none };
    return map->nodes != NULL && forest_build(&all, sets, append, map);
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
    at = low > 0 ? (uint32_t)(low - 1) : FOREST_NO_PARENT;
    while (at != FOREST_NO_PARENT && !span_starts(text, nodes[at].prefix))
        at = nodes[at].parent;
    return at == FOREST_NO_PARENT ? map->none : nodes[at].set;
}
