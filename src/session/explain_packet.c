/* SPDX-License-Identifier: ISC */
/*
 * The kernel's part of a dry run: interfaces and zones of both ends as routing says them, the verdict of the pure function that the
 * ruleset is compiled from, and what NAT would do. No packet is sent. What this machine sends to others is not judged by anybody:
 * output is accepted.
 */
#include "session/explain_packet.h"

#include <stdio.h>
#include <string.h>

static bool is_own(const struct judge_context *c, const struct addr *a)
{
    if (addr_is_loopback(a))
        return true;
    for (size_t i = 0; i < c->own_count; i++)
        if (addr_same_ip(&c->own[i], a))
            return true;
    return false;
}

struct addr explain_packet_to(const struct judge_context *c, const struct conf_listener *listener)
{
    struct addr to = listener->address;

    for (size_t i = 0; i < c->own_count && addr_is_any(&to); i++)
        if (c->own[i].family == to.family && !addr_is_loopback(&c->own[i])) {
            to = c->own[i];
            to.port = listener->address.port;
        }
    return to;
}

static void find_interface(struct route *route, const struct addr *to, char out[IF_NAMESIZE], bool *none)
{
    *none = route_find(route, to, out) == ROUTE_NONE;
}

static bool is_masqueraded(const struct conf *conf, int zone)
{
    const struct conf_strings *zones = &conf->packet_filter.masquerade;

    for (size_t i = 0; i < zones->count; i++)
        if (strcmp(zones->items[i], zones_name(conf, zone)) == 0)
            return true;
    return false;
}

/* Behind a port forward the packet goes on to another place than it came for. */
static void follow(const struct judge_context *c, struct route *route, struct explain_packet *out)
{
    const struct conf *conf = c->generation->conf;
    int zone = out->packet.zone_out;

    if (out->verdict.fate == PACKET_TRANSLATE) {
        const struct addr *to = &conf->packet_filter.forwards[out->verdict.forward].to;

        find_interface(route, to, out->interface_out, &out->no_route);
        zone = judge_zone(c, to, out->interface_out);
    } else if (out->verdict.fate != PACKET_FORWARD)
        return;
    out->masquerade = is_masqueraded(conf, zone);
}

static void judge(const struct judge_context *c, struct explain_packet *out)
{
    const struct rules *rules = c->generation->rules;
    struct facts facts;
    struct host host;

    out->verdict = packet_judge(rules, &out->packet);
    if (out->verdict.fate != PACKET_DROP && out->verdict.fate != PACKET_REJECT)
        return;
    packet_facts(&out->packet, &host, &facts);
    facts.twin = out->verdict.twin;
    out->near_count = rules_near(rules, &facts, true, out->near, NEAR_MISSES);
}

void explain_packet(const struct judge_context *c, struct route *route, unsigned protocol, const struct addr *client,
                    const struct addr *server, const char *interface, struct explain_packet *out)
{
    struct packet *p = &out->packet;
    bool unreachable;

    memset(out, 0, sizeof(*out));
    out->asked = true;
    out->own = is_own(c, client) && !is_own(c, server);
    *p = (struct packet){ .protocol = protocol, .client = *client, .server = *server, .local = is_own(c, server) };
    if (interface != NULL)
        snprintf(out->interface_in, sizeof(out->interface_in), "%s", interface);
    else
        find_interface(route, client, out->interface_in, &unreachable);
    find_interface(route, server, out->interface_out, &out->no_route);
    p->zone_in = judge_zone(c, client, out->interface_in);
    p->zone_out = p->local ? zones_self(c->generation->conf) : judge_zone(c, server, out->interface_out);
    out->verdict = (struct packet_verdict){ p->local ? PACKET_INPUT : PACKET_FORWARD, -1, -1, -1, false, R_NONE };
    if (out->own)
        return;
    judge(c, out);
    follow(c, route, out);
}
