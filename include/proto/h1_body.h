/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_H1_BODY_H
#define POSTERN_PROTO_H1_BODY_H

#include "proto/h1.h"

/*
 * Message bodies, decoded as a stream (RFC 9112 6 and 7). A chunked body is read strictly: CRLF everywhere, at most 16 hex digits
 * of size, no white space around it, extensions read by their grammar and skipped within 256 bytes a line and 4096 a body, trailers
 * within 16 fields and 4096 bytes (the empty line behind them included).
 */
#define H1_CHUNK_DIGITS 16
#define H1_EXTENSION_BYTES 256   /* a line */
#define H1_EXTENSIONS_BYTES 4096 /* a body */
#define H1_TRAILER_BYTES 4096
#define H1_TRAILER_FIELDS 16

/* Where the chunk reader is: what it expects next. */
enum h1_chunk_state {
    CHUNK_SIZE,           /* a digit of the size */
    CHUNK_SIZE_LF,        /* the LF of the size line */
    CHUNK_EXT_NAME_FIRST, /* after ';' */
    CHUNK_EXT_NAME,
    CHUNK_EXT_VALUE_FIRST, /* after '=' */
    CHUNK_EXT_VALUE,
    CHUNK_EXT_QUOTED,  /* inside a quoted string */
    CHUNK_EXT_ESCAPED, /* after a backslash in it */
    CHUNK_EXT_END,     /* after a quoted string: ';' or CR */
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILERS,
    CHUNK_COMPLETE
};

struct h1_body {
    enum h1_framing framing;
    uint64_t left;             /* of the body (H1_LENGTH) or of the chunk */
    uint64_t total, limit;     /* payload so far; limit 0: none */
    enum h1_chunk_state state; /* H1_CHUNKED */
    uint32_t digits;           /* of the current size */
    uint32_t line;             /* bytes of extensions on the current line; of the trailer section: bytes looked at */
    uint32_t extensions;       /* bytes of extensions on earlier lines */
};

enum h1_body_result {
    H1_BODY_DATA, /* `data` holds payload (never empty); call again */
    H1_BODY_MORE, /* all that could be used was used; call again with more */
    H1_BODY_END,  /* the body is complete; what is left of `in` belongs to the next message */
    H1_BODY_BAD   /* R_BODY_MALFORMED or R_BODY_TOO_LARGE in *why; never call again */
};

/* `length` counts for H1_LENGTH only. A body is R_BODY_TOO_LARGE as soon as it is known to pass `limit` (0: none) or 2^63 - 1. */
void h1_body_init(struct h1_body *body, enum h1_framing framing, uint64_t length, uint64_t limit);
/*
 * Takes from the front of `in`, which moves on; bytes of an incomplete trailer section stay in `in` (at most H1_TRAILER_BYTES), and
 * the caller gives them again with more behind them. At H1_BODY_END `trailers` is the trailer section with its field lines, each
 * ended by CRLF, without the empty line; it points into what `in` was. For H1_NO_BODY the first call says END; H1_UNTIL_CLOSE never
 * ends. Trailers that frame or route (Content-Length, Transfer-Encoding, Host) are R_BODY_MALFORMED. What is decoded, and the
 * verdict, do not depend on how the bytes are cut.
 */
MUST_CHECK enum h1_body_result h1_body_next(struct h1_body *body, struct span *in, struct span *data, struct span *trailers,
                                            enum reason *why);
/*
 * How many of the next bytes are payload whatever they are, short of the last one: what is behind a body must be seen. They may go
 * past h1_body_next(), which is told by h1_body_pass(). 0 until it gave some, and where chunks frame it.
 */
uint64_t h1_body_blind(const struct h1_body *body);
void h1_body_pass(struct h1_body *body, uint64_t count);
/* May the connection end here? true for H1_UNTIL_CLOSE, and when the body is complete. */
bool h1_body_may_end(const struct h1_body *body);

/* Is `section` a trailer section without its empty line, good and within the limits? What h1_body_next() asks before it says END.
 */
MUST_CHECK bool h1_trailers_check(struct span section);
/*
 * Trailers that are passed on (allow-list), written to `out` as field lines; returns the bytes written. Everything else is dropped.
 * `out` must hold trailers.len bytes.
 */
size_t h1_trailers_filter(struct span trailers, char *out);

#endif
