/* SPDX-License-Identifier: ISC */
/*
 * The one place that knows how long things may take. One timer a session; what it means follows from the phase and from how far the
 * exchange is, and is worked out when the session comes to rest (timers_update) and again when the timer fires: a deadline that
 * moved away meanwhile is simply set again.
 */
#include "session/handshake.h"
#include "session/state.h"
#include "session/websocket.h"

#include "base/clock.h"

#define LINGER_MS 2000   /* how long a closed client may take to take its last bytes and go */
#define SILENCE_MS 1000  /* after which an intercepted client is taken to wait for the server's first word */
#define WS_CLOSE_MS 5000 /* for the second close frame */
#define WS_ENDED_MS 1000 /* the same, when the side that waits for it may be gone, or goes on as if it had not closed */

struct due {
    uint64_t at; /* ms; 0: never */
    enum reason why;
};

/* A head is timed in total, not by the byte; before its first byte the connection is idle, or new. */
static struct due due_of_head(const struct session *s, const struct conf_timeouts *t)
{
    if (s->head_since != 0)
        return (struct due){ s->head_since + t->header, R_TIMEOUT_HEADER };
    if (s->row->exchanges == 0)
        return (struct due){ s->phase_since + t->handshake, R_TIMEOUT_HANDSHAKE };
    return (struct due){ s->progress + t->keepalive, R_TIMEOUT_KEEPALIVE };
}

static bool is_securing_server(const struct session *s)
{
    return s->tls != NULL && stream_is_open(&s->server) && stream_is_securing(&s->server);
}

/* The client's handshake is timed in total, from its first byte, but for what it had to wait for the server and the minter. */
static struct due due_of_handshake(const struct session *s, const struct conf_timeouts *t)
{
    if (is_securing_server(s))
        return (struct due){ s->tls->server_since + t->handshake, R_UPSTREAM_TLS };
    if (s->tls->inspection == INSPECT_LEAF)
        return (struct due){ s->tls->leaf_since + t->handshake, R_MINT_FAILED };
    return (struct due){ s->tls->since + t->handshake, R_TIMEOUT_HANDSHAKE };
}

/* First bytes have their time from the beginning; those of a ClientHello from the first of them. */
static struct due due_of_hello(const struct session *s, const struct conf_timeouts *t)
{
    bool begun = s->tls != NULL && s->tls->since > s->phase_since;

    return (struct due){ (begun ? s->tls->since : s->phase_since) + t->handshake, R_TIMEOUT_HANDSHAKE };
}

/* An intercepted client that says nothing at all may wait for the server to begin. */
static struct due due_of_first_bytes(const struct session *s, const struct conf_timeouts *t)
{
    bool silent = session_original(s) != NULL && !s->silence_judged && stream_kept(&s->client) == 0;

    if (silent && t->handshake > SILENCE_MS)
        return (struct due){ s->phase_since + SILENCE_MS, R_NONE };
    return due_of_hello(s, t);
}

static struct due due_of_connecting(const struct session *s, const struct conf_timeouts *t)
{
    if (is_securing_server(s))
        return (struct due){ s->tls->server_since + t->handshake, R_UPSTREAM_TLS };
    if (s->query != NULL)
        return (struct due){ s->progress + s->generation->conf->resolver_timeout, R_NAME_TIMEOUT };
    return (struct due){ s->progress + t->connect, R_TIMEOUT_CONNECT };
}

/* The answer is waited for since the request was complete: interim answers do not start that anew. */
static struct due due_of_exchange(const struct session *s, const struct conf_timeouts *t)
{
    const struct exchange *x = s->exchange;

    if (x->step != STEP_ASK)
        return due_of_connecting(s, t);
    if (x->answer_final)
        return (struct due){ s->progress + t->body, R_TIMEOUT_BODY };
    if (!x->request_done)
        return (struct due){ s->progress + t->body, stream_waiting(&s->server) > 0 ? R_TIMEOUT_RESPONSE : R_TIMEOUT_BODY };
    if (stream_waiting(&s->server) > 0)
        return (struct due){ s->progress + t->response, R_TIMEOUT_RESPONSE };
    return (struct due){ s->asked_since + t->response, R_TIMEOUT_RESPONSE };
}

static struct due sooner(struct due a, struct due b)
{
    return b.at < a.at ? b : a;
}

/* Is it the client that is waited for: for its body, or until it takes what waits for it? */
static bool waits_for_client(const struct session *s)
{
    const struct exchange *x = s->exchange;

    if (s->phase != PHASE_HTTP && s->phase != PHASE_CLOSING)
        return false;
    if (stream_waiting(&s->client) > 0)
        return true;
    return x != NULL && x->step == STEP_ASK && !x->request_done && stream_waiting(&s->server) == 0;
}

static uint64_t moved_by_client(const struct session *s)
{
    return s->client.received + s->taken[DOWN];
}

/* A byte now and then keeps no connection: as long as the client is waited for it is measured, again and again over the time that a
 * body may pause. */
static void note_pace(struct session *s)
{
    const struct conf *conf = s->generation->conf;
    bool over = s->pace_since != 0 && s->pace_since + conf->timeouts.body <= clock_ms();

    if (conf->limits.client_rate == 0 || !waits_for_client(s)) {
        s->pace_since = 0;
    } else if (s->pace_since == 0 ||
               (over && (moved_by_client(s) - s->pace_from) * 1000 >= (uint64_t)conf->limits.client_rate * conf->timeouts.body)) {
        s->pace_since = clock_ms();
        s->pace_from = moved_by_client(s);
    }
}

static struct due due_of_pace(const struct session *s, const struct conf_timeouts *t)
{
    return (struct due){ s->pace_since != 0 ? s->pace_since + t->body : UINT64_MAX, R_TIMEOUT_BODY };
}

/* A side that has a ping of ours has as long as it may be silent before it gets one. What waits for it holds the ping up, too. */
static uint64_t ping_due(const struct ws_half *h)
{
    if (h->stopped)
        return UINT64_MAX;
    return (h->alive->heard > h->alive->pinged ? h->alive->heard : h->alive->pinged) +
           h->session->websocket->policy->websocket.ping_interval;
}

/* A message that is held has to be there in time; but who had to wait for the other side does so without a hurry. */
static struct due due_of_held(const struct ws_half *h, const struct conf_timeouts *t)
{
    if (h->open == NULL || h->open->held_since == 0 || h->stopped)
        return (struct due){ UINT64_MAX, R_NONE };
    return (struct due){ h->open->held_since + t->message, R_TIMEOUT_MESSAGE };
}

static uint64_t look_due(const struct ws_half *h)
{
    return h->alive->looked + h->session->websocket->policy->websocket.ping_interval / WS_LOOKS;
}

static struct due due_of_websocket(const struct session *s, const struct conf_timeouts *t)
{
    const struct websocket *w = s->websocket;
    const struct conf_websocket *ws = &w->policy->websocket;
    struct due due = { s->progress + t->tunnel_idle, R_TIMEOUT_TUNNEL };
    bool ended = s->client.eof || s->server.eof || w->surplus; /* whoever closed its half, or all, behind its close frame */

    if (w->closing_since != 0)
        return (struct due){ w->closing_since + (ended ? WS_ENDED_MS : WS_CLOSE_MS), R_TIMEOUT_CLOSE };
    if (ws->idle != 0)
        due.at = w->spoke + ws->idle;
    if (ws->age != 0)
        due = sooner(due, (struct due){ s->phase_since + ws->age, R_TIMEOUT_AGE });
    for (enum direction d = UP; d < DIRECTIONS && ws->ping_interval != 0; d++)
        due = sooner(due, sooner((struct due){ ping_due(&w->halves[d]), R_NONE }, (struct due){ look_due(&w->halves[d]), R_NONE }));
    for (enum direction d = UP; d < DIRECTIONS; d++)
        due = sooner(due, due_of_held(&w->halves[d], t));
    return due;
}

/* Who still takes our last bytes is given the time of a body, but not in a drain; then it has a moment to go. */
static struct due due_of_closing(const struct session *s, const struct conf_timeouts *t)
{
    bool waits = stream_waiting(&s->client) > 0 || stream_waiting(&s->server) > 0;
    bool hurries = s->engine->draining && !s->engine->handed_over;

    return (struct due){ s->progress + (waits && !hurries ? t->body : LINGER_MS), R_NONE };
}

static struct due find_due(const struct session *s)
{
    const struct conf_timeouts *t = &s->generation->conf->timeouts;

    switch (s->phase) {
    case PHASE_SNIFF:
        return due_of_first_bytes(s, t);
    case PHASE_SOCKS:
        return (struct due){ s->opened + t->handshake, R_TIMEOUT_HANDSHAKE };
    case PHASE_HANDSHAKE:
        return due_of_handshake(s, t);
    case PHASE_HTTP:
        return sooner(s->exchange != NULL ? due_of_exchange(s, t) : due_of_head(s, t), due_of_pace(s, t));
    case PHASE_TUNNEL_WAIT:
        return due_of_connecting(s, t);
    case PHASE_PEEK:
        return due_of_hello(s, t);
    case PHASE_UPGRADE_WAIT:
        return due_of_exchange(s, t);
    case PHASE_TUNNEL:
        return (struct due){ s->progress + t->tunnel_idle, R_TIMEOUT_TUNNEL };
    case PHASE_WEBSOCKET:
        return due_of_websocket(s, t);
    case PHASE_CLOSING:
        return sooner(due_of_closing(s, t), due_of_pace(s, t));
    case PHASE_DEAD:
    case PHASE_COUNT:
        break;
    }
    return (struct due){ 0, R_NONE };
}

/* When the next interval record is due. */
static uint64_t next_interval(const struct session *s)
{
    return s->account.open ? s->account.reported_ms + s->generation->conf->log_interval : UINT64_MAX;
}

void session_moved(struct session *s, const struct stream *side)
{
    s->progress = clock_ms();
    if (side == &s->server)
        s->asked_since = s->progress;
}

/*
 * A full kernel says late that there is room again: only when a third of its buffer is free, which takes a slow peer long. So while
 * output waits, what the peer has acknowledged is asked for whenever the session comes to rest, and when its time is over.
 */
static void note_taken(struct session *s, struct stream *side, enum direction towards)
{
    uint64_t before = s->taken[towards];

    if (stream_waiting(side) == 0)
        return;
    s->taken[towards] = stream_wire_taken(side);
    if (s->taken[towards] == before)
        return;
    session_moved(s, side);
    if (s->phase == PHASE_WEBSOCKET) {
        s->websocket->spoke = s->progress;
        ws_alive_moved(&s->websocket->halves[ws_back(towards)]);
    }
}

void timers_update(struct session *s)
{
    uint64_t interval = next_interval(s);
    struct due due;

    note_taken(s, &s->server, UP);
    note_taken(s, &s->client, DOWN);
    note_pace(s);
    due = find_due(s);
    if (interval < due.at)
        due.at = interval;
    if (due.at != 0)
        timer_set(loop_wheel(s->engine->loop), &s->timer, due.at);
}

/* One that took nothing for long, or that got a ping and stays silent. */
static bool is_dead(struct ws_half *h)
{
    if (look_due(h) <= clock_ms() && ws_alive_is_stuck(h))
        return true;
    return ping_due(h) <= clock_ms() && h->alive->waits && !ws_alive_approaches(h);
}

/* Sides that are silent get a ping. */
static void ask_sides(struct session *s)
{
    for (enum direction d = UP; d < DIRECTIONS && s->phase == PHASE_WEBSOCKET; d++) {
        struct ws_half *h = &s->websocket->halves[d];

        if (is_dead(h))
            ws_end_dead(s, d);
        else if (ping_due(h) <= clock_ms())
            ws_alive_ping(h);
    }
}

static void end_held(struct session *s)
{
    enum direction d = UP;

    while (d < DOWN && due_of_held(&s->websocket->halves[d], &s->generation->conf->timeouts).at > clock_ms())
        d++;
    ws_end_violation(s, d, R_TIMEOUT_MESSAGE);
}

static void expired(struct session *s, enum reason why)
{
    if (why == R_UPSTREAM_TLS) {
        handshake_expired(s, why);
        return;
    }
    switch (s->phase) {
    case PHASE_HANDSHAKE:
        handshake_expired(s, why);
        break;
    case PHASE_CLOSING:
        session_close(s, R_NONE, CLOSER_POSTERN);
        break;
    case PHASE_WEBSOCKET:
        if (why == R_NONE)
            ask_sides(s);
        else if (why == R_TIMEOUT_MESSAGE)
            end_held(s);
        else
            websocket_close(s, why);
        break;
    case PHASE_SNIFF:
        if (why == R_NONE) {
            tunnel_begin_silent(s);
            break;
        }
        session_finish_flow(s, why);
        break;
    case PHASE_SOCKS:
    case PHASE_TUNNEL:
    case PHASE_PEEK:
        session_finish_flow(s, why);
        break;
    case PHASE_HTTP:
        if (s->exchange == NULL && s->head_since != 0)
            request_begin_refused(s);
        if (s->exchange == NULL)
            session_finish_flow(s, why);
        else if (!balance_moves(s, why))
            deny(s, why);
        break;
    case PHASE_TUNNEL_WAIT:
    case PHASE_UPGRADE_WAIT:
        if (!balance_moves(s, why))
            deny(s, why);
        break;
    case PHASE_DEAD:
    case PHASE_COUNT:
        break;
    }
}

void timers_fire(void *arg)
{
    struct session *s = arg;
    struct due due;

    if (session_is_dead(s))
        return;
    if (next_interval(s) <= clock_ms())
        report_alive(s, RECORD_INTERVAL);
    note_taken(s, &s->server, UP);
    note_taken(s, &s->client, DOWN);
    note_pace(s);
    due = find_due(s);
    if (due.at != 0 && due.at <= clock_ms())
        expired(s, due.why);
    session_run(s);
}
