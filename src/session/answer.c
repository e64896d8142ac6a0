/* SPDX-License-Identifier: ISC */
/*
 * The server's side of an exchange. Every byte is shown to the ledger first; the first bytes of an answer also to causality: they
 * are read, and only then the kernel is asked how much of the request the server's kernel had acknowledged (design.md, ownership
 * (c)). What passes is a head written anew and a body re-framed; what breaks a rule ends in deny_server().
 */
#include "session/handshake.h"
#include "session/state.h"
#include "session/text.h"

#include "base/clock.h"
#include "base/mutant.h"

#include <stdio.h>
#include <string.h>

const char *answer_phrase(unsigned status)
{
    static const char *const phrases[] = {
        [100] = "Continue",
        [101] = "Switching Protocols",
        [102] = "Processing",
        [103] = "Early Hints",
        [200] = "OK",
        [201] = "Created",
        [202] = "Accepted",
        [203] = "Non-Authoritative Information",
        [204] = "No Content",
        [205] = "Reset Content",
        [206] = "Partial Content",
        [207] = "Multi-Status",
        [300] = "Multiple Choices",
        [301] = "Moved Permanently",
        [302] = "Found",
        [303] = "See Other",
        [304] = "Not Modified",
        [307] = "Temporary Redirect",
        [308] = "Permanent Redirect",
        [400] = "Bad Request",
        [401] = "Unauthorized",
        [403] = "Forbidden",
        [404] = "Not Found",
        [405] = "Method Not Allowed",
        [406] = "Not Acceptable",
        [407] = "Proxy Authentication Required",
        [408] = "Request Timeout",
        [409] = "Conflict",
        [410] = "Gone",
        [411] = "Length Required",
        [412] = "Precondition Failed",
        [413] = "Content Too Large",
        [414] = "URI Too Long",
        [415] = "Unsupported Media Type",
        [416] = "Range Not Satisfiable",
        [417] = "Expectation Failed",
        [421] = "Misdirected Request",
        [422] = "Unprocessable Content",
        [425] = "Too Early",
        [426] = "Upgrade Required",
        [428] = "Precondition Required",
        [429] = "Too Many Requests",
        [431] = "Request Header Fields Too Large",
        [451] = "Unavailable For Legal Reasons",
        [500] = "Internal Server Error",
        [501] = "Not Implemented",
        [502] = "Bad Gateway",
        [503] = "Service Unavailable",
        [504] = "Gateway Timeout",
        [505] = "HTTP Version Not Supported",
        [508] = "Loop Detected",
    };

    return status < sizeof(phrases) / sizeof(phrases[0]) && phrases[status] != NULL ? phrases[status] : "";
}

/* Framing towards the client is ours; a 304 or an answer to HEAD may say how long the body would have been. */
static void write_framing(struct text *t, const struct exchange *x, const struct h1_head *head)
{
    if (x->answer_chunked)
        text_put(t, SPAN("Transfer-Encoding: chunked\r\n"));
    else if (head->framing == H1_LENGTH || (head->has_length && head->status >= 200 && head->status != 204))
        text_length(t, head->length);
}

static void write_fields(struct text *t, const struct h1_head *head)
{
    for (size_t i = 0; i < head->field_count; i++) {
        const struct h1_field *field = &head->fields[i];

        switch (field->hop ? H1_CONNECTION : field->id) {
        case H1_CONNECTION:
        case H1_CONTENT_LENGTH:
        case H1_TRANSFER_ENCODING:
        case H1_TRAILER:
        case H1_UPGRADE:
        case H1_KEEP_ALIVE:
        case H1_PROXY_CONNECTION:
        case H1_WS_EXTENSIONS: /* what was agreed is written anew */
            continue;
        default: /* the names that a server may send are open-ended: everything else passes */
            text_field(t, field->name, field->value);
        }
    }
}

static void write_upgrade(struct text *t, const struct ws_offer *offer)
{
    char extension[WS_DEFLATE_TEXT];

    text_put(t, SPAN("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    if (offer->agreed.on)
        text_field(t, SPAN("Sec-WebSocket-Extensions"), span_str(ws_deflate_text(&offer->agreed, false, extension)));
}

/* Writes a head of the server anew and puts it into the client's stream. */
static bool send_head(struct session *s, const struct h1_head *head)
{
    const struct conf_listener *listener = session_listener(s);
    const struct exchange *x = s->exchange;
    struct text t;

    text_init(&t, s->engine->text, TEXT_BYTES);
    text_put(&t, SPAN("HTTP/1.1 "));
    text_number(&t, head->status);
    text_put(&t, SPAN(" "));
    text_str(&t, answer_phrase(head->status));
    text_put(&t, SPAN("\r\n"));
    write_fields(&t, head);
    if (head->status == 101)
        write_upgrade(&t, &x->offer);
    if (head->status >= 200) {
        if (!listener->via_off)
            text_via(&t, head->minor, listener->via[0] ? listener->via : s->generation->instance);
        write_framing(&t, x, head);
        if (!x->keeps_client)
            text_put(&t, SPAN("Connection: close\r\n"));
        else if (x->client_is_10)
            text_put(&t, SPAN("Connection: keep-alive\r\n"));
    }
    text_put(&t, SPAN("\r\n"));
    return !t.overflow && stream_put(&s->client, t.at, t.len);
}

/* How the body reaches the client, and which connections outlive it. */
static void decide_framing(struct session *s, const struct h1_head *head)
{
    struct exchange *x = s->exchange;
    bool unknown_length = head->framing == H1_CHUNKED || head->framing == H1_UNTIL_CLOSE;

    x->answer_chunked = unknown_length && !x->client_is_10;
    x->answer_closes = unknown_length && x->client_is_10;
    x->keeps_server = head->keep_alive && head->framing != H1_UNTIL_CLOSE;
    x->keeps_client = x->wants_keep && x->request_done && !x->answer_closes && !s->engine->draining &&
                      (s->tunnel == NULL || x->keeps_server) && !request_is_last_ahead(s) &&
                      !(s->engine->crowded && shares_is_greedy(s));
}

static bool begin_final(struct session *s, const struct h1_head *head)
{
    struct exchange *x = s->exchange;

    decide_framing(s, head);
    s->server_personal |= h1_logs_in(head);
    h1_body_init(&x->answer_body, head->framing, head->length, 0);
    s->row->status = (uint16_t)head->status;
    x->answer_final = x->answer_begun = true;
    return send_head(s, head);
}

static void switch_protocols(struct session *s, const struct h1_head *head)
{
    enum reason why = ws_response_check(head, &s->exchange->offer);

    if (why != R_NONE) {
        deny_server(s, why);
        return;
    }
    s->row->status = 101;
    if (!send_head(s, head)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return;
    }
    ledger_upgrade(&s->ledger);
    websocket_begin(s);
}

/* A head lies complete in `bytes`. */
static void take_head(struct session *s, struct span bytes)
{
    struct exchange *x = s->exchange;
    struct h1_head *head = &s->engine->answer_head;
    const struct conf_limits *limits = &s->generation->conf->limits;
    const struct h1_asked asked = { x->is_head, false, x->websocket };
    enum reason why = h1_parse(head, H1_RESPONSE, bytes,
                               &(struct h1_limits){ limits->header_bytes, limits->header_count, limits->uri_bytes }, &asked);

    memset(&s->answer_scan, 0, sizeof(s->answer_scan));
    s->answer_scanned = 0;
    if (why == R_NONE)
        why = ledger_answer(&s->ledger, head->status);
    if (why != R_NONE) {
        deny_server(s, why);
        return;
    }
    if (head->status == 101) {
        switch_protocols(s, head);
        return;
    }
    if (head->status < 200) {
        if (!x->client_is_10 && !send_head(s, head))
            session_close(s, R_MEMORY, CLOSER_POSTERN);
        return;
    }
    if (s->phase == PHASE_UPGRADE_WAIT) /* refused: HTTP again, under the same policy */
        session_set_phase(s, PHASE_HTTP);
    if (!begin_final(s, head))
        session_close(s, R_MEMORY, CLOSER_POSTERN);
}

/* Is a whole head there? Then it is taken, and *used is its length. */
static bool read_head(struct session *s, struct span input, size_t *used)
{
    const struct conf_limits *limits = &s->generation->conf->limits;
    struct h1_limits head_limits = { limits->header_bytes, limits->header_count, limits->uri_bytes };
    uint32_t head_len = 0;
    enum reason why = R_RESPONSE_MALFORMED;

    *used = 0;
    s->answer_scanned = (uint32_t)input.len;
    switch (h1_scan(&s->answer_scan, H1_RESPONSE, &head_limits, input, &head_len, &why)) {
    case H1_MORE:
        return false;
    case H1_BAD:
        deny_server(s, R_RESPONSE_MALFORMED);
        return false;
    case H1_DONE:
        break;
    }
    *used = head_len;
    take_head(s, span_of(input.at, head_len));
    return true;
}

static bool send_piece(struct session *s, struct span data)
{
    char size[TEXT_CHUNK];

    report_bytes(s, DOWN, data.len);
    if (!s->exchange->answer_chunked)
        return stream_send(&s->client, data);
    return stream_put(&s->client, size, text_chunk(size, data.len)) && stream_send(&s->client, data) &&
           stream_put(&s->client, "\r\n", 2);
}

static bool send_end(struct session *s, struct span trailers)
{
    size_t len;

    if (!s->exchange->answer_chunked)
        return true;
    len = h1_trailers_filter(trailers, s->engine->text);
    return stream_put(&s->client, "0\r\n", 3) && stream_put(&s->client, s->engine->text, len) && stream_put(&s->client, "\r\n", 2);
}

/* The answer is complete. Bytes behind it belong to nobody: the client gets what it asked for, the connection is condemned. */
static void answer_complete(struct session *s, struct span trailers, bool surplus)
{
    ledger_answer_end(&s->ledger);
    if (!send_end(s, trailers)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return;
    }
    if (FAULT(LEDGER_SURPLUS_BEHIND, surplus))
        ledger_condemn(&s->ledger);
    exchange_end(s, surplus ? R_SURPLUS_ANSWER : R_NONE, surplus ? CLOSER_SERVER : CLOSER_NONE);
}

/* Returns how much of `input` was used. */
static size_t read_body(struct session *s, struct span input)
{
    struct span rest = input, data, trailers = { NULL, 0 };
    enum h1_body_result result;
    enum reason why;

    while ((result = h1_body_next(&s->exchange->answer_body, &rest, &data, &trailers, &why)) == H1_BODY_DATA) {
        if (!send_piece(s, data)) {
            session_close(s, R_MEMORY, CLOSER_POSTERN);
            return input.len;
        }
    }
    switch (result) {
    case H1_BODY_DATA:
    case H1_BODY_MORE:
        break;
    case H1_BODY_BAD:
        deny_server(s, R_RESPONSE_MALFORMED);
        return input.len;
    case H1_BODY_END:
        answer_complete(s, trailers, rest.len > 0);
        return input.len;
    }
    return input.len - rest.len;
}

/* All but the end of a long body need not be read: the client gets it as it comes. */
static bool pass_body(struct session *s)
{
    struct exchange *x = s->exchange;
    size_t passed;

    if (!x->answer_final || x->answer_chunked || ledger_bytes(&s->ledger) != R_NONE)
        return false;
    passed = stream_splice(&s->server, &s->client, h1_body_blind(&x->answer_body));
    if (passed == 0)
        return false;
    h1_body_pass(&x->answer_body, passed);
    report_bytes(s, DOWN, passed);
    s->progress = clock_ms();
    return true;
}

/* The server ended, or was reset, while an exchange is open. */
static void server_ended(struct session *s)
{
    struct exchange *x = s->exchange;
    bool reset = s->server.failed;
    enum reason late = upstream_late_reason(s);

    if (late != R_NONE) {
        deny_server(s, late);
        return;
    }
    if (x->answer_final && !FAULT(C16_RESET, reset) && !FAULT(C16_TLS, s->server.truncated) && h1_body_may_end(&x->answer_body)) {
        x->keeps_server = false;
        answer_complete(s, span_of(NULL, 0), false);
        return;
    }
    if (x->answer_final || s->ledger.first_seen) {
        deny_server(s, reset ? R_PEER_RESET : R_RESPONSE_TRUNCATED);
        return;
    }
    if (!x->reused && !balance_moves(s, reset ? R_PEER_RESET : R_UPSTREAM_CLOSED))
        deny_server(s, reset ? R_PEER_RESET : R_UPSTREAM_CLOSED);
    else if (!x->reused)
        return;
    else if (x->retried || !x->is_idempotent || x->body_used)
        deny_server(s, R_RETRY_UNSAFE);
    else {
        x->retried = true;
        connect_again(s);
    }
}

/* Nothing is owed: bytes are unsolicited, an end is the server's right. */
static bool between_exchanges(struct session *s)
{
    struct span input = stream_input(&s->server, true);
    enum reason late = upstream_late_reason(s);

    if (late != R_NONE && session_is_inspected(s)) { /* the next request is told */
        s->tls->failing = late;
        connect_drop(s, true);
        return false;
    }

    if (input.len > 0)
        deny_server(s, ledger_bytes(&s->ledger));
    else if (s->server.eof || s->server.failed)
        connect_drop(s, false);
    if (s->tunnel != NULL && !stream_is_open(&s->server) && !session_is_dead(s))
        session_finish(s, R_NONE, CLOSER_SERVER);
    return false;
}

/* May these bytes be believed? */
static enum reason check_ownership(struct session *s)
{
    enum reason why = ledger_bytes(&s->ledger);

    if (why == R_NONE && ledger_wants_position(&s->ledger)) {
        why = ledger_causality(&s->ledger, stream_mark_acknowledged(&s->server));
        report_first_byte(s);
        if (!s->exchange->reused)
            balance_worked(s);
    }
    return why;
}

/* A head, a piece of a body, or both: a body that is empty ends with its head. Returns whether anything was used. */
static bool take_answer(struct session *s, struct span input, size_t *used)
{
    struct exchange *x = s->exchange;

    s->progress = clock_ms();
    if (!x->answer_final && !read_head(s, input, used))
        return false;
    if (!session_is_dead(s) && s->exchange == x && x->answer_final)
        *used += read_body(s, span_skip(input, *used));
    return *used > 0;
}

bool answer_on_server(struct session *s)
{
    struct exchange *x = s->exchange;
    struct span input;
    size_t used = 0;
    enum reason why;
    bool moved;

    if (x == NULL || x->step != STEP_ASK)
        return x == NULL && between_exchanges(s);
    if (stream_is_full(&s->client))
        return false;
    if (pass_body(s))
        return true;
    /* Bytes of a head that were never scanned come before new ones; the rest of a body is always read on. */
    input = stream_input(&s->server, x->answer_final || s->answer_scanned >= stream_kept(&s->server));
    if (input.len > 0 && (why = check_ownership(s)) != R_NONE) {
        deny_server(s, why);
        return false;
    }
    moved = input.len > 0 && take_answer(s, input, &used);
    if (session_is_dead(s) || !stream_is_open(&s->server))
        return true;
    if (!stream_taken(&s->server, input, used)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    if (moved || s->exchange == NULL || !(s->server.eof || s->server.failed))
        return moved;
    server_ended(s);
    return s->exchange == x && x->step == STEP_JUDGE; /* it goes to another upstream */
}
