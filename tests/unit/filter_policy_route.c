/* SPDX-License-Identifier: ISC */
/* Policy routing in a network namespace of each test's own. `ip` stands for the administrator. */
#include "filter/policy_route.h"

#include "filter/ruleset.h"

#include "filter_namespace.h"

#include <errno.h>

#define RULES4 "$(ip -4 rule show | grep -c '0x50000000/0xff000000 lookup 20560')"
#define RULES6 "$(ip -6 rule show | grep -c '0x50000000/0xff000000 lookup 20560')"
#define ROUTES4 "$(ip -4 route show table 20560 | grep -c '^local default dev lo')"
#define ROUTES6 "$(ip -6 route show table 20560 | grep -c '^local default dev lo')"
#define ALL_ONCE "test " RULES4 RULES6 ROUTES4 ROUTES6 " = 1111"
#define NONE_LEFT "test " RULES4 RULES6 ROUTES4 ROUTES6 " = 0000"

static char error[256];

static void namespace_or_skip(void)
{
    if (!enter_namespace() || !run("ip link set lo up 2>/dev/null")) {
        print_message("skipped: no network namespace of our own, or no `ip` here\n");
        skip();
    }
}

static void install(void)
{
    if (!policy_route_install(error, sizeof(error)))
        fail_msg("%s", error);
    assert_string_equal(error, "");
}

static void removal(void)
{
    if (!policy_route_remove(error, sizeof(error)))
        fail_msg("%s", error);
    assert_string_equal(error, "");
}

static bool present(void)
{
    return policy_route_present(AF_INET) && policy_route_present(AF_INET6);
}

static void test_install(void **state)
{
    (void)state;
    namespace_or_skip();
    assert_false(present());
    removal();
    for (int i = 0; i < 3; i++) {
        install();
        assert_true(run(ALL_ONCE));
        assert_true(present());
    }
    for (int i = 0; i < 2; i++) {
        removal();
        assert_true(run(NONE_LEFT));
        assert_false(present());
    }
}

/* What somebody took away, or put there instead of ours. */
static void test_half(void **state)
{
    static const char *const damage[] = {
        "ip -4 rule del pref 20560; ip -6 rule del pref 20560",
        "ip -4 route flush table 20560; ip -6 route flush table 20560",
        "ip link set lo down; ip link set lo up; ip -6 route flush table 20560",
        "ip -4 route replace blackhole default table 20560; ip -6 route del local default dev lo table 20560;"
        "ip -6 route replace blackhole default table 20560",
        "ip -4 rule del pref 20560; ip -6 rule del pref 20560; ip -4 rule add pref 20560 fwmark 5 lookup 20560;"
        "ip -6 rule add pref 20560 fwmark 5 lookup 20560",
    };

    (void)state;
    namespace_or_skip();
    for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
        install();
        assert_true(run(damage[i]));
        assert_false(present());
        install();
        if (!present() || !run(ALL_ONCE))
            fail_msg("%s", damage[i]);
    }
}

static void test_only_ours(void **state)
{
    (void)state;
    namespace_or_skip();
    assert_true(
        run("ip rule add pref 20560 fwmark 0x50000000/0xff000000 lookup 21000 && ip rule add pref 20559 fwmark 0x50000000 lookup "
            "20560 && ip route add local 192.0.2.0/24 dev lo table 20560 && ip -4 rule show >/tmp/postern-rules.$PPID"));
    install();
    removal();
    assert_true(run("ip -4 rule show | cmp -s - /tmp/postern-rules.$PPID; kept=$?; rm /tmp/postern-rules.$PPID; exit $kept"));
    assert_true(run("ip route show table 20560 | grep -q 192.0.2.0/24"));
    assert_true(run(NONE_LEFT));
    install();
    assert_true(run("ip rule add pref 20560 fwmark 0x50000000/0xff000000 lookup 20560 protocol static"));
    removal();
    assert_true(run("test " RULES4 RULES6 " = 10"));
}

static void test_without_ipv6(void **state)
{
    (void)state;
    namespace_or_skip();
    if (!run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1 2>/dev/null"))
        skip();
    install();
    assert_true(policy_route_present(AF_INET));
    assert_false(policy_route_present(AF_INET6));
    removal();
    assert_true(run(NONE_LEFT));
}

static void test_refused(void **state)
{
    (void)state;
    namespace_or_skip();
    assert_true(run("ip link set lo down"));
    assert_false(policy_route_install(error, sizeof(error)));
    assert_string_equal(error, "policy routing of IPv6: Network is down");
    assert_false(present());
}

/* A router between two networks; the question is what it does with a packet that comes in by `in`. */
static void test_ask(void **state)
{
    static const struct {
        const char *from, *to, *in;
        uint32_t mark;
        int error;
        bool local;
        const char *out;
    } cases[] = {
        { "10.1.0.2", "10.2.0.2", "east", 0, 0, false, "west" },
        { "10.2.0.2", "10.1.0.2", "west", 0, 0, false, "east" },
        { "10.1.0.2", "10.2.0.2", "east", ROUTE_MARK, 0, true, "lo" },
        { "10.1.0.2", "10.2.0.2", "east", ROUTE_MARK | 7, 0, true, "lo" },
        { "10.1.0.2", "10.2.0.2", "east", 7, 0, false, "west" },
        { "10.1.0.2", "10.1.0.1", "east", 0, 0, true, "lo" },
        { "10.1.0.2", "10.2.0.1", "east", 0, 0, true, "lo" },
        { "10.1.0.2", "198.51.100.1", "east", 0, ENETUNREACH, false, "" },
        { "10.2.0.2", "10.1.0.2", "east", 0, EXDEV, false, "" }, /* rp_filter */
        { "10.1.0.2", "10.2.0.2", "none", 0, ENODEV, false, "" },
        { "10.1.0.2", "fd00:2::2", "east", 0, EAFNOSUPPORT, false, "" },
        { "", "10.2.0.2", "", 0, 0, false, "west" },
        { "", "10.2.0.1", "", 0, 0, true, "lo" },
        { "", "198.51.100.1", "", 0, ENETUNREACH, false, "" },
        { "fd00:1::2", "fd00:2::2", "east", 0, 0, false, "west" },
        { "fd00:1::2", "fd00:2::2", "east", ROUTE_MARK, 0, true, "lo" },
        { "fd00:1::2", "fd00:1::1", "east", 0, 0, true, "lo" },
        { "fd00:1::2", "2001:db8::1", "east", 0, ENETUNREACH, false, "" },
        { "", "fd00:1::2", "", 0, 0, false, "east" },
    };
    struct policy_route_answer answer;

    (void)state;
    namespace_or_skip();
    if (!run("ip link add east type veth peer name east2 && ip link add west type veth peer name west2 && ip link set east up && "
             "ip link set west up && ip link set east2 up && ip link set west2 up"))
        skip();
    assert_true(
        run("ip addr add 10.1.0.1/24 dev east && ip addr add 10.2.0.1/24 dev west && ip addr add fd00:1::1/64 dev east nodad && "
            "ip addr add fd00:2::1/64 dev west nodad && sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
            "net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.east.rp_filter=1"));
    install();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct addr from = { .family = 0 }, to = address(cases[i].to);

        if (cases[i].from[0] != '\0')
            from = address(cases[i].from);
        policy_route_ask(&from, &to, cases[i].in, cases[i].mark, &answer);
        if (answer.error != cases[i].error || answer.local != cases[i].local || strcmp(answer.interface, cases[i].out) != 0)
            fail_msg("%zu: %s, %d, %s", i, strerror(answer.error), answer.local, answer.interface);
    }
    assert_true(run("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0"));
    for (size_t i = 0; i < 15; i += 14) {
        struct addr from = address(cases[i].from), to = address(cases[i].to);

        policy_route_ask(&from, &to, cases[i].in, 0, &answer);
        assert_int_equal(answer.error, EHOSTUNREACH);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_install),   cmocka_unit_test(test_half),
                                        cmocka_unit_test(test_only_ours), cmocka_unit_test(test_without_ipv6),
                                        cmocka_unit_test(test_refused),   cmocka_unit_test(test_ask) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
