/* SPDX-License-Identifier: ISC */
/* Sockets that speak from a client's address, in namespaces of our own. conntrack(8) puts flows there that are in the way. */
#include "filter/spoof.h"

#include "filter_namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>

static bool has_option(int fd, int level, int option)
{
    int value = 0;
    socklen_t size = sizeof(value);

    return getsockopt(fd, level, option, &value, &size) == 0 && value != 0;
}

static int one_socket(const char *client_text, const char *server_text)
{
    struct addr client = address(client_text), server = address(server_text), from;
    struct conntrack *c = conntrack_open();
    int fd;

    NEED(c != NULL);
    fd = spoof_socket(c, &client, &server);
    NEED(fd >= 0);
    from = local_of(fd);
    NEED(addr_same_ip(&from, &client) && from.port != 0 && from.port != client.port);
    NEED((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    NEED(has_option(fd, IPPROTO_TCP, TCP_NODELAY));
    NEED(client.family == AF_INET6 ? has_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT) : has_option(fd, IPPROTO_IP, IP_TRANSPARENT));
    close(fd);
    conntrack_close(c);
    return GOOD;
}

/* Nobody's address here is 192.0.2.55. */
static int far_away(void)
{
    int four = one_socket("192.0.2.55:4000", "198.51.100.1:443"), six = one_socket("[2001:db8::5]:4000", "[2001:db8:1::1]:443");

    return four != GOOD ? four : six;
}

static void test_socket(void **state)
{
    (void)state;
    in_namespace(far_away);
}

static int bad_addresses(void)
{
    struct addr four = address("192.0.2.55:1"), six = address("[2001:db8::5]:1"), any = address("0.0.0.0:1"),
                none = { .family = 0 }, other = { .family = AF_UNIX, .port = 1, .ip = { 1 } };
    const struct addr *bad[][2] = { { &four, &six },  { &six, &four }, { &none, &four },  { &four, &none },
                                    { &none, &none }, { &any, &four }, { &other, &other } };
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none_left[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    struct conntrack *c = conntrack_open();

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        NEED(spoof_socket(c, bad[i][0], bad[i][1]) == -1 && errno == EAFNOSUPPORT);
    NEED(syscall(SYS_capset, &header, none_left) == 0);
    NEED(spoof_socket(c, &four, &four) == -1 && errno == EPERM);
    conntrack_close(c);
    return GOOD;
}

static void test_refused(void **state)
{
    (void)state;
    in_namespace(bad_addresses);
}

static bool put_flow(const char *client, unsigned port, const char *server)
{
    char command[256];

    snprintf(command, sizeof(command),
             "conntrack -I -p tcp -s %s -d %s --sport %u --dport 443 --timeout 600 --state ESTABLISHED >/dev/null 2>&1", client,
             server, port);
    return run(command);
}

/* Of the two ports that the kernel offers here (it keeps the even ones for connect(2)), one has a flow of the client; then both. */
static int taken(void)
{
    struct addr client = address("192.0.2.55:1"), server = address("198.51.100.1:443"), other = address("198.51.100.2:443");
    struct conntrack *c = conntrack_open();
    int fd, port, others = 0;

    NEED(c != NULL && write_text("/proc/sys/net/ipv4/ip_local_port_range", "50000 50003"));
    NEED(put_flow("192.0.2.55", 50001, "198.51.100.1"));
    for (int i = 0; i < 40; i++) {
        NEED((fd = spoof_socket(c, &client, &server)) >= 0);
        NEED(local_of(fd).port != 50001);
        close(fd);
        NEED((fd = spoof_socket(c, &client, &other)) >= 0);
        others += local_of(fd).port == 50001;
        close(fd);
    }
    NEED(others > 0);
    NEED(put_flow("192.0.2.55", 50003, "198.51.100.1"));
    for (int i = 0; i < 40; i++) {
        NEED((fd = spoof_socket(c, &client, &server)) >= 0);
        port = local_of(fd).port;
        NEED(port != 50001 && port != 50003 && port >= 32768 && port < 61000);
        close(fd);
    }
    conntrack_close(c);
    return GOOD;
}

static void test_taken(void **state)
{
    (void)state;
    in_namespace(taken);
}

/* More sockets from one address than the kernel has ports for it; each can be connected. */
static int many(void)
{
    struct addr client = address("192.0.2.55:1"), server = address("198.51.100.1:443");
    struct conntrack *c = conntrack_open();
    int fds[200];

    NEED(c != NULL && write_text("/proc/sys/net/ipv4/ip_local_port_range", "50000 50009"));
    for (int i = 0; i < 200; i++)
        NEED((fds[i] = spoof_socket(c, &client, &server)) >= 0);
    for (int i = 0; i < 200; i++)
        close(fds[i]);
    conntrack_close(c);
    return GOOD;
}

static void test_many(void **state)
{
    (void)state;
    in_namespace(many);
}

/* Two sockets with one address, which has one port, reach two servers; the servers see the client. */
static int two_servers(void)
{
    const char *const servers[] = { "198.51.100.1:443", "198.51.100.2:443" };
    struct addr client = address("192.0.2.55:1"), from[2], to;
    struct conntrack *c = conntrack_open();
    struct sockaddr_storage sa;
    struct pollfd p = { .events = POLLOUT };

    NEED(c != NULL && write_text("/proc/sys/net/ipv4/ip_local_port_range", "50000 50000"));
    NEED(run("ip addr add 198.51.100.1/32 dev lo && ip addr add 198.51.100.2/32 dev lo && ip route add local 192.0.2.0/24 dev lo"));
    for (int i = 0; i < 2; i++) {
        int listener = bound(SOCK_STREAM, servers[i]), accepted;
        socklen_t size = sizeof(sa);

        to = address(servers[i]);
        NEED((p.fd = spoof_socket(c, &client, &to)) >= 0);
        size = addr_to_sockaddr(&to, &sa);
        NEED(connect(p.fd, (struct sockaddr *)&sa, size) == 0 || errno == EINPROGRESS);
        NEED(poll(&p, 1, 5000) == 1 && (p.revents & POLLOUT) != 0);
        size = sizeof(sa);
        NEED((accepted = accept(listener, (struct sockaddr *)&sa, &size)) >= 0);
        NEED(addr_from_sockaddr(&from[i], (struct sockaddr *)&sa, size) && addr_same_ip(&from[i], &client));
    }
    NEED(from[0].port == 50000 && from[1].port != 50000);
    conntrack_close(c);
    return GOOD;
}

static void test_connect(void **state)
{
    (void)state;
    in_namespace(two_servers);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_socket), cmocka_unit_test(test_refused), cmocka_unit_test(test_taken),
                                        cmocka_unit_test(test_many), cmocka_unit_test(test_connect) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
