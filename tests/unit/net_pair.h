/* SPDX-License-Identifier: ISC */
/* Connected pairs on loopback, and turns of a loop until something holds: for the tests of net/. Include before cmocka.h. */
#ifndef POSTERN_TESTS_NET_PAIR_H
#define POSTERN_TESTS_NET_PAIR_H

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 5000

static inline struct addr loopback(const char *ip, uint16_t port)
{
    struct addr a;

    if (!addr_parse(&a, span_str(ip), port))
        fatal("%s", ip);
    return a;
}

/* A socket of this type on `at`, whose port is filled in. -1: this machine has no such address. */
static inline int bound_socket(struct addr *at, int type)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(at, &sa);
    int fd = socket(at->family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&sa, len) != 0 || getsockname(fd, (struct sockaddr *)&sa, &len) != 0 ||
        !addr_from_sockaddr(at, (struct sockaddr *)&sa, len)) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline int listening_socket(struct addr *at, int backlog)
{
    int fd = bound_socket(at, SOCK_STREAM);

    if (fd >= 0 && listen(fd, backlog) != 0)
        fatal("no listener");
    return fd;
}

/* A blocking client of this listener. */
static inline int connected_socket(const struct addr *to)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(to, &sa);
    int fd = socket(to->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len) != 0)
        fatal("no connection: %s", strerror(errno));
    return fd;
}

/* Two ends of a TCP connection; the first one is non-blocking. */
static inline void tcp_pair(int fds[2])
{
    struct addr at = loopback("127.0.0.1", 0);
    int listener = listening_socket(&at, 1);

    fds[1] = connected_socket(&at);
    if (poll(&(struct pollfd){ listener, POLLIN, 0 }, 1, WAIT_MS) != 1 ||
        (fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0)
        fatal("no pair");
    close(listener);
}

static inline uint64_t wait_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Turns the loop until *what is at least `least`; false if it never is. */
static inline bool turn_until(struct loop *loop, const unsigned *what, unsigned least)
{
    for (uint64_t end = wait_now_ms() + WAIT_MS; *what < least && wait_now_ms() < end;)
        if (!loop_turn(loop))
            poll(NULL, 0, 1);
    return *what >= least;
}

/* Some turns in which nothing is expected. */
static inline void turn_idly(struct loop *loop)
{
    for (int i = 0; i < 20; i++)
        if (!loop_turn(loop))
            poll(NULL, 0, 1);
}

#endif
