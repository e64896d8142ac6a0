/* SPDX-License-Identifier: ISC */
/*
 * The first bytes: SOCKS or HTTP on an explicit listener; HTTP, TLS or anything else of an intercepted client. A phase of its own,
 * because until it is over nobody knows in which language a refusal has to be said, and where an intercepted flow goes.
 */
#include "session/handshake.h"
#include "session/state.h"

/* Keeps what is there for the next time; the client may also have gone before it said enough. */
static bool wait_for_more(struct session *s, struct span input)
{
    bool ended = s->client.eof;

    if (!stream_taken(&s->client, input, 0))
        session_close(s, R_MEMORY, CLOSER_POSTERN);
    else if (ended)
        session_close(s, R_NONE, CLOSER_CLIENT);
    return false;
}

/* An intercepted ClientHello says where to; without a name it is what was dialled. */
static void enter_tls(struct session *s, enum hello_progress progress, const struct hello *hello)
{
    if (progress == HELLO_DONE && handshake_note_inside(s, hello)) {
        tunnel_begin_intercepted(s, CONF_TLS, hello->has_sni ? &hello->sni : NULL);
        return;
    }
    report_begin(s, PROTO_TLS);
    report_end(s, RECORD_DENIED, progress == HELLO_DONE ? R_MEMORY : R_HELLO_MALFORMED, CLOSER_POSTERN, NULL);
    handshake_alert(s, R_HELLO_MALFORMED);
    session_finish(s, R_HELLO_MALFORMED, CLOSER_POSTERN);
}

static bool sniff_intercepted(struct session *s)
{
    struct span input = stream_input(&s->client, true);
    enum sniff found = sniff_bytes(input);
    struct hello hello;
    enum hello_progress progress = found == SNIFF_TLS ? handshake_parse(s, input, &hello) : HELLO_DONE;

    if (found == SNIFF_TLS)
        handshake_clock(s);
    if (found == SNIFF_MORE || progress == HELLO_MORE)
        return wait_for_more(s, input);
    if (!stream_taken(&s->client, input, 0)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    switch (found) {
    case SNIFF_HTTP:
        session_set_phase(s, PHASE_HTTP);
        break;
    case SNIFF_TLS:
        enter_tls(s, progress, &hello);
        break;
    case SNIFF_MORE:
    case SNIFF_SOCKS5:
    case SNIFF_SOCKS4:
    case SNIFF_OTHER:
        tunnel_begin_intercepted(s, CONF_TUNNEL, NULL);
        break;
    }
    return true;
}

static bool sniff_explicitly(struct session *s)
{
    struct span input = stream_input(&s->client, true);
    enum sniff found = sniff_explicit(input);

    if (found == SNIFF_MORE)
        return wait_for_more(s, input);
    if (!stream_taken(&s->client, input, 0)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    switch (found) {
    case SNIFF_SOCKS5:
        session_set_phase(s, PHASE_SOCKS);
        return true;
    case SNIFF_SOCKS4:
    case SNIFF_TLS:
        report_begin(s, found == SNIFF_TLS ? PROTO_TLS : PROTO_SOCKS);
        report_end(s, RECORD_DENIED, found == SNIFF_TLS ? R_HEAD_MALFORMED : R_SOCKS_MALFORMED, CLOSER_POSTERN, NULL);
        session_finish(s, R_HEAD_MALFORMED, CLOSER_POSTERN);
        return true;
    case SNIFF_MORE:
    case SNIFF_HTTP:
    case SNIFF_OTHER:
        break;
    }
    session_set_phase(s, PHASE_HTTP);
    return true;
}

/* A reload may have come since the connection did, or since the greeting. */
static bool renew(struct session *s)
{
    enum reason why = request_renew(s);

    if (why != R_NONE)
        session_finish(s, why, CLOSER_POSTERN);
    return why == R_NONE;
}

bool sniff_on_client(struct session *s)
{
    if (!renew(s))
        return false;
    if (session_listener(s)->tls.line != 0 && (s->tls == NULL || !s->tls->ended))
        return handshake_on_hello(s);
    return session_original(s) != NULL ? sniff_intercepted(s) : sniff_explicitly(s);
}

static void socks_refuse(struct session *s, const char *bytes, size_t len, enum reason why)
{
    report_begin(s, PROTO_SOCKS);
    report_end(s, RECORD_DENIED, why, CLOSER_POSTERN, NULL);
    if (!stream_put(&s->client, bytes, len)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return;
    }
    session_finish(s, why, CLOSER_POSTERN);
}

/* The greeting: answered with "no authentication", or refused. */
static bool read_greeting(struct session *s, struct span input)
{
    enum reason why;
    size_t used;

    switch (socks_greeting(input, &used, &why)) {
    case SOCKS_MORE:
        return wait_for_more(s, input);
    case SOCKS_BAD:
        socks_refuse(s, "\x05\xff", 2, why);
        return false;
    case SOCKS_DONE:
        break;
    }
    s->pipelined = 1; /* the greeting is over */
    return stream_taken(&s->client, input, used) && stream_put(&s->client, "\x05\x00", 2);
}

static bool read_request(struct session *s, struct span input)
{
    struct socks_request request;
    char answer[SOCKS_REPLY_MAX];
    enum socks_reply reply;
    enum reason why;
    size_t used;

    switch (socks_request(input, &request, &used, &reply, &why)) {
    case SOCKS_MORE:
        return wait_for_more(s, input);
    case SOCKS_BAD:
        socks_refuse(s, answer, socks_write_reply(answer, reply, &(struct addr){ 0 }), why);
        return false;
    case SOCKS_DONE:
        break;
    }
    s->pipelined = 0;
    if (!stream_taken(&s->client, input, used)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    report_begin(s, PROTO_SOCKS);
    tunnel_begin(s, true, &request.host, request.port);
    return true;
}

bool socks_on_client(struct session *s)
{
    struct span input;

    if (!renew(s))
        return false;
    input = stream_input(&s->client, true);
    return s->pipelined == 0 ? read_greeting(s, input) : read_request(s, input);
}
