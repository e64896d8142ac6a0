/* SPDX-License-Identifier: ISC */
/*
 * Is there still somebody? A side that said nothing for the policy's ping_interval gets a ping of ours, between two frames, and its
 * pong to it goes no further: the other side asked for none. Anything that comes from it is an answer as good as a pong; only who
 * says nothing at all for another interval is dead. When it is time is known to timers.c alone.
 */
#include "session/state.h"
#include "session/websocket.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

bool ws_alive_is_answer(struct ws_half *h, const struct ws_frame *frame)
{
    char text[WS_PING_TEXT];

    if (h->ping[0] == '\0' || frame->control.len != sizeof(text))
        return false;
    if (h->reader.sender == WS_CLIENT)
        ws_unmask(text, frame->control.at, sizeof(text), h->reader.mask, 0);
    else
        memcpy(text, frame->control.at, sizeof(text));
    if (memcmp(text, h->ping, sizeof(text)) != 0)
        return false;
    h->ping[0] = '\0';
    return true;
}

void ws_alive_heard(struct ws_half *h, uint64_t now)
{
    h->heard = now;
    h->waits = false;
}

/* false: not now, or not any more. */
static bool send_ping(struct ws_half *h)
{
    enum direction towards = ws_back(h->from);
    const struct ws_reader *r = &h->session->websocket->halves[towards].reader;
    struct stream *side = ws_target(h->session, towards);
    char frame[WS_PING_MAX];
    uint32_t random[2];
    size_t len;

    if (r->closed || side->failed || !ws_at_boundary(r) || getrandom(random, sizeof(random), 0) != sizeof(random))
        return false;
    snprintf(h->ping, sizeof(h->ping), "postern:%08x", (unsigned)random[0]);
    len = ws_write_ping(frame, towards == UP ? WS_CLIENT : WS_SERVER, span_of(h->ping, WS_PING_TEXT), (const uint8_t *)&random[1]);
    if (!stream_put(side, frame, len)) {
        side->failed = true;
        return false;
    }
    stream_flush(side); /* at once: what leaves with the session's flush counts as progress, and this is none */
    return true;
}

void ws_alive_ping(struct ws_half *h)
{
    h->pinged = clock_ms();
    h->waits = send_ping(h);
    h->owed = !h->waits;
}

void ws_alive_pay(struct ws_half *h)
{
    if (h->owed && ws_at_boundary(&h->session->websocket->halves[ws_back(h->from)].reader))
        ws_alive_ping(h);
}
