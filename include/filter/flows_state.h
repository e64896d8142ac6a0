/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_FLOWS_STATE_H
#define POSTERN_FILTER_FLOWS_STATE_H

#include "base/hash.h"
#include "filter/flows.h"
#include "policy/packet.h"

/* Shared by the files of the flows module (flows.c, flows_table.c, flows_rows.c, flows_judge.c), and by nobody else. */

/* More entries are not followed: four times what the kernel itself tracks by default on a large machine. */
#define FLOWS_MAX (1u << 20)
#define FLOWS_BUCKETS (1u << 16)

/* One entry that is followed: for its row, for a session that joined, or until it ends because its session left. */
struct flow {
    struct flow *next_tuple, *next_name; /* in the chains of both indices */
    struct conntrack_entry entry;        /* what is known of it: events say less than a dump */
    struct row *row;                     /* NULL: none */
    bool named;                          /* `worker` and `number` are those of its row or of its session */
    bool joined;                         /* it is a session's */
    bool left;                           /* it was a session's: never a row of ours */
    bool full;                           /* there was no place for its row, and that was counted */
    unsigned worker;
    uint64_t number;
    uint64_t opened_us; /* monotonic */
    uint32_t dump;      /* the dump, or the time after it, in which it was seen last */
    enum reason why;    /* what its record will say; R_NONE: it ended by itself */
    char interface_in[IF_NAMESIZE], interface_out[IF_NAMESIZE];
};

struct flows {
    struct flows_args args;
    struct generation *generation; /* NULL: none yet */
    struct hash_key key;
    uint32_t count, dump;
    bool retired; /* no rows */
    uint64_t next_number;
    struct flow *tuples[FLOWS_BUCKETS], *names[FLOWS_BUCKETS];
};

/* flows_table.c. By original tuple and id; by original tuple alone (of the flow that another is related to). NULL: not followed. */
struct flow *flow_by_entry(const struct flows *f, const struct conntrack_entry *entry);
struct flow *flow_by_tuple(const struct flows *f, uint8_t protocol, const struct addr *client, const struct addr *destination);
struct flow *flow_by_name(const struct flows *f, unsigned worker, uint64_t number);
/* NULL: too many, or no memory. */
MUST_CHECK struct flow *flow_add(struct flows *f, const struct conntrack_entry *entry);
/* Frees it. Its row must be gone. */
void flow_remove(struct flows *f, struct flow *flow);
void flow_name(struct flows *f, struct flow *flow, unsigned worker, uint64_t number);
void flow_unname(struct flows *f, struct flow *flow);
/* Calls for each; `each` may remove the flow that it is given, and no other. */
void flow_each(struct flows *f, void (*each)(struct flows *f, struct flow *flow, void *arg), void *arg);

/* flows_rows.c. Looks up the interfaces by which it passes; "" where that is not known, and for this machine. */
void flow_interfaces(const struct flows *f, struct flow *flow);
/* Opens a row if there is a place, or counts that there is none. */
void flow_row_open(struct flows *f, struct flow *flow);
/* The row says what the entry says now. */
void flow_row_update(struct flows *f, struct flow *flow);
/* The row's policy, zones and generation are those that the generation that is set says. */
void flow_row_decided(struct flows *f, struct flow *flow);
/* Its record, and the row is released. */
void flow_row_end(struct flows *f, struct flow *flow);
/* Released without a record. */
void flow_row_drop(struct flows *f, struct flow *flow);
/* Between which zones it passes. */
void flow_zones(const struct flows *f, const struct flow *flow, int *in, int *out);

/* Did the ruleset open it to be forwarded by the kernel, or let in to this machine? */
static inline bool flow_is_governed(const struct conntrack_entry *e)
{
    unsigned kind = packet_mark_kind(e->mark);

    return kind == PACKET_MARK_FORWARDED || kind == PACKET_MARK_TRANSLATED || kind == PACKET_MARK_INPUT;
}

#endif
