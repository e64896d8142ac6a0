/* SPDX-License-Identifier: ISC */
#include "base/health.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#define NOW 1000000ull
#define HOLD 5000u

static int setup(void **state)
{
    clock_tick();
    *state = calloc(1, sizeof(struct health));
    return *state == NULL;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static struct health_slot *slot_of(void **state)
{
    struct health_slot *slot = health_find(*state, health_key("site", "a.test", 80, false), true);

    assert_non_null(slot);
    return slot;
}

static void test_names_are_told_apart(void **state)
{
    uint64_t key = health_key("site", "a.test", 80, false);
    struct health_slot *slot = slot_of(state);

    assert_ptr_equal(health_find(*state, key, false), slot);
    assert_null(health_find(*state, health_key("sitea", ".test", 80, false), false));
    assert_null(health_find(*state, health_key("site", "a.test", 80, true), false));
    assert_null(health_find(*state, health_key("site", "a.test", 81, false), false));
    assert_ptr_not_equal(health_find(*state, health_key("site", "a.test", 81, false), true), slot);
}

static void test_a_full_table_knows_no_more(void **state)
{
    for (unsigned i = 0; i < HEALTH_SLOTS; i++)
        assert_non_null(health_find(*state, i + 1, true));
    assert_null(health_find(*state, HEALTH_SLOTS + 1, true));
    health_retain(*state, (uint64_t[]){ 7, 9 }, 2);
    assert_non_null(health_find(*state, 7, false));
    assert_null(health_find(*state, 8, false));
    assert_non_null(health_find(*state, HEALTH_SLOTS + 1, true));
}

static void test_who_goes_is_forgotten_and_who_stays_is_not(void **state)
{
    uint64_t goes = health_key("site", "a.test", 80, false), stays = health_key("site", "b.test", 80, false);

    assert_true(health_failed(health_find(*state, goes, true), NOW, true));
    assert_true(health_failed(health_find(*state, stays, true), NOW, true));
    health_retain(*state, &stays, 1);
    assert_int_equal(health_state(health_find(*state, stays, false)), HEALTH_DOWN);
    assert_int_equal(health_state(health_find(*state, goes, true)), HEALTH_UP);
}

static void test_one_tries_again_when_the_time_is_over(void **state)
{
    struct health_slot *slot = slot_of(state);

    assert_int_equal(health_ask(slot, NOW, HOLD), HEALTH_UP);
    assert_true(health_failed(slot, NOW, true));
    assert_false(health_failed(slot, NOW, true));
    assert_int_equal(health_ask(slot, NOW + HEALTH_FIRST_MS - 1, HOLD), HEALTH_DOWN);
    assert_int_equal(health_ask(slot, NOW + HEALTH_FIRST_MS, HOLD), HEALTH_UP);
    assert_int_equal(health_ask(slot, NOW + HEALTH_FIRST_MS, HOLD), HEALTH_DOWN);
    assert_int_equal(health_ask(slot, NOW + HEALTH_FIRST_MS + HOLD - 1, HOLD), HEALTH_DOWN);
    assert_int_equal(health_ask(slot, NOW + HEALTH_FIRST_MS + HOLD, HOLD), HEALTH_UP);
    assert_true(health_worked(slot));
    assert_false(health_worked(slot));
    assert_int_equal(health_ask(slot, NOW, HOLD), HEALTH_UP);
    assert_int_equal(atomic_load(&slot->failures), 2);
}

static void test_who_does_not_try_lets_others(void **state)
{
    struct health_slot *slot = slot_of(state);
    uint64_t now = NOW + HEALTH_FIRST_MS;

    assert_true(health_failed(slot, NOW, true));
    health_untried(slot, now + HOLD); /* nobody's */
    assert_int_equal(health_ask(slot, now - 1, HOLD), HEALTH_DOWN);
    assert_int_equal(health_ask(slot, now, HOLD), HEALTH_UP);
    health_untried(slot, now + HOLD - 1);
    assert_int_equal(health_ask(slot, now, HOLD), HEALTH_DOWN);
    health_untried(slot, now + HOLD);
    assert_int_equal(health_ask(slot, now, HOLD), HEALTH_UP);
    assert_false(health_failed(slot, now, true));
    health_untried(slot, now + HOLD); /* too late: it is known to have failed again */
    assert_int_equal(health_ask(slot, now + HEALTH_FIRST_MS, HOLD), HEALTH_DOWN);
}

static void test_it_is_tried_less_and_less_often(void **state)
{
    static const unsigned pauses[] = { 1000, 2000, 4000, 8000, 16000, 16000, 16000, 16000, 16000, 16000 };
    struct health_slot *slot = slot_of(state);
    uint64_t now = NOW;

    for (unsigned i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        (void)health_failed(slot, now, true);
        assert_int_equal(health_ask(slot, now + pauses[i] - 1, HOLD), HEALTH_DOWN);
        now += pauses[i];
        assert_int_equal(health_ask(slot, now, HOLD), HEALTH_UP);
        now += 10;
    }
}

static void test_requests_that_fail_together_are_one_failure(void **state)
{
    struct health_slot *slot = slot_of(state);

    for (unsigned i = 0; i < 100; i++)
        (void)health_failed(slot, NOW + i, false);
    assert_int_equal(atomic_load(&slot->strikes), 1);
    assert_int_equal(health_state(slot), HEALTH_DOUBTFUL);
    assert_true(health_failed(slot, NOW + 100, true));
    assert_int_equal(health_state(slot), HEALTH_DOWN);
}

/* Whoever makes the one request that tries again cannot keep it down by what the request does. */
static void test_a_connection_ends_down(void **state)
{
    struct health_slot *slot = slot_of(state);
    uint64_t now = NOW;

    assert_false(health_reached(slot));
    assert_true(health_failed(slot, now, true));
    now += HEALTH_FIRST_MS;
    assert_int_equal(health_ask(slot, now, HOLD), HEALTH_UP);
    assert_int_equal(health_ask(slot, now, HOLD), HEALTH_DOWN);
    assert_true(health_reached(slot));
    assert_false(health_reached(slot));
    assert_int_equal(health_ask(slot, now, HOLD), HEALTH_DOUBTFUL);
    assert_false(health_failed(slot, now, false));
    assert_int_equal(health_state(slot), HEALTH_DOUBTFUL);
    assert_true(health_failed(slot, now + 1, true));
    assert_int_equal(health_state(slot), HEALTH_DOWN);
}

/* What checks say holds. */
static void test_a_connection_does_not_end_what_checks_say(void **state)
{
    struct health_slot *slot = slot_of(state);

    assert_true(health_checked(slot, false, 1, 1));
    (void)health_failed(slot, NOW, true);
    assert_false(health_reached(slot));
    assert_int_equal(health_state(slot), HEALTH_DOWN);
}

static void test_checks(void **state)
{
    struct health_slot *slot = slot_of(state);

    assert_false(health_checked(slot, false, 2, 3));
    assert_false(health_checked(slot, false, 2, 3));
    assert_false(health_checked(slot, true, 2, 3));
    assert_false(health_checked(slot, false, 2, 3));
    assert_false(health_checked(slot, false, 2, 3));
    assert_true(health_checked(slot, false, 2, 3));
    assert_int_equal(health_ask(slot, NOW + 1000000, HOLD), HEALTH_DOWN);
    assert_false(health_worked(slot));
    assert_false(health_checked(slot, true, 2, 3));
    assert_int_equal(health_state(slot), HEALTH_DOWN);
    assert_true(health_checked(slot, true, 2, 3));
    assert_int_equal(health_ask(slot, NOW, HOLD), HEALTH_UP);
    assert_int_equal(atomic_load(&slot->checks), 8);
    assert_int_equal(atomic_load(&slot->check_failures), 5);
}

static void test_checks_end_what_traffic_found(void **state)
{
    struct health_slot *slot = slot_of(state);

    assert_true(health_failed(slot, NOW, true));
    assert_false(health_checked(slot, true, 2, 3));
    assert_true(health_checked(slot, true, 2, 3));
    assert_int_equal(health_ask(slot, NOW, HOLD), HEALTH_UP);
}

#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(test_names_are_told_apart),
        FRESH(test_a_full_table_knows_no_more),
        FRESH(test_who_goes_is_forgotten_and_who_stays_is_not),
        FRESH(test_one_tries_again_when_the_time_is_over),
        FRESH(test_who_does_not_try_lets_others),
        FRESH(test_it_is_tried_less_and_less_often),
        FRESH(test_requests_that_fail_together_are_one_failure),
        FRESH(test_a_connection_ends_down),
        FRESH(test_a_connection_does_not_end_what_checks_say),
        FRESH(test_checks),
        FRESH(test_checks_end_what_traffic_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
