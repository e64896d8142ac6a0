/* SPDX-License-Identifier: ISC */
/* The line scanner: verdicts, the byte at which they are known, limits at and one past them. Every case runs whole and cut in two
 * anywhere. */
#include "proto/h1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct h1_limits limits = { .header_bytes = 4096, .header_count = 100, .uri_bytes = 1024 };

/* Feeds the first `cut` bytes, then all of them. */
static enum h1_progress scan_cut(enum h1_kind kind, const struct h1_limits *l, struct span in, size_t cut, uint32_t *len,
                                 enum reason *why)
{
    struct h1_scan scan = { 0 };
    enum h1_progress progress = h1_scan(&scan, kind, l, span_of(in.at, cut), len, why);

    return progress == H1_MORE ? h1_scan(&scan, kind, l, in, len, why) : progress;
}

static void expect_scan(enum h1_kind kind, const struct h1_limits *l, struct span in, enum h1_progress want, enum reason want_why,
                        size_t want_len)
{
    for (size_t cut = 0; cut <= in.len; cut++) {
        uint32_t len = 0;
        enum reason why = R_NONE;
        enum h1_progress got = scan_cut(kind, l, in, cut, &len, &why);

        if (got != want || why != want_why || len != want_len)
            print_error("cut at %zu: %.*s\n", cut, (int)in.len, in.at);
        assert_int_equal(got, want);
        assert_int_equal(why, want_why);
        assert_int_equal(len, want_len);
    }
}

static void complete_heads(void **state)
{
    static const struct {
        enum h1_kind kind;
        struct span in;
        size_t beyond; /* bytes behind the head */
    } cases[] = {
        { H1_REQUEST, SPAN("GET / HTTP/1.1\r\n\r\n"), 0 },
        { H1_REQUEST, SPAN("GET / HTTP/1.0\r\nHost: a\r\n\r\nbody\n\r\0"), 7 },
        { H1_REQUEST, SPAN("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 0 },
        { H1_REQUEST, SPAN("FROB-IT http://a/?q=%00&x=\"{}|\" HTTP/1.1\r\nX:\t\x80\xff \r\nY:\r\n\r\n"), 0 },
        { H1_RESPONSE, SPAN("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"), 4 },
        { H1_RESPONSE, SPAN("HTTP/1.0 100 \r\n\r\n"), 0 },
        { H1_RESPONSE, SPAN("HTTP/1.1 599 \t\xe9 reason\r\n\r\n"), 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_scan(cases[i].kind, &limits, cases[i].in, H1_DONE, R_NONE, cases[i].in.len - cases[i].beyond);
}

/* Each is refused with its last byte and not before. */
static void refused_at_the_first_wrong_byte(void **state)
{
    static const struct {
        enum h1_kind kind;
        struct span in;
        enum reason why;
    } cases[] = {
        { H1_REQUEST, SPAN(" "), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("\0"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("\x16"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("\xff"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("\r\r"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("\r\n\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("\r\n "), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GE("), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET\t"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET /x\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET /x\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET /x \r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET  / HTTP/1.1\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET /  HTTP/1.1\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.1 \r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / a HTTP/1.1\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET /\ta HTTP/1.1\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET /\x80 HTTP/1.1\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET /\x7f"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / http/1.1\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.10\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/01.1\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1,1\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/x.1\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.x\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / ICE/1.0\r\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/0.9\r\n"), R_VERSION_UNSUPPORTED },
        { H1_REQUEST, SPAN("GET / HTTP/1.2\r\n"), R_VERSION_UNSUPPORTED },
        { H1_REQUEST, SPAN("PRI * HTTP/2.0\r\n"), R_VERSION_UNSUPPORTED },
        { H1_REQUEST, SPAN("GET / HTTP/1.1\rH"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.1\r\n "), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.1\r\n\t"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.1\r\n\n"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.1\r\n\rX"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.1\r\nA: 12345678901234567\x01"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.1\r\nA: b\x0b"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.1\r\nA: b\x1f"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.1\r\nA: b\0"), R_HEAD_MALFORMED },
        { H1_REQUEST, SPAN("GET / HTTP/1.1\r\nA: b\r\n "), R_HEAD_MALFORMED },
        { H1_RESPONSE, SPAN("S"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("\r\n"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/2"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.2"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.1\r\n"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.1\t"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.1  "), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.1 0"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.1 6"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.1 20 "), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.1 2000"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.1 200\r\n"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.1 200 O\x01"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.1 200 OK\rS"), R_RESPONSE_MALFORMED },
        { H1_RESPONSE, SPAN("HTTP/1.1 200 OK\r\n "), R_RESPONSE_MALFORMED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect_scan(cases[i].kind, &limits, cases[i].in, H1_BAD, cases[i].why, 0);
        expect_scan(cases[i].kind, &limits, span_of(cases[i].in.at, cases[i].in.len - 1), H1_MORE, R_NONE, 0);
    }
}

/* A text with `n` times `c` between two others. */
static struct span long_text(const char *before, char c, size_t n, const char *after)
{
    static char text[8192];
    size_t len = strlen(before);

    assert_true(len + n + strlen(after) < sizeof(text));
    memcpy(text, before, len);
    memset(text + len, c, n);
    memcpy(text + len + n, after, strlen(after) + 1);
    return span_of(text, len + n + strlen(after));
}

static void method_length(void **state)
{
    (void)state;
    expect_scan(H1_REQUEST, &limits, long_text("", 'G', 32, " / HTTP/1.1\r\n\r\n"), H1_DONE, R_NONE, 32 + 15);
    expect_scan(H1_REQUEST, &limits, long_text("", 'G', 32, ""), H1_MORE, R_NONE, 0);
    expect_scan(H1_REQUEST, &limits, long_text("", 'G', 33, ""), H1_BAD, R_METHOD_UNKNOWN, 0);
    expect_scan(H1_REQUEST, &limits, long_text("", 'G', 33, " / HTTP/1.1\r\n\r\n"), H1_BAD, R_METHOD_UNKNOWN, 0);
}

/* The line is "GET /aa... HTTP/1.1": 14 bytes without the a's. */
static void request_line_length(void **state)
{
    const struct h1_limits l = { .header_bytes = 4096, .header_count = 1, .uri_bytes = 100 };

    (void)state;
    expect_scan(H1_REQUEST, &l, long_text("GET /", 'a', 150, " HTTP/1.1\r\n\r\n"), H1_DONE, R_NONE, 168);
    expect_scan(H1_REQUEST, &l, long_text("GET /", 'a', 151, " HTTP/1.1\r\n\r\n"), H1_BAD, R_URI_TOO_LONG, 0);
    expect_scan(H1_REQUEST, &l, long_text("GET /", 'a', 159, ""), H1_MORE, R_NONE, 0);
    expect_scan(H1_REQUEST, &l, long_text("GET /", 'a', 160, ""), H1_BAD, R_URI_TOO_LONG, 0);
    expect_scan(H1_REQUEST, &l, long_text("GET /", 'a', 160, "\n"), H1_BAD, R_URI_TOO_LONG, 0);
}

static void head_length(void **state)
{
    const struct h1_limits l = { .header_bytes = 200, .header_count = 10, .uri_bytes = 100 };
    struct span fits = long_text("GET / HTTP/1.1\r\nA: ", 'a', 200 - 23, "\r\n\r\n");

    (void)state;
    assert_int_equal(fits.len, 200);
    expect_scan(H1_REQUEST, &l, fits, H1_DONE, R_NONE, 200);
    expect_scan(H1_REQUEST, &l, span_of(fits.at, 199), H1_MORE, R_NONE, 0);
    expect_scan(H1_REQUEST, &l, long_text("GET / HTTP/1.1\r\nA: ", 'a', 201 - 23, "\r\n\r\n"), H1_BAD, R_HEAD_TOO_LARGE, 0);
    expect_scan(H1_REQUEST, &l, long_text("GET / HTTP/1.1\r\nA: ", 'a', 201, "\n"), H1_BAD, R_HEAD_TOO_LARGE, 0);
    expect_scan(H1_RESPONSE, &l, long_text("HTTP/1.1 200 ", 'a', 200, ""), H1_BAD, R_RESPONSE_MALFORMED, 0);
}

static void field_count(void **state)
{
    const struct h1_limits l = { .header_bytes = 4096, .header_count = 2, .uri_bytes = 100 };

    (void)state;
    expect_scan(H1_REQUEST, &l, SPAN("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n"), H1_DONE, R_NONE, 30);
    expect_scan(H1_REQUEST, &l, SPAN("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\n"), H1_MORE, R_NONE, 0);
    expect_scan(H1_REQUEST, &l, SPAN("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC"), H1_BAD, R_HEAD_TOO_LARGE, 0);
    expect_scan(H1_RESPONSE, &l, SPAN("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"), H1_BAD, R_RESPONSE_MALFORMED, 0);
}

static void control_bytes(void **state)
{
    static char text[] = "GET / HTTP/1.1\r\nA: 0123456789abcdef\r\n\r\n";

    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        bool bad = (c < 0x20 && c != '\t') || c == 0x7f;

        for (size_t at = 19; at < 35; at++) {
            char kept = text[at];
            struct h1_scan scan = { 0 };
            uint32_t len;
            enum reason why = R_NONE;

            text[at] = (char)c;
            assert_int_equal(h1_scan(&scan, H1_REQUEST, &limits, SPAN(text), &len, &why), bad ? H1_BAD : H1_DONE);
            text[at] = kept;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complete_heads), cmocka_unit_test(refused_at_the_first_wrong_byte),
        cmocka_unit_test(method_length),  cmocka_unit_test(request_line_length),
        cmocka_unit_test(head_length),    cmocka_unit_test(field_count),
        cmocka_unit_test(control_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
