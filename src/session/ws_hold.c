/* SPDX-License-Identifier: ISC */
/*
 * Messages that are judged as a whole. Where a policy has match rules about what a side says, its messages wait here: the frames as
 * they came, and what they say, unmasked and inflated. When the last byte is there the rules decide, and the very same frames go on
 * or vanish. So of n messages of which the last is denied n - 1 were delivered. At most one message a direction waits, and it is no
 * larger than message_bytes (ws_inspect.c) and its frame headers; the memory is given back as soon as it is judged, or when it is
 * known that it vanishes. What all messages of a worker take has a bound, limits.held_bytes: a message for which there is no room
 * can neither be judged nor pass unjudged, so its stream ends. And so does one whose end does not come in time (timers.c).
 *
 * What is held was not said yet: the contract, and the clock of what is idle, count it when it goes on.
 *
 * Control frames pass meanwhile: they may stand between the frames of a message, and in front of it.
 */
#include "session/state.h"
#include "session/websocket.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 4096
#define STEP_BYTES 1048576 /* it doubles up to here, and then grows by as much */

/* Room for `more` bytes, out of what all messages of the worker may take. */
static enum reason grow(struct engine *e, struct ws_bytes *b, size_t more)
{
    size_t size = b->size > 0 ? b->size : FIRST_BYTES;
    char *larger;

    while (size - b->len < more)
        size += size < STEP_BYTES ? size : STEP_BYTES;
    if (size == b->size)
        return R_NONE;
    if (e->held + (size - b->size) > e->generation->conf->limits.held_bytes)
        return R_OVERLOAD;
    larger = realloc(b->at, size);
    if (larger == NULL)
        return R_MEMORY;
    e->held += size - b->size;
    b->at = larger;
    b->size = size;
    return R_NONE;
}

static enum reason add(struct engine *e, struct ws_bytes *b, struct span s)
{
    enum reason why = grow(e, b, s.len);

    if (why != R_NONE || s.len == 0)
        return why;
    memcpy(b->at + b->len, s.at, s.len);
    b->len += s.len;
    return R_NONE;
}

static void drop(struct engine *e, struct ws_bytes *b)
{
    e->held -= b->size;
    free(b->at);
    memset(b, 0, sizeof(*b));
}

void ws_hold_drop(struct ws_half *h)
{
    struct engine *e = h->session->engine;

    if (h->open == NULL)
        return;
    drop(e, &h->open->raw);
    drop(e, &h->open->plain);
    h->open->held_since = 0;
}

enum reason ws_hold_text(struct ws_half *h, struct span piece)
{
    return h->open->vanishes ? R_NONE : add(h->session->engine, &h->open->plain, piece);
}

/* The complete message, of which nothing vanished. R_NONE: it goes on, or vanishes. */
static enum reason judge(struct ws_half *h)
{
    struct session *s = h->session;
    struct websocket *w = s->websocket;
    struct ws_verdict verdict = { .rule = -1 };
    const struct conf_ws_match *rule;
    enum reason why;
    bool paid;

    if (w->match != NULL)
        verdict = ws_match_judge(w->match, h->from, h->open->text, span_of(h->open->plain.at, h->open->plain.len));
    paid = ws_effort_take(&w->effort, verdict.past, clock_ms());
    if (verdict.rule < 0)
        return paid ? R_NONE : R_MATCH_LIMIT;
    rule = &w->policy->websocket.matches[verdict.rule];
    ws_rules_name(w, s, rule->name, rule->line);
    if (!paid) /* it keeps us from serving others: on_violation has no say in it */
        return R_MATCH_LIMIT;
    why = verdict.gave_up ? R_MATCH_LIMIT : R_MATCH_DENIED;
    why = ws_rules_broken(h, why, ws_rules_may_vanish(h, h->open->compressed), &h->open->vanishes);
    if (why == R_NONE)
        ws_rules_name(w, s, "", 0);
    return why;
}

/* Only now it was said. */
static enum reason release(struct ws_half *h)
{
    struct session *s = h->session;

    websocket_count(h, h->open->text ? WS_KIND_TEXT : WS_KIND_BINARY, 1);
    websocket_count(h, WS_KIND_CONTINUATION, h->reader.fragments - 1);
    report_bytes(s, h->from, h->open->raw.len);
    if (h->from == UP)
        ws_contract_said(s->websocket->contract, true, h->open->announced, clock_ms());
    s->progress = s->websocket->spoke = clock_ms();
    return stream_send(ws_target(s, h->from), span_of(h->open->raw.at, h->open->raw.len)) ? R_NONE : R_MEMORY;
}

/* More of the message, or its end. */
static enum reason take(struct ws_half *h, struct span run)
{
    enum reason why;

    if (h->open->held_since == 0)
        h->open->held_since = clock_ms();
    why = add(h->session->engine, &h->open->raw, run);
    if (why != R_NONE || !h->reader.ended)
        return why;
    why = judge(h);
    return why == R_NONE && !h->open->vanishes ? release(h) : why;
}

enum reason ws_hold(struct ws_half *h, struct span run)
{
    enum reason why = h->open->vanishes ? R_NONE : take(h, run);

    if (!h->reader.ended && !h->open->vanishes)
        return why;
    ws_hold_drop(h);
    websocket_set_rules(h);
    return why;
}
