/* SPDX-License-Identifier: ISC */
/* Descriptors that are watched, though they are no streams. */
#include "net_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct loop *loop;
    int fds[2];
    unsigned calls;
    bool drains;
};

static void on_readable(void *arg)
{
    struct fixture *f = arg;
    char byte;

    f->calls++;
    if (f->drains)
        assert_int_equal(read(f->fds[0], &byte, 1), 1);
}

static void test_watch(void **state)
{
    struct fixture f = { .loop = loop_new(), .drains = true };
    struct watch *w;

    (void)state;
    assert_int_equal(pipe(f.fds), 0);
    w = loop_watch(f.loop, f.fds[0], on_readable, &f);
    assert_non_null(w);
    turn_idly(f.loop);
    assert_int_equal(f.calls, 0);
    assert_int_equal(write(f.fds[1], "ab", 2), 2);
    assert_true(turn_until(f.loop, &f.calls, 2)); /* as long as there is something */
    turn_idly(f.loop);
    assert_int_equal(f.calls, 2);
    assert_int_equal(write(f.fds[1], "c", 1), 1);
    loop_unwatch(w);
    turn_idly(f.loop);
    assert_int_equal(f.calls, 2);
    assert_int_not_equal(fcntl(f.fds[0], F_GETFD), -1); /* the descriptor stays the caller's */
    loop_unwatch(NULL);
    loop_free(f.loop);
    close(f.fds[0]);
    close(f.fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_watch) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
