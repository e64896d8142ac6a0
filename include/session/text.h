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
__attribute__((format(printf, 2, 3))) void text_format(struct text *t, const char *format, ...);
/* "name: value" CRLF */
void text_field(struct text *t, struct span name, struct span value);
/* A host as it stands in an authority: IPv6 in brackets. */
void text_host(struct text *t, const struct host *host);

#endif
