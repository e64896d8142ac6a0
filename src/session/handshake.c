/* SPDX-License-Identifier: ISC */
/*
 * The client's TLS handshake, and the turns of both sides. On a TLS listener the ClientHello is read by our own parser before
 * OpenSSL sees a byte: it says which certificates are for this client, and it is where JA4 comes from. It stays in the stream, and
 * is what OpenSSL reads first.
 *
 * What can be refused before a handshake is refused with one alert that is written by hand. A handshake that fails is one record;
 * one that is good is none: its facts stand in the row, and in the records of what is said inside.
 */
#include "session/handshake.h"
#include "session/state.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

/* Fatal alerts (RFC 8446 6.2). */
enum alert {
    ALERT_HANDSHAKE_FAILURE = 40,
    ALERT_ACCESS_DENIED = 49,
    ALERT_DECODE_ERROR = 50,
    ALERT_PROTOCOL_VERSION = 70,
    ALERT_INTERNAL_ERROR = 80,
    ALERT_UNRECOGNIZED_NAME = 112,
    ALERT_NO_APPLICATION_PROTOCOL = 120
};

#define CERTIFICATE_TEXT 2048

struct shown_certificate {
    struct client_certificate facts; /* its texts lie in `text` */
    char text[CERTIFICATE_TEXT];
    size_t len;
    bool overflow; /* there is more: it cannot be judged */
};

struct session_tls *handshake_state(struct session *s)
{
    if (s->tls == NULL)
        s->tls = calloc(1, sizeof(*s->tls));
    return s->tls;
}

void handshake_free(struct session *s)
{
    if (s->tls == NULL)
        return;
    upstream_forget(s);
    free(s->tls->certificate);
    free(s->tls->inside);
    free(s->tls);
    s->tls = NULL;
}

static enum alert alert_for(enum reason why, uint16_t version)
{
    switch (reason_status(why)) {
    case 502:
    case 503:
    case 504:
    case 500:
        return ALERT_INTERNAL_ERROR;
    case 400:
        return ALERT_DECODE_ERROR;
    default:
        break;
    }
    if (why == R_SNI_MISMATCH || why == R_SNI_MISSING || why == R_SNI_UNKNOWN)
        return ALERT_UNRECOGNIZED_NAME;
    if (why == R_ALPN_MISMATCH)
        return ALERT_NO_APPLICATION_PROTOCOL;
    if (why == R_TLS_HANDSHAKE && version < HANDSHAKE_OLDEST)
        return ALERT_PROTOCOL_VERSION;
    if (why == R_TLS_HANDSHAKE || why == R_TIMEOUT_HANDSHAKE)
        return ALERT_HANDSHAKE_FAILURE;
    return why == R_MINT_FAILED ? ALERT_INTERNAL_ERROR : ALERT_ACCESS_DENIED;
}

static void send_alert(struct session *s, enum alert alert)
{
    const char record[] = { 21, 3, 3, 0, 2, 2, (char)alert };

    if (!stream_put(&s->client, record, sizeof(record)))
        log_debug("no memory for an alert");
}

void handshake_alert(struct session *s, enum reason why)
{
    const struct session_tls *tls = s->tls;
    uint16_t version = HANDSHAKE_OLDEST;

    if (tls != NULL && (tls->inside != NULL || tls->hello.seen))
        version = tls->inside != NULL ? tls->inside->version : tls->hello.version;
    if (!stream_is_securing(&s->client))
        send_alert(s, alert_for(why, version));
}

/* One record, and the end in order: what was sent, an alert among it, arrives. */
static void refuse(struct session *s, enum reason why, enum closer by)
{
    report_begin(s, PROTO_TLS);
    report_end(s, RECORD_DENIED, why, by, NULL);
    session_finish(s, why, by);
}

static void note(struct hello_note *out, const struct hello *hello)
{
    out->seen = true;
    out->has_ech = hello->has_ech;
    out->alpn_fits = !hello->has_alpn || hello->alpn_http1;
    out->version = hello->version;
    if (hello->has_sni)
        out->sni = hello->sni;
    memcpy(out->ja4, hello->ja4, sizeof(out->ja4));
}

/* What the hello alone says, into the row. */
static void report_hello(struct session *s, const struct hello_note *hello, enum tls_way way)
{
    struct shard *shard = s->engine->shard;
    struct tls_facts *facts;

    row_begin(shard, s->row);
    facts = &row_tls(shard, s->row)[UP];
    memcpy(facts->ja4, hello->ja4, sizeof(facts->ja4));
    span_show(host_span(&hello->sni), facts->name, sizeof(facts->name));
    facts->ech = hello->has_ech;
    facts->way = (uint8_t)way;
    facts->version = hello->version;
    facts->suite = 0;
    facts->alpn = TLS_ALPN_NONE;
    row_end(shard, s->row);
}

void handshake_report(struct session *s, enum direction side, enum tls_way way)
{
    struct shard *shard = s->engine->shard;
    struct tls_facts *facts;

    row_begin(shard, s->row);
    facts = &row_tls(shard, s->row)[side];
    stream_tls_facts(side == UP ? &s->client : &s->server, facts);
    facts->way = (uint8_t)way;
    row_end(shard, s->row);
}

void handshake_ended(struct session *s, enum direction side, enum tls_way way)
{
    static const enum counter counters[DIRECTIONS][3] = {
        { COUNT_TLS_CLIENT_FULL, COUNT_TLS_CLIENT_RESUMED, COUNT_TLS_CLIENT_FAILED },
        { COUNT_TLS_SERVER_FULL, COUNT_TLS_SERVER_RESUMED, COUNT_TLS_SERVER_FAILED },
    };
    bool failed = stream_failure(side == UP ? &s->client : &s->server) != TLS_FAILED_NOT;

    handshake_report(s, side, way);
    count_add(s->engine->shard, counters[side][failed ? 2 : row_tls(s->engine->shard, s->row)[side].resumed], 1);
}

void handshake_clock(struct session *s)
{
    struct session_tls *tls = handshake_state(s);

    if (tls != NULL && tls->since < s->phase_since)
        tls->since = clock_ms();
}

enum hello_progress handshake_parse(struct session *s, struct span input, struct hello *hello)
{
    struct session_tls *tls = handshake_state(s);
    enum hello_progress progress;

    if (tls != NULL && input.len < tls->wanted && !s->client.eof)
        return HELLO_MORE;
    progress = hello_parse(input, hello);
    if (tls != NULL)
        tls->wanted = progress == HELLO_MORE ? hello->wanted : 0;
    return progress;
}

bool handshake_note_inside(struct session *s, const struct hello *hello)
{
    struct session_tls *tls = handshake_state(s);

    if (tls == NULL || (tls->inside == NULL && (tls->inside = calloc(1, sizeof(*tls->inside))) == NULL))
        return false;
    note(tls->inside, hello);
    tls->spent = clock_ms() - tls->since;
    report_hello(s, tls->inside, TLS_WAY_PEEKED);
    return true;
}

void handshake_judge(const struct session *s, struct judgement *j, bool hello_known)
{
    const struct session_tls *tls = s->tls;

    if (hello_known)
        j->facts.known |= KNOWN_HELLO;
    if (tls == NULL)
        return;
    j->facts.certificate = tls->certificate != NULL ? &tls->certificate->facts : NULL;
    j->facts.ja4 = span_str(tls->inside != NULL ? tls->inside->ja4 : tls->hello.ja4);
}

/* The certificates for this client are chosen before OpenSSL sees a byte of it. */
static enum reason begin(struct session *s, const struct session_tls *tls)
{
    const struct host *name = tls->hello.sni.len > 0 ? &tls->hello.sni : NULL;
    struct tls_context *site;

    if (s->refused != R_NONE)
        return s->refused;
    if (tls->hello.version < HANDSHAKE_OLDEST)
        return R_TLS_HANDSHAKE;
    if (!tls->hello.alpn_fits)
        return R_ALPN_MISMATCH;
    site = secure_site(s->generation->secure, s->listener, name);
    if (site == NULL)
        return name != NULL ? R_SNI_UNKNOWN : R_SNI_MISSING;
    return stream_secure_server(&s->client, site, NULL) ? R_NONE : R_MEMORY;
}

static void take_hello(struct session *s, const struct hello *hello)
{
    struct session_tls *tls = handshake_state(s);
    enum reason why;

    if (tls == NULL) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return;
    }
    note(&tls->hello, hello);
    report_hello(s, &tls->hello, TLS_WAY_ENDED);
    why = begin(s, tls);
    if (why == R_NONE) {
        session_set_phase(s, PHASE_HANDSHAKE);
        return;
    }
    handshake_alert(s, why);
    refuse(s, why, CLOSER_POSTERN);
}

bool handshake_on_hello(struct session *s)
{
    struct span input = stream_input(&s->client, true);
    enum sniff found = sniff_bytes(input);
    struct hello hello;
    enum hello_progress progress = HELLO_BAD;
    bool ended = s->client.eof;

    if (input.len > 0)
        handshake_clock(s);
    if (found == SNIFF_TLS || found == SNIFF_MORE)
        progress = found == SNIFF_TLS ? handshake_parse(s, input, &hello) : HELLO_MORE;
    if (!stream_taken(&s->client, input, 0)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    switch (progress) {
    case HELLO_MORE:
        if (ended && input.len > 0)
            refuse(s, R_HELLO_MALFORMED, CLOSER_CLIENT);
        else if (ended)
            session_close(s, R_NONE, CLOSER_CLIENT);
        return ended;
    case HELLO_BAD:
        if (found == SNIFF_TLS) /* who speaks something else would not understand it */
            handshake_alert(s, R_HELLO_MALFORMED);
        refuse(s, R_HELLO_MALFORMED, CLOSER_POSTERN);
        break;
    case HELLO_DONE:
        take_hello(s, &hello);
        break;
    }
    return true;
}

/* Behind what was copied before. */
static struct span copy(struct shown_certificate *c, struct span text)
{
    char *at = c->text + c->len;

    if (text.len > sizeof(c->text) - c->len) {
        c->overflow = true;
        return span_of(NULL, 0);
    }
    memcpy(at, text.at, text.len);
    c->len += text.len;
    return span_of(at, text.len);
}

static void take_name(void *arg, struct span name)
{
    struct shown_certificate *c = arg;

    if (c->facts.name_count < CERTIFICATE_NAMES)
        c->facts.names[c->facts.name_count++] = copy(c, name);
    else
        c->overflow = true;
}

static void take_subject(void *arg, struct span subject)
{
    struct shown_certificate *c = arg;

    c->facts.subject = copy(c, subject);
}

/* The client's certificate, if it showed one that was verified. One with more names than are kept could hide what a policy denies.
 */
static enum reason keep_certificate(struct session *s)
{
    int64_t from, until;
    struct shown_certificate *c;

    if (!stream_peer_validity(&s->client, &from, &until))
        return R_NONE;
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return R_MEMORY;
    s->tls->certificate = c;
    stream_peer_subject(&s->client, take_subject, c);
    stream_peer_names(&s->client, take_name, c);
    return c->overflow ? R_CLIENT_CERTIFICATE : R_NONE;
}

static void listener_secured(struct session *s)
{
    enum reason why;

    s->tls->ended = true;
    handshake_ended(s, UP, TLS_WAY_ENDED);
    why = keep_certificate(s);
    if (why != R_NONE) {
        refuse(s, why, CLOSER_POSTERN);
        return;
    }
    request_expect_head(s);
    session_set_phase(s, session_listener(s)->mode == MODE_REVERSE ? PHASE_HTTP : PHASE_SNIFF);
}

enum reason handshake_client_reason(const struct session *s)
{
    switch (stream_failure(&s->client)) {
    case TLS_FAILED_ALPN:
        return R_ALPN_MISMATCH;
    case TLS_FAILED_CERTIFICATE:
        return R_CLIENT_CERTIFICATE;
    case TLS_FAILED_MEMORY:
        return R_MEMORY;
    case TLS_FAILED_NOT:
    case TLS_FAILED_CLOSED:
    case TLS_FAILED_PROTOCOL:
    case TLS_FAILED_REFUSED:
    case TLS_FAILED_WANTED:
    case TLS_FAILED_ALERT:
        break;
    }
    return R_TLS_HANDSHAKE;
}

static void client_failed(struct session *s)
{
    enum reason why = handshake_client_reason(s);

    if (s->tls->inspection == INSPECT_CLIENT) {
        inspect_client_bad(s, why);
        return;
    }
    handshake_ended(s, UP, TLS_WAY_ENDED);
    refuse(s, why, why == R_MEMORY ? CLOSER_POSTERN : CLOSER_CLIENT);
}

static bool run_client(struct session *s)
{
    if (s->phase != PHASE_HANDSHAKE || !stream_is_open(&s->client) || !stream_is_securing(&s->client))
        return false;
    switch (stream_handshake(&s->client)) {
    case TLS_MORE:
        return false;
    case TLS_DONE:
        if (s->tls->inspection == INSPECT_CLIENT)
            inspect_client_good(s);
        else
            listener_secured(s);
        break;
    case TLS_FAILED:
        client_failed(s);
        break;
    }
    return true;
}

static bool run_server(struct session *s)
{
    enum tls_progress progress;

    if (session_is_dead(s) || s->phase == PHASE_CLOSING || !stream_is_open(&s->server) || !stream_is_securing(&s->server))
        return false;
    progress = stream_handshake(&s->server);
    upstream_run(s, progress);
    return progress != TLS_MORE;
}

bool handshake_run(struct session *s)
{
    bool moved = run_client(s);

    return run_server(s) || moved;
}

void handshake_expired(struct session *s, enum reason why)
{
    if (why == R_UPSTREAM_TLS)
        upstream_failed(s, why);
    else if (s->tunnel != NULL)
        deny(s, why);
    else
        refuse(s, why, CLOSER_POSTERN);
}

enum reason handshake_lost(struct session *s)
{
    enum reason why = R_CLIENT_GONE;

    if (s->tls == NULL)
        return why;
    if (s->tls->inspection == INSPECT_SHOWN)
        why = inspect_refused(s);
    else if (s->client.flooded)
        why = R_TLS_FLOOD;
    else if (stream_failure(&s->client) == TLS_FAILED_PROTOCOL)
        why = R_TLS_HANDSHAKE;
    if (why != R_CLIENT_GONE && !s->account.open)
        report_event(s, why, CLOSER_CLIENT);
    return why;
}

bool handshake_is_outdated(const struct session *s, const struct generation *g, int listener)
{
    return s->tls != NULL && s->tls->ended && !secure_asks_as_before(s->generation->secure, s->listener, g->secure, listener) &&
           !stream_peer_fits(&s->client, secure_any_site(g->secure, listener));
}
