/* SPDX-License-Identifier: ISC */
/* The lowest free number, against a plain array. */
#include "base/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_edges(void **state)
{
    static const uint32_t counts[] = { 1, 63, 64, 65, 4095, 4096, 4097, 64 * 64 * 64 + 1 };
    uint32_t got;

    (void)state;
    assert_null(slots_new(0));
    assert_null(slots_new(SLOTS_MAX + 1));
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        struct slots *s = slots_new(counts[c]);

        assert_non_null(s);
        for (uint32_t i = 0; i < counts[c]; i++) {
            assert_true(slots_take(s, &got));
            assert_int_equal(got, i);
        }
        assert_false(slots_take(s, &got));
        slots_give(s, counts[c] - 1);
        assert_true(slots_take(s, &got));
        assert_int_equal(got, counts[c] - 1);
        assert_false(slots_take(s, &got));
        slots_free(s);
    }
}

static void test_largest(void **state)
{
    struct slots *s = slots_new(SLOTS_MAX);
    uint32_t got;

    (void)state;
    assert_non_null(s);
    for (uint32_t i = 0; i < SLOTS_MAX - 1; i++)
        slots_mark(s, i);
    assert_true(slots_take(s, &got));
    assert_int_equal(got, SLOTS_MAX - 1);
    assert_false(slots_take(s, &got));
    slots_free(s);
}

static void test_random(void **state)
{
    enum { COUNT = 5000 };
    static bool taken[COUNT];
    struct slots *s = slots_new(COUNT);
    uint32_t got, expected;

    (void)state;
    srand(1);
    for (int step = 0; step < 50000; step++) {
        uint32_t victim = (uint32_t)rand() % COUNT;

        if (rand() % 3 == 0 && taken[victim]) {
            slots_give(s, victim);
            taken[victim] = false;
            continue;
        }
        for (expected = 0; expected < COUNT && taken[expected]; expected++)
            ;
        assert_int_equal(slots_take(s, &got), expected < COUNT);
        if (expected == COUNT)
            continue;
        assert_int_equal(got, expected);
        taken[got] = true;
    }
    slots_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_edges), cmocka_unit_test(test_largest),
                                        cmocka_unit_test(test_random) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
