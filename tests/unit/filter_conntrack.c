/* SPDX-License-Identifier: ISC */
/* Connection tracking as the kernel tells it, in namespaces of our own; the ids are compared with what conntrack(8) says. */
#include "filter/conntrack.h"

#include "filter_namespace.h"

#include <errno.h>
#include <linux/capability.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define SEEN 64
#define MANY 2000

/* What was heard, oldest first. */
static struct conntrack_entry seen[SEEN];
static size_t seen_count;

static void on_event(void *arg, const struct conntrack_entry *entry)
{
    (void)arg;
    if (seen_count < SEEN)
        seen[seen_count++] = *entry;
}

static bool listen_once(struct conntrack *c)
{
    struct pollfd p = { .fd = conntrack_fd(c), .events = POLLIN };
    bool lost = true;

    if (poll(&p, 1, 5000) != 1)
        return false;
    conntrack_read(c, on_event, NULL, &lost);
    return !lost;
}

/* Waits for an event of the flow from `client` in this state; NULL after some seconds. */
static const struct conntrack_entry *heard(struct conntrack *c, const struct addr *client, enum conntrack_state state, bool closing)
{
    do {
        for (size_t i = 0; i < seen_count; i++)
            if (addr_eq(&seen[i].client, client) && seen[i].state == state && seen[i].closing == closing)
                return &seen[i];
    } while (listen_once(c));
    return NULL;
}

/* Does conntrack(8) list this entry? */
static bool listed(const struct conntrack_entry *e)
{
    char command[128];

    snprintf(command, sizeof(command), "conntrack -L -f ipv%d -o id 2>/dev/null | grep -q ' id=%u$'",
             e->client.family == AF_INET ? 4 : 6, e->id);
    return run(command);
}

static int tcp_life(const char *server_text)
{
    struct conntrack *c = conntrack_open();
    int listener = bound(SOCK_STREAM, server_text), client, server;
    struct addr to = local_of(listener), from;
    const struct conntrack_entry *e;
    uint32_t id;

    NEED(c != NULL);
    seen_count = 0;
    client = connected(SOCK_STREAM, &to);
    server = accept(listener, NULL, NULL);
    NEED(client >= 0 && server >= 0);
    from = local_of(client);
    NEED((e = heard(c, &from, CONNTRACK_NEW, false)) != NULL);
    id = e->id;
    NEED(id != 0 && e->protocol == IPPROTO_TCP && addr_eq(&e->destination, &to) && !e->destroyed && !e->related);
    NEED((e = heard(c, &from, CONNTRACK_ESTABLISHED, false)) != NULL && e->id == id && e->replied && listed(e));
    NEED(addr_eq(&e->server, &to) && addr_eq(&e->upstream, &from));
    close(client);
    NEED((e = heard(c, &from, CONNTRACK_ESTABLISHED, true)) != NULL && e->id == id);
    close(server);
    NEED((e = heard(c, &from, CONNTRACK_CLOSED, true)) != NULL && e->id == id && !e->destroyed);
    NEED(conntrack_delete(c, e));
    seen_count = 0;
    NEED((e = heard(c, &from, CONNTRACK_CLOSED, false)) != NULL || (e = heard(c, &from, CONNTRACK_CLOSED, true)) != NULL);
    NEED(e->id == id && e->destroyed && !listed(e));
    close(listener);
    conntrack_close(c);
    return GOOD;
}

static int tcp4_body(void)
{
    return tcp_life("127.0.0.1:8080");
}

static int tcp6_body(void)
{
    return tcp_life("[::1]:8080");
}

static void test_tcp(void **state)
{
    (void)state;
    in_namespace(tcp4_body);
    in_namespace(tcp6_body);
}

static int udp_body(void)
{
    struct conntrack *c = conntrack_open();
    int server = bound(SOCK_DGRAM, "[::1]:5353"), client;
    struct addr to = local_of(server), from;
    struct conntrack_entry e, other;

    NEED(c != NULL);
    client = connected(SOCK_DGRAM, &to);
    from = local_of(client);
    NEED(!conntrack_find(c, IPPROTO_UDP, &from, &to, &e) && errno == ENOENT);
    datagram(client, server, false);
    NEED(conntrack_find(c, IPPROTO_UDP, &from, &to, &e));
    NEED(e.state == CONNTRACK_NEW && !e.replied && e.protocol == IPPROTO_UDP && addr_eq(&e.client, &from) && listed(&e));
    datagram(client, server, true);
    NEED(conntrack_find(c, IPPROTO_UDP, &from, &to, &other) && other.state == CONNTRACK_ESTABLISHED && other.id == e.id);
    /* The reply tuple finds the same entry in the kernel: it is not the flow that was asked for. */
    NEED(!conntrack_find(c, IPPROTO_UDP, &to, &from, &other) && errno == ENOENT);
    NEED(!conntrack_find(c, IPPROTO_TCP, &from, &to, &other) && errno == ENOENT);
    from.family = AF_INET;
    NEED(!conntrack_find(c, IPPROTO_UDP, &from, &to, &other) && errno == ENOENT);
    conntrack_close(c);
    return GOOD;
}

static void test_find(void **state)
{
    (void)state;
    in_namespace(udp_body);
}

static uint16_t checksum(const void *data, size_t words)
{
    const uint16_t *w = data;
    uint32_t sum = 0;

    while (words-- > 0)
        sum += *w++;
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t) ~(sum + (sum >> 16));
}

/* An echo request to the loopback; the kernel answers. The types of both families, their codes and the id stand at the same places.
 */
static bool ping(int family, uint16_t id, const struct addr *to)
{
    struct icmphdr h = { .type = family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST, .un.echo.id = htons(id) };
    int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(to, &sa);
    bool sent;

    h.checksum = checksum(&h, sizeof(h) / 2);
    sent = sendto(fd, &h, sizeof(h), 0, (struct sockaddr *)&sa, len) == sizeof(h);
    close(fd);
    return sent;
}

static int ping_once(struct conntrack *c, int family, uint8_t protocol, const char *text)
{
    struct addr to = address(text), from = to;
    struct conntrack_entry e;

    from.port = 4711;
    NEED(ping(family, 4711, &to));
    NEED(conntrack_find(c, protocol, &from, &to, &e) && listed(&e));
    NEED(e.protocol == protocol && e.client.port == 4711 && e.destination.port == 0 && e.server.port == 0 && e.upstream.port == 0);
    NEED(addr_same_ip(&e.server, &to) && e.state == CONNTRACK_ESTABLISHED);
    NEED(conntrack_remark(c, &e, 0x54000001u) && conntrack_find(c, protocol, &from, &to, &e) && e.mark == 0x54000001u);
    NEED(conntrack_delete(c, &e));
    NEED(!conntrack_find(c, protocol, &from, &to, &e));
    return GOOD;
}

static int icmp_body(void)
{
    struct conntrack *c = conntrack_open();

    NEED(c != NULL);
    NEED(ping_once(c, AF_INET, IPPROTO_ICMP, "127.0.0.1") == GOOD);
    NEED(ping_once(c, AF_INET6, IPPROTO_ICMPV6, "::1") == GOOD);
    conntrack_close(c);
    return GOOD;
}

static void test_icmp(void **state)
{
    (void)state;
    in_namespace(icmp_body);
}

static int change_body(void)
{
    struct conntrack *c = conntrack_open();
    int server = bound(SOCK_DGRAM, "127.0.0.1:5353"), client;
    struct addr to = local_of(server), from;
    struct conntrack_entry first, second;

    NEED(c != NULL);
    client = connected(SOCK_DGRAM, &to);
    from = local_of(client);
    datagram(client, server, true);
    NEED(run("conntrack -U --orig-src 127.0.0.1 --mark 0x12345678 >/dev/null 2>&1"));
    NEED(conntrack_find(c, IPPROTO_UDP, &from, &to, &first) && first.mark == 0x12345678u);
    NEED(conntrack_remark(c, &first, 0x53ffffffu & 0xff00ffffu));
    NEED(conntrack_find(c, IPPROTO_UDP, &from, &to, &second) && second.mark == 0x5334ffffu && second.id == first.id);
    NEED(conntrack_remark(c, &first, 0x53aa0002u)); /* bits that are not ours stay, also when they are asked for */
    NEED(conntrack_find(c, IPPROTO_UDP, &from, &to, &second) && second.mark == 0x53340002u);
    NEED(conntrack_delete(c, &first));
    NEED(!conntrack_delete(c, &first) && errno == ENOENT);
    NEED(!conntrack_remark(c, &first, 0x53000001u) && errno == ENOENT);
    /* The same tuple again: an entry with another id is not meant. (The kernel may give the new one the old one's id.) */
    datagram(client, server, true);
    NEED(conntrack_find(c, IPPROTO_UDP, &from, &to, &second));
    first = second;
    first.id++;
    NEED(!conntrack_delete(c, &first) && errno == ENOENT);
    NEED(!conntrack_remark(c, &first, 0x53000001u) && errno == ENOENT);
    NEED(conntrack_find(c, IPPROTO_UDP, &from, &to, &first) && first.id == second.id && first.mark == 0);
    conntrack_close(c);
    return GOOD;
}

static void test_change(void **state)
{
    (void)state;
    in_namespace(change_body);
}

static int nat_body(void)
{
    struct conntrack *c;
    int listener = bound(SOCK_STREAM, "127.0.0.1:8080"), client;
    struct addr dialled = address("192.0.2.1:80"), from;
    struct conntrack_entry e;

    NEED(run("ip addr add 192.0.2.1/32 dev lo"));
    NEED(run(
        "nft 'table ip nat { chain out { type nat hook output priority -100; ip daddr 192.0.2.1 tcp dport 80 "
        "dnat to 127.0.0.1:8080; }; chain post { type nat hook postrouting priority 100; tcp dport 8080 snat to 127.9.9.9; }; }'"));
    NEED((c = conntrack_open()) != NULL);
    client = connected(SOCK_STREAM, &dialled);
    NEED(client >= 0);
    from = local_of(client);
    NEED(conntrack_find(c, IPPROTO_TCP, &from, &dialled, &e));
    NEED(addr_eq(&e.destination, &dialled));
    dialled = local_of(listener);
    NEED(addr_eq(&e.server, &dialled));
    dialled = address("127.9.9.9");
    NEED(addr_same_ip(&e.upstream, &dialled) && e.upstream.port != 0);
    conntrack_close(c);
    return GOOD;
}

static void test_nat(void **state)
{
    (void)state;
    in_namespace(nat_body);
}

static uint8_t shown[MANY];
static size_t others;

static void on_dump(void *arg, const struct conntrack_entry *e)
{
    unsigned number = e->destination.ip[2] * 256u + e->destination.ip[3];

    (void)arg;
    if (e->protocol == IPPROTO_UDP && e->destination.family == AF_INET && e->destination.ip[1] == 7 && number < MANY)
        shown[number]++;
    else
        others++;
}

static int many_body(void)
{
    struct conntrack *c = conntrack_open();
    struct addr to = address("127.7.0.0:9"), six = address("[::1]:9");
    struct sockaddr_storage sa;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), fd6 = connected(SOCK_DGRAM, &six);
    bool lost;

    NEED(c != NULL && send(fd6, "x", 1, 0) == 1);
    for (unsigned i = 0; i < MANY; i++) {
        to.ip[2] = (uint8_t)(i >> 8);
        to.ip[3] = (uint8_t)i;
        NEED(sendto(fd, "x", 1, 0, (struct sockaddr *)&sa, addr_to_sockaddr(&to, &sa)) == 1);
    }
    NEED(conntrack_dump(c, on_dump, NULL));
    for (unsigned i = 0; i < MANY; i++)
        NEED(shown[i] == 1);
    NEED(others == 1); /* the one of IPv6 */
    seen_count = 0;
    conntrack_read(c, on_event, NULL, &lost);
    NEED(!lost && seen_count == SEEN);
    conntrack_close(c);
    return GOOD;
}

static void test_dump(void **state)
{
    (void)state;
    in_namespace(many_body);
}

/* Events that nobody takes are lost, and that is said. */
static int lost_body(void)
{
    struct conntrack *c = conntrack_open();
    struct addr to = address("127.7.0.0:9");
    struct sockaddr_storage sa;
    int small = 2048, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool lost;

    NEED(c != NULL && setsockopt(conntrack_fd(c), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) == 0);
    for (unsigned i = 0; i < 200; i++) {
        to.ip[3] = (uint8_t)i;
        NEED(sendto(fd, "x", 1, 0, (struct sockaddr *)&sa, addr_to_sockaddr(&to, &sa)) == 1);
    }
    conntrack_read(c, on_event, NULL, &lost);
    NEED(lost);
    conntrack_read(c, on_event, NULL, &lost);
    NEED(!lost);
    conntrack_close(c);
    return GOOD;
}

static void test_lost(void **state)
{
    (void)state;
    in_namespace(lost_body);
}

/* From here on: nobody, with CAP_NET_ADMIN alone. */
static bool become_nobody(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { { .effective = 1u << CAP_NET_ADMIN, .permitted = 1u << CAP_NET_ADMIN } };

    return prctl(PR_SET_KEEPCAPS, 1) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0 &&
           syscall(SYS_capset, &header, data) == 0;
}

static int nobody_body(void)
{
    struct conntrack *c;
    int server = bound(SOCK_DGRAM, "127.0.0.1:5353"), client, bytes = 0;
    struct addr to = local_of(server), from;
    struct conntrack_entry e;
    socklen_t len = sizeof(bytes);

    if (geteuid() != 0 || !become_nobody())
        return NO_NAMESPACE;
    NEED((c = conntrack_open()) != NULL);
    NEED(getsockopt(conntrack_fd(c), SOL_SOCKET, SO_RCVBUF, &bytes, &len) == 0 && bytes >= 8 << 20);
    client = connected(SOCK_DGRAM, &to);
    from = local_of(client);
    datagram(client, server, true);
    NEED(heard(c, &from, CONNTRACK_NEW, false) != NULL && heard(c, &from, CONNTRACK_ESTABLISHED, false) != NULL);
    others = 0;
    NEED(conntrack_dump(c, on_dump, NULL) && others == 1);
    NEED(conntrack_find(c, IPPROTO_UDP, &from, &to, &e) && conntrack_remark(c, &e, 1) && conntrack_delete(c, &e));
    conntrack_close(c);
    return GOOD;
}

static void test_nobody(void **state)
{
    (void)state;
    in_namespace(nobody_body);
}

static int powerless_body(void)
{
    if (geteuid() != 0 || setresuid(65534, 65534, 65534) != 0)
        return NO_NAMESPACE;
    NEED(conntrack_open() == NULL && errno == EPERM);
    conntrack_close(NULL);
    return GOOD;
}

static void test_powerless(void **state)
{
    (void)state;
    in_namespace(powerless_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp),    cmocka_unit_test(test_find),   cmocka_unit_test(test_icmp),
        cmocka_unit_test(test_change), cmocka_unit_test(test_nat),    cmocka_unit_test(test_dump),
        cmocka_unit_test(test_lost),   cmocka_unit_test(test_nobody), cmocka_unit_test(test_powerless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
