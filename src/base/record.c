/* SPDX-License-Identifier: ISC */
/*
 * The words of access-log events. Records are written by a worker into its ring (base/ring.h), for the logger, and into the ring of
 * ended streams of its shard (base/table.h), for `explain`. TLS facts are nearly half of one, so they stand at its end and are
 * copied only where there are some. Readers run in other processes and believe nothing of what is in it.
 */
#include "base/record.h"

#include <stddef.h>

const char *record_event_name(enum record_event v)
{
    static const char *const names[RECORD_EVENT_COUNT] = { "start", "interval", "end", "denied" };

    return (unsigned)v < RECORD_EVENT_COUNT ? names[v] : "?";
}

size_t record_bytes(const struct record *record)
{
    return record->row.tls ? sizeof(*record) : offsetof(struct record, tls);
}

void row_mend(struct row *row)
{
    row->host[ROW_HOST - 1] = '\0';
    row->path[ROW_PATH - 1] = '\0';
}

void tls_facts_mend(struct tls_facts *facts)
{
    facts->name[TLS_NAME - 1] = '\0';
    facts->ja4[TLS_JA4 - 1] = '\0';
    facts->subject[TLS_SUBJECT - 1] = '\0';
    facts->issuer[TLS_SUBJECT - 1] = '\0';
}

void record_mend(struct record *record)
{
    if (record->near_count > NEAR_MISSES)
        record->near_count = NEAR_MISSES;
    row_mend(&record->row);
    for (unsigned side = 0; record->row.tls && side < DIRECTIONS; side++)
        tls_facts_mend(&record->tls[side]);
}
