/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_SHARED_H
#define POSTERN_APP_SHARED_H

#include "base/health.h"
#include "base/ring.h"
#include "base/table.h"

#include <stdatomic.h>

#define WORKERS_MAX 64
/* Writers of shards and rings: the workers, and behind them the filter process, whose number is that of the workers. */
#define WRITERS_MAX (WORKERS_MAX + 1)
#define LOG_SLOTS 4096 /* records in the ring between a writer and the logger */

/* What the logger counts, for the metrics. */
struct log_stats {
    _Atomic uint64_t written; /* lines */
    _Atomic uint64_t lost;    /* lines that could not be written */
};

/* What the filter process did, for status and metrics; and for its own replacement, which must know whether the table is as it
 * should be. */
struct filter_stats {
    _Atomic uint64_t committed_us; /* wall time of the last commit; 0: none yet */
    _Atomic uint64_t commits;      /* of which `mended` because another program had changed something */
    _Atomic uint64_t mended;
    _Atomic uint64_t blocks;        /* addresses and networks blocked now */
    _Atomic uint64_t text, listing; /* digests of what was committed and of what the kernel then listed; 0: none */
    char table[32];                 /* its name; for the replacement alone */
};

/*
 * Memory that the processes share, as descriptors: a shard of the session table and a log ring a writer, and the counters of logger
 * and filter. But for the health of upstreams each has one writer; everybody else gets the descriptor that can only read. The
 * monitor makes it all once.
 */
struct shared {
    unsigned workers, writers;
    uint32_t rows; /* of each shard */
    int shard_rw[WRITERS_MAX], shard_ro[WRITERS_MAX];
    int ring_rw[WRITERS_MAX], ring_ro[WRITERS_MAX];
    int stats_rw, stats_ro;
    int filter_rw, filter_ro;
    int health_rw, health_ro; /* the one that all workers write */
    int log_wake;             /* eventfd: the logger sleeps on it */
    int alive[2]; /* a pipe that nobody writes to: the monitor and all writers hold [1], so end-of-file on [0] is the end of all */
};

/* false with errno set. */
MUST_CHECK bool shared_open(struct shared *s, unsigned workers, uint32_t rows);
void shared_close(struct shared *s);

/* Maps a ring or the counters; NULL with errno set. */
MUST_CHECK bool shared_map_ring(struct ring *ring, int fd, bool writer);
void shared_unmap_ring(struct ring *ring);
MUST_CHECK struct log_stats *shared_map_stats(int fd, bool writer);
void shared_unmap_stats(struct log_stats *stats);
MUST_CHECK struct filter_stats *shared_map_filter(int fd, bool writer);
void shared_unmap_filter(struct filter_stats *stats);
MUST_CHECK struct health *shared_map_health(int fd, bool writer);
void shared_unmap_health(struct health *health);

#endif
