/* SPDX-License-Identifier: ISC */
/*
 * Dialling (RFC 8305). The addresses are tried in an order that alternates the families, IPv6 first; the next attempt begins when
 * the one before failed, or 250 ms after it began. The first connection wins and the others are closed. On this machine a handshake
 * is over before connect() returns, and asking again costs less than to wait for the kernel to say so. Every address was judged
 * before it came here: what is dialled is what was checked.
 */
#include "net/dial.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ATTEMPT_DELAY_MS 250

struct attempt {
    struct dial *dial;
    struct loop_source source;
    struct loop_again at_once; /* it is over already; told in a moment, as any other is */
    int fd, error;             /* error: how an attempt that was over at once ended */
    size_t index;              /* in the caller's list */
};

struct dial {
    struct loop *loop;
    void (*done)(void *arg, int fd, size_t index, int error);
    void *arg;
    struct timer next;
    size_t count, tries, begun, open; /* tries: addresses that may be tried; begun, of which open */
    int error;
    bool prepared; /* the sockets are the caller's */
    int sockets[DIAL_ADDRESSES];
    struct addr addresses[DIAL_ADDRESSES];
    size_t order[DIAL_ADDRESSES];
    struct attempt attempts[DIAL_ADDRESSES];
};

static void begin_next(struct dial *d);

static void end_attempt(struct attempt *a, bool keep_fd)
{
    if (a->fd < 0)
        return;
    loop_remove(a->dial->loop, &a->source);
    loop_again_clear(&a->at_once);
    if (!keep_fd)
        close(a->fd);
    a->fd = -1;
    a->dial->open--;
}

void dial_cancel(struct dial *d)
{
    for (size_t i = 0; i < d->begun; i++)
        end_attempt(&d->attempts[i], false);
    for (size_t i = 0; i < d->count; i++)
        if (d->sockets[i] >= 0)
            close(d->sockets[i]);
    timer_clear(loop_wheel(d->loop), &d->next);
    free(d);
}

static void finish(struct dial *d, int fd, size_t index, int error)
{
    void (*done)(void *arg, int fd, size_t index, int error) = d->done;
    void *arg = d->arg;

    dial_cancel(d);
    done(arg, fd, index, error);
}

static void failed(struct dial *d, int error)
{
    d->error = error;
    begin_next(d);
    if (d->open == 0 && d->begun == d->tries)
        finish(d, -1, 0, d->error);
}

static void attempt_over(struct attempt *a, int error)
{
    struct dial *d = a->dial;
    size_t index = a->index;
    int fd = a->fd;

    end_attempt(a, error == 0);
    if (error == 0)
        finish(d, fd, index, 0);
    else
        failed(d, error);
}

static void on_writable(void *arg, unsigned what)
{
    struct attempt *a = arg;
    int error = 0;
    socklen_t len = sizeof(error);

    if (what & LOOP_ERROR)
        getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    attempt_over(a, error);
}

static void on_at_once(void *arg)
{
    struct attempt *a = arg;

    attempt_over(a, a->error);
}

/* Waits for the handshake, or for nothing any more. false: errno says why not. */
static bool follow(struct attempt *a, const struct addr *to, const struct sockaddr *sa, socklen_t len)
{
    struct loop *loop = a->dial->loop;

    a->source = (struct loop_source){ .fn = on_writable, .arg = a, .fd = -1 };
    a->at_once = (struct loop_again){ .fn = on_at_once, .arg = a };
    if (connect(a->fd, sa, len) != 0 && errno != EINPROGRESS)
        return false;
    if (addr_is_loopback(to)) {
        a->error = connect(a->fd, sa, len) == 0 || errno == EISCONN ? 0 : errno;
        if (a->error != EALREADY) {
            loop_again(loop, &a->at_once);
            return true;
        }
    }
    return loop_add(loop, &a->source, a->fd, LOOP_WRITE);
}

/* A socket of our own, or the one that was prepared for this address. */
static int socket_for(struct dial *d, size_t index)
{
    int fd = d->sockets[index];

    d->sockets[index] = -1;
    if (!d->prepared)
        return socket(d->addresses[index].family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Returns 0, or why not even the attempt could begin. */
static int begin(struct dial *d, struct attempt *a)
{
    const struct addr *to = &d->addresses[a->index];
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(to, &sa);
    int one = 1;

    a->fd = socket_for(d, a->index);
    if (a->fd < 0)
        return errno;
    setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (follow(a, to, (struct sockaddr *)&sa, len)) {
        d->open++;
        return 0;
    }
    int error = errno ? errno : ENOMEM;

    close(a->fd);
    a->fd = -1;
    return error;
}

static void begin_next(struct dial *d)
{
    while (d->begun < d->tries) {
        struct attempt *a = &d->attempts[d->begun];

        a->dial = d;
        a->index = d->order[d->begun++];
        int error = begin(d, a);

        if (error == 0)
            break;
        d->error = error;
    }
    if (d->begun < d->tries)
        timer_set(loop_wheel(d->loop), &d->next, clock_ms() + ATTEMPT_DELAY_MS);
    else
        timer_clear(loop_wheel(d->loop), &d->next);
}

static void on_delay(void *arg)
{
    struct dial *d = arg;

    begin_next(d);
    if (d->open == 0 && d->begun == d->tries)
        finish(d, -1, 0, d->error);
}

/* The next address of this kind behind `i` that may be tried; d->count: none. */
static size_t next_of(const struct dial *d, size_t i, bool six)
{
    while (i < d->count && ((d->addresses[i].family == AF_INET6) != six || (d->prepared && d->sockets[i] < 0)))
        i++;
    return i;
}

/* IPv6 first, then alternating, each family in the order given (RFC 8305 section 4). */
static void interleave(struct dial *d)
{
    size_t six = next_of(d, 0, true), four = next_of(d, 0, false);

    while (six < d->count || four < d->count) {
        if (six < d->count && (d->tries % 2 == 0 || four == d->count)) {
            d->order[d->tries++] = six;
            six = next_of(d, six + 1, true);
        } else {
            d->order[d->tries++] = four;
            four = next_of(d, four + 1, false);
        }
    }
}

static void close_sockets(const int *sockets, size_t count)
{
    for (size_t i = 0; sockets != NULL && i < count; i++)
        if (sockets[i] >= 0)
            close(sockets[i]);
}

static void take(struct dial *d, const struct dial_to *to)
{
    d->count = to->count < DIAL_ADDRESSES ? to->count : DIAL_ADDRESSES;
    d->prepared = to->sockets != NULL;
    for (size_t i = 0; i < d->count; i++) {
        d->addresses[i] = to->addresses[i];
        d->sockets[i] = d->prepared ? to->sockets[i] : -1;
    }
    for (size_t i = 0; i < DIAL_ADDRESSES; i++)
        d->attempts[i].fd = -1;
    if (d->prepared && to->count > d->count)
        close_sockets(to->sockets + d->count, to->count - d->count);
}

struct dial *dial_start(struct loop *loop, const struct dial_to *to, void (*done)(void *arg, int fd, size_t index, int error),
                        void *arg)
{
    struct dial *d = calloc(1, sizeof(*d));

    if (d == NULL || to->count == 0) {
        close_sockets(to->sockets, to->count);
        free(d);
        return NULL;
    }
    d->loop = loop;
    d->done = done;
    d->arg = arg;
    d->error = EADDRNOTAVAIL;
    take(d, to);
    interleave(d);
    timer_init(&d->next, on_delay, d);
    begin_next(d);
    if (d->open == 0) {
        int error = d->error;

        dial_cancel(d);
        errno = error;
        return NULL;
    }
    return d;
}
