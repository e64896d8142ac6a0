/* SPDX-License-Identifier: ISC */
/*
 * Accepting. A batch a turn, so that a flood of connections does not starve those that are open. When the process or the machine is
 * out of descriptors (EMFILE, ENFILE, and the memory errors that behave alike) the listener stops asking for a while: the backlog
 * keeps the clients, and there is no loop that spins on a readable socket which cannot be accepted from.
 */
#include "net/listener.h"

#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 64
#define PAUSE_MS 200

struct listener {
    struct loop *loop;
    struct listener_calls calls;
    void *arg;
    struct loop_source source;
    struct timer resume;
    struct addr address;
    int fd;
    bool paused;
};

/* Returns false when there is nothing more to accept now. */
static bool accept_one(struct listener *l)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct addr client;
    int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            listener_pause(l);
            timer_set(loop_wheel(l->loop), &l->resume, clock_ms() + PAUSE_MS);
            l->calls.paused(l->arg);
            return false;
        }
        return errno == EINTR || errno == ECONNABORTED;
    }
    if (!addr_from_sockaddr(&client, (struct sockaddr *)&sa, len)) {
        close(fd);
        return true;
    }
    l->calls.accepted(l->arg, fd, &client);
    return true;
}

static void on_readable(void *arg, unsigned what)
{
    struct listener *l = arg;

    (void)what;
    for (int i = 0; i < BATCH && !l->paused; i++)
        if (!accept_one(l))
            break;
}

static void on_resume(void *arg)
{
    listener_resume(arg);
}

struct listener *listener_new(struct loop *loop, int fd, const struct listener_calls *calls, void *arg)
{
    struct listener *l = calloc(1, sizeof(*l));
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    int one = 1; /* what is accepted inherits it */

    if (l == NULL)
        goto fail;
    l->loop = loop;
    l->calls = *calls;
    l->arg = arg;
    l->fd = fd;
    l->source = (struct loop_source){ .fn = on_readable, .arg = l, .fd = -1 };
    timer_init(&l->resume, on_resume, l);
    if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0 || !addr_from_sockaddr(&l->address, (struct sockaddr *)&sa, len) ||
        !loop_add(loop, &l->source, fd, LOOP_READ))
        goto fail;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return l;
fail:
    free(l);
    close(fd);
    return NULL;
}

void listener_free(struct listener *l)
{
    timer_clear(loop_wheel(l->loop), &l->resume);
    loop_remove(l->loop, &l->source);
    close(l->fd);
    free(l);
}

const struct addr *listener_address(const struct listener *l)
{
    return &l->address;
}

void listener_pause(struct listener *l)
{
    timer_clear(loop_wheel(l->loop), &l->resume);
    if (l->paused)
        return;
    l->paused = true;
    loop_want(l->loop, &l->source, 0);
}

void listener_resume(struct listener *l)
{
    if (!l->paused)
        return;
    l->paused = false;
    loop_want(l->loop, &l->source, LOOP_READ);
}

void listener_drain(struct listener *l)
{
    for (int i = 0; i < 65536 && !l->paused && accept_one(l); i++)
        ;
}

static unsigned ingress4(int fd)
{
    char control[256];
    socklen_t len = sizeof(control);
    struct msghdr message = { .msg_control = control };

    if (getsockopt(fd, IPPROTO_IP, IP_PKTOPTIONS, control, &len) != 0)
        return 0;
    message.msg_controllen = len;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
            continue;
        struct in_pktinfo info;

        memcpy(&info, CMSG_DATA(c), sizeof(info));
        return (unsigned)info.ipi_ifindex;
    }
    return 0;
}

static unsigned ingress6(int fd)
{
    char control[512];
    socklen_t len = sizeof(control);
    struct msghdr message = { .msg_control = control };

    if (getsockopt(fd, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, control, &len) != 0)
        return 0;
    message.msg_controllen = len;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != IPPROTO_IPV6 || (c->cmsg_type != IPV6_PKTINFO && c->cmsg_type != IPV6_2292PKTINFO))
            continue;
        struct in6_pktinfo info;

        memcpy(&info, CMSG_DATA(c), sizeof(info));
        return info.ipi6_ifindex;
    }
    return 0;
}

unsigned listener_ingress(int fd)
{
    int family = 0;
    socklen_t len = sizeof(family);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) != 0)
        return 0;
    return family == AF_INET6 ? ingress6(fd) : ingress4(fd);
}
