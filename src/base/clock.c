/* SPDX-License-Identifier: ISC */
/*
 * Time, read once a loop turn. Two clocks: the monotonic one drives every timer, so that a step of the wall clock closes nothing;
 * the wall clock is only ever shown. Both run at the same pace, so the wall clock is the other one plus what lies between them, and
 * that changes only when somebody sets it: ten looks a second are enough. A test sets the monotonic clock by hand and then owns it.
 */
#include "base/clock.h"

#include <stdbool.h>
#include <time.h>

#define LOOK_US 100000 /* between two looks at the wall clock */

static uint64_t now_us, wall_us;
static uint64_t between_us, looked_us; /* wall clock minus monotonic clock, and when that was found */
static bool by_hand;

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t read_us(clockid_t id)
{
    return read_ns(id) / 1000u;
}

void clock_tick(void)
{
    uint64_t now = read_us(CLOCK_MONOTONIC);

    if (looked_us == 0 || now - looked_us >= LOOK_US) {
        between_us = read_us(CLOCK_REALTIME) - now;
        looked_us = now;
    }
    wall_us = now + between_us;
    if (!by_hand)
        now_us = now;
}

uint64_t clock_ms(void)
{
    return now_us / 1000u;
}

uint64_t clock_us(void)
{
    return now_us;
}

uint64_t clock_wall_us(void)
{
    return wall_us;
}

uint64_t clock_real_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_cpu_ns(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

void clock_set(uint64_t ms)
{
    by_hand = true;
    now_us = ms * 1000u;
}
