/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_NAMES_H
#define POSTERN_POLICY_NAMES_H

#include "base/span.h"

/*
 * Distinct strings in one flat, position-independent piece of memory: an open-addressed table of offsets behind a header, then the
 * strings. It is made once, by one process, and then only read, maybe by others. Each string has a number below names_slots().
 */
#define NAMES_LONGEST 255
#define NAMES_NONE UINT32_MAX

/* Bytes for `count` strings of `bytes` bytes in all. 0: too large (over 4 GiB). */
size_t names_size(size_t count, size_t bytes);
/* Makes an empty table in zeroed memory of names_size(count, ...) bytes, aligned as malloc does. */
void names_init(void *memory, size_t size, size_t count);
/* The number of `name`, which is added if it is new. NAMES_NONE: it is empty or too long, or there is no room. */
uint32_t names_add(void *memory, struct span name);
/* The same in two steps, for who adds many: the first sends for the memory that the second needs, some names later. */
uint64_t names_hash(const void *memory, struct span name);
uint32_t names_add_hashed(void *memory, struct span name, uint64_t hash);
/* Is this a table? Its geometry is checked here, its offsets whenever they are followed. */
MUST_CHECK bool names_check(const void *memory, size_t size);

/* The number of `name`, or NAMES_NONE. `memory` passed names_check() with this size. */
uint32_t names_find(const void *memory, size_t size, struct span name);
/* The string with this number; empty if there is none. */
struct span names_at(const void *memory, size_t size, uint32_t number);
uint32_t names_slots(const void *memory);
size_t names_count(const void *memory);

#endif
