/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_WS_FRAME_H
#define POSTERN_PROTO_WS_FRAME_H

#include "base/reason.h"
#include "base/row.h"

/*
 * WebSocket frames of one direction (RFC 6455 5), checked as they pass. Nothing is buffered: a frame header and a whole control
 * frame must be contiguous in what is given (at most WS_UNIT_MAX bytes, the caller keeps them until they are complete), payload of
 * data frames may come in any pieces. Frames leave as they came.
 */
#define WS_UNIT_MAX (14 + 125)
#define WS_CLOSE_MAX (14 + 2 + 123)
#define WS_MESSAGE_MAX (16u << 20) /* bytes of a message, where nobody says otherwise */

enum ws_sender { WS_CLIENT, WS_SERVER }; /* clients must mask, servers must not */

struct ws_reader {
    enum ws_sender sender;
    uint64_t frame_limit, message_limit; /* bytes of payload of data; WS_MESSAGE_MAX until the caller sets others */
    uint64_t left;                       /* payload of the current data frame still to come */
    uint64_t message_bytes;              /* payload of the open message, as far as its headers have announced it */
    uint8_t mask[4];
    uint8_t mask_at;                /* position in the mask */
    uint8_t message;                /* opcode of the message that is open; 0: none */
    bool fin;                       /* the current frame ends its message */
    bool closed;                    /* a close frame was read: nothing may follow */
    uint16_t close_code;            /* of that close frame; 1005 if it had none */
    uint32_t utf8;                  /* decoder state of the text message */
    uint64_t frames[WS_KIND_COUNT]; /* by opcode: headers of data frames, complete control frames */
    uint64_t messages;              /* data messages begun */
};

/* Nothing has passed yet; both limits are WS_MESSAGE_MAX. */
void ws_reader_init(struct ws_reader *r, enum ws_sender sender);

/*
 * Reads from the front of `in`. Returns how many bytes are good and may be passed on; the others are either an incomplete unit
 * (give them again with more) or, when *why is not R_NONE, the offence. When the offending frame began in this very call, its own
 * bytes are not counted, so that what was passed on ends at a frame's end and a close frame can follow (ws_at_boundary). After a
 * close frame nothing more is taken: bytes behind it are R_FRAME_MALFORMED. After an offence the reader must not be fed again.
 * Reasons: R_FRAME_MALFORMED, R_FRAME_UNMASKED, R_FRAME_MASKED, R_CLOSE_MALFORMED, R_UTF8_INVALID, R_MESSAGE_TOO_BIG (a length of
 * 2^63 or more, or beyond a limit: known from the header, before any payload passes).
 */
MUST_CHECK size_t ws_feed(struct ws_reader *r, struct span in, enum reason *why);

/* Does what was passed on so far end at the end of a frame? Only then may a frame of ours be put behind it. */
bool ws_at_boundary(const struct ws_reader *r);

/*
 * Writes a close frame as `sender` would send it, with a code and a reason (cut at 123 bytes at a character's end); returns its
 * length, at most WS_CLOSE_MAX. `mask_key` is used by WS_CLIENT only. Code 0 or 1005: an empty payload.
 */
size_t ws_write_close(char *out, enum ws_sender sender, unsigned code, struct span reason, const uint8_t mask_key[4]);

/* May this code stand in a close frame (RFC 6455 7.4: 1000-1003, 1007-1014, 3000-4999)? */
bool ws_close_code_valid(unsigned code);

#endif
