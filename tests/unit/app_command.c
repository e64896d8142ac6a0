/* SPDX-License-Identifier: ISC */
/* Requests on the control socket: what they are read as, and what is answered from the view alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/command.h"
#include "app_fake_view.h"

static struct view v;
static struct command c;

static void read_line(const char *line)
{
    command_fini(&c);
    command_read(&c, &v, span_str(line));
}

static const char *error_of(void)
{
    return c.kind == COMMAND_REPLY ? json_string_value(json_object_get(c.reply, "error")) : NULL;
}

static void test_kinds(void **state)
{
    static const struct {
        const char *line;
        enum command_kind kind;
    } cases[] = {
        { "{\"command\":\"status\"}", COMMAND_REPLY },
        { "{\"command\":\"sessions\"}", COMMAND_SESSIONS },
        { "{\"command\":\"sessions\",\"filters\":[\"worker=0\",\"host~x\"]}", COMMAND_SESSIONS },
        { "{\"command\":\"watch\",\"filters\":[]}", COMMAND_WATCH },
        { "{\"command\":\"show\",\"id\":\"0-1\"}", COMMAND_REPLY },
        { "{\"command\":\"kill\",\"id\":\"1-99\"}", COMMAND_KILL },
        { "{\"command\":\"kill\",\"filters\":[\"host=x\"]}", COMMAND_KILL },
        { "{\"command\":\"explain\",\"from\":\"10.0.0.1\",\"method\":\"GET\",\"url\":\"http://x/\"}", COMMAND_EXPLAIN },
        { "{\"command\":\"explain\",\"id\":\"0-3-1\"}", COMMAND_REPLY },
        { "{\"command\":\"denials\",\"count\":1000}", COMMAND_REPLY },
        { "{\"command\":\"reload\",\"path\":\"/etc/passwd\"}", COMMAND_RELOAD },
        { "{\"command\":\"drain\"}", COMMAND_DRAIN },
        { "{\"command\":\"log\",\"level\":\"debug\"}", COMMAND_LOG },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        read_line(cases[i].line);
        if (c.kind != cases[i].kind || error_of() != NULL)
            fail_msg("%s", cases[i].line);
        assert_false(c.hang_up);
    }
}

static void test_errors(void **state)
{
    static const struct {
        const char *line;
        bool hang_up;
    } cases[] = {
        { "", true },
        { "status", true },
        { "[]", true },
        { "{\"command\":\"status\"", true },
        { "{\"command\":\"status\"} x", true },
        { "{\"command\":\"status\",\"command\":\"drain\"}", true },
        { "{}", false },
        { "{\"command\":5}", false },
        { "{\"command\":\"Status\"}", false },
        { "{\"command\":\"show\"}", false },
        { "{\"command\":\"show\",\"id\":\"0\"}", false },
        { "{\"command\":\"show\",\"id\":\"2-1\"}", false },
        { "{\"command\":\"show\",\"id\":\"0-1-1-1\"}", false },
        { "{\"command\":\"show\",\"id\":\"0-1-\"}", false },
        { "{\"command\":\"show\",\"id\":\"0-12345\"}", false },
        { "{\"command\":\"kill\"}", false },
        { "{\"command\":\"kill\",\"filters\":[]}", false },
        { "{\"command\":\"kill\",\"id\":5}", false },
        { "{\"command\":\"sessions\",\"filters\":\"worker=0\"}", false },
        { "{\"command\":\"sessions\",\"filters\":[1]}", false },
        { "{\"command\":\"sessions\",\"filters\":[\"x=1\"]}", false },
        { "{\"command\":\"denials\",\"count\":0}", false },
        { "{\"command\":\"denials\",\"count\":1001}", false },
        { "{\"command\":\"denials\",\"count\":\"x\"}", false },
        { "{\"command\":\"log\",\"level\":\"loud\"}", false },
        { "{\"command\":\"log\"}", false },
        { "{\"command\":\"block\"}", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        read_line(cases[i].line);
        if (error_of() == NULL || c.hang_up != cases[i].hang_up)
            fail_msg("%s", cases[i].line);
    }
}

static void test_ids(void **state)
{
    struct stream_id id;

    (void)state;
    assert_true(stream_id_parse(&id, SPAN("1-23"), 2));
    assert_true(id.worker == 1 && id.number == 23 && id.exchange == 0);
    assert_true(stream_id_parse(&id, SPAN("0-9223372036854775807-4294967295"), 2));
    assert_true(id.number == INT64_MAX && id.exchange == UINT32_MAX);
    assert_false(stream_id_parse(&id, SPAN("0-9223372036854775808"), 2));
    assert_false(stream_id_parse(&id, SPAN("0-1-4294967296"), 2));
    assert_false(stream_id_parse(&id, SPAN(""), 2));
    assert_false(stream_id_parse(&id, SPAN("-1-1"), 2));
    assert_false(stream_id_parse(&id, SPAN("0--1"), 2));
    assert_false(stream_id_parse(&id, SPAN("0-1 "), 2));
}

static void test_show(void **state)
{
    (void)state;
    read_line("{\"command\":\"show\",\"id\":\"1-1\"}");
    assert_true(json_is_true(json_object_get(c.reply, "live")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(c.reply, "session"), "host")), "three.example");
    read_line("{\"command\":\"show\",\"id\":\"0-3\"}");
    assert_true(json_is_false(json_object_get(c.reply, "live")));
    read_line("{\"command\":\"show\",\"id\":\"0-1-2\"}"); /* it is at its first request */
    assert_non_null(error_of());
}

static void test_explain(void **state)
{
    const json_t *near;

    (void)state;
    read_line("{\"command\":\"explain\",\"id\":\"0-3-1\"}");
    assert_string_equal(json_string_value(json_object_get(c.reply, "verdict")), "denied");
    assert_string_equal(json_string_value(json_object_get(c.reply, "reason")), "no-policy");
    assert_int_equal(json_integer_value(json_object_get(c.reply, "port")), 80);
    near = json_array_get(json_object_get(c.reply, "near"), 0);
    assert_string_equal(json_string_value(json_object_get(near, "name")), "web");
    assert_int_equal(json_integer_value(json_object_get(near, "line")), 30);
    assert_string_equal(json_string_value(json_array_get(json_object_get(near, "did_not_fit"), 0)), "ports");
    read_line("{\"command\":\"explain\",\"id\":\"0-1\"}");
    assert_string_equal(json_string_value(json_object_get(c.reply, "verdict")), "allowed");
}

static void test_denials_newest_first(void **state)
{
    const json_t *list;

    (void)state;
    read_line("{\"command\":\"denials\"}");
    list = json_object_get(c.reply, "denials");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "id")), "1-7-1");
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "id")), "0-3-1");
    read_line("{\"command\":\"denials\",\"count\":1}");
    assert_int_equal(json_array_size(json_object_get(c.reply, "denials")), 1);
}

static void test_status(void **state)
{
    const json_t *sessions;

    (void)state;
    read_line("{\"command\":\"status\"}");
    sessions = json_object_get(c.reply, "sessions");
    assert_int_equal(json_integer_value(json_object_get(sessions, "open")), 3);
    assert_int_equal(json_integer_value(json_object_get(c.reply, "uptime_s")), 100);
    assert_int_equal(json_array_size(json_object_get(c.reply, "workers")), 2);
    assert_string_equal(json_string_value(json_object_get(c.reply, "state")), "serving");
}

/* What the filter process answers, with a packet filter and without. */
static void test_filter_commands(void **state)
{
    static const struct {
        const char *line;
        bool good;
    } cases[] = {
        { "{\"command\":\"filter\"}", true },
        { "{\"command\":\"doctor\"}", true },
        { "{\"command\":\"blocks\"}", true },
        { "{\"command\":\"block\",\"address\":\"10.0.0.1\"}", true },
        { "{\"command\":\"block\",\"address\":\"fd00::/8\",\"seconds\":31536000}", true },
        { "{\"command\":\"block\",\"address\":\"10.0.0.1\",\"seconds\":31536001}", false },
        { "{\"command\":\"block\",\"address\":\"10.0.0.1\",\"seconds\":0}", false },
        { "{\"command\":\"block\",\"address\":\"10.0.0.1\",\"seconds\":\"5\"}", false },
        { "{\"command\":\"block\",\"address\":\"10.0.0.1/8\"}", false },
        { "{\"command\":\"block\"}", false },
        { "{\"command\":\"unblock\",\"address\":\"10.0.0.1\"}", true },
        { "{\"command\":\"unblock\",\"address\":5}", false },
    };
    struct conf conf = { .packet_filter = { .line = 1, .block_seconds = 600 } };
    struct generation g = { .conf = &conf };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        read_line(cases[i].line);
        assert_non_null(error_of());
        v.generation = &g;
        read_line(cases[i].line);
        v.generation = NULL;
        if ((c.kind == COMMAND_ASK) != cases[i].good || (c.question != NULL) != cases[i].good ||
            (error_of() == NULL) != cases[i].good)
            fail_msg("%s", cases[i].line);
    }
    read_line("{\"command\":\"filter\"}");
    assert_string_equal(error_of(), "no packet_filter is configured");
    v.generation = &g;
    read_line("{\"command\":\"block\",\"address\":\"10.0.0.1\"}");
    v.generation = NULL;
    assert_int_equal(json_integer_value(json_object_get(c.question, "seconds")), 600);
}

static int setup(void **state)
{
    (void)state;
    fake_view(&v);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    command_fini(&c);
    fake_view_fini(&v);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),  cmocka_unit_test(test_errors),          cmocka_unit_test(test_ids),
        cmocka_unit_test(test_show),   cmocka_unit_test(test_explain),         cmocka_unit_test(test_denials_newest_first),
        cmocka_unit_test(test_status), cmocka_unit_test(test_filter_commands),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
