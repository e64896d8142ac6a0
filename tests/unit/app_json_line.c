/* SPDX-License-Identifier: ISC */
/* Lines of JSON by hand: escapes, what is left out, objects inside, and the end of the memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/json_line.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static char out[512];
static struct json_line l;

static void begin(void)
{
    memset(out, 0, sizeof(out));
    json_line_open(&l, out, sizeof(out));
}

static void assert_line(const char *expected)
{
    size_t len = json_line_close(&l, out);

    assert_true(len > 2 && out[len - 1] == '\n');
    out[len - 1] = '\0';
    assert_string_equal(out, expected);
}

static void test_fields(void **state)
{
    struct addr address;

    (void)state;
    assert_true(addr_parse_port(&address, SPAN("[2001:db8::1]:80")));
    begin();
    json_line_word(&l, JSON_KEY("a"), "end");
    json_line_number(&l, JSON_KEY("b"), UINT64_MAX);
    json_line_begin(&l, JSON_KEY("c"));
    json_line_text(&l, JSON_KEY("d"), "x", 4);
    json_line_true(&l, JSON_KEY("e"), true);
    json_line_end(&l);
    json_line_addr(&l, JSON_KEY("f"), &address);
    assert_line("{\"a\":\"end\",\"b\":18446744073709551615,\"c\":{\"d\":\"x\",\"e\":true},\"f\":\"[2001:db8::1]:80\"}");
}

static void test_absent_is_left_out(void **state)
{
    struct addr none = { 0 };

    (void)state;
    begin();
    json_line_word(&l, JSON_KEY("a"), "");
    json_line_text(&l, JSON_KEY("b"), "\0x", 2);
    json_line_addr(&l, JSON_KEY("c"), &none);
    json_line_true(&l, JSON_KEY("d"), false);
    json_line_number(&l, JSON_KEY("e"), 0);
    assert_line("{\"e\":0}");
}

static void test_bytes_that_are_not_shown(void **state)
{
    static const char text[] = { 'a', '\n', 0x1f, 0x7f, (char)0x80, (char)0xff, '"', '\\', '/', ' ' };

    (void)state;
    begin();
    json_line_text(&l, JSON_KEY("t"), text, sizeof(text)); /* no NUL: `size` ends it */
    assert_line("{\"t\":\"a?????\\\"\\\\/ \"}");
}

/* jansson writes printable texts the same. */
static void test_as_jansson_writes(void **state)
{
    char text[64];

    (void)state;
    srand(11);
    for (int n = 0; n < 20000; n++) {
        size_t len = 1 + (size_t)rand() % (sizeof(text) - 1);
        json_t *object = json_object();
        char *expected;

        for (size_t i = 0; i < len; i++)
            text[i] = rand() % 4 == 0 ? "\"\\/~"[rand() % 4] : (char)(0x20 + rand() % 0x5f);
        text[len] = '\0';
        (void)json_object_set_new(object, "k", json_string(text));
        expected = json_dumps(object, JSON_COMPACT);
        begin();
        json_line_text(&l, JSON_KEY("k"), text, sizeof(text));
        assert_line(expected);
        free(expected);
        json_decref(object);
    }
}

/* Whatever does not fit, nothing is written behind the end, and there is no line. */
static void test_the_end_of_the_memory(void **state)
{
    unsigned fit = 0;

    (void)state;
    for (size_t size = 3; size < 90; size++) {
        memset(out, '#', sizeof(out));
        json_line_open(&l, out, size);
        json_line_begin(&l, JSON_KEY("o"));
        json_line_text(&l, JSON_KEY("k"), "0123456789", 10);
        json_line_end(&l);
        json_line_number(&l, JSON_KEY("n"), 7);
        assert_int_equal(json_line_close(&l, out) > 0, !l.overflow);
        fit += !l.overflow;
        for (size_t i = size; i < sizeof(out); i++)
            assert_int_equal(out[i], '#');
    }
    assert_in_range(fit, 1, 89 - 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_absent_is_left_out),
        cmocka_unit_test(test_bytes_that_are_not_shown),
        cmocka_unit_test(test_as_jansson_writes),
        cmocka_unit_test(test_the_end_of_the_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
