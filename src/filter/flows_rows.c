/* SPDX-License-Identifier: ISC */
/*
 * Rows of flows that the kernel forwards or lets in: what operators see of them, in the shard of the filter process, and the one
 * record at their end. Who decided is read from the mark that the ruleset gave the flow; zones and interfaces are what routing says
 * of both ends, since connection tracking knows neither.
 *
 * Bytes are those that the kernel counted, with the packets' headers, and only if it was asked to count (nf_conntrack_acct).
 */
#include "filter/flows_state.h"

#include "base/clock.h"

#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static enum row_protocol protocol_of(uint8_t protocol)
{
    switch (protocol) {
    case IPPROTO_TCP:
        return PROTO_TCP;
    case IPPROTO_UDP:
        return PROTO_UDP;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
        return PROTO_ICMP;
    }
    return PROTO_NONE;
}

static enum row_state state_of(const struct conntrack_entry *e)
{
    if (e->destroyed)
        return ROW_CLOSED;
    if (e->closing || e->state == CONNTRACK_CLOSED)
        return ROW_CLOSING;
    if (e->state == CONNTRACK_RELATED)
        return ROW_RELATED;
    return e->state == CONNTRACK_ESTABLISHED ? ROW_ESTABLISHED : ROW_NEW;
}

void flow_zones(const struct flows *f, const struct flow *flow, int *in, int *out)
{
    const struct zones *zones = rules_zones(f->generation->rules);
    const struct conntrack_entry *e = &flow->entry;

    *in = zones_find(zones, &e->client, flow->interface_in);
    *out = packet_mark_kind(e->mark) == PACKET_MARK_INPUT ? zones_self(f->generation->conf)
                                                          : zones_find(zones, &e->server, flow->interface_out);
}

/* Of a port forward there is no name, but the line that it stands on. */
static void write_policy(struct flows *f, const struct flow *flow)
{
    const struct conf *conf = f->generation->conf;
    int index = packet_mark_index(flow->entry.mark);
    struct row *row = flow->row;

    row->policy = 0;
    row->policy_line = 0;
    if (index < 0)
        return;
    if (packet_mark_kind(flow->entry.mark) == PACKET_MARK_TRANSLATED) {
        if ((size_t)index < conf->packet_filter.forward_count)
            row->policy_line = conf->packet_filter.forwards[index].line;
    } else if ((size_t)index < conf->policy_count) {
        row->policy = table_intern(f->args.shard, conf->policies[index].name);
        row->policy_line = conf->policies[index].line;
    }
}

/* Without a generation nobody knows what the mark means. */
static void write_decision(struct flows *f, const struct flow *flow)
{
    struct row *row = flow->row;
    int in, out;

    if (f->generation == NULL)
        return;
    flow_zones(f, flow, &in, &out);
    row->zone_in = table_intern(f->args.shard, zones_name(f->generation->conf, in));
    row->zone_out = table_intern(f->args.shard, zones_name(f->generation->conf, out));
    row->generation = f->generation->number;
    write_policy(f, flow);
}

/* Counters only grow; what an event does not say is not less than what was known. */
static void write_bytes(struct flows *f, struct row *row, const struct conntrack_entry *e)
{
    static const enum counter totals[DIRECTIONS] = { COUNT_BYTES_UP, COUNT_BYTES_DOWN };

    for (int d = UP; d < DIRECTIONS; d++) {
        if (e->bytes[d] <= row->bytes[d])
            continue;
        count_add(f->args.shard, totals[d], e->bytes[d] - row->bytes[d]);
        row->bytes[d] = e->bytes[d];
        row->last_us[d] = clock_wall_us();
    }
    if (e->replied && row->last_us[DOWN] == 0)
        row->last_us[DOWN] = clock_wall_us();
}

static void write_entry(struct flows *f, struct row *row, const struct conntrack_entry *e)
{
    row->conntrack = e->id;
    row->mark = e->mark;
    row->conntrack_state = (uint8_t)e->state;
    row->state = (uint8_t)state_of(e);
    row->phase = row->state == ROW_CLOSING || row->state == ROW_CLOSED ? PHASE_CLOSING : PHASE_TUNNEL;
    row->client = e->client;
    row->destination = e->destination;
    row->server = row->translated = e->server;
    row->upstream = e->upstream;
    write_bytes(f, row, e);
}

static void find_interface(const struct flows *f, const struct addr *to, char out[IF_NAMESIZE])
{
    if (f->args.route == NULL || route_find(f->args.route, to, out) != ROUTE_FOUND)
        out[0] = '\0';
}

void flow_interfaces(const struct flows *f, struct flow *flow)
{
    find_interface(f, &flow->entry.client, flow->interface_in);
    if (packet_mark_kind(flow->entry.mark) != PACKET_MARK_INPUT)
        find_interface(f, &flow->entry.server, flow->interface_out);
}

void flow_row_open(struct flows *f, struct flow *flow)
{
    struct shard *shard = f->args.shard;
    struct row *row = flow->row = row_take(shard);

    if (row == NULL) {
        if (!flow->full)
            count_reason(shard, R_OVERLOAD);
        flow->full = true;
        return;
    }
    row_begin(shard, row);
    row->number = f->next_number++;
    row->worker = (uint8_t)f->args.worker;
    row->mode = MODE_FORWARDED;
    row->protocol = (uint8_t)protocol_of(flow->entry.protocol);
    row->open = true;
    row->opened_us = row->last_us[UP] = clock_wall_us();
    row->interface_in = table_intern(shard, flow->interface_in);
    row->interface_out = table_intern(shard, flow->interface_out);
    write_entry(f, row, &flow->entry);
    write_decision(f, flow);
    row_end(shard, row);
    flow_name(f, flow, f->args.worker, row->number);
    count_add(shard, COUNT_SESSIONS_OPENED, 1);
    count_add(shard, COUNT_SESSIONS_OPEN, 1);
}

void flow_row_update(struct flows *f, struct flow *flow)
{
    row_begin(f->args.shard, flow->row);
    write_entry(f, flow->row, &flow->entry);
    row_end(f->args.shard, flow->row);
}

void flow_row_decided(struct flows *f, struct flow *flow)
{
    row_begin(f->args.shard, flow->row);
    flow->row->mark = flow->entry.mark;
    write_decision(f, flow);
    row_end(f->args.shard, flow->row);
}

static void send_record(struct flows *f, const struct record *record)
{
    uint64_t one = 1;

    if (f->args.log == NULL)
        return;
    if (!ring_put_part(f->args.log, record, record_bytes(record)))
        count_set(f->args.shard, COUNT_LOG_DROPPED, ring_dropped(f->args.log));
    if (ring_must_wake(f->args.log) && write(f->args.log_wake, &one, sizeof(one)) < 0)
        log_debug("the logger's eventfd is full: it is awake");
}

void flow_row_end(struct flows *f, struct flow *flow)
{
    struct record record = { .time_us = clock_wall_us(), .event = RECORD_END, .row = *flow->row };
    struct row *row = &record.row;

    row->state = ROW_CLOSED;
    row->phase = PHASE_CLOSING;
    row->conntrack_state = CONNTRACK_CLOSED;
    row->reason = (uint8_t)flow->why;
    row->closed_by = flow->why != R_NONE ? CLOSER_POSTERN : CLOSER_NONE;
    row->open = false;
    record.duration_us = clock_us() - flow->opened_us;
    record.port = flow->entry.destination.port;
    memcpy(record.bytes, row->bytes, sizeof(record.bytes));
    if (flow->why != R_NONE)
        count_reason(f->args.shard, flow->why);
    send_record(f, &record);
    ended_put(f->args.shard, &record);
    flow_row_drop(f, flow);
}

void flow_row_drop(struct flows *f, struct flow *flow)
{
    row_release(f->args.shard, flow->row);
    flow->row = NULL;
    flow_unname(f, flow);
    count_sub(f->args.shard, COUNT_SESSIONS_OPEN, 1);
}
