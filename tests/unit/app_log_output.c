/* SPDX-License-Identifier: ISC */
/* Writing lines into what is full, blocked or broken: in order, whole, counted, and without ever waiting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/log_output.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

static struct log_output o;

static void add(unsigned number, size_t len)
{
    char *line = log_output_room(&o, len);

    assert_non_null(line);
    snprintf(line, len, "%06u", number);
    memset(line + 6, '.', len - 7);
    line[len - 1] = '\n';
    log_output_added(&o, len);
}

static void test_file_takes_all_at_once(void **state)
{
    char name[] = "/tmp/postern-log-XXXXXX", got[64] = "";
    int fd = mkstemp(name);

    (void)state;
    unlink(name);
    log_output_init(&o);
    log_output_set(&o, dup(fd));
    add(1, 10);
    add(2, 10);
    assert_true(log_output_flush(&o));
    assert_int_equal(o.written, 2);
    assert_int_equal(o.lost, 0);
    assert_int_equal(pread(fd, got, sizeof(got), 0), 20);
    assert_string_equal(got, "000001...\n000002...\n");
    log_output_set(&o, -1);
    close(fd);
}

static void test_nothing_configured_counts_nothing(void **state)
{
    (void)state;
    log_output_init(&o);
    add(1, 10);
    assert_true(log_output_flush(&o));
    assert_int_equal(o.written + o.lost + o.used, 0);
}

static void test_room(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    log_output_init(&o);
    log_output_set(&o, fds[1]);
    for (size_t i = 0; i < LOG_BATCH / 1024; i++) {
        assert_non_null(log_output_room(&o, 1024));
        add((unsigned)i, 1024);
    }
    assert_null(log_output_room(&o, 1));
    log_output_set(&o, -1);
    close(fds[0]);
}

/* A reader that sleeps: the descriptor may block, the writer never does; when the reader is back, nothing is missing. */
static void test_sleeping_reader(void **state)
{
    unsigned next = 0, seen = 0;
    char got[PIPE_BUF + 1];
    int fds[2];
    ssize_t len;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    log_output_init(&o);
    log_output_set(&o, fds[1]);
    do
        while (log_output_room(&o, 1000) != NULL)
            add(next++, 1000);
    while (log_output_flush(&o));
    assert_true(o.used > 0 && o.lost == 0);
    while ((o.used > 0 || seen < next) && (len = read(fds[0], got, PIPE_BUF)) > 0) {
        got[len] = '\0';
        for (char *line = strtok(got, "\n"); line != NULL; line = strtok(NULL, "\n"))
            if (strlen(line) >= 6 && line[0] != '.')
                assert_int_equal(atoi(line), seen++);
        (void)!log_output_flush(&o);
    }
    assert_int_equal(seen, next);
    assert_int_equal(o.written, next);
    log_output_set(&o, -1);
    close(fds[0]);
}

static void test_full_disk(void **state)
{
    int fd = open("/dev/full", O_WRONLY);

    (void)state;
    assert_true(fd >= 0);
    log_output_init(&o);
    log_output_set(&o, fd);
    for (unsigned i = 0; i < 5; i++)
        add(i, 100);
    assert_true(log_output_flush(&o));
    assert_int_equal(o.lost, 5);
    assert_int_equal(o.used, 0);
    log_output_set(&o, -1);
}

/* A disk that takes a part of a line: its rest comes first when there is room again. */
static void test_cut_line_is_completed(void **state)
{
    char name[] = "/tmp/postern-log-XXXXXX", got[1024] = "";
    struct rlimit saved, small = { 150, RLIM_INFINITY };
    int fd = mkstemp(name);

    (void)state;
    unlink(name);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
    small.rlim_max = saved.rlim_max;
    log_output_init(&o);
    log_output_set(&o, dup(fd));
    for (unsigned i = 0; i < 3; i++)
        add(i, 100);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_true(log_output_flush(&o)); /* one and a half; then EFBIG */
    assert_int_equal(o.written, 1);
    assert_int_equal(o.lost, 1); /* the third; the rest of the second waits */
    assert_int_equal(o.used - o.first, 50);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
    add(3, 100);
    assert_true(log_output_flush(&o));
    assert_int_equal(o.written, 3);
    assert_int_equal(pread(fd, got, sizeof(got), 0), 300);
    assert_memory_equal(got + 100, "000001", 6);
    assert_memory_equal(got + 200, "000003", 6);
    log_output_set(&o, -1);
    close(fd);
}

/* A rotated file must not begin with the rest of a line. */
static void test_new_file_begins_with_a_line(void **state)
{
    int fds[2];
    char got[64] = "";

    (void)state;
    assert_int_equal(pipe(fds), 0);
    log_output_init(&o);
    log_output_set(&o, open("/dev/full", O_WRONLY));
    add(1, 10);
    o.mid_line = true; /* as after a write that took a part */
    add(2, 10);
    log_output_set(&o, fds[1]);
    assert_true(log_output_flush(&o));
    assert_int_equal(read(fds[0], got, sizeof(got)), 10);
    assert_memory_equal(got, "000002", 6);
    assert_int_equal(o.lost, 1);
    log_output_set(&o, -1);
    close(fds[0]);
}

static void test_reader_gone(void **state)
{
    int fds[2];

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    log_output_init(&o);
    log_output_set(&o, fds[1]);
    add(1, 10);
    assert_true(log_output_flush(&o));
    assert_int_equal(o.lost, 1);
    log_output_set(&o, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_takes_all_at_once),
        cmocka_unit_test(test_nothing_configured_counts_nothing),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_sleeping_reader),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_cut_line_is_completed),
        cmocka_unit_test(test_new_file_begins_with_a_line),
        cmocka_unit_test(test_reader_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
