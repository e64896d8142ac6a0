/* SPDX-License-Identifier: ISC */
/* Sources: who is told what the kernel says of a descriptor. */
#include "net_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct loop *loop;
    int fds[2];
    unsigned calls, said;
    bool drains;
};

static void on_readable(void *arg, unsigned what)
{
    struct fixture *f = arg;
    char byte;

    f->calls++;
    f->said |= what;
    if (f->drains)
        assert_int_equal(read(f->fds[0], &byte, 1), 1);
}

static void test_as_long_as_it_is_so(void **state)
{
    struct fixture f = { .loop = loop_new(), .drains = true };
    struct loop_source source = { .fn = on_readable, .arg = &f, .fd = -1 };

    (void)state;
    assert_int_equal(pipe(f.fds), 0);
    loop_remove(f.loop, &source);
    assert_true(loop_add(f.loop, &source, f.fds[0], LOOP_READ));
    turn_idly(f.loop);
    assert_int_equal(f.calls, 0);
    assert_int_equal(write(f.fds[1], "ab", 2), 2);
    assert_true(turn_until(f.loop, &f.calls, 2)); /* as long as there is something */
    turn_idly(f.loop);
    assert_int_equal(f.calls, 2);
    assert_int_equal(f.said, LOOP_READ);
    loop_want(f.loop, &source, 0);
    assert_int_equal(write(f.fds[1], "c", 1), 1);
    turn_idly(f.loop);
    assert_int_equal(f.calls, 2);
    loop_want(f.loop, &source, LOOP_READ);
    assert_true(turn_until(f.loop, &f.calls, 3));
    assert_int_equal(write(f.fds[1], "d", 1), 1);
    loop_remove(f.loop, &source);
    turn_idly(f.loop);
    assert_int_equal(f.calls, 3);
    assert_int_not_equal(fcntl(f.fds[0], F_GETFD), -1); /* the descriptor stays the caller's */
    loop_free(f.loop);
    close(f.fds[0]);
    close(f.fds[1]);
}

static void test_edges_are_told_once(void **state)
{
    struct fixture f = { .loop = loop_new() };
    struct loop_source source = { .fn = on_readable, .arg = &f, .fd = -1 };

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, f.fds), 0);
    assert_true(loop_add(f.loop, &source, f.fds[0], LOOP_READ | LOOP_END | LOOP_EDGES));
    assert_int_equal(write(f.fds[1], "a", 1), 1);
    turn_idly(f.loop);
    assert_int_equal(f.calls, 1);
    loop_want(f.loop, &source, LOOP_READ | LOOP_WRITE | LOOP_EDGES); /* what is so is told when it is wanted */
    turn_idly(f.loop);
    assert_int_equal(f.calls, 2);
    assert_int_equal(f.said, LOOP_READ | LOOP_WRITE);
    loop_forget(f.loop, &source);
    close(f.fds[0]);
    turn_idly(f.loop);
    assert_int_equal(f.calls, 2);
    loop_free(f.loop);
    close(f.fds[1]);
}

static void test_a_source_that_moved(void **state)
{
    struct fixture f = { .loop = loop_new(), .drains = true }, g = f;
    struct loop_source first = { .fn = on_readable, .arg = &f, .fd = -1 }, second = { .fn = on_readable, .arg = &g, .fd = -1 };

    (void)state;
    assert_int_equal(pipe(f.fds), 0);
    g.fds[0] = f.fds[0];
    assert_true(loop_add(f.loop, &first, f.fds[0], LOOP_READ));
    loop_move(f.loop, &second, &first);
    assert_int_equal(first.fd, -1);
    assert_int_equal(write(f.fds[1], "a", 1), 1);
    assert_true(turn_until(f.loop, &g.calls, 1));
    assert_int_equal(f.calls, 0);
    loop_remove(f.loop, &second);
    loop_free(f.loop);
    close(f.fds[0]);
    close(f.fds[1]);
}

/* Two that are told in one turn: each takes the other's descriptor away, for a new source that nothing was said of. */
struct rivals {
    struct loop *loop;
    struct loop_source sources[2], next;
    int fds[2][2];
    unsigned calls, next_calls;
};

static void on_next(void *arg, unsigned what)
{
    struct rivals *r = arg;

    (void)what;
    r->next_calls++;
}

static void replace(struct rivals *r, int other)
{
    int fd = r->fds[other][0], fresh[2];

    loop_forget(r->loop, &r->sources[other]);
    close(fd);
    assert_int_equal(pipe(fresh), 0);
    assert_int_equal(dup2(fresh[0], fd), fd);
    r->next = (struct loop_source){ .fn = on_next, .arg = r, .fd = -1 };
    assert_true(loop_add(r->loop, &r->next, fd, LOOP_READ));
    close(fresh[0]);
    close(r->fds[other][1]);
    r->fds[other][1] = fresh[1];
}

static void on_first(void *arg, unsigned what)
{
    struct rivals *r = arg;

    (void)what;
    if (r->calls++ == 0)
        replace(r, 1);
}

static void on_second(void *arg, unsigned what)
{
    struct rivals *r = arg;

    (void)what;
    if (r->calls++ == 0)
        replace(r, 0);
}

static void test_what_was_said_of_another(void **state)
{
    struct rivals r = { .loop = loop_new() };

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe(r.fds[i]), 0);
        r.sources[i] = (struct loop_source){ .fn = i == 0 ? on_first : on_second, .arg = &r, .fd = -1 };
        assert_true(loop_add(r.loop, &r.sources[i], r.fds[i][0], LOOP_READ));
        assert_int_equal(write(r.fds[i][1], "a", 1), 1);
    }
    assert_true(loop_turn(r.loop));
    assert_int_equal(r.calls, 1);
    assert_int_equal(r.next_calls, 0);
    loop_free(r.loop);
    for (int i = 0; i < 2; i++) {
        close(r.fds[i][0]);
        close(r.fds[i][1]);
    }
}

/* Places in the queue. */
struct waiter {
    struct loop *loop;
    struct loop_again again;
    unsigned runs, until; /* queues itself again */
    struct waiter *clears;
};

static void on_turn(void *arg)
{
    struct waiter *w = arg;

    if (w->clears != NULL)
        loop_again_clear(&w->clears->again);
    if (++w->runs < w->until)
        loop_again(w->loop, &w->again);
    else if (w->until > 0)
        loop_stop(w->loop);
}

static void test_once_a_turn(void **state)
{
    struct loop *loop = loop_new();
    struct waiter w[3] = { { .loop = loop, .until = 3, .clears = &w[1] }, { .loop = loop }, { .loop = loop } };

    (void)state;
    for (int i = 0; i < 3; i++) {
        w[i].again = (struct loop_again){ .fn = on_turn, .arg = &w[i] };
        loop_again(loop, &w[i].again);
        loop_again(loop, &w[i].again); /* it stays where it is */
        assert_true(loop_is_queued(&w[i].again));
    }
    assert_true(loop_turn(loop));
    assert_int_equal(w[0].runs, 1);
    assert_int_equal(w[1].runs, 0); /* it was in the same queue, behind the first */
    assert_int_equal(w[2].runs, 1);
    assert_false(loop_is_queued(&w[1].again) || loop_is_queued(&w[2].again));
    assert_true(loop_turn(loop));
    assert_false(loop_turn(loop));
    assert_int_equal(w[0].runs, 3);
    loop_again_clear(&w[1].again); /* not queued: nothing happens */
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_as_long_as_it_is_so), cmocka_unit_test(test_edges_are_told_once),
                                        cmocka_unit_test(test_a_source_that_moved), cmocka_unit_test(test_what_was_said_of_another),
                                        cmocka_unit_test(test_once_a_turn) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
