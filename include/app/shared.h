/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_SHARED_H
#define POSTERN_APP_SHARED_H

#include "base/ring.h"
#include "base/table.h"

#include <stdatomic.h>

#define WORKERS_MAX 64
#define LOG_SLOTS 4096 /* records in the ring between a worker and the logger */

/* What the logger counts, for the metrics. */
struct log_stats {
    _Atomic uint64_t written; /* lines */
    _Atomic uint64_t lost;    /* lines that could not be written */
};

/*
 * Memory that the processes share, as descriptors: a shard of the session table and a log ring a worker, and the logger's counters.
 * Each has one writer; everybody else gets the descriptor that can only read. The monitor makes it all once.
 */
struct shared {
    unsigned workers;
    uint32_t rows; /* of each shard */
    int shard_rw[WORKERS_MAX], shard_ro[WORKERS_MAX];
    int ring_rw[WORKERS_MAX], ring_ro[WORKERS_MAX];
    int stats_rw, stats_ro;
    int log_wake; /* eventfd: the logger sleeps on it */
    int alive[2]; /* a pipe that nobody writes to: the monitor and the workers hold [1], so end-of-file on [0] is the end of all */
};

/* false with errno set. */
MUST_CHECK bool shared_open(struct shared *s, unsigned workers, uint32_t rows);
void shared_close(struct shared *s);

/* Maps a ring or the counters; NULL with errno set. */
MUST_CHECK bool shared_map_ring(struct ring *ring, int fd, bool writer);
void shared_unmap_ring(struct ring *ring);
MUST_CHECK struct log_stats *shared_map_stats(int fd, bool writer);
void shared_unmap_stats(struct log_stats *stats);

#endif
