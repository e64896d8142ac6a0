/* SPDX-License-Identifier: ISC */
/*
 * The least that looking at WebSocket frames can cost: heads are read and checked, masked payloads are unmasked, text is checked
 * for UTF-8. The bytes stay as they are. For one direction of one connection, from the first byte of its HTTP head; starts as
 * FRAMES_INIT.
 */
#ifndef BENCH_RELAY_FRAMES_H
#define BENCH_RELAY_FRAMES_H

#include "common.h"

struct frames {
    struct frame frame;
    unsigned crlf;       /* how much of the empty line behind the HTTP head has come; 4: frames follow */
    unsigned more_bytes; /* of a character of UTF-8 that has begun */
};
#define FRAMES_INIT ((struct frames){ .frame = FRAME_INIT })

/* False: no frame of RFC 6455, or no UTF-8. */
bool frames_are_good(struct frames *f, const unsigned char *at, size_t n);

#endif
