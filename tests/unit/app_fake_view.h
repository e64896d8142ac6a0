/* SPDX-License-Identifier: ISC */
/* A view of two shards that a test fills: what control sees, without processes. */
#ifndef APP_FAKE_VIEW_H
#define APP_FAKE_VIEW_H

#include "app/files.h"
#include "app/view.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAKE_ROWS 8

static inline struct shard *fake_shard(void)
{
    int fd = memfd_sized("shard", shard_bytes(FAKE_ROWS));
    struct shard *shard = fd >= 0 ? shard_map(fd, FAKE_ROWS, true) : NULL;

    if (shard == NULL)
        abort();
    close(fd);
    return shard;
}

static inline struct row *fake_row(struct shard *shard, unsigned worker, uint64_t number, const char *client, const char *host)
{
    struct row *row = row_take(shard);

    if (row == NULL)
        abort();
    row_begin(shard, row);
    row->number = number;
    row->worker = (uint8_t)worker;
    row->state = ROW_ESTABLISHED;
    row->phase = PHASE_WEBSOCKET;
    row->protocol = PROTO_WEBSOCKET;
    row->mode = MODE_EXPLICIT;
    row->exchanges = 1;
    row->listener = table_intern(shard, "proxy");
    row->policy = table_intern(shard, "web");
    row->policy_line = 30;
    row->opened_us = 1700000000000000u;
    if (!addr_parse_port(&row->client, span_str(client)))
        abort();
    strcpy(row->host, host);
    row->method = table_intern(shard, "GET");
    strcpy(row->path, "/chat");
    row_end(shard, row);
    count_add(shard, COUNT_SESSIONS_OPEN, 1);
    count_add(shard, COUNT_SESSIONS_OPENED, 1);
    return row;
}

static inline void fake_denial(struct shard *shard, unsigned worker, uint64_t number, uint64_t time_us)
{
    struct record record = { .time_us = time_us, .event = RECORD_DENIED, .exchange = 1, .port = 80, .near_count = 1 };

    record.row.worker = (uint8_t)worker;
    record.row.number = number;
    record.row.reason = R_NO_POLICY;
    record.near[0].policy = table_intern(shard, "web");
    record.near[0].line = 30;
    record.near[0].condition = 5; /* ports */
    strcpy(record.row.host, "denied.example");
    ended_put(shard, &record);
    count_reason(shard, R_NO_POLICY);
    count_add(shard, COUNT_DENIED, 1);
}

/* Two workers; sessions 0-1, 0-2 and 1-1 are live, 0-3 and 1-7 were denied. */
static inline void fake_view(struct view *v)
{
    memset(v, 0, sizeof(*v));
    v->workers = v->writers = 2;
    v->rows = FAKE_ROWS;
    v->now_us = 1700000100000000u;
    v->shards[0] = fake_shard();
    v->shards[1] = fake_shard();
    fake_row(v->shards[0], 0, 1, "10.0.0.1:1000", "one.example");
    fake_row(v->shards[0], 0, 2, "10.0.0.2:1000", "two.example");
    fake_row(v->shards[1], 1, 1, "[fd00::1]:1000", "three.example");
    fake_denial(v->shards[0], 0, 3, 1700000001000000u);
    fake_denial(v->shards[1], 1, 7, 1700000002000000u);
    for (unsigned i = 0; i < 2; i++) {
        v->status.workers[i].pid = 100 + (int)i;
        v->status.workers[i].ready = 1;
    }
    v->status.started_us = 1700000000000000u;
    v->status.generation = 1;
}

static inline void fake_view_fini(struct view *v)
{
    shard_unmap(v->shards[0]);
    shard_unmap(v->shards[1]);
}

#endif
