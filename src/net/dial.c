/* SPDX-License-Identifier: ISC */
/*
 * Dialling (RFC 8305). The addresses are tried in an order that alternates the families, IPv6 first; the next attempt begins when
 * the one before failed, or 250 ms after it began. The first connection wins and the others are closed. Every address was judged
 * before it came here: what is dialled is what was checked.
 */
#include "net/dial.h"

#include "base/clock.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ATTEMPT_DELAY_MS 250

struct attempt {
    struct dial *dial;
    struct event *event;
    int fd;
    size_t index; /* in the caller's list */
};

struct dial {
    struct loop *loop;
    void (*done)(void *arg, int fd, size_t index, int error);
    void *arg;
    struct timer next;
    size_t count, begun, open;
    int error;
    struct addr addresses[DIAL_ADDRESSES];
    size_t order[DIAL_ADDRESSES];
    struct attempt attempts[DIAL_ADDRESSES];
};

static void begin_next(struct dial *d);

static void end_attempt(struct attempt *a, bool keep_fd)
{
    if (a->fd < 0)
        return;
    event_free(a->event);
    if (!keep_fd)
        close(a->fd);
    a->fd = -1;
    a->dial->open--;
}

void dial_cancel(struct dial *d)
{
    for (size_t i = 0; i < d->begun; i++)
        end_attempt(&d->attempts[i], false);
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
    if (d->open == 0 && d->begun == d->count)
        finish(d, -1, 0, d->error);
}

static void on_writable(int fd, short what, void *arg)
{
    struct attempt *a = arg;
    struct dial *d = a->dial;
    size_t index = a->index;
    int error = 0;
    socklen_t len = sizeof(error);

    (void)what;
    loop_enter(d->loop);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    end_attempt(a, error == 0);
    if (error == 0)
        finish(d, fd, index, 0);
    else
        failed(d, error);
}

/* Returns 0, or why not even the attempt could begin. */
static int begin(struct dial *d, struct attempt *a)
{
    const struct addr *to = &d->addresses[a->index];
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(to, &sa);
    int one = 1;

    a->fd = socket(to->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (a->fd < 0)
        return errno;
    setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    a->event = event_new(loop_base(d->loop), a->fd, EV_WRITE, on_writable, a);
    if (a->event != NULL && (connect(a->fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS) &&
        event_add(a->event, NULL) == 0) {
        d->open++;
        return 0;
    }
    int error = errno ? errno : ENOMEM;

    if (a->event != NULL)
        event_free(a->event);
    close(a->fd);
    a->fd = -1;
    return error;
}

static void begin_next(struct dial *d)
{
    while (d->begun < d->count) {
        struct attempt *a = &d->attempts[d->begun];

        a->dial = d;
        a->index = d->order[d->begun++];
        int error = begin(d, a);

        if (error == 0)
            break;
        d->error = error;
    }
    if (d->begun < d->count)
        timer_set(loop_wheel(d->loop), &d->next, clock_ms() + ATTEMPT_DELAY_MS);
    else
        timer_clear(loop_wheel(d->loop), &d->next);
}

static void on_delay(void *arg)
{
    struct dial *d = arg;

    begin_next(d);
    if (d->open == 0 && d->begun == d->count)
        finish(d, -1, 0, d->error);
}

/* IPv6 first, then alternating, each family in the order given (RFC 8305 section 4). */
static void interleave(struct dial *d)
{
    size_t six = 0, four = 0;

    for (size_t n = 0; n < d->count; n++) {
        while (six < d->count && d->addresses[six].family != AF_INET6)
            six++;
        while (four < d->count && d->addresses[four].family != AF_INET)
            four++;
        if (six < d->count && (n % 2 == 0 || four == d->count))
            d->order[n] = six++;
        else
            d->order[n] = four++;
    }
}

struct dial *dial_start(struct loop *loop, const struct addr *addresses, size_t count,
                        void (*done)(void *arg, int fd, size_t index, int error), void *arg)
{
    struct dial *d = calloc(1, sizeof(*d));

    if (d == NULL || count == 0) {
        free(d);
        return NULL;
    }
    d->loop = loop;
    d->done = done;
    d->arg = arg;
    d->count = count < DIAL_ADDRESSES ? count : DIAL_ADDRESSES;
    for (size_t i = 0; i < d->count; i++)
        d->addresses[i] = addresses[i];
    for (size_t i = 0; i < DIAL_ADDRESSES; i++)
        d->attempts[i].fd = -1;
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
