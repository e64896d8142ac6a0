/* SPDX-License-Identifier: ISC */
/*
 * Policies in the kernel. Zones with the same policies form a group, named after its first zone, and each group of servers' zones
 * has a chain with its policies in order; which zone the client is in is one of their conditions. A second chain is for packets
 * that would go around a transparent listener (the twin, policy/packet.h): there only policies that name the port let them through,
 * and what none decides is rejected. A policy with addresses has one rule for each family in which all its lists have members.
 */
#include "filter/ruleset_parts.h"

#include <stdlib.h>
#include <string.h>

static const int families[2] = { AF_INET, AF_INET6 };
static const unsigned protocols[3] = { CONF_TCP, CONF_UDP, CONF_ICMP };

static uint64_t *about(const struct ruleset *r, size_t zone)
{
    return r->about + zone * r->words;
}

static void add_about(struct ruleset *r, size_t zone, size_t policy)
{
    about(r, zone)[policy / 64] |= 1ull << (policy % 64);
}

/* About which servers' zones does it decide? Without `to` about all; an allowing one then leaves self out. */
static void find_about(struct ruleset *r, size_t policy)
{
    const struct conf_policy *p = &r->conf->policies[policy];
    size_t end = r->conf->zone_count + (p->action != ACTION_ALLOW);

    for (size_t zone = 0; p->to.count == 0 && zone < end; zone++)
        add_about(r, zone, policy);
    for (size_t i = 0; i < p->to.count; i++)
        add_about(r, ruleset_zone_named(r, p->to.items[i]), policy);
}

void ruleset_policies_init(struct ruleset *r)
{
    for (size_t policy = 0; policy < r->conf->policy_count; policy++) {
        for (size_t i = 0; i < 3; i++)
            if (packet_policy_fits(&r->conf->policies[policy], protocols[i]))
                r->protocols[policy] |= protocols[i];
        if (r->protocols[policy] != 0)
            find_about(r, policy);
    }
}

/* The three lists of addresses that a policy may have, each as sets of its own. */
static const struct list {
    const char *name, *side;
} lists[3] = { { "clients", "saddr" }, { "networks", "daddr" }, { "hosts", "daddr" } };

static size_t items_of(const struct conf_policy *p, size_t list)
{
    return list == 0 ? p->clients.count : list == 1 ? p->networks.count : p->hosts.count;
}

static void ranges_of(const struct conf_policy *p, size_t list, int family, struct address_ranges *out)
{
    for (size_t i = 0; i < items_of(p, list); i++) {
        struct network n = list == 0 ? p->clients.items[i] : list == 1 ? p->networks.items[i] : (struct network){ 0 };

        if ((list < 2 || rules_host_is_literal(span_str(p->hosts.items[i]), &n)) && n.base.family == family)
            ranges_add_network(out, &n);
    }
    ranges_merge(out);
}

/* Has this list members of this family? */
static bool has_members(const struct conf_policy *p, size_t list, int family)
{
    for (size_t i = 0; i < items_of(p, list); i++) {
        struct network n = list == 0 ? p->clients.items[i] : list == 1 ? p->networks.items[i] : (struct network){ 0 };

        if ((list < 2 || rules_host_is_literal(span_str(p->hosts.items[i]), &n)) && n.base.family == family)
            return true;
    }
    return false;
}

static void print_set(struct ruleset *r, const struct conf_policy *p, size_t list, int which)
{
    struct address_ranges ranges = { 0 };

    ranges_of(p, list, families[which], &ranges);
    r->failed = r->failed || ranges.failed;
    if (ranges.count > 0) {
        fprintf(r->out, "\tset %s-%s-%c {\n\t\ttype %s\n\t\tflags interval\n\t\telements = {\n", lists[list].name, p->name,
                which == 0 ? '4' : '6', which == 0 ? "ipv4_addr" : "ipv6_addr");
        ranges_print(r->out, &ranges, families[which]);
        fputs("\t\t}\n\t}\n", r->out);
    }
    ranges_fini(&ranges);
}

void ruleset_policy_sets(struct ruleset *r)
{
    for (size_t i = 0; i < r->conf->policy_count; i++)
        for (size_t list = 0; list < 3 && r->protocols[i] != 0; list++)
            for (int which = 0; which < 2; which++)
                print_set(r, &r->conf->policies[i], list, which);
}

static void print_action(struct ruleset *r, size_t policy, bool to_self, unsigned set)
{
    const struct conf_policy *p = &r->conf->policies[policy];

    switch (p->action) {
    case ACTION_ALLOW:
        fprintf(r->out, RULESET_MARK_SET "0x%08x counter accept",
                packet_mark(to_self ? PACKET_MARK_INPUT : PACKET_MARK_FORWARDED, (int)policy));
        break;
    case ACTION_DENY:
        fputs(set == CONF_TCP ? "counter reject with tcp reset" : "counter reject with icmpx admin-prohibited", r->out);
        break;
    case ACTION_DROP:
        fputs("counter drop", r->out);
        break;
    }
    fprintf(r->out, " comment \"%s\"\n", p->name);
}

static void print_protocols(struct ruleset *r, const struct conf_policy *p, unsigned set)
{
    static const char *const names[3] = { "tcp", "udp", "icmp, ipv6-icmp" };
    const char *between = "";

    fputs("meta l4proto { ", r->out);
    for (size_t i = 0; i < 3; i++)
        if (set & protocols[i]) {
            fprintf(r->out, "%s%s", between, names[i]);
            between = ", ";
        }
    fputs(" } ", r->out);
    if (p->ports.count > 0) {
        fputs("th dport ", r->out);
        ruleset_print_ports(r, &p->ports);
    }
}

/* One rule: a policy, some of its protocols, and the addresses of one family (-1: it has none). */
struct piece {
    size_t policy;
    int which;
    unsigned protocols;
    bool to_self;
};

static void print_piece(struct ruleset *r, const struct piece *piece)
{
    const struct conf_policy *p = &r->conf->policies[piece->policy];

    fputs("\t\t", r->out);
    if (p->from.count > 0 && !ruleset_print_zones(r, &p->from))
        return;
    for (size_t list = 0; piece->which >= 0 && list < 3; list++)
        if (items_of(p, list) > 0)
            fprintf(r->out, "%s %s @%s-%s-%c ", piece->which == 0 ? "ip" : "ip6", lists[list].side, lists[list].name, p->name,
                    piece->which == 0 ? '4' : '6');
    print_protocols(r, p, piece->protocols);
    print_action(r, piece->policy, piece->to_self, piece->protocols);
}

/* A reset answers TCP, and ICMP all else, so a denial of both is two rules. */
static void print_protocol_pieces(struct ruleset *r, struct piece piece)
{
    unsigned all = piece.protocols;
    bool split = r->conf->policies[piece.policy].action == ACTION_DENY && (all & CONF_TCP) && all != CONF_TCP;

    if (split) {
        piece.protocols = CONF_TCP;
        print_piece(r, &piece);
        piece.protocols = all & ~(unsigned)CONF_TCP;
    }
    print_piece(r, &piece);
}

/* Does a policy name a zone of clients that the kernel knows? */
static bool has_from(const struct conf_policy *p)
{
    for (size_t i = 0; i < p->from.count; i++)
        if (strcmp(p->from.items[i], CONF_SELF) != 0)
            return true;
    return p->from.count == 0;
}

static void print_policy(struct ruleset *r, size_t policy, bool to_self, bool twin)
{
    const struct conf_policy *p = &r->conf->policies[policy];
    struct piece piece = { policy, -1, r->protocols[policy] & (twin ? CONF_UDP : ~0u), to_self };
    bool addresses = p->clients.count > 0 || p->networks.count > 0 || p->hosts.count > 0;

    if (piece.protocols == 0 || !has_from(p) || (twin && p->action == ACTION_ALLOW && p->ports.count == 0))
        return;
    if (!addresses) {
        print_protocol_pieces(r, piece);
        return;
    }
    for (piece.which = 0; piece.which < 2; piece.which++) {
        bool all = true;

        for (size_t list = 0; list < 3; list++)
            all = all && (items_of(p, list) == 0 || has_members(p, list, families[piece.which]));
        if (all)
            print_protocol_pieces(r, piece);
    }
}

static void print_chain(struct ruleset *r, size_t zone, bool twin)
{
    bool to_self = (int)zone == zones_self(r->conf);

    fprintf(r->out, "\tchain %s-%s {\n", twin ? "twin" : "to", zones_name(r->conf, (int)zone));
    for (size_t word = 0; word < r->words; word++)
        for (uint64_t left = about(r, zone)[word]; left != 0; left &= left - 1)
            print_policy(r, word * 64 + (size_t)__builtin_ctzll(left), to_self, twin);
    if (twin)
        fputs("\t\tcounter reject with icmpx admin-prohibited comment \"twin\"\n", r->out);
    fputs("\t}\n", r->out);
}

static bool goes_to(struct ruleset *r, size_t zone)
{
    fprintf(r->out, "goto to-%s", r->conf->zones[r->group[zone]].name);
    return true;
}

static bool goes_to_twin(struct ruleset *r, size_t zone)
{
    fprintf(r->out, "goto twin-%s", r->conf->zones[r->group[zone]].name);
    return true;
}

/* The first zone that the same policies are about; `r->group` has those before. */
static size_t group_of(const struct ruleset *r, size_t zone)
{
    for (size_t other = 0; other < zone; other++)
        if (r->group[other] == other && memcmp(about(r, zone), about(r, other), r->words * sizeof(*r->about)) == 0)
            return other;
    return zone;
}

void ruleset_policy_chains(struct ruleset *r)
{
    for (size_t zone = 0; zone < r->conf->zone_count; zone++) {
        r->group[zone] = group_of(r, zone);
        if (r->group[zone] != zone)
            continue;
        print_chain(r, zone, false);
        if (r->twins)
            print_chain(r, zone, true);
    }
    print_chain(r, (size_t)zones_self(r->conf), false);
    ruleset_zone_chain(r, "zones-out", goes_to);
    if (r->twins)
        ruleset_zone_chain(r, "twins-out", goes_to_twin);
}
