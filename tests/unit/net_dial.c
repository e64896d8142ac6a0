/* SPDX-License-Identifier: ISC */
/*
 * Dialling on loopback. Ports that refuse are sockets that are bound and do not listen; one that does not answer is a listener
 * whose backlog is full.
 */
#include "net/dial.h"
#include "net_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct loop *loop;
    uint64_t now;
    unsigned done;
    int fd;
    size_t index;
    int error;
};

static void on_done(void *arg, int fd, size_t index, int error)
{
    struct fixture *f = arg;

    f->done++;
    f->fd = fd;
    f->index = index;
    f->error = error;
}

static void begin(struct fixture *f)
{
    clock_set(1000000);
    *f = (struct fixture){ .loop = loop_new(), .now = 1000000, .fd = -2 };
    assert_non_null(f->loop);
    turn_idly(f->loop);
}

static void end(struct fixture *f)
{
    if (f->fd >= 0)
        close(f->fd);
    assert_int_equal(wheel_pause(loop_wheel(f->loop), clock_ms()), -1); /* no attempt is left behind */
    loop_free(f->loop);
}

static void advance(struct fixture *f, uint64_t ms)
{
    for (uint64_t stop = f->now + ms; f->now < stop; f->now += 50) {
        clock_set(f->now + 50);
        turn_idly(f->loop);
    }
}

/* A port that refuses, for as long as *fd is open. */
static struct addr refusing(const char *ip, int *fd)
{
    struct addr a = loopback(ip, 0);

    *fd = bound_socket(&a, SOCK_STREAM);
    assert_true(*fd >= 0);
    return a;
}

struct silent {
    int listener, fillers[8];
};

/* A port that lets an attempt wait. */
static struct addr silent(struct silent *s)
{
    struct addr a = loopback("127.0.0.1", 0);
    struct sockaddr_storage sa;
    socklen_t len;

    s->listener = listening_socket(&a, 0);
    len = addr_to_sockaddr(&a, &sa);
    for (int i = 0; i < 8; i++) {
        s->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(s->fillers[i], (struct sockaddr *)&sa, len) != 0)
            assert_int_equal(errno, EINPROGRESS);
    }
    return a;
}

static void silent_fini(struct silent *s)
{
    for (int i = 0; i < 8; i++)
        close(s->fillers[i]);
    close(s->listener);
}

/* Is `fd` connected to `to`, non-blocking? */
static void expect_connected(int fd, const struct addr *to)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct addr peer;

    assert_int_equal(getpeername(fd, (struct sockaddr *)&sa, &len), 0);
    assert_true(addr_from_sockaddr(&peer, (struct sockaddr *)&sa, len));
    assert_true(addr_eq(&peer, to));
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void test_success(void **state)
{
    struct fixture f;
    struct addr at = loopback("127.0.0.1", 0);
    int listener = listening_socket(&at, 8);

    (void)state;
    begin(&f);
    assert_non_null(dial_start(f.loop, &(struct dial_to){ &at, 1, NULL }, on_done, &f));
    assert_int_equal(f.done, 0); /* later, never at once */
    assert_true(turn_until(f.loop, &f.done, 1));
    assert_int_equal(f.index, 0);
    assert_int_equal(f.error, 0);
    expect_connected(f.fd, &at);
    turn_idly(f.loop);
    assert_int_equal(f.done, 1);
    close(listener);
    end(&f);
}

static void test_refused(void **state)
{
    struct fixture f;
    int fds[3];
    struct addr at[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        at[i] = refusing("127.0.0.1", &fds[i]);
    for (size_t count = 1; count <= 3; count++) {
        begin(&f);
        assert_non_null(dial_start(f.loop, &(struct dial_to){ at, count, NULL }, on_done, &f));
        assert_true(turn_until(f.loop, &f.done, 1));
        assert_int_equal(f.fd, -1);
        assert_int_equal(f.error, ECONNREFUSED);
        end(&f);
    }
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

/* The next one begins when the one before failed: time stands still here. */
static void test_refused_then_next(void **state)
{
    struct fixture f;
    int refuser, listener;
    struct addr at[3] = { refusing("127.0.0.1", &refuser), { 0 }, loopback("127.0.0.1", 0) };

    (void)state;
    at[1] = at[0];
    listener = listening_socket(&at[2], 8);
    begin(&f);
    assert_non_null(dial_start(f.loop, &(struct dial_to){ at, 3, NULL }, on_done, &f));
    assert_true(turn_until(f.loop, &f.done, 1));
    assert_int_equal(f.index, 2);
    expect_connected(f.fd, &at[2]);
    close(refuser);
    close(listener);
    end(&f);
}

/* IPv6 first, then alternating: seen by which address wins, when all that come before it in that order refuse. */
static void test_interleaved(void **state)
{
    struct fixture f;
    int fds[4], six = -1, four;
    struct addr one[2] = { loopback("127.0.0.1", 0), loopback("::1", 0) };

    (void)state;
    six = listening_socket(&one[1], 8);
    if (six < 0)
        skip();
    four = listening_socket(&one[0], 8);
    begin(&f);
    assert_non_null(dial_start(f.loop, &(struct dial_to){ one, 2, NULL }, on_done, &f)); /* IPv4 stands first, IPv6 is first */
    assert_true(turn_until(f.loop, &f.done, 1));
    assert_int_equal(f.index, 1);
    end(&f);

    /* 4a 4b 6a 6b becomes 6a 4a 6b 4b: with 6a and 4a refusing, 6b wins though 4b listens. */
    struct addr two[4] = { refusing("127.0.0.1", &fds[0]), one[0], refusing("::1", &fds[1]), one[1] };

    begin(&f);
    assert_non_null(dial_start(f.loop, &(struct dial_to){ two, 4, NULL }, on_done, &f));
    assert_true(turn_until(f.loop, &f.done, 1));
    assert_int_equal(f.index, 3);
    end(&f);

    /* 6a 4a 4b 4c: one family runs out. */
    struct addr three[4] = { two[0], two[0], two[2], one[0] };

    begin(&f);
    assert_non_null(dial_start(f.loop, &(struct dial_to){ three, 4, NULL }, on_done, &f));
    assert_true(turn_until(f.loop, &f.done, 1));
    assert_int_equal(f.index, 3);
    end(&f);
    close(fds[0]);
    close(fds[1]);
    close(six);
    close(four);
}

/* An attempt that hangs does not hold up the next one: after 250 ms both are under way. */
static void test_silent_then_next(void **state)
{
    struct fixture f;
    struct silent hole;
    struct addr at[2] = { silent(&hole), loopback("127.0.0.1", 0) };
    int listener = listening_socket(&at[1], 8);

    (void)state;
    begin(&f);
    assert_non_null(dial_start(f.loop, &(struct dial_to){ at, 2, NULL }, on_done, &f));
    advance(&f, 200);
    assert_int_equal(f.done, 0);
    advance(&f, 200);
    assert_true(turn_until(f.loop, &f.done, 1));
    assert_int_equal(f.index, 1);
    expect_connected(f.fd, &at[1]);
    close(listener);
    silent_fini(&hole);
    end(&f);
}

/* The late one fails: the dial goes on with the one that hangs. */
static void test_silent_and_refused(void **state)
{
    struct fixture f;
    struct silent hole;
    int refuser;
    struct addr at[2] = { silent(&hole), refusing("127.0.0.1", &refuser) };
    struct dial *d;

    (void)state;
    begin(&f);
    d = dial_start(f.loop, &(struct dial_to){ at, 2, NULL }, on_done, &f);
    assert_non_null(d);
    advance(&f, 1000);
    assert_int_equal(f.done, 0);
    dial_cancel(d);
    turn_idly(f.loop);
    assert_int_equal(f.done, 0);
    close(refuser);
    silent_fini(&hole);
    end(&f);
}

static void test_cancel(void **state)
{
    struct fixture f;
    struct addr at = loopback("127.0.0.1", 0);
    int listener = listening_socket(&at, 8);
    struct dial *d;

    (void)state;
    begin(&f);
    d = dial_start(f.loop, &(struct dial_to){ &at, 1, NULL }, on_done, &f);
    assert_non_null(d);
    dial_cancel(d); /* connected already, on loopback, but nobody was told */
    turn_idly(f.loop);
    assert_int_equal(f.done, 0);
    close(listener);
    end(&f);
}

/* No more than DIAL_ADDRESSES are tried; the last of them is. */
static void test_count(void **state)
{
    struct fixture f;
    int refuser, listener;
    struct addr at[DIAL_ADDRESSES + 1], good = loopback("127.0.0.1", 0);

    (void)state;
    listener = listening_socket(&good, 8);
    for (size_t last = DIAL_ADDRESSES - 1; last <= DIAL_ADDRESSES; last++) {
        at[0] = refusing("127.0.0.1", &refuser);
        for (size_t i = 1; i <= DIAL_ADDRESSES; i++)
            at[i] = i == last ? good : at[0];
        begin(&f);
        assert_non_null(dial_start(f.loop, &(struct dial_to){ at, DIAL_ADDRESSES + 1, NULL }, on_done, &f));
        assert_true(turn_until(f.loop, &f.done, 1));
        if (last < DIAL_ADDRESSES)
            assert_int_equal(f.index, last);
        else
            assert_int_equal(f.fd, -1);
        close(refuser);
        end(&f);
    }
    close(listener);
}

static void test_nothing_to_try(void **state)
{
    struct fixture f;
    struct addr broadcast = loopback("255.255.255.255", 80), none = { 0 };

    (void)state;
    begin(&f);
    assert_null(dial_start(f.loop, &(struct dial_to){ &broadcast, 0, NULL }, on_done, &f));
    assert_null(dial_start(f.loop, &(struct dial_to){ &broadcast, 1, NULL }, on_done, &f)); /* the kernel refuses at once */
    assert_true(errno != 0);
    assert_null(dial_start(f.loop, &(struct dial_to){ &none, 1, NULL }, on_done, &f));
    turn_idly(f.loop);
    assert_int_equal(f.done, 0);
    end(&f);
}

static int bound_at(struct addr *a)
{
    int fd = bound_socket(a, SOCK_STREAM);

    assert_true(fd >= 0);
    return fd;
}

/* Sockets that somebody else made: they are what is connected, and an address without one is left out. */
static void test_prepared_sockets(void **state)
{
    struct fixture f;
    struct addr at[3] = { loopback("127.0.0.1", 0), loopback("127.0.0.1", 0), loopback("127.0.0.1", 0) }, from, peer;
    int listeners[3], sockets[3];
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);

    (void)state;
    for (int i = 0; i < 3; i++)
        listeners[i] = listening_socket(&at[i], 8);
    from = loopback("127.0.0.77", 0);
    sockets[0] = -1;
    sockets[1] = bound_at(&from);
    from.port = 0;
    sockets[2] = bound_at(&from);
    begin(&f);
    assert_non_null(dial_start(f.loop, &(struct dial_to){ at, 3, sockets }, on_done, &f));
    assert_true(turn_until(f.loop, &f.done, 1));
    assert_int_equal(f.index, 1);
    assert_int_equal(f.fd, sockets[1]);
    assert_true(fcntl(f.fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(getsockname(f.fd, (struct sockaddr *)&sa, &len), 0);
    assert_true(addr_from_sockaddr(&peer, (struct sockaddr *)&sa, len));
    assert_true(addr_same_ip(&peer, &from));
    assert_int_equal(fcntl(sockets[2], F_GETFD), -1); /* the one that was not needed is closed */
    end(&f);
    for (int i = 0; i < 3; i++)
        close(listeners[i]);
}

/* Nothing to try with, and all are taken over even so. */
static void test_prepared_sockets_refused(void **state)
{
    static const int none[2] = { -1, -1 };
    struct fixture f;
    struct addr at[2] = { loopback("127.0.0.1", 9), loopback("127.0.0.1", 9) }, from = loopback("127.0.0.77", 0);
    int one = bound_at(&from);

    (void)state;
    begin(&f);
    assert_null(dial_start(f.loop, &(struct dial_to){ at, 2, none }, on_done, &f));
    assert_null(dial_start(f.loop, &(struct dial_to){ at, 0, NULL }, on_done, &f));
    at[0] = loopback("255.255.255.255", 9); /* the kernel refuses at once */
    assert_null(dial_start(f.loop, &(struct dial_to){ at, 1, &one }, on_done, &f));
    assert_int_equal(fcntl(one, F_GETFD), -1);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_then_next),
        cmocka_unit_test(test_interleaved),
        cmocka_unit_test(test_silent_then_next),
        cmocka_unit_test(test_silent_and_refused),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_nothing_to_try),
        cmocka_unit_test(test_prepared_sockets),
        cmocka_unit_test(test_prepared_sockets_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
