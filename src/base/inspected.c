/* SPDX-License-Identifier: ISC */
/*
 * A short list of names with counts, for operators who want to know which clients do not trust the inspection CA. Every place has a
 * sequence counter, as rows have (base/table.c): odd while the writer changes it. The writer keeps a hash of each name for itself,
 * so that a name is found, and the oldest place too, in one pass over a few kilobytes; that is little next to a handshake.
 *
 * A client can fill the list with names of its own choice, and so push others out. It is a help for people and decides nothing.
 */
#include "base/inspected.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <string.h>

#define READ_TRIES 64

struct inspected_place {
    _Atomic uint32_t sequence;
    uint32_t padding;
    struct inspected facts;
};

typedef uint64_t __attribute__((may_alias)) word;

_Static_assert(sizeof(struct inspected) % sizeof(word) == 0, "copied in words");

size_t inspected_bytes(void)
{
    return TABLE_INSPECTED * sizeof(struct inspected_place);
}

static uint64_t hash_of(const struct inspected_names *n, const char *name)
{
    uint64_t hash = hash_bytes(&n->key, name, strlen(name));

    return hash != 0 ? hash : 1;
}

void inspected_adopt(struct inspected_names *n)
{
    hash_key_random(&n->key);
    for (unsigned i = 0; i < TABLE_INSPECTED; i++) {
        n->shared[i].facts.name[ROW_HOST - 1] = '\0';
        n->turns[i] = 0;
        n->hashes[i] = n->shared[i].facts.name[0] != '\0' ? hash_of(n, n->shared[i].facts.name) : 0;
    }
}

/* Where the name is, or else an empty place, or else the one that was used least recently. */
static unsigned find_place(const struct inspected_names *n, const char *name, uint64_t hash)
{
    unsigned oldest = 0;

    for (unsigned i = 0; i < TABLE_INSPECTED; i++) {
        if (n->hashes[i] == 0 || (n->hashes[i] == hash && strcmp(n->shared[i].facts.name, name) == 0))
            return i;
        if (n->turns[i] < n->turns[oldest])
            oldest = i;
    }
    return oldest;
}

static void store(struct inspected_place *place, const struct inspected *facts)
{
    const word *from = (const word *)facts;
    word *to = (word *)&place->facts;

    atomic_store_explicit(&place->sequence, atomic_load_explicit(&place->sequence, memory_order_relaxed) | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < sizeof(*facts) / sizeof(word); i++)
        __atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
    atomic_fetch_add_explicit(&place->sequence, 1, memory_order_release);
}

void inspected_put(struct inspected_names *n, struct span name, const struct addr *client, bool refused)
{
    struct inspected facts = { 0 };
    uint64_t hash;
    unsigned at;

    span_show(name, facts.name, sizeof(facts.name));
    if (facts.name[0] == '\0')
        return;
    hash = hash_of(n, facts.name);
    at = find_place(n, facts.name, hash);
    if (n->hashes[at] == hash && strcmp(n->shared[at].facts.name, facts.name) == 0)
        facts = n->shared[at].facts;
    n->hashes[at] = hash;
    n->turns[at] = ++n->turn;
    facts.shown++;
    facts.last_us = clock_wall_us();
    if (refused) {
        facts.refused++;
        facts.last_refused_us = facts.last_us;
        facts.last_client = *client;
    }
    store(&n->shared[at], &facts);
}

bool inspected_get(const struct inspected_names *n, uint32_t index, struct inspected *out)
{
    struct inspected_place *place = &n->shared[index];
    const word *from = (const word *)&place->facts;
    word *to = (word *)out;

    for (int tries = 0; index < TABLE_INSPECTED && tries < READ_TRIES; tries++) {
        uint32_t before = atomic_load_explicit(&place->sequence, memory_order_acquire);

        if (before % 2 == 1)
            continue;
        for (size_t i = 0; i < sizeof(*out) / sizeof(word); i++)
            to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&place->sequence, memory_order_relaxed) != before)
            continue;
        out->name[ROW_HOST - 1] = '\0';
        return out->name[0] != '\0';
    }
    return false;
}
