/* SPDX-License-Identifier: ISC */
/*
 * Ways of packets. For each pair of zones between which the kernel forwards, and for each zone whose clients are intercepted, the
 * kernel is asked how it would route a packet of a client there, as if it came in by the zone's interface: that proves forwarding,
 * reverse path filtering and policy routing without sending anything.
 *
 * The trap with TPROXY: with src_valid_mark the kernel looks for the way back to the client with the packet's mark, finds the local
 * route that the mark is for, and drops the packet.
 */
#include "app/filter_doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL_PROTOCOLS (CONF_TCP | CONF_UDP | CONF_ICMP)
#define PAIRS_MAX 32

/* A client or server that could be in a zone. */
struct sample {
    struct addr address;
    char interface[IF_NAMESIZE];
};

static const char *family_name(int family)
{
    return family == AF_INET6 ? "IPv6" : "IPv4";
}

/* Somebody in the wide world; these are nobody's (RFC 5737, RFC 3849). */
static void stranger(int family, struct addr *out)
{
    static const struct addr strangers[] = { { .family = AF_INET, .ip = { 198, 51, 100, 77 } },
                                             { .family = AF_INET6, .ip = { 0x20, 0x01, 0x0d, 0xb8, [15] = 0x77 } } };

    *out = strangers[family == AF_INET6];
}

/* An address of the network that is not ours. */
static bool pick(const struct doctor *d, const struct network *network, struct addr *out)
{
    size_t last = network->base.family == AF_INET6 ? 15 : 3;

    if (network->bits < 8) {
        stranger(network->base.family, out);
        return true;
    }
    for (uint8_t k = 9; k-- > 0;) {
        *out = network->base;
        out->ip[last] = (uint8_t)(out->ip[last] + k);
        if (network_has(network, out) && !doctor_is_own(d, out))
            return true;
    }
    return false;
}

static bool sample_of(const struct doctor *d, size_t zone, int family, struct sample *out)
{
    const struct conf_zone *z = &d->conf->zones[zone];
    bool found = z->networks.count == 0;

    stranger(family, &out->address);
    for (size_t i = 0; i < z->networks.count && !found; i++)
        found = z->networks.items[i].base.family == family && pick(d, &z->networks.items[i], &out->address);
    out->interface[0] = '\0';
    for (size_t i = 0; i < z->interfaces.count && out->interface[0] == '\0'; i++)
        if (if_nametoindex(z->interfaces.items[i]) != 0)
            snprintf(out->interface, sizeof(out->interface), "%s", z->interfaces.items[i]);
    if (found && z->interfaces.count == 0)
        return route_find(d->filter->route, &out->address, out->interface) == ROUTE_FOUND && strcmp(out->interface, "lo") != 0;
    return found && out->interface[0] != '\0';
}

/* Does a policy let the kernel forward between these zones? */
static bool is_forwarded(const struct conf *conf, size_t from, size_t to)
{
    for (size_t i = 0; i < conf->policy_count && from != to; i++) {
        const struct conf_policy *p = &conf->policies[i];

        if (p->action == ACTION_ALLOW && p->protocols_given && (p->protocols & KERNEL_PROTOCOLS) &&
            doctor_names(&p->from, conf->zones[from].name) && doctor_names(&p->to, conf->zones[to].name))
            return true;
    }
    return false;
}

struct survey {
    size_t asked;
    bool failed;
    char finding[DOCTOR_TEXT], mend[DOCTOR_TEXT], canary[DOCTOR_TEXT];
    size_t canary_len;
};

static void note_failure(struct survey *s, const struct sample *from, const struct addr *to, int error)
{
    char client[ADDR_TEXT], server[ADDR_TEXT];

    if (s->failed)
        return;
    s->failed = true;
    addr_text(&from->address, client);
    addr_text(to, server);
    snprintf(s->finding, sizeof(s->finding), "a packet from %s on %s to %s would not be forwarded: %s", client, from->interface,
             server, error != 0 ? doctor_route_fault(error) : "it is delivered to this machine");
    snprintf(s->mend, sizeof(s->mend), "see ip route get %s from %s iif %s, and add the route that is missing", server, client,
             from->interface);
}

static void note_way(struct survey *s, const char *from, const char *to, const char *interface)
{
    if (s->canary_len < sizeof(s->canary))
        s->canary_len += (size_t)snprintf(s->canary + s->canary_len, sizeof(s->canary) - s->canary_len, "%s%s to %s goes out by %s",
                                          s->canary_len > 0 ? ", " : "", from, to, interface);
}

/* EXDEV is reverse path filtering's, which has a check of its own. */
static void survey_way(struct survey *s, const struct sample *from, const struct addr *to, const char *from_name,
                       const char *to_name)
{
    struct policy_route_answer answer;

    s->asked++;
    policy_route_ask(&from->address, to, from->interface, 0, &answer);
    if (answer.error == EXDEV)
        return;
    if (answer.error != 0 || answer.local)
        note_failure(s, from, to, answer.error);
    else
        note_way(s, from_name, to_name, answer.interface);
}

static void survey_pairs(const struct doctor *d, int family, struct survey *s)
{
    const struct conf *conf = d->conf;
    struct sample from, to;

    for (size_t i = 0; i < conf->zone_count; i++)
        for (size_t k = 0; k < conf->zone_count && s->asked < PAIRS_MAX; k++)
            if (is_forwarded(conf, i, k) && sample_of(d, i, family, &from) && sample_of(d, k, family, &to) &&
                strcmp(from.interface, to.interface) != 0)
                survey_way(s, &from, &to.address, conf->zones[i].name, conf->zones[k].name);
}

static void survey_forwards(const struct doctor *d, int family, struct survey *s)
{
    const struct conf *conf = d->conf;
    struct sample from;

    for (size_t i = 0; i < conf->packet_filter.forward_count; i++) {
        const struct conf_forward *f = &conf->packet_filter.forwards[i];
        char to[ADDR_TEXT];

        for (size_t k = 0; k < conf->zone_count && f->to.family == family && s->asked < PAIRS_MAX; k++)
            if (doctor_names(&f->from, conf->zones[k].name) && sample_of(d, k, family, &from))
                survey_way(s, &from, &f->to, conf->zones[k].name, addr_text(&f->to, to));
    }
}

static void check_forwarding(struct doctor *d, int family)
{
    const char *key = family == AF_INET6 ? "net.ipv6.conf.all.forwarding" : "net.ipv4.ip_forward";
    long set = doctor_sysctl(family == AF_INET6 ? "net/ipv6/conf/all/forwarding" : "net/ipv4/ip_forward");
    char name[32], text[DOCTOR_TEXT], mend[DOCTOR_TEXT];
    struct survey s = { 0 };

    survey_pairs(d, family, &s);
    survey_forwards(d, family, &s);
    snprintf(name, sizeof(name), "forwarding %s", family_name(family));
    snprintf(text, sizeof(text), "%s is %ld%s", key, set, s.asked == 0 ? ", and no policy lets the kernel forward" : "");
    snprintf(mend, sizeof(mend), "sysctl -w %s=1", key);
    if (s.asked > 0 && set < 1)
        doctor_check(d, name, false, text, mend, s.failed ? s.finding : NULL);
    else if (s.failed)
        doctor_check(d, name, false, s.finding, s.mend, NULL);
    else
        doctor_check(d, name, true, text, NULL, s.canary_len > 0 ? s.canary : NULL);
}

void doctor_forwarding(struct doctor *d)
{
    check_forwarding(d, AF_INET);
    if (doctor_has_family(d, AF_INET6))
        check_forwarding(d, AF_INET6);
}

static bool marks_packets(const struct conf *conf)
{
    for (size_t i = 0; i < conf->listener_count; i++)
        if (conf->listeners[i].mode == MODE_TRANSPARENT &&
            (conf->listeners[i].intercept == INTERCEPT_TPROXY || conf->listeners[i].preserve_client_address))
            return true;
    return false;
}

/* The kernel takes the larger of `all` and the interface's own. */
static long interface_sysctl(const char *interface, const char *key)
{
    char path[96];
    long all, own;

    snprintf(path, sizeof(path), "net/ipv4/conf/all/%s", key);
    all = doctor_sysctl(path);
    snprintf(path, sizeof(path), "net/ipv4/conf/%s/%s", interface, key);
    own = doctor_sysctl(path);
    return all > own ? all : own;
}

/* Would a packet of the zone's clients come in at all? To this machine is enough: the source is what is looked at. */
static void check_interface(struct doctor *d, const char *zone, const struct sample *client, const struct addr *to)
{
    struct policy_route_answer answer;
    char name[64], finding[DOCTOR_TEXT], mend[DOCTOR_TEXT], canary[DOCTOR_TEXT], address[ADDR_TEXT];
    long filter = interface_sysctl(client->interface, "rp_filter");
    bool trapped = marks_packets(d->conf) && interface_sysctl(client->interface, "src_valid_mark") > 0;

    policy_route_ask(&client->address, to, client->interface, 0, &answer);
    snprintf(name, sizeof(name), "reverse path %s", client->interface);
    snprintf(finding, sizeof(finding), "rp_filter is %ld", filter);
    snprintf(canary, sizeof(canary), "a packet from %s of zone %s: %s", addr_text(&client->address, address), zone,
             answer.error == 0 ? "taken" : doctor_route_fault(answer.error));
    snprintf(mend, sizeof(mend), "sysctl -w net.ipv4.conf.%s.rp_filter=2, or add the route back to %s by %s", client->interface,
             address, client->interface);
    if (trapped) {
        snprintf(finding, sizeof(finding), "src_valid_mark is on: packets that are intercepted are dropped as martians");
        snprintf(mend, sizeof(mend), "sysctl -w net.ipv4.conf.all.src_valid_mark=0 net.ipv4.conf.%s.src_valid_mark=0",
                 client->interface);
    }
    doctor_check(d, name, !trapped && answer.error != EXDEV && answer.error != EINVAL, finding, mend, canary);
}

/* An address of ours on this interface, or any. */
static const struct addr *own_address(const struct doctor *d, const char *interface)
{
    const struct addr *any = NULL;

    for (size_t i = 0; i < d->own_count; i++) {
        if (d->own[i].address.family != AF_INET || addr_is_loopback(&d->own[i].address))
            continue;
        any = &d->own[i].address;
        if (strcmp(d->own[i].interface, interface) == 0)
            break;
    }
    return any;
}

void doctor_reverse_path(struct doctor *d)
{
    for (size_t i = 0; i < d->conf->zone_count; i++) {
        const struct addr *to;
        struct sample client;

        if (!sample_of(d, i, AF_INET, &client) || (to = own_address(d, client.interface)) == NULL)
            continue;
        check_interface(d, d->conf->zones[i].name, &client, to);
    }
}

/* Is a packet of an intercepted client, with our mark, delivered here? */
static bool is_delivered(const struct doctor *d, int family, char canary[DOCTOR_TEXT])
{
    struct policy_route_answer answer = { .error = 0, .local = true };
    struct sample client;
    struct addr server;

    canary[0] = '\0';
    stranger(family, &server);
    for (size_t i = 0; i < d->conf->zone_count && answer.local && canary[0] == '\0'; i++) {
        char from[ADDR_TEXT], to[ADDR_TEXT];

        if (!sample_of(d, i, family, &client) || addr_same_ip(&client.address, &server))
            continue;
        policy_route_ask(&client.address, &server, client.interface, ROUTE_MARK, &answer);
        snprintf(canary, DOCTOR_TEXT, "a marked packet from %s on %s to %s: %s", addr_text(&client.address, from), client.interface,
                 addr_text(&server, to),
                 answer.local        ? "delivered here"
                 : answer.error != 0 ? doctor_route_fault(answer.error)
                                     : "sent on");
    }
    return answer.local;
}

static void check_policy_routing(struct doctor *d, int family)
{
    char name[32], canary[DOCTOR_TEXT];
    bool present = policy_route_present(family), delivered = is_delivered(d, family, canary);

    snprintf(name, sizeof(name), "policy routing %s", family_name(family));
    doctor_check(d, name, present && delivered,
                 !present    ? "rule or local route for intercepted packets are missing"
                 : delivered ? "rule and local route for intercepted packets are there"
                             : "rule and local route are there, and yet intercepted packets do not come here",
                 present ? "a dropped packet: see its reverse path. Else ip rule: no rule with a lower number may take the mark"
                         : "posternctl reload (it installs them again)",
                 canary[0] != '\0' ? canary : NULL);
}

void doctor_policy_routing(struct doctor *d)
{
    bool wanted[2] = { false, false };

    for (size_t i = 0; i < d->conf->listener_count; i++) {
        const struct conf_listener *l = &d->conf->listeners[i];

        if (l->mode == MODE_TRANSPARENT && (l->intercept == INTERCEPT_TPROXY || l->preserve_client_address))
            wanted[l->address.family == AF_INET6] = true;
    }
    if (wanted[0])
        check_policy_routing(d, AF_INET);
    if (wanted[1])
        check_policy_routing(d, AF_INET6);
}
