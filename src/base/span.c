/* SPDX-License-Identifier: ISC */
/*
 * Spans: bytes that somebody else owns. Everything that parses works on them, so that nothing is copied before it must be, and
 * nothing runs past an end for want of a NUL. No function here allocates or keeps a pointer.
 */
#include "base/span.h"

#include <string.h>

struct span span_of(const char *at, size_t len)
{
    return (struct span){ at, len };
}

struct span span_str(const char *text)
{
    return (struct span){ text, text ? strlen(text) : 0 };
}

bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

char byte_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

int byte_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = byte_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool span_ieq(struct span a, struct span b)
{
    if (a.len != b.len)
        return false;
    if (a.len > 0 && memcmp(a.at, b.at, a.len) == 0) /* nearly always they are spelled alike */
        return true;
    for (size_t i = 0; i < a.len; i++)
        if (byte_lower(a.at[i]) != byte_lower(b.at[i]))
            return false;
    return true;
}

bool span_starts(struct span s, struct span prefix)
{
    return s.len >= prefix.len && span_eq(span_of(s.at, prefix.len), prefix);
}

static bool is_ows(char c)
{
    return c == ' ' || c == '\t';
}

struct span span_trim(struct span s)
{
    while (s.len > 0 && is_ows(s.at[0])) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && is_ows(s.at[s.len - 1]))
        s.len--;
    return s;
}

struct span span_skip(struct span s, size_t n)
{
    if (n > s.len)
        n = s.len;
    return n > 0 ? (struct span){ s.at + n, s.len - n } : s;
}

bool span_next_item(struct span *list, struct span *item)
{
    bool quoted = false;
    size_t i;

    if (list->at == NULL || list->len == 0)
        return false;
    for (i = 0; i < list->len; i++) {
        char c = list->at[i];

        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (c == ',' && !quoted)
            break;
    }
    if (i > list->len)
        i = list->len;
    *item = span_trim(span_of(list->at, i));
    *list = span_skip(*list, i + 1);
    return true;
}

bool byte_is_token(unsigned char c)
{
    /* "!#$%&'*+-." and digits; "^_`|~" and letters: a bit a byte, as the tests spell them out. */
    static const uint64_t tokens[4] = { 0x03ff6cfa00000000, 0x57ffffffc7fffffe };

    return tokens[c / 64] >> (c % 64) & 1;
}

bool span_is_token(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!byte_is_token((unsigned char)s.at[i]))
            return false;
    return s.len > 0;
}

bool span_u64(struct span s, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (s.len == 0 || s.len > 20)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(s.at[i] - '0');

        if (s.at[i] < '0' || s.at[i] > '9' || value > (max - digit) / 10 || digit > max)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool span_cstr(struct span s, char *out, size_t size)
{
    out[0] = '\0';
    if (s.len >= size || (s.len > 0 && memchr(s.at, '\0', s.len) != NULL))
        return false;
    if (s.len > 0)
        memcpy(out, s.at, s.len);
    out[s.len] = '\0';
    return true;
}

void span_show(struct span s, char *out, size_t size)
{
    size_t n = s.len < size ? s.len : size - 1;

    for (size_t i = 0; i < n; i++)
        out[i] = s.at[i] > 0x20 && s.at[i] < 0x7f ? s.at[i] : '?';
    out[n] = '\0';
    if (s.len > n && n > 0)
        out[n - 1] = '~';
}
