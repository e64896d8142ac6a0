/* SPDX-License-Identifier: ISC */
/* The two clocks, and the diagnostic log: whole lines, levels, errno kept, and a bound on what remotes can make it say. */
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char said[1 << 16];
static int real_stderr, captured;

static void capture(void)
{
    captured = memfd_create("log", MFD_CLOEXEC);
    real_stderr = dup(STDERR_FILENO);
    assert_true(captured >= 0 && real_stderr >= 0);
    dup2(captured, STDERR_FILENO);
}

static size_t release(void)
{
    ssize_t n = pread(captured, said, sizeof(said) - 1, 0);

    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(captured);
    assert_true(n >= 0);
    said[n] = '\0';
    return (size_t)n;
}

static unsigned lines(void)
{
    unsigned count = 0;

    for (const char *at = said; (at = strchr(at, '\n')) != NULL; at++)
        count++;
    return count;
}

static void test_clock(void **state)
{
    uint64_t before, wall;

    (void)state;
    clock_tick();
    before = clock_us();
    wall = clock_wall_us();
    assert_true(before > 0);
    assert_int_equal(clock_ms(), before / 1000);
    nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
    assert_int_equal(clock_us(), before); /* it stands until it is read */
    assert_int_equal(clock_wall_us(), wall);
    clock_tick();
    assert_true(clock_us() >= before + 3000);
    assert_true(clock_wall_us() > wall);
    clock_set(5);
    assert_int_equal(clock_ms(), 5);
    assert_int_equal(clock_us(), 5000);
    clock_tick();
    assert_int_equal(clock_ms(), 5); /* the test owns it now */
}

static void test_levels(void **state)
{
    enum log_level level;

    (void)state;
    for (enum log_level i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
        capture();
        log_open("test 1", i);
        log_error("%d", 1);
        log_warn("%d", 2);
        log_info("%d", 3);
        log_debug("%d", 4);
        release();
        assert_int_equal(lines(), (unsigned)i + 1);
        assert_true(log_level_find(span_str(log_level_name(i)), &level));
        assert_int_equal(level, i);
        assert_int_equal(log_get_level(), i);
    }
    assert_false(log_level_find(SPAN("Info"), &level));
    assert_false(log_level_find(SPAN(""), &level));
    log_set_level(LOG_LEVEL_INFO);
}

static void test_line(void **state)
{
    char word[2000];
    int year, ms;

    (void)state;
    memset(word, 'x', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    log_open("worker 2", LOG_LEVEL_INFO);
    capture();
    errno = ENOENT;
    log_info("%s: %m", "file");
    assert_int_equal(errno, ENOENT);
    release();
    assert_int_equal(sscanf(said, "%d-%*d-%*dT%*d:%*d:%*d.%dZ info worker 2: file", &year, &ms), 2);
    assert_true(year > 2000 && ms < 1000);
    assert_non_null(strstr(said, strerror(ENOENT)));
    capture();
    log_warn("%s", word); /* too long: cut, and still one whole line */
    assert_true(release() <= 1024);
    assert_int_equal(lines(), 1);
    assert_int_equal(said[strlen(said) - 1], '\n');
}

/* Ten lines in a second, and then a count; at most two seconds are touched here. */
static void test_remote(void **state)
{
    (void)state;
    capture();
    for (int i = 0; i < 1000; i++)
        log_remote("line %d", i);
    release();
    assert_in_range(lines(), 10, 21);
    nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 50000000 }, NULL);
    capture();
    log_remote("after");
    release();
    assert_int_equal(lines(), 2);
    assert_non_null(strstr(said, "more lines like these were withheld"));
    assert_non_null(strstr(said, "after"));
}

static void test_fatal(void **state)
{
    pid_t child;
    int status;

    (void)state;
    capture();
    child = fork();
    if (child == 0) {
        log_open("child", LOG_LEVEL_ERROR);
        fatal("it is %s", "over");
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    release();
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(said, "error child: it is over\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),  cmocka_unit_test(test_levels), cmocka_unit_test(test_line),
        cmocka_unit_test(test_remote), cmocka_unit_test(test_fatal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
