/* SPDX-License-Identifier: ISC */
/*
 * Live revocation: what lives long is judged again when a new generation comes into force. A WebSocket keeps its request head as it
 * was sent to the server, a tunnel only what it was opened to; both go through the rules as if they were opened now, on the address
 * that they are connected to. What is no longer allowed ends with 1008, everything else goes on byte for byte.
 */
#include "session/examine.h"
#include "session/handshake.h"
#include "session/state.h"
#include "session/websocket.h"

#include <stdlib.h>
#include <string.h>

void standing_free(struct session *s)
{
    free(s->standing);
    s->standing = NULL;
}

/* In one piece, as large as it has to be: there may be very many. */
bool standing_keep(struct session *s, const struct judgement *j, struct span head)
{
    struct standing *standing = malloc(sizeof(*standing) + j->host.len + head.len);

    if (standing == NULL)
        return false;
    *standing = (struct standing){ .host_ip = j->host.ip,
                                   .host_len = j->host.len,
                                   .port = j->port,
                                   .protocol = j->facts.protocol,
                                   .operators_word = j->facts.operators_word,
                                   .head_len = (uint32_t)head.len };
    memcpy(standing->text, j->host.name, j->host.len);
    if (head.len > 0)
        memcpy(standing->text + j->host.len, head.at, head.len);
    standing_free(s);
    s->standing = standing;
    return true;
}

static struct host host_of(const struct standing *standing)
{
    struct host host = { .ip = standing->host_ip, .len = standing->host_len };

    memcpy(host.name, standing->text, standing->host_len);
    return host;
}

static struct span head_of(const struct standing *standing)
{
    return span_of(standing->text + standing->host_len, standing->head_len);
}

/* The request as it would be judged now: only what conditions look at, and of compression what was agreed on. */
static enum reason read_again(struct session *s, const struct generation *g, struct facts *facts, struct ws_offer *offer)
{
    const struct conf_limits *l = &g->conf->limits;
    struct h1_limits limits = { l->header_bytes * 2, H1_FIELDS_MAX, l->uri_bytes * 4 };
    struct h1_head *head = &s->engine->request_head;
    struct target target;
    enum reason why = h1_parse(head, H1_REQUEST, head_of(s->standing), &limits, NULL);

    if (why == R_NONE)
        why = target_parse(&target, head->method, head->target, s->engine->text, TARGET_BUFFER(head->target.len));
    if (why != R_NONE)
        return why;
    facts->method = head->method;
    facts->path = target.path;
    facts->head = head;
    facts->known |= KNOWN_REQUEST;
    why = ws_request_check(head, offer);
    offer->deflate = s->websocket->agreed;
    return why;
}

static enum reason judge_handshake(const struct session *s, const struct conf_policy *policy, const struct judgement *j,
                                   struct ws_offer *offer)
{
    enum reason why = rules_websocket(policy, j->facts.head, offer);

    return why == R_NONE && !websocket_fits(s->websocket, policy) ? R_EXTENSION_DENIED : why;
}

/* TLS that passes unread: a policy may want another kind of hello now, or to see into it. */
static enum reason judge_peeked(const struct session *s, const struct conf_policy *policy, const struct judgement *j)
{
    enum reason why = inspect_hello_fits(s, policy);

    return why == R_NONE && j->facts.protocol == CONF_TLS && policy->inspect ? R_TUNNEL_PROTOCOL : why;
}

static enum reason judge_again(struct session *s, const struct generation *g, int listener, struct judgement *j)
{
    const struct standing *standing = s->standing;
    struct judge_context context = engine_judge_context(s->engine, g);
    char interface[TABLE_NAME_SIZE];
    struct ws_offer offer;
    enum reason why = R_NONE;

    judge_init(j, listener, &s->row->client,
               judge_zone(&context, &s->row->client, table_name(s->engine->shard, s->row->interface_in, interface)));
    handshake_judge(s, j, true);
    j->host = host_of(standing);
    j->port = standing->port;
    j->facts.operators_word = standing->operators_word;
    j->facts.protocol = standing->protocol;
    j->facts.known |= KNOWN_PROTOCOL | KNOWN_TARGET;
    j->facts.host = j->host.len > 0 ? &j->host : NULL;
    j->facts.port = j->port;
    j->addresses[0] = s->server_address;
    j->address_count = 1;
    if (standing->head_len > 0)
        why = read_again(s, g, &j->facts, &offer);
    if (why == R_NONE)
        why = judge_addresses(&context, j, true);
    if (why == R_NONE && standing->head_len == 0 && s->tls != NULL && s->tls->inside != NULL)
        why = judge_peeked(s, &g->conf->policies[j->verdict.policy], j);
    if (why == R_NONE && standing->head_len > 0)
        why = judge_handshake(s, &g->conf->policies[j->verdict.policy], j, &offer);
    return why;
}

/* Who says no: the policy that denies, or whose handshake the stream does not fit any more; otherwise the reason. */
static void revoke(struct session *s, const struct generation *g, const struct judgement *j, enum reason why)
{
    const struct conf_policy *policy = j->verdict.policy >= 0 ? &g->conf->policies[j->verdict.policy] : NULL;
    bool named = policy != NULL && (why == R_POLICY_DENIED || j->verdict.granted);

    if (s->phase == PHASE_WEBSOCKET)
        websocket_revoke(s, named ? policy->name : reason_name(why), named ? policy->line : 0);
    else
        session_finish(s, R_REVOKED, CLOSER_POSTERN);
}

static void go_on(struct session *s, const struct judgement *j)
{
    if (!session_adopt_generation(s)) {
        session_finish(s, R_REVOKED, CLOSER_POSTERN);
        return;
    }
    if (session_is_inspected(s) && inspect_again(s) != R_NONE) {
        revoke(s, s->generation, j, R_TUNNEL_PROTOCOL);
        return;
    }
    report_judged(s, j);
    if (s->phase == PHASE_WEBSOCKET)
        websocket_renew(s, j->verdict.policy);
}

void session_judge_again(struct session *s)
{
    const struct generation *g = s->engine->generation;
    struct judgement j;
    int listener;
    enum reason why;

    if (s->standing == NULL || s->generation == g || s->phase == PHASE_CLOSING)
        return;
    listener = session_find_listener(s, g->conf);
    if (listener < 0)
        return; /* its listener is gone: it lives on under the generation that opened it */
    why = judge_again(s, g, listener, &j);
    if (why == R_NONE && handshake_is_outdated(s, g, listener))
        why = R_CLIENT_CERTIFICATE;
    if (why == R_NONE && s->phase == PHASE_WEBSOCKET)
        why = caps_move(s, &g->conf->policies[j.verdict.policy]);
    if (why == R_NONE)
        go_on(s, &j);
    else
        revoke(s, g, &j, why);
    session_run(s);
}
