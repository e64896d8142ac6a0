/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_TIMER_H
#define POSTERN_NET_TIMER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Timers on a wheel, driven by the loop's tick. Moving a deadline later, which every byte of a busy stream does, is one store: the
 * wheel finds out when the old time comes. A timer fires late by at most two ticks, never early.
 */
struct timer {
    struct timer *next, **link; /* in a slot; link NULL: not armed */
    uint64_t deadline;          /* ms of clock_ms(); 0: none */
    uint64_t slot_time;         /* when the slot that it lies in comes up */
    void (*fn)(void *arg);
    void *arg;
};

struct wheel;

struct wheel *wheel_new(void);
void wheel_free(struct wheel *w);
void timer_init(struct timer *t, void (*fn)(void *arg), void *arg);
/* Fires once at `deadline`; an armed timer is moved. */
void timer_set(struct wheel *w, struct timer *t, uint64_t deadline);
void timer_clear(struct wheel *w, struct timer *t);
/* Fires what is due. A timer function may set and clear any timer. */
void wheel_run(struct wheel *w, uint64_t now);
/* In how many ms, from `now` on, something may be due: for whoever runs it then sleeps until there. -1: nothing is armed. */
int wheel_pause(const struct wheel *w, uint64_t now);

#endif
