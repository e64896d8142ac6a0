/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_TEXT_H
#define POSTERN_SESSION_TEXT_H

#include "proto/host.h"

/* Text that is built in memory of somebody else; what does not fit is dropped and `overflow` set, to be looked at once at the end.
 */
struct text {
    char *at;
    size_t len, size;
    bool overflow;
};

void text_init(struct text *t, char *buffer, size_t size);
void text_put(struct text *t, struct span s);
/* A C string, and a number in decimal. */
void text_str(struct text *t, const char *s);
void text_number(struct text *t, uint64_t n);
/* For pages and what else is rare: a printf costs as much as a whole head. */
__attribute__((format(printf, 2, 3))) void text_format(struct text *t, const char *format, ...);
/* "name: value" CRLF */
void text_field(struct text *t, struct span name, struct span value);
/* Content-Length, and our Via for a message of HTTP/1.`minor`. */
void text_length(struct text *t, uint64_t length);
void text_via(struct text *t, unsigned minor, const char *pseudonym);
/* The line before a chunk of `len` bytes; returns the bytes written. */
#define TEXT_CHUNK 24
size_t text_chunk(char out[TEXT_CHUNK], size_t len);
/* A host as it stands in an authority: IPv6 in brackets. */
void text_host(struct text *t, const struct host *host);

#endif
