/* SPDX-License-Identifier: ISC */
/*
 * What a dry run judges: the head that a client would send, and then, by the addresses that are known or assumed, what comes of it.
 * Each step is that of a live request: the same parser, the same examination, the same stages.
 *
 *   explain_first   the head, its examination, the stages before addresses are known
 *   explain_rest    the stages after that
 *   judge_tls       what is in a tunnel: does it pass unread, or is it inspected?
 *   judge_inside    the request that is inspected, judged like a live one
 */
#include "session/explain_work.h"

#include <string.h>

static const struct conf *conf_of(const struct pending *p)
{
    return p->generation->conf;
}

/* Scans and parses the head as a live one. */
static enum reason read_head(struct pending *p, struct span bytes)
{
    const struct conf_limits *l = &conf_of(p)->limits;
    struct h1_limits limits = { l->header_bytes, l->header_count, l->uri_bytes };
    struct h1_scan scan = { 0 };
    uint32_t head_len = 0;
    enum reason why = R_HEAD_MALFORMED;

    switch (h1_scan(&scan, H1_REQUEST, &limits, bytes, &head_len, &why)) {
    case H1_DONE:
        return head_len == bytes.len ? h1_parse(&p->head, H1_REQUEST, bytes, &limits, NULL) : R_HEAD_MALFORMED;
    case H1_MORE:
        return R_HEAD_MALFORMED;
    case H1_BAD:
        break;
    }
    return why;
}

static enum reason judge_bytes(struct pending *p, enum conf_protocol protocol)
{
    struct judge_context context = engine_judge_context(p->engine, p->generation);
    struct judgement *j = &p->judge;

    j->facts.known |= KNOWN_PROTOCOL;
    j->facts.protocol = protocol;
    return judge_stage(&context, j, STAGE_BYTES, true);
}

/* A ClientHello as clients send it: it names the target, and nothing is known of its fingerprint. */
static enum reason judge_tls(struct pending *p)
{
    struct judgement *j = &p->judge, as_tls;
    const struct conf_policy *policy;

    if (p->question.original == NULL && judge_bytes(p, CONF_TLS) != R_NONE) {
        as_tls = *j;
        j->trail_count -= j->trail_count > 0; /* of several tries the last one is told */
        if (judge_bytes(p, CONF_TUNNEL) != R_NONE) {
            *j = as_tls;
            return R_TUNNEL_PROTOCOL;
        }
    }
    policy = &conf_of(p)->policies[j->verdict.policy];
    if (j->host.ip.family != 0 && !policy->sni_optional)
        return R_SNI_MISSING; /* addresses are no server names (RFC 6066 3) */
    p->answer.tls = j->facts.protocol == CONF_TLS && policy->inspect ? EXPLAIN_TLS_INSPECTED : EXPLAIN_TLS_UNREAD;
    return R_NONE;
}

/* CONNECT: nothing is known of what will be said in the tunnel. If it were TLS? */
static void foresee_tls(struct pending *p)
{
    const struct judgement before = p->judge;

    if (judge_tls(p) != R_NONE)
        p->answer.tls = EXPLAIN_TLS_NONE;
    p->judge = before;
}

/* As a live request would find it at this moment. */
static enum reason ask_caps(struct pending *p)
{
    const struct conf_policy *policy = &conf_of(p)->policies[p->judge.verdict.policy];
    const struct conf_websocket *ws = &policy->websocket;
    struct explain_answer *a = &p->answer;

    if (!p->head.upgrade_websocket || (ws->streams == 0 && ws->streams_per_client == 0))
        return R_NONE;
    a->counted = true;
    a->caps = caps_read(p->engine, policy, &p->query.from);
    return caps_are_full(ws, &a->caps) ? R_STREAM_LIMIT : R_NONE;
}

/* The request, and the addresses of its server, are known. */
static enum reason judge_request(struct pending *p)
{
    struct judge_context context = engine_judge_context(p->engine, p->generation);
    enum reason why = examine_addresses(&context, &p->judge, &p->head, &p->offer);

    return why == R_NONE ? ask_caps(p) : why;
}

/* The same tunnel, on the same addresses: only what is asked for in it is new. */
static enum reason judge_inside(struct pending *p)
{
    struct judge_context context = engine_judge_context(p->engine, p->generation);
    struct judgement *j = &p->judge;
    const struct judgement outside = *j;
    struct text head;
    enum reason why;

    p->inside = (struct tunnel){ .host = j->host, .port = j->port };
    p->question.tunnel = &p->inside;
    judge_init(j, outside.facts.listener, &outside.facts.client, outside.facts.zone_in);
    memcpy(j->trail, outside.trail, sizeof(j->trail));
    j->trail_count = outside.trail_count;
    memcpy(j->addresses, outside.addresses, sizeof(j->addresses));
    j->address_count = outside.address_count;
    text_init(&head, p->text, sizeof(p->text));
    explain_head_write_inside(&p->url, &p->query, &head);
    why = head.overflow ? R_HEAD_TOO_LARGE : read_head(p, span_of(head.at, head.len));
    if (why == R_NONE)
        why = examine_request(&p->question, &p->head, &p->target, j, &p->offer);
    if (why == R_NONE)
        why = judge_target(&context, j);
    if (why == R_NONE)
        why = judge_request(p);
    return why;
}

enum reason explain_rest(struct pending *p)
{
    struct judge_context context = engine_judge_context(p->engine, p->generation);
    struct judgement *j = &p->judge;
    enum reason why;

    if (p->question.original != NULL && (p->url.tls || p->query.flow != 0))
        why = judge_as(&context, j, p->url.tls ? CONF_TLS : 0, judge_way);
    else if (!p->url.tls && !p->url.connect)
        why = judge_request(p);
    else
        why = judge_addresses(&context, j, false);
    if (why == R_NONE && p->url.connect && p->question.original == NULL)
        foresee_tls(p);
    else if (why == R_NONE && p->url.tls)
        why = judge_tls(p);
    return p->url.tls && p->answer.tls == EXPLAIN_TLS_INSPECTED ? judge_inside(p) : why;
}

/* TLS that is ended at this listener: its certificates are for these names, and what is inside is a request like others. */
static enum reason end_tls(struct pending *p)
{
    struct host *name = &p->inside.host;
    uint16_t port;

    p->url.tls = false;
    if (!explain_url_target(&p->url, name, &port) || name->ip.family != 0)
        name = NULL;
    p->question.name = name;
    if (p->generation->secure == NULL || secure_site(p->generation->secure, p->judge.facts.listener, name) != NULL)
        return R_NONE;
    return name != NULL ? R_SNI_UNKNOWN : R_SNI_MISSING;
}

static enum reason examine_head(struct pending *p, struct span bytes)
{
    enum reason why = read_head(p, bytes);

    if (why != R_NONE)
        return why;
    if (!p->url.tls && !p->url.connect)
        return examine_request(&p->question, &p->head, &p->target, &p->judge, &p->offer);
    if (p->question.listener->mode != MODE_EXPLICIT)
        return R_TARGET_MALFORMED;
    why = examine_connect(&p->question, &p->head, &p->target);
    p->judge.host = p->judge.dial = p->target.host;
    p->judge.port = p->target.port;
    return why;
}

/* An intercepted flow that is TLS for a name, or nobody knows what. */
static enum reason examine_intercepted(struct pending *p)
{
    struct host host;
    uint16_t port;

    host_from_addr(&p->judge.host, &p->destination);
    if (p->query.flow == 0 && explain_url_target(&p->url, &host, &port))
        p->judge.host = host;
    return judge_original(&p->judge, &p->destination, p->question.listener->host_check, R_SNI_MISMATCH);
}

/* The head that a client would send, and what it asks for. */
static enum reason examine_question(struct pending *p)
{
    struct text head;

    text_init(&head, p->text, sizeof(p->text));
    explain_head_write(&p->url, &p->query, p->question.listener->mode, &head);
    p->too_long = head.overflow;
    return head.overflow ? R_HEAD_TOO_LARGE : examine_head(p, span_of(head.at, head.len));
}

enum reason explain_first(struct pending *p)
{
    struct judge_context context = engine_judge_context(p->engine, p->generation);
    const struct conf_listener *l = p->question.listener;
    enum reason why = l->mode == MODE_REVERSE && l->tls.line != 0 && p->url.tls ? end_tls(p) : R_NONE;

    if (why != R_NONE)
        return why;
    if (p->question.original != NULL && (p->url.tls || p->query.flow != 0)) {
        why = examine_intercepted(p);
        return why == R_NONE ? judge_as(&context, &p->judge, p->url.tls ? CONF_TLS : 0, judge_target) : why;
    }
    why = examine_question(p);
    return why == R_NONE ? judge_target(&context, &p->judge) : why;
}
