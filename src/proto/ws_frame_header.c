/* SPDX-License-Identifier: ISC */
/*
 * The header of a WebSocket frame, judged byte by byte: what can be told from its first byte is told before its second is there,
 * so that the verdict never depends on how the stream was cut. A header that is good keeps RFC 6455 5.2, 5.4 and 5.5, RFC 7692 6
 * (RSV1 is for the first frame of a data message, and only if the extension was negotiated) and the limits of its side. Lengths
 * are judged from what the header announces, before any payload has come.
 */
#include "proto/ws_frame_header.h"

#include "base/mutant.h"

bool ws_is_control(uint8_t opcode)
{
    return opcode >= WS_CLOSE;
}

static bool opcode_fits(const struct ws_reader *r, uint8_t opcode, bool fin)
{
    if (FAULT(FRAME_OPCODE, opcode > WS_PONG || (opcode > WS_BINARY && opcode < WS_CLOSE)))
        return false;
    if (ws_is_control(opcode))
        return !FAULT(FRAME_CONTROL_FIN, !fin);
    return !FAULT(FRAME_CONTINUATION, (opcode == WS_CONTINUATION) != (r->message != 0));
}

static bool reserved_fit(const struct ws_reader *r, uint8_t first, uint8_t opcode)
{
    uint8_t bits = first & WS_RESERVED;

    return !FAULT(FRAME_RESERVED, bits != 0) ||
           (bits == WS_RSV1 && r->limits.compressed && (opcode == WS_TEXT || opcode == WS_BINARY));
}

static enum reason check_first(const struct ws_reader *r, uint8_t first)
{
    uint8_t opcode = first & 0x0f;

    if (FAULT(FRAME_AFTER_CLOSE, r->closed) || !opcode_fits(r, opcode, first & WS_FIN) || !reserved_fit(r, first, opcode))
        return R_FRAME_MALFORMED;
    if ((opcode == WS_TEXT && r->limits.no_text) || (opcode == WS_BINARY && r->limits.no_binary))
        return R_OPCODE_DENIED;
    if (FAULT(FRAME_FRAGMENTS, opcode == WS_CONTINUATION && r->limits.fragments > 0 && r->fragments >= r->limits.fragments))
        return R_FRAGMENT_LIMIT;
    return R_NONE;
}

static enum reason check_second(const struct ws_reader *r, uint8_t opcode, uint8_t second)
{
    if (FAULT(FRAME_UNMASKED, r->sender == WS_CLIENT && !(second & WS_MASKED)))
        return R_FRAME_UNMASKED;
    if (FAULT(FRAME_MASKED, r->sender == WS_SERVER && (second & WS_MASKED)))
        return R_FRAME_MASKED;
    return FAULT(FRAME_CONTROL_SIZE, ws_is_control(opcode) && (second & 0x7f) > WS_CONTROL_MAX) ? R_FRAME_MALFORMED : R_NONE;
}

static uint64_t big_endian(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | *at++;
    return value;
}

static uint64_t limit_of(uint64_t limit)
{
    return limit == 0 ? UINT64_MAX : limit;
}

static bool is_too_big(const struct ws_reader *r, uint64_t payload)
{
    uint64_t most = limit_of(r->limits.message_bytes);

    return payload >> 63 != 0 || payload > limit_of(r->limits.frame_bytes) || payload > most || r->message_bytes > most - payload;
}

/* The payload length must be written in the fewest bytes (RFC 6455 5.2) and keep the limits. */
static enum reason check_length(const struct ws_reader *r, const struct ws_header *h, uint8_t form)
{
    uint64_t least = form == 127 ? 65536 : form == 126 ? 126 : 0;

    if (FAULT(FRAME_LENGTH_FORM, h->payload < least))
        return R_FRAME_MALFORMED;
    return FAULT(FRAME_TOO_BIG, !ws_is_control(h->opcode) && is_too_big(r, h->payload)) ? R_MESSAGE_TOO_BIG : R_NONE;
}

bool ws_header_read(const struct ws_reader *r, const uint8_t *at, size_t available, struct ws_header *h, enum reason *why)
{
    size_t extended, masked = r->sender == WS_CLIENT ? 4 : 0;
    uint8_t form;

    *why = available == 0 ? R_NONE : check_first(r, at[0]);
    if (*why != R_NONE || available < 2)
        return false;
    h->opcode = at[0] & 0x0f;
    *why = check_second(r, h->opcode, at[1]);
    if (*why != R_NONE)
        return false;
    form = at[1] & 0x7f;
    extended = form == 127 ? 8 : form == 126 ? 2 : 0;
    h->size = 2 + extended + masked;
    if (available < h->size)
        return false;
    h->fin = at[0] & WS_FIN;
    h->compressed = at[0] & WS_RSV1;
    h->payload = extended > 0 ? big_endian(at + 2, extended) : form;
    h->mask = masked > 0 ? at + 2 + extended : NULL;
    *why = check_length(r, h, form);
    return *why == R_NONE;
}
