/* SPDX-License-Identifier: ISC */
/*
 * Dialling without a network: each dial is a pair of connected loopback sockets, of which the test takes the far end. The session
 * sees what it sees with the real dialler: a callback in a later turn, with a connected descriptor. Until the test lets them, dials
 * can be held, as if the network were slow.
 */
#include "wire_dial.h"

#include "base/log.h"
#include "net/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIALS_MAX 4096
#define WIRE_PORT 20002 /* below those that the kernel gives to clients */

struct dial {
    struct loop_again again;
    struct loop *loop;
    void (*done)(void *arg, int fd, size_t index, int error);
    void *arg;
    int fd, error;
    size_t index;
    struct taken *taken;
};

static struct taken {
    struct addr to;
    int fd;
    struct dial *held; /* NULL: it was answered or cancelled, or will be answered in the next turn */
} dials[DIALS_MAX];
static size_t first, last;
static bool holding;
static int failing;

/* Little room, so that what a test does not read waits in the program and not in the kernel. */
static void narrow(int fd)
{
    int bytes = 65536;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

/* A fuzzer's alarm may come in between. */
static bool connects(int fd, const struct sockaddr_in *sa)
{
    int result;

    do
        result = connect(fd, (const struct sockaddr *)sa, sizeof(*sa));
    while (result != 0 && errno == EINTR);
    return result == 0;
}

static int accepts(int listener)
{
    int fd;

    do
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    return fd;
}

void wire_pair(int fds[2])
{
    static uint32_t next; /* an address for each pair, and one port for all: ports that wait after a close do not run out */
    uint32_t address = 0x7f400001u + ((uint32_t)getpid() * 65537u + next++) % 0x3ffffeu;
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = { htonl(address) }, .sin_port = htons(WIRE_PORT) };
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    narrow(listener);
    narrow(fds[0]);
    if (listener < 0 || fds[0] < 0 || bind(listener, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(listener, 1) != 0 ||
        !connects(fds[0], &sa) || (fds[1] = accepts(listener)) < 0)
        fatal("no loopback pair: %s", strerror(errno));
    close(listener);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 2; i++)
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void answer(void *arg)
{
    struct dial *d = arg;
    void (*done)(void *arg, int fd, size_t index, int error) = d->done;
    void *done_arg = d->arg;
    int fd = d->fd, error = d->error;
    size_t index = d->index;

    free(d);
    done(done_arg, fd, index, error);
}

/* The first address that may be tried. Prepared sockets only say which: they lead nowhere. */
static size_t first_of(const struct dial_to *to)
{
    size_t index = to->count;

    for (size_t i = to->count; to->sockets != NULL && i-- > 0;) {
        if (to->sockets[i] < 0)
            continue;
        index = i;
        close(to->sockets[i]);
    }
    return to->sockets != NULL ? index : 0;
}

struct dial *dial_start(struct loop *loop, const struct dial_to *to, void (*done)(void *arg, int fd, size_t index, int error),
                        void *arg)
{
    struct dial *d = calloc(1, sizeof(*d));
    size_t index = first_of(to);
    int fds[2];

    if (index >= to->count)
        fatal("nothing to dial");
    if (d == NULL)
        return NULL;
    if (failing != 0) {
        *d = (struct dial){
            .again = { .fn = answer, .arg = d }, .loop = loop, .done = done, .arg = arg, .fd = -1, .error = failing
        };
        loop_again(loop, &d->again);
        return d;
    }
    wire_pair(fds);
    *d = (struct dial){ .again = { .fn = answer, .arg = d }, .loop = loop, .done = done, .arg = arg, .fd = fds[0], .index = index };
    d->taken = &dials[last++ % DIALS_MAX];
    *d->taken = (struct taken){ to->addresses[index], fds[1], holding ? d : NULL };
    if (!holding)
        loop_again(loop, &d->again);
    return d;
}

void dial_cancel(struct dial *d)
{
    if (d->taken != NULL && d->taken->held == d)
        d->taken->held = NULL;
    loop_again_clear(&d->again);
    if (d->fd >= 0)
        close(d->fd);
    free(d);
}

void wire_hold(bool hold)
{
    holding = hold;
    for (size_t i = 0; !hold && i < DIALS_MAX; i++) {
        struct dial *d = dials[i].held;

        dials[i].held = NULL;
        if (d != NULL)
            loop_again(d->loop, &d->again);
    }
}

void wire_fail(int error)
{
    failing = error;
}

int wire_take_dial(struct addr *to)
{
    if (first == last)
        return -1;
    *to = dials[first % DIALS_MAX].to;
    return dials[first++ % DIALS_MAX].fd;
}
