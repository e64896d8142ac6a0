/* SPDX-License-Identifier: ISC */
/*
 * What a client dialled. TPROXY and REDIRECT themselves need rules of the kernel, which tests/netns makes; what both have in common
 * with plain connections is here, and REDIRECT in a namespace of our own where nft is at hand.
 */
#include "net/original.h"
#include "net_pair.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

struct pair {
    int listener, client, accepted;
    struct addr at; /* where the listener is */
};

/* A client that dials `to`, on the port of a listener that is bound to `bound`. */
static bool connect_pair(struct pair *p, const char *bound, const char *to)
{
    struct addr target;

    p->at = loopback(bound, 0);
    p->listener = listening_socket(&p->at, 8);
    if (p->listener < 0)
        return false;
    target = loopback(to, p->at.port);
    p->client = connected_socket(&target);
    for (int i = 0; i < 100 && (p->accepted = accept(p->listener, NULL, NULL)) < 0; i++)
        poll(&(struct pollfd){ p->listener, POLLIN, 0 }, 1, 50);
    return p->accepted >= 0;
}

static void close_pair(struct pair *p)
{
    close(p->client);
    close(p->accepted);
    close(p->listener);
}

/* Who dials the listener was not intercepted, whatever address it is bound to. */
static void test_direct(void **state)
{
    static const char *const rows[][2] = {
        { "127.0.0.1", "127.0.0.1" }, { "0.0.0.0", "127.0.0.9" }, { "::1", "::1" }, { "::", "::1" }
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct addr out, expected;
        struct pair p;

        if (!connect_pair(&p, rows[i][0], rows[i][1]))
            continue; /* no IPv6 here */
        expected = loopback(rows[i][1], p.at.port);
        assert_int_equal(original_by_address(p.accepted, &p.at, &out), ORIGINAL_DIRECT);
        assert_true(addr_eq(&out, &expected));
        assert_int_not_equal(original_by_conntrack(p.accepted, &p.at, &out), ORIGINAL_FOUND);
        close_pair(&p);
    }
}

/* As TPROXY leaves it: the accepted socket's end is not where its listener is. */
static void test_found_by_address(void **state)
{
    struct addr elsewhere, out;
    struct pair p;

    (void)state;
    assert_true(connect_pair(&p, "127.0.0.1", "127.0.0.1"));
    elsewhere = loopback("127.0.0.2", p.at.port);
    assert_int_equal(original_by_address(p.accepted, &elsewhere, &out), ORIGINAL_FOUND);
    assert_true(addr_eq(&out, &p.at));
    elsewhere = loopback("0.0.0.0", p.at.port == 1 ? 2 : p.at.port - 1); /* another port of the same machine */
    assert_int_equal(original_by_address(p.accepted, &elsewhere, &out), ORIGINAL_FOUND);
    close_pair(&p);
}

/* Nothing is left in `out` that could be taken for an answer. */
static void test_unknown(void **state)
{
    struct addr at = loopback("127.0.0.1", 80), out;

    (void)state;
    memset(&out, 0xff, sizeof(out));
    assert_int_equal(original_by_address(-1, &at, &out), ORIGINAL_UNKNOWN);
    assert_int_equal(out.family, 0);
    memset(&out, 0xff, sizeof(out));
    assert_int_equal(original_by_conntrack(-1, &at, &out), ORIGINAL_UNKNOWN);
    assert_int_equal(out.family, 0);
}

/* Exit status of a child in a namespace of its own: 0 good, 77 it cannot be made. */
static int in_namespace(void)
{
    struct addr at = { .family = AF_INET }, to, out;
    char rule[256];
    struct pair p;

    if (unshare(CLONE_NEWNET) != 0 || system("ip link set lo up 2>/dev/null") != 0)
        return 77;
    if (!connect_pair(&p, "127.0.0.1", "127.0.0.1"))
        return 1;
    snprintf(
        rule, sizeof(rule),
        "nft 'table ip t { chain c { type nat hook output priority -100; ip daddr 127.0.0.5 tcp dport 80 redirect to :%u; }; }'",
        p.at.port);
    if (system(rule) != 0)
        return 77;
    close(p.client);
    close(p.accepted);
    to = loopback("127.0.0.5", 80);
    p.client = connected_socket(&to);
    poll(&(struct pollfd){ p.listener, POLLIN, 0 }, 1, 5000);
    p.accepted = accept(p.listener, NULL, NULL);
    if (original_by_conntrack(p.accepted, &p.at, &out) != ORIGINAL_FOUND || !addr_eq(&out, &to))
        return 2;
    if (original_by_address(p.accepted, &p.at, &at) != ORIGINAL_DIRECT)
        return 3; /* only connection tracking knows */
    close(p.client);
    close(p.accepted);
    p.client = connected_socket(&p.at);
    poll(&(struct pollfd){ p.listener, POLLIN, 0 }, 1, 5000);
    p.accepted = accept(p.listener, NULL, NULL);
    return original_by_conntrack(p.accepted, &p.at, &out) == ORIGINAL_DIRECT ? 0 : 4;
}

static void test_redirect(void **state)
{
    int status = 0;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        _exit(in_namespace());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("skipped: no network namespace of our own, or no nft here\n");
        return;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_direct), cmocka_unit_test(test_found_by_address),
                                        cmocka_unit_test(test_unknown), cmocka_unit_test(test_redirect) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
