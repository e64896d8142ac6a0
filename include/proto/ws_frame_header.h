/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_WS_FRAME_HEADER_H
#define POSTERN_PROTO_WS_FRAME_HEADER_H

#include "proto/ws_frame.h"

/* The header of a WebSocket frame (RFC 6455 5.2). For proto/ws_frame*.c; others see struct ws_frame. */
#define WS_FIN 0x80
#define WS_RSV1 0x40
#define WS_RESERVED 0x70
#define WS_MASKED 0x80
#define WS_CONTROL_MAX 125

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

struct ws_header {
    uint8_t opcode;
    bool fin, compressed; /* compressed: it has RSV1 */
    size_t size;          /* of the header itself */
    uint64_t payload;
    const uint8_t *mask; /* four bytes of the input, or NULL */
};

bool ws_is_control(uint8_t opcode);

/*
 * Reads the header at `at` as the next one for this reader. True if it is complete and keeps RFC 6455 and the reader's limits.
 * Otherwise more bytes are needed, or *why is not R_NONE; each byte is judged as soon as it is there. Changes nothing.
 */
MUST_CHECK bool ws_header_read(const struct ws_reader *r, const uint8_t *at, size_t available, struct ws_header *h,
                               enum reason *why);

/*
 * ws_frame_whole.c: takes whole messages of one frame each from the front of `at`, as many as are plainly good and about which
 * neither limits nor calls have to be asked one by one. Returns how many bytes they are, all to be passed; 0: none, and nothing has
 * changed. What it takes counts and leaves the reader as if it had been taken frame by frame.
 */
MUST_CHECK size_t ws_whole_take(struct ws_reader *r, const uint8_t *at, size_t len);

#endif
