/* SPDX-License-Identifier: ISC */
/* Building heads and pages. Nothing here checks what is written: fields come from the parser, which let no CR, LF or NUL through.
 */
#include "session/text.h"

#include "base/digits.h"

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

void text_str(struct text *t, const char *s)
{
    text_put(t, span_str(s));
}

void text_number(struct text *t, uint64_t n)
{
    char digits[DIGITS_MAX];

    text_put(t, span_of(digits, (size_t)(digits_decimal(digits, n) - digits)));
}

size_t text_chunk(char out[TEXT_CHUNK], size_t len)
{
    char *end = digits_hex(out, len);

    memcpy(end, "\r\n", 2);
    return (size_t)(end + 2 - out);
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
    size_t len = name.len + value.len + 4;
    char *at = t->at + t->len;

    if (len > t->size - t->len) {
        t->overflow = true;
        return;
    }
    memcpy(at, name.at, name.len);
    at += name.len;
    memcpy(at, ": ", 2);
    if (value.len > 0)
        memcpy(at + 2, value.at, value.len);
    memcpy(at + 2 + value.len, "\r\n", 2);
    t->len += len;
}

void text_host(struct text *t, const struct host *host)
{
    bool brackets = host->ip.family == AF_INET6;

    if (brackets)
        text_put(t, SPAN("["));
    text_put(t, host_span(host));
    if (brackets)
        text_put(t, SPAN("]"));
}

void text_length(struct text *t, uint64_t length)
{
    text_put(t, SPAN("Content-Length: "));
    text_number(t, length);
    text_put(t, SPAN("\r\n"));
}

void text_via(struct text *t, unsigned minor, const char *pseudonym)
{
    text_put(t, minor == 0 ? SPAN("Via: 1.0 ") : SPAN("Via: 1.1 "));
    text_str(t, pseudonym);
    text_put(t, SPAN("\r\n"));
}
