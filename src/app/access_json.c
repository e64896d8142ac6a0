/* SPDX-License-Identifier: ISC */
/*
 * From a record to a line of the access log. The keys and their order are a contract with users: a new key goes where design.md
 * section 8 has it. A fact that is absent is left out, so that a line never says "" or null.
 */
#include "app/access_json.h"

#include "app/json_put.h"

static void put_flow(json_t *line, const struct record *r, const struct shard *shard)
{
    const struct row *row = &r->row;

    put_addr(line, "client", &row->client);
    put_name(line, "listener", shard, row->listener);
    put_text(line, "mode", mode_name((enum mode)row->mode));
    put_name(line, "zone_in", shard, row->zone_in);
    put_name(line, "zone_out", shard, row->zone_out);
    put_name(line, "interface_in", shard, row->interface_in);
    put_name(line, "interface_out", shard, row->interface_out);
    put_addr(line, "destination", &row->destination);
    put_addr(line, "server", &row->server);
}

static void put_exchange(json_t *line, const struct record *r, const struct shard *shard)
{
    const struct row *row = &r->row;

    put_text(line, "host", row->host);
    put_text(line, "method", row->method);
    put_text(line, "path", row->path);
    put_text(line, "protocol", row_protocol_name((enum row_protocol)row->protocol));
    put_count(line, "status", row->status);
    put_name(line, "policy", shard, row->policy);
    if (r->event == RECORD_END || r->event == RECORD_DENIED)
        put_text(line, "reason", reason_name((enum reason)row->reason));
}

static uint64_t frame_sum(const struct row *row, enum direction d)
{
    uint64_t sum = 0;

    for (unsigned kind = 0; kind < WS_KIND_COUNT; kind++)
        sum += row->frames[d][kind];
    return sum;
}

static void put_numbers(json_t *line, const struct record *r)
{
    const struct row *row = &r->row;

    put_number(line, "bytes_up", r->bytes[UP]);
    put_number(line, "bytes_down", r->bytes[DOWN]);
    if (row->protocol == PROTO_WEBSOCKET) {
        put_number(line, "frames_up", frame_sum(row, UP));
        put_number(line, "frames_down", frame_sum(row, DOWN));
        put_number(line, "messages_up", row->messages[UP]);
        put_number(line, "messages_down", row->messages[DOWN]);
    }
    if (r->event != RECORD_START)
        put_number(line, "duration_ms", r->duration_us / 1000);
    if (r->first_byte_us != 0)
        put_number(line, "first_byte_ms", r->first_byte_us / 1000);
}

size_t access_line(const struct record *record, const struct shard *shard, char out[ACCESS_LINE])
{
    struct record r = *record;
    json_t *line = json_object();
    size_t len;

    r.row.host[ROW_HOST - 1] = r.row.method[ROW_METHOD - 1] = r.row.path[ROW_PATH - 1] = '\0';
    put_time(line, "time", r.time_us);
    put_text(line, "event", record_event_name((enum record_event)r.event));
    put_id(line, "session", &r.row, 0);
    if (r.exchange != 0)
        put_id(line, "request", &r.row, r.exchange);
    put_flow(line, &r, shard);
    put_exchange(line, &r, shard);
    put_numbers(line, &r);
    put_text(line, "closed_by", closer_name((enum closer)r.row.closed_by));
    put_count(line, "close_code", r.row.close_code);
    len = json_dumpb(line, out, ACCESS_LINE - 1, JSON_COMPACT);
    json_decref(line);
    if (len == 0 || len > ACCESS_LINE - 1)
        return 0;
    out[len] = '\n';
    return len + 1;
}
