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
#define WS_PING_MAX (14 + 125)

enum ws_sender { WS_CLIENT, WS_SERVER }; /* clients must mask, servers must not */

/* Of what a side may send; 0: no limit (a length of 2^63 or more is none). They may be changed between calls. */
struct ws_limits {
    uint64_t frame_bytes, message_bytes; /* payload as it is on the wire */
    uint32_t fragments;                  /* frames of a message */
    bool no_text, no_binary;
    bool compressed; /* permessage-deflate was negotiated: the first frame of a message may have RSV1, and then it is not checked as
                        UTF-8 here */
};

/* A frame whose header is complete; of a control frame, all of it. */
struct ws_frame {
    uint8_t opcode;
    bool fin, begins;    /* begins: it is the first of its message */
    bool compressed;     /* its message is */
    uint64_t payload;    /* bytes */
    struct span control; /* of a control frame: its payload, still masked with the reader's mask, from its position 0 on */
};

/* What becomes of a message: its frames pass as they come, vanish, or are taken by the caller, who passes them on later or not. */
enum ws_way { WS_PASS, WS_DROP, WS_HOLD };

/*
 * What the owner says. Both may be NULL. on_frame: once for each frame that keeps RFC 6455 and the limits, before any byte of it
 * passes; R_NONE, or why it must not, and that is an offence. For the first frame of a message, and for control frames, *way
 * (WS_PASS) may be changed; other frames of a message go its way. A control frame is never held: its way is WS_PASS or WS_DROP.
 * on_payload: payload of data frames as it passes or is held, never of what is dropped, and never empty (masked with mask[(at + i)
 * & 3], or not if mask is NULL); what it refuses is an offence. Until it returns, reader.left still counts this payload.
 */
struct ws_calls {
    bool control_only; /* on_frame is not asked about data frames; their messages pass */
    enum reason (*on_frame)(void *arg, const struct ws_frame *frame, enum ws_way *way);
    enum reason (*on_payload)(void *arg, struct span payload, const uint8_t *mask, unsigned at);
    void *arg;
};

struct ws_reader {
    enum ws_sender sender;
    struct ws_limits limits;
    struct ws_calls calls;
    uint64_t left;          /* payload of the current data frame still to come */
    uint64_t message_bytes; /* payload of the open message, as far as its headers have announced it */
    uint32_t fragments;     /* frames of the open message so far */
    uint8_t mask[4];
    uint8_t mask_at;         /* position in the mask */
    uint8_t message;         /* opcode of the message that is open; 0: none */
    enum ws_way way;         /* of the bytes that ws_feed() returned last */
    enum ws_way message_way; /* of the open message; between calls its owner may turn WS_HOLD into WS_DROP */
    enum ws_way asked_way;   /* what on_frame() said of the next frame, if it was asked already */
    bool asked;
    bool fin;                       /* the current frame ends its message */
    bool compressed;                /* the open message */
    bool ended;                     /* the bytes that ws_feed() returned last end with the end of a data message */
    bool begun;                     /* of the open message something was passed on */
    bool closed;                    /* a close frame was read: nothing may follow */
    uint16_t close_code;            /* of that close frame; 1005 if it had none */
    uint32_t utf8;                  /* decoder state of the text message */
    uint32_t frames[WS_KIND_COUNT]; /* by opcode, since the owner set them to 0: headers of data frames, complete control frames;
                                       none that were given back */
};

/* Nothing has passed yet; no limits, no calls. */
void ws_reader_init(struct ws_reader *r, enum ws_sender sender);

/*
 * Reads from the front of `in`. Returns how many bytes are good: a run that goes one way, r->way, and which ends at the latest with
 * the end of a message that is held (r->ended); call again for what follows. 0: what is left is an incomplete unit (give it again
 * with more) or, when *why is not R_NONE, the offence. When the offending frame began in this very call, its own bytes are not
 * counted, so that what was passed on ends at a frame's end and a close frame can follow (ws_at_boundary). After a close frame
 * nothing more is taken: bytes behind it are R_FRAME_MALFORMED. After an offence the reader must not be fed again. Reasons:
 * R_FRAME_MALFORMED, R_FRAME_UNMASKED, R_FRAME_MASKED, R_CLOSE_MALFORMED, R_UTF8_INVALID, R_MESSAGE_TOO_BIG (known from the
 * header, before any payload passes), R_FRAGMENT_LIMIT, R_OPCODE_DENIED, and what the calls say.
 */
MUST_CHECK size_t ws_feed(struct ws_reader *r, struct span in, enum reason *why);

/*
 * Does what was passed on so far end at the end of a frame? Only then may a frame of ours be put behind it. It does wherever a
 * message is dropped or held; what is held must be passed on whole.
 */
bool ws_at_boundary(const struct ws_reader *r);

/*
 * Writes a close frame as `sender` would send it, with a code and a reason (cut at 123 bytes at a character's end); returns its
 * length, at most WS_CLOSE_MAX. `mask_key` is used by WS_CLIENT only. Code 0 or 1005: an empty payload.
 */
size_t ws_write_close(char *out, enum ws_sender sender, unsigned code, struct span reason, const uint8_t mask_key[4]);
/* The same for a ping; its payload is cut at 125 bytes. Returns at most WS_PING_MAX. */
size_t ws_write_ping(char *out, enum ws_sender sender, struct span payload, const uint8_t mask_key[4]);

/* May this code stand in a close frame (RFC 6455 7.4: 1000-1003, 1007-1014, 3000-4999)? */
bool ws_close_code_valid(unsigned code);

/* Copies `n` bytes and takes the mask off (or puts it on). `out` may be `in`. */
void ws_unmask(char *out, const char *in, size_t n, const uint8_t mask[4], unsigned at);

#endif
