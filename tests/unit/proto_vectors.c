/* SPDX-License-Identifier: ISC */
/*
 * The hostile inputs of tests/vectors.jsonl against the parser alone, each in one piece and byte by byte: what a vector wants
 * rejected is rejected here, with a status that it accepts, and what it wants accepted is not. (tests/wire runs the vectors through
 * the whole proxy.)
 */
#include "proto/h1_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct vector {
    const char *id;
    bool from_server, reject, asks_head;
    unsigned statuses[8];
    size_t len;
    const char *bytes;
} vectors[] = {
#include "vectors.inc"
};

static const struct {
    const char *id, *why;
} elsewhere[] = {
    { "RL-24", "proto/target: encoded NUL" },
    { "RL-25", "proto/target: encoded CR and LF" },
    { "RL-27", "proto/target: climbs above the root" },
    { "RL-30", "proto/target: encoded slash" },
    { "HS-05", "proto/host: comma" },
    { "HS-06", "proto/host: userinfo" },
    { "HS-09", "proto/host: two ports" },
    { "HS-12", "proto/host: white space inside" },
    { "HS-16", "policy: trailing dot is normalised away" },
    { "LM-10", "proto/host: label over 63 bytes" },
    { "UP-01", "session: only websocket is passed on" },
    { "UP-03", "session: only websocket is passed on" },
    { "UP-05", "session: only websocket is passed on" },
    { "RF-30", "session: the connection ends without a byte" },
};

static const struct h1_limits limits = { .header_bytes = 32768, .header_count = 100, .uri_bytes = 8192 };
static struct h1_head head;

static enum reason read_body(struct h1_body *body, struct span in, size_t step)
{
    struct span window = span_of(in.at, 0), data, trailers;
    enum h1_body_result result;
    enum reason why = R_NONE;
    size_t unread = in.len, more;

    for (;;) {
        result = h1_body_next(body, &window, &data, &trailers, &why);
        if (result == H1_BODY_END || result == H1_BODY_BAD)
            return result == H1_BODY_BAD ? why : R_NONE;
        if (result == H1_BODY_DATA)
            continue;
        if (unread == 0)
            return h1_body_may_end(body) ? R_NONE : R_RESPONSE_TRUNCATED;
        more = unread < step ? unread : step;
        window.len += more;
        unread -= more;
    }
}

static enum reason judge(const struct vector *v, size_t step)
{
    struct h1_asked asked = { .head = v->asks_head };
    enum h1_kind kind = v->from_server ? H1_RESPONSE : H1_REQUEST;
    struct h1_scan scan = { 0 };
    struct h1_body body;
    enum h1_progress progress = H1_MORE;
    uint32_t head_len = 0;
    enum reason why = R_NONE;

    for (size_t fed = 0; progress == H1_MORE && fed < v->len;) {
        fed = v->len - fed < step ? v->len : fed + step;
        progress = h1_scan(&scan, kind, &limits, span_of(v->bytes, fed), &head_len, &why);
    }
    if (progress != H1_DONE)
        return progress == H1_BAD ? why : R_RESPONSE_TRUNCATED;
    why = h1_parse(&head, kind, span_of(v->bytes, head_len), &limits, v->from_server ? &asked : NULL);
    if (why != R_NONE)
        return why;
    h1_body_init(&body, head.framing, head.length, 0);
    return read_body(&body, span_of(v->bytes + head_len, v->len - head_len), step);
}

static bool is_elsewhere(const char *id)
{
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
        if (strcmp(elsewhere[i].id, id) == 0)
            return true;
    return false;
}

/* A fault in the body of an answer is the session's to name: any reason will do. */
static bool is_accepted_status(const struct vector *v, enum reason why)
{
    if (why == R_BODY_MALFORMED || why == R_RESPONSE_TRUNCATED)
        return true;
    for (size_t i = 0; i < 8; i++)
        if (v->statuses[i] == reason_status(why))
            return true;
    return false;
}

static bool check(const struct vector *v)
{
    enum reason whole = judge(v, v->len), cut = judge(v, 1);
    bool wanted_reject = v->reject && !is_elsewhere(v->id);
    bool accepts = v->statuses[0] < 300 && v->statuses[0] >= 200 && v->statuses[1] == 0;

    if (whole == cut && (wanted_reject ? whole != R_NONE && is_accepted_status(v, whole) : !accepts || whole == R_NONE))
        return true;
    print_error("%s: %s in one piece, %s byte by byte\n", v->id, reason_name(whole), reason_name(cut));
    return false;
}

static void every_vector(void **state)
{
    size_t failed = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        failed += !check(&vectors[i]);
    assert_int_equal(failed, 0);
    assert_true(sizeof(vectors) / sizeof(vectors[0]) > 200);
}

/* Whoever stands in the list above must be there for a reason: the parser finds nothing wrong. */
static void nothing_is_excused_in_vain(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        if (is_elsewhere(vectors[i].id) && vectors[i].len > 0)
            assert_int_equal(judge(&vectors[i], vectors[i].len), R_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_vector), cmocka_unit_test(nothing_is_excused_in_vain) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
