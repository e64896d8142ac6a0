/* SPDX-License-Identifier: ISC */
/* A log whose reader has stopped: nobody waits for it, and what was lost is counted. */
#include "base/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PIPE_SIZE 16384

static int ends[2], standard_error;

/* Standard error is a pipe of four pages. */
static int begin(void **state)
{
    (void)state;
    standard_error = dup(STDERR_FILENO);
    if (standard_error < 0 || pipe(ends) != 0 || fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE) < 0)
        return -1;
    return dup2(ends[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int end(void **state)
{
    (void)state;
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static size_t read_all(char *text, size_t size)
{
    ssize_t n;
    size_t used = 0;

    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    while ((n = read(ends[0], text + used, size - 1 - used)) > 0)
        used += (size_t)n;
    text[used] = '\0';
    return used;
}

static void test_a_reader_that_stopped(void **state)
{
    static char text[2 * PIPE_SIZE];
    unsigned written = 0, lost = 0;

    (void)state;
    log_open("test", LOG_LEVEL_INFO);
    alarm(20); /* where it waits, it waits for ever */
    for (int i = 0; i < 500; i++)
        log_info("line %d", i);
    assert_true(read_all(text, sizeof(text)) <= PIPE_SIZE);
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        written++;
    assert_true(written > 10 && written < 500);
    log_info("after");
    alarm(0);
    read_all(text, sizeof(text));
    assert_non_null(strstr(text, "after\n"));
    assert_non_null(strstr(text, "test: "));
    assert_int_equal(sscanf(strstr(text, "after\n"), "after\n%*s warn test: %u lines before this one found no room", &lost), 1);
    assert_int_equal(written + lost, 500);
    log_info("once");
    read_all(text, sizeof(text));
    assert_null(strstr(text, "no room"));
}

/* There is room for a line, and none for the one behind it that says how many were lost. */
static void test_room_for_one_line(void **state)
{
    static char text[2 * PIPE_SIZE], page[4096];
    unsigned lost = 0, told = 0;

    (void)state;
    log_open("test", LOG_LEVEL_INFO);
    alarm(20);
    while (write(ends[1], page, sizeof(page)) > 0 && fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0)
        continue;
    for (lost = 0; lost < 7; lost++)
        log_info("lost");
    assert_int_equal(read(ends[0], page, sizeof(page)), sizeof(page));
    log_info("first");
    read_all(text, sizeof(text));
    log_info("second");
    alarm(0);
    read_all(text, sizeof(text));
    assert_int_equal(sscanf(strstr(text, "second\n"), "second\n%*s warn test: %u lines before this one found no room", &told), 1);
    assert_int_equal(told, lost);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_a_reader_that_stopped, begin, end),
                                        cmocka_unit_test_setup_teardown(test_room_for_one_line, begin, end) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
