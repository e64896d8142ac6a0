/* SPDX-License-Identifier: ISC */
/* Listening: batches, a pause when descriptors run out, draining, and by which interface a client came. */
#include "net/listener.h"
#include "net_pair.h"

#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

#define MANY 100

struct fixture {
    struct loop *loop;
    struct listener *listener;
    struct addr at;
    uint64_t now;
    unsigned accepted, paused;
    int fds[2 * MANY];
    struct addr last_client;
    unsigned pause_after; /* the owner pauses in this accept; 0: never */
};

static void on_accepted(void *arg, int fd, const struct addr *client)
{
    struct fixture *f = arg;

    f->fds[f->accepted++] = fd;
    f->last_client = *client;
    if (f->accepted == f->pause_after)
        listener_pause(f->listener);
}

static void on_paused(void *arg)
{
    struct fixture *f = arg;

    f->paused++;
}

static const struct listener_calls calls = { on_accepted, on_paused };

static void begin(struct fixture *f, const char *ip)
{
    int fd, one = 1;

    clock_set(1000000);
    *f = (struct fixture){ .loop = loop_new(), .at = loopback(ip, 0), .now = 1000000 };
    assert_non_null(f->loop);
    fd = listening_socket(&f->at, 2 * MANY);
    assert_true(fd >= 0);
    if (f->at.family == AF_INET)
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
    else
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
    f->listener = listener_new(f->loop, fd, &calls, f);
    assert_non_null(f->listener);
    assert_true(addr_eq(listener_address(f->listener), &f->at));
}

static void forget_accepted(struct fixture *f)
{
    while (f->accepted > 0)
        close(f->fds[--f->accepted]);
}

static void end(struct fixture *f)
{
    listener_free(f->listener);
    forget_accepted(f);
    loop_free(f->loop);
}

static void advance(struct fixture *f, uint64_t ms)
{
    for (uint64_t stop = f->now + ms; f->now < stop;) {
        clock_set(f->now += 50);
        turn_idly(f->loop);
    }
}

static void connect_many(struct fixture *f, int *fds, int count)
{
    for (int i = 0; i < count; i++)
        fds[i] = connected_socket(&f->at);
}

static void close_many(const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        close(fds[i]);
}

static void test_accept(void **state)
{
    struct fixture f;
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct addr client;
    int fd;

    (void)state;
    begin(&f, "127.0.0.1");
    fd = connected_socket(&f.at);
    assert_true(turn_until(f.loop, &f.accepted, 1));
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    assert_true(addr_from_sockaddr(&client, (struct sockaddr *)&sa, len));
    assert_true(addr_eq(&client, &f.last_client));
    assert_true(fcntl(f.fds[0], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(f.fds[0], F_GETFD) & FD_CLOEXEC);
    close(fd);
    end(&f);
}

/* A flood is taken in pieces, so that others get their turn. */
static void test_batch(void **state)
{
    struct fixture f;
    int fds[MANY];

    (void)state;
    begin(&f, "127.0.0.1");
    connect_many(&f, fds, MANY);
    poll(NULL, 0, 20);
    loop_turn(f.loop);
    assert_in_range(f.accepted, 1, MANY - 1);
    assert_true(turn_until(f.loop, &f.accepted, MANY));
    close_many(fds, MANY);
    end(&f);
}

static void test_owner_pauses(void **state)
{
    struct fixture f;
    int fds[10];

    (void)state;
    begin(&f, "127.0.0.1");
    f.pause_after = 3;
    connect_many(&f, fds, 10);
    assert_true(turn_until(f.loop, &f.accepted, 3));
    advance(&f, 1000);
    assert_int_equal(f.accepted, 3);
    listener_pause(f.listener); /* twice is once */
    listener_resume(f.listener);
    assert_true(turn_until(f.loop, &f.accepted, 10));
    assert_int_equal(f.paused, 0); /* that was no shortage */
    close_many(fds, 10);
    end(&f);
}

static rlim_t limit_descriptors(rlim_t limit)
{
    struct rlimit now;
    rlim_t before;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    before = now.rlim_cur;
    now.rlim_cur = limit;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    return before;
}

/* Without descriptors the client waits in the backlog, and the loop sleeps rather than spins. */
static void test_shortage(void **state)
{
    struct fixture f;
    rlim_t before;
    int fd, lowest;

    (void)state;
    begin(&f, "127.0.0.1");
    fd = connected_socket(&f.at);
    lowest = dup(0);
    close(lowest);
    before = limit_descriptors((rlim_t)lowest);
    assert_true(turn_until(f.loop, &f.paused, 1));
    assert_int_equal(f.accepted, 0);
    advance(&f, 100);
    assert_int_equal(f.paused, 1);
    advance(&f, 300); /* tried again, in vain */
    assert_in_range(f.paused, 2, 3);
    limit_descriptors(before);
    assert_int_equal(f.accepted, 0);
    advance(&f, 400);
    assert_int_equal(f.accepted, 1);
    close(fd);
    end(&f);
}

/* The end of a shortage does not undo a pause that the owner wanted. */
static void test_owner_pauses_in_shortage(void **state)
{
    struct fixture f;
    rlim_t before;
    int fd, lowest;

    (void)state;
    begin(&f, "127.0.0.1");
    fd = connected_socket(&f.at);
    lowest = dup(0);
    close(lowest);
    before = limit_descriptors((rlim_t)lowest);
    assert_true(turn_until(f.loop, &f.paused, 1));
    limit_descriptors(before);
    listener_pause(f.listener);
    advance(&f, 1000);
    assert_int_equal(f.accepted, 0);
    listener_resume(f.listener);
    assert_true(turn_until(f.loop, &f.accepted, 1));
    close(fd);
    end(&f);
}

/* An owner that wants to go on during a shortage does: at once. */
static void test_resume_in_shortage(void **state)
{
    struct fixture f;
    rlim_t before;
    int fd, lowest;

    (void)state;
    begin(&f, "127.0.0.1");
    fd = connected_socket(&f.at);
    lowest = dup(0);
    close(lowest);
    before = limit_descriptors((rlim_t)lowest);
    assert_true(turn_until(f.loop, &f.paused, 1));
    limit_descriptors(before);
    listener_resume(f.listener);
    assert_true(turn_until(f.loop, &f.accepted, 1));
    close(fd);
    end(&f);
}

static void test_drain(void **state)
{
    struct fixture f;
    int fds[MANY];

    (void)state;
    begin(&f, "127.0.0.1");
    listener_drain(f.listener);
    assert_int_equal(f.accepted, 0);
    connect_many(&f, fds, MANY);
    poll(NULL, 0, 20);
    listener_drain(f.listener); /* all of them, without a turn */
    assert_int_equal(f.accepted, MANY);
    close_many(fds, MANY);
    end(&f);
}

static void expect_ingress(const char *ip)
{
    struct fixture f;
    int fd;

    begin(&f, ip);
    fd = connected_socket(&f.at);
    assert_true(turn_until(f.loop, &f.accepted, 1));
    assert_int_equal(listener_ingress(f.fds[0]), if_nametoindex("lo"));
    close(fd);
    end(&f);
}

static void test_ingress(void **state)
{
    struct addr six = loopback("::1", 0);
    int probe = bound_socket(&six, SOCK_STREAM), pair[2];

    (void)state;
    assert_true(if_nametoindex("lo") > 0);
    expect_ingress("127.0.0.1");
    tcp_pair(pair);
    assert_int_equal(listener_ingress(pair[0]), 0); /* its listener did not ask for it */
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(listener_ingress(-1), 0);
    if (probe < 0)
        return;
    close(probe);
    expect_ingress("::1");
}

static void test_not_a_listener(void **state)
{
    struct loop *loop = loop_new();
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_null(listener_new(loop, fds[0], &calls, NULL));
    assert_int_equal(fcntl(fds[0], F_GETFD), -1); /* closed */
    close(fds[1]);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_owner_pauses),
        cmocka_unit_test(test_shortage),
        cmocka_unit_test(test_owner_pauses_in_shortage),
        cmocka_unit_test(test_resume_in_shortage),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_ingress),
        cmocka_unit_test(test_not_a_listener),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
