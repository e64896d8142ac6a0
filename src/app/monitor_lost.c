/* SPDX-License-Identifier: ISC */
/*
 * What a dead worker leaves behind: rows of streams that died with it. Each is reported as lost, to the access log and to the ring
 * of ended streams, and then the shard is cleared for the replacement. While no worker owns the shard and the log ring, the monitor
 * is their one writer. Flows of the filter process pass through the kernel and live on when it dies: its shard is only cleared, and
 * its replacement makes the rows anew.
 */
#include "app/monitor.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct losing {
    struct shard *shard;
    struct ring ring;
};

/* Nothing was under way: the line tells of the flow alone, not of the exchange before, which has its own. */
static void forget_exchange(struct row *row)
{
    row->status = 0;
    row->method = 0;
    row->host[0] = row->path[0] = '\0';
}

static void on_lost_row(const struct record *last, void *arg)
{
    struct losing *losing = arg;
    struct record record = *last;
    const struct row *row = &last->row;

    record.time_us = clock_wall_us();
    record.event = RECORD_END;
    record.duration_us = record.time_us > row->opened_us ? record.time_us - row->opened_us : 0;
    memcpy(record.bytes, row->bytes, sizeof(record.bytes));
    if (row->open)
        record.exchange = row->exchanges;
    else
        forget_exchange(&record.row);
    record.row.reason = R_LOST;
    record.row.closed_by = CLOSER_POSTERN;
    record.row.state = ROW_CLOSED;
    if (row->phase == PHASE_CLOSING && !row->open) /* its end was reported already */
        return;
    count_reason(losing->shard, R_LOST);
    ended_put(losing->shard, &record);
    if (!ring_put_part(&losing->ring, &record, record_bytes(&record)))
        count_set(losing->shard, COUNT_LOG_DROPPED, ring_dropped(&losing->ring));
}

void children_clear_worker(struct monitor *m, unsigned index)
{
    struct losing losing = { .shard = shard_map(m->shared.shard_rw[index], m->shared.rows, true) };
    uint64_t one = 1;
    uint32_t lost;

    if (losing.shard == NULL || !shared_map_ring(&losing.ring, m->shared.ring_rw[index], true)) {
        log_error("the shard of worker %u cannot be mapped: %s", index, strerror(errno));
        shard_unmap(losing.shard);
        return;
    }
    lost = shard_clear(losing.shard, on_lost_row, &losing);
    if (ring_must_wake(&losing.ring) && write(m->shared.log_wake, &one, sizeof(one)) < 0)
        log_error("the logger cannot be woken: %s", strerror(errno));
    if (lost > 0)
        log_error("worker %u took %u streams with it", index, lost);
    shared_unmap_ring(&losing.ring);
    shard_unmap(losing.shard);
}

void children_clear_filter(struct monitor *m)
{
    struct shard *shard = shard_map(m->shared.shard_rw[m->shared.workers], m->shared.rows, true);

    if (shard == NULL) {
        log_error("the shard of filter cannot be mapped: %s", strerror(errno));
        return;
    }
    (void)shard_clear(shard, NULL, NULL);
    shard_unmap(shard);
}
