/* SPDX-License-Identifier: ISC */
/*
 * Request targets. A rule about paths is worth what the reading of paths is worth: the path is brought into one form here, rules
 * are asked about that form, and that form is what the server gets. So nothing may be left in it that a server could read as
 * another path: escapes that hide a separator are refused, dot segments are gone, and so are a ".." behind an empty segment, which
 * servers that merge slashes resolve differently, and a "..;", which is ".." to servers that know parameters. Bytes that RFC 3986
 * forbids and clients send all the same ('|', '{', '[' and their like) are escaped.
 *
 * The query stays as it was written; it is only checked for bytes that would break the request line or a log.
 */
#include "proto/target.h"

#include "base/mutant.h"

#include <string.h>

/* What a byte means in a path. Refused: controls, space, '#', '\\', '?', DEL and 8-bit bytes. */
enum path_byte { BYTE_REFUSED, BYTE_UNRESERVED, BYTE_PLAIN, BYTE_ESCAPED, BYTE_PERCENT, BYTE_SLASH };

static enum path_byte path_byte(uint8_t byte)
{
    enum { U = BYTE_UNRESERVED, P = BYTE_PLAIN, E = BYTE_ESCAPED, C = BYTE_PERCENT, S = BYTE_SLASH };
    /* clang-format off */
    static const uint8_t meanings[128] = {
        ['!'] = P, ['"'] = E, ['$'] = P, ['%'] = C, ['&'] = P, ['\''] = P, ['('] = P, [')'] = P, ['*'] = P, ['+'] = P, [','] = P,
        ['-'] = U, ['.'] = U, ['/'] = S, ['0' ... '9'] = U, [':'] = P, [';'] = P, ['<'] = E, ['='] = P, ['>'] = E, ['@'] = P,
        ['A' ... 'Z'] = U, ['['] = E, [']'] = E, ['^'] = E, ['_'] = U, ['`'] = E, ['a' ... 'z'] = U, ['{'] = E, ['|'] = E,
        ['}'] = E, ['~'] = U,
    };
    /* clang-format on */

    return byte < sizeof(meanings) ? (enum path_byte)meanings[byte] : BYTE_REFUSED;
}

/* The normalised path as it grows: it always begins with '/', and `segment` is where the segment begins that is being written. */
struct writer {
    char *at;
    size_t len, size, segment;
};

static bool put(struct writer *w, char c)
{
    if (w->len == w->size)
        return false;
    w->at[w->len++] = c;
    return true;
}

static bool put_escape(struct writer *w, uint8_t byte)
{
    static const char hex[] = "0123456789ABCDEF";

    return put(w, '%') && put(w, hex[byte >> 4]) && put(w, hex[byte & 15]);
}

/* Takes ".." back together with the segment before it. There must be one, and it must not be empty. */
static bool climb(struct writer *w)
{
    size_t at = w->segment - 1;

    if (at == 0 || FAULT(C6_EMPTY_SEGMENT, w->at[at - 1] == '/'))
        return false;
    while (w->at[at - 1] != '/')
        at--;
    w->len = w->segment = at;
    return true;
}

/* "..;x": a dot segment to servers that take what follows a ';' for parameters, and to no other. */
static bool is_dots_with_parameters(struct span segment)
{
    size_t dots = 0;

    while (dots < segment.len && segment.at[dots] == '.')
        dots++;
    return (dots == 1 || dots == 2) && dots < segment.len && segment.at[dots] == ';';
}

/* A segment is complete: dot segments go (RFC 3986 5.2.4), every other one stays. `slash`: another segment follows. */
static bool end_segment(struct writer *w, bool slash)
{
    struct span segment = span_of(w->at + w->segment, w->len - w->segment);

    if (span_eq(segment, SPAN("."))) {
        w->len = w->segment;
        return true;
    }
    if (span_eq(segment, SPAN("..")))
        return climb(w);
    if (FAULT(C6_DOTS, is_dots_with_parameters(segment)))
        return false;
    if (slash && !put(w, '/'))
        return false;
    w->segment = w->len;
    return true;
}

/* An escape: decoded if its byte is unreserved, refused if it hides a byte that servers might act on after decoding it. */
static bool put_percent(struct writer *w, struct span rest)
{
    int high = rest.len > 2 ? byte_hex(rest.at[1]) : -1, low = rest.len > 2 ? byte_hex(rest.at[2]) : -1;
    int byte = high * 16 + low;

    if (FAULT(C6_ESCAPE, high < 0 || low < 0) ||
        FAULT(C6_HIDDEN, byte == '\0' || byte == '\r' || byte == '\n' || byte == '/' || byte == '\\'))
        return false;
    return path_byte((uint8_t)byte) == BYTE_UNRESERVED ? put(w, (char)byte) : put_escape(w, (uint8_t)byte);
}

/* Writes the byte at the front of `rest`; returns how many were read, or 0: refused, or no room. */
static size_t put_byte(struct writer *w, struct span rest)
{
    uint8_t byte = (uint8_t)rest.at[0];

    switch (path_byte(byte)) {
    case BYTE_UNRESERVED:
    case BYTE_PLAIN:
        return put(w, (char)byte);
    case BYTE_ESCAPED:
        return put_escape(w, byte);
    case BYTE_PERCENT:
        return put_percent(w, rest) ? 3 : 0;
    case BYTE_SLASH:
        return end_segment(w, true);
    case BYTE_REFUSED:
        break;
    }
    return !FAULT(C6_PATH, true) && put(w, (char)byte);
}

static bool normalise(struct target *out, struct span path, char *buffer, size_t size)
{
    struct writer w = { buffer, 0, size, 1 };

    if (!put(&w, '/'))
        return false;
    for (size_t i = 1, used; i < path.len; i += used) {
        used = put_byte(&w, span_skip(path, i));
        if (used == 0)
            return false;
    }
    if (!end_segment(&w, false))
        return false;
    out->path = span_of(buffer, w.len);
    return true;
}

static bool query_is_good(struct span query)
{
    for (size_t i = 0; i < query.len; i++)
        if (FAULT(C6_QUERY, query.at[i] <= ' ' || query.at[i] >= 0x7f || query.at[i] == '#'))
            return false;
    return true;
}

/* path [ "?" query ]; `text` is empty or begins with '/' or '?'. */
static enum reason parse_path(struct target *out, struct span text, char *buffer, size_t size)
{
    const char *mark = text.len > 0 ? memchr(text.at, '?', text.len) : NULL;
    struct span path = mark != NULL ? span_of(text.at, (size_t)(mark - text.at)) : text;

    out->query = span_skip(text, path.len);
    return query_is_good(out->query) && normalise(out, path, buffer, size) ? R_NONE : R_TARGET_MALFORMED;
}

/* What the text begins with, with the "://" behind it; empty: none of ours. */
static struct span scheme_of(struct target *out, struct span text)
{
    static const struct {
        struct span prefix;
        enum target_scheme scheme;
    } known[] = { { { "http://", 7 }, SCHEME_HTTP },
                  { { "ws://", 5 }, SCHEME_WS },
                  { { "https://", 8 }, SCHEME_HTTPS },
                  { { "wss://", 6 }, SCHEME_WSS } };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct span prefix = known[i].prefix;

        if (text.len >= prefix.len && span_ieq(span_of(text.at, prefix.len), prefix)) {
            out->scheme = known[i].scheme;
            return prefix;
        }
    }
    return span_of(NULL, 0);
}

static enum reason parse_absolute(struct target *out, struct span method, struct span text, char *buffer, size_t size)
{
    struct span rest = span_skip(text, scheme_of(out, text).len);
    size_t end = 0;

    while (end < rest.len && rest.at[end] != '/' && rest.at[end] != '?')
        end++;
    out->form = TARGET_ABSOLUTE;
    out->authority = span_of(rest.at, end);
    if (out->scheme == SCHEME_NONE || !host_parse_authority(&out->host, &out->port, out->authority))
        return R_TARGET_MALFORMED;
    if (end == rest.len && span_eq(method, SPAN("OPTIONS"))) { /* RFC 9112 3.2.4 */
        out->path = SPAN("*");
        return R_NONE;
    }
    return parse_path(out, span_skip(rest, end), buffer, size);
}

static enum reason parse_authority(struct target *out, struct span text)
{
    out->form = TARGET_AUTHORITY;
    out->authority = text;
    return host_parse_authority(&out->host, &out->port, text) && !FAULT(C6_CONNECT_PORT, out->port == 0) ? R_NONE
                                                                                                         : R_TARGET_MALFORMED;
}

static enum reason parse_asterisk(struct target *out, struct span method)
{
    out->form = TARGET_ASTERISK;
    out->path = SPAN("*");
    return FAULT(C6_ASTERISK, !span_eq(method, SPAN("OPTIONS"))) ? R_TARGET_MALFORMED : R_NONE;
}

enum reason target_parse(struct target *out, struct span method, struct span text, char *buffer, size_t size)
{
    memset(out, 0, sizeof(*out));
    if (span_eq(method, SPAN("CONNECT")))
        return parse_authority(out, text);
    if (span_eq(text, SPAN("*")))
        return parse_asterisk(out, method);
    if (text.len == 0 || text.at[0] != '/')
        return parse_absolute(out, method, text, buffer, size);
    out->form = TARGET_ORIGIN;
    return parse_path(out, text, buffer, size);
}

/* On a mismatch the last '*' takes one byte more; no other one has to be tried again: |path| times |pattern| steps at most. */
/* The position behind `at`; with `merge` a run of slashes is one character. */
static size_t behind(struct span path, size_t at, bool merge)
{
    bool slash = path.at[at++] == '/';

    while (merge && slash && at < path.len && path.at[at] == '/')
        at++;
    return at;
}

static bool fits(struct span path, struct span pattern, bool merge)
{
    size_t at = 0, next = 0, star = SIZE_MAX, resume = 0;

    while (at < path.len) {
        if (next < pattern.len && pattern.at[next] == '*') {
            star = next++;
            resume = at;
        } else if (next < pattern.len && pattern.at[next] == path.at[at]) {
            next++;
            at = behind(path, at, merge);
        } else if (star != SIZE_MAX) {
            next = star + 1;
            at = resume = behind(path, resume, merge);
        } else {
            return false;
        }
    }
    while (next < pattern.len && pattern.at[next] == '*')
        next++;
    return next == pattern.len;
}

bool target_path_fits(struct span path, struct span pattern)
{
    return fits(path, pattern, false);
}

bool target_path_fits_merged(struct span path, struct span pattern)
{
    return fits(path, pattern, true);
}
