/* SPDX-License-Identifier: ISC */
/*
 * Is there still somebody? A side that said nothing for the policy's ping_interval gets a ping of ours, between two frames, and its
 * pong to it goes no further: the other side asked for none. Anything that comes from it is an answer as good as a pong; only who
 * says nothing at all for another interval is dead. When it is time is known to timers.c alone.
 *
 * Silence says something only of a side that could speak. One that we do not read, because the other takes no more, has no
 * deadline. A ping that cannot be sent yet starts none, and one that stands behind much else is waited for while that gets less.
 * But who takes nothing of what there is for it for two intervals is dead, whether it speaks or not: it holds up the other side for
 * good.
 */
#include "session/state.h"
#include "session/websocket.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static bool is_text(const char *ping, const char *text)
{
    return ping[0] != '\0' && memcmp(ping, text, WS_PING_TEXT) == 0;
}

/* A pong may cross with the next ping. Who answers the last one answers all (RFC 6455 5.5.3). */
bool ws_alive_is_answer(struct ws_half *h, const struct ws_frame *frame)
{
    char text[WS_PING_TEXT];
    bool last;

    if (h->alive == NULL || frame->control.len != sizeof(text))
        return false;
    if (h->reader.sender == WS_CLIENT)
        ws_unmask(text, frame->control.at, sizeof(text), h->reader.mask, 0);
    else
        memcpy(text, frame->control.at, sizeof(text));
    last = is_text(h->alive->ping[0], text);
    if (!last && !is_text(h->alive->ping[1], text))
        return false;
    h->alive->ping[1][0] = '\0';
    if (last)
        h->alive->ping[0][0] = '\0';
    return true;
}

void ws_alive_heard(struct ws_half *h)
{
    if (h->alive == NULL)
        return;
    h->alive->heard = clock_ms();
    h->alive->waits = false;
}

void ws_alive_moved(struct ws_half *h)
{
    if (h->alive != NULL)
        h->alive->heard = clock_ms();
}

static struct stream *side_of(const struct ws_half *h)
{
    return ws_target(h->session, ws_back(h->from));
}

static uint64_t taken_before_ping(const struct ws_half *h)
{
    uint64_t taken = stream_wire_taken(side_of(h));

    return taken < h->alive->before_ping ? taken : h->alive->before_ping;
}

bool ws_alive_approaches(struct ws_half *h)
{
    uint64_t taken = taken_before_ping(h);
    bool moved = taken > h->alive->taken_before;

    h->alive->taken_before = taken;
    if (moved)
        h->alive->pinged = clock_ms();
    return moved;
}

/* What came after the last look may be on its way: only what was there already counts. */
bool ws_alive_is_stuck(struct ws_half *h)
{
    const struct stream *side = side_of(h);
    uint64_t taken = stream_wire_taken(side);
    struct ws_alive *a = h->alive;

    a->stuck = a->taken < a->given && taken == a->taken ? a->stuck + 1 : 0;
    a->taken = taken;
    a->given = stream_wire_given(side);
    a->looked = clock_ms();
    return a->stuck >= 2 * WS_LOOKS;
}

/* false: not now, or not any more. */
static bool send_ping(struct ws_half *h)
{
    enum direction towards = ws_back(h->from);
    const struct ws_reader *r = &h->session->websocket->halves[towards].reader;
    struct stream *side = side_of(h);
    char frame[WS_PING_MAX], text[WS_PING_TEXT + 1];
    uint32_t random[2];
    size_t len;

    if (r->closed || side->failed || !ws_at_boundary(r) || getrandom(random, sizeof(random), 0) != sizeof(random))
        return false;
    snprintf(text, sizeof(text), "postern:%08x", (unsigned)random[0]);
    len = ws_write_ping(frame, towards == UP ? WS_CLIENT : WS_SERVER, span_of(text, WS_PING_TEXT), (const uint8_t *)&random[1]);
    stream_flush(side); /* what stands before it is what it is on the wire */
    h->alive->before_ping = stream_wire_given(side);
    if (!stream_put(side, frame, len)) {
        side->failed = true;
        return false;
    }
    stream_flush(side); /* at once: what leaves with the session's flush counts as progress, and this is none */
    h->alive->taken_before = taken_before_ping(h);
    memcpy(h->alive->ping[1], h->alive->ping[0], sizeof(text));
    memcpy(h->alive->ping[0], text, sizeof(text));
    return true;
}

void ws_alive_ping(struct ws_half *h)
{
    h->alive->pinged = clock_ms();
    h->alive->waits = send_ping(h);
    h->alive->owed = !h->alive->waits;
}

void ws_alive_pay(struct ws_half *h)
{
    if (h->alive != NULL && h->alive->owed && ws_at_boundary(&h->session->websocket->halves[ws_back(h->from)].reader))
        ws_alive_ping(h);
}
