/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_PACKET_H
#define POSTERN_POLICY_PACKET_H

#include "policy/rules.h"

/*
 * What the packet filter does with the first packet of a flow: the same answer that the ruleset of filter/ruleset.h gives, as a
 * pure function, for `explain`, for rows of flows that the kernel forwards, and to tell which of them a new policy would not open.
 * Later packets follow the first one's verdict (connection tracking) and are never judged again.
 *
 * In order: a transparent listener may intercept it (TCP, one of its ports, a zone in its `from`, not to this machine); a port
 * forward may translate it; if it is for this machine, a listener's own port is open to the zones of its `from` (absent: everybody,
 * the worker judges), then policies to "self"; else policies from zone to zone. Only policies with the protocol tcp, udp or icmp
 * count, and only conditions that a packet can show: from, to, clients, networks, ports, and of `hosts` the addresses. A policy
 * with listeners, methods, paths, headers or hosts_file, or with names alone in `hosts`, never fits.
 *
 * The twin: UDP to a port that a transparent listener intercepts for this client would go around the proxy (QUIC). Only a policy
 * that names the port in `ports` lets it through; otherwise it is rejected, so that browsers fall back to TCP.
 */
struct packet {
    unsigned protocol;     /* CONF_TCP, CONF_UDP or CONF_ICMP */
    struct addr client;    /* with port */
    struct addr server;    /* with port; of icmp: 0 */
    int zone_in, zone_out; /* zone_out is that of the server; zones_self() if the server is this machine */
    bool local;            /* the server is this machine, as the kernel routes */
};

enum packet_fate {
    PACKET_DROP,      /* no policy, or action = "drop": silence */
    PACKET_REJECT,    /* action = "deny", or the twin: RST, or ICMP administratively prohibited */
    PACKET_FORWARD,   /* by the kernel, by `policy` */
    PACKET_INPUT,     /* to this machine, by `policy` */
    PACKET_LISTENER,  /* to the port of `listener`, explicit or reverse */
    PACKET_INTERCEPT, /* by the transparent listener `listener` */
    PACKET_TRANSLATE  /* by the port forward `forward`: let through to its `to` without a policy */
};
const char *packet_fate_name(enum packet_fate f); /* "drop", "reject", ... */

struct packet_verdict {
    enum packet_fate fate;
    int policy, listener, forward; /* index in the configuration, or -1 */
    bool twin;                     /* rejected because it would go around the proxy */
    enum reason reason;            /* R_NONE if it passes; R_POLICY_DENIED, R_NO_POLICY, R_ZONE_UNKNOWN, R_ADDRESS_PRIVATE */
};
struct packet_verdict packet_judge(const struct rules *rules, const struct packet *packet);

/* The facts of a packet as policies see them, for rules_near(): listener -1, the server's address as host in `host`. */
void packet_facts(const struct packet *packet, struct host *host, struct facts *facts);
/* Can this policy ever decide about packets of `protocol` (one bit)? */
bool packet_policy_fits(const struct conf_policy *policy, unsigned protocol);

/*
 * Connection marks that the ruleset sets, so that conntrack says what became of a flow: kind in the highest byte, number of the
 * policy or listener or forward plus one (0: none) in the lower two. Bits outside PACKET_MARK_MASK are left to others.
 */
#define PACKET_MARK_MASK 0xff00ffffu
enum packet_mark {
    PACKET_MARK_INTERCEPTED = 0x50, /* never forwarded */
    PACKET_MARK_WORKER = 0x51,      /* our own flow to a server */
    PACKET_MARK_TRANSLATED = 0x52,
    PACKET_MARK_FORWARDED = 0x53,
    PACKET_MARK_INPUT = 0x54
};
static inline uint32_t packet_mark(enum packet_mark kind, int index)
{
    return (uint32_t)kind << 24 | (uint32_t)(index + 1);
}
static inline unsigned packet_mark_kind(uint32_t mark)
{
    return mark >> 24;
}
static inline int packet_mark_index(uint32_t mark)
{
    return (int)(mark & 0xffff) - 1;
}

#endif
