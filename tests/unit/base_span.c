/* SPDX-License-Identifier: ISC */
/* Spans: comparisons, lists, numbers, copies. */
#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct span nothing;

static void test_compare(void **state)
{
    (void)state;
    assert_true(span_eq(nothing, SPAN("")));
    assert_true(span_eq(SPAN("a"), SPAN("a")));
    assert_false(span_eq(SPAN("a"), SPAN("A")));
    assert_false(span_eq(SPAN("a"), SPAN("ab")));
    assert_true(span_ieq(SPAN("Host"), SPAN("hOST")));
    assert_false(span_ieq(SPAN("["), SPAN("{"))); /* 32 apart, but no letters */
    assert_false(span_ieq(SPAN("\xc4"), SPAN("\xe4")));
    assert_true(span_starts(SPAN("abc"), SPAN("ab")));
    assert_true(span_starts(SPAN("abc"), nothing));
    assert_false(span_starts(SPAN("a"), SPAN("ab")));
    assert_true(span_eq(span_str(NULL), nothing));
}

static void test_trim_and_skip(void **state)
{
    (void)state;
    assert_true(span_eq(span_trim(SPAN(" \t a b\t ")), SPAN("a b")));
    assert_int_equal(span_trim(SPAN(" \t")).len, 0);
    assert_true(span_eq(span_trim(SPAN("\va")), SPAN("\va")));
    assert_int_equal(span_trim(nothing).len, 0);
    assert_true(span_eq(span_skip(SPAN("abc"), 2), SPAN("c")));
    assert_int_equal(span_skip(SPAN("abc"), 4).len, 0);
    assert_null(span_skip(nothing, 4).at);
}

static void test_lists(void **state)
{
    static const struct {
        const char *list, *items; /* each item in <> */
    } cases[] = {
        { "", "" },
        { "a", "<a>" },
        { "a, b ,c", "<a><b><c>" },
        { ",a,,b", "<><a><><b>" },
        { "a,", "<a>" },
        { " ", "<>" },
        { "\"a,b\", c", "<\"a,b\"><c>" },
        { "\"a\\\",b\",c", "<\"a\\\",b\"><c>" },
        { "\"open, c", "<\"open, c>" },
        { "\"end\\", "<\"end\\>" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct span list = span_str(cases[i].list), item;
        char seen[64] = "";

        while (span_next_item(&list, &item)) {
            strcat(seen, "<");
            strncat(seen, item.at, item.len);
            strcat(seen, ">");
        }
        assert_string_equal(seen, cases[i].items);
    }
}

static void test_tokens(void **state)
{
    (void)state;
    assert_true(span_is_token(SPAN("Sec-WebSocket-Key")));
    assert_true(span_is_token(SPAN("!#$%&'*+-.^_`|~09azAZ")));
    assert_false(span_is_token(nothing));
    for (int c = 0; c < 256; c++)
        if (c <= 0x20 || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
            assert_false(byte_is_token((unsigned char)c));
        else
            assert_true(byte_is_token((unsigned char)c));
}

static void test_hex(void **state)
{
    (void)state;
    assert_int_equal(byte_hex('0'), 0);
    assert_int_equal(byte_hex('f'), 15);
    assert_int_equal(byte_hex('A'), 10);
    assert_int_equal(byte_hex('g'), -1);
    assert_int_equal(byte_hex('/'), -1);
    assert_int_equal(byte_hex(':'), -1);
}

static void test_numbers(void **state)
{
    static const struct {
        const char *text;
        uint64_t max, value;
        bool good;
    } cases[] = {
        { "0", 0, 0, true },
        { "1", 0, 0, false },
        { "007", 9, 7, true },
        { "65535", 65535, 65535, true },
        { "65536", 65535, 0, false },
        { "18446744073709551615", UINT64_MAX, UINT64_MAX, true },
        { "18446744073709551616", UINT64_MAX, 0, false },
        { "99999999999999999999", UINT64_MAX, 0, false },
        { "000000000000000000001", UINT64_MAX, 0, false },
        { "5", 3, 0, false },
        { "", 9, 0, false },
        { "+1", 9, 0, false },
        { "-1", 9, 0, false },
        { " 1", 9, 0, false },
        { "1a", 99, 0, false },
        { "0x1", 99, 0, false },
    };
    uint64_t value;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(span_u64(span_str(cases[i].text), cases[i].max, &value), cases[i].good);
        if (cases[i].good)
            assert_int_equal(value, cases[i].value);
    }
}

static void test_copies(void **state)
{
    char out[4];

    (void)state;
    assert_true(span_cstr(SPAN("abc"), out, sizeof(out)));
    assert_string_equal(out, "abc");
    assert_false(span_cstr(SPAN("abcd"), out, sizeof(out)));
    assert_string_equal(out, "");
    assert_false(span_cstr(SPAN("a\0b"), out, sizeof(out)));
    assert_true(span_cstr(nothing, out, sizeof(out)));
    assert_string_equal(out, "");
    span_show(SPAN("abc"), out, sizeof(out));
    assert_string_equal(out, "abc");
    span_show(SPAN("abcd"), out, sizeof(out));
    assert_string_equal(out, "ab~");
    span_show(SPAN("abcdef"), out, sizeof(out));
    assert_string_equal(out, "ab~");
    span_show(SPAN(" \x1b\xff"), out, sizeof(out));
    assert_string_equal(out, "???");
    span_show(nothing, out, sizeof(out));
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare), cmocka_unit_test(test_trim_and_skip), cmocka_unit_test(test_lists),
        cmocka_unit_test(test_tokens),  cmocka_unit_test(test_hex),           cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
