/* SPDX-License-Identifier: ISC */
/* Text in a bounded buffer: what fits, what does not, and that it is known afterwards. */
#include "session/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZE 16

struct guarded {
    struct text text;
    char buffer[SIZE + 1]; /* the last byte must never change */
};

static void begin(struct guarded *g)
{
    memset(g->buffer, '#', sizeof(g->buffer));
    text_init(&g->text, g->buffer, SIZE);
}

static void expect(const struct guarded *g, const char *text, bool overflow)
{
    assert_int_equal(g->text.len, strlen(text));
    assert_memory_equal(g->buffer, text, strlen(text));
    assert_int_equal(g->text.overflow, overflow);
    assert_int_equal(g->buffer[SIZE], '#');
}

static void test_put(void **state)
{
    struct guarded g;

    (void)state;
    begin(&g);
    text_put(&g.text, span_of(NULL, 0));
    expect(&g, "", false);
    text_put(&g.text, SPAN("0123456789abcde"));
    text_put(&g.text, SPAN("f")); /* to the last byte: no NUL is added */
    expect(&g, "0123456789abcdef", false);
    text_put(&g.text, SPAN(""));
    expect(&g, "0123456789abcdef", false);
    text_put(&g.text, SPAN("g"));
    expect(&g, "0123456789abcdef", true);
}

/* What does not fit is dropped whole, and the mark stays though a shorter piece still fits. */
static void test_overflow_stays(void **state)
{
    struct guarded g;

    (void)state;
    begin(&g);
    text_put(&g.text, SPAN("0123456789"));
    text_put(&g.text, SPAN("abcdefg"));
    expect(&g, "0123456789", true);
    text_put(&g.text, SPAN("abc"));
    expect(&g, "0123456789abc", true);
}

static void test_format(void **state)
{
    struct guarded g;

    (void)state;
    begin(&g);
    text_format(&g.text, "%d-%s", 7, "x");
    expect(&g, "7-x", false);
    text_format(&g.text, "%s", "0123456789ab"); /* its NUL takes the last byte */
    expect(&g, "7-x0123456789ab", false);
    text_format(&g.text, "%c", 'y');
    expect(&g, "7-x0123456789ab", true);
    begin(&g);
    text_format(&g.text, "%s", "0123456789abcdef");
    expect(&g, "", true);
}

static void test_field(void **state)
{
    struct guarded g;

    (void)state;
    begin(&g);
    text_field(&g.text, SPAN("Via"), SPAN("1.1 abcde"));
    expect(&g, "Via: 1.1 abcde\r\n", false);
    begin(&g);
    text_field(&g.text, SPAN("Via"), SPAN("1.1 abcdef"));
    assert_true(g.text.overflow);
    assert_int_equal(g.buffer[SIZE], '#');
}

static void test_numbers(void **state)
{
    struct guarded g;

    (void)state;
    begin(&g);
    text_number(&g.text, 0);
    text_str(&g.text, "-");
    text_number(&g.text, 1234567890);
    expect(&g, "0-1234567890", false);
    text_number(&g.text, 10000);
    expect(&g, "0-1234567890", true);
}

static void test_fields_of_ours(void **state)
{
    char buffer[128];
    struct text t;

    (void)state;
    text_init(&t, buffer, sizeof(buffer));
    text_length(&t, UINT64_MAX);
    text_via(&t, 0, "abc");
    text_via(&t, 1, "abc");
    assert_false(t.overflow);
    assert_int_equal(t.len, strlen("Content-Length: 18446744073709551615\r\nVia: 1.0 abc\r\nVia: 1.1 abc\r\n"));
    assert_memory_equal(buffer, "Content-Length: 18446744073709551615\r\nVia: 1.0 abc\r\nVia: 1.1 abc\r\n", t.len);
}

static void test_chunk(void **state)
{
    static const struct {
        size_t len;
        const char *line;
    } rows[] = { { 1, "1\r\n" }, { 0xabcdef, "abcdef\r\n" }, { SIZE_MAX, "ffffffffffffffff\r\n" } };
    char line[TEXT_CHUNK];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(text_chunk(line, rows[i].len), strlen(rows[i].line));
        assert_memory_equal(line, rows[i].line, strlen(rows[i].line));
    }
}

static void test_host(void **state)
{
    static const char *const rows[][2] = { { "Example.COM", "example.com" },
                                           { "192.0.2.1", "192.0.2.1" },
                                           { "[2001:db8::1]", "[2001:db8::1]" } };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct guarded g;
        struct host host;

        begin(&g);
        assert_true(host_parse(&host, span_str(rows[i][0])));
        text_host(&g.text, &host);
        expect(&g, rows[i][1], false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put),   cmocka_unit_test(test_overflow_stays), cmocka_unit_test(test_format),
        cmocka_unit_test(test_field), cmocka_unit_test(test_numbers),        cmocka_unit_test(test_fields_of_ours),
        cmocka_unit_test(test_chunk), cmocka_unit_test(test_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
