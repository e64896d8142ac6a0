/* SPDX-License-Identifier: ISC */
/*
 * Regular expressions: what is found, what is refused, and that no search goes on for ever. The same table runs once more in a
 * process that may have no memory that is written and executed, as workers will: there the interpreter has to do it.
 *
 * "unit_base_regex interpreted" has no machine code at all, as workers, and runs what does not depend on how fast it is: valgrind
 * sees all of it, and nothing of machine code, which reads whole words, also of what was not written, and then does not use them.
 */
#include "base/regex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

static const struct {
    const char *pattern, *text;
    enum regex_result result;
} searches[] = {
    { "b", "abc", REGEX_FOUND },
    { "d", "abc", REGEX_NONE },
    { "^b", "abc", REGEX_NONE },
    { "^abc$", "abc", REGEX_FOUND },
    { "", "", REGEX_FOUND },
    { "a", "", REGEX_NONE },
    { "x|b", "abc", REGEX_FOUND }, /* the callout in front belongs to the first branch only */
    { "x|y|c", "abc", REGEX_FOUND },
    { "(?i)SELECT|drop", "please Drop it", REGEX_FOUND },
    { "(?x) a b # both", "ab", REGEX_FOUND },
    { "(?i)É", "é", REGEX_FOUND },
    { "^.$", "é", REGEX_FOUND }, /* a character, not a byte */
    { "^..$", "é", REGEX_NONE },
    { "\\x{1f600}", "\xf0\x9f\x98\x80", REGEX_FOUND },
    { "\xc3\xa9", "\xc3\xa8", REGEX_NONE },
    { "a", "\xff", REGEX_LIMIT }, /* not UTF-8 */
    { "a", "a\xc3", REGEX_LIMIT },
    { "a", "a\xed\xa0\x80", REGEX_LIMIT },
    { "(a)(b)(c)\\3", "abcc", REGEX_FOUND }, /* more groups than there is room for */
    { "(?<=a)b(?=c)", "abc", REGEX_FOUND },
    { "a(?C1)b", "ab", REGEX_FOUND }, /* callouts of others do nothing */
    { "a(?C'words')c", "ab", REGEX_NONE },
    { "^(a|b)(?1)$", "ab", REGEX_FOUND },
};

static uint64_t long_ns = 1000000000u;

static enum regex_result find(struct regex *r, struct span bytes)
{
    struct regex_text text = regex_text(bytes, long_ns);

    return regex_find(r, &text);
}

static unsigned wrong_searches(void)
{
    unsigned wrong = 0;

    for (size_t i = 0; i < sizeof(searches) / sizeof(searches[0]); i++) {
        char error[200];
        struct regex *r = regex_new(searches[i].pattern, error, sizeof(error));

        for (int k = 0; k < 2; k++) /* the second search knows nothing of the first */
            if (r == NULL || find(r, span_str(searches[i].text)) != searches[i].result) {
                fprintf(stderr, "/%s/ on \"%s\": %s\n", searches[i].pattern, searches[i].text, error);
                wrong++;
            }
        regex_free(r);
    }
    return wrong;
}

static void test_searches(void **state)
{
    (void)state;
    assert_int_equal(wrong_searches(), 0);
}

static void test_nul_in_text(void **state)
{
    struct regex *r = regex_new("a.b", (char[100]){ 0 }, 100);

    (void)state;
    assert_non_null(r);
    assert_int_equal(find(r, SPAN("xa\0b")), REGEX_FOUND);
    assert_int_equal(find(r, span_of(NULL, 0)), REGEX_NONE);
    regex_free(r);
}

static void test_bad_patterns(void **state)
{
    static const struct {
        const char *pattern, *at;
    } bad[] = {
        { "(", "offset 1" },        { "ab)", "offset 2" },      { "a**", "offset 2" },           { "[z-a]", "offset 3" },
        { "\\", "offset 1" },       { "a{2,1}", "offset 5" },   { "\\C", "offset 2" },           { "(?<n>a)(?<n>b)", "offset 12" },
        { "ab\xff", "offset 2" },   { "\xc3", "offset 0" },     { "(?P=x)", "offset 4" },        { "(*NO_SUCH)a", "offset 9" },
        { "a(?C256)", "offset 7" }, { "(*CRLF)a", "offset 6" }, { "\\p{Nothing}", "offset 11" },
    };
    char error[200];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(regex_new(bad[i].pattern, error, sizeof(error)));
        if (strstr(error, bad[i].at) == NULL || strlen(error) < 15)
            fail_msg("/%s/: %s", bad[i].pattern, error);
    }
    assert_null(regex_new("(", error, 5));
    assert_int_equal(strlen(error), 4);
    regex_free(NULL);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* `n` times 'a', and '!' */
static struct span many(size_t n)
{
    char *text = malloc(n + 1);

    assert_non_null(text);
    memset(text, 'a', n);
    text[n] = '!';
    return span_of(text, n + 1);
}

static enum regex_result find_in_many(const char *pattern, size_t n)
{
    char error[200];
    struct regex *r = regex_new(pattern, error, sizeof(error));
    struct span text = many(n);
    enum regex_result result;

    assert_non_null(r);
    result = find(r, text);
    regex_free(r);
    free((void *)(uintptr_t)text.at);
    return result;
}

static void test_work_is_bounded(void **state)
{
    double start = now();

    (void)state;
    assert_int_equal(find_in_many("(a+)+$", 12), REGEX_NONE); /* 2^12 ways */
    assert_int_equal(find_in_many("(a|aa)+$", 5000), REGEX_LIMIT);
    assert_int_equal(find_in_many("(a+)+$", 5000), REGEX_LIMIT);
    /* quadratic: each position alone is harmless, a million of them are not */
    assert_int_equal(find_in_many("a*[bc]", 1000), REGEX_NONE);
    assert_int_equal(find_in_many("a*[bc]", 4000000), REGEX_LIMIT);
    assert_int_equal(find_in_many("a*[bc]|x", 4000000), REGEX_LIMIT);
    assert_true(now() - start < 60);
}

/* Too deep for the stack of machine code, and not for the interpreter; and too deep for both. */
static void test_deep(void **state)
{
    (void)state;
    assert_int_equal(find_in_many("^((a)|b)*?!$", 1000), REGEX_FOUND);
    assert_int_equal(find_in_many("^((a)|b)*?!$", 20000), REGEX_FOUND);
    assert_int_equal(find_in_many("^((a)|b)*?!$", 200000), REGEX_LIMIT);
}

static void test_long_texts(void **state)
{
    (void)state;
    assert_int_equal(find_in_many("a!$", 16u << 20), REGEX_FOUND);
    assert_int_equal(find_in_many("b", 16u << 20), REGEX_NONE);
    assert_int_equal(find_in_many("^.*!$", 16u << 20), REGEX_FOUND);
}

/* One time for all searches in a text, however many patterns there are. */
static void test_time_is_shared(void **state)
{
    char error[200];
    struct regex *slow = regex_new("a*[bc]", error, sizeof(error)), *quick = regex_new("x", error, sizeof(error));
    struct span bytes = many(3000);
    struct regex_text text = regex_text(bytes, 5000000);
    unsigned done = 0;
    double start = now();

    (void)state;
    assert_non_null(slow);
    assert_non_null(quick);
    while (done < 10000 && regex_find(slow, &text) == REGEX_NONE)
        done++;
    assert_in_range(done, 1, 9999);
    assert_true(regex_late(&text));
    assert_true(now() - start < 0.1);
    text = regex_text(bytes, 5000000);
    assert_false(regex_late(&text));
    assert_int_equal(regex_find(quick, &text), REGEX_NONE);
    regex_free(slow);
    regex_free(quick);
    free((void *)(uintptr_t)bytes.at);
}

/* What one search found to be UTF-8 the next one need not look at; what was found to be none is none for all. */
static void test_utf8_is_looked_at_once(void **state)
{
    char error[200];
    struct regex *r = regex_new("b", error, sizeof(error));
    struct regex_text good = regex_text(SPAN("a\xc3\xa9"), long_ns), bad = regex_text(SPAN("a\xc3"), long_ns);

    (void)state;
    assert_non_null(r);
    assert_int_equal(regex_find(r, &bad), REGEX_LIMIT);
    assert_false(bad.is_utf8);
    assert_int_equal(regex_find(r, &bad), REGEX_LIMIT);
    assert_int_equal(regex_find(r, &good), REGEX_NONE);
    assert_true(good.is_utf8);
    assert_int_equal(regex_find(r, &good), REGEX_NONE);
    regex_free(r);
}

/* In a process of its own; 77: this kernel cannot forbid it. */
static void test_without_jit(void **state)
{
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        if (prctl(PR_SET_MDWE, 1, 0, 0, 0) != 0)
            _exit(77);
        _exit(wrong_searches() == 0 && find_in_many("a*[bc]", 4000000) == REGEX_LIMIT ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest any[] = {
        cmocka_unit_test(test_searches),   cmocka_unit_test(test_nul_in_text), cmocka_unit_test(test_bad_patterns),
        cmocka_unit_test(test_long_texts), cmocka_unit_test(test_deep),        cmocka_unit_test(test_utf8_is_looked_at_once),
    };
    const struct CMUnitTest fast[] = {
        cmocka_unit_test(test_work_is_bounded),
        cmocka_unit_test(test_without_jit),
        cmocka_unit_test(test_time_is_shared),
    };

    if (argc > 1 && strcmp(argv[1], "interpreted") == 0) {
        regex_interpret_only();
        long_ns *= 100;
        return cmocka_run_group_tests(any, NULL, NULL);
    }
    return cmocka_run_group_tests(any, NULL, NULL) + cmocka_run_group_tests(fast, NULL, NULL);
}
