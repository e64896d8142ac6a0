/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_RECORD_H
#define POSTERN_BASE_RECORD_H

#include "base/row.h"
#include "base/tls_facts.h"

/*
 * What happened: one line of the access log (design.md section 8), and one entry in the ring of ended and denied streams.
 *
 * Clocks are read when a turn of the loop begins (base/clock.h), so each of these times is that of the turn in which it happened,
 * and duration and first byte are as exact as a turn is long: well below the millisecond that the log shows, unless the worker has
 * more to do than it can. An answer that comes in the same turn as its request took 0.
 */
enum record_event { RECORD_START, RECORD_INTERVAL, RECORD_END, RECORD_DENIED, RECORD_EVENT_COUNT };

/* A policy that came close: what of it did not fit. Or what denied a message or a stream: a match rule, a policy, a reason. */
#define NEAR_IS_RULE UINT16_MAX
struct near_miss {
    name_id policy;
    uint16_t condition; /* enum condition (policy/rules.h), or NEAR_IS_RULE */
    uint32_t line;
};

#define NEAR_MISSES 4

struct record {
    uint64_t sequence;          /* in the ring of ended streams: its number there + 1, written last; 0: empty */
    uint64_t time_us;           /* wall time of the event */
    uint64_t duration_us;       /* since the exchange or tunnel began */
    uint64_t first_byte_us;     /* from its begin to the first byte of the answer; 0: none */
    uint64_t bytes[DIRECTIONS]; /* of this exchange or tunnel alone */
    uint32_t exchange;          /* K of "W-N-K"; 0: the flow itself */
    uint16_t port;              /* of the target; 0: none */
    uint8_t event;              /* enum record_event */
    uint8_t stage;              /* enum stage (policy/rules.h) at which it was judged last */
    uint8_t near_count;
    struct near_miss near[NEAR_MISSES];
    struct row row;                   /* as it was */
    struct tls_facts tls[DIRECTIONS]; /* valid if row.tls: UP the client's side, DOWN the server's. Last: others are not copied */
};

/* How much of the record there is, in whole words: without TLS facts it ends with the host's NUL, and the rest is not even copied.
 */
size_t record_bytes(const struct record *record);
/* What somebody else wrote: strings end, whatever was in them, and counts are no higher than there is room for. */
void row_mend(struct row *row);
void tls_facts_mend(struct tls_facts *facts);
void record_mend(struct record *record);

const char *record_event_name(enum record_event v);

#endif
