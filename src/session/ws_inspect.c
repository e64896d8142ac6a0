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
    h->text = frame->opcode == WS_KIND_TEXT;
    h->compressed = frame->compressed;
    h->plain_bytes = 0;
    h->utf8 = 0;
    if (h->vanishes) /* of the message before nothing was passed on: the stream has not begun with it */
        h->first_len = h->first_before;
    h->first_before = h->first_len;
    h->sniffs = !h->text && h->first_len < sizeof(h->first) && !conf_of(h)->tunnels;
    h->is_read = held || h->sniffs || (h->compressed && h->inflater != NULL);
}

/* What the first bytes look like is known at the latest when there are enough of them. */
static enum reason sniff(struct ws_half *h, struct span piece)
{
    size_t room = sizeof(h->first) - h->first_len, n = piece.len < room ? piece.len : room;
    bool held = h->reader.message_way == WS_HOLD;

    memcpy(h->first + h->first_len, piece.at, n);
    h->first_len = (uint8_t)(h->first_len + n);
    if (n == room)
        h->sniffs = false;
    if (!sniff_hidden(span_of(h->first, h->first_len)))
        return R_NONE;
    h->sniffs = false;
    return ws_rules_broken(h, R_TUNNEL_INSIDE, held && ws_rules_may_vanish(h, h->compressed), &h->vanishes);
}

static enum reason take_plain(void *half, struct span piece)
{
    struct ws_half *h = half;
    uint64_t limit = websocket_limit(h);
    enum reason why = R_NONE;

    if (piece.len == 0)
        return R_NONE;
    h->plain_bytes += piece.len;
    if (limit != 0 && h->plain_bytes > limit)
        return R_MESSAGE_TOO_BIG;
    if (h->text && h->compressed && h->inflater != NULL && (h->utf8 = utf8_feed(h->utf8, piece)) == UTF8_BAD)
        return R_UTF8_INVALID;
    if (h->sniffs)
        why = sniff(h, piece);
    return why == R_NONE && h->reader.message_way == WS_HOLD ? ws_hold_text(h, piece) : why;
}

static enum reason take(struct ws_half *h, struct span payload, bool end)
{
    enum reason why;

    if (h->compressed && h->inflater != NULL)
        why = ws_inflate(h->inflater, payload, end, take_plain, h);
    else
        why = take_plain(h, payload);
    return why == R_NONE && end && h->utf8 != 0 ? R_UTF8_INVALID : why;
}

enum reason ws_inspect_payload(void *half, struct span payload, const uint8_t *mask, unsigned at)
{
    struct ws_half *h = half;
    bool end = h->reader.fin && h->reader.left == payload.len;

    if (!h->is_read)
        return R_NONE;
    if (mask != NULL) {
        ws_unmask(h->session->engine->text, payload.at, payload.len, mask, at);
        payload.at = h->session->engine->text;
    }
    return take(h, payload, end);
}

enum reason ws_inspect_end(struct ws_half *h)
{
    return h->is_read ? take(h, span_of("", 0), true) : R_NONE;
}
