/* SPDX-License-Identifier: ISC */
/*
 * What operators see: the row while it lives, one record for each exchange, tunnel or denial, interval records for what lives long.
 * An account is opened when an exchange or tunnel begins and closed by its one record; whoever ends it first decides what it says.
 */
#include "session/state.h"
#include "session/websocket.h"

#include "base/clock.h"

#include <string.h>
#include <unistd.h>

void report_begin(struct session *s, enum row_protocol protocol)
{
    struct row *row = s->row;

    s->account = (struct account){ .began_us = clock_us(),
                                   .base = { row->bytes[UP], row->bytes[DOWN] },
                                   .number = ++row->exchanges,
                                   .reported_ms = clock_ms(),
                                   .open = true };
    s->server_offends = false;
    row_begin(s->engine->shard, row);
    if (row->state == ROW_NEW) /* the client said something: the flow is two-way */
        row->state = ROW_ESTABLISHED;
    row->open = true;
    row->protocol = (uint8_t)protocol;
    row->policy = row->zone_out = row->interface_out = 0;
    row->policy_line = 0;
    row->status = 0;
    row->retries = 0;
    row->reason = R_NONE;
    row->closed_by = CLOSER_NONE;
    row->close_code = 0;
    row->method = 0;
    row->host[0] = row->path[0] = '\0';
    if (s->tunnel == NULL) {
        memset(&row->server, 0, sizeof(row->server));
        memset(&row->upstream, 0, sizeof(row->upstream));
    }
    row_end(s->engine->shard, row);
    if (protocol == PROTO_HTTP)
        count_add(s->engine->shard, COUNT_REQUESTS, 1);
}

void report_request(struct session *s, struct span method, struct span host, struct span path)
{
    struct row *row = s->row;
    char name[TABLE_NAME_SIZE];

    span_show(method, name, sizeof(name));
    row_begin(s->engine->shard, row);
    row->method = table_intern(s->engine->shard, name);
    span_show(host, row->host, sizeof(row->host));
    span_show(path, row->path, sizeof(row->path));
    row_end(s->engine->shard, row);
}

void report_judged(struct session *s, const struct judgement *j)
{
    const struct conf *conf = s->generation->conf;
    struct shard *shard = s->engine->shard;
    struct row *row = s->row;
    int policy = j->verdict.policy;

    row_begin(shard, row);
    row->policy = policy >= 0 ? table_intern(shard, conf->policies[policy].name) : 0;
    row->policy_line = policy >= 0 ? conf->policies[policy].line : 0;
    s->account.port = j->port;
    if (j->facts.known & KNOWN_ADDRESS) {
        row->server = j->facts.server;
        row->zone_out = table_intern(shard, zones_name(conf, j->facts.zone_out));
        for (size_t i = 0; i < j->address_count; i++)
            if (addr_eq(&j->addresses[i], &j->facts.server))
                row->interface_out = table_intern(shard, j->interfaces[i]);
    }
    row_end(shard, row);
}

void report_bytes(struct session *s, enum direction direction, size_t bytes)
{
    s->row->bytes[direction] += bytes;
    s->row->last_us[direction] = clock_wall_us();
    count_add(s->engine->shard, direction == UP ? COUNT_BYTES_UP : COUNT_BYTES_DOWN, bytes);
}

void report_first_byte(struct session *s)
{
    s->account.first_byte_us = clock_us();
}

/* Denials by policy are explained by the policies that came close, those of messages and revoked streams by who denied them. */
static void add_near_misses(struct session *s, struct record *record, const struct judgement *j)
{
    const struct conf *conf = s->generation->conf;
    struct rules_near near[NEAR_MISSES];
    enum reason why = (enum reason)record->row.reason;

    if (s->websocket != NULL && s->websocket->rule != 0) {
        record->near_count = 1;
        record->near[0] = (struct near_miss){ s->websocket->rule, NEAR_IS_RULE, s->websocket->rule_line };
        return;
    }
    if (j == NULL || (why != R_POLICY_DENIED && why != R_NO_POLICY && why != R_TUNNEL_PROTOCOL && why != R_SERVER_FIRST))
        return;
    record->near_count = (uint8_t)rules_near(s->generation->rules, &j->facts, j->last, near, NEAR_MISSES);
    for (size_t i = 0; i < record->near_count; i++) {
        const struct conf_policy *policy = &conf->policies[near[i].policy];

        record->near[i] =
            (struct near_miss){ table_intern(s->engine->shard, policy->name), (uint16_t)near[i].condition, policy->line };
    }
}

static void send_record(struct engine *e, const struct record *record)
{
    uint64_t one = 1;

    if (e->args.log == NULL)
        return;
    if (!ring_put_part(e->args.log, record, record_bytes(record)))
        count_set(e->shard, COUNT_LOG_DROPPED, ring_dropped(e->args.log));
    if (ring_must_wake(e->args.log) && write(e->args.log_wake, &one, sizeof(one)) < 0)
        log_debug("the logger's eventfd is full: it is awake");
}

/* In the engine's scratch, until the next one: on the stack all of its TLS facts would be zeroed for each request. */
static struct record *make_record(struct session *s, enum record_event event)
{
    const struct account *a = &s->account;
    struct record *record = &s->engine->record;

    memset(record, 0, offsetof(struct record, row));
    record->time_us = clock_wall_us();
    record->event = (uint8_t)event;
    row_record(s->engine->shard, s->row, record);
    if (!a->open)
        return record;
    record->duration_us = clock_us() - a->began_us;
    record->first_byte_us = a->first_byte_us ? a->first_byte_us - a->began_us : 0;
    record->bytes[UP] = s->row->bytes[UP] - a->base[UP];
    record->bytes[DOWN] = s->row->bytes[DOWN] - a->base[DOWN];
    record->exchange = a->number;
    record->port = a->port;
    return record;
}

void report_alive(struct session *s, enum record_event event)
{
    if (!s->account.open)
        return;
    send_record(s->engine, make_record(s, event));
    s->account.reported_ms = clock_ms();
}

void report_end(struct session *s, enum record_event event, enum reason why, enum closer by, const struct judgement *j)
{
    struct shard *shard = s->engine->shard;
    struct record *record;

    if (!s->account.open)
        return;
    s->row->reason = (uint8_t)why;
    s->row->closed_by = (uint8_t)by;
    record = make_record(s, event);
    record->stage = (uint8_t)(j != NULL ? j->stage : STAGE_FLOW);
    add_near_misses(s, record, j);
    s->account.open = s->row->open = false;
    if (event == RECORD_DENIED)
        count_add(shard, COUNT_DENIED, 1);
    if (why != R_NONE) {
        count_reason(shard, why);
        kernel_offence(s, why, by);
    }
    send_record(s->engine, record);
    if (event == RECORD_DENIED || why != R_NONE || record->row.protocol != PROTO_HTTP)
        ended_put(shard, record);
}

void report_event(struct session *s, enum reason why, enum closer by)
{
    struct row before = *s->row;
    struct account account = s->account;

    /* The exchange under way, if any, keeps its own account: this record says nothing of it, unless it is one message of it. */
    s->account = (struct account){ .began_us = clock_us(), .base = { s->row->bytes[UP], s->row->bytes[DOWN] }, .open = true };
    if (s->websocket != NULL) {
        s->account.number = account.number;
        s->account.port = account.port;
    }
    report_end(s, RECORD_DENIED, why, by, NULL);
    s->account = account;
    s->row->open = before.open;
    s->row->reason = before.reason;
    s->row->closed_by = before.closed_by;
}

void report_unowned(struct engine *e, const struct row *last, enum reason why)
{
    struct record record = { .time_us = clock_wall_us(), .event = RECORD_DENIED, .row = *last };
    struct row *row = &record.row;

    row->tls = false; /* the facts went with the session */
    row->reason = (uint8_t)why;
    row->closed_by = CLOSER_SERVER;
    row->status = 0;
    row->method = 0;
    row->path[0] = '\0';
    count_add(e->shard, COUNT_DENIED, 1);
    count_reason(e->shard, why);
    send_record(e, &record);
    ended_put(e->shard, &record);
}
