/* SPDX-License-Identifier: ISC */
/* Levels of pressure: where each begins, one below it, and that it ends lower than it began. */
#include "base/pressure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MIB (1ull << 20)

static enum pressure_level level(enum pressure_level before, uint64_t used)
{
    return pressure_of(before, used, 1000 * MIB).level;
}

static void test_rising(void **state)
{
    (void)state;
    assert_int_equal(level(PRESSURE_NONE, 0), PRESSURE_NONE);
    assert_int_equal(level(PRESSURE_NONE, 750 * MIB - 1), PRESSURE_NONE);
    assert_int_equal(level(PRESSURE_NONE, 750 * MIB), PRESSURE_HIGH);
    assert_int_equal(level(PRESSURE_HIGH, 900 * MIB - 1), PRESSURE_HIGH);
    assert_int_equal(level(PRESSURE_HIGH, 900 * MIB), PRESSURE_FULL);
    assert_int_equal(level(PRESSURE_NONE, 900 * MIB), PRESSURE_FULL);
    assert_int_equal(level(PRESSURE_NONE, 5000 * MIB), PRESSURE_FULL);
}

static void test_falling(void **state)
{
    (void)state;
    assert_int_equal(level(PRESSURE_FULL, 850 * MIB), PRESSURE_FULL);
    assert_int_equal(level(PRESSURE_FULL, 850 * MIB - 1), PRESSURE_HIGH);
    assert_int_equal(level(PRESSURE_HIGH, 700 * MIB), PRESSURE_HIGH);
    assert_int_equal(level(PRESSURE_HIGH, 700 * MIB - 1), PRESSURE_NONE);
    assert_int_equal(level(PRESSURE_FULL, 0), PRESSURE_NONE);
}

static void test_left(void **state)
{
    (void)state;
    assert_int_equal(pressure_of(PRESSURE_NONE, 0, 1000 * MIB).left, 1000);
    assert_int_equal(pressure_of(PRESSURE_HIGH, 720 * MIB, 1000 * MIB).left, 1000);
    assert_int_equal(pressure_of(PRESSURE_HIGH, 825 * MIB, 1000 * MIB).left, 500);
    assert_int_equal(pressure_of(PRESSURE_HIGH, 900 * MIB, 1000 * MIB).left, 0);
    assert_int_equal(pressure_of(PRESSURE_FULL, 2000 * MIB, 1000 * MIB).left, 0);
}

static void test_extremes(void **state)
{
    (void)state;
    assert_int_equal(pressure_of(PRESSURE_FULL, UINT64_MAX, 0).level, PRESSURE_NONE);
    assert_int_equal(pressure_of(PRESSURE_NONE, UINT64_MAX, 1).level, PRESSURE_FULL);
    assert_int_equal(pressure_of(PRESSURE_NONE, 1, UINT64_MAX).level, PRESSURE_NONE);
    assert_int_equal(pressure_of(PRESSURE_NONE, UINT64_MAX, UINT64_MAX).level, PRESSURE_FULL);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(pressure_name(PRESSURE_NONE), "good");
    assert_string_equal(pressure_name(PRESSURE_HIGH), "tight");
    assert_string_equal(pressure_name(PRESSURE_FULL), "full");
    assert_string_equal(pressure_name(PRESSURE_LEVELS), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rising),   cmocka_unit_test(test_falling), cmocka_unit_test(test_left),
        cmocka_unit_test(test_extremes), cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
