/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_TALLY_H
#define POSTERN_BASE_TALLY_H

#include "base/hash.h"
#include "base/span.h"

/*
 * How many of each key there are, in shared memory: one writer, any number of readers, no lock. A reader may see a count that is a
 * moment old, never one of another key.
 */
struct tally_entry;

struct tally {
    struct tally_entry *entries;
    uint32_t count;             /* a power of two, at least TALLY_BUCKET */
    const struct hash_key *key; /* where the writer put it, in the shared memory */
};

#define TALLY_BUCKET 8

/* How many entries are needed so that `keys` different ones find room, and the bytes that they take. */
uint32_t tally_entries(uint32_t keys);
size_t tally_bytes(uint32_t entries);

/* Writer: one more (+1) or one fewer (-1). false: no room for a new key, or one fewer of a key that is not there. */
MUST_CHECK bool tally_add(struct tally *t, uint64_t key, int delta);
/* Any. */
uint32_t tally_read(const struct tally *t, uint64_t key);
/* Writer, when no other is left: forgets everything. */
void tally_clear(struct tally *t);

#endif
