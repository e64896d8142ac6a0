/* SPDX-License-Identifier: ISC */
/*
 * Counts by key, hashed into two buckets of eight entries each; a new key goes to the emptier one. An entry whose count is zero is
 * free: nothing is ever moved or marked as deleted, and a look-up reads both buckets whole, two cache lines each. With at most half
 * of the entries in use two choices of eight practically never overflow.
 *
 * An entry gets a new key only while its count is zero. A reader looks at the key before and after it reads the count, so what it
 * returns belonged to its key.
 */
#include "base/tally.h"

#include <stdatomic.h>

struct tally_entry {
    _Atomic uint64_t key;
    _Atomic uint32_t count;
    uint32_t unused;
};

#define LARGEST (1u << 26)

uint32_t tally_entries(uint32_t keys)
{
    uint32_t n = 8 * TALLY_BUCKET;

    while (n < LARGEST && n / 2 < keys)
        n *= 2;
    return n;
}

size_t tally_bytes(uint32_t entries)
{
    return (size_t)entries * sizeof(struct tally_entry);
}

static void find_buckets(const struct tally *t, uint64_t key, struct tally_entry *buckets[2])
{
    uint64_t hash = hash_bytes(t->key, &key, sizeof(key));
    uint32_t mask = t->count / TALLY_BUCKET - 1;

    buckets[0] = t->entries + ((uint32_t)hash & mask) * TALLY_BUCKET;
    buckets[1] = t->entries + ((uint32_t)(hash >> 32) & mask) * TALLY_BUCKET;
}

static uint32_t count_of(struct tally_entry *e)
{
    return atomic_load_explicit(&e->count, memory_order_relaxed);
}

/* The entry that counts `key`, and how many free ones the bucket has (the first of them in *spare). */
static struct tally_entry *search(struct tally_entry *bucket, uint64_t key, struct tally_entry **spare, unsigned *spares)
{
    *spare = NULL;
    *spares = 0;
    for (unsigned i = 0; i < TALLY_BUCKET; i++) {
        struct tally_entry *e = &bucket[i];

        if (count_of(e) > 0 && atomic_load_explicit(&e->key, memory_order_relaxed) == key)
            return e;
        if (count_of(e) > 0)
            continue;
        if ((*spares)++ == 0)
            *spare = e;
    }
    return NULL;
}

bool tally_add(struct tally *t, uint64_t key, int delta)
{
    struct tally_entry *buckets[2], *spare[2], *e;
    unsigned spares[2];

    find_buckets(t, key, buckets);
    e = search(buckets[0], key, &spare[0], &spares[0]);
    if (e == NULL)
        e = search(buckets[1], key, &spare[1], &spares[1]);
    if (e != NULL) {
        atomic_store_explicit(&e->count, count_of(e) + (uint32_t)delta, memory_order_relaxed);
        return true;
    }
    e = spares[1] > spares[0] ? spare[1] : spare[0];
    if (e == NULL || delta < 0)
        return false;
    atomic_store_explicit(&e->key, key, memory_order_relaxed);
    atomic_store_explicit(&e->count, (uint32_t)delta, memory_order_release);
    return true;
}

uint32_t tally_read(const struct tally *t, uint64_t key)
{
    struct tally_entry *buckets[2];

    find_buckets(t, key, buckets);
    for (unsigned i = 0; i < 2 * TALLY_BUCKET; i++) {
        struct tally_entry *e = &buckets[i / TALLY_BUCKET][i % TALLY_BUCKET];
        uint32_t count;

        if (atomic_load_explicit(&e->key, memory_order_acquire) != key)
            continue;
        count = atomic_load_explicit(&e->count, memory_order_acquire);
        if (count > 0 && atomic_load_explicit(&e->key, memory_order_relaxed) == key)
            return count;
    }
    return 0;
}

void tally_clear(struct tally *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (count_of(&t->entries[i]) > 0)
            atomic_store_explicit(&t->entries[i].count, 0, memory_order_relaxed);
}
