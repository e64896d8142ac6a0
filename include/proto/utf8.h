/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_UTF8_H
#define POSTERN_PROTO_UTF8_H

#include "base/span.h"

/*
 * UTF-8, checked incrementally (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. The state is 0 between
 * characters; it is kept by the caller from piece to piece. Returns UTF8_BAD once the bytes cannot become valid any more.
 */
#define UTF8_BAD UINT32_MAX

MUST_CHECK uint32_t utf8_feed(uint32_t state, struct span bytes);
/* The same over bytes that are masked with `mask`, beginning at position `at` of it (RFC 6455 5.3). Nothing is written. */
MUST_CHECK uint32_t utf8_feed_masked(uint32_t state, struct span bytes, const uint8_t mask[4], unsigned at);

#endif
