/* SPDX-License-Identifier: ISC */
/* Listening sockets over reloads: which of them are transparent, and that a reload that fails or is cancelled leaves no trace. */
#include "app/listeners.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKERS 2

static const struct listeners none;

static bool is_transparent(const struct listeners *set, size_t i)
{
    int on = 0;
    socklen_t len = sizeof(on);
    bool six = set->items[i].address.family == AF_INET6;

    assert_int_equal(
        getsockopt(set->items[i].fds[1], six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_TRANSPARENT : IP_TRANSPARENT, &on, &len), 0);
    return on != 0;
}

static bool may_be_transparent(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    bool may = setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)) == 0;

    close(fd);
    return may;
}

/* One listener that is TPROXY's, REDIRECT's or nobody's. */
static struct conf_listener one(const char *address, enum mode mode, enum conf_intercept intercept)
{
    struct conf_listener l = { .mode = mode, .intercept = intercept };

    assert_true(addr_parse_port(&l.address, span_str(address)));
    return l;
}

static bool prepare(struct listeners *out, struct conf_listener *listener, const struct listeners *old)
{
    struct conf conf = { .listeners = listener, .listener_count = 1 };
    char error[256];

    return listeners_prepare(out, &conf, old, WORKERS, error, sizeof(error));
}

/* What one address becomes from reload to reload, and when. */
static void walk(const char *address)
{
    struct conf_listener explicit = one(address, MODE_EXPLICIT, INTERCEPT_TPROXY),
                         redirect = one(address, MODE_TRANSPARENT, INTERCEPT_REDIRECT),
                         tproxy = one(address, MODE_TRANSPARENT, INTERCEPT_TPROXY);
    struct listeners now, next;
    int fd;

    assert_true(prepare(&now, &explicit, &none));
    assert_false(is_transparent(&now, 0));
    fd = now.items[0].fds[1];
    assert_true(prepare(&next, &tproxy, &now));
    assert_int_equal(next.items[0].fds[1], fd); /* the same socket: its queue is kept */
    listeners_cancel(&next, &now);
    assert_false(is_transparent(&now, 0));
    assert_true(prepare(&next, &tproxy, &now));
    listeners_commit(&now, &next);
    assert_true(is_transparent(&next, 0));
    assert_true(prepare(&now, &redirect, &next));
    assert_true(is_transparent(&next, 0)); /* until the commit */
    listeners_commit(&next, &now);
    assert_false(is_transparent(&now, 0));
    assert_true(prepare(&next, &tproxy, &now));
    listeners_commit(&now, &next);
    assert_true(prepare(&now, &tproxy, &next));
    listeners_commit(&next, &now);
    assert_true(is_transparent(&now, 0));
    listeners_commit(&now, &none);
    assert_true(prepare(&now, &tproxy, &none));
    assert_true(is_transparent(&now, 0));
    listeners_commit(&now, &none);
}

static void test_transparent(void **state)
{
    (void)state;
    if (!may_be_transparent()) {
        print_message("skipped: IP_TRANSPARENT needs CAP_NET_ADMIN\n");
        return;
    }
    walk("127.0.97.1:39129");
    walk("[::1]:39129");
}

static bool connects(const struct addr *to)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(to, &sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = connect(fd, (struct sockaddr *)&sa, len) == 0;

    close(fd);
    return good;
}

static unsigned accept_all(int fd)
{
    unsigned count = 0;
    int client;

    while ((client = accept(fd, NULL, NULL)) >= 0) {
        close(client);
        count++;
    }
    return count;
}

static size_t descriptors(const struct listeners *set, int fds[WORKERS_MAX])
{
    return listening_of(&set->items[0], 0, 1, fds);
}

/* Bound but not listening gets nobody; another posternd's sockets are taken over, and added to. */
static void test_passed_on(void **state)
{
    struct conf_listener listener = one("127.0.97.3:39130", MODE_EXPLICIT, INTERCEPT_TPROXY);
    struct conf conf = { .listeners = &listener, .listener_count = 1 };
    struct listeners first, adopted, second;
    int fds[WORKERS_MAX], own[WORKERS_MAX];
    char error[256];

    (void)state;
    assert_true(listeners_bind(&first, &conf, &none, 1, error, sizeof(error)));
    assert_false(connects(&listener.address));
    assert_true(listeners_listen(&first, error, sizeof(error)));
    assert_true(connects(&listener.address));
    assert_int_equal(descriptors(&first, fds), 1);
    assert_true(listeners_adopt(&adopted, fds, 1));
    assert_true(listeners_bind(&second, &conf, &adopted, 3, error, sizeof(error)));
    assert_int_equal(descriptors(&second, own), 3);
    assert_int_equal(own[0], fds[0]);
    assert_int_equal(accept_all(own[0]), 1);
    for (int i = 0; i < 32; i++)
        assert_true(connects(&listener.address));
    assert_int_equal(accept_all(own[0]), 32); /* the others do not listen */
    listeners_cancel(&second, &adopted);
    assert_true(connects(&listener.address));
    listeners_commit(&adopted, &none);
    assert_false(listeners_adopt(&adopted, (int[]){ STDERR_FILENO }, 1));
    listeners_cancel(&adopted, &none);
    first.count = 0; /* its socket was closed with those that took it over */
    listeners_commit(&first, &none);
}

/* What was TPROXY's is so until it is our turn, whether that comes or not. */
static void test_passed_on_from_tproxy(void **state)
{
    struct conf_listener tproxy = one("127.0.97.3:39132", MODE_TRANSPARENT, INTERCEPT_TPROXY),
                         explicit = one("127.0.97.3:39132", MODE_EXPLICIT, INTERCEPT_TPROXY);
    struct conf conf = { .listeners = &explicit, .listener_count = 1 };
    struct listeners first, adopted, second;
    int fds[WORKERS_MAX];
    char error[256];

    (void)state;
    if (!may_be_transparent())
        skip();
    assert_true(prepare(&first, &tproxy, &none));
    assert_true(listeners_adopt(&adopted, fds, descriptors(&first, fds)));
    assert_true(listeners_bind(&second, &conf, &adopted, WORKERS, error, sizeof(error)));
    listeners_forget(&adopted, &second);
    assert_true(is_transparent(&first, 0));
    listeners_settle(&second);
    assert_false(is_transparent(&first, 0));
    listeners_commit(&second, &none);
    first.count = 0; /* its sockets were closed with those that took them over */
    listeners_commit(&first, &none);
}

/* Three sockets, two workers: the third gets nobody any more, and who is in its queue is still there for the worker that has it. */
static void test_fewer_workers(void **state)
{
    struct conf_listener listener = one("127.0.97.3:39131", MODE_EXPLICIT, INTERCEPT_TPROXY);
    struct conf conf = { .listeners = &listener, .listener_count = 1 };
    struct listeners set;
    int fds[WORKERS_MAX], of[WORKERS_MAX];
    unsigned queued[3];
    char error[256];

    (void)state;
    assert_true(listeners_prepare(&set, &conf, &none, 3, error, sizeof(error)));
    assert_int_equal(descriptors(&set, fds), 3);
    assert_int_equal(listening_of(&set.items[0], 0, 2, of), 2);
    assert_true(of[0] == fds[0] && of[1] == fds[2]);
    assert_int_equal(listening_of(&set.items[0], 1, 2, of), 1);
    assert_int_equal(of[0], fds[1]);
    for (int i = 0; i < 90; i++)
        assert_true(connects(&listener.address));
    listeners_steer(&set, 2);
    for (int i = 0; i < 90; i++)
        assert_true(connects(&listener.address));
    for (int i = 0; i < 3; i++)
        queued[i] = accept_all(fds[i]);
    assert_int_equal(queued[0] + queued[1] + queued[2], 180);
    for (int i = 0; i < 90; i++)
        assert_true(connects(&listener.address));
    assert_int_equal(accept_all(fds[2]), 0);
    assert_true(accept_all(fds[0]) > 0 && accept_all(fds[1]) > 0);
    listeners_steer(&set, 3);
    for (int i = 0; i < 200; i++)
        assert_true(connects(&listener.address));
    assert_true(accept_all(fds[2]) > 0);
    listeners_commit(&set, &none);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_transparent), cmocka_unit_test(test_passed_on),
                                        cmocka_unit_test(test_passed_on_from_tproxy), cmocka_unit_test(test_fewer_workers) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
