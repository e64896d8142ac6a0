/* SPDX-License-Identifier: ISC */
/*
 * Networks as a forest: two of them either have nothing in common, or one lies in the other. Sorted by address, then by length,
 * each stands behind all that it lies in. The last one that begins at or before an address is the innermost that the address lies
 * in, or lies itself in that one, or has nothing to do with it: so the way up its parents, which is as long as networks are nested,
 * ends at the right one. What each knows is the set of its own policies together with those of its parents.
 */
#include "policy/netmap.h"

#include "policy/forest.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

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

static uint32_t *append(void *arg, const void *of)
{
    struct netmap *map = arg;
    const struct network *network = &((const struct netmap_item *)of)->network;
    bool six = network->base.family == AF_INET6;
    struct netmap_node *nodes = map->nodes + (six ? map->count[0] : 0);
    uint32_t at = (uint32_t)map->count[six]++, parent = at > 0 ? at - 1 : FOREST_NO_PARENT;
    struct netmap_node *node = &nodes[at];

    read_ip(network->base.ip, &node->high, &node->low);
    node->bits = network->bits;
    while (parent != FOREST_NO_PARENT && !node_has(&nodes[parent], node->high, node->low))
        parent = nodes[parent].parent;
    node->parent = parent;
    node->set = parent == FOREST_NO_PARENT ? map->none : nodes[parent].set;
    return &node->set;
}

bool netmap_build(struct netmap *map, struct netmap_item *items, size_t count, struct sets *sets, uint32_t none)
{
    const struct forest_items all = { items, count, sizeof(*items), offsetof(struct netmap_item, member), compare };

    *map = (struct netmap){ .nodes = calloc(count + 1, sizeof(*map->nodes)), .none = none };
    return map->nodes != NULL && forest_build(&all, sets, append, map);
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
    at = low > 0 ? (uint32_t)(low - 1) : FOREST_NO_PARENT;
    while (at != FOREST_NO_PARENT && !node_has(&nodes[at], ip_high, ip_low))
        at = nodes[at].parent;
    return at == FOREST_NO_PARENT ? map->none : nodes[at].set;
}
