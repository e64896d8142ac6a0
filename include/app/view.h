/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_VIEW_H
#define POSTERN_APP_VIEW_H

#include "app/process.h"
#include "policy/generation.h"

/*
 * All that control can see: every shard, the log's counters, the generation in force, and what the monitor last said. Read-only,
 * and free of sockets, so that commands and metrics are tested with a table that a test fills.
 */
struct view {
    unsigned workers;
    unsigned writers; /* of shards: the workers, and behind them the filter process */
    uint32_t rows;
    struct shard *shards[WRITERS_MAX];
    struct ring rings[WRITERS_MAX];
    struct {
        unsigned writers; /* 0: none */
        uint32_t rows;
        struct shard *shards[WRITERS_MAX];
    } old; /* of a posternd whose place this one took, while it drains: looked at, not counted */
    const struct log_stats *log_stats;
    const struct filter_stats *filter_stats; /* NULL: in tests */
    const struct health *health;             /* NULL: in tests */
    const struct generation *generation;     /* NULL: none yet */
    struct wire_status status;
    uint64_t now_us; /* wall time */
};

/* "W-N" names a session, "W-N-K" a request of it; W is that of its writer: of flows that the kernel forwards, the filter process.
 */
struct stream_id {
    unsigned worker;
    uint64_t number;
    uint32_t exchange; /* 0: the session */
};

MUST_CHECK bool stream_id_parse(struct stream_id *out, struct span text, unsigned writers);

/* The sum of a counter over all shards; COUNT_LOG_DROPPED also counts what the logger could not write. */
uint64_t view_count(const struct view *v, enum counter c);
uint64_t view_reason(const struct view *v, enum reason r);
/* All shards, one after the other: those of our writers, then those of the posternd before. */
unsigned view_tables(const struct view *v);
const struct shard *view_table(const struct view *v, unsigned table);
/* How far the rows of a shard have to be read. */
uint32_t view_rows_high(const struct view *v, unsigned table);
/* As row_read(); what the posternd before still has is ROW_DRAINING. */
bool view_row_read(const struct view *v, unsigned table, uint32_t index, struct row *out, struct tls_facts *tls);
/* The name of the configuration file, for messages. */
const char *view_file(const struct view *v);
/* Is there a packet filter in the configuration in force? */
bool view_has_filter(const struct view *v);
/* Is there inspection, and so a minter? */
bool view_has_minter(const struct view *v);
/* Are all workers, filter and minter if they are configured, up and serving? */
/* What is known of an upstream of a listener. */
struct health_facts view_upstream(const struct view *v, const struct conf_listener *listener, const struct conf_upstream *upstream);
bool view_healthy(const struct view *v);

/* The shard with the live row, or the newest ended record, of a stream; NULL if it is not there. `tls`: as row_read() has it. */
MUST_CHECK const struct shard *view_find_row(const struct view *v, const struct stream_id *id, struct row *out,
                                             struct tls_facts *tls);
MUST_CHECK const struct shard *view_find_record(const struct view *v, const struct stream_id *id, struct record *out);

#endif
