/* SPDX-License-Identifier: ISC */
/*
 * Networks as a forest: two of them either have nothing in common, or one lies in the other. Sorted by address, then by length,
 * each stands behind all that it lies in. The last one that begins at or before an address is the innermost that the address lies
 * in, or lies itself in that one, or has nothing to do with it: so the way up its parents, which is as long as networks are nested,
 * ends at the right one. What each knows is the set of its own policies together with those of its parents.
 */
#include "policy/netmap.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define NO_PARENT UINT32_MAX

struct netmap_node {
    uint64_t high, low; /* the address as a number; an IPv4 one in the uppermost bits */
    uint32_t parent, set;
    uint8_t bits;
};

static void read_ip(const uint8_t *ip, uint64_t *high, uint64_t *low)
{
    memcpy(high, ip, 8);
    memcpy(low, ip + 8, 8);
    *high = be64toh(*high);
    *low = be64toh(*low);
}

static int compare(const void *a, const void *b)
{
    const struct network *x = &((const struct netmap_item *)a)->network, *y = &((const struct netmap_item *)b)->network;
    int by_ip = memcmp(x->base.ip, y->base.ip, sizeof(x->base.ip));

    if (x->base.family != y->base.family)
        return x->base.family == AF_INET ? -1 : 1;
    return by_ip != 0 ? by_ip : (int)x->bits - (int)y->bits;
}

static uint64_t first_bits(unsigned bits)
{
    return bits == 0 ? 0 : UINT64_MAX << (64 - bits);
}

static bool node_has(const struct netmap_node *n, uint64_t high, uint64_t low)
{
    if (n->bits <= 64)
        return ((n->high ^ high) & first_bits(n->bits)) == 0;
    return n->high == high && ((n->low ^ low) & first_bits(n->bits - 64u)) == 0;
}

struct build {
    struct netmap *map;
    struct sets *sets;
    uint64_t *scratch; /* one set */
};

/* Appends the network that the first `equal` items name alike. */
static void append(const struct build *b, const struct netmap_item *items, size_t equal)
{
    bool six = items[0].network.base.family == AF_INET6;
    struct netmap_node *nodes = b->map->nodes + (six ? b->map->count[0] : 0);
    uint32_t at = (uint32_t)b->map->count[six]++, parent = at > 0 ? at - 1 : NO_PARENT;
    struct netmap_node *node = &nodes[at];

    read_ip(items[0].network.base.ip, &node->high, &node->low);
    node->bits = items[0].network.bits;
    while (parent != NO_PARENT && !node_has(&nodes[parent], node->high, node->low))
        parent = nodes[parent].parent;
    node->parent = parent;
    memcpy(b->scratch, sets_at(b->sets, parent == NO_PARENT ? b->map->none : nodes[parent].set),
           sets_words(b->sets) * sizeof(uint64_t));
    for (size_t i = 0; i < equal; i++)
        bits_add(b->scratch, items[i].member);
    node->set = sets_intern(b->sets, b->scratch);
}

bool netmap_build(struct netmap *map, struct netmap_item *items, size_t count, struct sets *sets, uint32_t none)
{
    struct build b = { map, sets, calloc(sets_words(sets), sizeof(uint64_t)) };

    *map = (struct netmap){ .nodes = calloc(count + 1, sizeof(*map->nodes)), .none = none };
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

void netmap_fini(struct netmap *map)
{
    free(map->nodes);
    map->nodes = NULL;
}

uint32_t netmap_find(const struct netmap *map, const struct addr *address)
{
    const struct netmap_node *nodes = map->nodes;
    size_t low = 0, high = map->count[address->family == AF_INET6];
    uint64_t ip_high, ip_low;
    uint32_t at;

    if (address->family == 0 || high == 0)
        return map->none;
    if (address->family == AF_INET6)
        nodes += map->count[0];
    read_ip(address->ip, &ip_high, &ip_low);
    while (low < high) { /* to the first that begins behind the address */
        size_t middle = (low + high) / 2;
        const struct netmap_node *n = &nodes[middle];

        if (n->high > ip_high || (n->high == ip_high && n->low > ip_low))
            high = middle;
        else
            low = middle + 1;
    }
    at = low > 0 ? (uint32_t)(low - 1) : NO_PARENT;
    while (at != NO_PARENT && !node_has(&nodes[at], ip_high, ip_low))
        at = nodes[at].parent;
    return at == NO_PARENT ? map->none : nodes[at].set;
}
