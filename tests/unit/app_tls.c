/* SPDX-License-Identifier: ISC */
/* TLS facts as users see them: lines of the access log, rows, filters, and the names that were inspected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/access_json.h"
#include "app/command.h"
#include "app/filters.h"
#include "app/row_json.h"
#include "app_fake_view.h"
#include "base/clock.h"

#define JA4 "t13d1516h2_8daaf6152771_e5627efa2ab1"
#define CLIENT                                                                                                                     \
    "{\"way\":\"inspected\",\"version\":\"TLSv1.3\",\"suite\":\"TLS_AES_128_GCM_SHA256\",\"alpn\":\"http/1.1\","                   \
    "\"sni\":\"a.test\",\"resumed\":true,\"ja4\":\"" JA4 "\",\"ech\":true}"
#define SERVER                                                                                                                     \
    "{\"way\":\"inspected\",\"version\":\"TLSv1.2\",\"suite\":\"0xfefe\",\"subject\":\"CN=a.test, O=\\\"A\\\"\","                  \
    "\"issuer\":\"CN=Some CA\",\"verify\":\"certificate has expired\",\"unverified\":true}"

static void set_facts(struct tls_facts tls[DIRECTIONS])
{
    memset(tls, 0, DIRECTIONS * sizeof(*tls));
    tls[UP] = (struct tls_facts){ .way = TLS_WAY_INSPECTED,
                                  .version = 0x0304,
                                  .suite = 0x1301,
                                  .alpn = TLS_ALPN_HTTP1,
                                  .resumed = true,
                                  .ech = true,
                                  .name = "a.test",
                                  .ja4 = JA4 };
    tls[DOWN] = (struct tls_facts){ .way = TLS_WAY_INSPECTED,
                                    .version = 0x0303,
                                    .suite = 0xfefe,
                                    .verify = 10, /* X509_V_ERR_CERT_HAS_EXPIRED */
                                    .unverified = true,
                                    .subject = "CN=a.test, O=\"A\"",
                                    .issuer = "CN=Some CA" };
}

static void test_log_line(void **state)
{
    static char line[ACCESS_LINE];
    struct record r = { .time_us = 1, .event = RECORD_START, .first_byte_us = 1000 };
    struct shard *shard = fake_shard();
    size_t len;

    (void)state;
    set_facts(r.tls);
    r.row.conntrack = 7;
    assert_true(access_line(&r, shard, line) > 0);
    assert_null(memmem(line, strlen(line), "tls_", 4));
    r.row.tls = true;
    len = access_line(&r, shard, line);
    assert_true(len > 0);
    line[len - 1] = '\0';
    assert_non_null(strstr(line, "\"first_byte_ms\":1,\"tls_client\":" CLIENT ",\"tls_server\":" SERVER ",\"conntrack\":7}"));
    r.tls[UP].way = TLS_WAY_NONE; /* one side alone */
    len = access_line(&r, shard, line);
    line[len - 1] = '\0';
    assert_non_null(strstr(line, "\"first_byte_ms\":1,\"tls_server\":" SERVER ",\"conntrack\":7}"));
    shard_unmap(shard);
}

/* What a broken worker may leave, and the longest facts that there are: still one line of JSON. */
static void test_log_line_of_anything(void **state)
{
    static const char fill[] = { '"', '\\', '\n', (char)0xff };
    static char line[ACCESS_LINE];
    struct shard *shard = fake_shard();

    (void)state;
    for (size_t i = 0; i < sizeof(fill); i++) {
        struct record r = { .event = RECORD_END };
        json_t *object;
        size_t len;

        r.row.tls = true;
        memset(r.tls, fill[i], sizeof(r.tls));
        memset(r.row.host, '"', sizeof(r.row.host));
        memset(r.row.path, '\\', sizeof(r.row.path));
        len = access_line(&r, shard, line);
        assert_true(len > 0 && memchr(line, '\n', len) == line + len - 1);
        object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
        assert_true(json_is_object(json_object_get(object, "tls_server")));
        json_decref(object);
    }
    shard_unmap(shard);
}

static void test_row(void **state)
{
    struct tls_facts tls[DIRECTIONS];
    struct view v;
    struct row row;
    json_t *object;
    char *text;

    (void)state;
    fake_view(&v);
    set_facts(tls);
    assert_true(row_read(v.shards[0], 0, &row, NULL));
    object = row_object(&row, tls, v.shards[0], NULL);
    assert_null(json_object_get(object, "tls_client"));
    json_decref(object);
    row.tls = true;
    object = row_object(&row, tls, v.shards[0], NULL);
    text = json_dumps(json_object_get(object, "tls_client"), JSON_COMPACT);
    assert_string_equal(text, CLIENT);
    free(text);
    text = json_dumps(json_object_get(object, "tls_server"), JSON_COMPACT);
    assert_string_equal(text, SERVER);
    free(text);
    json_decref(object);
    fake_view_fini(&v);
}

static void test_filters(void **state)
{
    static const struct {
        const char *filter;
        bool with, without;
    } cases[] = {
        { "tls=inspected", true, false },
        { "tls=Ended", false, false },
        { "tls=none", false, true },
        { "tls!=none", true, false },
        { "tls!=inspected", false, true },
        { "tls~spec", true, false },
        { "tls_version=TLSv1.3", true, false },
        { "tls_version=tlsv1.2", true, false }, /* either side */
        { "tls_version!=TLSv1.2", false, true },
        { "sni=A.TEST", true, false },
        { "sni~test", true, false },
        { "sni!=b.test", true, true },
        { "ja4=" JA4, true, false },
        { "ja4~t13d1516h2_", true, false },
        { "tls_subject~CN=a", true, false },
        { "tls_subject=CN=b", false, false },
    };
    struct tls_facts tls[DIRECTIONS];
    struct row row = { 0 };

    (void)state;
    set_facts(tls);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct filters set = { 0 };

        assert_null(filters_add(&set, span_str(cases[i].filter)));
        row.tls = true;
        if (filters_fit(&set, &row, tls, NULL) != cases[i].with)
            fail_msg("with: %s", cases[i].filter);
        row.tls = false;
        if (filters_fit(&set, &row, tls, NULL) != cases[i].without)
            fail_msg("without: %s", cases[i].filter);
    }
}

/* Facts of live rows reach lists by way of the shard. */
static void test_show(void **state)
{
    struct tls_facts facts[DIRECTIONS];
    struct command c;
    struct view v;
    const json_t *client;

    (void)state;
    fake_view(&v);
    set_facts(facts);
    for (uint32_t at = 0; at < 2; at++) {
        struct row *row = fake_row(v.shards[0], 0, 10 + at, "10.0.0.9:1", "a.test");

        row_begin(v.shards[0], row);
        if (at == 1)
            memcpy(row_tls(v.shards[0], row), facts, sizeof(facts));
        row_end(v.shards[0], row);
    }
    command_read(&c, &v, SPAN("{\"command\":\"show\",\"id\":\"0-11\"}"));
    client = json_object_get(json_object_get(c.reply, "session"), "tls_client");
    assert_string_equal(json_string_value(json_object_get(client, "ja4")), JA4);
    command_fini(&c);
    command_read(&c, &v, SPAN("{\"command\":\"explain\",\"id\":\"0-11\"}"));
    assert_true(json_is_object(json_object_get(c.reply, "tls_server")));
    command_fini(&c);
    command_read(&c, &v, SPAN("{\"command\":\"show\",\"id\":\"0-10\"}"));
    assert_null(json_object_get(json_object_get(c.reply, "session"), "tls_client"));
    command_fini(&c);
    fake_view_fini(&v);
}

static void expect_name(const json_t *list, size_t at, const char *name, json_int_t shown, json_int_t refused)
{
    const json_t *object = json_array_get(list, at);

    assert_string_equal(json_string_value(json_object_get(object, "name")), name);
    assert_int_equal(json_integer_value(json_object_get(object, "shown")), shown);
    assert_int_equal(json_integer_value(json_object_get(object, "refused")), refused);
    assert_int_equal(json_object_get(object, "last_refused") != NULL, refused > 0);
    assert_int_equal(json_object_get(object, "last_client") != NULL, refused > 0);
}

static void tick(void)
{
    uint64_t before = clock_wall_us();

    while (clock_wall_us() == before)
        clock_tick();
}

/* Of all workers together; what was refused comes first. */
static void test_inspected(void **state)
{
    struct addr client;
    struct command c;
    struct view v;
    const json_t *list;

    (void)state;
    assert_true(addr_parse(&client, SPAN("10.0.0.1"), 4000));
    fake_view(&v);
    tick();
    inspected_add(v.shards[0], SPAN("old.test"), &client, false);
    inspected_add(v.shards[1], SPAN("both.test"), &client, false);
    inspected_add(v.shards[0], SPAN("both.test"), &client, true);
    inspected_add(v.shards[1], SPAN("both.test"), &client, true);
    tick();
    inspected_add(v.shards[1], SPAN("new.test"), &client, false);
    command_read(&c, &v, SPAN("{\"command\":\"inspected\"}"));
    assert_int_equal(c.kind, COMMAND_REPLY);
    list = json_object_get(c.reply, "inspected");
    assert_int_equal(json_array_size(list), 3);
    expect_name(list, 0, "both.test", 3, 2);
    expect_name(list, 1, "new.test", 1, 0);
    expect_name(list, 2, "old.test", 1, 0);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "last_client")), "10.0.0.1:4000");
    command_fini(&c);
    assert_int_equal(view_count(&v, COUNT_TLS_INSPECTED), 5);
    assert_int_equal(view_count(&v, COUNT_TLS_REFUSED), 2);
    fake_view_fini(&v);
    fake_view(&v);
    command_read(&c, &v, SPAN("{\"command\":\"inspected\"}"));
    assert_int_equal(json_array_size(json_object_get(c.reply, "inspected")), 0);
    command_fini(&c);
    fake_view_fini(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_line), cmocka_unit_test(test_log_line_of_anything),
        cmocka_unit_test(test_row),      cmocka_unit_test(test_filters),
        cmocka_unit_test(test_show),     cmocka_unit_test(test_inspected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
