/* SPDX-License-Identifier: ISC */
/*
 * Match rules over whole messages: their order, whose messages they are about, text and binary, and what cannot be judged.
 */
#include "policy/ws_match.h"

#include "base/regex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct ws_match *made;
static struct conf_websocket websocket;

static void make(struct conf_ws_match *rules, size_t count)
{
    websocket = (struct conf_websocket){ .matches = rules, .match_count = count };
    made = ws_match_new(&websocket);
    assert_non_null(made);
}

static int judge(enum direction from, const char *text)
{
    return ws_match_judge(made, from, true, span_str(text)).rule;
}

static int judge_binary(const char *bytes)
{
    return ws_match_judge(made, UP, false, span_str(bytes)).rule;
}

static void test_order(void **state)
{
    struct conf_ws_match rules[] = {
        { .name = "ok", .of_client = true, .pattern = (char *)"^ping$", .allow = true },
        { .name = "in", .of_client = true, .pattern = (char *)"in" },
        { .name = "pi", .of_client = true, .pattern = (char *)"pi" },
    };

    (void)state;
    make(rules, 3);
    assert_int_equal(judge(UP, "ping"), -1);
    assert_int_equal(judge(UP, "pings"), 1);
    assert_int_equal(judge(UP, "pi"), 2);
    assert_int_equal(judge(UP, "pong"), -1);
    assert_int_equal(judge(UP, ""), -1);
    ws_match_free(made);
}

static void test_sides(void **state)
{
    struct conf_ws_match rules[] = {
        { .name = "c", .of_client = true, .pattern = (char *)"x" },
        { .name = "s", .of_server = true, .pattern = (char *)"y" },
        { .name = "b", .of_client = true, .of_server = true, .pattern = (char *)"z" },
    };

    (void)state;
    make(rules, 3);
    assert_true(ws_match_asks(made, UP) && ws_match_asks(made, DOWN));
    assert_int_equal(judge(UP, "x"), 0);
    assert_int_equal(judge(DOWN, "x"), -1);
    assert_int_equal(judge(UP, "y"), -1);
    assert_int_equal(judge(DOWN, "y"), 1);
    assert_int_equal(judge(UP, "z"), 2);
    assert_int_equal(judge(DOWN, "z"), 2);
    ws_match_free(made);
    make(rules, 1);
    assert_true(ws_match_asks(made, UP) && !ws_match_asks(made, DOWN));
    ws_match_free(made);
    make(rules + 1, 1);
    assert_true(!ws_match_asks(made, UP) && ws_match_asks(made, DOWN));
    ws_match_free(made);
    make(NULL, 0);
    assert_true(!ws_match_asks(made, UP) && !ws_match_asks(made, DOWN));
    assert_int_equal(judge(UP, "x"), -1);
    ws_match_free(made);
    ws_match_free(NULL);
}

static void test_binary(void **state)
{
    struct conf_ws_match rules[] = {
        { .name = "p", .of_client = true, .pattern = (char *)"x" },
        { .name = "j", .of_client = true, .json = true, .json_depth = 32 },
    };

    (void)state;
    make(rules, 1);
    assert_int_equal(judge_binary("x"), -1); /* fits no pattern */
    ws_match_free(made);
    make(rules, 2);
    assert_int_equal(judge_binary("{}"), 1); /* is no JSON */
    assert_int_equal(judge(UP, "{}"), -1);
    ws_match_free(made);
}

/* Both an allowing and a denying pattern deny what they cannot judge. */
static void test_limit(void **state)
{
    char text[5001];

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (int allow = 0; allow < 2; allow++) {
        struct conf_ws_match rules[] = {
            { .name = "easy", .of_client = true, .pattern = (char *)"b" },
            { .name = "hard", .of_client = true, .pattern = (char *)"(a|aa)+$(?<!a)", .allow = allow },
            { .name = "all", .of_client = true, .pattern = (char *)"", .allow = true },
        };

        make(rules, 3);
        assert_int_equal(judge(UP, text), 1);
        assert_int_equal(judge(UP, "c"), -1);
        assert_int_equal(judge(UP, "\xff"), 0); /* not UTF-8 */
        ws_match_free(made);
    }
}

/* JSON takes its time, too: many names that are much like many that are asked for. */
static void test_time_of_json(void **state)
{
    static char names[64][20], *paths[64];
    struct conf_ws_match rule = { .name = "j", .of_client = true, .json = true, .json_depth = 3, .forbidden = { 64, paths } };
    size_t len = 1, most = 4u << 20;
    char *text = malloc(most + 32);
    struct ws_verdict verdict;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < 64; i++) {
        snprintf(names[i], sizeof(names[i]), "name%03zu.inner", i);
        paths[i] = names[i];
    }
    text[0] = '{';
    while (len < most)
        len += (size_t)sprintf(text + len, "\"name...\":0,");
    text[len - 1] = '}';
    make(&rule, 1);
    verdict = ws_match_judge(made, UP, true, span_of(text, len));
    assert_true(verdict.rule == -1 || verdict.gave_up);
    assert_in_range(verdict.past, 0, 20000);
    ws_match_free(made);
    free(text);
}

/* Rules of which each takes some time share that of the message; what they took beyond a fair share is told. */
static void test_time(void **state)
{
    struct conf_ws_match rules[200];
    char text[3001];
    struct ws_verdict verdict;

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (size_t i = 0; i < 200; i++)
        rules[i] = (struct conf_ws_match){ .name = "slow", .of_client = true, .pattern = (char *)"a*[bc]" };
    make(rules, 200);
    verdict = ws_match_judge(made, UP, true, span_str(text));
    assert_true(verdict.gave_up);
    assert_in_range(verdict.rule, 1, 199);
    assert_in_range(verdict.past, 4900, 20000);
    verdict = ws_match_judge(made, DOWN, true, span_str(text));
    assert_true(!verdict.gave_up && verdict.rule == -1 && verdict.past < 1000);
    ws_match_free(made);
    make(rules, 1);
    assert_true(ws_match_judge(made, UP, true, SPAN("xyz")).past < 1000);
    assert_false(ws_match_judge(made, UP, true, SPAN("b")).gave_up);
    ws_match_free(made);
}

static void test_effort(void **state)
{
    struct ws_effort e = { 0 };

    (void)state;
    assert_true(ws_effort_take(&e, 60000, 1000000));
    assert_true(ws_effort_take(&e, 40000, 1000000));
    assert_true(ws_effort_take(&e, 0, 1000000));
    assert_false(ws_effort_take(&e, 1, 1000000));
    e = (struct ws_effort){ 0 };
    for (uint64_t ms = 5000; ms < 65000; ms += 50) /* 100 ms a second, for a minute */
        assert_true(ws_effort_take(&e, 5000, ms));
    for (unsigned i = 0; i < 19; i++)
        assert_true(ws_effort_take(&e, 5000, 64950));
    assert_false(ws_effort_take(&e, 5000, 64950));
    assert_true(ws_effort_take(&e, 100000, 70000)); /* however long it was quiet, no more than that at once */
    assert_false(ws_effort_take(&e, 1000, 70000));
}

static char *const wanted[] = { (char *)"type", (char *)"user.id" };
static char *const unwanted[] = { (char *)"admin", (char *)"user.role" };

static void test_json(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } table[] = {
        { "{\"type\":1,\"user\":{\"id\":2}}", true },
        { "{\"type\":1,\"user\":{\"id\":2},\"x\":[[]]}", true },
        { "{\"type\":1,\"user\":{\"id\":2},\"x\":[[[]]]}", false }, /* depth */
        { "{\"type\":1,\"user\":{\"id\":2},\"y\":\"12345678901234\"}", true },
        { "{\"type\":1,\"user\":{\"id\":2},\"y\":\"123456789012345\"}", false }, /* bytes */
        { "{\"type\":1,\"user\":2}", false },
        { "{\"user\":{\"id\":2}}", false },
        { "{\"type\":1,\"user\":{\"id\":2},\"admin\":0}", false },
        { "{\"type\":1,\"user\":{\"id\":2},\"\\u0061dmin\":0}", false },
        { "{\"type\":1,\"user\":{\"id\":2,\"role\":0}}", false },
        { "{\"type\":1,\"user\":{\"id\":2},\"role\":0}", true },
        { "{\"type\":1,\"type\":1,\"user\":{\"id\":2}}", false },
        { "{\"type\":1,\"user\":{\"id\":2}", false },
        { "[]", false },
        { "", false },
    };
    struct conf_ws_match rule = { .name = "j", .of_client = true, .json = true, .json_bytes = 47, .json_depth = 3 };

    (void)state;
    rule.required = (struct conf_strings){ 2, (char **)wanted };
    rule.forbidden = (struct conf_strings){ 2, (char **)unwanted };
    make(&rule, 1);
    for (int again = 0; again < 2; again++)
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
            if (judge(UP, table[i].text) != (table[i].good ? -1 : 0))
                fail_msg("%s", table[i].text);
    ws_match_free(made);
}

/* JSON that is right does not decide: the next rule is asked. */
static void test_json_then_pattern(void **state)
{
    struct conf_ws_match rules[] = {
        { .name = "j", .of_client = true, .json = true, .json_depth = 1 },
        { .name = "p", .of_client = true, .pattern = (char *)"secret" },
    };

    (void)state;
    make(rules, 2);
    assert_int_equal(judge(UP, "{\"a\":\"secret\"}"), 1);
    assert_int_equal(judge(UP, "secret"), 0);
    assert_int_equal(judge(UP, "{\"a\":\"b\"}"), -1);
    assert_int_equal(judge(DOWN, "secret"), -1);
    ws_match_free(made);
}

static void test_bad_pattern(void **state)
{
    struct conf_ws_match rules[] = {
        { .name = "a", .of_client = true, .pattern = (char *)"a" },
        { .name = "b", .of_client = true, .pattern = (char *)"(" },
    };

    (void)state;
    websocket = (struct conf_websocket){ .matches = rules, .match_count = 2 };
    assert_null(ws_match_new(&websocket));
}

/* "interpreted": as workers have it, without machine code, and without what asks for the time that it took. So valgrind can see it.
 */
int main(int argc, char **argv)
{
    const struct CMUnitTest any[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_sides),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_effort),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_bad_pattern),
        cmocka_unit_test(test_json_then_pattern),
    };
    const struct CMUnitTest timed[] = {
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_time_of_json),
    };

    if (argc > 1 && strcmp(argv[1], "interpreted") == 0) {
        regex_interpret_only();
        return cmocka_run_group_tests(any, NULL, NULL);
    }
    return cmocka_run_group_tests(any, NULL, NULL) + cmocka_run_group_tests(timed, NULL, NULL);
}
