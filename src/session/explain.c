/* SPDX-License-Identifier: ISC */
/*
 * The dry run. A question becomes the head that a client would send, and that head takes the way of live requests: the same parser,
 * the same examination, the same stages. Only what happens on the wire is left out. A name is looked up only when the question asks
 * for it; otherwise the answer says how far it got without.
 */
#include "session/examine.h"
#include "session/state.h"
#include "session/text.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES 65536

struct pending {
    struct pending *next, **link;
    struct engine *engine;
    struct resolver_query *query;
    struct generation *generation;
    void (*done)(const struct explain_answer *answer, void *arg);
    void *arg;
    struct judgement judge;
    struct examine question;
    struct h1_head head;
    struct target target;
    struct ws_offer offer;
    bool connect, tls;
    char text[HEAD_BYTES]; /* the head */
    char scratch[TARGET_BUFFER(HEAD_BYTES)];
    struct explain_answer answer;
};

static void free_pending(struct pending *p)
{
    if (p->link != NULL) {
        *p->link = p->next;
        if (p->next != NULL)
            p->next->link = p->link;
    }
    if (p->query != NULL)
        resolver_cancel(p->query);
    generation_unref(p->generation);
    free(p);
}

void explain_cancel_all(struct engine *e)
{
    while (e->explaining != NULL)
        free_pending(e->explaining);
}

static void answer(struct pending *p, enum reason why)
{
    struct explain_answer *a = &p->answer;
    struct judgement *j = &p->judge;

    a->generation = p->generation;
    a->reason = why;
    a->verdict = j->verdict;
    a->protocol = j->facts.known & KNOWN_PROTOCOL ? j->facts.protocol : 0;
    a->step_count = j->trail_count;
    memcpy(a->steps, j->trail, sizeof(a->steps));
    a->zone_in = j->facts.zone_in;
    a->zone_out = j->facts.zone_out;
    a->listener = j->facts.listener;
    a->host = j->host;
    a->port = j->port;
    if (j->facts.known & KNOWN_ADDRESS)
        a->server = j->facts.server;
    span_show(p->target.path, a->path, sizeof(a->path));
    if (why == R_POLICY_DENIED || why == R_NO_POLICY || why == R_TUNNEL_PROTOCOL)
        a->near_count = rules_near(p->generation->rules, &j->facts, j->last, a->near, NEAR_MISSES);
    p->done(a, p->arg);
    free_pending(p);
}

static void refuse_question(struct pending *p, const char *error)
{
    p->answer.error = error;
    p->answer.generation = p->generation;
    p->done(&p->answer, p->arg);
    free_pending(p);
}

/* Addresses are known: the last stages. */
static void judge_rest(struct pending *p)
{
    struct judge_context context = engine_judge_context(p->engine, p->generation);
    enum reason why;

    if (!p->connect) {
        answer(p, examine_addresses(&context, &p->judge, &p->head, &p->offer));
        return;
    }
    why = judge_addresses(&context, &p->judge, false);
    if (why == R_NONE && p->tls) {
        p->judge.facts.protocol = CONF_TLS;
        p->judge.facts.known |= KNOWN_PROTOCOL;
        why = judge_stage(&context, &p->judge, STAGE_BYTES, true) == R_NONE ? R_NONE : R_TUNNEL_PROTOCOL;
    }
    answer(p, why);
}

static void set_addresses(struct judgement *j, const struct addr *addresses, size_t count)
{
    for (size_t i = 0; i < count && i < DIAL_ADDRESSES; i++) {
        j->addresses[i] = addresses[i];
        j->addresses[i].port = j->port;
        j->address_count = i + 1;
    }
}

static void take_result(struct pending *p, enum resolver_result result, const struct addr *addresses, size_t count)
{
    if (result == RESOLVER_OK) {
        set_addresses(&p->judge, addresses, count);
        judge_rest(p);
    } else {
        answer(p, result == RESOLVER_NO_NAME ? R_NAME_UNRESOLVED : R_NAME_TIMEOUT);
    }
}

static void on_resolved(void *arg, enum resolver_result result, const struct addr *addresses, size_t count)
{
    struct pending *p = arg;

    p->query = NULL;
    take_result(p, result, addresses, count);
}

static void find_addresses(struct pending *p, const struct explain_query *query)
{
    enum resolver_result result;
    const struct addr *addresses;
    size_t count;

    if (query->address.family != 0) {
        set_addresses(&p->judge, &query->address, 1);
        judge_rest(p);
    } else if (connect_find_local(p->generation, &p->judge)) {
        judge_rest(p);
    } else if (resolver_cached(p->engine->resolver, host_span(&p->judge.dial), &result, &addresses, &count)) {
        take_result(p, result, addresses, count);
    } else if (!query->resolve) {
        p->answer.address_unknown = true;
        answer(p, R_NONE);
    } else {
        p->query = resolver_ask(p->engine->resolver, host_span(&p->judge.dial), on_resolved, p);
        if (p->query == NULL)
            answer(p, R_MEMORY);
    }
}

/* "scheme://authority/rest": the authority, and where it begins. */
static struct span authority_of(struct span url, struct span *scheme)
{
    const char *colon = url.len > 3 ? memmem(url.at, url.len, "://", 3) : NULL;
    struct span rest = colon ? span_skip(url, (size_t)(colon - url.at) + 3) : url;
    size_t n = 0;

    *scheme = colon ? span_of(url.at, (size_t)(colon - url.at)) : span_of(NULL, 0);
    while (n < rest.len && rest.at[n] != '/' && rest.at[n] != '?' && rest.at[n] != '#')
        n++;
    return span_of(rest.at, n);
}

static bool has_field(struct span headers, const char *name)
{
    size_t len = strlen(name);

    while (headers.len > 0) {
        const char *end = memchr(headers.at, '\n', headers.len);
        size_t line = end ? (size_t)(end - headers.at) + 1 : headers.len;

        if (line > len && headers.at[len] == ':' && span_ieq(span_of(headers.at, len), span_str(name)))
            return true;
        headers = span_skip(headers, line);
    }
    return false;
}

/* The head that a client would send. false: it does not fit. */
static bool write_head(struct pending *p, const struct explain_query *query, struct text *t)
{
    struct span scheme, authority = authority_of(query->url, &scheme), target = query->url;
    bool websocket = span_ieq(scheme, SPAN("ws"));

    p->tls = span_ieq(scheme, SPAN("https")) || span_ieq(scheme, SPAN("wss"));
    p->connect = p->tls || span_eq(query->method, SPAN("CONNECT"));
    text_init(t, p->text, sizeof(p->text));
    text_put(t, p->connect ? SPAN("CONNECT") : query->method);
    text_put(t, SPAN(" "));
    if (p->connect) {
        target = authority;
        text_put(t, target);
        if (p->tls && memchr(authority.at, ':', authority.len) == NULL)
            text_put(t, SPAN(":443"));
    } else {
        if (p->question.listener->mode == MODE_REVERSE && scheme.len > 0)
            target = span_skip(query->url, (size_t)(authority.at - query->url.at) + authority.len);
        text_put(t, target.len > 0 ? target : SPAN("/"));
    }
    text_put(t, SPAN(" HTTP/1.1\r\n"));
    if (!p->connect && !has_field(query->headers, "Host"))
        text_field(t, SPAN("Host"), authority);
    if (websocket && !has_field(query->headers, "Upgrade"))
        text_put(t, SPAN("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"));
    if (p->connect && !has_field(query->headers, "Host"))
        text_format(t, "Host: %.*s%s\r\n", (int)authority.len, authority.at,
                    p->tls && memchr(authority.at, ':', authority.len) == NULL ? ":443" : "");
    text_put(t, query->headers);
    text_put(t, SPAN("\r\n"));
    return !t->overflow;
}

/* The listener that is asked for, or the first that such a request could come in by. */
static int find_listener(const struct conf *conf, const struct explain_query *query)
{
    for (size_t i = 0; i < conf->listener_count; i++)
        if (query->listener == NULL ? conf->listeners[i].mode == MODE_EXPLICIT
                                    : strcmp(conf->listeners[i].name, query->listener) == 0)
            return (int)i;
    return query->listener == NULL && conf->listener_count > 0 ? 0 : -1;
}

/* Scans and parses the head as a live one. */
static enum reason read_head(struct pending *p, struct span bytes)
{
    const struct conf_limits *l = &p->generation->conf->limits;
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

static enum reason examine(struct pending *p)
{
    enum reason why;

    if (!p->connect)
        return examine_request(&p->question, &p->head, &p->target, &p->judge, &p->offer);
    if (p->question.listener->mode != MODE_EXPLICIT)
        return R_TARGET_MALFORMED;
    why = examine_connect(&p->question, &p->head, &p->target);
    p->judge.host = p->judge.dial = p->target.host;
    p->judge.port = p->target.port;
    return why;
}

static void ask(struct pending *p, const struct explain_query *query)
{
    struct judge_context context = engine_judge_context(p->engine, p->generation);
    struct text head;
    enum reason why;

    if (!write_head(p, query, &head)) {
        refuse_question(p, "the question is too long");
        return;
    }
    why = read_head(p, span_of(head.at, head.len));
    if (why == R_NONE)
        why = examine(p);
    if (why == R_NONE)
        why = judge_target(&context, &p->judge);
    if (why == R_NONE)
        find_addresses(p, query);
    else
        answer(p, why);
}

void engine_explain(struct engine *e, const struct explain_query *query,
                    void (*done)(const struct explain_answer *answer, void *arg), void *arg)
{
    struct pending *p = calloc(1, sizeof(*p));
    int listener;

    if (p == NULL || e->generation == NULL) {
        struct explain_answer none = { .error = "no memory, or no generation yet" };

        free(p);
        done(&none, arg);
        return;
    }
    p->engine = e;
    p->generation = generation_ref(e->generation);
    p->done = done;
    p->arg = arg;
    p->next = e->explaining;
    p->link = &e->explaining;
    if (p->next != NULL)
        p->next->link = &p->next;
    e->explaining = p;
    listener = find_listener(p->generation->conf, query);
    if (listener < 0) {
        refuse_question(p, "there is no such listener");
        return;
    }
    p->question = (struct examine){ .generation = p->generation,
                                    .listener = &p->generation->conf->listeners[listener],
                                    .scratch = p->scratch };
    judge_init(&p->judge, listener, &query->from,
               zones_find(rules_zones(p->generation->rules), &query->from, query->interface ? query->interface : ""));
    ask(p, query);
}
