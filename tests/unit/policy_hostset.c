/* SPDX-License-Identifier: ISC */
/* Hosts files: what a line means, what is left out, and memory that came from elsewhere. */
#include "policy/hostset.h"
#include "policy/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct compiled {
    struct hostset set;
    void *memory;
    size_t count, bad, first_bad;
};

static struct compiled compile(struct span text)
{
    struct compiled c = { .first_bad = 0 };
    size_t size = hostset_size(text);

    assert_true(size > 0);
    c.memory = calloc(1, size);
    assert_non_null(c.memory);
    c.count = hostset_compile(text, c.memory, size, &c.bad, &c.first_bad);
    assert_true(hostset_open(&c.set, c.memory, size));
    assert_int_equal(hostset_count(&c.set), c.count);
    return c;
}

static bool has(const struct compiled *c, const char *name)
{
    return hostset_has(&c->set, span_str(name));
}

static void test_meaning(void **state)
{
    struct compiled c = compile(SPAN("# a comment\n"
                                     "ads.example\n"
                                     "\t Tracker.EXAMPLE. \r\n"
                                     "\n"
                                     "   # another\n"
                                     "deep.ads.example # under one that is there\n"
                                     "ads.example\n"
                                     "b\xc3\xbc"
                                     "cher.example\n"
                                     "test"));

    (void)state;
    assert_int_equal(c.count, 5);
    assert_int_equal(c.bad, 0);
    assert_true(has(&c, "ads.example"));
    assert_true(has(&c, "x.ads.example"));
    assert_true(has(&c, "x.y.deep.ads.example"));
    assert_true(has(&c, "tracker.example"));
    assert_true(has(&c, "xn--bcher-kva.example"));
    assert_true(has(&c, "test"));
    assert_true(has(&c, "any.test"));
    assert_false(has(&c, "example"));
    assert_false(has(&c, "xads.example"));
    assert_false(has(&c, "ads.example.com"));
    assert_false(has(&c, "atest"));
    assert_false(has(&c, ""));
    free(c.memory);
}

static void test_bad_lines(void **state)
{
    struct compiled c = compile(SPAN("good.example\n"
                                     "# fine\n"
                                     "0.0.0.0 ads.example\n"
                                     "*.example\n"
                                     "192.0.2.1\n"
                                     "0x7f.1\n"
                                     "http://a.example/\n"
                                     "a..example\n"
                                     "also.good.example\n"
                                     "2001:db8::1\n"
                                     "nul\0.example\n"));

    (void)state;
    assert_int_equal(c.count, 2);
    assert_int_equal(c.bad, 8);
    assert_int_equal(c.first_bad, 3);
    assert_false(has(&c, "ads.example"));
    assert_true(has(&c, "also.good.example"));
    free(c.memory);
}

static void test_empty(void **state)
{
    static const char *const texts[] = { "", "\n", "#", "# only\n\n", " " };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct compiled c = compile(span_str(texts[i]));

        assert_int_equal(c.count, 0);
        assert_int_equal(c.bad, 0);
        assert_false(has(&c, "a.example"));
        free(c.memory);
    }
}

static void test_long_names(void **state)
{
    char text[600], label[64];
    size_t len = 0;
    struct compiled c;

    (void)state;
    memset(label, 'a', 63);
    label[63] = '\0';
    for (int i = 0; i < 3; i++)
        len += (size_t)sprintf(text + len, "%s.", label);
    len += (size_t)sprintf(text + len, "%.61s", label); /* 253 bytes */
    assert_int_equal(len, 253);
    c = compile(span_of(text, len));
    assert_int_equal(c.count, 1);
    assert_true(hostset_has(&c.set, span_of(text, len)));
    free(c.memory);
    text[len++] = 'a';
    c = compile(span_of(text, len));
    assert_int_equal(c.count, 0);
    assert_int_equal(c.bad, 1);
    assert_false(hostset_has(&c.set, span_of(text, len)));
    free(c.memory);
}

static void test_many(void **state)
{
    enum { COUNT = 20000 };
    static char text[COUNT * 24];
    char name[40];
    size_t len = 0;
    struct compiled c;

    (void)state;
    for (int i = 0; i < COUNT; i++)
        len += (size_t)sprintf(text + len, "n%d.example\n", 2 * i);
    c = compile(span_of(text, len));
    assert_int_equal(c.count, COUNT);
    for (int i = 0; i < 2 * COUNT; i++) {
        sprintf(name, "www.n%d.example", i);
        assert_int_equal(has(&c, name), i % 2 == 0);
    }
    free(c.memory);
}

static bool lies_inside(struct span s, const void *memory, size_t size)
{
    return s.len == 0 || (s.at >= (const char *)memory && s.at + s.len <= (const char *)memory + size);
}

/* Memory from elsewhere: wrong geometry is refused, wrong offsets and lengths lead nowhere. */
static void test_foreign_memory(void **state)
{
    struct compiled c = compile(SPAN("a.example\nb.example\n"));
    size_t size = c.set.size;
    struct hostset set;
    unsigned char *bytes = malloc(size);

    (void)state;
    assert_false(hostset_open(&set, NULL, size));
    assert_false(hostset_open(&set, c.memory, size - 1));
    assert_false(hostset_open(&set, c.memory, 8));
    memcpy(bytes, c.memory, size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (hostset_open(&set, bytes, size)) {
            (void)!hostset_has(&set, SPAN("x.a.example"));
            (void)!hostset_has(&set, SPAN("c.example"));
            for (uint32_t i = 0; i < 9; i++)
                assert_true(lies_inside(names_at(bytes, size, i), bytes, size));
        }
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    assert_true(hostset_open(&set, bytes, size));
    assert_true(hostset_has(&set, SPAN("x.b.example")));
    bytes[size - 1] = 'f'; /* the last byte of the last name: its hash no longer fits it */
    assert_false(hostset_has(&set, SPAN("x.b.example")));
    assert_true(hostset_has(&set, SPAN("x.a.example")));
    free(bytes);
    free(c.memory);
}

static void test_names(void **state)
{
    size_t size = names_size(2, 8);
    void *memory = calloc(1, size);
    char longest[NAMES_LONGEST + 1];
    uint32_t a, b;

    (void)state;
    names_init(memory, size, 2);
    assert_true(names_check(memory, size));
    a = names_add(memory, SPAN("GET"));
    b = names_add(memory, SPAN("get"));
    assert_true(a != NAMES_NONE && b != NAMES_NONE && a != b);
    assert_int_equal(names_add(memory, SPAN("GET")), a);
    assert_int_equal(names_add(memory, SPAN("xyz")), NAMES_NONE); /* 2 bytes are left */
    assert_int_not_equal(names_add(memory, SPAN("x")), NAMES_NONE);
    assert_int_equal(names_add(memory, SPAN("")), NAMES_NONE);
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(names_add(memory, span_of(longest, NAMES_LONGEST + 1)), NAMES_NONE);
    assert_true(span_eq(names_at(memory, size, a), SPAN("GET")));
    assert_int_equal(names_at(memory, size, names_slots(memory)).len, 0);
    assert_int_equal(names_find(memory, size, SPAN("GET")), a);
    assert_int_equal(names_find(memory, size, SPAN("Get")), NAMES_NONE);
    assert_int_equal(names_count(memory), 3);
    free(memory);
    assert_int_equal(names_size(SIZE_MAX / 2, 1), 0);
    assert_int_equal(names_size(1, SIZE_MAX), 0);
    assert_int_equal(names_size(1, UINT32_MAX), 0);
    assert_true(names_size(1, 255) > 0);
}

/* A table whose slots are all taken, as only foreign memory is: a look-up ends all the same. */
static void test_full_of_others(void **state)
{
    size_t size = names_size(1, 100);
    unsigned char *memory = calloc(1, size);

    (void)state;
    names_init(memory, size, 1);
    assert_int_not_equal(names_add(memory, SPAN("name")), NAMES_NONE);
    memset(memory + size - 101 - 8 * 8, 0x01, 8 * 8); /* the eight slots: offsets into nowhere */
    assert_true(names_check(memory, size));
    assert_int_equal(names_find(memory, size, SPAN("name")), NAMES_NONE);
    assert_int_equal(names_add(memory, SPAN("more")), NAMES_NONE);
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meaning),    cmocka_unit_test(test_bad_lines),      cmocka_unit_test(test_empty),
        cmocka_unit_test(test_long_names), cmocka_unit_test(test_many),           cmocka_unit_test(test_foreign_memory),
        cmocka_unit_test(test_names),      cmocka_unit_test(test_full_of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
