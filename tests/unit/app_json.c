/* SPDX-License-Identifier: ISC */
/* Lines of the access log, to the letter: the keys and their order are a contract with whoever reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/access_json.h"
#include "app_fake_view.h"

#include <jansson.h>

static struct shard *shard;
static char line[ACCESS_LINE + 1];

static const char *line_of(const struct record *record)
{
    size_t len = access_line(record, shard, line);

    assert_true(len > 1 && line[len - 1] == '\n');
    line[len - 1] = '\0';
    return line;
}

/* Everything that a record can say. */
static struct record full_record(void)
{
    struct record r = { .time_us = 1767326645678901u,
                        .duration_us = 1234567,
                        .first_byte_us = 12999,
                        .bytes = { 100, 200 },
                        .exchange = 3,
                        .event = RECORD_END };
    struct row *row = &r.row;

    row->worker = 2;
    row->number = 17;
    row->mode = MODE_TRANSPARENT;
    row->protocol = PROTO_WEBSOCKET;
    row->status = 101;
    row->reason = R_PUSH_CONTRACT;
    row->closed_by = CLOSER_POSTERN;
    row->close_code = 1008;
    row->listener = table_intern(shard, "intercept");
    row->zone_in = table_intern(shard, "inside");
    row->zone_out = table_intern(shard, "outside");
    row->interface_in = table_intern(shard, "lan0");
    row->interface_out = table_intern(shard, "wan0");
    row->policy = table_intern(shard, "chat");
    row->frames[UP][WS_KIND_TEXT] = 4;
    row->frames[UP][WS_KIND_PING] = 1;
    row->frames[DOWN][WS_KIND_BINARY] = 9;
    row->messages[UP] = 4;
    row->messages[DOWN] = 8;
    assert_true(addr_parse_port(&row->client, SPAN("10.77.1.9:40000")));
    assert_true(addr_parse_port(&row->destination, SPAN("[2001:db8::1]:80")));
    assert_true(addr_parse_port(&row->server, SPAN("[2001:db8::1]:80")));
    strcpy(row->host, "chat.example");
    row->method = table_intern(shard, "GET");
    strcpy(row->path, "/ws");
    return r;
}

static void test_every_key_in_order(void **state)
{
    struct record r = full_record();

    (void)state;
    assert_string_equal(
        line_of(&r),
        "{\"time\":\"2026-01-02T04:04:05.678901Z\",\"event\":\"end\",\"session\":\"2-17\",\"request\":\"2-17-3\","
        "\"client\":\"10.77.1.9:40000\",\"listener\":\"intercept\",\"mode\":\"transparent\",\"zone_in\":\"inside\",\"zone_out\":"
        "\"outside\","
        "\"interface_in\":\"lan0\",\"interface_out\":\"wan0\",\"destination\":\"[2001:db8::1]:80\",\"server\":\"[2001:db8::1]:80\","
        "\"host\":\"chat.example\",\"method\":\"GET\",\"path\":\"/"
        "ws\",\"protocol\":\"websocket\",\"status\":101,\"policy\":\"chat\","
        "\"reason\":\"push-contract\",\"bytes_up\":100,\"bytes_down\":200,\"frames_up\":5,\"frames_down\":9,\"messages_up\":4,"
        "\"messages_down\":8,\"duration_ms\":1234,\"first_byte_ms\":12,\"closed_by\":\"postern\",\"close_code\":1008}");
}

static void test_absent_facts_are_left_out(void **state)
{
    struct record r = { .time_us = 1, .event = RECORD_DENIED };

    (void)state;
    r.row.reason = R_ZONE_UNKNOWN;
    assert_string_equal(line_of(&r),
                        "{\"time\":\"1970-01-01T00:00:00.000001Z\",\"event\":\"denied\",\"session\":\"0-0\",\"mode\":\"explicit\","
                        "\"reason\":\"zone-unknown\",\"bytes_up\":0,\"bytes_down\":0,\"duration_ms\":0}");
}

static void test_a_start_has_no_end(void **state)
{
    struct record r = { .time_us = 1, .event = RECORD_START, .exchange = 1 };

    (void)state;
    r.row.protocol = PROTO_HTTP;
    assert_string_equal(line_of(&r),
                        "{\"time\":\"1970-01-01T00:00:00.000001Z\",\"event\":\"start\",\"session\":\"0-0\","
                        "\"request\":\"0-0-1\",\"mode\":\"explicit\",\"protocol\":\"http\",\"bytes_up\":0,\"bytes_down\":0}");
}

static void test_bytes_of_clients_are_escaped(void **state)
{
    struct record r = { .time_us = 1, .event = RECORD_END };

    (void)state;
    strcpy(r.row.path, "/\"},{\"event\":\"end\\");
    assert_non_null(strstr(line_of(&r), "\"path\":\"/\\\"},{\\\"event\\\":\\\"end\\\\\""));
}

static void fill(char *text, size_t size)
{
    memset(text, '"', size - 1);
    text[size - 1] = '\0';
}

static void fill_tls(struct tls_facts *facts)
{
    *facts =
        (struct tls_facts){ .way = TLS_WAY_INSPECTED, .version = 0x0304, .suite = 0x1302, .alpn = TLS_ALPN_HTTP1, .verify = 1 };
    facts->resumed = facts->ech = facts->unverified = true;
    fill(facts->name, sizeof(facts->name));
    fill(facts->ja4, sizeof(facts->ja4));
    fill(facts->subject, sizeof(facts->subject));
    fill(facts->issuer, sizeof(facts->issuer));
}

/* All that a record can say, each as long as it can be and of bytes that are escaped: the line is there, and a reader of JSON finds
 * in it what was put. */
static void test_the_longest_line_fits(void **state)
{
    struct record r = full_record();
    name_id *names[] = { &r.row.listener,      &r.row.zone_in, &r.row.zone_out, &r.row.interface_in,
                         &r.row.interface_out, &r.row.policy,  &r.row.method,   &r.near[0].policy };
    char name[TABLE_NAME_SIZE];
    json_t *line_read;

    (void)state;
    fill(name, sizeof(name));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        *names[i] = table_intern(shard, name);
    r.time_us = r.duration_us = r.first_byte_us = r.bytes[UP] = r.bytes[DOWN] = r.row.number = UINT64_MAX;
    r.exchange = r.row.conntrack = UINT32_MAX;
    r.near_count = 1;
    r.near[0].condition = NEAR_IS_RULE;
    memset(r.row.frames, 0xff, sizeof(r.row.frames));
    memset(r.row.messages, 0xff, sizeof(r.row.messages));
    r.row.client = r.row.server = r.row.destination;
    fill(r.row.host, sizeof(r.row.host));
    fill(r.row.path, sizeof(r.row.path));
    r.row.tls = true;
    fill_tls(&r.tls[UP]);
    fill_tls(&r.tls[DOWN]);
    line_read = json_loads(line_of(&r), JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
    assert_non_null(line_read);
    assert_string_equal(json_string_value(json_object_get(line_read, "host")), r.row.host);
    assert_string_equal(json_string_value(json_object_get(line_read, "rule")), name);
    assert_string_equal(json_string_value(json_object_get(json_object_get(line_read, "tls_server"), "issuer")), r.tls[DOWN].issuer);
    json_decref(line_read);
}

/* What a broken worker may leave: words out of range, strings without an end. The line stays whole and short enough. */
static void test_nothing_is_believed(void **state)
{
    struct record r;
    size_t len;

    (void)state;
    memset(&r, 0xff, sizeof(r));
    len = access_line(&r, shard, line);
    assert_true(len > 0 && line[len - 1] == '\n');
    memset(&r.row.host, '"', sizeof(r.row.host));
    memset(&r.row.path, '\\', sizeof(r.row.path));
    len = access_line(&r, shard, line);
    assert_true(len > 0 && line[len - 1] == '\n' && memchr(line, '\n', len) == line + len - 1);
}

static int setup(void **state)
{
    (void)state;
    shard = fake_shard();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shard_unmap(shard);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_in_order),    cmocka_unit_test(test_absent_facts_are_left_out),
        cmocka_unit_test(test_a_start_has_no_end),    cmocka_unit_test(test_bytes_of_clients_are_escaped),
        cmocka_unit_test(test_the_longest_line_fits), cmocka_unit_test(test_nothing_is_believed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
