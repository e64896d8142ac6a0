/* SPDX-License-Identifier: ISC */
/*
 * The words of access-log events. Records are written by a worker into its ring (base/ring.h), for the logger, and into the ring of
 * ended streams of its shard (base/table.h), for `explain`.
 */
#include "base/record.h"

const char *record_event_name(enum record_event v)
{
    static const char *const names[RECORD_EVENT_COUNT] = { "start", "interval", "end", "denied" };

    return (unsigned)v < RECORD_EVENT_COUNT ? names[v] : "?";
}
