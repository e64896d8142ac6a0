/* SPDX-License-Identifier: ISC */
/*
 * What a policy asks about each frame before it passes: who may speak, how much and how fast (policy/ws_contract.h), what kinds of
 * messages, and whether they are held. And what comes of a frame that breaks it: on_violation = "close" ends the stream, "log" lets
 * the frame pass, "drop_message" lets its whole message vanish if nothing of it was passed on yet; both leave a record. Limits of
 * size, and what breaks RFC 6455 or RFC 7692, always end the stream.
 *
 * A policy without such wishes costs nothing here: its readers ask about control frames alone, of which there are few.
 */
#include "session/state.h"
#include "session/websocket.h"

#include "base/clock.h"

#include <stdlib.h>

#define SECOND_MS 1000

enum opcode { OP_CLOSE = 8, OP_PONG = 10 }; /* RFC 6455 11.8 */

void ws_rules_name(struct websocket *w, struct session *s, const char *name, unsigned line)
{
    w->rule = table_intern(s->engine->shard, name);
    w->rule_line = line;
}

bool ws_rules_may_vanish(const struct ws_half *h, bool compressed)
{
    const struct ws_deflate *agreed = &h->session->websocket->agreed;

    return !compressed || (h->from == UP ? agreed->client_no_context : agreed->server_no_context);
}

/* Something was let go: it is counted, and recorded as long as that are not too many. */
static void record(struct ws_half *h, enum reason why)
{
    struct session *s = h->session;
    struct websocket *w = s->websocket;
    uint64_t now = clock_ms();

    log_remote("session %u-%llu: %s from the %s, on_violation is not \"close\"", s->row->worker, (unsigned long long)s->row->number,
               reason_name(why), h->from == UP ? "client" : "server");
    if (now - w->events_since >= SECOND_MS) {
        w->events_since = now;
        w->events = 0;
    }
    if (w->events++ >= WS_EVENTS_MAX) {
        count_reason(s->engine->shard, why);
        return;
    }
    s->server_offends = h->from == DOWN;
    report_event(s, why, CLOSER_NONE);
}

enum reason ws_rules_broken(struct ws_half *h, enum reason why, bool can_vanish, bool *drop)
{
    switch (h->session->websocket->policy->websocket.on_violation) {
    case VIOLATION_CLOSE:
        return why;
    case VIOLATION_DROP_MESSAGE:
        if (!can_vanish)
            return why;
        *drop = true;
        break;
    case VIOLATION_LOG:
        break;
    }
    record(h, why);
    return R_NONE;
}

static enum reason on_control(struct ws_half *h, const struct ws_frame *frame, enum ws_way *way)
{
    enum reason why;
    bool drop = false;

    if (frame->opcode == OP_CLOSE)
        return R_NONE;
    if (frame->opcode == OP_PONG && ws_alive_is_answer(h, frame)) {
        *way = WS_DROP;
        return R_NONE;
    }
    if (h->control == NULL && (h->control = calloc(1, sizeof(*h->control))) == NULL)
        return R_MEMORY;
    why = ws_control_take(h->control, h->session->websocket->policy->websocket.sides[h->from].control_frames, clock_ms());
    if (why != R_NONE)
        why = ws_rules_broken(h, why, true, &drop);
    *way = drop ? WS_DROP : WS_PASS;
    return why;
}

/* What is refused at any price: on_violation has no say in it. */
static bool is_too_big(const struct ws_half *h)
{
    uint64_t limit = websocket_limit(h);

    return limit != 0 && !h->open->compressed && h->open->announced > limit;
}

static enum reason ask(struct ws_half *h, const struct ws_frame *frame)
{
    struct websocket *w = h->session->websocket;
    unsigned kind = h->open->text ? CONF_TEXT : CONF_BINARY;
    enum reason why = R_NONE;

    if (frame->begins && !(w->policy->websocket.sides[h->from].opcodes & kind))
        return R_OPCODE_DENIED;
    if (frame->begins)
        why = ws_contract_message(w->contract, h->from, clock_ms());
    return why == R_NONE ? ws_contract_payload(w->contract, h->from, frame->payload, clock_ms()) : why;
}

/* A data frame: is it allowed, and which way does its message go? */
static enum reason on_data(struct ws_half *h, const struct ws_frame *frame, enum ws_way *way)
{
    const struct ws_match *match = h->session->websocket->match;
    bool held = frame->begins ? match != NULL && ws_match_asks(match, h->from) : h->reader.message_way == WS_HOLD;
    struct ws_contract *contract = h->session->websocket->contract;
    const struct ws_contract before = *contract;
    enum reason why;

    if (frame->begins) {
        ws_inspect_begin(h, frame, held);
        h->open->vanishes = false;
    }
    h->open->compressed = frame->compressed;
    h->open->announced = (frame->begins ? 0 : h->reader.message_bytes) + frame->payload;
    if (is_too_big(h))
        return R_MESSAGE_TOO_BIG;
    why = h->open->vanishes ? R_NONE : ask(h, frame);
    if (why != R_NONE)
        why = ws_rules_broken(h, why, (frame->begins || held) && ws_rules_may_vanish(h, h->open->compressed), &h->open->vanishes);
    if (why != R_NONE)
        return why;
    if (frame->begins && h->open->vanishes) { /* what was never said costs nothing */
        h->open->is_read = false;
        *contract = before;
    }
    if (h->from == UP && !h->open->vanishes && !held)
        ws_contract_said(contract, frame->begins, frame->payload, clock_ms());
    if (frame->begins)
        *way = h->open->vanishes ? WS_DROP : held ? WS_HOLD : WS_PASS;
    return R_NONE;
}

static enum reason on_frame(void *half, const struct ws_frame *frame, enum ws_way *way)
{
    struct ws_half *h = half;
    enum reason why;

    if (frame->opcode >= OP_CLOSE)
        return on_control(h, frame, way);
    why = on_data(h, frame, way);
    return why == R_NONE && frame->fin && frame->payload == 0 ? ws_inspect_end(h) : why;
}

static bool side_asks(const struct conf_websocket *ws, enum direction d)
{
    const struct conf_ws_side *side = &ws->sides[d];

    return !side->send || side->messages_per_second != 0 || side->bytes_per_second != 0 ||
           (ws->on_violation != VIOLATION_CLOSE && side->opcodes != (CONF_TEXT | CONF_BINARY));
}

/* Does this policy have an opinion about single data frames? */
static bool asks(const struct conf_websocket *ws)
{
    bool pushes =
        !ws->server_first || ws->messages_per_client_message != 0 || ws->bytes_per_client_byte != 0 || ws->quiet_after != 0;

    return side_asks(ws, UP) || side_asks(ws, DOWN) || pushes;
}

struct ws_calls ws_rules_calls(struct ws_half *h)
{
    const struct websocket *w = h->session->websocket;
    const struct conf_websocket *ws = &w->policy->websocket;
    bool reads =
        h->inflater != NULL || !ws->tunnels || ws->match_count > 0 || websocket_holds(h); /* what began to be read is read on */

    return (struct ws_calls){
        .control_only = !reads && !asks(ws), .on_frame = on_frame, .on_payload = reads ? ws_inspect_payload : NULL, .arg = h
    };
}
