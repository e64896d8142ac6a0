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

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_transparent) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
