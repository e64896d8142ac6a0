/* SPDX-License-Identifier: ISC */
/*
 * What becomes of conntrack's events. An entry that the ruleset marked as forwarded, translated or let in gets a row; one that is
 * the client's flow of a worker's session is told to that worker; all others are none of our business and are forgotten at once.
 *
 * Events may be lost, and of entries that are older than our subscription there are none. So a dump is the truth: what it shows is
 * followed from then on, and what it does not show has ended. Between dumps, events say less than a dump (counters only at the end,
 * the TCP state only when it changed), so each is merged into what is known.
 */
#include "filter/flows_state.h"

#include <stdlib.h>

struct flows *flows_new(const struct flows_args *args)
{
    struct flows *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return NULL;
    f->args = *args;
    f->next_number = args->first_number;
    hash_key_random(&f->key);
    return f;
}

static void forget(struct flows *f, struct flow *flow, void *arg)
{
    (void)arg;
    if (flow->row != NULL)
        flow_row_drop(f, flow);
    flow_remove(f, flow);
}

static void forget_row(struct flows *f, struct flow *flow, void *arg)
{
    (void)arg;
    if (flow->row != NULL)
        forget(f, flow, NULL);
}

void flows_retire(struct flows *f, bool on)
{
    f->retired = on;
    if (on)
        flow_each(f, forget_row, NULL);
}

void flows_free(struct flows *f)
{
    if (f == NULL)
        return;
    flow_each(f, forget, NULL);
    generation_unref(f->generation);
    free(f);
}

void flows_set_generation(struct flows *f, struct generation *g)
{
    generation_ref(g);
    generation_unref(f->generation);
    f->generation = g;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Is there anything new that a session's row shows? */
static bool differs(const struct conntrack_entry *a, const struct conntrack_entry *b)
{
    return a->state != b->state || a->mark != b->mark || a->destroyed != b->destroyed || !addr_eq(&a->server, &b->server) ||
           !addr_eq(&a->upstream, &b->upstream);
}

/* `known` becomes what it is together with what is new. Did anything change? */
static bool merge(struct conntrack_entry *known, const struct conntrack_entry *now)
{
    struct conntrack_entry next = *now;
    bool changed;

    for (int d = UP; d < DIRECTIONS; d++) {
        next.bytes[d] = greater(next.bytes[d], known->bytes[d]);
        next.packets[d] = greater(next.packets[d], known->packets[d]);
    }
    if (next.master_client.family == 0) {
        next.master_client = known->master_client;
        next.master_destination = known->master_destination;
        next.master_protocol = known->master_protocol;
    }
    if (next.state == CONNTRACK_NONE) {
        next.state = known->state;
        next.closing = known->closing;
    }
    changed = differs(known, &next);
    *known = next;
    return changed;
}

/* It has ended: whoever knew of it is told. */
static void end(struct flows *f, struct flow *flow)
{
    flow->entry.destroyed = true;
    flow->entry.state = CONNTRACK_CLOSED;
    if (flow->joined)
        f->args.joined(f->args.arg, flow->worker, flow->number, &flow->entry);
    else if (flow->row != NULL)
        flow_row_end(f, flow);
    flow_remove(f, flow);
}

/* An entry that was not followed so far. */
static void admit(struct flows *f, const struct conntrack_entry *entry)
{
    struct flow *flow;

    if (f->retired || !flow_is_governed(entry) || entry->state == CONNTRACK_CLOSED)
        return;
    flow = flow_add(f, entry);
    if (flow == NULL) {
        count_reason(f->args.shard, R_OVERLOAD);
        return;
    }
    if (entry->state == CONNTRACK_NONE) /* as far as this event says */
        flow->entry.state = entry->related ? CONNTRACK_RELATED : entry->replied ? CONNTRACK_ESTABLISHED : CONNTRACK_NEW;
    flow_interfaces(f, flow);
    flow_row_open(f, flow);
}

void flows_event(struct flows *f, const struct conntrack_entry *entry)
{
    struct flow *flow = flow_by_entry(f, entry);
    bool changed;

    if (flow == NULL) {
        admit(f, entry);
        return;
    }
    flow->dump = f->dump;
    changed = merge(&flow->entry, entry);
    if (flow->row != NULL)
        flow_row_update(f, flow);
    if (entry->destroyed)
        end(f, flow);
    else if (flow->joined && changed)
        f->args.joined(f->args.arg, flow->worker, flow->number, &flow->entry);
    else if (flow->row == NULL && !flow->joined && !flow->left && !f->retired)
        flow_row_open(f, flow);
}

void flows_dump_begin(struct flows *f)
{
    f->dump++;
}

static void end_if_unseen(struct flows *f, struct flow *flow, void *arg)
{
    (void)arg;
    if (flow->dump != f->dump)
        end(f, flow);
}

void flows_dump_end(struct flows *f)
{
    flow_each(f, end_if_unseen, NULL);
}

static void leave(struct flows *f, struct flow *flow)
{
    flow->joined = false;
    flow->left = true;
    flow_unname(f, flow);
    if (!flow_is_governed(&flow->entry))
        flow_remove(f, flow);
}

bool flows_join(struct flows *f, unsigned worker, uint64_t number, const struct conntrack_entry *entry)
{
    struct flow *flow;

    if (entry->destroyed)
        return false;
    flows_leave(f, worker, number);
    flow = flow_by_entry(f, entry);
    if (flow != NULL && flow->joined && flow->worker != worker)
        return false;
    if (flow == NULL)
        flow = flow_add(f, entry);
    if (flow == NULL)
        return false;
    if (flow->row != NULL)
        flow_row_drop(f, flow);
    flow_name(f, flow, worker, number);
    flow->joined = true;
    return true;
}

void flows_leave(struct flows *f, unsigned worker, uint64_t number)
{
    struct flow *flow = flow_by_name(f, worker, number);

    if (flow != NULL && flow->joined)
        leave(f, flow);
}

static void leave_if_of(struct flows *f, struct flow *flow, void *arg)
{
    const unsigned *worker = arg;

    if (flow->joined && flow->worker == *worker)
        leave(f, flow);
}

void flows_leave_all(struct flows *f, unsigned worker)
{
    flow_each(f, leave_if_of, &worker);
}

bool flows_find(const struct flows *f, unsigned worker, uint64_t number, struct conntrack_entry *out)
{
    const struct flow *flow = flow_by_name(f, worker, number);

    if (flow == NULL)
        return false;
    *out = flow->entry;
    return true;
}

void flows_because(struct flows *f, unsigned worker, uint64_t number, enum reason why)
{
    struct flow *flow = flow_by_name(f, worker, number);

    if (flow != NULL && flow->row != NULL)
        flow->why = why;
}
