/* SPDX-License-Identifier: ISC */
/*
 * Payload that is read on its way. Compressed messages are inflated as a stream, with a bound on size and ratio, where the policy
 * says deflate = "inspect"; what comes out must be UTF-8 if the message is text (of others the reader of frames sees to that). The
 * first bytes of the binary messages of each side are looked at where the policy wants no tunnels. Of messages that are held a copy
 * is kept.
 *
 * Nothing else is read: for most messages of most policies no function here is called.
 */
#include "session/state.h"
#include "session/websocket.h"

#include "proto/utf8.h"

#include <string.h>

_Static_assert(TEXT_BYTES >= 2 * LOOP_READ_BYTES, "all that is read at once can be unmasked at once");

static const struct conf_websocket *conf_of(const struct ws_half *h)
{
    return &h->session->websocket->policy->websocket;
}

void ws_inspect_begin(struct ws_half *h, const struct ws_frame *frame, bool held)
{
    h->open->text = frame->opcode == WS_KIND_TEXT;
    h->open->compressed = frame->compressed;
    h->open->plain_bytes = 0;
    h->open->utf8 = 0;
    if (h->open->vanishes) /* of the message before nothing was passed on: the stream has not begun with it */
        h->open->first_len = h->open->first_before;
    h->open->first_before = h->open->first_len;
    h->open->sniffs = !h->open->text && h->open->first_len < sizeof(h->open->first) && !conf_of(h)->tunnels;
    h->open->is_read = held || h->open->sniffs || (h->open->compressed && h->inflater != NULL);
}

/* What the first bytes look like is known at the latest when there are enough of them. */
static enum reason sniff(struct ws_half *h, struct span piece)
{
    size_t room = sizeof(h->open->first) - h->open->first_len, n = piece.len < room ? piece.len : room;
    bool held = h->reader.message_way == WS_HOLD;

    memcpy(h->open->first + h->open->first_len, piece.at, n);
    h->open->first_len = (uint8_t)(h->open->first_len + n);
    if (n == room)
        h->open->sniffs = false;
    if (!sniff_hidden(span_of(h->open->first, h->open->first_len)))
        return R_NONE;
    h->open->sniffs = false;
    return ws_rules_broken(h, R_TUNNEL_INSIDE, held && ws_rules_may_vanish(h, h->open->compressed), &h->open->vanishes);
}

static enum reason take_plain(void *half, struct span piece)
{
    struct ws_half *h = half;
    uint64_t limit = websocket_limit(h);
    enum reason why = R_NONE;

    if (piece.len == 0)
        return R_NONE;
    h->open->plain_bytes += piece.len;
    if (limit != 0 && h->open->plain_bytes > limit)
        return R_MESSAGE_TOO_BIG;
    if (h->open->text && h->open->compressed && h->inflater != NULL &&
        (h->open->utf8 = utf8_feed(h->open->utf8, piece)) == UTF8_BAD)
        return R_UTF8_INVALID;
    if (h->open->sniffs)
        why = sniff(h, piece);
    return why == R_NONE && h->reader.message_way == WS_HOLD ? ws_hold_text(h, piece) : why;
}

static enum reason take(struct ws_half *h, struct span payload, bool end)
{
    enum reason why;

    if (h->open->compressed && h->inflater != NULL)
        why = ws_inflate(h->inflater, payload, end, take_plain, h);
    else
        why = take_plain(h, payload);
    return why == R_NONE && end && h->open->utf8 != 0 ? R_UTF8_INVALID : why;
}

enum reason ws_inspect_payload(void *half, struct span payload, const uint8_t *mask, unsigned at)
{
    struct ws_half *h = half;
    bool end = h->reader.fin && h->reader.left == payload.len;

    if (!h->open->is_read)
        return R_NONE;
    if (mask != NULL) {
        ws_unmask(h->session->engine->text, payload.at, payload.len, mask, at);
        payload.at = h->session->engine->text;
    }
    return take(h, payload, end);
}

enum reason ws_inspect_end(struct ws_half *h)
{
    return h->open->is_read ? take(h, span_of("", 0), true) : R_NONE;
}
