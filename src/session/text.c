/* SPDX-License-Identifier: ISC */
/* Building heads and pages. Nothing here checks what is written: fields come from the parser, which let no CR, LF or NUL through.
 */
#include "session/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void text_init(struct text *t, char *buffer, size_t size)
{
    *t = (struct text){ buffer, 0, size, false };
}

void text_put(struct text *t, struct span s)
{
    if (s.len > t->size - t->len) {
        t->overflow = true;
        return;
    }
    if (s.len > 0)
        memcpy(t->at + t->len, s.at, s.len);
    t->len += s.len;
}

void text_format(struct text *t, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(t->at + t->len, t->size - t->len, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= t->size - t->len)
        t->overflow = true;
    else
        t->len += (size_t)n;
}

void text_field(struct text *t, struct span name, struct span value)
{
    text_put(t, name);
    text_put(t, SPAN(": "));
    text_put(t, value);
    text_put(t, SPAN("\r\n"));
}

void text_host(struct text *t, const struct host *host)
{
    bool brackets = host->ip.family == AF_INET6;

    text_format(t, "%s%.*s%s", brackets ? "[" : "", (int)host->len, host->name, brackets ? "]" : "");
}
