/* SPDX-License-Identifier: ISC */
/*
 * The words of access-log events. Records are written by a worker into its ring (base/ring.h), for the logger, and into the ring of
 * ended streams of its shard (base/table.h), for `explain`. TLS facts are nearly half of one and the host a sixth, so they stand
 * at its end and only what there is of them is copied. Readers run in other processes and believe nothing of what is in it.
 */
#include "base/record.h"

#include <stddef.h>
#include <string.h>

const char *record_event_name(enum record_event v)
{
    static const char *const names[RECORD_EVENT_COUNT] = { "start", "interval", "end", "denied" };

    return (unsigned)v < RECORD_EVENT_COUNT ? names[v] : "?";
}

size_t record_bytes(const struct record *record)
{
    size_t end = offsetof(struct record, row.host) + strnlen(record->row.host, ROW_HOST - 1) + 1;

    return record->row.tls ? sizeof(*record) : (end + 7) / 8 * 8;
}

void row_mend(struct row *row)
{
    row->host[ROW_HOST - 1] = '\0';
    row->path[ROW_PATH - 1] = '\0';
}

/* Subjects are a peer's own words, and may hold spaces: nothing else that would not be shown as it is. */
static void mend_text(char *text, size_t size)
{
    text[size - 1] = '\0';
    for (; *text != '\0'; text++)
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
}

void tls_facts_mend(struct tls_facts *facts)
{
    mend_text(facts->name, sizeof(facts->name));
    mend_text(facts->ja4, sizeof(facts->ja4));
    mend_text(facts->subject, sizeof(facts->subject));
    mend_text(facts->issuer, sizeof(facts->issuer));
}

void record_mend(struct record *record)
{
    if (record->near_count > NEAR_MISSES)
        record->near_count = NEAR_MISSES;
    row_mend(&record->row);
    for (unsigned side = 0; record->row.tls && side < DIRECTIONS; side++)
        tls_facts_mend(&record->tls[side]);
}
