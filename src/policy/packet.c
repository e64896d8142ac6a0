/* SPDX-License-Identifier: ISC */
/*
 * The packet filter's verdict as a function: what filter/ruleset.c writes down for the kernel, in the same order. Whoever changes
 * one changes both; tests compare them.
 *
 * What the rules add is the order of things around them: interception before everything, but never of flows to this machine; then
 * port forwards; then the ports that listeners have themselves; then policies. A packet that comes from this machine to itself
 * never leaves it, and passes.
 */
#include "policy/packet.h"

#include <string.h>

const char *packet_fate_name(enum packet_fate f)
{
    static const char *const names[] = { "drop", "reject", "forward", "input", "listener", "intercept", "translate" };

    return (unsigned)f < sizeof(names) / sizeof(names[0]) ? names[f] : "?";
}

static bool has_port(const struct conf_ports *ports, uint16_t port)
{
    for (size_t i = 0; i < ports->count; i++)
        if (ports->items[i].first <= port && port <= ports->items[i].last)
            return true;
    return false;
}

static bool is_local(const struct rules *rules, const struct packet *p)
{
    return p->local || p->zone_out == zones_self(rules_conf(rules));
}

/* The transparent listener that is for this client and this port of a server elsewhere; -1: none. */
static int intercepting(const struct rules *rules, const struct packet *p)
{
    const struct conf *conf = rules_conf(rules);

    if (is_local(rules, p) || p->zone_in == zones_self(conf))
        return -1;
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *l = &conf->listeners[i];

        if (l->mode == MODE_TRANSPARENT && l->address.family == p->server.family && has_port(&l->ports, p->server.port) &&
            rules_admit(rules, (int)i, p->zone_in))
            return (int)i;
    }
    return -1;
}

static bool names_zone(const struct conf_strings *list, const char *zone)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], zone) == 0)
            return true;
    return false;
}

/* Packets of this machine to itself, over its loopback interface. */
static bool stays_inside(const struct rules *rules, const struct packet *p)
{
    return is_local(rules, p) && (p->zone_in == zones_self(rules_conf(rules)) || addr_is_loopback(&p->client));
}

static int translating(const struct rules *rules, const struct packet *p)
{
    const struct conf *conf = rules_conf(rules);
    const struct conf_packet_filter *filter = &conf->packet_filter;
    bool can_be = is_local(rules, p) && !stays_inside(rules, p);

    for (size_t i = 0; can_be && i < filter->forward_count; i++) {
        const struct conf_forward *f = &filter->forwards[i];

        if (f->protocol == p->protocol && f->port == p->server.port && f->to.family == p->server.family &&
            names_zone(&f->from, zones_name(conf, p->zone_in)))
            return (int)i;
    }
    return -1;
}

/* The listener whose port is open to this client; -1: none. */
static int listening(const struct rules *rules, const struct packet *p)
{
    const struct conf *conf = rules_conf(rules);

    if (p->protocol != CONF_TCP || !is_local(rules, p))
        return -1;
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *l = &conf->listeners[i];

        if (l->mode != MODE_TRANSPARENT && addr_is_bound_to(&l->address, &p->server) &&
            (l->from.count == 0 || rules_admit(rules, (int)i, p->zone_in)))
            return (int)i;
    }
    return -1;
}

void packet_facts(const struct packet *packet, struct host *host, struct facts *facts)
{
    host_from_addr(host, &packet->server);
    *facts = (struct facts){ .known = KNOWN_FLOW | KNOWN_TARGET | KNOWN_ADDRESS | KNOWN_PROTOCOL,
                             .listener = -1,
                             .zone_in = packet->zone_in,
                             .client = packet->client,
                             .host = host,
                             .port = packet->protocol == CONF_ICMP ? 0 : packet->server.port,
                             .server = packet->server,
                             .zone_out = packet->zone_out,
                             .protocol = packet->protocol };
}

static struct packet_verdict judge_policies(const struct rules *rules, const struct packet *p)
{
    struct packet_verdict out = { .fate = PACKET_DROP, .policy = -1, .listener = -1, .forward = -1 };
    struct verdict verdict;
    struct facts facts;
    struct host host;

    packet_facts(p, &host, &facts);
    if (is_local(rules, p))
        facts.zone_out = zones_self(rules_conf(rules));
    facts.twin = p->protocol == CONF_UDP && intercepting(rules, p) >= 0;
    verdict = rules_judge(rules, &facts, true);
    out.policy = verdict.policy;
    out.reason = verdict.reason;
    if (verdict.granted)
        out.fate = is_local(rules, p) ? PACKET_INPUT : PACKET_FORWARD;
    else if (verdict.reason == R_POLICY_DENIED && !verdict.drop)
        out.fate = PACKET_REJECT;
    else if (verdict.reason == R_NO_POLICY && facts.twin) {
        out.fate = PACKET_REJECT;
        out.twin = true;
    }
    return out;
}

struct packet_verdict packet_judge(const struct rules *rules, const struct packet *packet)
{
    struct packet_verdict out = { .policy = -1, .listener = -1, .forward = -1, .reason = R_NONE };

    out.listener = packet->protocol == CONF_TCP ? intercepting(rules, packet) : -1;
    if (out.listener >= 0)
        out.fate = PACKET_INTERCEPT;
    else if ((out.forward = translating(rules, packet)) >= 0)
        out.fate = PACKET_TRANSLATE;
    else if ((out.listener = listening(rules, packet)) >= 0)
        out.fate = PACKET_LISTENER;
    else if (stays_inside(rules, packet))
        out.fate = PACKET_INPUT;
    else
        return judge_policies(rules, packet);
    return out;
}

bool packet_policy_fits(const struct conf_policy *policy, unsigned protocol)
{
    struct network literal;
    bool hosts = policy->hosts.count == 0;

    for (size_t i = 0; i < policy->hosts.count && !hosts; i++)
        hosts = rules_host_is_literal(span_str(policy->hosts.items[i]), &literal);
    if (!policy->protocols_given || !(policy->protocols & protocol) || (protocol == CONF_ICMP && policy->ports.count > 0))
        return false;
    return hosts && policy->listeners.count == 0 && policy->methods.count == 0 && policy->paths.count == 0 &&
           policy->header_count == 0 && policy->hosts_file == NULL && policy->tls_fingerprints.count == 0 &&
           policy->client_certificates.count == 0;
}
