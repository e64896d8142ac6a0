/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_CLOCK_H
#define POSTERN_BASE_CLOCK_H

#include <stdint.h>

/* Reads the clocks once and keeps what they say; called once a loop turn. All timers run on this monotonic time. */
void clock_tick(void);
/* Monotonic time of the last tick, in milliseconds and microseconds. Never zero after the first tick. */
uint64_t clock_ms(void);
uint64_t clock_us(void);
/* Wall time of the last tick, in microseconds since 1970; for log lines only. Somebody who sets the clock is noticed within 0.1 s.
 */
uint64_t clock_wall_us(void);
/*
 * To measure work, not for timers: read anew at each call, and no test sets them. Real time is cheap (no system call); the
 * processor time of this thread is what was really used, and never more than the real time that passed.
 */
uint64_t clock_real_ns(void);
uint64_t clock_cpu_ns(void);
/* From now on time stands still at `ms` and moves only by this call: tests. */
void clock_set(uint64_t ms);

#endif
