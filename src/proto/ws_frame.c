/* SPDX-License-Identifier: ISC */
/*
 * WebSocket frames of one direction, checked while they pass (RFC 6455 5). The reader holds no byte: it says how many bytes of what
 * it is shown are good. A data frame's header is taken as soon as it is complete and its payload as it comes; a control frame is
 * taken whole or not at all, so that an invalid close frame never passes in part.
 *
 * What is refused is refused with the frame that it stands in, as far as that frame has not been passed on yet. So when an offence
 * is found in the call in which its frame began, the stream that was passed on ends between two frames, and the session can put a
 * close frame behind it; otherwise ws_at_boundary() says no, and only the connection can be closed.
 *
 * No extension is ever negotiated (proto/ws_handshake.c), so the reserved bits must be zero. Rates, contracts and what else a
 * policy says of messages are the session's; it reads the counters.
 */
#include "proto/ws_frame.h"
#include "proto/utf8.h"

#include <string.h>

#define FIN 0x80
#define RESERVED 0x70
#define MASKED 0x80
#define CONTROL_MAX 125
#define CLOSE_REASON_MAX (CONTROL_MAX - 2)
#define NO_STATUS 1005 /* stands for a close frame without a code, never on the wire (RFC 6455 7.1.5) */

enum opcode { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

struct header {
    uint8_t opcode;
    bool fin;
    size_t size; /* of the header itself */
    uint64_t payload;
    const uint8_t *mask; /* four bytes, or NULL */
};

void ws_reader_init(struct ws_reader *r, enum ws_sender sender)
{
    memset(r, 0, sizeof(*r));
    r->sender = sender;
    r->frame_limit = r->message_limit = WS_MESSAGE_MAX;
}

bool ws_at_boundary(const struct ws_reader *r)
{
    return r->left == 0;
}

bool ws_close_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static bool is_control(uint8_t opcode)
{
    return opcode >= OP_CLOSE;
}

static bool opcode_fits(const struct ws_reader *r, uint8_t opcode, bool fin)
{
    if (opcode > OP_PONG || (opcode > OP_BINARY && opcode < OP_CLOSE))
        return false;
    if (is_control(opcode))
        return fin;
    return (opcode == OP_CONTINUATION) == (r->message != 0);
}

/* The two bytes that every header begins with; each is judged as soon as it is there. */
static enum reason check_start(const struct ws_reader *r, const uint8_t *at, size_t available)
{
    uint8_t opcode = at[0] & 0x0f;

    if (r->closed || (at[0] & RESERVED) != 0 || !opcode_fits(r, opcode, at[0] & FIN))
        return R_FRAME_MALFORMED;
    if (available < 2)
        return R_NONE;
    if (r->sender == WS_CLIENT && !(at[1] & MASKED))
        return R_FRAME_UNMASKED;
    if (r->sender == WS_SERVER && (at[1] & MASKED))
        return R_FRAME_MASKED;
    return is_control(opcode) && (at[1] & 0x7f) > CONTROL_MAX ? R_FRAME_MALFORMED : R_NONE;
}

static uint64_t big_endian(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | *at++;
    return value;
}

static bool is_too_big(const struct ws_reader *r, uint64_t payload)
{
    return payload >> 63 != 0 || payload > r->frame_limit || payload > r->message_limit ||
           r->message_bytes > r->message_limit - payload;
}

/* The payload length must be written in the fewest bytes (RFC 6455 5.2) and keep the limits. */
static enum reason check_length(const struct ws_reader *r, const struct header *h, uint8_t form)
{
    uint64_t least = form == 127 ? 65536 : form == 126 ? 126 : 0;

    if (h->payload < least)
        return R_FRAME_MALFORMED;
    return !is_control(h->opcode) && is_too_big(r, h->payload) ? R_MESSAGE_TOO_BIG : R_NONE;
}

/* Reads the header at `at`: true if it is complete and good. Otherwise more bytes are needed, or *why is not R_NONE. */
static bool read_header(const struct ws_reader *r, const uint8_t *at, size_t available, struct header *h, enum reason *why)
{
    size_t extended, masked = r->sender == WS_CLIENT ? 4 : 0;
    uint8_t form;

    *why = check_start(r, at, available);
    if (*why != R_NONE || available < 2)
        return false;
    form = at[1] & 0x7f;
    extended = form == 127 ? 8 : form == 126 ? 2 : 0;
    h->size = 2 + extended + masked;
    if (available < h->size)
        return false;
    h->opcode = at[0] & 0x0f;
    h->fin = at[0] & FIN;
    h->payload = extended > 0 ? big_endian(at + 2, extended) : form;
    h->mask = masked > 0 ? at + 2 + extended : NULL;
    *why = check_length(r, h, form);
    return *why == R_NONE;
}

static void set_mask(struct ws_reader *r, const struct header *h)
{
    if (h->mask != NULL)
        memcpy(r->mask, h->mask, sizeof(r->mask));
    r->mask_at = 0;
}

static void begin_data(struct ws_reader *r, const struct header *h)
{
    set_mask(r, h);
    r->frames[h->opcode]++;
    if (h->opcode != OP_CONTINUATION) {
        r->message = h->opcode;
        r->messages++;
    }
    r->message_bytes += h->payload;
    r->left = h->payload;
    r->fin = h->fin;
}

/* All of a data frame has passed. A text message must not end within a character. */
static enum reason end_data(struct ws_reader *r)
{
    if (!r->fin)
        return R_NONE;
    if (r->utf8 != 0)
        return R_UTF8_INVALID;
    r->message = 0;
    r->message_bytes = 0;
    return R_NONE;
}

/* Takes `n` bytes of payload, at most what is left of the frame. */
static enum reason take_payload(struct ws_reader *r, const uint8_t *at, size_t n)
{
    enum reason why = R_NONE;

    if (r->message == OP_TEXT) {
        r->utf8 = utf8_feed_masked(r->utf8, span_of((const char *)at, n), r->mask, r->mask_at);
        r->mask_at = (uint8_t)((r->mask_at + n) & 3);
    }
    if (r->utf8 == UTF8_BAD)
        return R_UTF8_INVALID;
    if (r->left == n)
        why = end_data(r);
    if (why == R_NONE)
        r->left -= n;
    return why;
}

static enum reason take_close(struct ws_reader *r, const uint8_t *payload, size_t len)
{
    unsigned code = NO_STATUS;

    if (len == 1)
        return R_CLOSE_MALFORMED;
    if (len >= 2) {
        code = (unsigned)(payload[0] ^ r->mask[0]) << 8 | (payload[1] ^ r->mask[1]);
        if (!ws_close_code_valid(code))
            return R_CLOSE_MALFORMED;
        if (utf8_feed_masked(0, span_of((const char *)payload + 2, len - 2), r->mask, 2) != 0)
            return R_UTF8_INVALID;
    }
    r->closed = true;
    r->close_code = (uint16_t)code;
    return R_NONE;
}

static enum reason take_control(struct ws_reader *r, const struct header *h, const uint8_t *payload)
{
    enum reason why = R_NONE;

    if (h->opcode == OP_CLOSE) {
        set_mask(r, h);
        why = take_close(r, payload, (size_t)h->payload);
    }
    if (why == R_NONE)
        r->frames[WS_KIND_CLOSE + (h->opcode - OP_CLOSE)]++;
    return why;
}

/* Takes what begins at `at`: a whole control frame, or the header of a data frame. Returns its bytes; 0: more are needed. */
static size_t take_unit(struct ws_reader *r, const uint8_t *at, size_t available, enum reason *why)
{
    struct header h;

    if (!read_header(r, at, available, &h, why))
        return 0;
    if (is_control(h.opcode)) {
        if (available - h.size < h.payload)
            return 0;
        *why = take_control(r, &h, at + h.size);
        return h.size + (size_t)h.payload;
    }
    begin_data(r, &h);
    if (h.payload == 0)
        *why = end_data(r);
    return h.size;
}

size_t ws_feed(struct ws_reader *r, struct span in, enum reason *why)
{
    const uint8_t *bytes = (const uint8_t *)in.at;
    size_t done = 0, frame = 0; /* where the current frame began; 0 also if that was in an earlier call */
    bool began = false;

    *why = R_NONE;
    while (done < in.len && *why == R_NONE) {
        size_t n = in.len - done;

        if (r->left > 0) {
            n = r->left < n ? (size_t)r->left : n;
            *why = take_payload(r, bytes + done, n);
        } else {
            frame = done;
            began = true;
            n = take_unit(r, bytes + done, n, why);
            if (n == 0)
                break;
        }
        done += n;
    }
    if (*why == R_NONE)
        return done;
    if (began)
        r->left = 0; /* the frame is not passed on, not even its header */
    return frame;
}

/* How much of a reason fits: at most 123 bytes, and no character is cut (RFC 6455 5.5.1). */
static size_t reason_length(struct span reason)
{
    size_t len = reason.len;

    if (len <= CLOSE_REASON_MAX)
        return len;
    len = CLOSE_REASON_MAX;
    while (len > 0 && ((uint8_t)reason.at[len] & 0xc0) == 0x80)
        len--;
    return len;
}

size_t ws_write_close(char *out, enum ws_sender sender, unsigned code, struct span reason, const uint8_t mask_key[4])
{
    bool masked = sender == WS_CLIENT, empty = code == 0 || code == NO_STATUS;
    size_t text = empty ? 0 : reason_length(reason), payload = empty ? 0 : text + 2;
    char *at = out;

    *at++ = (char)(FIN | OP_CLOSE);
    *at++ = (char)((masked ? MASKED : 0) | payload);
    if (masked) {
        memcpy(at, mask_key, 4);
        at += 4;
    }
    if (!empty) {
        at[0] = (char)(code >> 8);
        at[1] = (char)code;
    }
    if (text > 0)
        memcpy(at + 2, reason.at, text);
    for (size_t i = 0; masked && i < payload; i++)
        at[i] = (char)(at[i] ^ mask_key[i & 3]);
    return (size_t)(at - out) + payload;
}
