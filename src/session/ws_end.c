/* SPDX-License-Identifier: ISC */
/*
 * How a WebSocket ends, and who is told what. Whoever breaks a rule gets a close frame with the code for it, the other side 1001 or
 * 1011, each only where what was passed on to it ends at the end of a frame; elsewhere a close frame would be read as payload, and
 * the end of the connection has to say it. The row and the record say who closed and why: the code is that of the first close
 * frame, of a side's or of ours to the offender; it is 1006 when a side vanished without one, and closed_by says which.
 */
#include "session/state.h"
#include "session/websocket.h"

#include "base/clock.h"

#include <stdio.h>
#include <sys/random.h>

#define CLOSE_TEXT 96

/* A close frame of ours towards one side, where it can be understood. */
static void send_close(struct session *s, enum direction towards, unsigned code, struct span text)
{
    const struct ws_reader *r = &s->websocket->halves[towards].reader;
    struct stream *side = ws_target(s, towards);
    char frame[WS_CLOSE_MAX];
    uint8_t mask[4] = { 0 };
    size_t len;

    if (r->closed || !ws_at_boundary(r) || side->failed)
        return;
    if (towards == UP && getrandom(mask, sizeof(mask), 0) != sizeof(mask))
        return;
    len = ws_write_close(frame, towards == UP ? WS_CLIENT : WS_SERVER, code, text, mask);
    if (!stream_put(side, frame, len))
        side->failed = true;
}

/* The reason, and for who it concerns also who says so: "revoked: no-chat". */
static struct span close_text(struct session *s, enum reason why, char out[CLOSE_TEXT])
{
    char name[TABLE_NAME_SIZE];

    if (s->websocket->rule == 0)
        return span_str(reason_name(why));
    snprintf(out, CLOSE_TEXT, "%s: %s", reason_name(why), table_name(s->engine->shard, s->websocket->rule, name));
    return span_str(out);
}

void ws_end_violation(struct session *s, enum direction from, enum reason why)
{
    char text[CLOSE_TEXT];
    struct span told = close_text(s, why, text);

    log_remote("session %u-%llu: %.*s from the %s", s->row->worker, (unsigned long long)s->row->number, (int)told.len, told.at,
               from == UP ? "client" : "server");
    s->server_offends = from == DOWN;
    if (s->websocket->first_closer == CLOSER_NONE)
        s->row->close_code = (uint16_t)reason_close_code(why);
    send_close(s, ws_back(from), reason_close_code(why), told);
    send_close(s, from, from == UP ? 1001 : 1011, span_str(reason_name(why)));
    session_finish(s, why, CLOSER_POSTERN);
}

void websocket_close(struct session *s, enum reason why)
{
    char text[CLOSE_TEXT];
    struct span told = close_text(s, why, text);

    if (s->websocket->first_closer == CLOSER_NONE)
        s->row->close_code = (uint16_t)reason_close_code(why);
    send_close(s, DOWN, reason_close_code(why), told);
    send_close(s, UP, why == R_DRAINED ? 1001 : reason_close_code(why), told);
    session_finish(s, why, CLOSER_POSTERN);
}

void websocket_revoke(struct session *s, const char *by, unsigned line)
{
    ws_rules_name(s->websocket, s, by, line);
    websocket_close(s, R_REVOKED);
}

/* One side is not there any more: 1006 to the log, and the other side is told. */
static void lost(struct session *s, enum direction from, enum reason why)
{
    s->row->close_code = 1006;
    send_close(s, from, 1001, span_str(reason_name(why)));
    session_finish(s, why, from == UP ? CLOSER_CLIENT : CLOSER_SERVER);
}

void ws_end_dead(struct session *s, enum direction from)
{
    lost(s, from, R_TIMEOUT_PING);
}

void ws_end_gone(struct session *s, enum direction from)
{
    struct websocket *w = s->websocket;
    const struct stream *side = ws_target(s, ws_back(from));
    bool reset = side->failed;

    if (w->halves[from].reader.closed && !reset)
        return; /* it has said all that it had to say, and may be waiting for the other's close frame */
    if (w->halves[UP].reader.closed || w->halves[DOWN].reader.closed) /* it had been told to go, or had said so */
        session_finish(s, R_NONE, w->first_closer);
    else
        lost(s, from, side->flooded ? R_TLS_FLOOD : reset ? R_PEER_RESET : from == UP ? R_CLIENT_GONE : R_UPSTREAM_CLOSED);
}

void ws_end_note(struct session *s, enum direction from)
{
    struct websocket *w = s->websocket;
    const struct ws_reader *r = &w->halves[from].reader;

    ws_hold_drop(&w->halves[from]); /* its end will not come */
    if (w->first_closer == CLOSER_NONE) {
        w->first_closer = from == UP ? CLOSER_CLIENT : CLOSER_SERVER;
        w->closing_since = clock_ms();
        s->row->close_code = r->close_code;
    }
    if (w->halves[UP].reader.closed && w->halves[DOWN].reader.closed)
        session_finish(s, R_NONE, w->first_closer); /* both said it: both connections end */
}
