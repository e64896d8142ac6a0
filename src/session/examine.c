/* SPDX-License-Identifier: ISC */
/*
 * What a request is and where it wants to go, said once for live requests and for the dry run of `explain`: nothing here knows a
 * session. The target comes from the request itself (explicit proxy), from the tunnel that it came through, from what an
 * intercepted client dialled, or from the operator (reverse); whatever else in the request names a host must say the same.
 */
#include "session/examine.h"

#include "base/mutant.h"

#include <string.h>

#define DEFAULT_PORT 80
#define DEFAULT_PORT_TLS 443

static bool needs_tls(const struct target *target)
{
    return target->scheme == SCHEME_HTTPS || target->scheme == SCHEME_WSS;
}

/* The target's and the Host field's; 0: the scheme's. */
static bool same_port(const struct target *target, uint16_t port)
{
    uint16_t standard = needs_tls(target) ? DEFAULT_PORT_TLS : DEFAULT_PORT;

    return (target->port ? target->port : standard) == (port ? port : standard);
}

/* The Host field, parsed; the caller knows what it must fit. */
static enum reason read_host(const struct examine *q, const struct h1_head *head, struct host *host, uint16_t *port)
{
    host->len = 0;
    *port = 0;
    if (head->host.at == NULL)
        return R_NONE;
    return FAULT(C7_HOST, !host_recall_authority(q->hosts, host, port, head->host)) ? R_HOST_MALFORMED : R_NONE;
}

/* Absolute-form: the target says where to, and Host must say the same (RFC 9112 3.2.2, strictly). Mostly it does to the letter. */
static enum reason explicit_target(const struct examine *q, struct judgement *j, const struct h1_head *head,
                                   const struct target *target)
{
    bool alike = target->authority.len > 0 && span_eq(head->host, target->authority);
    struct host host;
    uint16_t port;
    enum reason why = alike ? R_NONE : read_host(q, head, &host, &port);

    if (why != R_NONE)
        return why;
    if (target->form != TARGET_ABSOLUTE || needs_tls(target) || (target->scheme == SCHEME_WS && !head->upgrade_websocket))
        return R_TARGET_MALFORMED; /* what is inside TLS is asked for with CONNECT */
    if (FAULT(C7_EXPLICIT, !alike && host.len > 0 && (!host_eq(&host, &target->host) || !same_port(target, port))))
        return R_HOST_MISMATCH;
    j->host = j->dial = target->host;
    j->port = target->port ? target->port : DEFAULT_PORT;
    return R_NONE;
}

/* Inside a tunnel: Host must name what the tunnel was opened to; a missing port is the tunnel's. */
static enum reason tunnel_target(const struct examine *q, struct judgement *j, const struct h1_head *head,
                                 const struct target *target)
{
    const struct tunnel *tunnel = q->tunnel;
    struct host host;
    uint16_t port;
    enum reason why = read_host(q, head, &host, &port);

    if (why != R_NONE)
        return why;
    if (target->form == TARGET_AUTHORITY)
        return R_TARGET_MALFORMED;
    if (FAULT(C7_TUNNEL, host.len == 0 || !host_eq(&host, &tunnel->host) || (port != 0 && port != tunnel->port)))
        return R_HOST_MISMATCH;
    if (target->form == TARGET_ABSOLUTE && (!host_eq(&target->host, &host) || (target->port != 0 && target->port != tunnel->port)))
        return R_HOST_MISMATCH;
    j->host = j->dial = tunnel->host;
    j->port = tunnel->port;
    return R_NONE;
}

/* Does Host give the listener's own address? That is what the client dialled, whatever it asked the handshake for. */
static bool is_address_of(const struct conf_listener *listener, const struct host *host)
{
    return host->ip.family != 0 && addr_same_ip(&host->ip, &listener->address);
}

/* Reverse: policies see the Host field, the operator's upstream is dialled. */
static enum reason reverse_target(const struct examine *q, struct judgement *j, const struct h1_head *head,
                                  const struct target *target)
{
    const struct conf_listener *listener = q->listener;
    const struct conf_upstream *upstream = &listener->upstreams[q->upstream_index % listener->upstream_count];
    uint16_t port;
    enum reason why = read_host(q, head, &j->host, &port);

    if (why != R_NONE)
        return why;
    if (target->form == TARGET_AUTHORITY)
        return R_TARGET_MALFORMED;
    if (FAULT(C7_REVERSE, target->form == TARGET_ABSOLUTE && (!host_eq(&target->host, &j->host) || !same_port(target, port))))
        return R_HOST_MISMATCH;
    if (q->name != NULL && j->host.len > 0 && !host_eq(q->name, &j->host) && !is_address_of(q->listener, &j->host))
        return R_HOST_MISMATCH; /* that name was shown its certificate, and maybe asked for one */
    if (upstream->ip.family != 0)
        host_from_literal(&j->dial, &upstream->ip, span_str(upstream->host));
    else if (!host_parse(&j->dial, span_str(upstream->host)))
        return R_INTERNAL;
    j->port = upstream->port;
    j->facts.operators_word = true;
    return R_NONE;
}

/*
 * Intercepted: the client takes us for the server, so Host must name what it dialled (a missing port is the one that it dialled).
 * Whether a name does is known when it is resolved.
 */
static enum reason transparent_target(const struct examine *q, struct judgement *j, const struct h1_head *head,
                                      const struct target *target)
{
    uint16_t port;
    enum reason why = read_host(q, head, &j->host, &port);

    if (why != R_NONE)
        return why;
    if (target->form == TARGET_AUTHORITY)
        return R_TARGET_MALFORMED;
    if (q->original == NULL || q->original->family == 0)
        return R_NO_ORIGINAL_DESTINATION;
    if (j->host.len == 0)
        host_from_addr(&j->host, q->original);
    if (FAULT(C7_TRANSPARENT, port != 0 && port != q->original->port))
        return R_HOST_MISMATCH;
    if (target->form == TARGET_ABSOLUTE &&
        (!host_eq(&target->host, &j->host) || (target->port != 0 && target->port != q->original->port)))
        return R_HOST_MISMATCH;
    return judge_original(j, q->original, q->listener->host_check, R_HOST_MISMATCH);
}

static enum reason find_target(const struct examine *q, struct judgement *j, const struct h1_head *head,
                               const struct target *target)
{
    if (needs_tls(target) && !q->secure)
        return R_TARGET_MALFORMED;
    if (q->tunnel != NULL)
        return tunnel_target(q, j, head, target);
    switch (q->listener->mode) {
    case MODE_EXPLICIT:
        return explicit_target(q, j, head, target);
    case MODE_TRANSPARENT:
        return transparent_target(q, j, head, target);
    case MODE_REVERSE:
        return reverse_target(q, j, head, target);
    case MODE_FORWARDED:
    case MODE_COUNT:
        break;
    }
    return R_INTERNAL;
}

/* Have we passed this request on before (RFC 9110 7.6.3)? */
static bool is_loop(const struct examine *q, const struct h1_head *head)
{
    const struct conf_listener *listener = q->listener;
    struct span own = span_str(listener->via[0] ? listener->via : q->generation->instance);

    if (listener->via_off || !h1_has(head, H1_VIA))
        return false;
    for (size_t i = 0; i < head->field_count; i++) {
        struct span list = head->fields[i].value, item;

        while (head->fields[i].id == H1_VIA && span_next_item(&list, &item)) {
            const char *space = item.len > 0 ? memchr(item.at, ' ', item.len) : NULL;
            struct span by = space ? span_trim(span_skip(item, (size_t)(space - item.at))) : item;
            const char *end = by.len > 0 ? memchr(by.at, ' ', by.len) : NULL;

            if (end != NULL)
                by.len = (size_t)(end - by.at);
            if (span_ieq(by, own))
                return true;
        }
    }
    return false;
}

/* What the request is: its protocol, and for a WebSocket its handshake. */
static enum reason read_protocol(struct judgement *j, const struct h1_head *head, struct ws_offer *offer)
{
    if (FAULT(C13_PROTOCOL, head->upgrade && !head->upgrade_websocket))
        return R_UPGRADE_REFUSED;
    j->facts.protocol = head->upgrade_websocket ? CONF_WEBSOCKET : CONF_HTTP;
    j->facts.known |= KNOWN_PROTOCOL;
    return head->upgrade_websocket ? ws_request_check(head, offer) : R_NONE;
}

enum reason examine_request(const struct examine *q, const struct h1_head *head, struct target *target, struct judgement *j,
                            struct ws_offer *offer)
{
    enum reason why = target_parse(target, head->method, head->target, q->scratch, TARGET_BUFFER(head->target.len));

    if (why == R_NONE)
        why = find_target(q, j, head, target);
    if (why == R_NONE)
        why = read_protocol(j, head, offer);
    if (why == R_NONE && is_loop(q, head))
        why = R_LOOP;
    if (why != R_NONE)
        return why;
    j->facts.method = head->method;
    j->facts.path = target->path;
    j->facts.head = head;
    j->facts.known |= KNOWN_REQUEST;
    return R_NONE;
}

enum reason examine_connect(const struct examine *q, const struct h1_head *head, struct target *target)
{
    enum reason why = target_parse(target, head->method, head->target, q->scratch, TARGET_BUFFER(head->target.len));
    struct host host;
    uint16_t port;

    if (why == R_NONE && FAULT(C13_CONNECT, head->framing != H1_NO_BODY))
        why = R_FRAMING_AMBIGUOUS;
    if (why == R_NONE)
        why = read_host(q, head, &host, &port);
    if (why == R_NONE && FAULT(C7_CONNECT, host.len > 0 && (!host_eq(&host, &target->host) || (port != 0 && port != target->port))))
        why = R_HOST_MISMATCH;
    return why == R_NONE && is_loop(q, head) ? R_LOOP : why;
}

/* The policies that allow the addresses also say what a WebSocket's handshake may be. */
static enum reason judge_handshake(const struct generation *g, const struct judgement *j, const struct h1_head *head,
                                   struct ws_offer *offer)
{
    for (size_t i = 0; i < j->address_count; i++) {
        enum reason why;

        if (i > 0 && j->policies[i] == j->policies[i - 1])
            continue;
        why = rules_websocket(&g->conf->policies[j->policies[i]], head, offer);
        if (why != R_NONE)
            return why;
    }
    return R_NONE;
}

enum reason examine_addresses(const struct judge_context *c, struct judgement *j, const struct h1_head *head,
                              struct ws_offer *offer)
{
    enum reason why = judge_addresses(c, j, true);

    if (why != R_NONE)
        return why;
    j->stage = head->upgrade_websocket ? STAGE_UPGRADE : STAGE_EXCHANGE;
    if (!head->upgrade_websocket)
        return R_NONE;
    why = judge_handshake(c->generation, j, head, offer);
    if (j->trail_count < JUDGE_TRAIL) {
        j->trail[j->trail_count] = (struct explain_step){ STAGE_UPGRADE, j->verdict };
        j->trail[j->trail_count].verdict.granted = why == R_NONE;
        j->trail[j->trail_count++].verdict.reason = why;
    }
    return why;
}
