/* SPDX-License-Identifier: ISC */
/*
 * Sockets that speak from a client's own address. Its port is chosen here and not left to connect(2) (IP_BIND_ADDRESS_NO_PORT):
 * connection tracking may know a flow from the client to the same server with that port, be it one that we have intercepted, and
 * two flows with one tuple would be taken for each other. connect(2) looks at sockets alone, so what it chose could not be used.
 *
 * At first the kernel is asked for a port (0). It gives one that no other socket of this address has, not even one in TIME-WAIT,
 * some 14,000 to 28,000: too few when many clients share an address behind NAT. So if it has none left, ports are drawn at random.
 * With SO_REUSEADDR the kernel lets sockets share an explicit port as long as none listens, and connect(2) sees to it that they
 * have different peers. A local service that listens on that port for all addresses is in the way, and another port is drawn.
 */
#include "filter/spoof.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/random.h>
#include <unistd.h>

#define ASKED 4 /* times that the kernel chooses the port */
#define DRAWN 8 /* times that we do */
#define FIRST_PORT 32768
#define PORTS (61000 - FIRST_PORT) /* the kernel's own range, by default */

static bool set(int fd, int level, int option)
{
    int on = 1;

    return setsockopt(fd, level, option, &on, sizeof(on)) == 0;
}

static bool make_transparent(int fd, int family)
{
    return family == AF_INET6 ? set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT) : set(fd, IPPROTO_IP, IP_TRANSPARENT);
}

static bool bind_to(int fd, struct addr *from)
{
    struct sockaddr_storage address;
    socklen_t size = addr_to_sockaddr(from, &address);

    if (bind(fd, (const struct sockaddr *)&address, size) != 0)
        return false;
    size = sizeof(address);
    return getsockname(fd, (struct sockaddr *)&address, &size) == 0 && addr_from_sockaddr(from, (struct sockaddr *)&address, size);
}

/* Is there no flow with this tuple? EADDRINUSE: there is one. What cannot be asked is not free. */
static bool is_free(struct conntrack *c, const struct addr *from, const struct addr *server)
{
    struct conntrack_entry entry;

    if (conntrack_find(c, IPPROTO_TCP, from, server, &entry)) {
        errno = EADDRINUSE;
        return false;
    }
    return errno == ENOENT;
}

static int attempt(struct conntrack *c, const struct addr *client, uint16_t port, const struct addr *server)
{
    int fd = socket(client->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), saved;
    struct addr from = *client;

    from.port = port;
    if (fd < 0)
        return -1;
    if (make_transparent(fd, client->family) && set(fd, SOL_SOCKET, SO_REUSEADDR) && set(fd, IPPROTO_TCP, TCP_NODELAY) &&
        bind_to(fd, &from) && is_free(c, &from, server))
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static uint16_t draw(void)
{
    uint16_t number = 0;

    (void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
    return (uint16_t)(FIRST_PORT + number % PORTS);
}

int spoof_socket(struct conntrack *c, const struct addr *client, const struct addr *server)
{
    int fd = -1;

    if ((client->family != AF_INET && client->family != AF_INET6) || client->family != server->family || addr_is_any(client)) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    errno = EADDRINUSE;
    for (int i = 0; i < ASKED + DRAWN && fd < 0 && errno == EADDRINUSE; i++)
        fd = attempt(c, client, i < ASKED ? 0 : draw(), server);
    return fd;
}
