/* SPDX-License-Identifier: ISC */
/*
 * Contracts of a WebSocket as scripts on a given clock: each line is a moment, what happens, and what must be said of it. Every
 * bound is met at it and one past it.
 */
#include "policy/ws_contract.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#define HOUR 3600000ull
#define DAY (24 * HOUR)

enum event { MESSAGE, PAYLOAD, CONTROL };

struct step {
    uint64_t at;
    enum direction from;
    enum event event;
    uint64_t amount; /* bytes of PAYLOAD; else how often */
    enum reason want;
};

static const struct conf_websocket free_of_rules = { .sides = { { .send = true, .burst = 1000 }, { .send = true, .burst = 1000 } },
                                                     .server_first = true };

static struct ws_control controls[DIRECTIONS];

static void begin(struct ws_contract *c, const struct conf_websocket *conf, uint64_t now)
{
    memset(controls, 0, sizeof(controls));
    ws_contract_init(c, conf, now);
}

/* What the client may say passes at once. */
static enum reason ask(struct ws_contract *c, const struct step *s)
{
    enum reason why;

    if (s->event == CONTROL)
        return ws_control_take(&controls[s->from], c->conf->sides[s->from].control_frames, s->at);
    why = s->event == MESSAGE ? ws_contract_message(c, s->from, s->at) : ws_contract_payload(c, s->from, s->amount, s->at);
    if (why == R_NONE && s->from == UP)
        ws_contract_said(c, s->event == MESSAGE, s->event == PAYLOAD ? s->amount : 0, s->at);
    return why;
}

static void follow(struct ws_contract *c, const struct step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t times = steps[i].event == PAYLOAD ? 1 : steps[i].amount;

        for (uint64_t k = 0; k < times; k++) {
            enum reason why = ask(c, &steps[i]);

            if (why != steps[i].want)
                print_error("step %zu, time %llu: %s\n", i, (unsigned long long)k, reason_name(why));
            assert_int_equal(why, steps[i].want);
        }
    }
}

/* Begins at time 0. */
#define FOLLOW(conf, steps)                                                                                                        \
    do {                                                                                                                           \
        struct ws_contract c_;                                                                                                     \
        begin(&c_, &(conf), 0);                                                                                                    \
        follow(&c_, steps, sizeof(steps) / sizeof((steps)[0]));                                                                    \
    } while (0)

static void without_rules_everything_passes(void **state)
{
    static const struct step steps[] = {
        { 0, DOWN, MESSAGE, 10000, R_NONE },       { 0, DOWN, PAYLOAD, UINT64_MAX, R_NONE },
        { 0, DOWN, PAYLOAD, UINT64_MAX, R_NONE },  { 0, UP, MESSAGE, 10000, R_NONE },
        { 0, UP, PAYLOAD, 1ull << 63, R_NONE },    { 0, UP, PAYLOAD, 1ull << 63, R_NONE },
        { 0, DOWN, CONTROL, 10000, R_NONE },       { 0, UP, CONTROL, 10000, R_NONE },
        { 1000 * DAY, DOWN, MESSAGE, 10, R_NONE }, { 1000 * DAY, DOWN, PAYLOAD, 1, R_NONE },
    };

    (void)state;
    FOLLOW(free_of_rules, steps);
}

static void who_may_not_send(void **state)
{
    static const struct step steps[] = {
        { 0, UP, MESSAGE, 2, R_SEND_DENIED },
        { 0, DOWN, MESSAGE, 2, R_NONE },
        { 0, UP, CONTROL, 2, R_NONE },
        { DAY, UP, MESSAGE, 1, R_SEND_DENIED },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.sides[UP].send = false;
    FOLLOW(conf, steps);
}

static void messages_have_a_rate(void **state)
{
    static const struct step steps[] = {
        { 0, UP, MESSAGE, 3, R_NONE },          /* the burst */
        { 0, UP, MESSAGE, 1, R_RATE_EXCEEDED }, /* and one more */
        { 0, DOWN, MESSAGE, 9, R_NONE },        /* the other side has none */
        { 333, UP, MESSAGE, 1, R_RATE_EXCEEDED },
        { 334, UP, MESSAGE, 1, R_NONE }, /* 999 and 1002 thousandths */
        { 666, UP, MESSAGE, 1, R_RATE_EXCEEDED },
        { 667, UP, MESSAGE, 1, R_NONE }, /* 2 were left over */
        { 1000, UP, MESSAGE, 1, R_NONE },
        { 1000, UP, MESSAGE, 1, R_RATE_EXCEEDED },
        { 1000 * DAY, UP, MESSAGE, 3, R_NONE },
        { 1000 * DAY, UP, MESSAGE, 1, R_RATE_EXCEEDED }, /* no more than a burst */
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.sides[UP].messages_per_second = 3;
    FOLLOW(conf, steps);
}

static void bytes_have_a_rate(void **state)
{
    static const struct step steps[] = {
        { 0, DOWN, PAYLOAD, 2001, R_RATE_EXCEEDED }, /* more than the bucket ever holds; costs nothing */
        { 0, DOWN, PAYLOAD, 1500, R_NONE },
        { 0, DOWN, PAYLOAD, 501, R_RATE_EXCEEDED },
        { 0, DOWN, PAYLOAD, 500, R_NONE },
        { 0, DOWN, PAYLOAD, 0, R_NONE },
        { 0, DOWN, PAYLOAD, 1, R_RATE_EXCEEDED },
        { 0, UP, PAYLOAD, 1 << 20, R_NONE },
        { 1, DOWN, PAYLOAD, 1, R_NONE },
        { 1, DOWN, PAYLOAD, 1, R_RATE_EXCEEDED },
        { 2001, DOWN, PAYLOAD, 2000, R_NONE },
        { 2001, DOWN, PAYLOAD, 1, R_RATE_EXCEEDED },
        { DAY, DOWN, PAYLOAD, 2001, R_RATE_EXCEEDED },
        { DAY, DOWN, PAYLOAD, 2000, R_NONE },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.sides[DOWN].bytes_per_second = 1000;
    conf.sides[DOWN].burst = 2000;
    FOLLOW(conf, steps);
}

/* A burst shorter than one token takes still one. */
static void there_is_room_for_one(void **state)
{
    static const struct step steps[] = {
        { 0, UP, MESSAGE, 1, R_NONE },
        { 0, UP, MESSAGE, 1, R_RATE_EXCEEDED },
        { 999, UP, MESSAGE, 1, R_RATE_EXCEEDED },
        { 1000, UP, MESSAGE, 1, R_NONE },
        { DAY, UP, MESSAGE, 1, R_NONE },
        { DAY, UP, MESSAGE, 1, R_RATE_EXCEEDED },
        { DAY + 1, UP, PAYLOAD, 1, R_NONE },
        { DAY + 1, UP, PAYLOAD, 1, R_RATE_EXCEEDED },
        { DAY + 1000, UP, PAYLOAD, 1, R_RATE_EXCEEDED },
        { DAY + 1001, UP, PAYLOAD, 1, R_NONE },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.sides[UP].messages_per_second = conf.sides[UP].bytes_per_second = 1;
    conf.sides[UP].burst = 1;
    FOLLOW(conf, steps);
}

/* Numbers at the ends of their range neither wrap to nothing nor to everything. */
static void nothing_overflows(void **state)
{
    static const struct step steps[] = {
        { 0, UP, MESSAGE, 1000, R_NONE },
        { 0, UP, PAYLOAD, UINT64_MAX, R_RATE_EXCEEDED }, /* no bucket holds that */
        { 0, UP, PAYLOAD, 1ull << 63, R_RATE_EXCEEDED },
        { 0, UP, PAYLOAD, UINT64_MAX / 1000 + 1, R_RATE_EXCEEDED },
        { 0, UP, PAYLOAD, UINT64_MAX / 1000, R_NONE }, /* this is all of one */
        { 0, UP, PAYLOAD, 1, R_RATE_EXCEEDED },
        { 1, UP, PAYLOAD, 1ull << 53, R_NONE },
        { 1000 * DAY, UP, PAYLOAD, UINT64_MAX / 1000, R_NONE },
        { 1000 * DAY, UP, PAYLOAD, 1, R_RATE_EXCEEDED },
        { UINT64_MAX, UP, PAYLOAD, UINT64_MAX / 1000, R_NONE },
        { UINT64_MAX, UP, MESSAGE, 1000, R_NONE },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.sides[UP].messages_per_second = UINT32_MAX;
    conf.sides[UP].bytes_per_second = 1ull << 63;
    conf.sides[UP].burst = DAY;
    FOLLOW(conf, steps);
}

/* A rate that does not divide a millisecond is met over days: the last message that fits does, the next does not. */
static void nothing_is_lost_to_rounding(void **state)
{
    struct conf_websocket conf = free_of_rules;
    struct ws_contract c;
    uint64_t passed = 0;

    (void)state;
    conf.sides[UP].messages_per_second = 7;
    begin(&c, &conf, 0);
    for (uint64_t now = 0; now <= HOUR; now += 13)
        passed += ws_contract_message(&c, UP, now) == R_NONE;
    assert_in_range(passed, 7 * 3600, 7 * 3600 + 7);
}

static void the_client_speaks_first(void **state)
{
    static const struct step steps[] = {
        { 0, DOWN, MESSAGE, 1, R_PUSH_CONTRACT }, { 0, UP, CONTROL, 1, R_NONE },     { DAY, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
        { DAY, UP, MESSAGE, 1, R_NONE },          { DAY, DOWN, MESSAGE, 9, R_NONE }, { 2 * DAY, DOWN, MESSAGE, 1, R_NONE },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.server_first = false;
    FOLLOW(conf, steps);
}

/* What was refused did not happen: the server may not answer it. */
static void a_refused_message_is_none(void **state)
{
    static const struct step steps[] = {
        { 0, UP, MESSAGE, 1, R_SEND_DENIED },
        { 0, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
    };
    static const struct step rate[] = {
        { 0, UP, MESSAGE, 1, R_NONE },          { 0, DOWN, MESSAGE, 1, R_NONE },
        { 0, UP, MESSAGE, 1, R_RATE_EXCEEDED }, { 0, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
        { 1000, UP, MESSAGE, 1, R_NONE },       { 1000, DOWN, MESSAGE, 1, R_NONE },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.server_first = conf.sides[UP].send = false;
    FOLLOW(conf, steps);
    conf.sides[UP].send = true;
    conf.sides[UP].messages_per_second = conf.messages_per_client_message = 1;
    FOLLOW(conf, rate);
}

/* A message that the push contract refuses takes nothing from the bucket, and one that the bucket refuses is no push. */
static void bounds_do_not_charge_each_other(void **state)
{
    static const struct step steps[] = {
        { 0, DOWN, MESSAGE, 2, R_NONE },
        { 0, DOWN, MESSAGE, 5, R_PUSH_CONTRACT },
        { 0, UP, MESSAGE, 1, R_NONE },
        { 0, DOWN, MESSAGE, 1, R_NONE },
        { 0, DOWN, MESSAGE, 5, R_RATE_EXCEEDED },
        { 1000, DOWN, MESSAGE, 1, R_NONE },
        { 1000, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.sides[DOWN].messages_per_second = 3;
    conf.messages_per_client_message = 2;
    FOLLOW(conf, steps);
}

static void messages_for_a_message(void **state)
{
    static const struct step steps[] = {
        { 0, DOWN, MESSAGE, 3, R_NONE }, /* the opening counts as a message of the client */
        { 0, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
        { 5, UP, MESSAGE, 1, R_NONE },
        { 5, DOWN, MESSAGE, 3, R_NONE },
        { 5, DOWN, MESSAGE, 2, R_PUSH_CONTRACT },
        { DAY, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
        { DAY, UP, MESSAGE, 2, R_NONE }, /* two messages allow no more than one */
        { DAY, DOWN, MESSAGE, 3, R_NONE },
        { DAY, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.messages_per_client_message = 3;
    FOLLOW(conf, steps);
}

/* It was admitted, and waits: the server has no right to answer it yet, and what it says meanwhile answers the one before. */
static void what_waits_was_not_said(void **state)
{
    struct conf_websocket conf = free_of_rules;
    struct ws_contract c;

    (void)state;
    conf.server_first = false;
    conf.messages_per_client_message = 2;
    conf.bytes_per_client_byte = 1;
    conf.quiet_after = 500;
    ws_contract_init(&c, &conf, 0);
    assert_int_equal(ws_contract_message(&c, UP, 0), R_NONE);
    assert_int_equal(ws_contract_payload(&c, UP, 5, 0), R_NONE);
    assert_int_equal(ws_contract_message(&c, DOWN, 0), R_PUSH_CONTRACT);
    ws_contract_said(&c, true, 5, 400);
    assert_int_equal(ws_contract_message(&c, DOWN, 900), R_NONE);
    assert_int_equal(ws_contract_payload(&c, DOWN, 6, 900), R_PUSH_CONTRACT);
    assert_int_equal(ws_contract_payload(&c, DOWN, 5, 900), R_NONE);
    assert_int_equal(ws_contract_message(&c, UP, 900), R_NONE);
    assert_int_equal(ws_contract_payload(&c, DOWN, 1, 900), R_PUSH_CONTRACT);
    assert_int_equal(ws_contract_message(&c, DOWN, 901), R_PUSH_CONTRACT);
}

static void bytes_for_a_byte(void **state)
{
    static const struct step steps[] = {
        { 0, DOWN, PAYLOAD, 11, R_PUSH_CONTRACT },
        { 0, DOWN, PAYLOAD, 10, R_NONE }, /* as after an empty message */
        { 0, DOWN, PAYLOAD, 0, R_NONE },
        { 0, DOWN, PAYLOAD, 1, R_PUSH_CONTRACT },
        { 1, UP, MESSAGE, 1, R_NONE },
        { 1, UP, PAYLOAD, 3, R_NONE },
        { 1, UP, PAYLOAD, 4, R_NONE },
        { 1, DOWN, PAYLOAD, 71, R_PUSH_CONTRACT },
        { 1, DOWN, PAYLOAD, 69, R_NONE },
        { 1, DOWN, PAYLOAD, 2, R_PUSH_CONTRACT },
        { 1, DOWN, PAYLOAD, 1, R_NONE },
        { DAY, DOWN, PAYLOAD, 1, R_PUSH_CONTRACT },
        { DAY, UP, PAYLOAD, 1, R_NONE },
        { DAY, DOWN, PAYLOAD, 10, R_NONE }, /* a fragment more */
        { DAY, DOWN, PAYLOAD, 1, R_PUSH_CONTRACT },
        { DAY, UP, MESSAGE, 1, R_NONE },
        { DAY, UP, PAYLOAD, 0, R_NONE },
        { DAY, DOWN, PAYLOAD, 11, R_PUSH_CONTRACT },
        { DAY, DOWN, PAYLOAD, 10, R_NONE },
        { DAY, DOWN, PAYLOAD, 1, R_PUSH_CONTRACT },
    };
    static const struct step large[] = {
        { 0, UP, MESSAGE, 1, R_NONE },
        { 0, UP, PAYLOAD, 1ull << 62, R_NONE },
        { 0, DOWN, PAYLOAD, UINT64_MAX, R_NONE }, /* the product has no end, and that is what there is */
        { 0, DOWN, PAYLOAD, 1, R_PUSH_CONTRACT },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.bytes_per_client_byte = 10;
    FOLLOW(conf, steps);
    conf.bytes_per_client_byte = UINT32_MAX;
    FOLLOW(conf, large);
}

static void quiet_windows(void **state)
{
    static const struct step steps[] = {
        { 500, DOWN, MESSAGE, 1, R_NONE }, /* from the opening on */
        { 500, DOWN, PAYLOAD, 1, R_NONE },
        { 501, DOWN, PAYLOAD, 1, R_PUSH_CONTRACT }, /* of a message that began in time */
        { 501, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
        { 501, UP, CONTROL, 1, R_NONE },
        { 501, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
        { 501, DOWN, CONTROL, 1, R_NONE },
        { 1000, UP, MESSAGE, 1, R_NONE },
        { 1500, DOWN, MESSAGE, 1, R_NONE },
        { 1500, UP, PAYLOAD, 1, R_NONE }, /* the client still speaks */
        { 2000, DOWN, MESSAGE, 1, R_NONE },
        { 2000, DOWN, PAYLOAD, 1, R_NONE },
        { 2001, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
        { 1000 * DAY, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
        { 1000 * DAY, UP, MESSAGE, 1, R_NONE },
        { 1000 * DAY + 500, DOWN, MESSAGE, 1, R_NONE },
        { 1000 * DAY + 501, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.quiet_after = 500;
    FOLLOW(conf, steps);
}

static void control_frames_in_ten_seconds(void **state)
{
    static const struct step steps[] = {
        { 0, UP, CONTROL, 4, R_NONE },
        { 0, UP, CONTROL, 1, R_CONTROL_FLOOD },
        { 0, DOWN, CONTROL, 4, R_NONE },
        { 9999, UP, CONTROL, 1, R_CONTROL_FLOOD },
        { 10000, UP, CONTROL, 4, R_NONE },
        { 10000, UP, CONTROL, 1, R_CONTROL_FLOOD },
        { 19999, UP, CONTROL, 1, R_CONTROL_FLOOD },
        { DAY, UP, CONTROL, 4, R_NONE },
        { DAY, UP, CONTROL, 1, R_CONTROL_FLOOD },
        { DAY, DOWN, CONTROL, 4, R_NONE },
        { DAY, DOWN, CONTROL, 1, R_CONTROL_FLOOD },
        { DAY, UP, MESSAGE, 1, R_NONE },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.sides[UP].control_frames = conf.sides[DOWN].control_frames = 4;
    FOLLOW(conf, steps);
}

/* A limit holds for every ten seconds, wherever they begin. */
static void control_frames_around_an_edge(void **state)
{
    static const struct step steps[] = {
        { 9990, UP, CONTROL, 4, R_NONE },           { 10001, UP, CONTROL, 1, R_CONTROL_FLOOD },
        { 19989, UP, CONTROL, 1, R_CONTROL_FLOOD }, { 19990, UP, CONTROL, 1, R_NONE }, /* those that came at once go at once */
        { 24000, UP, CONTROL, 2, R_NONE },          { 29989, UP, CONTROL, 1, R_NONE },
        { 29989, UP, CONTROL, 1, R_CONTROL_FLOOD }, { 29990, UP, CONTROL, 1, R_NONE },
    };
    struct conf_websocket conf = free_of_rules;

    (void)state;
    conf.sides[UP].control_frames = 4;
    FOLLOW(conf, steps);
}

static unsigned within(const uint64_t *times, size_t count, uint64_t from, uint64_t span)
{
    unsigned n = 0;

    for (size_t i = 0; i < count; i++)
        n += times[i] >= from && times[i] - from < span;
    return n;
}

/*
 * A frame is let go or not, at times that are drawn: no ten seconds hold more than the limit, and one is refused only if the last
 * 10.5 s hold it.
 */
static void no_ten_seconds_hold_more(void **state)
{
    enum { FRAMES = 20000, LIMIT = 37 };
    static uint64_t times[FRAMES];
    struct ws_control control = { 0 };
    uint32_t random = 1;
    uint64_t now = DAY;
    size_t count = 0;

    (void)state;
    for (unsigned i = 0; i < FRAMES; i++) {
        random = random * 1664525 + 1013904223;
        now += (random >> 8) % ((random >> 28) == 0 ? 9000 : 250);
        if (ws_control_take(&control, LIMIT, now) == R_NONE)
            times[count++] = now;
        else
            assert_true(within(times, count, now - 10499, 10500) >= LIMIT);
    }
    assert_true(count > FRAMES / 4 && count < FRAMES);
    for (size_t i = 0; i < count; i++)
        assert_true(within(times, count, times[i], 10000) <= LIMIT);
}

static void a_new_policy_counts_on(void **state)
{
    struct conf_websocket before = free_of_rules, after;
    struct ws_contract c;

    (void)state;
    before.sides[UP].messages_per_second = 10;
    before.messages_per_client_message = 5;
    before.sides[DOWN].control_frames = 5;
    after = before;
    after.sides[UP].messages_per_second = 4;
    after.messages_per_client_message = 2;
    after.sides[DOWN].control_frames = 2;
    after.sides[DOWN].bytes_per_second = 100;
    begin(&c, &before, 0);
    follow(&c, (struct step[]){ { 0, UP, MESSAGE, 1, R_NONE }, { 0, DOWN, MESSAGE, 2, R_NONE }, { 0, DOWN, CONTROL, 2, R_NONE } },
           3);
    ws_contract_renew(&c, &after, 0);
    follow(&c,
           (struct step[]){ { 0, DOWN, MESSAGE, 1, R_PUSH_CONTRACT }, /* counted before */
                            { 0, DOWN, CONTROL, 1, R_CONTROL_FLOOD },
                            { 0, UP, MESSAGE, 4, R_NONE }, /* 9 were left, 4 are a burst now */
                            { 0, UP, MESSAGE, 1, R_RATE_EXCEEDED },
                            { 0, DOWN, PAYLOAD, 101, R_RATE_EXCEEDED }, /* a new rate begins full */
                            { 0, DOWN, PAYLOAD, 100, R_NONE },
                            { 0, DOWN, PAYLOAD, 1, R_RATE_EXCEEDED } },
           7);
    ws_contract_renew(&c, &before, 0);
    follow(&c,
           (struct step[]){ { 0, UP, MESSAGE, 1, R_RATE_EXCEEDED }, /* more room is no more tokens */
                            { 100, UP, MESSAGE, 1, R_NONE },
                            { 100, DOWN, PAYLOAD, 1000, R_NONE }, /* the rate is gone */
                            { DAY, UP, MESSAGE, 10, R_NONE },
                            { DAY, UP, MESSAGE, 1, R_RATE_EXCEEDED } },
           5);
}

/* No time after a renewal gives more than the new policy has room for, and a client that spoke has spoken. */
static void a_new_policy_after_days(void **state)
{
    struct conf_websocket first = free_of_rules, second = free_of_rules;
    struct ws_contract c;

    (void)state;
    second.server_first = false;
    second.sides[UP].messages_per_second = 1;
    second.bytes_per_client_byte = 1;
    begin(&c, &first, 5);
    follow(&c, (struct step[]){ { 5, UP, MESSAGE, 1, R_NONE }, { 5, UP, PAYLOAD, 9, R_NONE }, { 5, DOWN, PAYLOAD, 10, R_NONE } },
           3);
    ws_contract_renew(&c, &second, 30 * DAY);
    follow(&c,
           (struct step[]){ { 30 * DAY, DOWN, MESSAGE, 1, R_NONE },
                            { 30 * DAY, DOWN, PAYLOAD, 0, R_PUSH_CONTRACT }, /* 10 of 9 were sent */
                            { 30 * DAY, UP, MESSAGE, 1, R_NONE },
                            { 30 * DAY, UP, MESSAGE, 1, R_RATE_EXCEEDED },
                            { 30 * DAY, DOWN, PAYLOAD, 1, R_NONE } },
           5);
}

/* What one policy had no room for does not come back with the next. */
static void a_small_policy_in_between(void **state)
{
    struct conf_websocket large = free_of_rules, small;
    struct ws_contract c;

    (void)state;
    large.sides[UP].messages_per_second = large.sides[UP].bytes_per_second = 100;
    small = large;
    small.sides[UP].messages_per_second = small.sides[UP].bytes_per_second = 10;
    begin(&c, &large, DAY);
    ws_contract_renew(&c, &small, DAY);
    ws_contract_renew(&c, &large, DAY);
    follow(&c,
           (struct step[]){ { DAY, UP, PAYLOAD, 11, R_RATE_EXCEEDED },
                            { DAY, UP, PAYLOAD, 10, R_NONE },
                            { DAY, UP, MESSAGE, 10, R_NONE },
                            { DAY, UP, MESSAGE, 1, R_RATE_EXCEEDED } },
           4);
}

/* The quiet window counts from the opening and not from the beginning of time, the ten seconds from the frames. */
static void windows_begin_with_the_stream(void **state)
{
    struct conf_websocket conf = free_of_rules;
    struct ws_contract c;

    (void)state;
    conf.quiet_after = 500;
    conf.sides[UP].control_frames = 1;
    begin(&c, &conf, DAY + 5000);
    follow(&c,
           (struct step[]){ { DAY + 5500, DOWN, MESSAGE, 1, R_NONE },
                            { DAY + 5501, DOWN, MESSAGE, 1, R_PUSH_CONTRACT },
                            { DAY + 14999, UP, CONTROL, 1, R_NONE },
                            { DAY + 14999, UP, CONTROL, 1, R_CONTROL_FLOOD },
                            { DAY + 24998, UP, CONTROL, 1, R_CONTROL_FLOOD },
                            { DAY + 24999, UP, CONTROL, 1, R_NONE } },
           5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_rules_everything_passes),
        cmocka_unit_test(who_may_not_send),
        cmocka_unit_test(messages_have_a_rate),
        cmocka_unit_test(bytes_have_a_rate),
        cmocka_unit_test(there_is_room_for_one),
        cmocka_unit_test(nothing_overflows),
        cmocka_unit_test(nothing_is_lost_to_rounding),
        cmocka_unit_test(the_client_speaks_first),
        cmocka_unit_test(a_refused_message_is_none),
        cmocka_unit_test(bounds_do_not_charge_each_other),
        cmocka_unit_test(messages_for_a_message),
        cmocka_unit_test(what_waits_was_not_said),
        cmocka_unit_test(bytes_for_a_byte),
        cmocka_unit_test(quiet_windows),
        cmocka_unit_test(control_frames_in_ten_seconds),
        cmocka_unit_test(control_frames_around_an_edge),
        cmocka_unit_test(no_ten_seconds_hold_more),
        cmocka_unit_test(a_new_policy_counts_on),
        cmocka_unit_test(a_new_policy_after_days),
        cmocka_unit_test(a_small_policy_in_between),
        cmocka_unit_test(windows_begin_with_the_stream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
