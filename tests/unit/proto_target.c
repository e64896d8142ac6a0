/* SPDX-License-Identifier: ISC */
/*
 * Request targets: the four forms, the normal form of a path, and everything that could be read in two ways. RL and CP numbers are
 * those of tests/vectors.jsonl.
 */
#include "proto/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

static enum reason parse(struct target *t, const char *method, struct span text)
{
    static char buffer[1024];

    assert_true(TARGET_BUFFER(text.len) <= sizeof(buffer));
    return target_parse(t, span_str(method), text, buffer, TARGET_BUFFER(text.len));
}

static const struct {
    const char *text, *path, *query;
} paths[] = {
    { "/", "/", "" },
    { "/a/b", "/a/b", "" },
    { "//a//b/", "//a//b/", "" },
    { "/%41%7a%2D%2e%5F%7E", "/Az-._~", "" },
    { "/azAZ09%61%7a%41%5a%30%39", "/azAZ09azAZ09", "" },
    { "/%5b%60%7b%40%3a", "/%5B%60%7B%40%3A", "" },
    { "/%e4%bd%a0", "/%E4%BD%A0", "" },
    { "/%252e%252e/x", "/%252e%252e/x", "" },
    { "/%20%09%7f%3f%23", "/%20%09%7F%3F%23", "" },
    { "/a!$&'()*+,;=:@b", "/a!$&'()*+,;=:@b", "" },
    { "/\"<>[]^`{|}", "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D", "" },
    { "/.", "/", "" },
    { "/./", "/", "" },
    { "/a/.", "/a/", "" },
    { "/a/..", "/", "" },
    { "/a/../", "/", "" },
    { "/a/./b/../../c", "/c", "" },
    { "/a/%2e%2E/b", "/b", "" },
    { "/a/.%2e/b", "/b", "" },
    { "/%2e/b", "/b", "" },
    { "/a/.b/..c/d./e../...", "/a/.b/..c/d./e../...", "" },
    { "/a/b/c/../../d/..", "/a/", "" },
    { "/a//./b", "/a//b", "" },
    { "/ok/../deny/x", "/deny/x", "" },
    { "/?", "/", "?" },
    { "/a?b=/../c&d=%zz%0\\|^\"<>`{}[]?", "/a", "?b=/../c&d=%zz%0\\|^\"<>`{}[]?" },
    { "/a/..?x", "/", "?x" },
};

static const char *const bad_paths[] = {
    "/a b",
    "/a\tb",
    "/a\xffz",
    "/\x7f",
    "/a\x01",
    "/a#b",
    "/a?b#c",
    "/a?b c",
    "/a?\x80",
    "/a?\x7f",
    "/a?\t",
    "/%zz",
    "/%0",
    "/%",
    "/a%4",
    "/%4g",
    "/%g4",
    "/%00",
    "/%0d%0aX:1",
    "/%0A",
    "/%0D",
    "/ok%2f..%2fdeny",
    "/%2F",
    "/%5c",
    "/%5C..",
    "/a\\b",
    "/..",
    "/../a",
    "/a/../..",
    "/%2e%2e/a",
    "/./..",
    "/deny/../../deny/x",
    "/a/../../",
    "/a//..",
    "/ok//../deny/x",
    "//..",
    "/a//%2e%2e/b",
    "/..?x",
    "/ok/..;/deny",
    "/ok/..;x=1/deny",
    "/ok/%2e%2e;/deny",
    "/.;/deny",
    "/ok/..;",
    "/..;?x",
};

static void test_paths(void **state)
{
    struct target t;

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (parse(&t, "GET", span_str(paths[i].text)) != R_NONE)
            fail_msg("refused: %s", paths[i].text);
        assert_int_equal(t.form, TARGET_ORIGIN);
        if (!span_eq(t.path, span_str(paths[i].path)))
            fail_msg("%s: %.*s", paths[i].text, (int)t.path.len, t.path.at);
        assert_true(span_eq(t.query, span_str(paths[i].query)));
    }
}

static void test_bad_paths(void **state)
{
    struct target t;

    (void)state;
    for (size_t i = 0; i < sizeof(bad_paths) / sizeof(bad_paths[0]); i++) {
        char absolute[256];

        if (parse(&t, "GET", span_str(bad_paths[i])) != R_TARGET_MALFORMED)
            fail_msg("accepted: %s", bad_paths[i]);
        snprintf(absolute, sizeof(absolute), "http://a.test%s", bad_paths[i]);
        if (parse(&t, "GET", span_str(absolute)) != R_TARGET_MALFORMED)
            fail_msg("accepted: %s", absolute);
    }
    assert_int_equal(parse(&t, "GET", SPAN("/a\0b")), R_TARGET_MALFORMED);
    assert_int_equal(parse(&t, "GET", SPAN("/a?\0b")), R_TARGET_MALFORMED);
}

static void test_absolute(void **state)
{
    static const struct {
        const char *text, *host, *path, *query;
        uint16_t port;
        enum target_scheme scheme;
    } table[] = {
        { "http://a.test/b?c", "a.test", "/b", "?c", 0, SCHEME_HTTP },
        { "HTTP://A.TEST.:8080", "a.test", "/", "", 8080, SCHEME_HTTP },
        { "http://a.test?q=http://b.test/", "a.test", "/", "?q=http://b.test/", 0, SCHEME_HTTP },
        { "Ws://[::1]:80/x/../y", "::1", "/y", "", 80, SCHEME_WS },
        { "ws://0x7f.1/", "127.0.0.1", "/", "", 0, SCHEME_WS },
        { "http://a.test//b", "a.test", "//b", "", 0, SCHEME_HTTP },
        { "hTTps://a.test:443/b?c", "a.test", "/b", "?c", 443, SCHEME_HTTPS },
        { "wss://a.test", "a.test", "/", "", 0, SCHEME_WSS },
    };
    struct target t;

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (parse(&t, "GET", span_str(table[i].text)) != R_NONE)
            fail_msg("refused: %s", table[i].text);
        assert_int_equal(t.form, TARGET_ABSOLUTE);
        assert_int_equal(t.scheme, table[i].scheme);
        assert_string_equal(t.host.name, table[i].host);
        assert_int_equal(t.port, table[i].port);
        assert_true(span_eq(t.path, span_str(table[i].path)));
        assert_true(span_eq(t.query, span_str(table[i].query)));
    }
}

static void test_bad_absolute(void **state)
{
    static const char *const bad[] = {
        "",
        "a",
        "a.test/",
        "a.test:80",
        "http:",
        "http:/",
        "http:/a.test/",
        "http://",
        "http:///a",
        "http://?a",
        "http://:80/",
        "https:/a.test/",
        "https://",
        "https://u@a.test/",
        "wss:a.test/",
        "ftp://a.test/",
        "httpx://a.test/",
        "http//a.test/",
        "http://a.test#b",
        "http://u@a.test/",
        "http://ok.test:80@evil.test/",
        "http://a.test:65536/",
        "http://a.test:/",
        "http://a.test:0/",
        "http://[::1/",
        "http://[::1%25eth0]/",
        "http://%65vil.test/",
        "http://evil.test\\@ok.test/",
        "http://ok.test,evil.test/",
        "http://a.test:80:80/",
        " http://a.test/",
        "http://a\xff.test/",
        "?a",
        "**",
    };
    struct target t;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse(&t, "GET", span_str(bad[i])) != R_TARGET_MALFORMED)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(parse(&t, "GET", span_of(NULL, 0)), R_TARGET_MALFORMED);
}

static void test_authority(void **state)
{
    static const char *const bad[] = { "a.test",
                                       "/",
                                       "a.test:",
                                       "a.test:0",
                                       "a.test:65536",
                                       "a.test:+443",
                                       "a.test:443:80",
                                       "u@a.test:443",
                                       "http://a.test:443",
                                       "*",
                                       "",
                                       "a.test:443/",
                                       "a.test:443?x",
                                       "a.test:443#x",
                                       "[::1]" };
    struct target t;

    (void)state;
    assert_int_equal(parse(&t, "CONNECT", SPAN("A.test:443")), R_NONE);
    assert_int_equal(t.form, TARGET_AUTHORITY);
    assert_string_equal(t.host.name, "a.test");
    assert_int_equal(t.port, 443);
    assert_int_equal(t.path.len, 0);
    assert_int_equal(parse(&t, "CONNECT", SPAN("[::1]:1")), R_NONE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse(&t, "CONNECT", span_str(bad[i])) != R_TARGET_MALFORMED)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(parse(&t, "GET", SPAN("a.test:443")), R_TARGET_MALFORMED);
    assert_int_equal(parse(&t, "connect", SPAN("a.test:443")), R_TARGET_MALFORMED);
}

static void test_asterisk(void **state)
{
    struct target t;

    (void)state;
    assert_int_equal(parse(&t, "OPTIONS", SPAN("*")), R_NONE);
    assert_int_equal(t.form, TARGET_ASTERISK);
    assert_true(span_eq(t.path, SPAN("*")));
    assert_int_equal(parse(&t, "GET", SPAN("*")), R_TARGET_MALFORMED);
    assert_int_equal(parse(&t, "OPTIONS", SPAN("*/")), R_TARGET_MALFORMED);
    assert_int_equal(parse(&t, "OPTIONS", SPAN("http://a.test")), R_NONE);
    assert_int_equal(t.form, TARGET_ABSOLUTE);
    assert_true(span_eq(t.path, SPAN("*")));
    assert_int_equal(parse(&t, "OPTIONS", SPAN("http://a.test/")), R_NONE);
    assert_true(span_eq(t.path, SPAN("/")));
    assert_int_equal(parse(&t, "OPTIONS", SPAN("http://a.test?x")), R_NONE);
    assert_true(span_eq(t.path, SPAN("/")));
}

/* A buffer of just the right size, and each smaller one; exact blocks, so that ASan sees a byte too many. */
static void test_buffer(void **state)
{
    struct span text = SPAN("/a/../|||%61");
    struct target t;

    (void)state;
    for (size_t size = 0; size <= 11; size++) {
        char *buffer = malloc(size + (size == 0));

        assert_int_equal(target_parse(&t, SPAN("GET"), text, buffer, size), size == 11 ? R_NONE : R_TARGET_MALFORMED);
        free(buffer);
    }
}

static void test_path_fits(void **state)
{
    static const struct {
        const char *path, *pattern;
        bool fits;
    } table[] = {
        { "/a", "/a", true },
        { "/a", "/b", false },
        { "/a", "/a/", false },
        { "/ab", "/a", false },
        { "/a", "/ab", false },
        { "/", "*", true },
        { "", "*", true },
        { "", "", true },
        { "/a", "", false },
        { "/a/b/c", "/a/*", true },
        { "/a", "/a*", true },
        { "/a/", "/a/*", true },
        { "/a/b/c", "/*/c", true },
        { "/a/b/c", "*b*", true },
        { "/a/b/c", "*d*", false },
        { "/a.js", "/*.js", true },
        { "/a.js.b", "/*.js", false },
        { "/aab", "/*ab", true },
        { "/abab", "/*ab", true },
        { "/ababc", "/*ab", false },
        { "/A", "/a", false },
        { "/a*", "/a*", true },
        { "/a", "/a**", true },
        { "/xayaz", "*a*a*", true },
        { "/xay", "*a*a*", false },
        { "/deny", "/deny/*", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (target_path_fits(span_str(table[i].path), span_str(table[i].pattern)) != table[i].fits)
            fail_msg("%s, %s", table[i].path, table[i].pattern);
}

static void test_path_fits_merged(void **state)
{
    static const struct {
        const char *path, *pattern;
        bool fits;
    } table[] = {
        { "//a", "/a", true },       { "/a//b", "/a/b", true },  { "/a//", "/a/", true },       { "/a//", "/a", false },
        { "///", "/", true },        { "//a//b", "/a/*", true }, { "/a//b", "*b", true },       { "/a//b", "*//b", false },
        { "/aa//b", "/a/b", false }, { "", "*", true },          { "//x/y//z", "*/y/z", true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (target_path_fits_merged(span_str(table[i].path), span_str(table[i].pattern)) != table[i].fits)
            fail_msg("%s, %s", table[i].path, table[i].pattern);
}

/* Thirty stars and eight thousand bytes: a matcher that backtracks would not end. */
static void test_path_fits_is_fast(void **state)
{
    static char path[8192], pattern[128];
    size_t len = 0;
    clock_t start = clock();

    (void)state;
    memset(path, 'a', sizeof(path));
    for (int i = 0; i < 30; i++) {
        memcpy(pattern + len, "*a", 2);
        len += 2;
    }
    memcpy(pattern + len, "*b", 2);
    assert_false(target_path_fits(span_of(path, sizeof(path)), span_of(pattern, len + 2)));
    assert_true(clock() - start < CLOCKS_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_bad_paths),
        cmocka_unit_test(test_absolute),
        cmocka_unit_test(test_bad_absolute),
        cmocka_unit_test(test_authority),
        cmocka_unit_test(test_asterisk),
        cmocka_unit_test(test_buffer),
        cmocka_unit_test(test_path_fits),
        cmocka_unit_test(test_path_fits_is_fast),
        cmocka_unit_test(test_path_fits_merged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
