/* SPDX-License-Identifier: ISC */
/* Route look-ups: the loopback of this machine, and a network namespace of our own where the kernel lets us have one. */
#include "filter/route.h"

#include "base/clock.h"

#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct addr address(const char *text)
{
    struct addr a;

    assert_true(addr_parse(&a, span_str(text), 80));
    return a;
}

static void test_loopback(void **state)
{
    struct route *r = route_open();
    struct addr lo = address("127.0.0.1"), other = address("127.8.8.8"), none = { .family = 0 };
    char name[IF_NAMESIZE], by_index[IF_NAMESIZE];

    (void)state;
    assert_non_null(r);
    clock_set(1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(route_find(r, &lo, name), ROUTE_FOUND);
        assert_string_equal(name, "lo");
    }
    assert_int_equal(route_find(r, &other, name), ROUTE_FOUND);
    assert_string_equal(name, "lo");
    assert_int_equal(route_find(r, &none, name), ROUTE_ERROR);
    assert_string_equal(name, "");
    assert_true(route_interface_name(r, if_nametoindex("lo"), by_index));
    assert_string_equal(by_index, "lo");
    assert_false(route_interface_name(r, 0, by_index));
    assert_false(route_interface_name(r, 2000000000, by_index));
    assert_string_equal(by_index, "");
    route_close(r);
    route_close(NULL);
}

/* More addresses than the cache holds. */
static void test_many(void **state)
{
    struct route *r = route_open();
    struct addr a = address("127.0.0.0");
    char name[IF_NAMESIZE];

    (void)state;
    for (unsigned i = 1; i < 3000; i++) {
        a.ip[2] = (uint8_t)(i >> 8);
        a.ip[3] = (uint8_t)i;
        assert_int_equal(route_find(r, &a, name), ROUTE_FOUND);
        assert_string_equal(name, "lo");
    }
    route_close(r);
}

static bool loopback_up(void)
{
    struct ifreq request = { .ifr_flags = IFF_UP };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up;

    strcpy(request.ifr_name, "lo");
    up = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    close(fd);
    return up;
}

enum { GOOD, BAD, NO_NAMESPACE };

#define NEED(condition)                                                                                                            \
    do {                                                                                                                           \
        if (!(condition))                                                                                                          \
            return BAD;                                                                                                            \
    } while (0)

/* An empty namespace has no route at all; once its loopback is up there is one, and it is seen after a second. */
static int in_namespace(void)
{
    struct addr lo = address("127.0.0.1"), lo6 = address("::1"), far = address("192.0.2.1"), far6 = address("2001:db8::1");
    char name[IF_NAMESIZE];
    struct route *r;

    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return NO_NAMESPACE;
    r = route_open();
    NEED(r != NULL);
    clock_set(5000);
    NEED(route_find(r, &far, name) == ROUTE_NONE && name[0] == '\0');
    NEED(route_find(r, &far6, name) == ROUTE_NONE);
    NEED(route_find(r, &lo, name) == ROUTE_NONE);
    NEED(loopback_up());
    clock_set(5999);
    NEED(route_find(r, &lo, name) == ROUTE_NONE);
    clock_set(6000);
    NEED(route_find(r, &lo, name) == ROUTE_FOUND && strcmp(name, "lo") == 0);
    NEED(route_find(r, &far, name) == ROUTE_NONE);
    NEED(access("/proc/net/if_inet6", F_OK) != 0 || route_find(r, &lo6, name) == ROUTE_FOUND);
    route_close(r);
    return GOOD;
}

static void test_namespace(void **state)
{
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(in_namespace());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_NAMESPACE)
        skip();
    assert_int_equal(WEXITSTATUS(status), GOOD);
}

/* No descriptor left: said at once, with the reason. */
static void test_no_socket(void **state)
{
    int fds[4096], count = 0;

    (void)state;
    while (count < 4096 && (fds[count] = dup(0)) >= 0)
        count++;
    if (count < 4096) {
        assert_null(route_open());
        assert_int_equal(errno, EMFILE);
    }
    while (count > 0)
        close(fds[--count]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_loopback), cmocka_unit_test(test_many),
                                        cmocka_unit_test(test_namespace), cmocka_unit_test(test_no_socket) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
