/* SPDX-License-Identifier: ISC */
/*
 * The request on its way to the server. The head is never passed on as it came: it is written anew from parsed fields, with our own
 * framing, our own Connection, Host and forwarding fields, and without anything that belongs to the hop it came by. Bodies pass as
 * they come, re-framed where they were chunked.
 */
#include "session/handshake.h"
#include "session/state.h"
#include "session/text.h"

#include "base/clock.h"
#include "base/mutant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fields that are never copied: framing and connection are ours, forwarding fields by configuration, handshakes rewritten. */
static bool is_rewritten(enum h1_name id, enum conf_forwarded forwarded)
{
    static const bool ours[] = {
        [H1_HOST] = true,
        [H1_CONNECTION] = true,
        [H1_CONTENT_LENGTH] = true,
        [H1_TRANSFER_ENCODING] = true,
        [H1_TE] = true,
        [H1_TRAILER] = true,
        [H1_UPGRADE] = true,
        [H1_KEEP_ALIVE] = true,
        [H1_MAX_FORWARDS] = true,
        [H1_PROXY_CONNECTION] = true,
        [H1_PROXY_AUTHORIZATION] = true,
        [H1_HTTP2_SETTINGS] = true,
        [H1_WS_PROTOCOL] = true,
        [H1_WS_EXTENSIONS] = true,
    };
    static const bool forwarding[] = {
        [H1_FORWARDED] = true,         [H1_X_FORWARDED_FOR] = true, [H1_X_FORWARDED_HOST] = true,
        [H1_X_FORWARDED_PROTO] = true, [H1_X_REAL_IP] = true,
    };

    if ((size_t)id < sizeof(ours) && ours[id])
        return true;
    return forwarded != FORWARDED_APPEND && (size_t)id < sizeof(forwarding) && forwarding[id];
}

static void write_fields(struct text *t, const struct h1_head *head, const struct exchange *x, enum conf_forwarded forwarded)
{
    for (size_t i = 0; i < head->field_count; i++) {
        const struct h1_field *field = &head->fields[i];

        if (FAULT(C11_HOP, field->hop) || FAULT(C11_REWRITTEN, is_rewritten(field->id, forwarded)))
            continue;
        if (!x->websocket && (field->id == H1_WS_KEY || field->id == H1_WS_VERSION))
            continue;
        text_field(t, field->name, field->value);
    }
}

/* RFC 7239 and its older kin. With `append` the client's fields stand before ours. */
static void write_forwarded(struct text *t, const struct session *s, struct span host, enum conf_forwarded forwarded)
{
    const struct addr *client = &s->row->client;
    bool six = client->family == AF_INET6;
    struct span proto = stream_is_secure(&s->client) ? SPAN("https") : SPAN("http"), ip;
    char ip_text[ADDR_TEXT];

    if (forwarded == FORWARDED_NONE)
        return;
    ip = span_str(addr_text(client, ip_text));
    text_field(t, SPAN("X-Forwarded-For"), ip);
    text_field(t, SPAN("X-Forwarded-Proto"), proto);
    if (host.len > 0)
        text_field(t, SPAN("X-Forwarded-Host"), host);
    text_put(t, six ? SPAN("Forwarded: for=\"[") : SPAN("Forwarded: for="));
    text_put(t, ip);
    text_put(t, six ? SPAN("]\"") : SPAN(""));
    if (host.len > 0) {
        text_put(t, SPAN(";host=\""));
        text_put(t, host);
        text_put(t, SPAN("\""));
    }
    text_put(t, SPAN(";proto="));
    text_put(t, proto);
    text_put(t, SPAN("\r\n"));
}

/* Max-Forwards counts down for OPTIONS and TRACE, and only there (RFC 9110 7.6.2). */
static void write_max_forwards(struct text *t, const struct h1_head *head)
{
    const struct h1_field *field = h1_find(head, H1_MAX_FORWARDS);
    uint64_t n;

    if (field == NULL)
        return;
    if ((span_eq(head->method, SPAN("OPTIONS")) || span_eq(head->method, SPAN("TRACE"))) && span_u64(field->value, 255, &n) &&
        n > 0)
        text_format(t, "Max-Forwards: %u\r\n", (unsigned)n - 1);
    else
        text_field(t, field->name, field->value);
}

static void write_connection(struct text *t, const struct exchange *x)
{
    char extension[WS_DEFLATE_TEXT];

    if (x->websocket) {
        text_put(t, SPAN("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
        if (x->offer.protocols[0] != '\0')
            text_field(t, SPAN("Sec-WebSocket-Protocol"), span_str(x->offer.protocols));
        if (x->offer.deflate.on)
            text_field(t, SPAN("Sec-WebSocket-Extensions"), span_str(ws_deflate_text(&x->offer.deflate, true, extension)));
    } else if (x->reuse == REUSE_NEVER) {
        text_put(t, SPAN("Connection: close\r\n"));
    }
}

static void write_framing(struct text *t, const struct h1_head *head)
{
    if (head->framing == H1_CHUNKED)
        text_put(t, SPAN("Transfer-Encoding: chunked\r\n"));
    else if (head->framing == H1_LENGTH || head->has_length)
        text_length(t, head->length);
}

/* Host as the server is to see it: what the client said, or else what the target says (RFC 9112 3.2). Returns its value. */
static struct span write_host(struct text *t, const struct session *s, struct span given)
{
    const struct judgement *j = &s->exchange->judge;
    size_t start;

    text_put(t, SPAN("Host: "));
    start = t->len;
    text_put(t, given);
    if (given.len == 0)
        text_host(t, j->host.len > 0 ? &j->host : &j->dial);
    if (given.len == 0 && j->port != (upstream_is_wanted(s) ? 443 : 80)) {
        text_put(t, SPAN(":"));
        text_number(t, j->port);
    }
    given = span_of(t->at + start, t->len - start);
    text_put(t, SPAN("\r\n"));
    return given;
}

enum reason forward_write(struct session *s, const struct h1_head *head, const struct target *target, struct span authority)
{
    const struct conf_listener *listener = session_listener(s);
    struct exchange *x = s->exchange;
    struct span host;
    struct text t;

    /* The path lies at the start of the engine's scratch text: the head is written behind it. */
    text_init(&t, s->engine->text + TARGET_BUFFER(head->target.len), TEXT_BYTES - TARGET_BUFFER(head->target.len));
    text_put(&t, head->method);
    text_put(&t, SPAN(" "));
    text_put(&t, target->path);
    text_put(&t, target->query);
    text_put(&t, SPAN(" HTTP/1.1\r\n"));
    host = write_host(&t, s, authority);
    write_fields(&t, head, x, listener->forwarded);
    write_forwarded(&t, s, host, listener->forwarded);
    write_max_forwards(&t, head);
    if (!listener->via_off)
        text_via(&t, head->minor, listener->via[0] ? listener->via : s->generation->instance);
    write_connection(&t, x);
    write_framing(&t, head);
    text_put(&t, SPAN("\r\n"));
    if (t.overflow)
        return R_HEAD_TOO_LARGE;
    x->head = t.len <= sizeof(x->head_room) ? x->head_room : malloc(t.len);
    if (x->head == NULL)
        return R_MEMORY;
    memcpy(x->head, t.at, t.len);
    x->written_len = (uint32_t)t.len;
    return R_NONE;
}

static void request_done(struct session *s)
{
    s->exchange->request_done = true;
    s->asked_since = s->progress = clock_ms();
    ledger_request_end(&s->ledger);
}

/* Of several addresses another one than the first may be connected, under another policy. */
static enum reason check_caps(struct session *s)
{
    const struct exchange *x = s->exchange;

    return x->websocket ? caps_move(s, &s->generation->conf->policies[x->judge.verdict.policy]) : R_NONE;
}

void forward_begin(struct session *s)
{
    struct exchange *x = s->exchange;
    enum reason why = check_caps(s);

    if (why != R_NONE) {
        deny(s, why);
        return;
    }
    ledger_open(&s->ledger, x->websocket, s->generation->conf->limits.interim);
    if (!stream_put(&s->server, x->head, x->written_len)) {
        deny(s, R_MEMORY);
        return;
    }
    stream_set_mark(&s->server); /* an answer that comes before all of this was received answers something else */
    x->step = STEP_ASK;
    s->server_personal |= x->personal;
    s->progress = clock_ms();
    if (!x->retried)
        count_add(s->engine->shard, COUNT_ALLOWED, 1);
    if (!x->has_body)
        request_done(s);
    if (x->websocket && s->phase == PHASE_HTTP)
        session_set_phase(s, PHASE_UPGRADE_WAIT);
}

static bool send_piece(struct session *s, struct span data)
{
    struct exchange *x = s->exchange;
    char size[TEXT_CHUNK];

    report_bytes(s, UP, data.len);
    if (!x->request_chunked)
        return stream_send(&s->server, data);
    return stream_put(&s->server, size, text_chunk(size, data.len)) && stream_send(&s->server, data) &&
           stream_put(&s->server, "\r\n", 2);
}

static bool send_end(struct session *s, struct span trailers)
{
    bool good = true;

    if (s->exchange->request_chunked) {
        size_t len = h1_trailers_filter(trailers, s->engine->text);

        good =
            stream_put(&s->server, "0\r\n", 3) && stream_put(&s->server, s->engine->text, len) && stream_put(&s->server, "\r\n", 2);
    }
    request_done(s);
    return good;
}

/* All but the end of a long body need not be read: the server gets it as it comes. */
static bool pass_body(struct session *s)
{
    struct exchange *x = s->exchange;
    size_t passed = x->request_chunked ? 0 : stream_splice(&s->client, &s->server, h1_body_blind(&x->request_body));

    if (passed == 0)
        return false;
    x->body_used = true;
    h1_body_pass(&x->request_body, passed);
    report_bytes(s, UP, passed);
    s->progress = clock_ms();
    return true;
}

/* The client's body ended early or is malformed: the server must never see a message that looks complete. */
static void body_failed(struct session *s, enum reason why)
{
    connect_drop(s, true);
    if (s->exchange->answer_begun)
        session_close(s, why, CLOSER_CLIENT);
    else
        deny(s, why);
}

bool forward_body(struct session *s)
{
    struct exchange *x = s->exchange;
    struct span input, rest, data, trailers;
    enum h1_body_result result = H1_BODY_MORE;
    enum reason why = R_NONE;
    bool good = true;

    if (stream_is_full(&s->server))
        return false;
    if (pass_body(s))
        return true;
    input = rest = stream_input(&s->client, true);
    while (good && (result = h1_body_next(&x->request_body, &rest, &data, &trailers, &why)) == H1_BODY_DATA)
        good = send_piece(s, data);
    if (good && result == H1_BODY_END)
        good = send_end(s, trailers);
    if (rest.len < input.len) { /* be it framing alone: who read that again would take data for it */
        x->body_used = true;
        s->progress = clock_ms();
    }
    if (!good || !stream_taken(&s->client, input, input.len - rest.len)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    if (result == H1_BODY_BAD)
        body_failed(s, why);
    else if (!x->request_done && s->client.eof)
        body_failed(s, R_CLIENT_GONE);
    return rest.len < input.len;
}
