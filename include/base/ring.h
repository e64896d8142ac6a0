/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_RING_H
#define POSTERN_BASE_RING_H

#include "base/span.h"

/*
 * A bounded ring of equally sized records in shared memory: one writer process, one reader process, no lock. A full ring drops the
 * new record and counts it. The reader believes nothing that the memory says beyond its own copy of the geometry.
 */
struct ring {
    struct ring_shared *shared;
    uint32_t slots, slot_size;
};

/* Bytes of shared memory that a ring of this geometry takes. `slots` is a power of two. */
size_t ring_bytes(uint32_t slots, uint32_t slot_size);
/* Attaches to zero-filled or already used memory of ring_bytes(). Owns nothing. */
void ring_attach(struct ring *r, void *memory, uint32_t slots, uint32_t slot_size);
/* Writer. Copies slot_size bytes; false: full, and counted as dropped. */
bool ring_put(struct ring *r, const void *record);
/* The same of a record whose end says nothing: copies `bytes`, at most slot_size. */
bool ring_put_part(struct ring *r, const void *record, size_t bytes);
/* Writer: did the ring go from empty to not empty since the reader last slept? Then wake it. */
bool ring_must_wake(struct ring *r);
/* Reader. Copies the oldest record, as much of it as was put: what `record` has behind that stays. false: empty. */
bool ring_take(struct ring *r, void *record);
/* Reader: says that it goes to sleep; false if a record came in meanwhile, then it must not. */
bool ring_sleep(struct ring *r);
uint64_t ring_dropped(const struct ring *r);

#endif
