/* SPDX-License-Identifier: ISC */
/* Sessions by number: more than the table begins with, in any order of going. */
#include "session/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MANY 5000

static void test_numbers(void **state)
{
    struct session *sessions = calloc(MANY, sizeof(*sessions));
    struct numbers *n = numbers_new();

    (void)state;
    assert_non_null(sessions);
    assert_non_null(n);
    assert_null(numbers_find(n, 0));
    for (uint64_t i = 0; i < MANY; i++) {
        sessions[i].number = i * 7 + (i % 2 << 40); /* a restarted worker goes on far above */
        numbers_add(n, &sessions[i]);
    }
    for (uint64_t i = 0; i < MANY; i++)
        assert_ptr_equal(numbers_find(n, sessions[i].number), &sessions[i]);
    assert_null(numbers_find(n, 3));
    for (uint64_t i = 0; i < MANY; i += 3)
        numbers_remove(n, &sessions[i]);
    for (uint64_t i = 0; i < MANY; i++)
        assert_ptr_equal(numbers_find(n, sessions[i].number), i % 3 == 0 ? NULL : &sessions[i]);
    numbers_free(n);
    free(sessions);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_numbers) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
