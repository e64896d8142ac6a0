/* SPDX-License-Identifier: ISC */
/* A network namespace of a test's own, with its loopback up and connection tracking on, and traffic in it. */
#ifndef POSTERN_TESTS_FILTER_NAMESPACE_H
#define POSTERN_TESTS_FILTER_NAMESPACE_H

#include "base/addr.h"

#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { GOOD, BAD, NO_NAMESPACE };

#define NEED(condition)                                                                                                            \
    do {                                                                                                                           \
        if (!(condition)) {                                                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                                \
            return BAD;                                                                                                            \
        }                                                                                                                          \
    } while (0)

static inline bool run(const char *command)
{
    return system(command) == 0;
}

static inline bool write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    bool good = file != NULL && fputs(text, file) >= 0;

    return (file == NULL || fclose(file) == 0) && good;
}

/* Whoever is not root is root in a user namespace of his own. */
static inline bool enter_namespace(void)
{
    char map[64];

    snprintf(map, sizeof(map), "0 %u 1", geteuid());
    if (geteuid() == 0)
        return unshare(CLONE_NEWNET) == 0;
    return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && write_text("/proc/self/uid_map", map);
}

/* `body` in a child with a namespace of its own; the test is skipped where there can be none. */
static inline void in_namespace(int (*body)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        if (!enter_namespace() || !run("ip link set lo up") ||
            !run("nft 'table inet watch { chain out { type filter hook output priority 0; ct state new accept; }; }'")) {
            fprintf(stderr, "no network namespace with connection tracking can be made here\n");
            _exit(NO_NAMESPACE);
        }
        _exit(body());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_NAMESPACE)
        skip();
    assert_int_equal(WEXITSTATUS(status), GOOD);
}

static inline struct addr address(const char *text)
{
    struct addr a = { .family = 0 };

    if (!addr_parse_port(&a, span_str(text)) && !addr_parse(&a, span_str(text), 0))
        abort();
    return a;
}

static inline struct addr local_of(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct addr a = { .family = 0 };

    if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0 || !addr_from_sockaddr(&a, (struct sockaddr *)&sa, len))
        abort();
    return a;
}

/* A socket bound to this address; listening if it is TCP. */
static inline int bound(int type, const char *text)
{
    struct sockaddr_storage sa;
    struct addr a = address(text);
    socklen_t len = addr_to_sockaddr(&a, &sa);
    int fd = socket(a.family, type | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) != 0 || (type == SOCK_STREAM && listen(fd, 16) != 0))
        abort();
    return fd;
}

/* A socket connected to `to`, -1 if that was refused. */
static inline int connected(int type, const struct addr *to)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(to, &sa);
    int fd = socket(to->family, type | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len) == 0)
        return fd;
    close(fd);
    return -1;
}

/* One datagram there and, with `back`, one in return. */
static inline void datagram(int client, int server, bool back)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    char byte;

    if (send(client, "x", 1, 0) != 1 || (back && recvfrom(server, &byte, 1, 0, (struct sockaddr *)&sa, &len) != 1) ||
        (back && (sendto(server, "y", 1, 0, (struct sockaddr *)&sa, len) != 1 || recv(client, &byte, 1, 0) != 1)))
        abort();
}

#endif
