/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_FLOWS_H
#define POSTERN_FILTER_FLOWS_H

#include "base/ring.h"
#include "base/table.h"
#include "filter/conntrack.h"
#include "filter/route.h"
#include "policy/generation.h"

/*
 * Flows that the kernel forwards (or lets in to this machine) without the proxy, as rows: the filter process's own shard. And the
 * join: which session of which worker a conntrack entry belongs to. Fed with conntrack's events.
 */
struct flows;

struct flows_args {
    struct shard *shard; /* for writing */
    unsigned worker;     /* W of "W-N" of these rows: the number of workers */
    struct ring *log;    /* an END record of each flow; NULL: none */
    int log_wake;
    struct route *route; /* to say by which interfaces a flow passes; NULL: unknown */
    uint64_t first_number;
    /* The entry of a session changed (or ended: entry->destroyed). It must not call back into the flows. */
    void (*joined)(void *arg, unsigned worker, uint64_t number, const struct conntrack_entry *entry);
    void *arg;
};
MUST_CHECK struct flows *flows_new(const struct flows_args *args);
void flows_free(struct flows *f);
/* Names and policies of rows come from it. Takes a reference. */
void flows_set_generation(struct flows *f, struct generation *g);

/*
 * One event, or one entry of a dump. A row is opened for what the ruleset let pass by itself, if there is a place in the shard; if
 * not, that is counted (R_OVERLOAD) and tried again with the next event or dump. An entry that is over opens none.
 */
void flows_event(struct flows *f, const struct conntrack_entry *entry);
/* Another posternd keeps the rows: those that there are go without a record, and no others are opened, until it is taken back.
 * Sessions are joined as ever. */
void flows_retire(struct flows *f, bool on);
/* A dump begins and ends: rows of entries that it did not show end now. */
void flows_dump_begin(struct flows *f);
void flows_dump_end(struct flows *f);

/*
 * A session of a worker: its flow is this entry. Changes of it are told by `joined` from now on, until flows_leave() or until it
 * was told that the entry is destroyed. It has no row of ours. false: there is no room, the entry is destroyed, or it is the flow
 * of another worker's session.
 */
MUST_CHECK bool flows_join(struct flows *f, unsigned worker, uint64_t number, const struct conntrack_entry *entry);
void flows_leave(struct flows *f, unsigned worker, uint64_t number);
/* The worker died. */
void flows_leave_all(struct flows *f, unsigned worker);
/* The entry of a row of ours ("W-N"), or of a session that joined; false: no such. */
bool flows_find(const struct flows *f, unsigned worker, uint64_t number, struct conntrack_entry *out);
/* Its entry is about to be deleted for this reason (R_KILLED, R_BLOCKED): the record of the row will say so. Sessions: no effect.
 */
void flows_because(struct flows *f, unsigned worker, uint64_t number, enum reason why);

/*
 * By the generation that is set: of the kernel-forwarded flows (PACKET_MARK_FORWARDED, PACKET_MARK_TRANSLATED) those that its
 * policy would not open are deleted, the marks of the others renewed. Dumps first, so that none is missed. A related flow goes the
 * way of the flow that it is related to; if that is not there any more, it is deleted. Flows to this machine
 * (PACKET_MARK_INPUT) are never deleted, but their marks name their policy of now. Returns how many were deleted.
 */
size_t flows_judge_again(struct flows *f, struct conntrack *c);

/*
 * Deletes the entry of a flow that the kernel forwards or lets in. Of the latter the socket on this machine is ended first
 * (filter/sock_destroy.h): else its next packet would make a new entry, by which the client's packets pass. What that failed with
 * is written to `socket_error`, and the entry is deleted all the same. false with errno, ENOENT: it is gone already.
 */
MUST_CHECK bool flows_end(struct conntrack *c, const struct conntrack_entry *entry, int *socket_error);

/* Ends so the flows of clients in this network, but for those of sessions; their records say R_BLOCKED. Returns how many. */
size_t flows_block(struct flows *f, struct conntrack *c, const struct network *clients);

#endif
