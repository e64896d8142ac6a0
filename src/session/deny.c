/* SPDX-License-Identifier: ISC */
/*
 * Refusals, in the language that the client speaks: an HTTP answer with Proxy-Status (RFC 9209) and a short page or JSON, a SOCKS
 * reply, or nothing at all where a policy says drop. Each refusal is one record. An internal detail never reaches the client; the
 * request's id always does.
 */
#include "session/handshake.h"
#include "session/state.h"
#include "session/text.h"

#include "base/clock.h"
#include "base/mutant.h"

#include <string.h>

#define PAGE_BYTES 2048

/* The names below are ours (reasons, ids): nothing that a client sent stands in a page. */
static void write_page(struct text *t, const struct session *s, unsigned status, enum reason why, bool json)
{
    const struct row *row = s->row;

    if (json)
        text_format(t, "{\"status\":%u,\"reason\":\"%s\",\"message\":\"%s\",\"request\":\"%u-%llu-%u\"}\n", status,
                    reason_name(why), reason_sentence(why), row->worker, (unsigned long long)row->number, s->account.number);
    else
        text_format(t,
                    "<!DOCTYPE html>\n<html lang=\"en\"><head><title>%u %s</title></head>\n<body><h1>%u %s</h1>\n<p>%s</p>\n"
                    "<p>Reason: <code>%s</code>. Request: <code>%u-%llu-%u</code>.</p></body></html>\n",
                    status, answer_phrase(status), status, answer_phrase(status), reason_sentence(why), reason_name(why),
                    row->worker, (unsigned long long)row->number, s->account.number);
}

static void write_head(struct text *t, const struct session *s, unsigned status, enum reason why, bool json, size_t length,
                       bool keep)
{
    const char *error = reason_proxy_error(why);

    text_format(t, "HTTP/1.1 %u %s\r\n", status, answer_phrase(status));
    text_format(t, "Proxy-Status: postern%s%s; details=\"%s %u-%llu-%u\"\r\n", error[0] ? "; error=" : "", error, reason_name(why),
                s->row->worker, (unsigned long long)s->row->number, s->account.number);
    if (why == R_WS_VERSION)
        text_put(t, SPAN("Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"));
    if (status == 503 || status == 429)
        text_put(t, SPAN("Retry-After: 5\r\n"));
    text_format(t, "Content-Type: %s\r\nCache-Control: no-store\r\nContent-Length: %zu\r\n",
                json ? "application/json" : "text/html; charset=utf-8", length);
    if (!keep)
        text_put(t, why == R_WS_VERSION ? SPAN("Connection: close, Upgrade\r\n") : SPAN("Connection: close\r\n"));
    else if (s->exchange != NULL && s->exchange->client_is_10)
        text_put(t, SPAN("Connection: keep-alive\r\n"));
    text_put(t, SPAN("\r\n"));
}

static bool send_page(struct session *s, unsigned status, enum reason why, bool keep)
{
    char page_bytes[PAGE_BYTES], head_bytes[PAGE_BYTES];
    bool json = s->exchange != NULL && s->exchange->wants_json, is_head = s->exchange != NULL && s->exchange->is_head;
    struct text page, head;

    text_init(&page, page_bytes, sizeof(page_bytes));
    write_page(&page, s, status, why, json);
    text_init(&head, head_bytes, sizeof(head_bytes));
    write_head(&head, s, status, why, json, page.len, keep);
    s->row->status = (uint16_t)status;
    return stream_put(&s->client, head.at, head.len) && (is_head || stream_put(&s->client, page.at, page.len));
}

/* After which refusals may the client go on? Where the request was well formed and wholly read. */
static bool may_keep(const struct session *s, enum reason why)
{
    const struct exchange *x = s->exchange;

    if (x == NULL || s->phase != PHASE_HTTP || !x->wants_keep || x->has_body || s->engine->draining || s->tunnel != NULL ||
        request_is_last_ahead(s))
        return false;
    switch (reason_status(why)) {
    case 403:
        return why != R_HOST_MISMATCH;
    case 502:
    case 504:
        return true;
    default:
        return !FAULT(C16_CLOSE, true);
    }
}

static const struct judgement *judgement_of(const struct session *s)
{
    if (s->exchange != NULL)
        return &s->exchange->judge;
    return s->tunnel != NULL ? s->tunnel->judge : NULL;
}

static bool is_drop(const struct session *s, enum reason why)
{
    const struct judgement *j = judgement_of(s);

    return why == R_POLICY_DENIED && j != NULL && j->verdict.drop;
}

static void refuse_socks(struct session *s, enum reason why)
{
    char reply[SOCKS_REPLY_MAX];
    size_t len = socks_write_reply(reply, socks_reply_for(why), &(struct addr){ 0 });

    if (!stream_put(&s->client, reply, len))
        session_close(s, R_MEMORY, CLOSER_POSTERN);
    else
        session_finish(s, why, CLOSER_POSTERN);
}

/* Behind TLS a name that does not fit is one for another connection (RFC 9110 15.5.20). */
static unsigned status_of(const struct session *s, enum reason why)
{
    return why == R_HOST_MISMATCH && stream_is_secure(&s->client) ? 421 : reason_status(why);
}

static void refuse_http(struct session *s, enum reason why)
{
    unsigned status = status_of(s, why);
    bool keep = may_keep(s, why);

    if (!send_page(s, status ? status : 403, why, keep)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return;
    }
    report_end(s, RECORD_DENIED, why, CLOSER_POSTERN, judgement_of(s));
    if (!keep) {
        session_finish(s, why, CLOSER_POSTERN);
        return;
    }
    exchange_free(s);
    request_expect_head(s);
}

void deny(struct session *s, enum reason why)
{
    if (session_is_dead(s) || s->phase == PHASE_CLOSING)
        return;
    if (s->dial != NULL) /* it took too long: the record says where to */
        report_judged(s, judgement_of(s));
    connect_cancel(s);
    if (s->exchange != NULL && s->exchange->step == STEP_RESOLVE)
        request_drop_head(s);
    if (session_is_dead(s))
        return;
    if (s->exchange != NULL && s->exchange->answer_begun) {
        session_close(s, why, CLOSER_POSTERN);
        return;
    }
    if (is_drop(s, why)) {
        report_end(s, RECORD_DENIED, why, CLOSER_POSTERN, judgement_of(s));
        session_drop(s, why);
        return;
    }
    if (stream_is_open(&s->server) && (s->exchange == NULL || s->exchange->step == STEP_ASK || stream_is_securing(&s->server)))
        connect_drop(s, true);
    if (s->tunnel != NULL && s->exchange == NULL) {
        struct row *row = s->row;

        if (!s->tunnel->socks && !s->tunnel->answered) {
            refuse_http(s, why);
            return;
        }
        row->status = s->tunnel->socks ? 0 : row->status;
        report_end(s, RECORD_DENIED, why, CLOSER_POSTERN, judgement_of(s));
        if (s->tunnel->answered && row->protocol == PROTO_TLS)
            handshake_alert(s, why);
        if (s->tunnel->answered)
            session_finish(s, why, CLOSER_POSTERN);
        else
            refuse_socks(s, why);
        return;
    }
    refuse_http(s, why);
}

void deny_answer_empty(struct session *s, unsigned status)
{
    struct exchange *x = s->exchange;
    struct text t;
    char head[128];

    x->keeps_client = x->wants_keep && !x->has_body;
    x->request_done = true;
    text_init(&t, head, sizeof(head));
    text_format(&t, "HTTP/1.1 %u %s\r\nContent-Length: 0\r\n%s\r\n", status, answer_phrase(status),
                x->keeps_client ? "" : "Connection: close\r\n");
    s->row->status = (uint16_t)status;
    if (!stream_put(&s->client, t.at, t.len))
        session_close(s, R_MEMORY, CLOSER_POSTERN);
    else
        exchange_end(s, R_NONE, CLOSER_POSTERN);
}

void deny_server(struct session *s, enum reason why)
{
    ledger_condemn(&s->ledger);
    s->server_offends = true;
    log_remote("session %u-%llu: %s: %s%s", s->row->worker, (unsigned long long)s->row->number, reason_name(why),
               reason_sentence(why),
               why == R_ANSWER_BEFORE_REQUEST && addr_is_loopback(&s->server_address)
                   ? " (On loopback the acknowledgement is this kernel's own and proves less.)"
                   : "");
    if (s->exchange == NULL) {
        report_event(s, why, CLOSER_SERVER);
        connect_drop(s, true);
        return;
    }
    if (s->exchange->answer_begun) {
        session_close(s, why, CLOSER_SERVER);
        return;
    }
    connect_drop(s, true);
    if (s->phase == PHASE_UPGRADE_WAIT)
        session_set_phase(s, PHASE_HTTP);
    deny(s, why);
}
