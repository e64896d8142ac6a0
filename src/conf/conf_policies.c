/* SPDX-License-Identifier: ISC */
/*
 * What is odd about one policy, seen for itself: conditions that can never be true together, groups that are never looked at,
 * and a policy that allows everything. These are warnings: such a policy is useless or dangerous, not unclear. (Policies that
 * another one hides are in conf_reach.c.)
 */
#include "conf/conf_check.h"

#include <stdio.h>
#include <string.h>

#define PATH 80
#define REQUESTS (CONF_HTTP | CONF_WEBSOCKET) /* protocols that have requests Postern can read */

/* One policy under the eye. */
struct eye {
    const struct conf *conf;
    const struct conf_policy *policy;
    const struct conf_node *node;
    struct conf_report *report;
};

static void warn(const struct eye *e, const char *key, const char *message)
{
    char path[PATH];

    snprintf(path, sizeof(path), "policies.%s.%s", e->policy->name, key);
    conf_report_warning(e->report, conf_member_line(e->node, key), path, "%s", message);
}

static bool has(const struct conf_strings *strings, const char *text)
{
    for (size_t i = 0; i < strings->count; i++)
        if (strcmp(strings->items[i], text) == 0)
            return true;
    return false;
}

static bool share_one(const struct conf_strings *a, const struct conf_strings *b)
{
    for (size_t i = 0; i < a->count; i++)
        if (has(b, a->items[i]))
            return true;
    return false;
}

static bool has_address(const struct conf_strings *hosts)
{
    struct addr address;

    for (size_t i = 0; i < hosts->count; i++)
        if (addr_parse(&address, span_str(hosts->items[i]), 0))
            return true;
    return false;
}

bool conf_policy_asks_more(const struct conf_policy *p)
{
    return p->listeners.count || p->methods.count || p->paths.count || p->header_count || p->hosts_file != NULL ||
           p->tls_fingerprints.count || p->client_certificates.count;
}

bool conf_policy_fits_packets(const struct conf_policy *p)
{
    return (p->protocols & CONF_KERNEL) && !conf_policy_asks_more(p) && (p->hosts.count == 0 || has_address(&p->hosts));
}

/* Policies about packets, which show addresses and ports and nothing else. (Methods, paths and headers: check_requests().) */
static void check_packets(const struct eye *e)
{
    const struct conf_policy *p = e->policy;
    bool from_self = p->from.count > 0;

    if ((p->protocols & CONF_KERNEL) && e->conf->packet_filter.line == 0)
        warn(e, "protocols", "tcp, udp and icmp are never looked at without packet_filter");
    if (p->protocols == 0 || (p->protocols & ~CONF_KERNEL))
        return;
    if (p->listeners.count > 0)
        warn(e, "listeners", "can never be true: tcp, udp and icmp are forwarded by the kernel and come in by no listener");
    if (p->hosts_file != NULL)
        warn(e, "hosts_file", "can never be true: packets name no host");
    if (p->hosts.count > 0 && !has_address(&p->hosts))
        warn(e, "hosts", "can never be true: packets name no host, and there is no address among them");
    if (p->tls_fingerprints.count > 0)
        warn(e, "tls_fingerprints", "can never be true: of packets no ClientHello is looked at");
    if (p->client_certificates.count > 0)
        warn(e, "client_certificates", "can never be true: packets come by no listener");
    if (p->ports.count > 0 && p->protocols == CONF_ICMP)
        warn(e, "ports", "can never be true: icmp has no ports");
    for (size_t i = 0; i < p->from.count; i++)
        from_self &= strcmp(p->from.items[i], CONF_SELF) == 0;
    if (from_self)
        warn(e, "from", "is never looked at: what this machine itself sends always passes the packet filter");
}

/*
 * The default of protocols has none that the kernel forwards, so what looks like a wall stops requests alone. A condition that only
 * requests and names fulfil says that no more is meant.
 */
static void check_wall(const struct eye *e)
{
    const struct conf_policy *p = e->policy;
    bool shown = p->from.count || p->to.count || p->clients.count || p->networks.count || p->ports.count;
    bool unseen = p->hosts.count || conf_policy_asks_more(p);

    if (e->conf->packet_filter.line != 0 && p->action != ACTION_ALLOW && !p->protocols_given && shown && !unseen)
        warn(e, "action", "does not stop tcp, udp or icmp that the kernel forwards: name them in protocols");
}

static void check_requests(const struct eye *e)
{
    const struct conf_policy *p = e->policy;
    static const char never[] = "can never be seen: the protocols of this policy have no requests that are read";

    if (p->protocols & REQUESTS)
        return;
    if (p->methods.count > 0)
        warn(e, "methods", never);
    if (p->paths.count > 0)
        warn(e, "paths", never);
    if (p->header_count > 0)
        warn(e, "headers", never);
}

/* Groups that say how an allowed stream is treated. */
static void check_treatment(const struct eye *e)
{
    const struct conf_policy *p = e->policy;
    bool allows = p->action == ACTION_ALLOW;

    if (p->websocket.line != 0 && !(allows && (p->protocols & CONF_WEBSOCKET)))
        warn(e, "websocket", "is never looked at: this policy allows no WebSocket");
    if (p->upstream_reuse != REUSE_SESSION && !(allows && (p->protocols & REQUESTS)))
        warn(e, "upstream_reuse", "is never looked at: this policy allows no requests");
}

/* Conditions against the listeners that the policy is for: all of them if it names none. */
static void check_listeners(const struct eye *e)
{
    const struct conf_policy *p = e->policy;
    size_t considered = 0, reverse = 0, fit = 0;

    for (size_t i = 0; i < e->conf->listener_count; i++) {
        const struct conf_listener *l = &e->conf->listeners[i];

        if (l->line == 0 || (p->listeners.count > 0 && !has(&p->listeners, l->name)))
            continue;
        considered++;
        reverse += l->mode == MODE_REVERSE;
        fit += p->from.count == 0 || l->from.count == 0 || share_one(&p->from, &l->from);
    }
    if (considered == 0 || conf_policy_fits_packets(p))
        return;
    if (fit == 0)
        warn(e, "from", "can never be true: no listener of this policy takes clients from these zones");
    if (reverse == considered && p->to.count > 0)
        warn(e, "to", "is always true: upstreams of reverse listeners are exempt");
}

static void check_openness(const struct eye *e)
{
    const struct conf_policy *p = e->policy;
    bool conditions = p->from.count || p->to.count || p->clients.count || p->networks.count || p->hosts.count || p->ports.count ||
                      conf_policy_asks_more(p);

    if (p->action == ACTION_ALLOW && !conditions)
        warn(e, "action", "this policy has no condition: it allows every client everything");
}

void conf_check_policies(const struct conf *conf, const struct conf_node *list, struct conf_report *report)
{
    for (size_t i = 0; i < conf->policy_count; i++) {
        struct eye e = { conf, &conf->policies[i], conf_node_at(list, i), report };

        if (e.policy->line == 0)
            continue;
        check_packets(&e);
        check_wall(&e);
        check_requests(&e);
        check_treatment(&e);
        if (e.policy->websocket.line != 0)
            conf_check_websocket(conf, e.policy, conf_node_member(e.node, "websocket"), report);
        check_listeners(&e);
        check_openness(&e);
    }
}
