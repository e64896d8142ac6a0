/* SPDX-License-Identifier: ISC */
/*
 * A single-producer single-consumer ring. `head` is the writer's, `tail` the reader's; both only grow, and their difference is what
 * is in it. They lie on cache lines of their own. The sleeping flag saves the writer a system call for every record: it writes to
 * the reader's eventfd only when the reader said that it sleeps.
 *
 * A reader that keeps up leaves the ring empty again and again. Then what comes next begins at the first slot: `start` is the
 * position that has it, and whoever is behind it has missed nothing. So no more of the memory is ever touched than what once waited
 * at the same time, a few records rather than megabytes, and those are still in the cache.
 */
#include "base/ring.h"

#include <stdatomic.h>
#include <string.h>

#define NEAR_SLOTS 16 /* that are used in turn before it is worth while to begin again */

struct ring_shared {
    _Alignas(64) _Atomic uint64_t head;
    _Atomic uint64_t start;
    _Atomic uint64_t dropped;
    _Alignas(64) _Atomic uint64_t tail;
    _Atomic uint32_t sleeping;
    _Alignas(64) unsigned char slots[];
};

/* A slot: how much of the record was put, and the record. */
typedef uint64_t slot_head;

size_t ring_bytes(uint32_t slots, uint32_t slot_size)
{
    return sizeof(struct ring_shared) + (size_t)slots * (sizeof(slot_head) + slot_size);
}

void ring_attach(struct ring *r, void *memory, uint32_t slots, uint32_t slot_size)
{
    *r = (struct ring){ memory, slots, slot_size };
}

static unsigned char *slot_at(struct ring *r, uint64_t position)
{
    return r->shared->slots + (size_t)(position & (r->slots - 1)) * (sizeof(slot_head) + r->slot_size);
}

/* The reader's position: where it is, or will be as soon as it looks. Past `head` as long as nothing was put where the writer
 * begins again. */
static uint64_t tail_of(struct ring *r)
{
    uint64_t tail = atomic_load_explicit(&r->shared->tail, memory_order_acquire);
    uint64_t start = atomic_load_explicit(&r->shared->start, memory_order_acquire);

    return tail < start ? start : tail;
}

/* Of an empty ring: the next position that has the first slot. The reader learns of it before it learns of a record there. */
static uint64_t begin_again(struct ring *r, uint64_t head)
{
    uint64_t start = (head | (r->slots - 1)) + 1;

    atomic_store_explicit(&r->shared->start, start, memory_order_release);
    return start;
}

bool ring_put_part(struct ring *r, const void *record, size_t bytes)
{
    uint64_t head = atomic_load_explicit(&r->shared->head, memory_order_relaxed);
    uint64_t tail = tail_of(r);
    slot_head size = bytes < r->slot_size ? bytes : r->slot_size;
    uint64_t start = atomic_load_explicit(&r->shared->start, memory_order_relaxed);
    unsigned char *slot;

    if (head < start)
        head = start; /* a writer before this one ended between saying so and putting a record there */
    if (head - tail >= r->slots) {
        atomic_fetch_add_explicit(&r->shared->dropped, 1, memory_order_relaxed);
        return false;
    }
    if (head == tail && (head & (r->slots - 1)) >= NEAR_SLOTS)
        head = begin_again(r, head);
    slot = slot_at(r, head);
    memcpy(slot, &size, sizeof(size));
    memcpy(slot + sizeof(size), record, size);
    atomic_store_explicit(&r->shared->head, head + 1, memory_order_seq_cst);
    return true;
}

bool ring_put(struct ring *r, const void *record)
{
    return ring_put_part(r, record, r->slot_size);
}

bool ring_must_wake(struct ring *r)
{
    return atomic_load_explicit(&r->shared->sleeping, memory_order_seq_cst) != 0 &&
           atomic_exchange_explicit(&r->shared->sleeping, 0, memory_order_seq_cst) != 0;
}

bool ring_take(struct ring *r, void *record)
{
    uint64_t head = atomic_load_explicit(&r->shared->head, memory_order_acquire);
    uint64_t tail = tail_of(r);
    const unsigned char *slot = slot_at(r, tail);
    slot_head size;

    if (head <= tail)
        return false;
    memcpy(&size, slot, sizeof(size));
    memcpy(record, slot + sizeof(size), size < r->slot_size ? size : r->slot_size);
    atomic_store_explicit(&r->shared->tail, tail + 1, memory_order_release);
    return true;
}

bool ring_sleep(struct ring *r)
{
    atomic_store_explicit(&r->shared->sleeping, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&r->shared->head, memory_order_seq_cst) <= tail_of(r))
        return true;
    atomic_store_explicit(&r->shared->sleeping, 0, memory_order_seq_cst);
    return false;
}

uint64_t ring_dropped(const struct ring *r)
{
    return atomic_load_explicit(&r->shared->dropped, memory_order_relaxed);
}
