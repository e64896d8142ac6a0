/* SPDX-License-Identifier: ISC */
/*
 * The line scanner: is the head complete, and may it become a good one? It sees each byte once, as it arrives, and says no as soon
 * as that is certain: a control character, a folded line, a limit passed, a start line that cannot become one. So nobody waits for
 * the end of something that will be refused, and a server that speaks another protocol is known by its first bytes. What it answers
 * does not depend on how the bytes were cut: it never looks behind the first fault. It judges the start line fully, fields only as
 * lines; h1_parse() does the rest. Checks C1, C2, C3, C4, C5 and C14.
 */
#include "proto/h1_line.h"

#include "base/mutant.h"

#include <string.h>

#define METHOD_BYTES 32      /* the longest registered method has 17 */
#define REQUEST_LINE_MORE 64 /* what a request line may have besides a target of limits.uri_bytes */

/* The method, as far as it is there: a token of at most METHOD_BYTES, then a space. */
static enum reason method_check(struct span line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.at[i] == ' ' && i > 0)
            return R_NONE;
        if (FAULT(C1_TOKEN, !byte_is_token((unsigned char)line.at[i])))
            return R_HEAD_MALFORMED;
        if (i == METHOD_BYTES)
            return R_METHOD_UNKNOWN;
    }
    return R_NONE;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum reason version_check(struct span v)
{
    if (FAULT(C4_PROTOCOL,
              v.len != 8 || !span_starts(v, SPAN("HTTP/")) || !is_digit(v.at[5]) || v.at[6] != '.' || !is_digit(v.at[7])))
        return R_HEAD_MALFORMED;
    return FAULT(C4_VERSION, v.at[5] != '1' || v.at[7] > '1') ? R_VERSION_UNSUPPORTED : R_NONE;
}

static bool is_visible_ascii(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)(s.at[i] - 0x21) > 0x7e - 0x21)
            return false;
    return s.len > 0;
}

/* A complete request line whose method is known to be well formed: method SP request-target SP HTTP-version (RFC 9112 3). */
static enum reason request_line_check(struct span line)
{
    const char *end = line.at + line.len;
    const char *first = memchr(line.at, ' ', line.len);
    const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;

    if (second == NULL || FAULT(C5_TARGET, !is_visible_ascii(span_of(first + 1, (size_t)(second - first - 1)))))
        return R_HEAD_MALFORMED;
    return version_check(span_of(second + 1, (size_t)(end - second - 1)));
}

/* HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 4), as far as it is there: the lowest and the highest that each byte
 * may be. */
static const char status_line[2][14] = { "HTTP/1.0 100 ", "HTTP/1.1 599 " };
#define STATUS_LINE (sizeof(status_line[0]) - 1)

static bool status_line_fits(struct span line)
{
    for (size_t i = 0; i < line.len && i < STATUS_LINE; i++)
        if (line.at[i] < status_line[0][i] || line.at[i] > status_line[1][i])
            return false;
    return true;
}

static enum reason start_line_check(enum h1_kind kind, const struct h1_limits *limits, struct span line, bool complete)
{
    enum reason why;

    if (kind == H1_RESPONSE)
        return FAULT(C14_STATUS, !status_line_fits(line) || (complete && line.len < STATUS_LINE)) ? R_RESPONSE_MALFORMED : R_NONE;
    why = method_check(line);
    if (why == R_NONE && FAULT(C3_URI, line.len > (size_t)limits->uri_bytes + REQUEST_LINE_MORE))
        why = R_URI_TOO_LONG;
    return why == R_NONE && complete ? request_line_check(line) : why;
}

/* What can be said of the current line, of which `line` is there. */
static enum reason line_check(const struct h1_scan *scan, enum h1_kind kind, const struct h1_limits *limits, struct span line,
                              enum h1_progress end)
{
    enum reason why = R_NONE;

    if (scan->lines == 0)
        why = start_line_check(kind, limits, line, end == H1_DONE);
    else if (FAULT(C8_FOLD, line.len > 0 && (line.at[0] == ' ' || line.at[0] == '\t')))
        why = R_HEAD_MALFORMED;
    else if (FAULT(C3_FIELDS, scan->lines > limits->header_count && line.len > 0))
        why = R_HEAD_TOO_LARGE;
    return why == R_NONE && FAULT(C2_HEAD, end == H1_BAD) ? R_HEAD_MALFORMED : why;
}

/* Moves behind the CRLF at scan->at. */
static void next_line(struct h1_scan *scan)
{
    scan->at += 2;
    scan->line_start = scan->at;
}

enum h1_progress h1_scan(struct h1_scan *scan, enum h1_kind kind, const struct h1_limits *limits, struct span in,
                         uint32_t *head_len, enum reason *why)
{
    struct span window = span_of(in.at, in.len < limits->header_bytes ? in.len : limits->header_bytes);

    while (in.len > 0) {
        size_t at = scan->at;
        enum h1_progress end = h1_line_end(window, &at);
        struct span line = span_of(in.at + scan->line_start, at - scan->line_start);
        bool leading = kind == H1_REQUEST && scan->lines == 0 && !FAULT(C1_LEADING, scan->line_start > 0);

        scan->at = (uint32_t)at;
        if (end == H1_DONE && line.len == 0 && leading) {
            next_line(scan);
            continue;
        }
        *why = line_check(scan, kind, limits, line, end);
        if (*why == R_NONE && FAULT(C3_HEAD, end == H1_MORE && window.len == limits->header_bytes))
            *why = R_HEAD_TOO_LARGE;
        if (*why != R_NONE) {
            *why = kind == H1_RESPONSE ? R_RESPONSE_MALFORMED : *why;
            return H1_BAD;
        }
        if (end == H1_MORE)
            return H1_MORE;
        next_line(scan);
        if (line.len == 0) {
            *head_len = scan->at;
            return H1_DONE;
        }
        scan->lines++;
    }
    return H1_MORE;
}
