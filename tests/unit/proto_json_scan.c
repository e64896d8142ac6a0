/* SPDX-License-Identifier: ISC */
/*
 * JSON. Tables of good and bad texts and of members that are asked for; and some hundred thousand random texts, most of them nearly
 * JSON, with jansson as an independent judge.
 */
#include "proto/json_scan.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static bool is_json(struct span text)
{
    return json_scan(text, JSON_DEPTH_MAX, NULL, 0);
}

static void test_good(void **state)
{
    static const char *const good[] = {
        "0",
        "-0",
        "1",
        "10",
        "-12",
        "0.5",
        "1e9",
        "1E+9",
        "1e-09",
        "0e0",
        "-0.0e-0",
        "123456789012345678901234567890",
        "1e999",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\"",
        "[]",
        "{}",
        " [ ] ",
        "\t{\r\n}\n",
        "[1]",
        "[1,2]",
        "[ 1 , [ ] , { } ]",
        "{\"a\":1}",
        "{\"a\":{\"b\":[]}}",
        "{ \"a\" : 1 , \"b\" : \"\" }",
        "{\"\":0}",
        "{\"a\":1,\"a\":2}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u0000\"",
        "\"\\u00e9\\uABCD\"",
        "\"\\ud83d\\ude00\"",
        "\"\xc3\xa9\"",
        "\"\xf0\x9f\x98\x80\"",
        "\"\x7f\"",
        "\"/\"",
        "\"\xe2\x80\xa8\"",
        "[[[[]]]]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!is_json(span_str(good[i])))
            fail_msg("refused: %s", good[i]);
}

static void test_bad(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1.e1",
        "0x1",
        "1_0",
        "NaN",
        "Infinity",
        "-Infinity",
        "tru",
        "truee",
        "True",
        "nul",
        "nulll",
        "'a'",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\",
        "\"\\x\"",
        "\"\\'\"",
        "\"\\u\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u123",
        "\"\n\"",
        "\"\t\"",
        "\"\x1f\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83d\\u0041\"",
        "\"\\ud83d\\ud83d\"",
        "\"\\ud83dx\"",
        "\"\\ud83d\\ude0\"",
        "\"\xff\"",
        "\"\xc3\"",
        "\"\xed\xa0\x80\"",
        "\"\xc0\x80\"",
        "\xc3\xa9",
        "\xef\xbb\xbf{}",
        "\xc2\xa0"
        "1",
        "\f1",
        "\v1",
        "[",
        "]",
        "{",
        "}",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[,]",
        "[1 2]",
        "[1}",
        "{1:2}",
        "{a:1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1]",
        "{\"a\"::1}",
        "{\"a\",1}",
        "{\"a\":1",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "[]]",
        "{}{}",
        "1 2",
        "[] x",
        "// c\n1",
        "1 // c",
        "/**/1",
        "\"a\"\"b\"",
        "[\"a\":1]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (is_json(span_str(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    assert_false(is_json(SPAN("1\0")));
    assert_false(is_json(SPAN("\"\0\"")));
    assert_false(is_json(SPAN("\"\\\0\"")));
    assert_false(is_json(span_of(NULL, 0)));
}

/* `n` levels, by turns arrays and objects. */
static struct span nested(uint32_t n)
{
    static char text[JSON_DEPTH_MAX * 7 + 20];
    size_t len = 0;

    for (uint32_t i = 0; i < n; i++)
        len += (size_t)sprintf(text + len, i % 2 == 0 ? "[" : "{\"a\":");
    text[len++] = '0';
    for (uint32_t i = n; i-- > 0;)
        text[len++] = i % 2 == 0 ? ']' : '}';
    return span_of(text, len);
}

static void test_depth(void **state)
{
    static const uint32_t depths[] = { 1, 2, 7, 8, 9, 32, JSON_DEPTH_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
        assert_true(json_scan(nested(depths[i]), depths[i], NULL, 0));
        assert_false(json_scan(nested(depths[i] + 1), depths[i], NULL, 0));
    }
    assert_true(json_scan(SPAN("1"), 0, NULL, 0));
    assert_false(json_scan(SPAN("[]"), 0, NULL, 0));
    assert_false(json_scan(SPAN("{}"), 0, NULL, 0));
    assert_true(json_scan(SPAN("[[],[],{}]"), 2, NULL, 0)); /* depth, not how many */
    assert_false(json_scan(nested(JSON_DEPTH_MAX + 1), UINT32_MAX, NULL, 0));
}

/* Which of a, b, a.b, b.c and e-acute are there: letters for those found, or "no". */
static const char *members(struct span text)
{
    static const char *const paths[] = { "a", "b", "a.b", "b.c", "\xc3\xa9" };
    static char out[8];
    struct json_wanted wanted[5] = { 0 };
    size_t len = 0;

    for (size_t i = 0; i < 5; i++)
        wanted[i] = (struct json_wanted){ .path = paths[i], .found = true, .begun = true };
    if (!json_scan(text, 32, wanted, 5))
        return "no";
    for (size_t i = 0; i < 5; i++)
        if (wanted[i].found)
            out[len++] = "abAB9"[i];
    out[len] = '\0';
    return out;
}

static void test_members(void **state)
{
    static const struct {
        const char *text, *found;
    } table[] = {
        { "1", "" },
        { "{}", "" },
        { "[\"a\"]", "" },
        { "\"a\"", "" },
        { "{\"a\":1}", "a" },
        { "{\"b\":null,\"a\":[]}", "ab" },
        { "{\"A\":1,\"aa\":1,\"\":1}", "" },
        { "{\"c\":\"a\"}", "" },
        { "{\"c\":{\"a\":1,\"b\":1}}", "" },
        { "[{\"a\":1,\"b\":2}]", "" },
        { "{\"a\":{\"b\":1}}", "aA" },
        { "{\"a\":{\"c\":1},\"b\":{\"c\":{}}}", "abB" },
        { "{\"a\":[{\"b\":1}]}", "a" }, /* not of the object a itself */
        { "{\"a\":{\"c\":{\"b\":1}}}", "a" },
        { "{\"a\":{},\"c\":{\"b\":1}}", "a" },
        { "{\"a.b\":1}", "" }, /* a dot in a name is no path */
        { "{\"\\u0061\":1}", "a" },
        { "{\"\\u0061\":{\"\\u0062\":1}}", "aA" },
        { "{\"\\u00e9\":1}", "9" },
        { "{\"\\u00E9\":1}", "9" },
        { "{\"\xc3\xa9\":1}", "9" },
        { "{\"a\\u0000\":1}", "" },
        { "{\"\\u0000a\":1}", "" },
        { "{\"a\\n\":1,\"\\ud83d\\ude00\":1}", "" },
        { "{\"a\":1,\"a\":1}", "no" },
        { "{\"a\":1,\"\\u0061\":1}", "no" },
        { "{\"a\":{\"b\":1},\"a\":{}}", "no" },
        { "{\"a\":{\"b\":1,\"b\":2}}", "no" },
        { "{\"a\":{\"b\":1,\"c\":2,\"\\u0062\":2}}", "no" },
        { "{\"c\":1,\"c\":2,\"a\":3}", "a" }, /* nobody asks for c */
        { "{\"c\":{\"b\":1,\"b\":1},\"a\":{\"a\":1,\"a\":1}}", "a" },
        { "[{\"a\":1,\"a\":1}]", "" },
        { "{\"b\":{\"c\":1,\"d\":{\"c\":1,\"c\":2}}}", "bB" },
        { "{\"\xc3\xa9\":1,\"\\u00e9\":1}", "no" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(members(span_str(table[i].text)), table[i].found) != 0)
            fail_msg("%s: %s", table[i].text, members(span_str(table[i].text)));
}

static uint32_t seed = 1;

static uint32_t dice(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % n;
}

static char random_text[4096];
static size_t random_len;

static void put(const char *text)
{
    size_t n = strlen(text);

    if (random_len + n <= sizeof(random_text))
        memcpy(random_text + random_len, text, n);
    random_len += random_len + n <= sizeof(random_text) ? n : 0;
}

static void put_space(void)
{
    static const char *const spaces[] = { "", "", "", "", " ", "\n", "\t\r" };

    put(spaces[dice(7)]);
}

static void put_name(void)
{
    static const char *const names[] = { "\"a\"",       "\"b\"", "\"c\"", "\"\\u0061\"", "\"\xc3\xa9\"",
                                         "\"\\u00e9\"", "\"d\"", "\"\"",  "\"a.b\"" };

    put(names[dice(9)]);
}

static void put_value(unsigned depth)
{
    static const char *const scalars[] = { "0",          "-1.5e3", "true", "false", "null", "\"x\"", "\"\\ud83d\\ude00\"",
                                           "\"\\n\\/\"", "12",     "0.25" };
    bool object = dice(3) > 0;

    put_space();
    if (depth == 0 || dice(4) == 0) {
        put(scalars[dice(10)]);
        put_space();
        return;
    }
    put(object ? "{" : "[");
    put_space();
    for (unsigned i = 0, n = dice(4); i < n; i++) {
        put(i > 0 ? "," : "");
        put_space();
        if (object) {
            put_name();
            put_space();
            put(":");
        }
        put_value(depth - 1);
    }
    put(object ? "}" : "]");
    put_space();
}

/* One byte away, another one or one more. */
static void damage(void)
{
    static const char bytes[] = "{}[]:,\"\\u0d8eE+-.tn \t\n\x01\xc3\xa9\xff/";
    size_t at = dice((uint32_t)random_len + 1);

    switch (dice(3)) {
    case 0:
        if (at < random_len)
            memmove(random_text + at, random_text + at + 1, --random_len - at);
        break;
    case 1:
        if (at < random_len)
            random_text[at] = bytes[dice(sizeof(bytes) - 1)];
        break;
    case 2:
        if (random_len == sizeof(random_text))
            break;
        memmove(random_text + at + 1, random_text + at, random_len++ - at);
        random_text[at] = bytes[dice(sizeof(bytes) - 1)];
        break;
    }
}

static bool has(const json_t *object, const char *a, const char *b)
{
    const json_t *member = json_object_get(object, a);

    return b != NULL ? json_object_get(member, b) != NULL : member != NULL;
}

/* jansson cannot hold some numbers and names that are JSON; it says so with codes of their own. */
static bool is_bound_of_jansson(const json_error_t *error)
{
    return json_error_code(error) == json_error_numeric_overflow || json_error_code(error) == json_error_null_byte_in_key;
}

static void judge_one(struct span text)
{
    json_error_t error, again;
    json_t *value = json_loadb(text.at, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    json_t *unique = json_loadb(text.at, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &again);
    bool good = is_json(text);
    char expected[8] = "";

    if (good != (value != NULL) && !is_bound_of_jansson(&error))
        fail_msg("%d, jansson %d: %.*s", good, value != NULL, (int)text.len, text.at);
    snprintf(expected, sizeof(expected), "%s%s%s%s%s", has(value, "a", NULL) ? "a" : "", has(value, "b", NULL) ? "b" : "",
             has(value, "a", "b") ? "A" : "", has(value, "b", "c") ? "B" : "", has(value, "\xc3\xa9", NULL) ? "9" : "");
    if (unique != NULL && strcmp(members(text), expected) != 0)
        fail_msg("%s, jansson %s: %.*s", members(text), expected, (int)text.len, text.at);
    if (value != NULL && unique == NULL && strcmp(members(text), "no") != 0 && strcmp(members(text), expected) != 0)
        fail_msg("%s, jansson %s: %.*s", members(text), expected, (int)text.len, text.at);
    json_decref(value);
    json_decref(unique);
}

static void test_against_jansson(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 60000; i++) {
        random_len = 0;
        put_value(1 + dice(4));
        judge_one(span_of(random_text, random_len));
        for (unsigned k = 0; k < 3; k++) {
            damage();
            judge_one(span_of(random_text, random_len));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_against_jansson),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
