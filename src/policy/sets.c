/* SPDX-License-Identifier: ISC */
/*
 * The pool of policy sets. Many names, ports and networks share few different sets, because they come from the same few policies;
 * so a list of a hundred thousand entries costs a number an entry, and a set is compared by its number.
 */
#include "policy/sets.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

struct sets {
    size_t words;
    uint32_t count, room; /* sets that there are, and that there is memory for */
    uint64_t *bits;
    uint32_t *index; /* hash to number, open addressing; twice `room`, a power of two; 0: empty */
    bool failed;
};

struct sets *sets_new(size_t members)
{
    struct sets *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->words = members > 0 ? (members + 63) / 64 : 1;
    s->room = 64;
    s->count = 1;
    s->bits = calloc(s->room, s->words * sizeof(uint64_t));
    s->index = calloc(2 * s->room, sizeof(uint32_t));
    if (s->bits != NULL && s->index != NULL)
        return s;
    sets_free(s);
    return NULL;
}

void sets_free(struct sets *s)
{
    if (s == NULL)
        return;
    free(s->bits);
    free(s->index);
    free(s);
}

size_t sets_words(const struct sets *s)
{
    return s->words;
}

bool sets_failed(const struct sets *s)
{
    return s->failed;
}

const uint64_t *sets_at(const struct sets *s, uint32_t set)
{
    return s->bits + set * s->words;
}

/* Where the number of this set stands, or would stand. */
static uint32_t *place(struct sets *s, const uint64_t *bits)
{
    static const struct hash_key key; /* nobody remote chooses policies */
    size_t bytes = s->words * sizeof(uint64_t);
    uint32_t mask = 2 * s->room - 1, at = (uint32_t)hash_bytes(&key, bits, bytes) & mask;

    while (s->index[at] != 0 && memcmp(sets_at(s, s->index[at]), bits, bytes) != 0)
        at = (at + 1) & mask;
    return &s->index[at];
}

static bool grow(struct sets *s)
{
    uint32_t room = 2 * s->room, *index = calloc(2 * (size_t)room, sizeof(uint32_t));
    uint64_t *bits = realloc(s->bits, room * s->words * sizeof(uint64_t));

    if (bits != NULL)
        s->bits = bits;
    if (bits == NULL || index == NULL) {
        free(index);
        return false;
    }
    free(s->index);
    s->index = index;
    s->room = room;
    for (uint32_t i = 1; i < s->count; i++)
        *place(s, sets_at(s, i)) = i;
    return true;
}

static bool is_empty(const uint64_t *bits, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (bits[i] != 0)
            return false;
    return true;
}

uint32_t sets_intern(struct sets *s, const uint64_t *bits)
{
    uint32_t *at;

    if (s->failed || is_empty(bits, s->words))
        return 0;
    at = place(s, bits);
    if (*at != 0)
        return *at;
    if (s->count == s->room) {
        s->failed = !grow(s);
        if (s->failed)
            return 0;
        at = place(s, bits);
    }
    memcpy(s->bits + s->count * s->words, bits, s->words * sizeof(uint64_t));
    return *at = s->count++;
}
