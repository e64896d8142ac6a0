/* SPDX-License-Identifier: ISC */
/*
 * First bytes and ClientHellos. A hello is put together from its parts, each of which a case may spoil; it is cut at every byte and
 * spread over records of every size.
 */
#include "proto/hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_sniff(void **state)
{
    static const struct {
        struct span in;
        enum sniff any, on_explicit;
    } table[] = {
        { SPAN(""), SNIFF_MORE, SNIFF_MORE },
        { SPAN("G"), SNIFF_MORE, SNIFF_HTTP },
        { SPAN("GET"), SNIFF_MORE, SNIFF_HTTP },
        { SPAN("GET "), SNIFF_HTTP, SNIFF_HTTP },
        { SPAN("GETS"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("get "), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("M-SEARCH *"), SNIFF_HTTP, SNIFF_HTTP },
        { SPAN("UNSUBSCRIBE"), SNIFF_MORE, SNIFF_HTTP },
        { SPAN("CONNECT a:1"), SNIFF_HTTP, SNIFF_HTTP },
        { SPAN("PRI * HTTP/2.0"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("SOURCE /"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("\r"), SNIFF_MORE, SNIFF_HTTP },
        { SPAN("\r\n"), SNIFF_MORE, SNIFF_HTTP },
        { SPAN("\r\nPOST /"), SNIFF_HTTP, SNIFF_HTTP },
        { SPAN("\r\n\r\n"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("\r\n\x16\x03\x01"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("SSH-2.0-x"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("\x16"), SNIFF_MORE, SNIFF_MORE },
        { SPAN("\x16\x03"), SNIFF_MORE, SNIFF_MORE },
        { SPAN("\x16\x03\x01"), SNIFF_TLS, SNIFF_TLS },
        { SPAN("\x16\x03\x04\x00"), SNIFF_TLS, SNIFF_TLS },
        { SPAN("\x16\x03\x05"), SNIFF_TLS, SNIFF_TLS },
        { SPAN("\x16\x03\xff"), SNIFF_TLS, SNIFF_TLS },
        { SPAN("\x16\x02"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("\x13\x03\x01"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("\x14\x03\x01"), SNIFF_TLS, SNIFF_TLS },
        { SPAN("\x15\x03\x01"), SNIFF_TLS, SNIFF_TLS },
        { SPAN("\x17\x03\x01"), SNIFF_TLS, SNIFF_TLS },
        { SPAN("\x17\x02\x01"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("\x18\x03\x01"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("\x80\x2e\x01"), SNIFF_MORE, SNIFF_MORE },
        { SPAN("\x80\x2e\x01\x03"), SNIFF_TLS, SNIFF_TLS },
        { SPAN("\x80\x2e\x01\x00"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("\x80\x2e\x02"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("\x05"), SNIFF_SOCKS5, SNIFF_SOCKS5 },
        { SPAN("\x04\x01"), SNIFF_SOCKS4, SNIFF_SOCKS4 },
        { SPAN("\0"), SNIFF_OTHER, SNIFF_HTTP },
        { SPAN("\xff\xff"), SNIFF_MORE, SNIFF_MORE },
        { SPAN("\xff\xff\xff"), SNIFF_OTHER, SNIFF_HTTP },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(sniff_bytes(table[i].in), table[i].any);
        assert_int_equal(sniff_explicit(table[i].in), table[i].on_explicit);
    }
}

/* The parts of a hello, as bytes with their own lengths in front; a NULL pointer leaves the usual part. */
struct parts {
    struct span version, session, suites, compression, extensions, tail;
};

#define SNI_A                                                                                                                      \
    "\x00\x00\x00\x0b\x00\x09\x00\x00\x06"                                                                                         \
    "a.test"
#define ALPN_BOTH "\x00\x10\x00\x0e\x00\x0c\x02h2\x08http/1.1"
#define VERSIONS_13 "\x00\x2b\x00\x07\x06\x3a\x3a\x03\x04\x03\x03"
#define GREASE "\x2a\x2a\x00\x01\x00"
#define ECH "\xfe\x0d\x00\x04\x00\x01\x02\x03"

static char message[70000], records[140000];

static size_t put(size_t at, struct span part, struct span usual)
{
    if (part.at == NULL)
        part = usual;
    memcpy(message + at, part.at, part.len);
    return at + part.len;
}

/* Builds the message; `p->extensions` comes without the length of the whole list. Returns its length. */
static size_t build(const struct parts *p)
{
    size_t len = 4, list;

    len = put(len, p->version, SPAN("\x03\x03"));
    memset(message + len, 'r', 32);
    len += 32;
    len = put(len, p->session, SPAN("\x00"));
    len = put(len, p->suites, SPAN("\x00\x04\x1a\x1a\x13\x01"));
    len = put(len, p->compression, SPAN("\x01\x00"));
    if (p->extensions.at != NULL) {
        list = len;
        len = put(len + 2, p->extensions, SPAN(""));
        message[list] = (char)((len - list - 2) >> 8);
        message[list + 1] = (char)(len - list - 2);
    }
    len = put(len, p->tail, SPAN(""));
    message[0] = 1;
    message[1] = (char)((len - 4) >> 16);
    message[2] = (char)((len - 4) >> 8);
    message[3] = (char)(len - 4);
    return len;
}

/* Spreads `len` bytes of the message over records of `size` bytes; returns the length of them all. */
static size_t wrap(size_t len, size_t size)
{
    size_t out = 0;

    for (size_t i = 0; i < len; i += size) {
        size_t n = len - i < size ? len - i : size;

        memcpy(records + out, "\x16\x03\x01", 3);
        records[out + 3] = (char)(n >> 8);
        records[out + 4] = (char)n;
        memcpy(records + out + 5, message + i, n);
        out += 5 + n;
    }
    return out;
}

static enum hello_progress parse(size_t len, struct hello *out)
{
    char *block = malloc(len + 1);
    enum hello_progress progress;

    memcpy(block, records, len);
    progress = hello_parse(span_of(block, len), out);
    free(block);
    return progress;
}

static enum hello_progress parse_parts(const struct parts *p, struct hello *out)
{
    size_t len = build(p);

    return parse(wrap(len, 16384), out);
}

static enum hello_progress parse_extensions(struct span extensions, struct hello *out)
{
    struct parts p = { .extensions = extensions };

    return parse_parts(&p, out);
}

static void test_facts(void **state)
{
    struct parts none = { 0 }, least = { .suites = SPAN("\x00\x02\x13\x01"), .extensions = SPAN("\x00\x10\x00\x04\x00\x02\x01x") },
                 old = { .version = SPAN("\x03\x01") };
    struct hello h;

    (void)state;
    assert_int_equal(parse_extensions(SPAN(GREASE SNI_A ALPN_BOTH ECH VERSIONS_13), &h), HELLO_DONE);
    assert_true(h.has_sni && h.has_alpn && h.has_ech && h.alpn_h2 && h.alpn_http1);
    assert_string_equal(h.sni.name, "a.test");
    assert_int_equal(h.version, 0x0304);
    assert_int_equal(parse_extensions(SPAN("\x00\x10\x00\x09\x00\x07\x06spdy/3"), &h), HELLO_DONE);
    assert_true(h.has_alpn && !h.alpn_h2 && !h.alpn_http1 && !h.has_sni && !h.has_ech);
    assert_int_equal(h.version, 0x0303);
    assert_int_equal(parse_parts(&none, &h), HELLO_DONE);
    assert_int_equal(h.version, 0x0303);
    assert_int_equal(parse_parts(&old, &h), HELLO_DONE);
    assert_int_equal(h.version, 0x0301);
    assert_int_equal(parse_parts(&least, &h), HELLO_DONE);
    assert_int_equal(parse_extensions(SPAN(""), &h), HELLO_DONE);
    assert_int_equal(parse_extensions(SPAN("\x00\x00\x00\x0c\x00\x0a\x00\x00\x07"
                                           "A.TEST."),
                                      &h),
                     HELLO_DONE); /* TI-12 */
    assert_string_equal(h.sni.name, "a.test");
}

static void test_bad_extensions(void **state)
{
    static const struct span bad[] = {
        SPAN(SNI_A SNI_A), /* TI-09 */
        SPAN("\x00\x00\x00\x14\x00\x12\x00\x00\x06"
             "a.test"
             "\x00\x00\x06"
             "b.test"), /* TI-10 */
        SPAN(ALPN_BOTH ALPN_BOTH),
        SPAN(VERSIONS_13 VERSIONS_13),
        SPAN("\x00\x17\x00\x00\x00\x17\x00\x00"),
        SPAN("\x00\x00\x00\x00"),                     /* no list */
        SPAN("\x00\x00\x00\x02\x00\x00"),             /* no name */
        SPAN("\x00\x00\x00\x05\x00\x03\x00\x00\x00"), /* an empty one */
        SPAN("\x00\x00\x00\x0b\x00\x09\x01\x00\x06"
             "a.test"), /* of another kind */
        SPAN("\x00\x00\x00\x0b\x00\x08\x00\x00\x06"
             "a.test"), /* lengths that lie */
        SPAN("\x00\x00\x00\x0b\x00\x0a\x00\x00\x06"
             "a.test"),
        SPAN("\x00\x00\x00\x0b\x00\x09\x00\x00\x05"
             "a.test"),
        SPAN("\x00\x00\x00\x0b\x00\x09\x00\x00\x07"
             "a.test"),
        SPAN("\x00\x00\x00\x0c\x00\x0a\x00\x00\x07"
             "1.2.3.4"), /* addresses */
        SPAN("\x00\x00\x00\x0f\x00\x0d\x00\x00\x0a"
             "2130706433"),
        SPAN("\x00\x00\x00\x0a\x00\x08\x00\x00\x05"
             "[::1]"),
        SPAN("\x00\x00\x00\x08\x00\x06\x00\x00\x03"
             "::1"),
        SPAN("\x00\x00\x00\x0b\x00\x09\x00\x00\x06"
             "a\0test"), /* no names */
        SPAN("\x00\x00\x00\x0b\x00\x09\x00\x00\x06"
             "a..est"),
        SPAN("\x00\x00\x00\x0b\x00\x09\x00\x00\x06"
             "a:test"),
        SPAN("\x00\x00\x00\x0b\x00\x09\x00\x00\x06"
             "\xe4.test"),
        SPAN("\x00\x10\x00\x00"),
        SPAN("\x00\x10\x00\x02\x00\x00"),
        SPAN("\x00\x10\x00\x03\x00\x01\x00"),
        SPAN("\x00\x10\x00\x05\x00\x03\x02h2x"),
        SPAN("\x00\x10\x00\x06\x00\x03\x02h2x"),
        SPAN("\x00\x10\x00\x05\x00\x03\x03h2"),
        SPAN("\x00\x10\x00\x06\x00\x04\x00\x02h2"),
        SPAN("\x00\x2b\x00\x01\x00"),
        SPAN("\x00\x2b\x00\x02\x01\x03"),
        SPAN("\x00\x2b\x00\x04\x03\x03\x04\x03"),
        SPAN("\x00\x2b\x00\x04\x02\x03\x04\x03"),
        SPAN("\x00\x2b\x00\x03\x04\x03\x04"),
        SPAN("\x00\x0d\x00\x00"), /* signature algorithms */
        SPAN("\x00\x0d\x00\x02\x00\x00"),
        SPAN("\x00\x0d\x00\x03\x00\x01\x04"),
        SPAN("\x00\x0d\x00\x05\x00\x02\x04\x03\x08"),
        SPAN("\x00\x0d\x00\x05\x00\x03\x04\x03\x08"),
        SPAN("\x00\x29\x00\x00" SNI_A), /* pre_shared_key must be the last */
        SPAN(GREASE GREASE),            /* any extension twice */
        SPAN(ECH SNI_A ECH),
        SPAN("\xff\x01\x00\x01\x00" GREASE "\xff\x01\x00\x01\x00"),
        SPAN("\x2a\x2a\x00\x02\x00"),
        SPAN("\x2a\x2a\x00"),
        SPAN("\x2a"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct hello h;

        if (parse_extensions(bad[i], &h) != HELLO_BAD)
            fail_msg("accepted: %zu", i);
    }
}

static void test_bad_body(void **state)
{
    const struct parts bad[] = {
        { .version = SPAN("\x02\x00") },
        { .version = SPAN("\x7f\x12") },
        { .session = SPAN("\x21"
                          "012345678901234567890123456789012") },
        { .suites = SPAN("\x00\x00") },
        { .suites = SPAN("\x00\x03\x13\x01\x00") },
        { .compression = SPAN("\x00") },
        { .tail = SPAN("\x00") },
        { .extensions = SPAN(SNI_A), .tail = SPAN("\x00") },
        { .session = SPAN(""), .suites = SPAN(""), .compression = SPAN("") },
    };
    const struct parts good = { .session = SPAN("\x20"
                                                "01234567890123456789012345678901"),
                                .extensions = SPAN(SNI_A) };
    struct hello h;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse_parts(&bad[i], &h) != HELLO_BAD)
            fail_msg("accepted: %zu", i);
    assert_int_equal(parse_parts(&good, &h), HELLO_DONE);
}

/* A body that ends after each of its bytes, with a message header that agrees: never a crash, and good at two places only. */
static void test_short_bodies(void **state)
{
    struct parts p = { .extensions = SPAN(SNI_A ALPN_BOTH) };
    size_t len = build(&p), without = len - 2 - p.extensions.len;

    (void)state;
    for (size_t n = 4; n <= len; n++) {
        struct hello h;

        message[2] = (char)((n - 4) >> 8);
        message[3] = (char)(n - 4);
        assert_int_equal(parse(wrap(n, 16384), &h), n == len || n == without ? HELLO_DONE : HELLO_BAD);
    }
}

static void test_pieces(void **state)
{
    struct parts p = { .extensions = SPAN(GREASE SNI_A ALPN_BOTH VERSIONS_13) };
    size_t len = build(&p);

    (void)state;
    for (size_t size = 1; size <= len; size++) { /* TI-04 */
        size_t whole = wrap(len, size);
        struct hello h;

        for (size_t n = 0; n < whole; n++) {
            assert_int_equal(parse(n, &h), HELLO_MORE);
            assert_in_range(h.wanted, n + 1, whole);
        }
        assert_int_equal(parse(whole, &h), HELLO_DONE);
        assert_string_equal(h.sni.name, "a.test");
        memcpy(records + whole, "\x14\x03\x03\x00\x01\x01", 6); /* what follows is not looked at */
        assert_int_equal(parse(whole + 6, &h), HELLO_DONE);
    }
}

static void test_bad_records(void **state)
{
    static const struct span bad[] = {
        SPAN("\x17"),
        SPAN("\x16\x02"),
        SPAN("\x16\x03\x05"),
        SPAN("\x16\x03\x01\x00\x00"),
        SPAN("\x16\x03\x01\x40\x01"),
        SPAN("\x16\x03\x01\x00\x01\x02"),
        SPAN("\x16\x03\x01\x00\x04\x01\x01\x00\x00"),
        SPAN("\x16\x03\x01\x00\x01\x01\x15"),         /* another kind of record in between */
        SPAN("\x16\x03\x01\x00\x05\x01\x00\x00\x00"), /* a record longer than its message */
    };
    struct parts p = { .extensions = SPAN(SNI_A) };
    size_t len = build(&p);
    struct hello h;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (hello_parse(bad[i], &h) != HELLO_BAD)
            fail_msg("accepted: %zu", i);
    assert_int_equal(hello_parse(span_of(NULL, 0), &h), HELLO_MORE);
    message[len] = 0; /* a byte of the next message in the same record */
    assert_int_equal(parse(wrap(len + 1, 16384), &h), HELLO_BAD);
}

/* A hello with a padding extension (RFC 7685) of which records and message come to `total` bytes. */
static size_t padded(size_t total)
{
    static char padding[17000];
    struct parts p = { .extensions = span_of(padding, 4) };
    size_t n = total - (build(&p) + 5 + (total > 16384 + 5 ? 5 : 0));

    memset(padding, 0, sizeof(padding));
    padding[1] = 21;
    padding[2] = (char)(n >> 8);
    padding[3] = (char)n;
    p.extensions.len = 4 + n;
    return wrap(build(&p), 16384);
}

static void test_limit(void **state)
{
    struct hello h;

    (void)state;
    assert_int_equal(padded(HELLO_MAX), HELLO_MAX);
    assert_int_equal(parse(HELLO_MAX, &h), HELLO_DONE);
    assert_string_equal(h.ja4, "t12i010100_0f2cb44170f4_4298e3b3ed58");
    assert_int_equal(padded(HELLO_MAX + 1), HELLO_MAX + 1);
    assert_int_equal(parse(8, &h), HELLO_MORE);
    assert_int_equal(parse(9, &h), HELLO_BAD); /* its length says so */
    assert_int_equal(parse(HELLO_MAX, &h), HELLO_BAD);
    assert_int_equal(parse(HELLO_MAX + 1, &h), HELLO_BAD);
}

/* Byte by byte, in records of one byte, asking only when there is enough: the work is far from the square of the length. */
static void test_wanted(void **state)
{
    size_t whole, asked = 0, work = 0;
    enum hello_progress progress = HELLO_MORE;
    struct hello h = { 0 };

    (void)state;
    padded(2000);
    whole = wrap(build(&(struct parts){ .extensions = SPAN(SNI_A ALPN_BOTH) }), 1);
    for (size_t n = 1; n <= whole; n++) {
        if (n < h.wanted)
            continue;
        assert_int_equal(progress, HELLO_MORE);
        progress = parse(n, &h);
        asked++;
        work += n;
    }
    assert_int_equal(progress, HELLO_DONE);
    assert_in_range(asked, 2, 40);
    assert_in_range(work, whole, 32 * whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sniff),       cmocka_unit_test(test_facts),        cmocka_unit_test(test_bad_extensions),
        cmocka_unit_test(test_bad_body),    cmocka_unit_test(test_short_bodies), cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_bad_records), cmocka_unit_test(test_limit),        cmocka_unit_test(test_wanted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
