/* SPDX-License-Identifier: ISC */
/*
 * From a record to a line of the access log. The keys and their order are a contract with users: a new key goes where design.md
 * section 8 has it. A fact that is absent is left out, so that a line never says "" or null.
 *
 * Lines are written straight into the buffer: a busy proxy writes tens of thousands a second, and an object of jansson for each
 * would cost as much as the request that it tells of. Texts that need an escape, which is rare, are left to jansson.
 */
#include "app/access_json.h"

#include "app/json_put.h"
#include "net/tls.h"

#include <string.h>

struct line {
    char *at;
    size_t len;
    bool overflow;
};

static void put_bytes(struct line *l, const char *bytes, size_t len)
{
    if (len > ACCESS_LINE - l->len) {
        l->overflow = true;
        return;
    }
    memcpy(l->at + l->len, bytes, len);
    l->len += len;
}

static void put_key(struct line *l, const char *key)
{
    if (l->len == 0)
        put_bytes(l, "{\"", 2);
    else if (l->at[l->len - 1] == '{')
        put_bytes(l, "\"", 1);
    else
        put_bytes(l, ",\"", 2);
    put_bytes(l, key, strlen(key));
    put_bytes(l, "\":", 2);
}

static bool is_plain(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text < 0x20 || *text > 0x7e || *text == '"' || *text == '\\')
            return false;
    return true;
}

static void line_text(struct line *l, const char *key, const char *text)
{
    json_t *value;

    if (text[0] == '\0')
        return;
    put_key(l, key);
    if (is_plain(text)) {
        put_bytes(l, "\"", 1);
        put_bytes(l, text, strlen(text));
        put_bytes(l, "\"", 1);
        return;
    }
    value = json_string(text);
    size_t room = ACCESS_LINE - 1 - l->len, len = json_dumpb(value, l->at + l->len, room, JSON_ENCODE_ANY | JSON_COMPACT);

    json_decref(value);
    l->overflow = l->overflow || len == 0 || len > room;
    l->len += l->overflow ? 0 : len;
}

static void line_number(struct line *l, const char *key, uint64_t number)
{
    char digits[24], *at = digits + sizeof(digits);

    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    put_key(l, key);
    put_bytes(l, at, (size_t)(digits + sizeof(digits) - at));
}

static void line_count(struct line *l, const char *key, uint64_t number)
{
    if (number != 0)
        line_number(l, key, number);
}

static void line_addr(struct line *l, const char *key, const struct addr *address)
{
    char text[ADDR_TEXT];

    line_text(l, key, addr_port_text(address, text));
}

static void line_name(struct line *l, const char *key, const struct shard *shard, name_id id)
{
    char name[TABLE_NAME_SIZE];

    line_text(l, key, table_name(shard, id, name));
}

static void line_id(struct line *l, const char *key, const struct row *row, uint32_t exchange)
{
    char text[ID_TEXT];

    line_text(l, key, id_text(row, exchange, text));
}

static void flow(struct line *l, const struct record *r, const struct shard *shard)
{
    const struct row *row = &r->row;

    line_addr(l, "client", &row->client);
    line_name(l, "listener", shard, row->listener);
    line_text(l, "mode", mode_name((enum mode)row->mode));
    line_name(l, "zone_in", shard, row->zone_in);
    line_name(l, "zone_out", shard, row->zone_out);
    line_name(l, "interface_in", shard, row->interface_in);
    line_name(l, "interface_out", shard, row->interface_out);
    line_addr(l, "destination", &row->destination);
    line_addr(l, "server", &row->server);
}

static void exchange(struct line *l, const struct record *r, const struct shard *shard)
{
    const struct row *row = &r->row;

    line_text(l, "host", row->host);
    line_name(l, "method", shard, row->method);
    line_text(l, "path", row->path);
    line_text(l, "protocol", row_protocol_name((enum row_protocol)row->protocol));
    line_count(l, "status", row->status);
    line_name(l, "policy", shard, row->policy);
    if (r->event == RECORD_END || r->event == RECORD_DENIED)
        line_text(l, "reason", reason_name((enum reason)row->reason));
    if (r->near_count > 0 && r->near[0].condition == NEAR_IS_RULE)
        line_name(l, "rule", shard, r->near[0].policy);
}

static uint64_t frame_sum(const struct row *row, enum direction d)
{
    uint64_t sum = 0;

    for (unsigned kind = 0; kind < WS_KIND_COUNT; kind++)
        sum += row->frames[d][kind];
    return sum;
}

static void numbers(struct line *l, const struct record *r)
{
    const struct row *row = &r->row;

    line_number(l, "bytes_up", r->bytes[UP]);
    line_number(l, "bytes_down", r->bytes[DOWN]);
    if (row->protocol == PROTO_WEBSOCKET) {
        line_number(l, "frames_up", frame_sum(row, UP));
        line_number(l, "frames_down", frame_sum(row, DOWN));
        line_number(l, "messages_up", row->messages[UP]);
        line_number(l, "messages_down", row->messages[DOWN]);
    }
    if (r->event != RECORD_START)
        line_number(l, "duration_ms", r->duration_us / 1000);
    if (r->first_byte_us != 0)
        line_number(l, "first_byte_ms", r->first_byte_us / 1000);
}

static void line_true(struct line *l, const char *key, bool value)
{
    if (!value)
        return;
    put_key(l, key);
    put_bytes(l, "true", 4);
}

/* The same keys as tls_object() has (app/tls_json.c). */
static void tls_side(struct line *l, const char *key, struct tls_facts *facts)
{
    char suite[TLS_SUITE_TEXT];

    if (facts->way == TLS_WAY_NONE)
        return;
    tls_facts_mend(facts);
    put_key(l, key);
    put_bytes(l, "{", 1);
    line_text(l, "way", tls_way_name((enum tls_way)facts->way));
    line_text(l, "version", tls_version_name(facts->version));
    line_text(l, "suite", tls_suite_name(facts->suite, suite));
    line_text(l, "alpn", tls_alpn_name((enum tls_alpn)facts->alpn));
    line_text(l, "sni", facts->name);
    line_true(l, "resumed", facts->resumed);
    line_text(l, "ja4", facts->ja4);
    line_true(l, "ech", facts->ech);
    line_text(l, "subject", facts->subject);
    line_text(l, "issuer", facts->issuer);
    line_text(l, "verify", facts->verify != 0 ? tls_verify_text(facts->verify) : "");
    line_true(l, "unverified", facts->unverified);
    put_bytes(l, "}", 1);
}

size_t access_line(const struct record *record, const struct shard *shard, char out[ACCESS_LINE])
{
    struct record r;
    struct line l = { .at = out };
    char time[TIME_TEXT];

    memcpy(&r, record, record_bytes(record));
    row_mend(&r.row);
    line_text(&l, "time", time_text(r.time_us, time));
    line_text(&l, "event", record_event_name((enum record_event)r.event));
    line_id(&l, "session", &r.row, 0);
    if (r.exchange != 0)
        line_id(&l, "request", &r.row, r.exchange);
    flow(&l, &r, shard);
    exchange(&l, &r, shard);
    numbers(&l, &r);
    if (r.row.tls) {
        tls_side(&l, "tls_client", &r.tls[UP]);
        tls_side(&l, "tls_server", &r.tls[DOWN]);
    }
    line_count(&l, "conntrack", r.row.conntrack);
    line_text(&l, "closed_by", closer_name((enum closer)r.row.closed_by));
    line_count(&l, "close_code", r.row.close_code);
    put_bytes(&l, "}\n", 2);
    return l.overflow ? 0 : l.len;
}
