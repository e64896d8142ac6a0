/* SPDX-License-Identifier: ISC */
/*
 * Zones in the kernel. Each has a set of addresses for each family. The zone of a client is found once, when its flow begins: a
 * chain goes through the zones in order, and the first that fits puts its number into the flow's connection mark, which is
 * otherwise empty then; rules about clients' zones compare that number. The zone of the server is found where packets leave, in
 * chains of the same kind. So the number of rules grows with the number of zones and not with that of their pairs.
 */
#include "filter/ruleset_parts.h"

#include <stdlib.h>
#include <string.h>

static const int families[2] = { AF_INET, AF_INET6 };

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct zone_name *)a)->name, ((const struct zone_name *)b)->name);
}

void ruleset_zones_init(struct ruleset *r)
{
    for (size_t zone = 0; zone <= r->conf->zone_count; zone++)
        r->names[zone] = (struct zone_name){ zones_name(r->conf, (int)zone), zone };
    qsort(r->names, r->conf->zone_count + 1, sizeof(*r->names), by_name);
}

size_t ruleset_zone_named(const struct ruleset *r, const char *name)
{
    const struct zone_name wanted = { name, 0 };
    const struct zone_name *found = bsearch(&wanted, r->names, r->conf->zone_count + 1, sizeof(*r->names), by_name);

    return found != NULL ? found->zone : r->conf->zone_count;
}

static void print_zone_set(struct ruleset *r, size_t zone, int which)
{
    struct address_ranges ranges;

    ranges_of_zone(r->conf, zone, families[which], &ranges);
    r->failed = r->failed || ranges.failed;
    r->has[which][zone] = ranges.count > 0;
    if (ranges.count > 0) {
        fprintf(r->out, "\tset zone-%s-%c {\n\t\ttype %s\n\t\tflags interval\n\t\telements = {\n", r->conf->zones[zone].name,
                which == 0 ? '4' : '6', which == 0 ? "ipv4_addr" : "ipv6_addr");
        ranges_print(r->out, &ranges, families[which]);
        fputs("\t\t}\n\t}\n", r->out);
    }
    ranges_fini(&ranges);
}

void ruleset_zone_sets(struct ruleset *r)
{
    for (size_t zone = 0; zone < r->conf->zone_count; zone++)
        for (int which = 0; which < 2; which++)
            print_zone_set(r, zone, which);
}

static void print_interfaces(struct ruleset *r, const char *key, const struct conf_strings *interfaces)
{
    if (interfaces->count == 0)
        return;
    fprintf(r->out, "%s { ", key);
    for (size_t i = 0; i < interfaces->count; i++)
        fprintf(r->out, "%s\"%s\"", i == 0 ? "" : ", ", interfaces->items[i]);
    fputs(" } ", r->out);
}

bool ruleset_print_zone(struct ruleset *r, size_t zone, int family, bool in)
{
    bool six = family == AF_INET6;

    if (!r->has[six][zone])
        return false;
    print_interfaces(r, in ? "iifname" : "oifname", &r->conf->zones[zone].interfaces);
    fprintf(r->out, "%s %s @zone-%s-%c", six ? "ip6" : "ip", in ? "saddr" : "daddr", r->conf->zones[zone].name, six ? '6' : '4');
    return true;
}

void ruleset_zone_marks(struct ruleset *r)
{
    fputs("\tchain zones-in {\n", r->out);
    for (size_t zone = 0; zone < r->conf->zone_count; zone++)
        for (int which = 0; which < 2; which++) {
            if (!r->has[which][zone])
                continue;
            fputs("\t\t", r->out);
            if (ruleset_print_zone(r, zone, families[which], true))
                fprintf(r->out, " " RULESET_MARK_SET "0x%08zx counter return comment \"%s\"\n", zone + 1,
                        r->conf->zones[zone].name);
        }
    fputs("\t}\n", r->out);
}

static void print_act(struct ruleset *r, size_t zone, int family, ruleset_zone_act *act)
{
    if (!r->has[family == AF_INET6][zone])
        return;
    fputs("\t\t", r->out);
    if (!ruleset_print_zone(r, zone, family, false))
        return;
    fputs(" counter ", r->out);
    if (!act(r, zone))
        fputs("return", r->out);
    fprintf(r->out, " comment \"%s\"\n", r->conf->zones[zone].name);
}

void ruleset_zone_chain(struct ruleset *r, const char *name, ruleset_zone_act *act)
{
    fprintf(r->out, "\tchain %s {\n", name);
    for (size_t zone = 0; zone < r->conf->zone_count; zone++)
        for (int which = 0; which < 2; which++)
            print_act(r, zone, families[which], act);
    fputs("\t}\n", r->out);
}

bool ruleset_print_zones(struct ruleset *r, const struct conf_strings *names)
{
    bool any = false;

    for (size_t i = 0; i < names->count; i++) {
        size_t zone = ruleset_zone_named(r, names->items[i]);

        if (zone == r->conf->zone_count) /* self is not in the kernel's rules */
            continue;
        fprintf(r->out, "%s0x%08zx", any ? ", " : RULESET_MARK_OURS " { ", zone + 1);
        any = true;
    }
    if (any)
        fputs(" } ", r->out);
    return any;
}

void ruleset_print_ports(struct ruleset *r, const struct conf_ports *ports)
{
    struct address_ranges merged = { 0 };

    for (size_t i = 0; i < ports->count; i++)
        ranges_add(&merged, ports->items[i].first, ports->items[i].last);
    ranges_merge(&merged);
    for (size_t i = 0; i < merged.count; i++) {
        unsigned first = (unsigned)merged.items[i].first, last = (unsigned)merged.items[i].last;

        fputs(i == 0 ? "{ " : ", ", r->out);
        if (first == last)
            fprintf(r->out, "%u", first);
        else
            fprintf(r->out, "%u-%u", first, last);
    }
    fputs(" } ", r->out);
    r->failed = r->failed || merged.failed;
    ranges_fini(&merged);
}
