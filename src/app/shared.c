/* SPDX-License-Identifier: ISC */
/*
 * The memory that processes share. The size of every file is sealed, so that no process can pull memory away under another; and
 * what a process shall only read it gets through a descriptor that was opened for reading, so that it cannot map it for writing
 * later.
 */
#include "app/shared.h"

#include "app/files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static bool open_both(const char *name, size_t size, int *rw, int *ro)
{
    *rw = memfd_sized(name, size);
    *ro = *rw >= 0 ? memfd_read_only(*rw) : -1;
    return *ro >= 0;
}

bool shared_open(struct shared *s, unsigned workers, uint32_t rows)
{
    bool good = true;

    memset(s, 0xff, sizeof(*s)); /* every descriptor -1 */
    s->workers = workers;
    s->writers = workers + 1;
    s->rows = rows;
    for (unsigned i = 0; i < s->writers; i++)
        good = good && open_both("postern-shard", shard_bytes(rows), &s->shard_rw[i], &s->shard_ro[i]) &&
               open_both("postern-ring", ring_bytes(LOG_SLOTS, sizeof(struct record)), &s->ring_rw[i], &s->ring_ro[i]);
    good = good && open_both("postern-log", sizeof(struct log_stats), &s->stats_rw, &s->stats_ro) &&
           open_both("postern-filter", sizeof(struct filter_stats), &s->filter_rw, &s->filter_ro) &&
           open_both("postern-health", sizeof(struct health), &s->health_rw, &s->health_ro) &&
           (s->log_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) >= 0 && pipe2(s->alive, O_CLOEXEC | O_NONBLOCK) == 0;
    if (!good)
        shared_close(s);
    return good;
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

void shared_close(struct shared *s)
{
    close_all(s->shard_rw, WRITERS_MAX);
    close_all(s->shard_ro, WRITERS_MAX);
    close_all(s->ring_rw, WRITERS_MAX);
    close_all(s->ring_ro, WRITERS_MAX);
    close_all(&s->stats_rw, 1);
    close_all(&s->stats_ro, 1);
    close_all(&s->filter_rw, 1);
    close_all(&s->filter_ro, 1);
    close_all(&s->health_rw, 1);
    close_all(&s->health_ro, 1);
    close_all(&s->log_wake, 1);
    close_all(s->alive, 2);
}

static void *map(int fd, size_t size, bool writer)
{
    void *memory = mmap(NULL, size, writer ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

bool shared_map_ring(struct ring *ring, int fd, bool writer)
{
    void *memory = map(fd, ring_bytes(LOG_SLOTS, sizeof(struct record)), writer);

    if (memory != NULL)
        ring_attach(ring, memory, LOG_SLOTS, sizeof(struct record));
    return memory != NULL;
}

void shared_unmap_ring(struct ring *ring)
{
    if (ring->shared != NULL)
        munmap(ring->shared, ring_bytes(LOG_SLOTS, sizeof(struct record)));
    ring->shared = NULL;
}

struct log_stats *shared_map_stats(int fd, bool writer)
{
    return map(fd, sizeof(struct log_stats), writer);
}

void shared_unmap_stats(struct log_stats *stats)
{
    if (stats != NULL)
        munmap(stats, sizeof(*stats));
}

struct filter_stats *shared_map_filter(int fd, bool writer)
{
    return map(fd, sizeof(struct filter_stats), writer);
}

void shared_unmap_filter(struct filter_stats *stats)
{
    if (stats != NULL)
        munmap(stats, sizeof(*stats));
}

struct health *shared_map_health(int fd, bool writer)
{
    return map(fd, sizeof(struct health), writer);
}

void shared_unmap_health(struct health *health)
{
    if (health != NULL)
        munmap(health, sizeof(*health));
}
