/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_SPAN_H
#define POSTERN_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every function whose failure must not be overlooked carries this. */
#define MUST_CHECK __attribute__((warn_unused_result))
/* For large things on the stack that are written before they are read: a hardened build does not zero them first. */
#define UNINITIALIZED __attribute__((uninitialized))

/*
 * A span is bytes that somebody else owns: a pointer and a length, never NUL-terminated. It is valid as long as its owner says.
 * The empty span may have a NULL pointer.
 */
struct span {
    const char *at;
    size_t len;
};

/* A span over a string literal. */
#define SPAN(literal) ((struct span){ (literal), sizeof(literal) - 1 })

struct span span_of(const char *at, size_t len);
/* A span over a C string; NULL gives the empty span. */
struct span span_str(const char *text);

/* Equal to the letter. */
bool span_eq(struct span a, struct span b);
/* Equal but for the case of ASCII letters; other bytes are compared as they are. */
bool span_ieq(struct span a, struct span b);
bool span_starts(struct span s, struct span prefix);

/* Without the spaces and tabs (OWS, RFC 9110 5.6.3) at both ends. */
struct span span_trim(struct span s);
/* Without the first `n` bytes (all of them if it is shorter). */
struct span span_skip(struct span s, size_t n);

/*
 * Takes the next member of a comma-separated list (RFC 9110 5.6.1): `item` is trimmed and may be empty, `list` moves behind the
 * comma. Commas inside quoted strings do not separate. Returns false at the end of the list.
 */
bool span_next_item(struct span *list, struct span *item);

/* Is `s` a non-empty token (RFC 9110 5.6.2)? */
bool span_is_token(struct span s);
bool byte_is_token(unsigned char c);
/* ASCII only, without locale. */
char byte_lower(char c);
int byte_hex(char c); /* 0..15, or -1 */

/* Decimal digits only, no sign, no space; false if empty, not a number or above `max`. */
MUST_CHECK bool span_u64(struct span s, uint64_t max, uint64_t *out);

/* Copies into `out` with a NUL; false (and an empty string) if it does not fit or holds a NUL. */
MUST_CHECK bool span_cstr(struct span s, char *out, size_t size);
/* Copies as much as fits with a NUL; a cut is marked with a last byte of '~'. Bytes outside 0x21..0x7e become '?'. For rows and
 * logs. */
void span_show(struct span s, char *out, size_t size);

#endif
