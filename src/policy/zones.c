/* SPDX-License-Identifier: ISC */
/*
 * Zones. A zone is a claim about where an address is: behind which interface, in which network. The rule about special-purpose
 * addresses lives here and nowhere else: "the whole internet" as a network does not name the loopback, the link or a cloud's
 * metadata service, in whatever spelling; only a network that is part of the special-purpose block does. So there are two maps from
 * an address to the zones that its networks name: one of all networks, and one of those that may name special-purpose addresses.
 */
#include "policy/zones.h"

#include "policy/netmap.h"

#include <stdlib.h>
#include <string.h>

struct zones {
    const struct conf *conf;
    struct sets *sets;
    struct netmap all, special;
};

static bool has_interface(const struct conf_zone *zone, const char *interface)
{
    for (size_t i = 0; i < zone->interfaces.count; i++)
        if (strcmp(zone->interfaces.items[i], interface) == 0)
            return true;
    return zone->interfaces.count == 0;
}

static size_t collect(const struct conf *conf, struct netmap_item *items, bool special_only)
{
    size_t n = 0;

    for (size_t i = 0; i < conf->zone_count; i++)
        for (size_t k = 0; k < conf->zones[i].networks.count; k++)
            if (!special_only || network_is_special(&conf->zones[i].networks.items[k]))
                items[n++] = (struct netmap_item){ conf->zones[i].networks.items[k], (uint32_t)i };
    return n;
}

/* Zones without networks hold every address that is not special. */
static bool find_open_zones(struct zones *z, uint32_t *set)
{
    uint64_t *bits = calloc(sets_words(z->sets), sizeof(*bits));

    if (bits == NULL)
        return false;
    for (size_t i = 0; i < z->conf->zone_count; i++)
        if (z->conf->zones[i].networks.count == 0)
            bits_add(bits, i);
    *set = sets_intern(z->sets, bits);
    free(bits);
    return true;
}

static bool build(struct zones *z)
{
    const struct conf *conf = z->conf;
    struct netmap_item *items;
    size_t most = 1;
    uint32_t open;
    bool good;

    for (size_t i = 0; i < conf->zone_count; i++)
        most += conf->zones[i].networks.count;
    items = calloc(most, sizeof(*items));
    good = items != NULL && find_open_zones(z, &open) && netmap_build(&z->all, items, collect(conf, items, false), z->sets, open) &&
           netmap_build(&z->special, items, collect(conf, items, true), z->sets, 0) && !sets_failed(z->sets);
    free(items);
    return good;
}

struct zones *zones_new(const struct conf *conf)
{
    struct zones *z = calloc(1, sizeof(*z));

    if (z == NULL)
        return NULL;
    z->conf = conf;
    z->sets = sets_new(conf->zone_count + 1);
    if (z->sets != NULL && build(z))
        return z;
    zones_free(z);
    return NULL;
}

void zones_free(struct zones *z)
{
    if (z == NULL)
        return;
    netmap_fini(&z->all);
    netmap_fini(&z->special);
    sets_free(z->sets);
    free(z);
}

int zones_find(const struct zones *z, const struct addr *address, const char *interface)
{
    struct network block;
    const uint64_t *bits;

    if (address->family == 0)
        return ZONE_NONE;
    bits = sets_at(z->sets, netmap_find(addr_special(address, &block) ? &z->special : &z->all, address));
    for (size_t w = 0; w < sets_words(z->sets); w++)
        for (uint64_t left = bits[w]; left != 0; left &= left - 1) {
            size_t i = w * 64 + (size_t)__builtin_ctzll(left);

            if (has_interface(&z->conf->zones[i], interface))
                return (int)i;
        }
    return ZONE_NONE;
}

int zones_self(const struct conf *conf)
{
    return (int)conf->zone_count;
}

const char *zones_name(const struct conf *conf, int zone)
{
    if (zone == zones_self(conf))
        return CONF_SELF;
    return zone >= 0 && (size_t)zone < conf->zone_count ? conf->zones[zone].name : "";
}

bool zones_need_interfaces(const struct conf *conf)
{
    for (size_t i = 0; i < conf->zone_count; i++)
        if (conf->zones[i].interfaces.count > 0)
            return true;
    return false;
}
