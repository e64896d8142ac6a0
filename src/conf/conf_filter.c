/* SPDX-License-Identifier: ISC */
/*
 * What the packet filter needs beyond single keys. Port forwards must lead to one server and may not take packets from one
 * another, nor silently from a listener; a port that two transparent listeners intercept goes to the first; a machine that nobody
 * can reach by ssh any more is worth a warning; and the ruleset, which has a rule for each pair of zones that a policy names, must
 * stay small enough to be committed in one transaction.
 *
 * Zones and ports are compared as sets of bits, so that long lists cost no more than short ones.
 */
#include "conf/conf_check.h"

#include "conf/conf_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH 64
#define RULES_MAX 200000
#define ZONE_WORDS 16   /* 1024 bits: 1000 zones, then self */
#define PORT_WORDS 1024 /* 65536 bits */

struct zone_set {
    uint64_t words[ZONE_WORDS];
};

struct port_set {
    uint64_t words[PORT_WORDS];
};

struct site {
    const struct conf *conf;
    struct conf_report *report;
    struct conf_names zones;
};

static void zone_set_add(struct zone_set *set, size_t zone)
{
    set->words[zone / 64] |= 1ull << (zone % 64);
}

static void zone_set_drop(struct zone_set *set, size_t zone)
{
    set->words[zone / 64] &= ~(1ull << (zone % 64));
}

/* None named: all, and self. An allowing policy reaches self only if it names it: reach_of(). */
static struct zone_set zone_set_of(const struct site *s, const struct conf_strings *names)
{
    struct zone_set set = { { 0 } };

    for (size_t i = 0; names->count == 0 && i <= s->conf->zone_count; i++)
        zone_set_add(&set, i);
    for (size_t i = 0; i < names->count; i++) {
        const void *zone = conf_names_find(&s->zones, names->items[i]);

        zone_set_add(&set, zone != NULL ? (size_t)((const struct conf_zone *)zone - s->conf->zones) : s->conf->zone_count);
    }
    return set;
}

/* The zones that a policy is about. */
static struct zone_set reach_of(const struct site *s, const struct conf_policy *p)
{
    struct zone_set set = zone_set_of(s, &p->to);

    if (p->to.count == 0 && p->action == ACTION_ALLOW)
        zone_set_drop(&set, s->conf->zone_count);
    return set;
}

static size_t zone_set_count(const struct zone_set *set)
{
    size_t count = 0;

    for (size_t i = 0; i < ZONE_WORDS; i++)
        count += (size_t)__builtin_popcountll(set->words[i]);
    return count;
}

static bool share_zone(const struct site *s, const struct conf_strings *a, const struct conf_strings *b)
{
    struct zone_set one = zone_set_of(s, a), two = zone_set_of(s, b);

    for (size_t i = 0; i < ZONE_WORDS; i++)
        if (one.words[i] & two.words[i])
            return true;
    return false;
}

static void port_set_of(struct port_set *set, const struct conf_ports *ports)
{
    for (size_t i = 0; i < ports->count; i++)
        for (unsigned port = ports->items[i].first; port <= ports->items[i].last; port++)
            set->words[port / 64] |= 1ull << (port % 64);
}

/* The lowest port in both, or 0. */
static unsigned shared_port(const struct port_set *a, const struct port_set *b)
{
    for (unsigned i = 0; i < PORT_WORDS; i++)
        if (a->words[i] & b->words[i])
            return 64 * i + (unsigned)__builtin_ctzll(a->words[i] & b->words[i]);
    return 0;
}

static void check_table(const struct site *s, const struct conf_node *group)
{
    const char *table = s->conf->packet_filter.table;

    if (conf_name_is_word_of_nft(table))
        conf_report_error(s->report, conf_member_line(group, "table"), "packet_filter.table",
                          "\"%s\" is a word of nft's own language, which cannot be the name of a table", table);
}

/* Addresses that stand for no server, or for none that a packet from elsewhere can be sent on to. */
static bool is_one_server(const struct addr *a)
{
    static const char *const others[] = { "0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8" };
    struct network n;

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (network_parse(&n, span_str(others[i])) && network_has(&n, a))
            return false;
    return true;
}

static const char *forward_path(char *path, size_t index, const char *key)
{
    snprintf(path, PATH, "packet_filter.forwards[%zu].%s", index, key);
    return path;
}

static const char *transport_name(const struct conf_forward *f)
{
    return f->protocol == CONF_TCP ? "tcp" : "udp";
}

/* Every packet of a forward must have one way to go. */
static void check_forward_twins(const struct site *s, size_t index, unsigned line)
{
    const struct conf_forward *f = &s->conf->packet_filter.forwards[index];
    char path[PATH];

    for (size_t i = 0; i < index; i++) {
        const struct conf_forward *earlier = &s->conf->packet_filter.forwards[i];

        if (earlier->line == 0 || earlier->protocol != f->protocol || earlier->port != f->port ||
            earlier->to.family != f->to.family || !share_zone(s, &earlier->from, &f->from))
            continue;
        conf_report_error(s->report, line, forward_path(path, index, "port"), "%s port %u is forwarded already, line %u",
                          transport_name(f), f->port, earlier->line);
        return;
    }
}

/* Does the forward take packets that were meant for this address of ours? */
static bool takes_from(const struct conf_forward *f, const struct addr *address)
{
    return f->protocol == CONF_TCP && f->port == address->port && f->to.family == address->family && !addr_is_loopback(address);
}

static void check_forward_ports(const struct site *s, size_t index, unsigned line)
{
    const struct conf_forward *f = &s->conf->packet_filter.forwards[index];
    char path[PATH];

    for (size_t i = 0; i < s->conf->listener_count; i++) {
        const struct conf_listener *l = &s->conf->listeners[i];

        if (l->line != 0 && takes_from(f, &l->address) && share_zone(s, &f->from, &l->from))
            conf_report_warning(s->report, line, forward_path(path, index, "port"),
                                "port %u is that of listener \"%s\", line %u, which clients of these zones no longer reach",
                                f->port, l->name, l->line);
    }
    if (takes_from(f, &s->conf->admin))
        conf_report_warning(s->report, line, forward_path(path, index, "port"),
                            "port %u is that of admin.address, which clients of these zones no longer reach", f->port);
}

static void check_forwards(const struct site *s, const struct conf_node *list)
{
    const struct conf_packet_filter *filter = &s->conf->packet_filter;
    char path[PATH], address[ADDR_TEXT];

    for (size_t i = 0; i < filter->forward_count; i++) {
        const struct conf_node *node = conf_node_at(list, i);

        if (filter->forwards[i].line == 0)
            continue;
        if (!is_one_server(&filter->forwards[i].to))
            conf_report_error(s->report, conf_member_line(node, "to"), forward_path(path, i, "to"),
                              "%s is no address that packets can be sent on to", addr_text(&filter->forwards[i].to, address));
        check_forward_twins(s, i, conf_member_line(node, "port"));
        check_forward_ports(s, i, conf_member_line(node, "port"));
    }
}

static bool is_transparent(const struct conf_listener *l)
{
    return l->line != 0 && l->mode == MODE_TRANSPARENT;
}

static void check_intercepted_twice(const struct site *s, size_t index, const struct port_set *ports, const struct conf_node *node)
{
    const struct conf_listener *l = &s->conf->listeners[index];
    char path[PATH];

    for (size_t i = 0; i < index; i++) {
        const struct conf_listener *earlier = &s->conf->listeners[i];
        unsigned port = is_transparent(earlier) ? shared_port(&ports[i], &ports[index]) : 0;

        if (port == 0 || earlier->address.family != l->address.family || !share_zone(s, &earlier->from, &l->from))
            continue;
        snprintf(path, sizeof(path), "listeners.%s.ports", l->name);
        conf_report_warning(s->report, conf_member_line(node, "ports"), path,
                            "port %u is intercepted by listener \"%s\", line %u, already: the first gets it", port, earlier->name,
                            earlier->line);
        return;
    }
}

static void check_intercepts(const struct site *s, const struct conf_node *list)
{
    struct port_set *ports = calloc(s->conf->listener_count + 1, sizeof(*ports));

    if (ports == NULL) {
        s->report->no_memory = true;
        return;
    }
    for (size_t i = 0; i < s->conf->listener_count; i++) {
        if (!is_transparent(&s->conf->listeners[i]))
            continue;
        port_set_of(&ports[i], &s->conf->listeners[i].ports);
        check_intercepted_twice(s, i, ports, conf_node_at(list, i));
    }
    free(ports);
}

/* Does the policy let tcp in to this machine, from anywhere else? */
static bool lets_in(const struct site *s, const struct conf_policy *p)
{
    struct zone_set from = zone_set_of(s, &p->from), to = reach_of(s, p);
    size_t self = s->conf->zone_count;

    zone_set_drop(&from, self);
    return p->action == ACTION_ALLOW && (p->protocols & CONF_TCP) && conf_policy_fits_packets(p) && zone_set_count(&from) > 0 &&
           (to.words[self / 64] >> (self % 64) & 1);
}

/* Input is dropped unless a policy lets it in, also what the operator is about to type. A policy with an error may be the one. */
static void check_way_in(const struct site *s)
{
    for (size_t i = 0; i < s->conf->policy_count; i++)
        if (s->conf->policies[i].line == 0 || lets_in(s, &s->conf->policies[i]))
            return;
    conf_report_warning(s->report, s->conf->packet_filter.line, "packet_filter",
                        "no policy allows tcp to \"self\": ssh to this machine will be cut off");
}

/* The ruleset has a rule for each policy and zone of servers. */
static void check_size(const struct site *s)
{
    uint64_t rules = 0;

    for (size_t i = 0; i < s->conf->policy_count; i++) {
        const struct conf_policy *p = &s->conf->policies[i];
        struct zone_set to = reach_of(s, p);

        if (p->line != 0 && conf_policy_fits_packets(p))
            rules += zone_set_count(&to);
    }
    if (rules > RULES_MAX)
        conf_report_error(s->report, s->conf->packet_filter.line, "packet_filter",
                          "%llu rules, one for each policy and zone of its servers, are more than %u: name fewer zones in to",
                          (unsigned long long)rules, RULES_MAX);
}

void conf_check_filter(const struct conf *conf, const struct conf_node *root, struct conf_report *report)
{
    struct site s = { conf, report, { 0 } };

    if (!conf_names_make(&s.zones, conf->zones, conf->zone_count, sizeof(*conf->zones))) {
        report->no_memory = true;
        return;
    }
    check_intercepts(&s, conf_node_member(root, "listeners"));
    if (conf->packet_filter.line != 0) {
        const struct conf_node *group = conf_node_member(root, "packet_filter");

        check_table(&s, group);
        check_forwards(&s, conf_node_member(group, "forwards"));
        check_way_in(&s);
        check_size(&s);
    }
    conf_names_drop(&s.zones);
}
