/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_SETS_H
#define POSTERN_POLICY_SETS_H

#include "base/span.h"

/*
 * Sets of policies as bitmaps, each different one stored once. Whatever a condition is asked about (a port, a name, an address),
 * the answer is the number of the set of policies whose condition is true.
 */
struct sets;

/* For sets of the numbers 0 to members - 1. Set 0 is the empty one. NULL: no memory. */
MUST_CHECK struct sets *sets_new(size_t members);
void sets_free(struct sets *s);

/* Words of 64 bits a set. */
size_t sets_words(const struct sets *s);
/* The number of the set with these bits, which is added if it is new. 0 if there is no memory, and then sets_failed() for ever. */
uint32_t sets_intern(struct sets *s, const uint64_t *bits);
bool sets_failed(const struct sets *s);
/* The bits; they move when a set is added. */
const uint64_t *sets_at(const struct sets *s, uint32_t set);

static inline void bits_add(uint64_t *bits, size_t member)
{
    bits[member / 64] |= 1ull << (member % 64);
}

static inline bool bits_has(const uint64_t *bits, size_t member)
{
    return bits[member / 64] >> (member % 64) & 1;
}

static inline void bits_join(uint64_t *bits, const uint64_t *more, size_t words)
{
    for (size_t i = 0; i < words; i++)
        bits[i] |= more[i];
}

#endif
