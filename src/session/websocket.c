/* SPDX-License-Identifier: ISC */
/*
 * WebSocket, once the handshake is done: frames pass both ways as they came, each checked on its way (proto/ws_frame.c) by the
 * limits and the contract of the policy that allowed it (ws_rules.c). Nothing is buffered but an incomplete header or control
 * frame, which stays in its stream, and messages that the policy wants to judge (ws_hold.c).
 *
 * A reader hands out its input in runs that go one way: they pass, vanish, or are held. Where the policy asks nothing of single
 * frames, a run is all that was read. Runs that take long, because their messages are judged, are spread over turns of the loop.
 */
#include "session/state.h"
#include "session/websocket.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define HELD_BYTES 16777216 /* the most that is held of a message if the policy has no limit (conf/ demands one) */
#define HELD_FRAGMENTS 65536
#define TURN_NS 2000000u /* of work that one read gives; what is left waits for another turn of the loop */

uint64_t websocket_limit(const struct ws_half *h)
{
    const struct websocket *w = h->session->websocket;
    uint64_t limit = w->policy->websocket.sides[h->from].message_bytes;
    bool holds = w->match != NULL || websocket_holds(h);

    return limit == 0 && holds ? HELD_BYTES : limit;
}

bool websocket_holds(const struct ws_half *h)
{
    return h->open != NULL && h->open->raw.len > 0;
}

/* Deflate makes what cannot be compressed a little longer: what is read is measured when it is inflated. */
static uint64_t wire_bytes(const struct ws_half *h, uint64_t limit)
{
    return limit != 0 && h->inflater != NULL ? limit + limit / 256 + 1024 : limit;
}

static struct ws_limits limits_of(const struct ws_half *h)
{
    const struct websocket *w = h->session->websocket;
    const struct conf_ws_side *side = &w->policy->websocket.sides[h->from];
    bool closes = w->policy->websocket.on_violation == VIOLATION_CLOSE;
    struct ws_limits limits = { .frame_bytes = side->frame_bytes,
                                .message_bytes = wire_bytes(h, websocket_limit(h)),
                                .fragments = side->fragments,
                                .no_text = closes && !(side->opcodes & CONF_TEXT),
                                .no_binary = closes && !(side->opcodes & CONF_BINARY),
                                .compressed = w->agreed.on };

    if (w->match != NULL && limits.fragments == 0)
        limits.fragments = HELD_FRAGMENTS;
    return limits;
}

void websocket_set_rules(struct ws_half *h)
{
    struct ws_reader *r = &h->reader;

    r->limits = limits_of(h);
    r->calls = ws_rules_calls(h);
    if (h->open == NULL)
        return;
    if (r->calls.on_payload == NULL) /* and this message will not be, should the policy change again */
        h->open->is_read = h->open->sniffs = false;
    if (r->message != 0 && r->message_way == WS_PASS) /* it may have begun while nobody asked about it */
        h->open->vanishes = false;
}

/* What the calls of its reader need; the stream began at `since`. false: no memory. */
static bool make_room(struct ws_half *h, uint64_t since)
{
    struct websocket *w = h->session->websocket;
    bool asks = !h->reader.calls.control_only, pings = w->policy->websocket.ping_interval != 0;

    if (pings && h->alive == NULL && (h->alive = calloc(1, sizeof(*h->alive))) != NULL)
        h->alive->heard = h->alive->looked = clock_ms();
    if (asks && h->open == NULL)
        h->open = calloc(1, sizeof(*h->open));
    if (asks && w->contract == NULL && (w->contract = malloc(sizeof(*w->contract))) != NULL)
        ws_contract_init(w->contract, &w->policy->websocket, since);
    return !(pings && h->alive == NULL) && !(asks && (h->open == NULL || w->contract == NULL));
}

/* From now on the policy w->policy is in force, in a stream that began at `since`. false: no memory. */
static bool set_rules(struct websocket *w, uint64_t since)
{
    bool room = true;

    for (enum direction d = UP; d < DIRECTIONS; d++) {
        websocket_set_rules(&w->halves[d]);
        room = room && make_room(&w->halves[d], since);
    }
    return room;
}

static bool open_inflaters(struct websocket *w)
{
    const struct conf_websocket *ws = &w->policy->websocket;
    const struct ws_inflate_limits limits = { 0, ws->inflate_ratio }; /* how much comes out is counted where it is used */

    if (!w->agreed.on || ws->deflate != DEFLATE_INSPECT)
        return true;
    for (enum direction d = UP; d < DIRECTIONS; d++)
        if ((w->halves[d].inflater = ws_inflater_new(&w->agreed, d == UP, &limits)) == NULL)
            return false;
    return true;
}

static struct websocket *make(struct session *s, const struct exchange *x)
{
    struct websocket *w = calloc(1, sizeof(*w));
    int policy = x->judge.verdict.policy;

    if (w == NULL)
        return NULL;
    w->policy = &s->generation->conf->policies[policy];
    w->match = s->generation->matches[policy];
    w->agreed = x->offer.agreed;
    w->spoke = clock_ms();
    for (enum direction d = UP; d < DIRECTIONS; d++) {
        w->halves[d].session = s;
        w->halves[d].from = d;
        ws_reader_init(&w->halves[d].reader, d == UP ? WS_CLIENT : WS_SERVER);
    }
    return w;
}

void websocket_begin(struct session *s)
{
    struct exchange *x = s->exchange;
    bool kept = standing_keep(s, &x->judge, span_of(x->head, x->written_len));

    s->websocket = kept ? make(s, x) : NULL;
    if (s->websocket == NULL || !open_inflaters(s->websocket) || !set_rules(s->websocket, clock_ms())) {
        websocket_free(s);
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return;
    }
    exchange_free(s);
    if (s->tunnel != NULL) {
        free(s->tunnel->judge);
        s->tunnel->judge = NULL;
    }
    count_add(s->engine->shard, COUNT_WEBSOCKETS, 1);
    count_add(s->engine->shard, COUNT_WEBSOCKETS_OPEN, 1);
    session_set_phase(s, PHASE_WEBSOCKET);
    report_alive(s, RECORD_START);
    session_judge_again(s); /* a generation may have come since the handshake was judged */
}

static void close_inflater(struct ws_half *h)
{
    if (h->inflater == NULL)
        return;
    ws_inflater_free(h->inflater);
    h->inflater = NULL;
    if (h->open != NULL && h->open->compressed) /* the rest of it cannot be read */
        h->open->is_read = h->open->sniffs = false;
}

void websocket_stop(struct session *s)
{
    for (enum direction d = UP; s->websocket != NULL && d < DIRECTIONS; d++) {
        close_inflater(&s->websocket->halves[d]);
        ws_hold_drop(&s->websocket->halves[d]);
    }
}

void websocket_free(struct session *s)
{
    websocket_stop(s);
    for (enum direction d = UP; s->websocket != NULL && d < DIRECTIONS; d++) {
        free(s->websocket->halves[d].open);
        free(s->websocket->halves[d].alive);
        free(s->websocket->halves[d].control);
    }
    if (s->websocket != NULL)
        free(s->websocket->contract);
    free(s->websocket);
    s->websocket = NULL;
}

/* What was compressed with what went before it can be inflated only by who read that, too. */
bool websocket_fits(const struct websocket *w, const struct conf_policy *policy)
{
    enum conf_deflate deflate = policy->websocket.deflate;

    return !w->agreed.on || deflate == DEFLATE_PASS || (deflate == DEFLATE_INSPECT && w->halves[UP].inflater != NULL);
}

void websocket_renew(struct session *s, int policy)
{
    struct websocket *w = s->websocket;

    w->policy = &s->generation->conf->policies[policy];
    w->match = s->generation->matches[policy];
    if (w->contract != NULL)
        ws_contract_renew(w->contract, &w->policy->websocket, clock_ms());
    for (enum direction d = UP; d < DIRECTIONS && w->policy->websocket.deflate == DEFLATE_PASS; d++)
        close_inflater(&w->halves[d]);
    if (!set_rules(w, s->phase_since))
        session_close(s, R_MEMORY, CLOSER_POSTERN);
}

void websocket_count(struct ws_half *h, enum ws_kind kind, uint32_t frames)
{
    struct row *row = h->session->row;

    row->frames[h->from][kind] += frames;
    if ((kind != WS_KIND_TEXT && kind != WS_KIND_BINARY) || frames == 0)
        return;
    row->messages[h->from] += frames; /* each begins with one of these */
    row->pushes = h->from == UP ? 0 : row->pushes + frames;
}

/* The frames that came with this run; those that pass are counted. Was it, or a part of it, of data frames? */
static bool note_frames(struct ws_half *h)
{
    struct ws_reader *r = &h->reader;
    bool data = h->data_left > 0;

    for (enum ws_kind k = WS_KIND_CONTINUATION; k < WS_KIND_COUNT; k++) {
        uint32_t more = r->frames[k];

        if (more == 0)
            continue;
        r->frames[k] = 0;
        data = data || k <= WS_KIND_BINARY;
        if (r->way == WS_PASS)
            websocket_count(h, k, more);
    }
    h->data_left = r->left;
    return data;
}

static enum reason pass(struct ws_half *h, struct span run, bool data)
{
    struct session *s = h->session;

    s->progress = clock_ms();
    if (data)
        s->websocket->spoke = s->progress;
    report_bytes(s, h->from, run.len);
    return stream_send(ws_target(s, h->from), run) ? R_NONE : R_MEMORY;
}

/* What was read of a side is good, and goes its way. Only what passes is counted: what is held when it is let go (ws_hold.c). */
static enum reason take_run(struct ws_half *h, struct span run)
{
    bool data = note_frames(h);

    ws_alive_heard(h);
    switch (h->reader.way) {
    case WS_PASS:
        return pass(h, run, data);
    case WS_HOLD:
        return ws_hold(h, run);
    case WS_DROP:
        break;
    }
    return R_NONE;
}

/*
 * Runs of what was read, until there is no more, or a rule is broken, or it took so long that others must be served first
 * (h->left). Returns how much was used. What stands behind a close frame is discarded (RFC 6455 1.4), valid or not: it ends no
 * close handshake that is under way.
 */
static size_t take_runs(struct ws_half *h, struct span input, enum reason *why)
{
    uint64_t began = clock_real_ns();
    size_t used = 0, good;

    *why = R_NONE;
    do {
        enum reason offence = R_NONE;

        good = ws_feed(&h->reader, span_skip(input, used), &offence);
        if (good > 0)
            *why = take_run(h, span_of(input.at + used, good));
        if (*why == R_NONE && !h->reader.closed)
            *why = offence;
        used += good;
        if (h->reader.closed && used < input.len) {
            h->session->websocket->surplus = true;
            used = input.len;
        }
        h->left = good > 0 && used < input.len && *why == R_NONE;
    } while (h->left && clock_real_ns() - began < TURN_NS);
    return used;
}

/* Does the other side not take what there is? Who waits for it loses no time. */
static bool is_stopped(struct ws_half *h)
{
    bool before = h->stopped;

    h->stopped = stream_waiting(ws_target(h->session, h->from)) >= STREAM_HIGH_WATER;
    if (before && !h->stopped) {
        ws_alive_moved(h);
        if (h->open != NULL && h->open->held_since != 0)
            h->open->held_since = clock_ms();
    }
    return h->stopped;
}

static bool relay(struct session *s, enum direction direction)
{
    struct ws_half *h = &s->websocket->halves[direction];
    struct stream *from = ws_target(s, ws_back(direction));
    struct span input;
    enum reason why;
    size_t used;

    if ((h->left && stream_waits_again(from)) || is_stopped(h))
        return false;
    input = stream_input(from, true);
    used = take_runs(h, input, &why);
    if (why == R_MEMORY || !stream_taken(from, input, used)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    if (h->left)
        stream_again(from);
    if (why != R_NONE)
        ws_end_violation(s, direction, why);
    else if (h->reader.closed)
        ws_end_note(s, direction);
    if (s->phase == PHASE_WEBSOCKET)
        ws_alive_pay(&s->websocket->halves[ws_back(direction)]);
    if (s->phase == PHASE_WEBSOCKET && !h->left && (from->eof || from->failed))
        ws_end_gone(s, direction);
    return used > 0;
}

void websocket_broken(struct session *s)
{
    if (!is_stopped(&s->websocket->halves[UP]))
        return;
    s->client.failed = true;
    ws_end_gone(s, UP);
}

bool websocket_on_client(struct session *s)
{
    return relay(s, UP);
}

bool websocket_on_server(struct session *s)
{
    enum reason why = ledger_bytes(&s->ledger);

    if (why != R_NONE) {
        ws_end_violation(s, DOWN, why);
        return false;
    }
    return relay(s, DOWN);
}
