/* SPDX-License-Identifier: ISC */
/*
 * Zones. A zone is a claim about where an address is: behind which interface, in which network. The rule about special-purpose
 * addresses lives here and nowhere else: "the whole internet" as a network does not name the loopback, the link or a cloud's
 * metadata service, in whatever spelling; only a network that is part of the special-purpose block does.
 */
#include "policy/zones.h"

#include <string.h>

static bool has_interface(const struct conf_zone *zone, const char *interface)
{
    for (size_t i = 0; i < zone->interfaces.count; i++)
        if (strcmp(zone->interfaces.items[i], interface) == 0)
            return true;
    return zone->interfaces.count == 0;
}

/* `block`: the special-purpose block of the address, or NULL. */
static bool has_address(const struct conf_zone *zone, const struct addr *address, const struct network *block)
{
    for (size_t i = 0; i < zone->networks.count; i++) {
        const struct network *n = &zone->networks.items[i];

        if (network_has(n, address) && (block == NULL || network_inside(n, block)))
            return true;
    }
    return zone->networks.count == 0 && block == NULL;
}

int zones_find(const struct conf *conf, const struct addr *address, const char *interface)
{
    struct network block;
    const struct network *special = addr_special(address, &block) ? &block : NULL;

    if (address->family == 0)
        return ZONE_NONE;
    for (size_t i = 0; i < conf->zone_count; i++)
        if (has_interface(&conf->zones[i], interface) && has_address(&conf->zones[i], address, special))
            return (int)i;
    return ZONE_NONE;
}

bool zones_need_interfaces(const struct conf *conf)
{
    for (size_t i = 0; i < conf->zone_count; i++)
        if (conf->zones[i].interfaces.count > 0)
            return true;
    return false;
}
