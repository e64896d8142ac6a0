/* SPDX-License-Identifier: ISC */
/*
 * Tunnels: CONNECT and SOCKS. The way in is judged like a request (target, then addresses), then the first bytes of the client are
 * looked at before any of them passes: HTTP in clear goes back to the HTTP phase, under the same policies; a ClientHello must name
 * what the tunnel was opened to; anything else, and a server that speaks first, needs a policy that allows "tunnel".
 *
 * Intercepted flows that are not HTTP are tunnels, too. There the first bytes come first: what they are is known before anything
 * is resolved or dialled, and nothing is said to the client.
 */
#include "session/handshake.h"
#include "session/state.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

/* What all ways in share. false: no memory, and the session is over. */
static bool make_tunnel(struct session *s, const struct host *host, uint16_t port)
{
    struct tunnel *t = calloc(1, sizeof(*t));
    struct judgement *j = calloc(1, sizeof(*j));

    if (t == NULL || j == NULL) {
        free(t);
        free(j);
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    t->host = *host;
    t->port = port;
    t->judge = j;
    judge_init(j, s->listener, &s->row->client, s->zone_in);
    handshake_judge(s, j, false);
    j->host = j->dial = *host;
    j->port = port;
    s->tunnel = t;
    s->account.port = port;
    request_expect_head(s); /* those inside it are new ones */
    return true;
}

void tunnel_begin(struct session *s, bool socks, const struct host *host, uint16_t port)
{
    if (!make_tunnel(s, host, port))
        return;
    s->tunnel->socks = socks;
    if (socks)
        report_request(s, SPAN("CONNECT"), host_span(host), span_of(NULL, 0));
    session_set_phase(s, PHASE_TUNNEL_WAIT);
    tunnel_proceed(s);
}

static void begin_intercepted(struct session *s, enum conf_protocol protocol, const struct host *name, bool silent)
{
    const struct addr *original = session_original(s);
    struct host host;
    enum reason why;

    if (name != NULL)
        host = *name;
    else
        host_from_addr(&host, original);
    report_begin(s, protocol == CONF_TLS ? PROTO_TLS : PROTO_TUNNEL);
    if (!make_tunnel(s, &host, original->port))
        return;
    s->tunnel->answered = true;
    s->tunnel->silent = silent;
    s->tunnel->protocol = protocol;
    handshake_judge(s, s->tunnel->judge, true);
    report_request(s, span_of(NULL, 0), host_span(&host), span_of(NULL, 0));
    session_set_phase(s, PHASE_TUNNEL_WAIT);
    why = judge_original(s->tunnel->judge, original, session_listener(s)->host_check, R_SNI_MISMATCH);
    if (why != R_NONE)
        deny(s, why);
    else
        tunnel_proceed(s);
}

void tunnel_begin_intercepted(struct session *s, enum conf_protocol protocol, const struct host *name)
{
    begin_intercepted(s, protocol, name, false);
}

/* Everything is known of a client that says nothing, except what it will say. */
static bool may_be_silent(struct session *s)
{
    struct judge_context context = engine_judge_context(s->engine, s->generation);
    const struct addr *original = session_original(s);
    struct judgement j;

    judge_init(&j, s->listener, &s->row->client, s->zone_in);
    handshake_judge(s, &j, true);
    host_from_addr(&j.host, original);
    j.facts.protocol = CONF_TUNNEL;
    j.facts.known |= KNOWN_PROTOCOL;
    if (judge_original(&j, original, session_listener(s)->host_check, R_SNI_MISMATCH) != R_NONE ||
        judge_target(&context, &j) != R_NONE)
        return false;
    j.addresses[0] = *original;
    j.address_count = 1;
    return judge_addresses(&context, &j, true) == R_NONE;
}

void tunnel_begin_silent(struct session *s)
{
    s->silence_judged = true;
    if (s->refused == R_NONE && may_be_silent(s))
        begin_intercepted(s, CONF_TUNNEL, NULL, true);
}

/* What the policies that allow its addresses say of an intercepted hello. */
static enum reason check_policies(const struct session *s, const struct judgement *j)
{
    enum reason why = R_NONE;

    for (size_t i = 0; i < j->address_count && why == R_NONE; i++)
        why = inspect_hello_fits(s, &s->generation->conf->policies[j->policies[i]]);
    return why;
}

void tunnel_proceed(struct session *s)
{
    struct judgement *j = s->tunnel->judge;
    struct judge_context context = engine_judge_context(s->engine, s->generation);
    enum reason why = s->refused;

    if (why == R_NONE)
        why = judge_as(&context, j, s->tunnel->protocol, judge_target);
    if (why == R_NONE && j->address_count == 0)
        why = connect_resolve(s, j);
    if (why == R_COUNT)
        return;
    if (why == R_NONE)
        why = judge_as(&context, j, s->tunnel->protocol, judge_way);
    if (why == R_NONE && s->tunnel->protocol == CONF_TLS)
        why = check_policies(s, j);
    report_judged(s, j);
    if (why == R_NONE)
        connect_upstream(s, j);
    else
        deny(s, why);
}

/* Does a policy allow this protocol to this target? */
static bool is_allowed(struct session *s, enum conf_protocol protocol, bool last)
{
    struct judgement *j = s->tunnel->judge;
    struct judge_context context = engine_judge_context(s->engine, s->generation);
    bool granted;

    handshake_judge(s, j, true);
    j->facts.protocol = protocol;
    j->facts.known |= KNOWN_PROTOCOL;
    granted = judge_stage(&context, j, STAGE_BYTES, last) == R_NONE;
    if (granted)
        report_judged(s, j);
    return granted;
}

/* From now on bytes pass unread. */
static void pass(struct session *s, enum row_protocol protocol)
{
    if (!standing_keep(s, s->tunnel->judge, span_of(NULL, 0))) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return;
    }
    free(s->tunnel->judge);
    s->tunnel->judge = NULL;
    s->row->protocol = (uint8_t)protocol;
    ledger_open_tunnel(&s->ledger);
    count_add(s->engine->shard, COUNT_ALLOWED, 1);
    count_add(s->engine->shard, COUNT_TUNNELS, 1);
    session_set_phase(s, PHASE_TUNNEL);
    report_alive(s, RECORD_START);
    session_judge_again(s); /* a generation may have come since it was judged */
}

/* TLS that a policy granted: does that policy want to see into it? */
static void pass_or_inspect(struct session *s)
{
    const struct judgement *j = s->tunnel->judge;

    if (j->facts.protocol == CONF_TLS && s->generation->conf->policies[j->verdict.policy].inspect)
        inspect_begin(s);
    else
        pass(s, PROTO_TLS);
}

void tunnel_connected(struct session *s)
{
    struct tunnel *t = s->tunnel;
    char reply[SOCKS_REPLY_MAX];
    struct span answer = SPAN("HTTP/1.1 200 Connection established\r\n\r\n");

    if (t->silent) {
        session_set_phase(s, PHASE_PEEK);
        return;
    }
    if (t->protocol == CONF_TLS) {
        pass_or_inspect(s);
        return;
    }
    if (t->protocol != 0) {
        pass(s, PROTO_TUNNEL);
        return;
    }
    if (t->socks)
        answer = span_of(reply, socks_write_reply(reply, SOCKS_SUCCEEDED, &s->row->upstream));
    else
        s->row->status = 200;
    t->answered = true;
    if (!stream_put(&s->client, answer.at, answer.len))
        session_close(s, R_MEMORY, CLOSER_POSTERN);
    else
        session_set_phase(s, PHASE_PEEK);
}

static void enter_http(struct session *s)
{
    if (!is_allowed(s, CONF_HTTP, false) && !is_allowed(s, CONF_WEBSOCKET, false)) {
        s->row->protocol = PROTO_HTTP;
        deny(s, R_TUNNEL_PROTOCOL);
        return;
    }
    report_end(s, RECORD_END, R_NONE, CLOSER_NONE, NULL);
    free(s->tunnel->judge);
    s->tunnel->judge = NULL;
    session_set_phase(s, PHASE_HTTP);
}

/* A name must be the tunnel's; whether there must be one, the policy says. */
static enum reason judge_hello(struct session *s)
{
    const struct hello_note *hello = s->tls->inside;

    if (hello->sni.len > 0 && !host_eq(&hello->sni, &s->tunnel->host))
        return R_SNI_MISMATCH;
    if (!is_allowed(s, CONF_TLS, true) && !is_allowed(s, CONF_TUNNEL, true))
        return R_TUNNEL_PROTOCOL;
    return inspect_hello_fits(s, &s->generation->conf->policies[s->tunnel->judge->verdict.policy]);
}

static bool enter_tls(struct session *s, struct span input)
{
    struct hello hello;
    enum reason why;

    handshake_clock(s);
    s->row->protocol = PROTO_TLS;
    switch (handshake_parse(s, input, &hello)) {
    case HELLO_MORE:
        return false;
    case HELLO_BAD:
        s->tunnel->judge->stage = STAGE_BYTES;
        deny(s, R_HELLO_MALFORMED);
        return true;
    case HELLO_DONE:
        break;
    }
    s->tunnel->judge->stage = STAGE_BYTES;
    why = handshake_note_inside(s, &hello) ? judge_hello(s) : R_MEMORY;
    if (why != R_NONE)
        deny(s, why);
    else
        pass_or_inspect(s);
    return true;
}

static void enter_tunnel(struct session *s, enum reason otherwise)
{
    if (is_allowed(s, CONF_TUNNEL, true))
        pass(s, PROTO_TUNNEL);
    else
        deny(s, otherwise);
}

/* The client will say no more. Where "tunnel" is allowed the server may still have its say; who left without a byte broke no rule.
 */
static void peek_ended(struct session *s, bool silent)
{
    if (silent && !is_allowed(s, CONF_TUNNEL, true))
        session_finish(s, R_NONE, CLOSER_CLIENT);
    else
        enter_tunnel(s, R_TUNNEL_PROTOCOL);
}

/* An intercepted client that was silent speaks after all: that is judged as if it had come at once, and nothing was dialled. */
static bool begin_anew(struct session *s)
{
    report_end(s, RECORD_END, R_NONE, CLOSER_NONE, NULL);
    connect_drop(s, false);
    free(s->tunnel->judge);
    free(s->tunnel);
    s->tunnel = NULL;
    session_set_phase(s, PHASE_SNIFF);
    return true;
}

/* The client's first bytes stay where they are until it is known what they are. */
bool peek_on_client(struct session *s)
{
    struct span input = stream_input(&s->client, true);
    enum sniff found = sniff_bytes(input);
    bool ended = s->client.eof, moved = true;

    if (!stream_taken(&s->client, input, 0)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    if (s->tunnel->silent && input.len > 0)
        return begin_anew(s);
    switch (found) {
    case SNIFF_MORE:
        if (ended)
            peek_ended(s, input.len == 0);
        return ended;
    case SNIFF_HTTP:
        enter_http(s);
        break;
    case SNIFF_TLS:
        moved = enter_tls(s, input);
        if (!moved && ended)
            deny(s, R_HELLO_MALFORMED);
        break;
    case SNIFF_SOCKS5:
    case SNIFF_SOCKS4:
    case SNIFF_OTHER:
        enter_tunnel(s, R_TUNNEL_PROTOCOL);
        break;
    }
    return moved;
}

/* The server speaks before the client said what it wants. Nothing is read unless a policy allows a server to speak first. */
bool peek_on_server(struct session *s)
{
    int look = stream_look(&s->server);

    if (look == 0) {
        s->server.can_read = false;
        return false;
    }
    if (look > 0)
        enter_tunnel(s, R_SERVER_FIRST);
    else
        session_finish(s, R_UPSTREAM_CLOSED, CLOSER_SERVER);
    return true;
}

/* What came is sent on. false: no memory. */
static bool copy(struct stream *from, struct stream *to, size_t *moved)
{
    struct span input = stream_input(from, true);

    *moved = input.len;
    return (input.len == 0 || stream_send(to, input)) && stream_taken(from, input, input.len);
}

/* One direction of a tunnel: bytes, then the end. */
static bool relay(struct session *s, struct stream *from, struct stream *to, enum direction direction)
{
    size_t moved;

    if (stream_is_full(to))
        return false;
    moved = stream_splice(from, to, UINT64_MAX);
    if (moved == 0 && !copy(from, to, &moved)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    if (moved > 0) {
        s->progress = clock_ms();
        report_bytes(s, direction, moved);
    }
    if (from->eof && !from->truncated && !to->shut) {
        if (s->ended_by == CLOSER_NONE)
            s->ended_by = direction == UP ? CLOSER_CLIENT : CLOSER_SERVER;
        stream_shutdown(to);
    }
    if (from->failed || from->truncated) /* an end that TLS does not vouch for may not look like one */
        session_close(s, from->flooded ? R_TLS_FLOOD : R_PEER_RESET, direction == UP ? CLOSER_CLIENT : CLOSER_SERVER);
    return moved > 0;
}

bool tunnel_on_client(struct session *s)
{
    return relay(s, &s->client, &s->server, UP);
}

bool tunnel_on_server(struct session *s)
{
    enum reason why = ledger_bytes(&s->ledger);

    if (why != R_NONE) {
        session_close(s, why, CLOSER_SERVER);
        return false;
    }
    return relay(s, &s->server, &s->client, DOWN);
}
