/* SPDX-License-Identifier: ISC */
/*
 * WebSocket, once the handshake is done: frames pass both ways as they came, each checked on its way (proto/ws_frame.c). Nothing is
 * buffered but an incomplete header or control frame, which stays in its stream. Whoever breaks a rule gets a close frame with the
 * code for it, the other side 1001 or 1011, each only where what was passed on ends at the end of a frame; elsewhere a close frame
 * would be read as payload, and the end of the connection has to say it.
 */
#include "session/state.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define CONTROL_WINDOW_MS 10000
#define CONTROL_FRAMES_MAX 100 /* control frames of one side in a window */

void websocket_begin(struct session *s)
{
    struct websocket *w = calloc(1, sizeof(*w));
    struct exchange *x = s->exchange;
    bool kept = standing_keep(s, &x->judge, x->head, x->written_len);

    x->head = NULL;
    if (w == NULL || !kept) {
        free(w);
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return;
    }
    ws_reader_init(&w->readers[UP], WS_CLIENT);
    ws_reader_init(&w->readers[DOWN], WS_SERVER);
    s->websocket = w;
    exchange_free(s);
    if (s->tunnel != NULL) {
        free(s->tunnel->judge);
        s->tunnel->judge = NULL;
    }
    count_add(s->engine->shard, COUNT_WEBSOCKETS, 1);
    count_add(s->engine->shard, COUNT_WEBSOCKETS_OPEN, 1);
    session_set_phase(s, PHASE_WEBSOCKET);
    report_alive(s, RECORD_START);
}

static struct stream *side_of(struct session *s, enum direction towards)
{
    return towards == UP ? &s->server : &s->client;
}

/* A close frame of ours towards one side, where it can be understood. */
static void send_close(struct session *s, enum direction towards, unsigned code, enum reason why)
{
    const struct ws_reader *r = &s->websocket->readers[towards];
    char frame[WS_CLOSE_MAX];
    uint8_t mask[4] = { 0 };
    size_t len;

    if (r->closed || !ws_at_boundary(r) || side_of(s, towards)->failed)
        return;
    if (towards == UP && getrandom(mask, sizeof(mask), 0) != sizeof(mask))
        return;
    len = ws_write_close(frame, towards == UP ? WS_CLIENT : WS_SERVER, code, span_str(reason_name(why)), mask);
    if (!stream_put(side_of(s, towards), frame, len))
        side_of(s, towards)->failed = true;
}

/* `from` names the side that broke a rule by the direction in which its frames go. */
static void violation(struct session *s, enum direction from, enum reason why)
{
    enum direction back = from == UP ? DOWN : UP;

    log_remote("session %u-%llu: %s from the %s", s->row->worker, (unsigned long long)s->row->number, reason_name(why),
               from == UP ? "client" : "server");
    s->server_offends = from == DOWN;
    s->row->close_code = (uint16_t)reason_close_code(why);
    send_close(s, back, reason_close_code(why), why);
    send_close(s, from, from == UP ? 1001 : 1011, why);
    session_finish(s, why, CLOSER_POSTERN);
}

void websocket_close(struct session *s, enum reason why)
{
    if (s->websocket->first_closer == CLOSER_NONE)
        s->row->close_code = (uint16_t)reason_close_code(why);
    send_close(s, DOWN, reason_close_code(why), why);
    send_close(s, UP, why == R_DRAINED ? 1001 : reason_close_code(why), why);
    session_finish(s, why, CLOSER_POSTERN);
}

/* One side is gone without a close frame: 1006 to the log, and the other side is told. */
static void went_away(struct session *s, enum direction from)
{
    struct websocket *w = s->websocket;
    enum closer by = from == UP ? CLOSER_CLIENT : CLOSER_SERVER;
    enum reason why = from == UP ? R_CLIENT_GONE : R_UPSTREAM_CLOSED;
    bool reset = side_of(s, from == UP ? DOWN : UP)->failed;

    if (w->readers[from].closed && !reset)
        return; /* it has said all that it had to say, and may be waiting for the other's close frame */
    if (w->readers[UP].closed || w->readers[DOWN].closed) { /* it had been told to go, or had said so */
        session_finish(s, R_NONE, w->first_closer);
        return;
    }
    s->row->close_code = 1006;
    send_close(s, from, 1001, why);
    session_finish(s, reset ? R_PEER_RESET : why, by);
}

static void count_frames(struct session *s, enum direction direction)
{
    const struct ws_reader *r = &s->websocket->readers[direction];
    struct row *row = s->row;

    for (unsigned k = 0; k < WS_KIND_COUNT; k++)
        row->frames[direction][k] = (uint32_t)r->frames[k];
    if (direction == UP)
        row->pushes = r->messages != row->messages[UP] ? 0 : row->pushes;
    else
        row->pushes += (uint32_t)(r->messages - row->messages[DOWN]);
    row->messages[direction] = r->messages;
}

/* More control frames than anybody needs are an attack on the other side. */
static bool is_flood(struct session *s, enum direction direction)
{
    struct websocket *w = s->websocket;
    const uint64_t *frames = w->readers[direction].frames;
    uint64_t before = w->control[direction], control = frames[WS_KIND_PING] + frames[WS_KIND_PONG];

    if (clock_ms() - w->window[direction] >= CONTROL_WINDOW_MS) {
        w->window[direction] = clock_ms();
        w->window_base[direction] = before;
    }
    w->control[direction] = control;
    return control - w->window_base[direction] > CONTROL_FRAMES_MAX;
}

/* The close handshake: code and closer are those of the first close frame; after the second both connections end. */
static void note_close(struct session *s, enum direction direction)
{
    struct websocket *w = s->websocket;
    struct ws_reader *r = &w->readers[direction];

    if (!r->closed)
        return;
    if (w->first_closer == CLOSER_NONE) {
        w->first_closer = direction == UP ? CLOSER_CLIENT : CLOSER_SERVER;
        w->closing_since = clock_ms();
        s->row->close_code = r->close_code;
    }
    if (w->readers[UP].closed && w->readers[DOWN].closed)
        session_finish(s, R_NONE, w->first_closer);
}

static bool relay(struct session *s, enum direction direction)
{
    struct stream *from = side_of(s, direction == UP ? DOWN : UP), *to = side_of(s, direction);
    struct ws_reader *r = &s->websocket->readers[direction];
    enum reason why = R_NONE;
    struct span input;
    size_t good;

    if (stream_waiting(to) >= STREAM_HIGH_WATER)
        return false;
    input = stream_input(from, true);
    good = ws_feed(r, input, &why);
    if (good > 0) {
        s->progress = clock_ms();
        report_bytes(s, direction, good);
        count_frames(s, direction);
    }
    if (!stream_send(to, span_of(input.at, good)) || !stream_taken(from, input, good)) {
        session_close(s, R_MEMORY, CLOSER_POSTERN);
        return false;
    }
    if (why == R_NONE && good > 0 && is_flood(s, direction))
        why = R_CONTROL_FLOOD;
    if (why == R_NONE)
        note_close(s, direction);
    else
        violation(s, direction, why);
    if (s->phase == PHASE_WEBSOCKET && (from->eof || from->failed))
        went_away(s, direction);
    return good > 0;
}

bool websocket_on_client(struct session *s)
{
    return relay(s, UP);
}

bool websocket_on_server(struct session *s)
{
    enum reason why = ledger_bytes(&s->ledger);

    if (why != R_NONE) {
        violation(s, DOWN, why);
        return false;
    }
    return relay(s, DOWN);
}
