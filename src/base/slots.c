/* SPDX-License-Identifier: ISC */
/*
 * A tree of bitmaps. In the lowest level a bit stands for a number, above it a bit stands for a word of 64 bits below that is full;
 * four levels are enough for SLOTS_MAX. The lowest free number is where the lowest zero bit leads, from the one word at the top
 * down. Bits that stand for nothing, behind the end of a level, count as taken, so that "full" is always "all ones".
 */
#include "base/slots.h"

#include <stdlib.h>

#define LEVELS 4
#define FULL UINT64_MAX

struct slots {
    unsigned top;            /* [I] the level that is one word */
    uint64_t *level[LEVELS]; /* [I] into words */
    uint64_t words[];
};

static uint32_t words_for(uint32_t bits)
{
    return (bits + 63) / 64;
}

struct slots *slots_new(uint32_t count)
{
    uint32_t sizes[LEVELS] = { words_for(count) }, total = sizes[0];
    unsigned top = 0;
    struct slots *s;

    if (count == 0 || count > SLOTS_MAX)
        return NULL;
    for (; sizes[top] > 1; top++)
        total += sizes[top + 1] = words_for(sizes[top]);
    s = calloc(1, sizeof(*s) + total * sizeof(uint64_t));
    if (s == NULL)
        return NULL;
    s->top = top;
    s->level[0] = s->words;
    for (unsigned k = 0; k <= top; k++) {
        uint32_t bits = k == 0 ? count : sizes[k - 1];

        if (k > 0)
            s->level[k] = s->level[k - 1] + sizes[k - 1];
        if (bits % 64 != 0)
            s->level[k][sizes[k] - 1] = FULL << (bits % 64);
    }
    return s;
}

void slots_free(struct slots *s)
{
    free(s);
}

bool slots_take(struct slots *s, uint32_t *out)
{
    uint32_t at = 0;

    if (s->level[s->top][0] == FULL)
        return false;
    for (unsigned k = s->top + 1; k-- > 0;)
        at = at * 64 + (uint32_t)__builtin_ctzll(~s->level[k][at]);
    slots_mark(s, at);
    *out = at;
    return true;
}

void slots_mark(struct slots *s, uint32_t number)
{
    for (unsigned k = 0; k <= s->top; k++, number /= 64) {
        uint64_t *word = &s->level[k][number / 64];

        *word |= 1ull << (number % 64);
        if (*word != FULL)
            return;
    }
}

void slots_give(struct slots *s, uint32_t number)
{
    for (unsigned k = 0; k <= s->top; k++, number /= 64)
        s->level[k][number / 64] &= ~(1ull << (number % 64));
}
