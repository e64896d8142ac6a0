/* SPDX-License-Identifier: ISC */
/*
 * The chains at the kernel's hooks, in the order in which a packet comes by:
 *
 *   raw-prerouting     blocked addresses; not of this machine itself, whose address may be in a network that is blocked
 *   mangle-prerouting  packets for our own transparent sockets; the client's zone of a new flow; interception
 *   nat-prerouting     redirection and port forwards
 *   filter-prerouting  helpers of connection tracking
 *   input, forward     what is let through
 *   output             marks of the workers' own flows; helpers
 *   nat-postrouting    masquerading
 *
 * A flow's fate stands in its connection mark from its first packet on. Intercepted flows are dropped in forward before anything
 * else is asked, so that nothing of them gets around the workers once these are dead. The same goes for workers' own flows: with a
 * client's address they pass here in one direction, and what a worker sends after conntrack was flushed begins as a flow of its
 * own.
 *
 * A flow that began while there was no table has no mark, so being established lets nothing of it be forwarded. A TCP flow has
 * ended with that; another one is judged by its next packet, because it may never begin anew.
 */
#include "filter/ruleset_parts.h"

#include <string.h>

/* Puts the routing mark on a packet. */
#define ROUTE_HERE "meta mark set meta mark & 0x00ffffff | 0x50000000"
#define NOT_OURS "fib daddr type != local"
/* Of flows whose other end is a worker, or that never leave this machine, only the end is news; of a worker's own nothing is. */
#define ONLY_ITS_END "ct event set destroy "
#define NO_NEWS "ct event set label "

static bool is_transparent(const struct conf_listener *l)
{
    return l->mode == MODE_TRANSPARENT;
}

static const char *family_of(const struct addr *a)
{
    return a->family == AF_INET6 ? "ipv6" : "ipv4";
}

/* "ip to 10.0.0.1:3129", as in `tproxy` and `dnat`; of a wildcard the port alone. */
static void print_target(struct ruleset *r, const struct addr *to)
{
    char text[ADDR_TEXT];

    if (addr_is_any(to))
        fprintf(r->out, "%s to :%u ", to->family == AF_INET6 ? "ip6" : "ip", to->port);
    else
        fprintf(r->out, "%s to %s ", to->family == AF_INET6 ? "ip6" : "ip", addr_port_text(to, text));
}

/* Packets of this machine to itself come by here, too: they are never blocked. */
static void print_raw(struct ruleset *r)
{
    fputs("\tchain raw-prerouting {\n\t\ttype filter hook prerouting priority raw; policy accept;\n"
          "\t\tiifname != \"lo\" ip saddr @" RULESET_BLOCK4 " counter drop comment \"blocked\"\n"
          "\t\tiifname != \"lo\" ip6 saddr @" RULESET_BLOCK6 " counter drop comment \"blocked\"\n\t}\n",
          r->out);
}

/* Later packets of a flow that tproxy took: mostly of sessions that are gone, which the listener's socket resets. */
static void print_taken(struct ruleset *r, size_t index)
{
    const struct conf_listener *l = &r->conf->listeners[index];

    fprintf(r->out, "\t\tct direction original " RULESET_MARK_OURS " == 0x%08x meta nfproto %s meta l4proto tcp tproxy ",
            packet_mark(PACKET_MARK_INTERCEPTED, (int)index), family_of(&l->address));
    print_target(r, &l->address);
    fprintf(r->out, ROUTE_HERE " counter accept comment \"%s\"\n", l->name);
}

/*
 * Flows that connection tracking forgot (conntrack -F) while their session lives. What belongs to a connection of a transparent
 * socket is not judged again. A listening socket is one too if its address is specific, so a first packet is never taken.
 */
static void print_forgotten(struct ruleset *r)
{
    if (r->twins)
        fprintf(r->out,
                "\t\tct state new " RULESET_MARK_KIND " == 0x00000000 meta l4proto tcp " RULESET_SYN_NOT " " NOT_OURS
                " socket transparent 1 socket wildcard 0 " RULESET_MARK_SET "0x%08x " ROUTE_HERE
                " counter accept comment \"sockets\"\n",
                packet_mark(PACKET_MARK_INTERCEPTED, -1));
}

static void print_interception(struct ruleset *r, size_t index)
{
    const struct conf_listener *l = &r->conf->listeners[index];

    fprintf(r->out, "\t\tmeta nfproto %s tcp dport ", family_of(&l->address));
    ruleset_print_ports(r, &l->ports);
    if (l->from.count > 0 && !ruleset_print_zones(r, &l->from))
        return;
    fprintf(r->out, RULESET_MARK_SET "0x%08x " ONLY_ITS_END, packet_mark(PACKET_MARK_INTERCEPTED, (int)index));
    if (l->intercept == INTERCEPT_TPROXY) {
        fputs("tproxy ", r->out);
        print_target(r, &l->address);
        fputs(ROUTE_HERE " ", r->out);
    }
    fprintf(r->out, "counter accept comment \"%s\"\n", l->name);
}

void ruleset_prerouting(struct ruleset *r)
{
    const struct conf *conf = r->conf;

    if (r->twins) {
        fputs("\tchain intercept {\n", r->out);
        for (size_t i = 0; i < conf->listener_count; i++)
            if (is_transparent(&conf->listeners[i]))
                print_interception(r, i);
        fputs("\t}\n", r->out);
    }
    fputs("\tchain mangle-prerouting {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n"
          "\t\tiifname \"lo\" counter accept comment \"loopback\"\n"
          "\t\tct state new meta pkttype host fib saddr type { local, broadcast, anycast, multicast } counter drop comment "
          "\"spoofed\"\n"
          "\t\t" RULESET_MARK_KIND " { 0x50000000, 0x51000000 } socket transparent 1 " ROUTE_HERE
          " counter accept comment \"sockets\"\n"
          "\t\t" RULESET_MARK_KIND " { 0x50000000, 0x51000000 } ct state related meta l4proto { icmp, ipv6-icmp } " ROUTE_HERE
          " counter accept comment \"socket-errors\"\n",
          r->out);
    for (size_t i = 0; i < conf->listener_count; i++)
        if (is_transparent(&conf->listeners[i]) && conf->listeners[i].intercept == INTERCEPT_TPROXY)
            print_taken(r, i);
    print_forgotten(r);
    fputs("\t\tct state new " RULESET_MARK_KIND
          " == 0x00000000 ct mark set ct mark & 0x00ff0000 counter jump zones-in comment \"new\"\n"
          "\t\tct state established ct direction original meta l4proto != tcp " RULESET_MARK_KIND
          " == 0x00000000 ct mark set ct mark & 0x00ff0000 counter jump zones-in comment \"unjudged\"\n",
          r->out);
    if (r->twins)
        fputs("\t\tct state new " RULESET_MARK_UNDECIDED " " RULESET_SYN
              " fib daddr type != { local, broadcast, anycast, multicast }"
              " counter jump intercept comment \"new-tcp\"\n",
              r->out);
    fputs("\t}\n", r->out);
}

static void print_redirect(struct ruleset *r, size_t index)
{
    const struct conf_listener *l = &r->conf->listeners[index];

    fprintf(r->out, "\t\t" RULESET_MARK_OURS " == 0x%08x meta nfproto %s meta l4proto tcp counter ",
            packet_mark(PACKET_MARK_INTERCEPTED, (int)index), family_of(&l->address));
    if (addr_is_any(&l->address)) {
        fprintf(r->out, "redirect to :%u ", l->address.port);
    } else {
        fputs("dnat ", r->out);
        print_target(r, &l->address);
    }
    fprintf(r->out, "comment \"%s\"\n", l->name);
}

static void print_forward(struct ruleset *r, size_t index)
{
    const struct conf_forward *f = &r->conf->packet_filter.forwards[index];
    const char *protocol = f->protocol == CONF_TCP ? "tcp" : "udp";

    fprintf(r->out, "\t\tmeta nfproto %s %s dport %u fib daddr type local ", family_of(&f->to), protocol, f->port);
    if (!ruleset_print_zones(r, &f->from))
        return;
    fprintf(r->out, RULESET_MARK_SET "0x%08x counter dnat ", packet_mark(PACKET_MARK_TRANSLATED, (int)index));
    print_target(r, &f->to);
    fprintf(r->out, "comment \"forward-%s-%u\"\n", protocol, f->port);
}

static void print_nat_prerouting(struct ruleset *r)
{
    const struct conf *conf = r->conf;

    fputs("\tchain nat-prerouting {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n", r->out);
    for (size_t i = 0; i < conf->listener_count; i++)
        if (is_transparent(&conf->listeners[i]) && conf->listeners[i].intercept == INTERCEPT_REDIRECT)
            print_redirect(r, i);
    for (size_t i = 0; i < conf->packet_filter.forward_count; i++)
        print_forward(r, i);
    fputs("\t}\n", r->out);
}

/* What each helper reads: a port to which flows go that announce others. */
static const struct helper {
    const char *word, *name, *type, *protocol;
    unsigned port;
} helpers[] = {
    { "ftp", "helper-ftp", "ftp", "tcp", 21 },
    { "tftp", "helper-tftp", "tftp", "udp", 69 },
    { "irc", "helper-irc", "irc", "tcp", 6667 },
    { "sip", "helper-sip", "sip", "udp", 5060 },
    { "sip", "helper-sip-tcp", "sip", "tcp", 5060 },
    { "pptp", "helper-pptp", "pptp", "tcp", 1723 },
    { "amanda", "helper-amanda", "amanda", "udp", 10080 },
    { "sane", "helper-sane", "sane", "tcp", 6566 },
};

static bool is_used(const struct ruleset *r, const struct helper *h)
{
    const struct conf_strings *names = &r->conf->packet_filter.helpers;

    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], h->word) == 0)
            return true;
    return false;
}

void ruleset_helpers(struct ruleset *r)
{
    for (const struct helper *h = helpers; h < helpers + sizeof(helpers) / sizeof(helpers[0]); h++)
        if (is_used(r, h))
            fprintf(r->out, "\tct helper %s {\n\t\ttype \"%s\" protocol %s\n\t}\n", h->name, h->type, h->protocol);
}

static void print_helper_rules(struct ruleset *r)
{
    for (const struct helper *h = helpers; h < helpers + sizeof(helpers) / sizeof(helpers[0]); h++)
        if (is_used(r, h))
            fprintf(r->out, "\t\tct state new %s dport %u ct helper set \"%s\" counter comment \"%s\"\n", h->protocol, h->port,
                    h->name, h->name);
}

static void print_listener(struct ruleset *r, const struct addr *own, const struct conf_strings *from, const char *name)
{
    char text[ADDR_TEXT];

    if (addr_is_loopback(own))
        return; /* reached over the loopback interface alone */
    fputs("\t\t", r->out);
    if (addr_is_any(own))
        fprintf(r->out, "meta nfproto %s ", family_of(own));
    else
        fprintf(r->out, "%s daddr %s ", own->family == AF_INET6 ? "ip6" : "ip", addr_text(own, text));
    fprintf(r->out, RULESET_MARK_KIND " == 0x00000000 tcp dport %u ", own->port);
    if (from->count > 0 && !ruleset_print_zones(r, from))
        return;
    fprintf(r->out, "ct mark set ct mark & 0x00ff0000 " ONLY_ITS_END "counter accept comment \"%s\"\n", name);
}

static void print_intercepted(struct ruleset *r)
{
    for (size_t i = 0; i < r->conf->listener_count; i++)
        if (is_transparent(&r->conf->listeners[i]))
            fprintf(r->out, "\t\t" RULESET_MARK_OURS " == 0x%08x counter accept comment \"%s\"\n",
                    packet_mark(PACKET_MARK_INTERCEPTED, (int)i), r->conf->listeners[i].name);
}

/* Intercepted flows are none of theirs: what tproxy takes keeps its port, which may be one of ours. */
static void print_own_ports(struct ruleset *r)
{
    for (size_t i = 0; i < r->conf->listener_count; i++) {
        const struct conf_listener *l = &r->conf->listeners[i];

        if (!is_transparent(l))
            print_listener(r, &l->address, &l->from, l->name);
    }
}

static void print_input(struct ruleset *r)
{
    fputs("\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n"
          "\t\tiifname \"lo\" counter accept comment \"loopback\"\n"
          "\t\ticmp type { destination-unreachable, time-exceeded, parameter-problem } counter accept comment \"icmp-errors\"\n"
          "\t\ticmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } counter accept comment "
          "\"icmp-errors\"\n"
          "\t\ticmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect } "
          "ip6 hoplimit 255 counter accept comment \"neighbours\"\n"
          "\t\ticmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } "
          "counter accept comment \"neighbours\"\n"
          "\t\tmeta l4proto igmp counter accept comment \"neighbours\"\n"
          "\t\tct state invalid counter drop comment \"invalid\"\n"
          "\t\tct state untracked counter drop comment \"untracked\"\n"
          "\t\tct state established,related counter accept comment \"established\"\n"
          "\t\tct state new " RULESET_MARK_KIND " == 0x54000000 counter accept comment \"established\"\n"
          "\t\tct state new " RULESET_MARK_OURS " == 0x50000000 counter accept comment \"sockets\"\n"
          "\t\tmeta l4proto tcp " RULESET_SYN_NOT " counter drop comment \"not-syn\"\n",
          r->out);
    print_intercepted(r);
    print_own_ports(r);
    fputs("\t\t" RULESET_MARK_UNDECIDED " counter jump to-self comment \"new\"\n"
          "\t\tcounter drop comment \"no-policy-input\"\n\t}\n",
          r->out);
}

/* Does a packet of UDP go to what a transparent listener intercepts of TCP? */
static void print_twins(struct ruleset *r)
{
    for (size_t i = 0; i < r->conf->listener_count; i++) {
        const struct conf_listener *l = &r->conf->listeners[i];

        if (!is_transparent(l))
            continue;
        fprintf(r->out, "\t\t" RULESET_MARK_UNDECIDED " meta nfproto %s udp dport ", family_of(&l->address));
        ruleset_print_ports(r, &l->ports);
        if (l->from.count > 0 && !ruleset_print_zones(r, &l->from))
            return;
        fprintf(r->out, "counter goto twins comment \"%s\"\n", l->name);
    }
}

static void print_filter(struct ruleset *r)
{
    if (r->twins)
        fputs("\tchain twins {\n\t\tcounter jump twins-out comment \"new\"\n\t\tcounter drop comment \"no-policy\"\n\t}\n", r->out);
    fputs("\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n"
          "\t\t" RULESET_MARK_KIND " { 0x50000000, 0x51000000 } counter drop comment \"intercepted\"\n"
          "\t\tct state invalid counter drop comment \"invalid\"\n"
          "\t\tct state untracked counter drop comment \"untracked\"\n"
          "\t\tct state established,related " RULESET_MARK_KIND
          " { 0x52000000, 0x53000000 } counter accept comment \"established\"\n"
          "\t\tmeta l4proto tcp " RULESET_SYN_NOT " counter drop comment \"not-syn\"\n"
          "\t\tct state new " RULESET_MARK_KIND " == 0x53000000 counter accept comment \"established\"\n"
          "\t\t" RULESET_MARK_KIND " == 0x52000000 counter accept comment \"translated\"\n",
          r->out);
    print_twins(r);
    fputs("\t\t" RULESET_MARK_UNDECIDED " counter jump zones-out comment \"new\"\n"
          "\t\tcounter drop comment \"no-policy\"\n\t}\n",
          r->out);
}

/* The kernel takes a socket for that of whoever made it: those with clients' addresses are made by filter. */
static void print_users(const struct ruleset *r, char *out, size_t size)
{
    if (r->in->workers == r->in->filter)
        snprintf(out, size, "%u", (unsigned)r->in->workers);
    else
        snprintf(out, size, "{ %u, %u }", (unsigned)r->in->workers, (unsigned)r->in->filter);
}

/*
 * Sockets that nobody owns any more have no user, so what speaks with another's address is known by that: only the workers' do.
 * Helpers are not for workers' flows: with what a client says in a tunnel they would open ports of this machine.
 * A worker's transparent sockets answer with addresses of servers; unless a listener preserves those of clients, none begins a flow
 * with an address that is not ours.
 */
static void print_output(struct ruleset *r)
{
    char workers[32];

    print_users(r, workers, sizeof(workers));
    fputs("\tchain output {\n\t\ttype filter hook output priority mangle; policy accept;\n", r->out);
    if (!conf_preserves_addresses(r->conf))
        fprintf(r->out,
                "\t\tmeta skuid %s meta l4proto tcp " RULESET_SYN " fib saddr type != local counter drop comment \"spoofed\"\n",
                workers);
    fprintf(r->out,
            "\t\toifname \"lo\" ct state new " ONLY_ITS_END "counter comment \"loopback\"\n"
            "\t\tmeta skuid %s ct state new " RULESET_MARK_SET "0x%08x " NO_NEWS "counter comment \"workers\"\n"
            "\t\tmeta l4proto tcp ct state new fib saddr type != local " RULESET_MARK_SET "0x%08x " NO_NEWS
            "counter comment \"ownerless\"\n"
            "\t\t" RULESET_MARK_KIND " == 0x%08x counter accept comment \"no-helpers\"\n",
            workers, PACKET_MARK_WORKER << 24, PACKET_MARK_WORKER << 24, PACKET_MARK_WORKER << 24);
    print_helper_rules(r);
    fputs("\t}\n", r->out);
}

static bool masquerades(struct ruleset *r, size_t zone)
{
    const struct conf_strings *zones = &r->conf->packet_filter.masquerade;

    for (size_t i = 0; i < zones->count; i++)
        if (strcmp(zones->items[i], r->conf->zones[zone].name) == 0) {
            fputs("masquerade", r->out);
            return true;
        }
    return false;
}

static void print_postrouting(struct ruleset *r)
{
    if (r->conf->packet_filter.masquerade.count == 0)
        return;
    ruleset_zone_chain(r, "zones-masquerade", masquerades);
    fputs("\tchain nat-postrouting {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
          "\t\toifname != \"lo\" " RULESET_MARK_KIND " != 0x51000000 counter jump zones-masquerade comment \"masquerade\"\n\t}\n",
          r->out);
}

void ruleset_hooks(struct ruleset *r)
{
    print_raw(r);
    ruleset_prerouting(r);
    print_nat_prerouting(r);
    fputs("\tchain filter-prerouting {\n\t\ttype filter hook prerouting priority filter; policy accept;\n", r->out);
    print_helper_rules(r);
    fputs("\t}\n", r->out);
    print_input(r);
    print_filter(r);
    print_output(r);
    print_postrouting(r);
}
