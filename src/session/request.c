/* SPDX-License-Identifier: ISC */
/*
 * Requests, from the first byte of a head to the exchange that it opens. A head stays in the client's stream, unconsumed, until it
 * has been judged: when a name must be resolved first, it is parsed again afterwards, and the very same code judges it. Requests
 * that a client sends ahead stay where they are: one exchange is open at a time.
 */
#include "session/examine.h"
#include "session/handshake.h"
#include "session/state.h"

#include "base/clock.h"
#include "base/mutant.h"
#include "base/sanitizer.h"

#include <stdlib.h>
#include <string.h>

/* Under the address sanitizer each exchange has memory of its own, so that it sees who uses one that is over. */
#define SPARE_MAX (SANITIZED ? 0u : 64u)

/* All zero but for the large parts at its end, which are set by those who use them. NULL: no memory. */
static struct exchange *exchange_new(struct engine *e)
{
    struct exchange *x = e->spare;

    if (x != NULL) {
        e->spare = x->next;
        e->spare_count--;
    } else {
        x = malloc(sizeof(*x));
    }
    if (x != NULL)
        memset(x, 0, offsetof(struct exchange, judge));
    return x;
}

void exchange_free_heads(struct exchange *x)
{
    if (x->original < x->head_room || x->original >= x->head_room + sizeof(x->head_room))
        free(x->original);
    if (x->head != x->head_room)
        free(x->head);
    x->head = x->original = NULL;
}

void exchange_free(struct session *s)
{
    struct exchange *x = s->exchange;
    struct engine *e = s->engine;

    if (x == NULL)
        return;
    balance_give_back(s);
    if (s->websocket == NULL)
        caps_give(s);
    exchange_free_heads(x);
    s->exchange = NULL;
    if (e->spare_count == SPARE_MAX) {
        free(x);
        return;
    }
    x->next = e->spare;
    e->spare = x;
    e->spare_count++;
}

void exchange_free_spare(struct engine *e)
{
    while (e->spare != NULL) {
        struct exchange *x = e->spare;

        e->spare = x->next;
        free(x);
    }
    e->spare_count = 0;
}

/* Does a request say itself where it wants to go? */
static bool is_explicit(const struct session *s)
{
    return s->tunnel == NULL && session_listener(s)->mode == MODE_EXPLICIT;
}

/* Did the request come in TLS that is over the whole way to us? Not in a clear tunnel through a proxy's own TLS. */
static bool is_inside_tls(const struct session *s)
{
    return stream_is_secure(&s->client) && (s->tunnel == NULL || !s->tls->ended);
}

static struct examine question_of(const struct session *s)
{
    return (struct examine){ .generation = s->generation,
                             .listener = session_listener(s),
                             .tunnel = s->tunnel,
                             .secure = is_inside_tls(s),
                             .original = session_original(s),
                             .name = s->tls != NULL && s->tls->hello.sni.len > 0 ? &s->tls->hello.sni : NULL,
                             .upstream_index = s->exchange->upstream_index,
                             .hosts = &s->engine->hosts,
                             .scratch = s->engine->text };
}

static bool wants_json(const struct h1_head *head)
{
    const struct h1_field *accept = h1_find(head, H1_ACCEPT);

    return accept != NULL && accept->value.len >= 16 && span_ieq(span_of(accept->value.at, 16), SPAN("application/json"));
}

static void read_facts(struct session *s, const struct h1_head *head)
{
    struct exchange *x = s->exchange;

    x->wants_json = wants_json(head);
    x->personal = head->upgrade || h1_logs_in(head);
    x->is_head = head->is_head;
    x->is_idempotent = head->is_idempotent;
    x->client_is_10 = head->minor == 0;
    x->wants_keep = head->keep_alive;
    x->has_body = head->framing != H1_NO_BODY && !(head->framing == H1_LENGTH && head->length == 0);
    x->request_chunked = head->framing == H1_CHUNKED;
    h1_body_init(&x->request_body, head->framing, head->length, s->generation->conf->limits.body_bytes);
}

/* Addresses are known: the last stages, then the head is written anew and the client's is used up. */
static enum reason judge_request(struct session *s, const struct h1_head *head, const struct target *target)
{
    struct exchange *x = s->exchange;
    struct judge_context context = engine_judge_context(s->engine, s->generation);
    enum reason why = examine_addresses(&context, &x->judge, head, &x->offer);
    const struct conf_policy *policy;

    if (why != R_NONE) {
        report_judged(s, &x->judge);
        return why;
    }
    policy = &s->generation->conf->policies[x->judge.verdict.policy];
    why = x->websocket ? caps_take(s, policy) : R_NONE;
    if (why != R_NONE) {
        report_judged(s, &x->judge);
        return why;
    }
    x->reuse = policy->upstream_reuse;
    if (x->reuse == REUSE_SHARED && sockets_are_wanted(s))
        x->reuse = REUSE_SESSION; /* it has this client's address */
    return forward_write(s, head, target, is_explicit(s) ? span_of(NULL, 0) : head->host);
}

/* Everything that can be said of a request before its addresses are known. */
static enum reason judge_head(struct session *s, const struct h1_head *head, struct target *target)
{
    struct exchange *x = s->exchange;
    struct judge_context context = engine_judge_context(s->engine, s->generation);
    struct examine question = question_of(s);
    enum reason why = examine_request(&question, head, target, &x->judge, &x->offer);

    x->websocket = head->upgrade_websocket;
    if (x->websocket)
        s->row->protocol = PROTO_WEBSOCKET;
    s->account.port = x->judge.port;
    report_request(s, head->method, host_span(&x->judge.host), target->path);
    if (session_refusal(s) != R_NONE)
        return session_refusal(s);
    if (why == R_NONE)
        why = judge_target(&context, &x->judge);
    if (why != R_NONE)
        report_judged(s, &x->judge);
    else if (s->tls != NULL)
        why = s->tls->failing; /* there is no server that this request could go to */
    return why;
}

static bool begin_exchange(struct session *s, uint32_t head_len)
{
    struct exchange *x = exchange_new(s->engine);

    if (x == NULL)
        return false;
    s->exchange = x;
    x->head_len = head_len;
    balance_begin(s);
    judge_init(&x->judge, s->listener, &s->row->client, s->zone_in);
    handshake_judge(s, &x->judge, true);
    report_begin(s, PROTO_HTTP);
    return true;
}

/* OPTIONS and TRACE with Max-Forwards: 0 end here (RFC 9110 7.6.2). */
static bool ends_here(const struct h1_head *head)
{
    const struct h1_field *field = h1_find(head, H1_MAX_FORWARDS);

    return field != NULL && span_eq(field->value, SPAN("0")) &&
           (span_eq(head->method, SPAN("OPTIONS")) || span_eq(head->method, SPAN("TRACE")));
}

/* A body whose length is announced is refused before anything is sent; one that is not, when it comes to the limit. */
static bool is_too_long(const struct session *s, const struct h1_head *head)
{
    uint64_t limit = s->generation->conf->limits.body_bytes;

    return FAULT(C10_LIMIT, limit != 0 && head->framing == H1_LENGTH && head->length > limit);
}

static struct h1_limits head_limits(const struct session *s)
{
    const struct conf_limits *limits = &s->generation->conf->limits;

    return (struct h1_limits){ limits->header_bytes, limits->header_count, limits->uri_bytes };
}

/* CONNECT: authority-form, Host the same, no body (RFC 9110 9.3.6). What follows in the stream waits until the tunnel stands. */
static enum reason take_connect(struct session *s, const struct h1_head *head)
{
    struct target target = { 0 };
    struct examine question = question_of(s);
    enum reason why = examine_connect(&question, head, &target);

    report_request(s, head->method, why == R_NONE ? host_span(&target.host) : head->target, span_of(NULL, 0));
    s->row->protocol = PROTO_CONNECT;
    if (session_refusal(s) != R_NONE)
        return session_refusal(s);
    if (why != R_NONE)
        return why;
    exchange_free(s);
    tunnel_begin(s, false, &target.host, target.port);
    return R_NONE;
}

/* Its upstream could not be reached, and it goes to another one. */
static bool is_judged_again(const struct session *s, const struct exchange *x)
{
    return !session_is_dead(s) && s->exchange == x && x->step == STEP_JUDGE;
}

/*
 * Takes an exchange as far as it gets with the head that lies complete in `bytes`: to a connection that is being opened, to a
 * look-up, or to a refusal. Returns how much of the client's input is used up: the head, or nothing while a look-up is under way or
 * another upstream is to be tried.
 */
static size_t proceed(struct session *s, struct span bytes)
{
    struct exchange *x = s->exchange;
    struct h1_head *head = &s->engine->request_head;
    struct h1_limits limits = head_limits(s);
    struct target target = { 0 };
    enum reason why = h1_parse(head, H1_REQUEST, bytes, &limits, NULL);

    if (why == R_NONE)
        read_facts(s, head);
    if (why == R_NONE && is_too_long(s, head))
        why = R_BODY_TOO_LARGE;
    if (why == R_NONE && head->is_connect && is_explicit(s)) {
        why = take_connect(s, head);
        if (why != R_NONE)
            deny(s, why);
        return bytes.len;
    }
    if (why == R_NONE)
        why = judge_head(s, head, &target);
    if (why == R_NONE && ends_here(head)) {
        deny_answer_empty(s, 200);
        return bytes.len;
    }
    if (why == R_NONE && x->judge.address_count == 0)
        why = connect_resolve(s, &x->judge);
    if (why == R_COUNT) {
        x->step = STEP_RESOLVE;
        return 0;
    }
    if (why != R_NONE && x->judge.dial.len > 0 && balance_moves(s, why))
        return 0;
    if (why == R_NONE)
        why = judge_request(s, head, &target);
    if (why != R_NONE) {
        deny(s, why);
        return bytes.len;
    }
    balance_keep(s, bytes);
    connect_upstream(s, &x->judge);
    return is_judged_again(s, x) ? 0 : bytes.len;
}

/* A complete head lies at the start of `input`. */
static bool take_head(struct session *s, struct span input)
{
    struct exchange *x = s->exchange;
    uint32_t head_len = x->head_len;
    size_t used = proceed(s, span_of(input.at, head_len));

    if (!session_is_dead(s) && !stream_taken(&s->client, input, used))
        session_close(s, R_MEMORY, CLOSER_POSTERN);
    if (used > 0 && !session_is_dead(s) && s->exchange == x)
        x->taken = true;
    return used > 0 || is_judged_again(s, x);
}

/* A client that was shown a leaf and goes away, without a word of TLS or of its own, did not like it. */
static enum reason end_reason(struct session *s)
{
    bool shown = s->tls != NULL && s->tls->inspection == INSPECT_SHOWN;

    return shown && s->client.truncated ? handshake_lost(s) : R_NONE;
}

/* No head yet, or a part of one. */
static bool wait_for_head(struct session *s, struct span input, bool fresh)
{
    bool ended = s->client.eof;

    if (!stream_taken(&s->client, input, 0))
        session_close(s, R_MEMORY, CLOSER_POSTERN);
    else if (ended) /* it may have closed its half only, and be reading its last answer */
        session_finish(s, input.len > 0 ? R_CLIENT_GONE : end_reason(s), CLOSER_CLIENT);
    return !fresh; /* bytes that were kept may not be all that there is */
}

enum reason request_renew(struct session *s)
{
    const struct generation *before = s->generation;

    if (!session_adopt_generation(s)) {
        int listener = session_find_listener(s, s->engine->generation->conf);
        bool outdated = listener >= 0 && handshake_is_outdated(s, s->engine->generation, listener);

        return outdated || s->row->exchanges > 0 ? R_DRAINED : R_NONE;
    }
    if (s->generation == before || !session_is_inspected(s))
        return R_NONE;
    if (inspect_again(s) == R_NONE)
        return R_NONE;
    report_event(s, R_REVOKED, CLOSER_POSTERN);
    return R_REVOKED;
}

static bool read_head(struct session *s)
{
    bool fresh = s->scanned >= stream_kept(&s->client);
    struct span input;
    struct h1_limits limits;
    enum h1_progress progress;
    enum reason why = R_NONE;
    uint32_t head_len = 0;

    if (s->scanned == 0) {
        enum reason drained = request_renew(s);

        if (drained != R_NONE) {
            session_finish(s, drained, CLOSER_POSTERN);
            return true;
        }
    }
    limits = head_limits(s);
    input = stream_input(&s->client, fresh);
    if (input.len == 0)
        return wait_for_head(s, input, true);
    if (s->head_since == 0) {
        s->head_since = clock_ms();
        inspect_heard(s);
        s->pipelined = fresh || s->row->exchanges == 0 ? 0 : s->pipelined + 1;
    }
    s->scanned = (uint32_t)input.len;
    progress = h1_scan(&s->scan, H1_REQUEST, &limits, input, &head_len, &why);
    if (progress == H1_MORE)
        return wait_for_head(s, input, fresh);
    if (!begin_exchange(s, head_len)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    if (progress == H1_DONE)
        return take_head(s, input);
    deny(s, why);
    if (!session_is_dead(s) && !stream_taken(&s->client, input, input.len))
        session_close(s, R_MEMORY, CLOSER_POSTERN);
    return true;
}

void request_drop_head(struct session *s)
{
    struct span input = stream_input(&s->client, false);

    if (!stream_taken(&s->client, input, s->exchange->head_len))
        session_close(s, R_MEMORY, CLOSER_POSTERN);
}

void request_expect_head(struct session *s)
{
    memset(&s->scan, 0, sizeof(s->scan));
    memset(&s->answer_scan, 0, sizeof(s->answer_scan));
    s->scanned = s->answer_scanned = 0;
    s->head_since = 0;
    s->progress = clock_ms();
}

bool request_is_last_ahead(const struct session *s)
{
    return stream_kept(&s->client) > 0 && s->pipelined + 1 >= s->generation->conf->limits.pipeline;
}

void request_begin_refused(struct session *s)
{
    if (!begin_exchange(s, 0))
        session_close(s, R_MEMORY, CLOSER_POSTERN);
}

bool request_on_client(struct session *s)
{
    struct exchange *x = s->exchange;

    if (x == NULL) /* who does not read its answers, refusals among them, is not served further ones */
        return !stream_is_full(&s->client) && read_head(s);
    switch (x->step) {
    case STEP_JUDGE:
        return take_head(s, stream_input(&s->client, false));
    case STEP_RESOLVE:
    case STEP_DIAL:
        break;
    case STEP_ASK:
        return !x->request_done && forward_body(s);
    }
    return false;
}

/*
 * Other sessions get a connection only when the server's kernel has all that was sent on it: what is still on its way, because an
 * answer came early, would stand before their requests.
 */
static bool may_share(struct session *s, const struct exchange *x)
{
    return x->reuse == REUSE_SHARED && !s->server_personal && s->tunnel == NULL &&
           !FAULT(LOOK_SHARES, stream_acknowledged(&s->server) != s->server.queued);
}

void exchange_end(struct session *s, enum reason why, enum closer by)
{
    struct exchange *x = s->exchange;
    bool keeps_client = x->keeps_client && x->request_done && !(s->engine->draining && !s->engine->handed_over);
    bool keeps_server =
        x->keeps_server && ledger_is_settled(&s->ledger) && x->reuse != REUSE_NEVER && !s->server.eof && !s->server.broken;
    bool shares = may_share(s, x);

    s->client_leaves = why == R_NONE && x->step == STEP_ASK && x->request_done && !x->wants_keep;
    report_end(s, RECORD_END, why, by, NULL);
    if (!keeps_client && request_is_last_ahead(s))
        report_event(s, R_PIPELINE_LIMIT, CLOSER_POSTERN);
    exchange_free(s);
    s->server_served = true;
    if (!keeps_server)
        connect_drop(s, false);
    else if (shares)
        pool_give(s->engine->pool, s);
    request_expect_head(s);
    if (!keeps_client || (s->tunnel != NULL && !stream_is_open(&s->server)))
        session_finish(s, R_NONE, keeps_client ? CLOSER_SERVER : CLOSER_POSTERN);
}
