/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_SLOTS_H
#define POSTERN_BASE_SLOTS_H

#include "base/span.h"

/* The numbers 0 to count - 1, each free or taken; the lowest free one is found in a few steps, however many are taken. */
struct slots;

#define SLOTS_MAX (1u << 24)

/* All free. NULL: no memory, or count is 0 or over SLOTS_MAX. */
MUST_CHECK struct slots *slots_new(uint32_t count);
void slots_free(struct slots *s);

/* Takes the lowest free number; false if all are taken. */
MUST_CHECK bool slots_take(struct slots *s, uint32_t *out);
/* Takes this number, which is free; gives one back that is taken. */
void slots_mark(struct slots *s, uint32_t number);
void slots_give(struct slots *s, uint32_t number);

#endif
