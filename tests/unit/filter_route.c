/* SPDX-License-Identifier: ISC */
/* Route look-ups: the loopback of this machine, and a network namespace of our own where the kernel lets us have one. */
#include "filter/route.h"

#include "base/clock.h"
#include "filter_descriptors.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
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
    assert_true(route_has_interface(r, "lo"));
    assert_false(route_has_interface(r, "no-such"));
    assert_false(route_has_interface(r, "0123456789abcdef"));
    assert_false(route_interface_name(r, 2000000000, by_index));
    assert_string_equal(by_index, "");
    route_close(r);
    route_close(NULL);
}

struct seen {
    const struct ifaddrs *of;
    size_t count;
};

static void see(void *arg, const struct addr *own)
{
    struct seen *seen = arg;
    struct addr other;
    bool known = false;

    for (const struct ifaddrs *i = seen->of; i != NULL; i = i->ifa_next)
        if (i->ifa_addr != NULL && addr_from_sockaddr(&other, i->ifa_addr, sizeof(struct sockaddr_in6)))
            known = known || addr_same_ip(own, &other);
    assert_true(known);
    assert_int_equal(own->port, 0);
    seen->count++;
}

/* The C library's list, which is made by other code, has the same ones. */
static void test_own(void **state)
{
    struct route *r = route_open();
    struct ifaddrs *list;
    struct addr other;
    size_t expected = 0;

    (void)state;
    assert_non_null(r);
    assert_int_equal(getifaddrs(&list), 0);
    for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next)
        expected += i->ifa_addr != NULL && addr_from_sockaddr(&other, i->ifa_addr, sizeof(struct sockaddr_in6));
    assert_true(expected > 0);
    for (int again = 0; again < 2; again++) {
        struct seen seen = { list, 0 };

        assert_true(route_each_own(r, see, &seen));
        assert_int_equal(seen.count, expected);
    }
    freeifaddrs(list);
    route_close(r);
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

static bool is_readable(const struct route *r)
{
    struct pollfd p = { .fd = route_watch_fd(r), .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

enum { GOOD, BAD, NO_NAMESPACE };

#define NEED(condition)                                                                                                            \
    do {                                                                                                                           \
        if (!(condition))                                                                                                          \
            return BAD;                                                                                                            \
    } while (0)

/*
 * An empty namespace has no route at all; once its loopback is up there is one. What was answered before stands until the change is
 * read, or a minute is over.
 */
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
    NEED(!route_watch_read(r));
    NEED(route_find(r, &far, name) == ROUTE_NONE && name[0] == '\0');
    NEED(route_find(r, &far6, name) == ROUTE_NONE);
    NEED(route_find(r, &lo, name) == ROUTE_NONE && !route_is_local(r, &lo));
    NEED(!is_readable(r));
    NEED(loopback_up());
    NEED(is_readable(r));
    clock_set(5000 + 59999);
    NEED(route_find(r, &lo, name) == ROUTE_NONE && !route_is_local(r, &lo));
    clock_set(5000 + 60000);
    NEED(route_find(r, &lo, name) == ROUTE_FOUND && strcmp(name, "lo") == 0 && route_is_local(r, &lo));
    NEED(route_find(r, &far, name) == ROUTE_NONE && !route_is_local(r, &far));
    NEED(access("/proc/net/if_inet6", F_OK) != 0 || (route_find(r, &lo6, name) == ROUTE_FOUND && route_is_local(r, &lo6)));
    NEED(route_watch_read(r) && !route_watch_read(r) && !is_readable(r));
    route_close(r);
    return GOOD;
}

struct change {
    const char *command, *to, *interface;
    bool local;
};

static bool is_seen(struct route *r, const struct change *c, const struct addr *to, char name[IF_NAMESIZE])
{
    bool found = route_find(r, to, name) == ROUTE_FOUND;

    return found == (c->interface != NULL) && (!found || strcmp(name, c->interface) == 0) && route_is_local(r, to) == c->local;
}

/* The kernel makes some routes (those to IPv6 addresses of its own) a moment after the command is over, and says so then. */
static bool comes_to_be_seen(struct route *r, const struct change *c, const struct addr *to, char name[IF_NAMESIZE])
{
    struct pollfd p = { .fd = route_watch_fd(r), .events = POLLIN };

    while (!is_seen(r, c, to, name))
        if (poll(&p, 1, 5000) != 1 || !route_watch_read(r))
            return false;
    return true;
}

/* Each kind of change is heard, and seen by the next question although the clock stands. */
static int changes(void)
{
    static const struct change steps[] = {
        { "ip link set lo up", "127.0.0.1", "lo", true },
        { "ip link add east type veth peer name west", "10.1.0.1", NULL, false },
        { "ip link set east up && ip link set west up", "10.1.0.1", NULL, false },
        { "ip addr add 10.1.0.1/24 dev east", "10.1.0.1", "lo", true },
        { "ip addr add 10.2.0.1/24 dev west", "10.1.0.2", "east", false },
        { "ip route add 192.0.2.0/24 via 10.2.0.2", "192.0.2.7", "west", false },
        { "ip route change 192.0.2.0/24 via 10.1.0.2", "192.0.2.7", "east", false },
        { "ip link set west down && ip link set west name north && ip link set north up", "10.2.0.2", "north", false },
        { "ip route add 192.0.2.7 dev north table 77", "192.0.2.7", "east", false },
        { "ip rule add to 192.0.2.7 lookup 77", "192.0.2.7", "north", false },
        { "ip rule del to 192.0.2.7 lookup 77", "192.0.2.7", "east", false },
        { "ip route add prohibit 192.0.2.7", "192.0.2.7", NULL, false },
        { "ip addr del 10.1.0.1/24 dev east", "10.1.0.1", NULL, false },
        { "ip route add local 198.51.100.0/24 dev lo", "198.51.100.9", "lo", true },
        { "ip addr add fd00::1/64 dev east nodad", "fd00::1", "lo", true },
        { "ip route add 2001:db8::/32 dev north", "2001:db8::1", "north", false },
        { "ip -6 rule add to 2001:db8::1 prohibit pref 5", "2001:db8::1", NULL, false },
        { "ip link del east", "10.2.0.2", NULL, false },
    };
    char name[IF_NAMESIZE];
    struct route *r;

    if (unshare(CLONE_NEWNET) != 0 || (r = route_open()) == NULL)
        return NO_NAMESPACE;
    clock_set(5000);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct addr to = address(steps[i].to);

        (void)!route_find(r, &to, name);
        if (system(steps[i].command) != 0)
            return i < 2 ? NO_NAMESPACE : BAD;
        NEED(is_readable(r) && route_watch_read(r));
        if (!comes_to_be_seen(r, &steps[i], &to, name)) {
            print_message("%s: %s by %s\n", steps[i].command, steps[i].to, name);
            return BAD;
        }
    }
    route_close(r);
    return GOOD;
}

/* More messages than fit: that is a change as well, said once. */
static int overrun(void)
{
    struct route *r;
    int small = 1;

    if (unshare(CLONE_NEWNET) != 0 || system("ip link set lo up") != 0 || (r = route_open()) == NULL)
        return NO_NAMESPACE;
    NEED(setsockopt(route_watch_fd(r), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) == 0);
    NEED(!route_watch_read(r));
    NEED(system("for i in $(seq 60); do echo addr add 10.0.0.$i/32 dev lo; done | ip -batch -") == 0);
    NEED(route_watch_read(r) && !route_watch_read(r));
    route_close(r);
    return GOOD;
}

static void in_child(int (*test)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(test());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_NAMESPACE) {
        print_message("skipped: no network namespace of our own here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), GOOD);
}

static void test_namespace(void **state)
{
    (void)state;
    in_child(in_namespace);
}

static void test_changes(void **state)
{
    (void)state;
    in_child(changes);
}

static void test_overrun(void **state)
{
    (void)state;
    in_child(overrun);
}

static void cannot_open(void)
{
    assert_null(route_open());
    assert_int_equal(errno, EMFILE);
}

/* Said at once, with the reason. */
static void test_no_socket(void **state)
{
    (void)state;
    with_few_descriptors(cannot_open);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_loopback), cmocka_unit_test(test_own),
                                        cmocka_unit_test(test_many),     cmocka_unit_test(test_namespace),
                                        cmocka_unit_test(test_changes),  cmocka_unit_test(test_overrun),
                                        cmocka_unit_test(test_no_socket) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
