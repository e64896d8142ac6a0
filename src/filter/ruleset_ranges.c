/* SPDX-License-Identifier: ISC */
/*
 * Addresses as ranges of numbers. nftables refuses overlapping elements in a set, and knows no set minus another one; so both are
 * done here: networks become ranges, ranges are joined, and special-purpose addresses are cut out of those that do not name them.
 * What is left is printed as prefixes where a range is one.
 */
#include "filter/ruleset_parts.h"

#include <stdlib.h>
#include <string.h>

void ranges_fini(struct address_ranges *r)
{
    free(r->items);
    *r = (struct address_ranges){ 0 };
}

void ranges_add(struct address_ranges *r, address_number first, address_number last)
{
    if (r->count == r->room) {
        size_t room = r->room == 0 ? 16 : r->room * 2;
        struct address_range *items = reallocarray(r->items, room, sizeof(*items));

        if (items == NULL) {
            r->failed = true;
            return;
        }
        r->items = items;
        r->room = room;
    }
    r->items[r->count++] = (struct address_range){ first, last };
}

address_number ranges_number(const struct addr *a)
{
    address_number number = 0;

    for (size_t i = 0; i < (a->family == AF_INET6 ? 16 : 4); i++)
        number = number << 8 | a->ip[i];
    return number;
}

void ranges_add_network(struct address_ranges *r, const struct network *network)
{
    unsigned rest = (network->base.family == AF_INET6 ? 128u : 32u) - network->bits;
    address_number first = ranges_number(&network->base), host = rest == 128 ? 0 : (address_number)1 << rest;

    ranges_add(r, first, first + (host - 1));
}

static int compare(const void *a, const void *b)
{
    const struct address_range *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

void ranges_merge(struct address_ranges *r)
{
    size_t n = 0;

    if (r->count > 0)
        qsort(r->items, r->count, sizeof(*r->items), compare);
    for (size_t i = 0; i < r->count; i++) {
        struct address_range *last = &r->items[n > 0 ? n - 1 : 0];

        if (n == 0 || (r->items[i].first > last->last && r->items[i].first - last->last > 1))
            r->items[n++] = r->items[i];
        else if (r->items[i].last > last->last)
            last->last = r->items[i].last;
    }
    r->count = n;
}

/* What is left of one range. */
static void cut(struct address_ranges *out, struct address_range range, const struct address_ranges *holes)
{
    for (size_t i = 0; i < holes->count; i++) {
        const struct address_range *hole = &holes->items[i];

        if (hole->last < range.first)
            continue;
        if (hole->first > range.last)
            break;
        if (hole->first > range.first)
            ranges_add(out, range.first, hole->first - 1);
        if (hole->last >= range.last)
            return;
        range.first = hole->last + 1;
    }
    ranges_add(out, range.first, range.last);
}

void ranges_subtract(struct address_ranges *r, const struct address_ranges *holes)
{
    struct address_ranges out = { .failed = r->failed || holes->failed };

    for (size_t i = 0; i < r->count; i++)
        cut(&out, r->items[i], holes);
    ranges_fini(r);
    *r = out;
}

bool ranges_have(const struct address_ranges *r, address_number number)
{
    size_t low = 0, high = r->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (r->items[middle].last < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->count && r->items[low].first <= number;
}

static const char *number_text(address_number number, int family, char *out)
{
    struct addr a = { .family = (uint16_t)family };

    for (size_t i = family == AF_INET6 ? 16 : 4; i-- > 0; number >>= 8)
        a.ip[i] = (uint8_t)number;
    return addr_text(&a, out);
}

/* The length of the prefix that is this range, or -1. */
static int prefix_of(const struct address_range *range, int family)
{
    int most = family == AF_INET6 ? 128 : 32, bits = most;
    address_number rest = range->first ^ range->last;

    for (; rest & 1; rest >>= 1)
        bits--;
    if (rest != 0 || (bits < most && (range->first & (range->first ^ range->last)) != 0))
        return -1;
    return bits;
}

void ranges_print(FILE *out, const struct address_ranges *r, int family)
{
    char first[ADDR_TEXT], last[ADDR_TEXT];

    for (size_t i = 0; i < r->count; i++) {
        int bits = prefix_of(&r->items[i], family);

        number_text(r->items[i].first, family, first);
        number_text(r->items[i].last, family, last);
        if (r->items[i].first == r->items[i].last)
            fprintf(out, "\t\t\t%s,\n", first);
        else if (bits > 0)
            fprintf(out, "\t\t\t%s/%d,\n", first, bits);
        else
            fprintf(out, "\t\t\t%s-%s,\n", first, last);
    }
}

/* Special-purpose addresses, and mapped ones, which are IPv4's and must not be seen as IPv6. */
static void add_special(struct address_ranges *out, int family)
{
    static const struct network mapped = { .base = { .family = AF_INET6, .ip = { [10] = 0xff, [11] = 0xff } }, .bits = 96 };
    struct network block;

    for (size_t i = 0; addr_special_block(i, &block); i++)
        if (block.base.family == family)
            ranges_add_network(out, &block);
    if (family == AF_INET6)
        ranges_add_network(out, &mapped);
    ranges_merge(out);
}

void ranges_of_zone(const struct conf *conf, size_t zone, int family, struct address_ranges *out)
{
    const struct conf_networks *networks = &conf->zones[zone].networks;
    const struct network everything = { .base = { .family = (uint16_t)family } };
    struct address_ranges special = { 0 };

    *out = (struct address_ranges){ 0 };
    if (networks->count == 0)
        ranges_add_network(out, &everything);
    for (size_t i = 0; i < networks->count; i++)
        if (networks->items[i].base.family == family && !network_is_special(&networks->items[i]))
            ranges_add_network(out, &networks->items[i]);
    ranges_merge(out);
    add_special(&special, family);
    ranges_subtract(out, &special);
    for (size_t i = 0; i < networks->count; i++)
        if (networks->items[i].base.family == family && network_is_special(&networks->items[i]))
            ranges_add_network(out, &networks->items[i]);
    ranges_merge(out);
    ranges_fini(&special);
}
