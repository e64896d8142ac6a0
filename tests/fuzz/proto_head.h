/* SPDX-License-Identifier: ISC */
/*
 * What the fuzz targets of requests and responses share. Three things must hold for any bytes: the scanner's verdict does not
 * depend on how they are cut; every span lies inside the head; and a head written again from its fields means the same as the one
 * that was read.
 */
#ifndef POSTERN_FUZZ_PROTO_HEAD_H
#define POSTERN_FUZZ_PROTO_HEAD_H

#include "require.h"

#include "proto/h1.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct h1_limits read_limits = { .header_bytes = 4096, .header_count = 40, .uri_bytes = 512 };
/* Written again, a head may be longer: a space behind each colon, a reason phrase. */
static const struct h1_limits written_limits = { .header_bytes = 8192, .header_count = 40, .uri_bytes = 512 };

struct scanned {
    enum h1_progress progress;
    enum reason why;
    uint32_t len;
};

static struct scanned scan_in_steps(enum h1_kind kind, const struct h1_limits *limits, struct span in, size_t step)
{
    struct scanned out = { H1_MORE, R_NONE, 0 };
    struct h1_scan scan = { 0 };

    for (size_t fed = 0; fed < in.len && out.progress == H1_MORE;) {
        fed = in.len - fed < step ? in.len : fed + step;
        out.progress = h1_scan(&scan, kind, limits, span_of(in.at, fed), &out.len, &out.why);
    }
    return out;
}

static void require_inside(struct span s, struct span in)
{
    REQUIRE(s.len == 0 || (s.at >= in.at && s.at + s.len <= in.at + in.len));
}

static void require_good_fields(const struct h1_head *head, struct span in)
{
    REQUIRE(head->field_count <= read_limits.header_count);
    for (size_t i = 0; i < head->field_count; i++) {
        require_inside(head->fields[i].name, in);
        require_inside(head->fields[i].value, in);
        REQUIRE(span_is_token(head->fields[i].name));
        REQUIRE(span_eq(span_trim(head->fields[i].value), head->fields[i].value));
        for (size_t k = 0; k < head->fields[i].value.len; k++)
            REQUIRE((unsigned char)head->fields[i].value.at[k] >= 0x20 || head->fields[i].value.at[k] == '\t');
    }
}

static void require_same_meaning(const struct h1_head *a, const struct h1_head *b)
{
    REQUIRE(span_eq(a->method, b->method) && span_eq(a->target, b->target) && span_eq(a->host, b->host));
    REQUIRE(a->minor == b->minor && a->status == b->status && a->framing == b->framing && a->length == b->length);
    REQUIRE(a->has_length == b->has_length && a->keep_alive == b->keep_alive && a->expects_continue == b->expects_continue);
    REQUIRE(a->upgrade == b->upgrade && a->upgrade_websocket == b->upgrade_websocket && a->field_count == b->field_count);
    for (size_t i = 0; i < a->field_count; i++) {
        REQUIRE(span_eq(a->fields[i].name, b->fields[i].name) && span_eq(a->fields[i].value, b->fields[i].value));
        REQUIRE(a->fields[i].id == b->fields[i].id && a->fields[i].hop == b->fields[i].hop);
    }
}

/* Writes the fields behind a start line of `len` bytes, parses all of it and compares. */
static void require_rewritten(const struct h1_head *head, char *text, size_t len, const struct h1_asked *asked)
{
    static struct h1_head again;
    struct scanned scanned;

    for (size_t i = 0; i < head->field_count; i++)
        len += (size_t)sprintf(text + len, "%.*s: %.*s\r\n", (int)head->fields[i].name.len, head->fields[i].name.at,
                               (int)head->fields[i].value.len, head->fields[i].value.at);
    len += (size_t)sprintf(text + len, "\r\n");
    scanned = scan_in_steps(head->kind, &written_limits, span_of(text, len), len);
    REQUIRE(scanned.progress == H1_DONE && scanned.len == len);
    REQUIRE(h1_parse(&again, head->kind, span_of(text, len), &written_limits, asked) == R_NONE);
    require_same_meaning(head, &again);
}

/* Scans `in` whole and in steps; true, and parsed into `head`, if there is a good head. */
static bool read_head(struct h1_head *head, enum h1_kind kind, struct span in, size_t step, const struct h1_asked *asked)
{
    struct scanned whole = scan_in_steps(kind, &read_limits, in, in.len), cut = scan_in_steps(kind, &read_limits, in, step);
    enum reason why;

    REQUIRE(whole.progress == cut.progress && whole.why == cut.why && whole.len == cut.len);
    if (whole.progress != H1_DONE)
        return false;
    REQUIRE(whole.len <= in.len && whole.len <= read_limits.header_bytes);
    why = h1_parse(head, kind, span_of(in.at, whole.len), &read_limits, asked);
    if (kind == H1_RESPONSE)
        REQUIRE(why == R_NONE || why == R_RESPONSE_MALFORMED || why == R_UPGRADE_UNASKED);
    if (why == R_NONE)
        require_good_fields(head, span_of(in.at, whole.len));
    return why == R_NONE;
}

#endif
