/* SPDX-License-Identifier: ISC */
/* Sockets of this machine are ended by the tuple of a flow: the very connection, and nothing that listens or serves others. */
#include "filter/sock_destroy.h"

#include "filter_namespace.h"

#include <errno.h>
#include <sys/socket.h>

/* The entry of a flow from `client` to `server`, which another address was dialled for. */
static struct conntrack_entry entry_of(uint8_t protocol, const struct addr *client, const struct addr *server)
{
    struct conntrack_entry e = {
        .protocol = protocol, .client = *client, .destination = *server, .server = *server, .upstream = *client
    };

    e.destination.port = 1;
    return e;
}

static bool is_aborted(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNABORTED;
}

static bool is_open(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* `others` is a second connection to the same listener. */
static int tcp_ends(const char *at, bool on_interface)
{
    int listening = bound(SOCK_STREAM, at), client, server, other, others;
    struct addr to = local_of(listening), from;
    struct conntrack_entry e;

    NEED(!on_interface || setsockopt(listening, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof("lo")) == 0);
    client = connected(SOCK_STREAM, &to);
    server = accept(listening, NULL, NULL);
    other = connected(SOCK_STREAM, &to);
    others = accept(listening, NULL, NULL);
    NEED(client >= 0 && server >= 0 && other >= 0 && others >= 0);
    from = local_of(client);
    e = entry_of(IPPROTO_TCP, &from, &to);
    NEED(is_open(server) && sock_destroy(&e) && is_aborted(server));
    NEED(recv(client, &(char){ 0 }, 1, 0) < 0 && errno == ECONNRESET);
    NEED(sock_destroy(&e)); /* it is gone: a look-up finds what listens now, and that stays */
    NEED(is_open(others) && connected(SOCK_STREAM, &to) >= 0);
    return GOOD;
}

static int tcp_body(void)
{
    NEED(tcp_ends("127.0.0.1", false) == GOOD);
    NEED(tcp_ends("::1", false) == GOOD);
    NEED(tcp_ends("127.0.0.1", true) == GOOD);
    return GOOD;
}

static int udp_body(void)
{
    int server = bound(SOCK_DGRAM, "127.0.0.1"), client;
    struct addr to = local_of(server), from;
    struct sockaddr_storage sa;
    struct conntrack_entry e;
    socklen_t len;

    client = connected(SOCK_DGRAM, &to);
    NEED(client >= 0);
    from = local_of(client);
    e = entry_of(IPPROTO_UDP, &from, &to);
    NEED(sock_destroy(&e) && is_open(server) && is_open(client));
    len = addr_to_sockaddr(&from, &sa);
    NEED(connect(server, (struct sockaddr *)&sa, len) == 0);
    NEED(sock_destroy(&e) && is_aborted(server) && is_open(client));
    return GOOD;
}

static int powerless_body(void)
{
    int listening = bound(SOCK_STREAM, "127.0.0.1"), client, server;
    struct addr to = local_of(listening), from;
    struct conntrack_entry e;

    client = connected(SOCK_STREAM, &to);
    server = accept(listening, NULL, NULL);
    from = local_of(client);
    e = entry_of(IPPROTO_TCP, &from, &to);
    if (geteuid() != 0 || setresuid(65534, 65534, 65534) != 0)
        return NO_NAMESPACE;
    NEED(!sock_destroy(&e) && errno == EPERM && is_open(server));
    e.protocol = IPPROTO_ICMP;
    NEED(sock_destroy(&e)); /* has no socket */
    return GOOD;
}

static void test_tcp(void **state)
{
    (void)state;
    in_namespace(tcp_body);
}

static void test_udp(void **state)
{
    (void)state;
    in_namespace(udp_body);
}

static void test_powerless(void **state)
{
    (void)state;
    in_namespace(powerless_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_tcp), cmocka_unit_test(test_udp), cmocka_unit_test(test_powerless) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
