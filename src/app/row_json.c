/* SPDX-License-Identifier: ISC */
/*
 * Rows as posternctl gets them. The keys are those of design.md section 6; absent facts are left out, counters are not.
 */
#include "app/row_json.h"

#include "app/json_put.h"
#include "app/tls_json.h"
#include "policy/packet.h"

#include <stdio.h>

static void put_row_policy(json_t *object, const struct row *row, const struct shard *shard, const char *file)
{
    char name[TABLE_NAME_SIZE];

    put_policy(object, "policy", table_name(shard, row->policy, name), file, row->policy_line);
}

static void put_flow(json_t *object, const struct row *row, const struct shard *shard)
{
    put_number(object, "worker", row->worker);
    put_text(object, "state", row_state_name((enum row_state)row->state));
    if (row->mode != MODE_FORWARDED)
        put_text(object, "phase", phase_name((enum phase)row->phase));
    put_text(object, "mode", mode_name((enum mode)row->mode));
    put_name(object, "listener", shard, row->listener);
    put_text(object, "protocol", row_protocol_name((enum row_protocol)row->protocol));
    put_addr(object, "client", &row->client);
    put_addr(object, "destination", &row->destination);
    put_addr(object, "translated", &row->translated);
    put_addr(object, "upstream", &row->upstream);
    put_addr(object, "server", &row->server);
    put_name(object, "interface_in", shard, row->interface_in);
    put_name(object, "interface_out", shard, row->interface_out);
    put_name(object, "zone_in", shard, row->zone_in);
    put_name(object, "zone_out", shard, row->zone_out);
}

static void put_conntrack(json_t *object, const struct row *row)
{
    put_count(object, "conntrack", row->conntrack);
    if (row->conntrack_state != CONNTRACK_NONE)
        put_text(object, "conntrack_state", conntrack_state_name((enum conntrack_state)row->conntrack_state));
    put_count(object, "mark", row->mark);
}

static void put_exchange(json_t *object, const struct row *row, const struct shard *shard, const char *file)
{
    put_text(object, "host", row->host);
    put_name(object, "method", shard, row->method);
    put_text(object, "path", row->path);
    put_count(object, "status", row->status);
    put_count(object, "retries", row->retries);
    put_row_policy(object, row, shard, file);
}

static void put_frames(json_t *object, const char *key, const uint32_t frames[WS_KIND_COUNT])
{
    json_t *kinds = json_object();

    for (unsigned kind = 0; kind < WS_KIND_COUNT; kind++)
        put_count(kinds, ws_kind_name((enum ws_kind)kind), frames[kind]);
    (void)json_object_set_new(object, key, kinds);
}

/* On the average, from its beginning to the last byte: a row has no room for more. A watch says how it is now (app/ctl_rates.c). */
static void put_rates(json_t *object, const struct row *row)
{
    uint64_t last = row->last_us[UP] > row->last_us[DOWN] ? row->last_us[UP] : row->last_us[DOWN];
    double seconds = last > row->opened_us ? (double)(last - row->opened_us) / 1e6 : 0;
    char text[32];

    if (seconds < 1)
        seconds = 1;
    snprintf(text, sizeof(text), "%.1f", ((double)row->messages[UP] + (double)row->messages[DOWN]) / seconds);
    put_text(object, "messages_per_second", text);
    put_number(object, "bytes_per_second", (uint64_t)(((double)row->bytes[UP] + (double)row->bytes[DOWN]) / seconds));
}

static void put_numbers(json_t *object, const struct row *row)
{
    put_number(object, "exchanges", row->exchanges);
    put_number(object, "bytes_up", row->bytes[UP]);
    put_number(object, "bytes_down", row->bytes[DOWN]);
    if (row->protocol == PROTO_WEBSOCKET) {
        put_frames(object, "frames_up", row->frames[UP]);
        put_frames(object, "frames_down", row->frames[DOWN]);
        put_number(object, "messages_up", row->messages[UP]);
        put_number(object, "messages_down", row->messages[DOWN]);
        put_number(object, "pushes", row->pushes);
        put_rates(object, row);
    }
    put_time(object, "opened", row->opened_us);
    put_time(object, "last_up", row->last_us[UP]);
    put_time(object, "last_down", row->last_us[DOWN]);
    if (row->reason != R_NONE)
        put_text(object, "reason", reason_name((enum reason)row->reason));
    put_text(object, "closed_by", closer_name((enum closer)row->closed_by));
    put_count(object, "close_code", row->close_code);
    put_number(object, "generation", row->generation);
}

/* { "tls_client": { ... }, "tls_server": { ... } }: the sides that speak TLS. */
static void put_tls(json_t *object, const struct row *row, const struct tls_facts *tls)
{
    static const char *const keys[DIRECTIONS] = { "tls_client", "tls_server" };

    for (unsigned side = 0; row->tls && side < DIRECTIONS; side++)
        if (tls[side].way != TLS_WAY_NONE)
            (void)json_object_set_new(object, keys[side], tls_object(&tls[side]));
}

static void put_row(json_t *object, const struct row *row, const struct tls_facts *tls, const struct shard *shard, const char *file)
{
    put_flow(object, row, shard);
    put_conntrack(object, row);
    put_exchange(object, row, shard, file);
    put_tls(object, row, tls);
    put_numbers(object, row);
}

json_t *row_object(const struct row *row, const struct tls_facts *tls, const struct shard *shard, const char *file)
{
    json_t *object = json_object();

    put_id(object, "id", row, 0);
    put_row(object, row, tls, shard, file);
    return object;
}

/* What denied a message, or revoked the stream. */
static void put_rule(json_t *object, const struct record *record, const struct shard *shard, const char *file)
{
    const struct near_miss *rule = &record->near[0];
    char name[TABLE_NAME_SIZE];

    if (record->near_count > 0 && rule->condition == NEAR_IS_RULE)
        put_policy(object, "rule", table_name(shard, rule->policy, name), file, rule->line);
}

json_t *record_object(const struct record *record, const struct shard *shard, const char *file)
{
    json_t *object = json_object();

    put_id(object, "id", &record->row, record->exchange);
    put_time(object, "time", record->time_us);
    put_text(object, "event", record_event_name((enum record_event)record->event));
    put_number(object, "duration_ms", record->duration_us / 1000);
    put_count(object, "port", record->port);
    put_row(object, &record->row, record->tls, shard, file);
    put_rule(object, record, shard, file);
    return object;
}

static void put_facts(json_t *object, const struct row *row, const struct shard *shard, uint16_t port)
{
    put_addr(object, "client", &row->client);
    put_name(object, "listener", shard, row->listener);
    put_name(object, "zone_in", shard, row->zone_in);
    put_name(object, "zone_out", shard, row->zone_out);
    put_text(object, "protocol", row_protocol_name((enum row_protocol)row->protocol));
    put_text(object, "host", row->host);
    put_count(object, "port", port);
    put_addr(object, "server", &row->server);
    put_name(object, "method", shard, row->method);
    put_text(object, "path", row->path);
}

/* Of a flow that the kernel forwards: who let its first packet in, and what became of it. */
static void put_forwarded(json_t *object, const struct row *row)
{
    bool translated = packet_mark_kind(row->mark) == PACKET_MARK_TRANSLATED;

    put_text(object, "mode", mode_name((enum mode)row->mode));
    if (row->policy == 0) {
        put_text(object, "verdict", "allowed");
        put_text(object, "sentence",
                 translated ? "A port forward lets this through."
                            : "It belongs to a flow that was let through (RELATED), or needs none.");
    }
    put_addr(object, "destination", &row->destination);
    put_addr(object, "translated", &row->translated);
    put_addr(object, "upstream", &row->upstream);
    put_conntrack(object, row);
}

json_t *row_explained(const struct row *row, const struct tls_facts *tls, const struct shard *shard, const char *file)
{
    json_t *object = json_object();

    put_id(object, "id", row, 0);
    put_bool(object, "live", true);
    put_text(object, "verdict", row->policy != 0 ? "allowed" : "undecided");
    put_text(object, "sentence", row->policy != 0 ? "A policy allows this." : "Nothing was decided yet that needs a policy.");
    put_row_policy(object, row, shard, file);
    put_facts(object, row, shard, 0);
    put_tls(object, row, tls);
    if (row->mode == MODE_FORWARDED)
        put_forwarded(object, row);
    put_number(object, "generation", row->generation);
    return object;
}

static json_t *near_list(const struct record *record, const struct shard *shard, const char *file)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < record->near_count && i < NEAR_MISSES; i++) {
        const struct near_miss *near = &record->near[i];
        char name[TABLE_NAME_SIZE];
        json_t *item, *conditions;

        if (near->condition == NEAR_IS_RULE)
            continue;
        item = json_object();
        conditions = json_array();
        put_text(item, "name", table_name(shard, near->policy, name));
        put_text(item, "file", file);
        put_count(item, "line", near->line);
        if (near->condition < COND_COUNT)
            (void)json_array_append_new(conditions, json_string(condition_name((enum condition)near->condition)));
        (void)json_object_set_new(item, "did_not_fit", conditions);
        (void)json_array_append_new(list, item);
    }
    return list;
}

json_t *record_explained(const struct record *record, const struct shard *shard, const char *file)
{
    bool denied = record->event == RECORD_DENIED;
    json_t *object = json_object();

    put_id(object, "id", &record->row, record->exchange);
    put_time(object, "time", record->time_us);
    put_bool(object, "live", false);
    put_text(object, "verdict", denied ? "denied" : "allowed");
    put_text(object, "reason", reason_name((enum reason)record->row.reason));
    put_text(object, "sentence", reason_sentence((enum reason)record->row.reason));
    if (denied && record->stage < STAGE_COUNT)
        put_text(object, "stage", stage_name((enum stage)record->stage));
    put_row_policy(object, &record->row, shard, file);
    put_rule(object, record, shard, file);
    put_facts(object, &record->row, shard, record->port);
    put_tls(object, &record->row, record->tls);
    put_count(object, "status", record->row.status);
    put_text(object, "closed_by", closer_name((enum closer)record->row.closed_by));
    if (record->row.mode == MODE_FORWARDED)
        put_forwarded(object, &record->row);
    (void)json_object_set_new(object, "near", near_list(record, shard, file));
    put_number(object, "generation", record->row.generation);
    return object;
}
