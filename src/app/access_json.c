/* SPDX-License-Identifier: ISC */
/*
 * From a record to a line of the access log. The keys and their order are a contract with users: a new key goes where design.md
 * section 8 has it. A fact that is absent is left out, so that a line never says "" or null.
 *
 * Lines are written straight into the buffer: a busy proxy writes tens of thousands a second, and an object of jansson for each
 * would cost as much as the request that it tells of.
 */
#include "app/access_json.h"

#include "app/json_line.h"
#include "app/json_put.h"
#include "net/tls.h"

#include <string.h>

static void put_shard_name(struct json_line *l, struct span key, const struct shard *shard, name_id id)
{
    char name[TABLE_NAME_SIZE];

    if (id != 0)
        json_line_text(l, key, table_name(shard, id, name), sizeof(name));
}

static void put_row_id(struct json_line *l, struct span key, const struct row *row, uint32_t exchange)
{
    char text[ID_TEXT];

    json_line_word(l, key, id_text(row, exchange, text));
}

static void flow(struct json_line *l, const struct record *r, const struct shard *shard)
{
    const struct row *row = &r->row;

    json_line_addr(l, JSON_KEY("client"), &row->client);
    put_shard_name(l, JSON_KEY("listener"), shard, row->listener);
    json_line_word(l, JSON_KEY("mode"), mode_name((enum mode)row->mode));
    put_shard_name(l, JSON_KEY("zone_in"), shard, row->zone_in);
    put_shard_name(l, JSON_KEY("zone_out"), shard, row->zone_out);
    put_shard_name(l, JSON_KEY("interface_in"), shard, row->interface_in);
    put_shard_name(l, JSON_KEY("interface_out"), shard, row->interface_out);
    json_line_addr(l, JSON_KEY("destination"), &row->destination);
    json_line_addr(l, JSON_KEY("server"), &row->server);
}

static void exchange(struct json_line *l, const struct record *r, const struct shard *shard)
{
    const struct row *row = &r->row;

    json_line_text(l, JSON_KEY("host"), row->host, sizeof(row->host));
    put_shard_name(l, JSON_KEY("method"), shard, row->method);
    json_line_text(l, JSON_KEY("path"), row->path, sizeof(row->path));
    json_line_word(l, JSON_KEY("protocol"), row_protocol_name((enum row_protocol)row->protocol));
    if (row->status != 0)
        json_line_number(l, JSON_KEY("status"), row->status);
    put_shard_name(l, JSON_KEY("policy"), shard, row->policy);
    if (r->event == RECORD_END || r->event == RECORD_DENIED)
        json_line_word(l, JSON_KEY("reason"), reason_name((enum reason)row->reason));
    if (r->near_count > 0 && r->near[0].condition == NEAR_IS_RULE)
        put_shard_name(l, JSON_KEY("rule"), shard, r->near[0].policy);
}

static uint64_t frame_sum(const struct row *row, enum direction d)
{
    uint64_t sum = 0;

    for (unsigned kind = 0; kind < WS_KIND_COUNT; kind++)
        sum += row->frames[d][kind];
    return sum;
}

static void numbers(struct json_line *l, const struct record *r)
{
    const struct row *row = &r->row;

    json_line_number(l, JSON_KEY("bytes_up"), r->bytes[UP]);
    json_line_number(l, JSON_KEY("bytes_down"), r->bytes[DOWN]);
    if (row->protocol == PROTO_WEBSOCKET) {
        json_line_number(l, JSON_KEY("frames_up"), frame_sum(row, UP));
        json_line_number(l, JSON_KEY("frames_down"), frame_sum(row, DOWN));
        json_line_number(l, JSON_KEY("messages_up"), row->messages[UP]);
        json_line_number(l, JSON_KEY("messages_down"), row->messages[DOWN]);
    }
    if (r->event != RECORD_START)
        json_line_number(l, JSON_KEY("duration_ms"), r->duration_us / 1000);
    if (r->first_byte_us != 0)
        json_line_number(l, JSON_KEY("first_byte_ms"), r->first_byte_us / 1000);
    if (row->retries != 0)
        json_line_number(l, JSON_KEY("retries"), row->retries);
}

/* The same keys as tls_object() has (app/tls_json.c). */
static void tls_side(struct json_line *l, struct span key, const struct tls_facts *facts)
{
    char suite[TLS_SUITE_TEXT];

    if (facts->way == TLS_WAY_NONE)
        return;
    json_line_begin(l, key);
    json_line_word(l, JSON_KEY("way"), tls_way_name((enum tls_way)facts->way));
    json_line_word(l, JSON_KEY("version"), tls_version_name(facts->version));
    json_line_word(l, JSON_KEY("suite"), tls_suite_name(facts->suite, suite));
    json_line_word(l, JSON_KEY("alpn"), tls_alpn_name((enum tls_alpn)facts->alpn));
    json_line_text(l, JSON_KEY("sni"), facts->name, sizeof(facts->name));
    json_line_true(l, JSON_KEY("resumed"), facts->resumed);
    json_line_text(l, JSON_KEY("ja4"), facts->ja4, sizeof(facts->ja4));
    json_line_true(l, JSON_KEY("ech"), facts->ech);
    json_line_text(l, JSON_KEY("subject"), facts->subject, sizeof(facts->subject));
    json_line_text(l, JSON_KEY("issuer"), facts->issuer, sizeof(facts->issuer));
    json_line_word(l, JSON_KEY("verify"), facts->verify != 0 ? tls_verify_text(facts->verify) : "");
    json_line_true(l, JSON_KEY("unverified"), facts->unverified);
    json_line_end(l);
}

size_t access_line(const struct record *record, const struct shard *shard, char out[ACCESS_LINE])
{
    const struct row *row = &record->row;
    struct json_line l;
    char time[TIME_TEXT];

    json_line_open(&l, out, ACCESS_LINE);
    json_line_word(&l, JSON_KEY("time"), time_text(record->time_us, time));
    json_line_word(&l, JSON_KEY("event"), record_event_name((enum record_event)record->event));
    put_row_id(&l, JSON_KEY("session"), row, 0);
    if (record->exchange != 0)
        put_row_id(&l, JSON_KEY("request"), row, record->exchange);
    flow(&l, record, shard);
    exchange(&l, record, shard);
    numbers(&l, record);
    if (row->tls) {
        tls_side(&l, JSON_KEY("tls_client"), &record->tls[UP]);
        tls_side(&l, JSON_KEY("tls_server"), &record->tls[DOWN]);
    }
    if (row->conntrack != 0)
        json_line_number(&l, JSON_KEY("conntrack"), row->conntrack);
    json_line_word(&l, JSON_KEY("closed_by"), closer_name((enum closer)row->closed_by));
    if (row->close_code != 0)
        json_line_number(&l, JSON_KEY("close_code"), row->close_code);
    return json_line_close(&l, out);
}
