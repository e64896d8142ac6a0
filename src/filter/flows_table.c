/* SPDX-License-Identifier: ISC */
/*
 * The table of flows: one chained hash by original tuple, and one by the name "W-N" of a row or session. Its buckets are of fixed
 * number and its flows of bounded number, each allocated alone: memory grows and shrinks with what is there. Tuples are chosen by
 * remotes, so they are hashed with a random key.
 *
 * A tuple may be there twice for a moment: the end of the older entry has not been told yet. The ids tell them apart.
 */
#include "filter/flows_state.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

static struct flow **tuple_bucket(const struct flows *f, uint8_t protocol, const struct addr *client,
                                  const struct addr *destination)
{
    struct {
        struct addr client, destination;
        uint32_t protocol;
    } key = { *client, *destination, protocol };

    _Static_assert(sizeof(key) == 2 * sizeof(struct addr) + 4, "no padding is hashed");
    return (struct flow **)&f->tuples[hash_bytes(&f->key, &key, sizeof(key)) % FLOWS_BUCKETS];
}

static struct flow **name_bucket(const struct flows *f, unsigned worker, uint64_t number)
{
    uint64_t key[] = { worker, number };

    return (struct flow **)&f->names[hash_bytes(&f->key, key, sizeof(key)) % FLOWS_BUCKETS];
}

static struct flow **bucket_of(const struct flows *f, const struct conntrack_entry *e)
{
    return tuple_bucket(f, e->protocol, &e->client, &e->destination);
}

static bool has_tuple(const struct conntrack_entry *e, uint8_t protocol, const struct addr *client, const struct addr *destination)
{
    return e->protocol == protocol && addr_eq(&e->client, client) && addr_eq(&e->destination, destination);
}

struct flow *flow_by_entry(const struct flows *f, const struct conntrack_entry *entry)
{
    struct flow *flow = *bucket_of(f, entry);

    while (flow != NULL &&
           (flow->entry.id != entry->id || !has_tuple(&flow->entry, entry->protocol, &entry->client, &entry->destination)))
        flow = flow->next_tuple;
    return flow;
}

struct flow *flow_by_tuple(const struct flows *f, uint8_t protocol, const struct addr *client, const struct addr *destination)
{
    struct flow *flow = *tuple_bucket(f, protocol, client, destination);

    while (flow != NULL && !has_tuple(&flow->entry, protocol, client, destination))
        flow = flow->next_tuple;
    return flow;
}

struct flow *flow_by_name(const struct flows *f, unsigned worker, uint64_t number)
{
    struct flow *flow = *name_bucket(f, worker, number);

    while (flow != NULL && (flow->worker != worker || flow->number != number))
        flow = flow->next_name;
    return flow;
}

struct flow *flow_add(struct flows *f, const struct conntrack_entry *entry)
{
    struct flow **bucket = bucket_of(f, entry);
    struct flow *flow = f->count < FLOWS_MAX ? calloc(1, sizeof(*flow)) : NULL;

    if (flow == NULL)
        return NULL;
    flow->entry = *entry;
    flow->opened_us = clock_us();
    flow->dump = f->dump;
    flow->next_tuple = *bucket;
    *bucket = flow;
    f->count++;
    return flow;
}

void flow_remove(struct flows *f, struct flow *flow)
{
    struct flow **at = bucket_of(f, &flow->entry);

    flow_unname(f, flow);
    while (*at != flow)
        at = &(*at)->next_tuple;
    *at = flow->next_tuple;
    f->count--;
    free(flow);
}

void flow_name(struct flows *f, struct flow *flow, unsigned worker, uint64_t number)
{
    struct flow **bucket = name_bucket(f, worker, number);

    flow_unname(f, flow);
    flow->named = true;
    flow->worker = worker;
    flow->number = number;
    flow->next_name = *bucket;
    *bucket = flow;
}

void flow_unname(struct flows *f, struct flow *flow)
{
    struct flow **at = name_bucket(f, flow->worker, flow->number);

    if (!flow->named)
        return;
    while (*at != flow)
        at = &(*at)->next_name;
    *at = flow->next_name;
    flow->named = false;
}

void flow_each(struct flows *f, void (*each)(struct flows *f, struct flow *flow, void *arg), void *arg)
{
    for (size_t i = 0; i < FLOWS_BUCKETS; i++)
        for (struct flow *flow = f->tuples[i], *next; flow != NULL; flow = next) {
            next = flow->next_tuple;
            each(f, flow, arg);
        }
}
