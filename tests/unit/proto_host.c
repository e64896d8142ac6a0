/* SPDX-License-Identifier: ISC */
/*
 * Hosts: every spelling that a resolver takes for an address becomes that address, names have one form, and all else is refused.
 */
#include "proto/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define LABEL_63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NAME_251 LABEL_63 "." LABEL_63 "." LABEL_63 ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    const char *text, *name;
    uint16_t family;
} good[] = {
    { "example.test", "example.test", 0 },
    { "EXAMPLE.Test.", "example.test", 0 },
    { "localhost", "localhost", 0 },
    { "xn--mnchen-3ya.test", "xn--mnchen-3ya.test", 0 },
    { "_dmarc.a-b.test", "_dmarc.a-b.test", 0 },
    { "1.test", "1.test", 0 },
    { "1e100.0a", "1e100.0a", 0 },
    { "0xg", "0xg", 0 },
    { LABEL_63 ".test", LABEL_63 ".test", 0 },
    { NAME_251 ".a", NAME_251 ".a", 0 },
    { "127.0.0.1", "127.0.0.1", AF_INET },
    { "127.0.0.1.", "127.0.0.1", AF_INET },
    { "0177.0.0.1", "127.0.0.1", AF_INET },
    { "2130706433", "127.0.0.1", AF_INET },
    { "0x7f.1", "127.0.0.1", AF_INET },
    { "0X7F000001", "127.0.0.1", AF_INET },
    { "127.1", "127.0.0.1", AF_INET },
    { "0xa9.0xfe.0xa9.0xfe", "169.254.169.254", AF_INET },
    { "2852039166", "169.254.169.254", AF_INET },
    { "4294967295", "255.255.255.255", AF_INET },
    { "0", "0.0.0.0", AF_INET },
    { "[::1]", "::1", AF_INET6 },
    { "[2001:DB8:0:0:0:0:0:1]", "2001:db8::1", AF_INET6 },
    { "[::ffff:127.0.0.1]", "127.0.0.1", AF_INET },
    { "[::ffff:7f00:1]", "127.0.0.1", AF_INET },
};

static const char *const bad[] = {
    "",
    ".",
    "..",
    "a..b",
    ".a",
    "a..",
    "*",
    "*.a",
    "a b",
    "a\tb",
    "a,b",
    "a@b",
    "u:p@b",
    "%61.test",
    "a%00b",
    "a/b",
    "a\\b",
    "a?b",
    "a#b",
    "\xe1llowed.test",
    "m\xc3\xbcnchen.test",
    "a\x7f",
    "a\n",
    LABEL_63 "a.test",
    NAME_251 ".aa",
    "4294967296",
    "256.1.1.1",
    "1.2.3.4.5",
    "1.2.3.256",
    "127.0.0.0x100",
    "a.1",
    "a.1.",
    "a.0x1f",
    "a.0x",
    "foo.08",
    "::1",
    "[",
    "]",
    "[]",
    "[::1",
    "::1]",
    "[::1]x",
    "[[::1]]",
    "[::1%25lo]",
    "[::1%lo]",
    "[fe80::1%1]",
    "[1.2.3.4]",
    "[v1.a:b]",
    "[::g]",
    "[a.test]",
    "[:::1]",
    "[1:2:3:4:5:6:7:8:9]",
    "[::1\n]",
};

static void test_good(void **state)
{
    struct host h;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!host_parse(&h, span_str(good[i].text)))
            fail_msg("refused: %s", good[i].text);
        assert_string_equal(h.name, good[i].name);
        assert_int_equal(h.len, strlen(good[i].name));
        assert_int_equal(h.ip.family, good[i].family);
        assert_int_equal(h.ip.port, 0);
    }
}

static void test_bad(void **state)
{
    struct host h;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (host_parse(&h, span_str(bad[i])))
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(h.len, 0);
        assert_int_equal(h.ip.family, 0);
    }
    assert_false(host_parse(&h, SPAN("allowed.test\0.denied.test")));
    assert_false(host_parse(&h, SPAN("[::1\0]")));
    assert_false(host_parse(&h, span_of(NULL, 0)));
}

static void test_normal_form_is_stable(void **state)
{
    struct host h, again;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char text[HOST_TEXT + 2];

        assert_true(host_parse(&h, span_str(good[i].text)));
        snprintf(text, sizeof(text), h.ip.family == AF_INET6 ? "[%s]" : "%s", h.name);
        assert_true(host_parse(&again, span_str(text)));
        assert_true(host_eq(&h, &again));
        assert_int_equal(h.ip.family, again.ip.family);
    }
}

static void test_authority(void **state)
{
    static const struct {
        const char *text, *name;
        uint16_t port;
    } table[] = {
        { "a.test", "a.test", 0 },
        { "a.test:80", "a.test", 80 },
        { "a.test.:65535", "a.test", 65535 },
        { "[::1]:443", "::1", 443 },
        { "[::1]", "::1", 0 },
        { "1.2.3.4:1", "1.2.3.4", 1 },
        { "2130706433:80", "127.0.0.1", 80 },
        { "a.test:00080", "a.test", 80 },
    };
    static const char *const refused[] = {
        "",
        ":",
        ":80",
        "a.test:",
        "a.test:0",
        "a.test:65536",
        "a.test:+80",
        "a.test:-1",
        "a.test: 80",
        "a.test:80 ",
        "a.test:80:80",
        "a.test:x",
        "a.test:80x",
        "a.test:18446744073709551696",
        "u@a.test:80",
        "u:p@a.test:80",
        "a.test:80@b.test",
        "[::1]:",
        "[::1]:0",
        "[::1]80",
        "[::1]x:80",
        "[::1",
        "::1:80",
        "[::1]:80:80",
        "a.test,b.test",
        "a.test \tb.test",
        "a.test:\xb2",
    };
    struct host h;
    uint16_t port;

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (!host_parse_authority(&h, &port, span_str(table[i].text)))
            fail_msg("refused: %s", table[i].text);
        assert_string_equal(h.name, table[i].name);
        assert_int_equal(port, table[i].port);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        if (host_parse_authority(&h, &port, span_str(refused[i])))
            fail_msg("accepted: %s", refused[i]);
}

/* Whatever was read before, and however often: what is recalled is what would be read. */
static void test_recall(void **state)
{
    static struct host_memo memo;
    char text[128];

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        struct host read, recalled;
        uint16_t read_port, recalled_port;
        unsigned n = i * 2654435761u >> 16;
        bool taken;

        if (i % 7 == 0)
            snprintf(text, sizeof(text), "%s10.%u.0.%u:%u", i % 3 ? "" : "[", n % 5, n % 260, n % 3);
        else
            snprintf(text, sizeof(text), "%0*u.test%s%u", (int)(n % 4 ? n % 10 : HOST_MEMO_TEXT - n % 16), n % 100,
                     n % 6 == 5 ? "!" : ":", n % 11 + 65530);
        taken = host_parse_authority(&read, &read_port, span_str(text));
        if (host_recall_authority(&memo, &recalled, &recalled_port, span_str(text)) != taken)
            fail_msg("%s", text);
        if (!taken)
            continue;
        assert_true(host_eq(&read, &recalled));
        assert_true(addr_eq(&read.ip, &recalled.ip));
        assert_string_equal(read.name, recalled.name);
        assert_int_equal(read_port, recalled_port);
    }
}

static void test_from_addr(void **state)
{
    struct host a, b;
    struct addr ip;

    (void)state;
    assert_true(addr_parse(&ip, SPAN("::ffff:10.1.2.3"), 99));
    host_from_addr(&a, &ip);
    assert_true(host_parse(&b, SPAN("0x0a.1.2.3")));
    assert_true(host_eq(&a, &b));
    assert_int_equal(a.ip.port, 0);
    assert_true(span_eq(host_span(&a), SPAN("10.1.2.3")));
    assert_true(host_parse(&b, SPAN("10.1.2.4")));
    assert_false(host_eq(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),      cmocka_unit_test(test_bad),    cmocka_unit_test(test_normal_form_is_stable),
        cmocka_unit_test(test_authority), cmocka_unit_test(test_recall), cmocka_unit_test(test_from_addr),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
