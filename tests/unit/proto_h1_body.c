/* SPDX-License-Identifier: ISC */
/* Bodies: every case is decoded in one piece, byte by byte, and cut in two anywhere; all must agree. */
#include "proto/h1_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What a body came to. */
struct outcome {
    enum h1_body_result last;
    enum reason why;
    char payload[16384], trailers[H1_TRAILER_BYTES];
    size_t payload_len, trailers_len, unread;
    bool may_end;
};

/* Feeds `in` in pieces: the first of `first` bytes, all others of `step`. */
static void decode(struct outcome *out, struct h1_body body, struct span in, size_t first, size_t step)
{
    struct span window = span_of(in.at, first < in.len ? first : in.len), data, trailers;
    const char *end = in.at + in.len;

    memset(out, 0, sizeof(*out));
    for (;;) {
        out->last = h1_body_next(&body, &window, &data, &trailers, &out->why);
        if (out->last == H1_BODY_DATA) {
            assert_true(data.len > 0 && out->payload_len + data.len <= sizeof(out->payload));
            memcpy(out->payload + out->payload_len, data.at, data.len);
            out->payload_len += data.len;
        } else if (out->last == H1_BODY_MORE && window.at + window.len < end) {
            size_t left = (size_t)(end - window.at) - window.len;

            window.len += step < left ? step : left;
        } else {
            break;
        }
    }
    memcpy(out->trailers, trailers.len > 0 ? trailers.at : "", trailers.len);
    out->trailers_len = trailers.len;
    out->unread = (size_t)(end - window.at);
    out->may_end = h1_body_may_end(&body);
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->last, b->last);
    assert_int_equal(a->why, b->why);
    assert_int_equal(a->may_end, b->may_end);
    assert_int_equal(a->payload_len, b->payload_len);
    assert_memory_equal(a->payload, b->payload, a->payload_len);
    assert_int_equal(a->trailers_len, b->trailers_len);
    assert_memory_equal(a->trailers, b->trailers, a->trailers_len);
    if (a->last != H1_BODY_BAD)
        assert_int_equal(a->unread, b->unread);
}

/* The outcome of `in`, which is the same however it is cut. */
static const struct outcome *decode_all_ways(enum h1_framing framing, uint64_t length, uint64_t limit, struct span in)
{
    static struct outcome whole, cut;
    struct h1_body body;

    h1_body_init(&body, framing, length, limit);
    decode(&whole, body, in, in.len, in.len);
    decode(&cut, body, in, 0, 1);
    assert_same(&whole, &cut);
    for (size_t at = 0; at < in.len && in.len < 512; at++) {
        decode(&cut, body, in, at, in.len);
        assert_same(&whole, &cut);
    }
    return &whole;
}

static const struct outcome *decode_chunks(struct span in)
{
    return decode_all_ways(H1_CHUNKED, 0, 0, in);
}

static void good_chunks(void **state)
{
    static const struct {
        struct span in;
        const char *payload, *trailers;
        size_t unread;
    } cases[] = {
        { SPAN("0\r\n\r\n"), "", "", 0 },
        { SPAN("5\r\nhello\r\n0\r\n\r\n"), "hello", "", 0 },
        { SPAN("5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n"), "hello", "", 16 },
        { SPAN("2\r\n\r\n\r\n3\r\n0\r\n\r\n0\r\n\r\n"), "\r\n0\r\n", "", 0 },
        { SPAN("A\r\n0123456789\r\n00\r\n\r\n"), "0123456789", "", 0 },
        { SPAN("a;x\r\n0123456789\r\n0;y\r\n\r\n"), "0123456789", "", 0 },
        { SPAN("0000000000000001\r\nx\r\n0\r\n\r\n"), "x", "", 0 },
        { SPAN("1;a=b;c;d=\"\"\r\nx\r\n0\r\n\r\n"), "x", "", 0 },
        { SPAN("1;a=\"b;\t \\\"\\\\\xe9\";c=d\r\nx\r\n0\r\n\r\n"), "x", "", 0 },
        { SPAN("1\r\nx\r\n0\r\nA: b\r\n\r\n"), "x", "A: b\r\n", 0 },
        { SPAN("1\r\nx\r\n0\r\nA: b\r\nCc:\td \r\n\r\n\r\n"), "x", "A: b\r\nCc:\td \r\n", 2 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct outcome *out = decode_chunks(cases[i].in);

        assert_int_equal(out->last, H1_BODY_END);
        assert_true(out->may_end);
        assert_int_equal(out->payload_len, strlen(cases[i].payload));
        assert_memory_equal(out->payload, cases[i].payload, out->payload_len);
        assert_int_equal(out->trailers_len, strlen(cases[i].trailers));
        assert_memory_equal(out->trailers, cases[i].trailers, out->trailers_len);
        assert_int_equal(out->unread, cases[i].unread);
    }
}

static void bad_chunks(void **state)
{
    static const struct span cases[] = {
        SPAN("\r\n"),
        SPAN("x"),
        SPAN(" 5"),
        SPAN("\t5"),
        SPAN("+5"),
        SPAN("-5"),
        SPAN("0x5"),
        SPAN("0_5"),
        SPAN(";a"),
        SPAN("5 "),
        SPAN("5\n"),
        SPAN("5\rX"),
        SPAN("5\0"),
        SPAN("00000000000000001"),
        SPAN("5\r\nhelloX"),
        SPAN("5\r\nhello\n"),
        SPAN("5\r\nhello\rX"),
        SPAN("5\r\nhello\r\n\r\n"),
        SPAN("1;\r\n"),
        SPAN("1;;"),
        SPAN("1; a"),
        SPAN("1;="),
        SPAN("1;a ="),
        SPAN("1;a=\r\n"),
        SPAN("1;a=;"),
        SPAN("1;a= b"),
        SPAN("1;a=b=c"),
        SPAN("1;a\"b"),
        SPAN("1;a=b\"c"),
        SPAN("1;a\n"),
        SPAN("1;a\rb"),
        SPAN("1;a\0"),
        SPAN("1;a=\"b\r\n"),
        SPAN("1;a=\"b\x7f"),
        SPAN("1;a=\"b\\\n"),
        SPAN("1;a=\"b\"c"),
        SPAN("1;a=\"b\" "),
        SPAN("0\r\n\n"),
        SPAN("0\r\n\rX"),
        SPAN("0\r\nA: b\n"),
        SPAN("0\r\nA: b\rC: d\r\n"),
        SPAN("0\r\nA: \0"),
        SPAN("0\r\nfoo\r\n\r\n"),
        SPAN("0\r\n: x\r\n\r\n"),
        SPAN("0\r\nA : x\r\n\r\n"),
        SPAN("0\r\nA: x\r\n y\r\n\r\n"),
        SPAN("0\r\nGET / HTTP/1.1\r\nHost: s\r\n\r\n"),
        SPAN("0\r\ncontent-length: 5\r\n\r\n"),
        SPAN("0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        SPAN("0\r\nA: b\r\nHost: x\r\n\r\n"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct outcome *out = decode_chunks(cases[i]);

        if (out->last != H1_BODY_BAD)
            print_error("%.*s\n", (int)cases[i].len, cases[i].at);
        assert_int_equal(out->last, H1_BODY_BAD);
        assert_int_equal(out->why, R_BODY_MALFORMED);
    }
}

static void truncated_chunks_may_not_end(void **state)
{
    static const char text[] = "5;a=\"b\"\r\nhello\r\n0\r\nA: b\r\n\r\n";

    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        const struct outcome *out = decode_chunks(span_of(text, len));

        assert_int_equal(out->last, H1_BODY_MORE);
        assert_false(out->may_end);
    }
}

static void chunk_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t limit;
        enum reason why;
    } cases[] = {
        { "7fffffffffffffff\r\n", 0, R_NONE },
        { "8000000000000000\r\n", 0, R_BODY_TOO_LARGE },
        { "fffffffffffffff6\r\n", 0, R_BODY_TOO_LARGE },
        { "1\r\nx\r\n7ffffffffffffffe\r\n", 0, R_NONE },
        { "1\r\nx\r\n7fffffffffffffff\r\n", 0, R_BODY_TOO_LARGE },
        { "a\r\n", 10, R_NONE },
        { "b\r\n", 10, R_BODY_TOO_LARGE },
        { "9\r\n123456789\r\n1\r\n", 10, R_NONE },
        { "9\r\n123456789\r\n2\r\n", 10, R_BODY_TOO_LARGE },
        { "8000000000000000\r\n", UINT64_MAX, R_BODY_TOO_LARGE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct outcome *out = decode_all_ways(H1_CHUNKED, 0, cases[i].limit, span_str(cases[i].text));

        assert_int_equal(out->why, cases[i].why);
        assert_int_equal(out->last, cases[i].why == R_NONE ? H1_BODY_MORE : H1_BODY_BAD);
    }
}

/* Appends `n` times `piece`. */
static struct span append(char *text, struct span s, const char *piece, size_t n)
{
    for (size_t i = 0; i < n; i++, s.len += strlen(piece))
        memcpy(text + s.len, piece, strlen(piece));
    return span_of(text, s.len);
}

static enum h1_body_result last_of(struct span in)
{
    const struct outcome *out = decode_chunks(in);

    assert_int_equal(out->why, out->last == H1_BODY_BAD ? R_BODY_MALFORMED : R_NONE);
    return out->last;
}

/* ";" and 255 letters, once and one more. Then lines of 16 bytes until 4096 are full. */
static void extension_limits(void **state)
{
    static char text[8192];
    struct span none = { text, 0 }, s;

    (void)state;
    s = append(text, append(text, append(text, none, "0;", 1), "a", H1_EXTENSION_BYTES - 1), "\r\n\r\n", 1);
    assert_int_equal(last_of(s), H1_BODY_END);
    s = append(text, append(text, append(text, none, "0;", 1), "a", H1_EXTENSION_BYTES), "\r\n\r\n", 1);
    assert_int_equal(last_of(s), H1_BODY_BAD);
    s = append(text, append(text, none, "1;abcdefghijklmno\r\nx\r\n", H1_EXTENSIONS_BYTES / 16 - 1), "0;abcdefghijklmno\r\n\r\n",
               1);
    assert_int_equal(last_of(s), H1_BODY_END);
    s = append(text, append(text, none, "1;abcdefghijklmno\r\nx\r\n", H1_EXTENSIONS_BYTES / 16 - 1), "0;abcdefghijklmnop\r\n\r\n",
               1);
    assert_int_equal(last_of(s), H1_BODY_BAD);
}

static void trailer_limits(void **state)
{
    static char text[8192];
    struct span none = { text, 0 }, s;

    (void)state;
    s = append(text, append(text, append(text, none, "0\r\n", 1), "A: b\r\n", H1_TRAILER_FIELDS), "\r\n", 1);
    assert_int_equal(last_of(s), H1_BODY_END);
    s = append(text, append(text, append(text, none, "0\r\n", 1), "A: b\r\n", H1_TRAILER_FIELDS + 1), "\r\n", 1);
    assert_int_equal(last_of(s), H1_BODY_BAD);
    s = append(text, append(text, append(text, none, "0\r\nA:", 1), "b", H1_TRAILER_BYTES - 6), "\r\n\r\n", 1);
    assert_int_equal(last_of(s), H1_BODY_END);
    s = append(text, append(text, append(text, none, "0\r\nA:", 1), "b", H1_TRAILER_BYTES - 5), "\r\n\r\n", 1);
    assert_int_equal(last_of(s), H1_BODY_BAD);
    s = append(text, append(text, none, "0\r\nA:", 1), "b", H1_TRAILER_BYTES - 3);
    assert_int_equal(last_of(s), H1_BODY_MORE);
    s = append(text, append(text, none, "0\r\nA:", 1), "b", H1_TRAILER_BYTES - 2);
    assert_int_equal(last_of(s), H1_BODY_BAD);
}

static void bodies_of_known_length(void **state)
{
    const struct outcome *out;

    (void)state;
    out = decode_all_ways(H1_LENGTH, 5, 5, SPAN("helloGET"));
    assert_int_equal(out->last, H1_BODY_END);
    assert_int_equal(out->payload_len, 5);
    assert_int_equal(out->unread, 3);
    assert_true(out->may_end);
    out = decode_all_ways(H1_LENGTH, 5, 0, SPAN("hell"));
    assert_int_equal(out->last, H1_BODY_MORE);
    assert_false(out->may_end);
    out = decode_all_ways(H1_LENGTH, 6, 5, SPAN("hello!"));
    assert_int_equal(out->last, H1_BODY_BAD);
    assert_int_equal(out->why, R_BODY_TOO_LARGE);
    assert_int_equal(out->payload_len, 0);
    out = decode_all_ways(H1_LENGTH, 0, 5, SPAN("GET"));
    assert_int_equal(out->last, H1_BODY_END);
    assert_int_equal(out->unread, 3);
}

static void bodies_until_close(void **state)
{
    const struct outcome *out;

    (void)state;
    out = decode_all_ways(H1_UNTIL_CLOSE, 0, 0, SPAN("hello"));
    assert_int_equal(out->last, H1_BODY_MORE);
    assert_int_equal(out->payload_len, 5);
    assert_true(out->may_end);
    out = decode_all_ways(H1_UNTIL_CLOSE, 0, 5, SPAN("hello"));
    assert_int_equal(out->last, H1_BODY_MORE);
    out = decode_all_ways(H1_UNTIL_CLOSE, 0, 5, SPAN("hello!"));
    assert_int_equal(out->last, H1_BODY_BAD);
    assert_int_equal(out->why, R_BODY_TOO_LARGE);
    assert_int_equal(out->payload_len, 5);
}

static void no_body(void **state)
{
    const struct outcome *out = decode_all_ways(H1_NO_BODY, 0, 0, SPAN("GET"));

    (void)state;
    assert_int_equal(out->last, H1_BODY_END);
    assert_int_equal(out->unread, 3);
    assert_true(out->may_end);
}

/* Whoever asks again after the end gets the end again, and no byte of the next message is touched. */
static void the_end_stays_the_end(void **state)
{
    struct h1_body body;
    struct span in = SPAN("0\r\n\r\nnext"), data, trailers;
    enum reason why;

    (void)state;
    h1_body_init(&body, H1_CHUNKED, 0, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(h1_body_next(&body, &in, &data, &trailers, &why), H1_BODY_END);
        assert_int_equal(in.len, 4);
    }
}

/* What need not be seen: a body of known length once it began, but for its last byte. */
static void blind_bytes(void **state)
{
    static const enum h1_framing others[] = { H1_NO_BODY, H1_CHUNKED, H1_UNTIL_CLOSE };
    struct h1_body body;
    struct span in = SPAN("5\r\nab"), data, trailers;
    enum reason why;

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++, in = SPAN("5\r\nab")) {
        h1_body_init(&body, others[i], 0, 0);
        (void)!h1_body_next(&body, &in, &data, &trailers, &why);
        assert_int_equal(h1_body_blind(&body), 0);
    }
    h1_body_init(&body, H1_LENGTH, 10, 10);
    assert_int_equal(h1_body_blind(&body), 0); /* it was not looked at whether it is too long */
    assert_int_equal(h1_body_next(&body, &in, &data, &trailers, &why), H1_BODY_DATA);
    assert_int_equal(data.len, 5);
    assert_int_equal(h1_body_blind(&body), 4);
    h1_body_pass(&body, 3);
    assert_int_equal(h1_body_blind(&body), 1);
    h1_body_pass(&body, 1);
    assert_int_equal(h1_body_blind(&body), 0);
    assert_false(h1_body_may_end(&body));
    in = SPAN("xHTTP/1.1");
    assert_int_equal(h1_body_next(&body, &in, &data, &trailers, &why), H1_BODY_DATA);
    assert_int_equal(data.len, 1);
    assert_int_equal(h1_body_next(&body, &in, &data, &trailers, &why), H1_BODY_END);
    assert_true(span_eq(in, SPAN("HTTP/1.1")) && h1_body_may_end(&body));
}

static void trailers_are_filtered(void **state)
{
    static const struct {
        struct span in;
        const char *out;
    } cases[] = {
        { SPAN(""), "" },
        { SPAN("X-Checksum: 1\r\n"), "X-Checksum: 1\r\n" },
        { SPAN("X-Forwarded-For: 127.0.0.1\r\nConnection: close\r\nSet-Cookie: a\r\nCache-Control: b\r\n"), "" },
        { SPAN("A: b\r\nGRPC-Status: 0\r\nAuthorization: c\r\nserver-timing: x;dur=1\r\nZ: y\r\n"),
          "GRPC-Status: 0\r\nserver-timing: x;dur=1\r\n" },
    };
    char out[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = h1_trailers_filter(cases[i].in, out);

        assert_int_equal(len, strlen(cases[i].out));
        assert_memory_equal(out, cases[i].out, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_chunks),           cmocka_unit_test(bad_chunks),
        cmocka_unit_test(blind_bytes),           cmocka_unit_test(truncated_chunks_may_not_end),
        cmocka_unit_test(chunk_sizes),           cmocka_unit_test(extension_limits),
        cmocka_unit_test(trailer_limits),        cmocka_unit_test(bodies_of_known_length),
        cmocka_unit_test(bodies_until_close),    cmocka_unit_test(no_body),
        cmocka_unit_test(the_end_stays_the_end), cmocka_unit_test(trailers_are_filtered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
