/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_PRESSURE_H
#define POSTERN_BASE_PRESSURE_H

#include "base/span.h"

/*
 * How short memory is. The monitor measures it (app/monitor_memory.c), workers act on it (session/shares.c):
 * HIGH: what is only kept for later is given back, and a client may have less the less is left.
 * FULL: new work is refused; what runs goes on.
 */
enum pressure_level { PRESSURE_NONE, PRESSURE_HIGH, PRESSURE_FULL, PRESSURE_LEVELS };

struct pressure {
    enum pressure_level level;
    uint32_t left; /* thousandths of the way from FULL back to HIGH: 1000 where HIGH begins and below, 0 at FULL */
};

/* In thousandths of the limit: where a level begins, and where it ends; so it does not come and go with every connection. */
#define PRESSURE_HIGH_AT 750
#define PRESSURE_HIGH_UNTIL 700
#define PRESSURE_FULL_AT 900
#define PRESSURE_FULL_UNTIL 850

/* What follows `before` when so many bytes are used; a limit of 0 is none. */
struct pressure pressure_of(enum pressure_level before, uint64_t used, uint64_t limit);
/* "good", "tight", "full". */
const char *pressure_name(enum pressure_level level);

#endif
