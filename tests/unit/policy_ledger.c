/* SPDX-License-Identifier: ISC */
/*
 * The ledger: every event in every state, once. What the table says is the security rule itself, so it is written out in full and
 * not computed.
 */
#include "policy/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STATES (LEDGER_CONDEMNED + 1)

/* All states that a connection can be in, by the way that leads there. */
static struct ledger in_state(enum ledger_state state)
{
    struct ledger l;

    ledger_init(&l);
    if (state == LEDGER_TUNNEL)
        ledger_open_tunnel(&l);
    if (state == LEDGER_CONDEMNED)
        ledger_condemn(&l);
    if (state == LEDGER_IDLE || state == LEDGER_TUNNEL || state == LEDGER_CONDEMNED)
        return l;
    ledger_open(&l, state == LEDGER_UPGRADED, 2);
    if (state == LEDGER_ANSWERING || state == LEDGER_ANSWERED)
        assert_int_equal(ledger_answer(&l, 200), R_NONE);
    if (state == LEDGER_ANSWERED)
        ledger_answer_end(&l);
    if (state == LEDGER_UPGRADED) {
        assert_int_equal(ledger_answer(&l, 101), R_NONE);
        ledger_upgrade(&l);
    }
    assert_int_equal(l.state, state);
    return l;
}

static void test_ways(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < STATES; i++)
        assert_int_equal(in_state((enum ledger_state)i).state, i);
}

static void test_bytes(void **unused)
{
    static const struct {
        enum ledger_state before;
        enum reason why;
        enum ledger_state after;
    } rows[STATES] = {
        { LEDGER_IDLE, R_UNSOLICITED_BYTES, LEDGER_CONDEMNED },
        { LEDGER_ASKED, R_NONE, LEDGER_ASKED },
        { LEDGER_ANSWERING, R_NONE, LEDGER_ANSWERING },
        { LEDGER_ANSWERED, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
        { LEDGER_UPGRADED, R_NONE, LEDGER_UPGRADED },
        { LEDGER_TUNNEL, R_NONE, LEDGER_TUNNEL },
        { LEDGER_CONDEMNED, R_UNSOLICITED_BYTES, LEDGER_CONDEMNED },
    };

    (void)unused;
    for (unsigned i = 0; i < STATES; i++) {
        struct ledger l = in_state(rows[i].before);

        assert_int_equal(ledger_bytes(&l), rows[i].why);
        assert_int_equal(l.state, rows[i].after);
        if (rows[i].why != R_NONE)
            assert_int_equal(ledger_bytes(&l), R_UNSOLICITED_BYTES); /* and for ever */
    }
}

static void test_answer(void **unused)
{
    static const struct {
        enum ledger_state before;
        unsigned status;
        enum reason why;
        enum ledger_state after;
    } rows[] = {
        { LEDGER_IDLE, 200, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
        { LEDGER_IDLE, 100, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
        { LEDGER_IDLE, 101, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
        { LEDGER_ASKED, 100, R_NONE, LEDGER_ASKED },
        { LEDGER_ASKED, 102, R_NONE, LEDGER_ASKED },
        { LEDGER_ASKED, 199, R_NONE, LEDGER_ASKED },
        { LEDGER_ASKED, 200, R_NONE, LEDGER_ANSWERING },
        { LEDGER_ASKED, 304, R_NONE, LEDGER_ANSWERING },
        { LEDGER_ASKED, 599, R_NONE, LEDGER_ANSWERING },
        { LEDGER_ASKED, 101, R_UPGRADE_UNASKED, LEDGER_CONDEMNED },
        { LEDGER_ANSWERING, 200, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
        { LEDGER_ANSWERING, 100, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
        { LEDGER_ANSWERED, 200, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
        { LEDGER_UPGRADED, 200, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
        { LEDGER_UPGRADED, 101, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
        { LEDGER_TUNNEL, 200, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
        { LEDGER_CONDEMNED, 200, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
        { LEDGER_CONDEMNED, 101, R_SURPLUS_ANSWER, LEDGER_CONDEMNED },
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ledger l = in_state(rows[i].before);

        if (ledger_answer(&l, rows[i].status) != rows[i].why || l.state != rows[i].after)
            fail_msg("row %zu: state %d", i, (int)l.state);
    }
}

static void test_interim_limit(void **unused)
{
    struct ledger l;

    (void)unused;
    ledger_init(&l);
    ledger_open(&l, false, 2);
    assert_int_equal(ledger_answer(&l, 100), R_NONE);
    assert_int_equal(ledger_answer(&l, 103), R_NONE);
    assert_int_equal(ledger_answer(&l, 103), R_INTERIM_LIMIT);
    assert_int_equal(l.state, LEDGER_CONDEMNED);

    ledger_init(&l);
    ledger_open(&l, false, 0);
    assert_int_equal(ledger_answer(&l, 100), R_INTERIM_LIMIT);

    /* At the limit the final answer still comes, and the next exchange counts anew. */
    ledger_init(&l);
    ledger_open(&l, false, 1);
    assert_int_equal(ledger_answer(&l, 100), R_NONE);
    assert_int_equal(ledger_answer(&l, 200), R_NONE);
    ledger_request_end(&l);
    ledger_answer_end(&l);
    ledger_open(&l, false, 1);
    assert_int_equal(ledger_answer(&l, 100), R_NONE);
    assert_int_equal(ledger_answer(&l, 100), R_INTERIM_LIMIT);
}

static void test_causality(void **unused)
{
    static const struct {
        bool acknowledged;
        enum reason why;
    } rows[] = { { false, R_ANSWER_BEFORE_REQUEST }, { true, R_NONE } };

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ledger l = in_state(LEDGER_ASKED);

        assert_true(ledger_wants_position(&l));
        assert_int_equal(ledger_causality(&l, rows[i].acknowledged), rows[i].why);
        assert_false(ledger_wants_position(&l)); /* the first bytes only */
        assert_int_equal(l.state, rows[i].why == R_NONE ? LEDGER_ASKED : LEDGER_CONDEMNED);
    }
}

static void test_position_is_wanted_once_an_exchange(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < STATES; i++) {
        struct ledger l = in_state((enum ledger_state)i);

        assert_int_equal(ledger_wants_position(&l), i == LEDGER_ASKED);
    }
    struct ledger l = in_state(LEDGER_ASKED);

    assert_int_equal(ledger_causality(&l, true), R_NONE);
    assert_int_equal(ledger_answer(&l, 200), R_NONE);
    ledger_request_end(&l);
    ledger_answer_end(&l);
    ledger_open(&l, false, 0);
    assert_true(ledger_wants_position(&l));
    assert_int_equal(ledger_causality(&l, false), R_ANSWER_BEFORE_REQUEST); /* whatever the first one was */
}

/* The two ends of an exchange come in either order; only both of them settle it. */
static void test_ends(void **unused)
{
    struct ledger l = in_state(LEDGER_ASKED);

    (void)unused;
    ledger_request_end(&l);
    assert_int_equal(l.state, LEDGER_ASKED);
    assert_int_equal(ledger_answer(&l, 200), R_NONE);
    ledger_answer_end(&l);
    assert_int_equal(l.state, LEDGER_IDLE);

    l = in_state(LEDGER_ANSWERING);
    ledger_request_end(&l);
    assert_int_equal(l.state, LEDGER_ANSWERING);
    ledger_answer_end(&l);
    assert_int_equal(l.state, LEDGER_IDLE);

    l = in_state(LEDGER_ANSWERED);
    assert_false(ledger_is_settled(&l));
    ledger_request_end(&l);
    assert_int_equal(l.state, LEDGER_IDLE);
    assert_true(ledger_is_settled(&l));
}

static void test_request_end_of_the_last_exchange_is_forgotten(void **unused)
{
    struct ledger l = in_state(LEDGER_ANSWERING);

    (void)unused;
    ledger_request_end(&l);
    ledger_answer_end(&l);
    ledger_open(&l, true, 0);
    assert_int_equal(ledger_answer(&l, 200), R_NONE); /* an upgrade may be refused */
    ledger_answer_end(&l);
    assert_int_equal(l.state, LEDGER_ANSWERED);
}

static void test_upgrade_asked_is_of_one_exchange(void **unused)
{
    struct ledger l;

    (void)unused;
    ledger_init(&l);
    ledger_open(&l, true, 0);
    assert_int_equal(ledger_answer(&l, 426), R_NONE);
    ledger_request_end(&l);
    ledger_answer_end(&l);
    ledger_open(&l, false, 0);
    assert_int_equal(ledger_answer(&l, 101), R_UPGRADE_UNASKED);
}

static void test_settled(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < STATES; i++) {
        struct ledger l = in_state((enum ledger_state)i);

        assert_int_equal(ledger_is_settled(&l), i == LEDGER_IDLE);
    }
}

/* Nothing that the server or the rest of an exchange does leads out of CONDEMNED. */
static void test_condemned_is_for_ever(void **unused)
{
    struct ledger l = in_state(LEDGER_ASKED);

    (void)unused;
    ledger_condemn(&l);
    ledger_request_end(&l);
    assert_int_equal(l.state, LEDGER_CONDEMNED);
    ledger_answer_end(&l);
    assert_int_equal(l.state, LEDGER_CONDEMNED);
    ledger_upgrade(&l);
    assert_int_equal(l.state, LEDGER_CONDEMNED);
    assert_int_equal(ledger_causality(&l, true), R_ANSWER_BEFORE_REQUEST);
    assert_int_equal(ledger_bytes(&l), R_UNSOLICITED_BYTES);
    assert_false(ledger_is_settled(&l));
}

/* Steps of ours that their state does not allow open nothing. */
static void test_steps_out_of_order(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < STATES; i++) {
        struct ledger l = in_state((enum ledger_state)i);

        ledger_open(&l, true, 2);
        assert_int_equal(l.state, i == LEDGER_IDLE ? LEDGER_ASKED : LEDGER_CONDEMNED);
        l = in_state((enum ledger_state)i);
        ledger_open_tunnel(&l);
        assert_int_equal(l.state, i == LEDGER_IDLE ? LEDGER_TUNNEL : LEDGER_CONDEMNED);
        l = in_state((enum ledger_state)i);
        ledger_answer_end(&l);
        assert_int_equal(l.state, i == LEDGER_ANSWERING ? LEDGER_ANSWERED : LEDGER_CONDEMNED);
        l = in_state((enum ledger_state)i);
        ledger_upgrade(&l); /* also from ASKED: no upgrade was asked for */
        assert_int_equal(l.state, LEDGER_CONDEMNED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_interim_limit),
        cmocka_unit_test(test_causality),
        cmocka_unit_test(test_position_is_wanted_once_an_exchange),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_request_end_of_the_last_exchange_is_forgotten),
        cmocka_unit_test(test_upgrade_asked_is_of_one_exchange),
        cmocka_unit_test(test_settled),
        cmocka_unit_test(test_condemned_is_for_ever),
        cmocka_unit_test(test_steps_out_of_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
