/* SPDX-License-Identifier: ISC */
/* The wheel against a clock that moves as the loop's does: a tick at most at a time, unless a test lets it jump. */
#include "net/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define TICK 50u
#define TURN (1024u * TICK) /* of the wheel */

struct fixture {
    struct wheel *wheel;
    uint64_t now;
};

struct probe {
    struct timer timer;
    struct fixture *fixture;
    unsigned fired;
    uint64_t at; /* when it fired last */
    struct probe *clears, *sets;
    uint64_t set_to;
};

static void on_probe(void *arg)
{
    struct probe *p = arg;

    p->fired++;
    p->at = p->fixture->now;
    if (p->clears != NULL)
        timer_clear(p->fixture->wheel, &p->clears->timer);
    if (p->sets != NULL)
        timer_set(p->fixture->wheel, &p->sets->timer, p->set_to);
}

static struct probe probe(struct fixture *f)
{
    return (struct probe){ .fixture = f };
}

static void arm(struct probe *p, uint64_t deadline)
{
    if (p->timer.fn == NULL)
        timer_init(&p->timer, on_probe, p);
    timer_set(p->fixture->wheel, &p->timer, deadline);
}

static struct fixture begin(uint64_t now)
{
    struct fixture f = { wheel_new(), now };

    assert_non_null(f.wheel);
    wheel_run(f.wheel, now);
    return f;
}

static void end(struct fixture *f)
{
    wheel_free(f->wheel);
}

static void jump(struct fixture *f, uint64_t to)
{
    f->now = to;
    wheel_run(f->wheel, to);
}

static void walk(struct fixture *f, uint64_t to, uint64_t step)
{
    while (f->now < to)
        jump(f, f->now + step < to ? f->now + step : to);
}

/* In time: not before the deadline, and at most two ticks behind it. */
static void expect_in_time(const struct probe *p, uint64_t deadline)
{
    assert_int_equal(p->fired, 1);
    if (p->at < deadline || p->at > deadline + 2 * TICK)
        fail_msg("deadline %llu, fired at %llu", (unsigned long long)deadline, (unsigned long long)p->at);
}

static void test_every_offset(void **state)
{
    (void)state;
    for (uint64_t phase = 0; phase < TICK; phase += 7) {
        for (uint64_t in = 0; in <= 3 * TICK; in++) {
            struct fixture f = begin(1000000 + phase);
            struct probe p = probe(&f);

            arm(&p, f.now + in);
            walk(&f, f.now + 6 * TICK, TICK);
            expect_in_time(&p, 1000000 + phase + in);
            assert_int_equal(wheel_pause(f.wheel, f.now), -1);
            end(&f);
        }
    }
}

/* Set before the wheel ever ran, near and far; then time is a large number at once, as at start. */
static void test_before_the_first_run(void **state)
{
    struct fixture f = { wheel_new(), 77777777 };
    struct probe near = probe(&f), past = probe(&f), far = probe(&f);

    (void)state;
    arm(&near, f.now + 120);
    arm(&past, f.now - 5);
    arm(&far, f.now + 3 * TURN + 1);
    jump(&f, f.now);
    walk(&f, 77777777 + 4 * TURN, TICK);
    expect_in_time(&near, 77777777 + 120);
    expect_in_time(&past, 77777777 - 5);
    expect_in_time(&far, 77777777 + 3 * TURN + 1);
    end(&f);
}

static void test_far(void **state)
{
    static const uint64_t in[] = { TURN - 2 * TICK, TURN - TICK, TURN - 1, TURN, TURN + 1, TURN + TICK, 2 * TURN, 5 * TURN + 17 };

    (void)state;
    for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
        struct fixture f = begin(5000003);
        struct probe p = probe(&f);

        arm(&p, f.now + in[i]);
        walk(&f, f.now + in[i] - 1, 49);
        assert_int_equal(p.fired, 0);
        walk(&f, f.now + 4 * TICK, TICK);
        expect_in_time(&p, 5000003 + in[i]);
        end(&f);
    }
}

static void test_later(void **state)
{
    struct fixture f = begin(1000);
    struct probe p = probe(&f);
    uint64_t deadline = 0;

    (void)state;
    while (f.now < 200000) { /* as a busy stream does */
        arm(&p, deadline = f.now + 600);
        walk(&f, f.now + 130, TICK);
    }
    assert_int_equal(p.fired, 0);
    walk(&f, f.now + 1000, TICK);
    expect_in_time(&p, deadline);
    end(&f);
}

static void test_earlier(void **state)
{
    (void)state;
    for (uint64_t before = 1; before <= 5 * TICK; before++) {
        for (uint64_t phase = 0; phase < TICK; phase += 16) {
            struct fixture f = begin(1000000 + phase);
            struct probe p = probe(&f);

            arm(&p, f.now + 1000);
            arm(&p, f.now + 1000 - before);
            walk(&f, f.now + 2000, TICK);
            expect_in_time(&p, 1000000 + phase + 1000 - before);
            end(&f);
        }
    }
}

static void test_much_earlier(void **state)
{
    struct fixture f = begin(1000);
    struct probe p = probe(&f);

    (void)state;
    arm(&p, 1000 + 9 * TURN);
    arm(&p, 2000);
    walk(&f, 3000, TICK);
    expect_in_time(&p, 2000);
    end(&f);
}

static void test_clear(void **state)
{
    struct fixture f = begin(1000);
    struct probe p = probe(&f), never = probe(&f);

    (void)state;
    timer_init(&never.timer, on_probe, &never);
    timer_clear(f.wheel, &never.timer); /* not armed: nothing happens */
    assert_int_equal(wheel_pause(f.wheel, f.now), -1);
    arm(&p, 2000);
    assert_int_not_equal(wheel_pause(f.wheel, f.now), -1);
    timer_clear(f.wheel, &p.timer);
    timer_clear(f.wheel, &p.timer);
    assert_int_equal(wheel_pause(f.wheel, f.now), -1);
    walk(&f, 5000, TICK);
    assert_int_equal(p.fired, 0);
    arm(&p, 6000); /* and may be armed again */
    walk(&f, 7000, TICK);
    expect_in_time(&p, 6000);
    end(&f);
}

/* Neighbours in one slot: of three that clear each other in a ring, each one that fires spares one. */
static void test_clear_inside(void **state)
{
    (void)state;
    for (unsigned shift = 1; shift < 3; shift++) {
        struct fixture f = begin(1000);
        struct probe p[3] = { probe(&f), probe(&f), probe(&f) };
        unsigned fired = 0;

        for (unsigned i = 0; i < 3; i++) {
            p[i].clears = &p[(i + shift) % 3];
            arm(&p[i], 2000);
        }
        walk(&f, 3000, TICK);
        for (unsigned i = 0; i < 3; i++)
            fired += p[i].fired;
        assert_in_range(fired, 1, 2);
        assert_int_equal(wheel_pause(f.wheel, f.now), -1);
        end(&f);
    }
}

static void test_set_inside(void **state)
{
    struct fixture f = begin(1000);
    struct probe self = probe(&f), one = probe(&f), other = probe(&f);

    (void)state;
    self.sets = &self;
    self.set_to = 1; /* already over: another time, not for ever in one run */
    arm(&self, 2000);
    walk(&f, 2100, 10);
    assert_in_range(self.fired, 1, 4);
    timer_clear(f.wheel, &self.timer);

    one.sets = &other; /* two in one slot; the first one that fires moves the other, which is due too */
    other.sets = &one;
    one.set_to = other.set_to = 5000;
    arm(&one, 3000);
    arm(&other, 3000);
    walk(&f, 4000, TICK);
    assert_int_equal(one.fired + other.fired, 1);
    one.sets = other.sets = NULL;
    walk(&f, 6000, TICK);
    assert_int_equal(one.fired, 1);
    assert_int_equal(other.fired, 1);
    assert_in_range(one.fired && one.at >= 5000 ? one.at : other.at, 5000, 5100);
    end(&f);
}

/* The process was stopped for a while: all that is due fires in the first run, nothing else does. */
static void test_jump(void **state)
{
    static const uint64_t by[] = { 10 * TICK, TURN - TICK, TURN, TURN + TICK, 100 * TURN + 3 };

    (void)state;
    for (size_t i = 0; i < sizeof(by) / sizeof(by[0]); i++) {
        struct fixture f = begin(12345);
        struct probe early = probe(&f), at = probe(&f), late = probe(&f);

        arm(&early, 12345 + 300);
        arm(&at, 12345 + by[i] - 2 * TICK);
        arm(&late, 12345 + by[i] + 1);
        jump(&f, 12345 + by[i]);
        assert_int_equal(early.fired, 1);
        assert_int_equal(at.fired, 1);
        assert_int_equal(late.fired, 0);
        walk(&f, f.now + 3 * TICK, TICK);
        expect_in_time(&late, 12345 + by[i] + 1);
        end(&f);
    }
}

static void test_many_at_random(void **state)
{
    enum { MANY = 64 };
    struct fixture f = begin(1);
    struct probe p[MANY];
    uint64_t deadline[MANY] = { 0 };

    (void)state;
    srand(1);
    for (unsigned i = 0; i < MANY; i++)
        p[i] = probe(&f);
    for (unsigned n = 0; n < 200000; n++) {
        unsigned i = (unsigned)rand() % MANY;

        if (rand() % 8 == 0 && p[i].timer.fn != NULL) {
            timer_clear(f.wheel, &p[i].timer);
            deadline[i] = 0;
        } else if (rand() % 4 == 0) {
            deadline[i] = f.now + (uint64_t)rand() % (rand() % 16 ? 500 : 2 * TURN) + 1;
            arm(&p[i], deadline[i]);
        }
        jump(&f, f.now + (uint64_t)rand() % (TICK + 1));
        for (unsigned k = 0; k < MANY; k++) {
            if (p[k].fired > 0) {
                expect_in_time(&p[k], deadline[k]);
                deadline[k] = p[k].fired = 0;
            }
            if (deadline[k] > 0 && deadline[k] + 2 * TICK < f.now)
                fail_msg("%u was forgotten", k);
        }
    }
    end(&f);
}

/* Who sleeps as long as the wheel says is in time, and is not woken up for nothing more than once a turn of the wheel. */
static void test_sleep(void **state)
{
    static const uint64_t deadlines[] = {
        1001, 1049, 1050, 1051, 1099, 4199, 4200, 30000, 1000 + TURN - 1, 2 * TURN, 3 * TURN + 7
    };

    (void)state;
    for (size_t i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++) {
        struct fixture f = begin(1000);
        struct probe p = probe(&f);
        unsigned sleeps = 0;

        arm(&p, deadlines[i]);
        for (int pause; (pause = wheel_pause(f.wheel, f.now)) >= 0; sleeps++)
            jump(&f, f.now + (uint64_t)pause);
        assert_int_equal(p.fired, 1);
        expect_in_time(&p, deadlines[i]);
        assert_true(sleeps <= 1 + deadlines[i] / TURN + 1);
        end(&f);
    }
}

/* One that was cleared, or that is in another slot meanwhile, wakes nobody twice. */
static void test_sleep_for_nothing(void **state)
{
    struct fixture f = begin(1000);
    struct probe gone = probe(&f), far = probe(&f);

    (void)state;
    assert_int_equal(wheel_pause(f.wheel, f.now), -1);
    arm(&far, 40000);
    arm(&gone, 2000);
    timer_clear(f.wheel, &gone.timer);
    jump(&f, f.now + (uint64_t)wheel_pause(f.wheel, f.now));
    assert_true(f.now < 3000);
    jump(&f, f.now + (uint64_t)wheel_pause(f.wheel, f.now));
    assert_int_equal(far.fired, 1);
    expect_in_time(&far, 40000);
    assert_int_equal(wheel_pause(f.wheel, f.now), -1);
    end(&f);
}

/* Time that passed before the wheel was run is no time to sleep. */
static void test_sleep_late(void **state)
{
    struct fixture f = begin(1000);
    struct probe p = probe(&f);

    (void)state;
    arm(&p, 2000);
    f.now = 9000;
    assert_int_equal(wheel_pause(f.wheel, f.now), 0);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_offset),
        cmocka_unit_test(test_before_the_first_run),
        cmocka_unit_test(test_far),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_earlier),
        cmocka_unit_test(test_much_earlier),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_clear_inside),
        cmocka_unit_test(test_set_inside),
        cmocka_unit_test(test_jump),
        cmocka_unit_test(test_many_at_random),
        cmocka_unit_test(test_sleep),
        cmocka_unit_test(test_sleep_for_nothing),
        cmocka_unit_test(test_sleep_late),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
