/* SPDX-License-Identifier: ISC */
/* Numbers as digits: the same as printf writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/digits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void check(uint64_t n)
{
    char ours[DIGITS_MAX + 1], theirs[DIGITS_MAX + 1];

    *digits_decimal(ours, n) = '\0';
    snprintf(theirs, sizeof(theirs), "%" PRIu64, n);
    assert_string_equal(ours, theirs);
    *digits_hex(ours, n) = '\0';
    snprintf(theirs, sizeof(theirs), "%" PRIx64, n);
    assert_string_equal(ours, theirs);
    *digits_padded(ours, n, 6) = '\0';
    snprintf(theirs, sizeof(theirs), "%06" PRIu64, n % 1000000);
    assert_string_equal(ours, theirs);
}

static void test_at_every_width(void **state)
{
    (void)state;
    check(0);
    for (uint64_t n = 1; n != 0; n *= 2)
        for (uint64_t k = n - 2; k != n + 3; k++)
            check(k);
    for (uint64_t n = 10; n <= UINT64_MAX / 10; n *= 10) {
        check(n - 1);
        check(n);
    }
    check(UINT64_MAX);
}

static void test_random(void **state)
{
    (void)state;
    srand(3);
    for (int i = 0; i < 200000; i++)
        check(((uint64_t)rand() << 33 ^ (uint64_t)rand()) >> rand() % 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_at_every_width), cmocka_unit_test(test_random) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
