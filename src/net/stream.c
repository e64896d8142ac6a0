/* SPDX-License-Identifier: ISC */
/*
 * Streams: sockets as the rest of Postern sees them. Edge-triggered, so the kernel says a thing once and the flags keep it:
 * can_read stays until a read comes back short or empty, can_write until a write does. A short read means that the socket is empty,
 * unless the peer hung up: then there is an end to be read, and nobody will say so again (that is what hang_up is for).
 *
 * Memory: reads go to the loop's one buffer; only what the owner leaves is copied into `kept`. Writes go straight from wherever the
 * bytes are; only what the kernel refuses is copied into chunks. That is the whole of a stream's memory, and the owner bounds it:
 * it stops reading the other side when stream_waiting() is at the high water mark.
 */
#include "net/stream.h"

#include "base/clock.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define IOVECS 16
#define COPY_BELOW 1024u /* shorter sends are gathered: one packet rather than two */

#define SETTLE_MS 100

static void drop_output(struct stream *s)
{
    while (s->out != NULL) {
        struct chunk *chunk = s->out;

        s->out = chunk->next;
        chunk_give(s->loop, chunk);
    }
    s->out_last = NULL;
    s->out_len = 0;
}

/* Nothing can be sent any more. What was never sent does not count as queued: it must not look acknowledged. */
static void stop_writing(struct stream *s)
{
    s->broken = true;
    s->can_write = false;
    s->queued -= s->out_len;
    drop_output(s);
}

/*
 * libevent says "readable and writable" for an error, and for a stream that is just that: a reset that came with the last bytes
 * would stay unseen behind them. When the stream has been quiet for a moment, the kernel is asked; a busy one is not worth a system
 * call for each event, its next read or write will tell. So the owner learns of a reset even if it does not read: who asked is
 * gone.
 */
static void on_settled(void *arg)
{
    struct stream *s = arg;
    struct pollfd p = { .fd = s->fd };

    if (poll(&p, 1, 0) <= 0 || (p.revents & (POLLERR | POLLHUP)) == 0)
        return;
    if (p.revents & POLLERR)
        stop_writing(s);
    s->can_read = s->hang_up = true;
    s->on_ready(s->owner);
}

static void on_event(int fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    loop_enter(s->loop);
    if (what & EV_READ)
        s->can_read = true;
    if (what & EV_WRITE)
        s->can_write = true;
    if (what & EV_CLOSED)
        s->can_read = s->hang_up = true;
    else if ((what & EV_READ) && (what & EV_WRITE))
        timer_set(loop_wheel(s->loop), &s->settle, clock_ms() + SETTLE_MS);
    s->on_ready(s->owner);
}

static void on_again(void *arg)
{
    struct stream *s = arg;

    s->on_ready(s->owner);
}

bool stream_open(struct stream *s, struct loop *loop, int fd, void (*on_ready)(void *owner), void *owner)
{
    memset(s, 0, sizeof(*s));
    s->fd = fd;
    s->loop = loop;
    s->on_ready = on_ready;
    s->owner = owner;
    s->again.fn = on_again;
    s->again.arg = s;
    s->can_write = true;
    timer_init(&s->settle, on_settled, s);
    if (event_assign(&s->event, loop_base(loop), fd, EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_event, s) == 0 &&
        event_add(&s->event, NULL) == 0)
        return true;
    close(fd);
    s->fd = -1;
    return false;
}

static void drop_kept(struct stream *s)
{
    free(s->kept);
    s->kept = NULL;
    s->kept_len = s->kept_size = 0;
}

void stream_close(struct stream *s, bool reset)
{
    if (!stream_is_open(s))
        return;
    if (reset) {
        struct linger now = { 1, 0 };

        setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    event_del(&s->event);
    timer_clear(loop_wheel(s->loop), &s->settle);
    loop_again_clear(s->loop, &s->again);
    close(s->fd);
    s->fd = -1;
    drop_output(s);
    drop_kept(s);
}

int stream_release(struct stream *s)
{
    int fd = s->fd;

    event_del(&s->event);
    timer_clear(loop_wheel(s->loop), &s->settle);
    loop_again_clear(s->loop, &s->again);
    s->fd = -1;
    drop_kept(s);
    return fd;
}

bool stream_is_open(const struct stream *s)
{
    return s->loop != NULL && s->fd >= 0;
}

/* Reads behind the `have` bytes that already lie in the buffer; returns how many came. */
static size_t read_more(struct stream *s, char *buffer, size_t have)
{
    size_t room = LOOP_READ_BYTES - have;
    ssize_t n;

    do
        n = recv(s->fd, buffer + have, room, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        s->can_read = false;
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            s->failed = true;
            stop_writing(s);
        }
        return 0;
    }
    s->received += (uint64_t)n;
    if (n == 0) {
        s->eof = true;
        s->failed = s->broken; /* a write was told of the reset: here it looks like an end */
        s->can_read = false;
    } else if ((size_t)n < room && !s->hang_up) {
        s->can_read = false;
    } else {
        loop_again(s->loop, &s->again);
    }
    return (size_t)n;
}

struct span stream_input(struct stream *s, bool more)
{
    char *buffer = loop_buffer(s->loop);
    size_t have = s->kept_len;

    if (have > 0)
        memcpy(buffer, s->kept, have);
    if (s->can_read && !s->failed && s->again.link == NULL && have < LOOP_READ_BYTES && (more || have == 0))
        have += read_more(s, buffer, have);
    return span_of(buffer, have);
}

bool stream_taken(struct stream *s, struct span input, size_t used)
{
    struct span rest = span_skip(input, used);

    if (rest.len > s->kept_size) {
        uint32_t size = (uint32_t)((rest.len + 4095) & ~(size_t)4095);
        char *larger = malloc(size);

        if (larger == NULL)
            return false;
        free(s->kept);
        s->kept = larger;
        s->kept_size = size;
    }
    if (rest.len > 0) {
        memcpy(s->kept, rest.at, rest.len);
        s->kept_len = (uint32_t)rest.len;
    } else if (s->kept != NULL) {
        drop_kept(s);
    }
    return true;
}

bool stream_has_input(const struct stream *s)
{
    return s->kept_len > 0 || s->can_read || s->eof || s->failed;
}

uint32_t stream_kept(const struct stream *s)
{
    return s->kept_len;
}

void stream_again(struct stream *s)
{
    loop_again(s->loop, &s->again);
}

bool stream_waits_again(const struct stream *s)
{
    return s->again.link != NULL;
}

/* Copies behind the output, chunk by chunk. */
static bool append(struct stream *s, const char *data, size_t len)
{
    while (len > 0) {
        struct chunk *last = s->out_last;
        size_t n;

        if (last == NULL || last->end == CHUNK_BYTES) {
            struct chunk *fresh = chunk_take(s->loop);

            if (fresh == NULL)
                return false;
            if (last != NULL)
                last->next = fresh;
            else
                s->out = fresh;
            s->out_last = last = fresh;
        }
        n = CHUNK_BYTES - last->end < len ? CHUNK_BYTES - last->end : len;
        memcpy(last->data + last->end, data, n);
        last->end += (uint32_t)n;
        s->out_len += (uint32_t)n;
        data += n;
        len -= n;
    }
    return true;
}

/* `sent` bytes of the chunks left; the chunks that are empty go back. */
static void chunks_sent(struct stream *s, size_t sent)
{
    s->out_len -= (uint32_t)sent;
    while (sent > 0) {
        struct chunk *first = s->out;
        size_t n = first->end - first->start;

        if (sent < n) {
            first->start += (uint32_t)sent;
            return;
        }
        sent -= n;
        s->out = first->next;
        if (s->out == NULL)
            s->out_last = NULL;
        chunk_give(s->loop, first);
    }
}

/* One writev of the chunks and `extra`; returns how many bytes of `extra` left, and whether another try may bring more. */
static bool write_some(struct stream *s, struct span *extra)
{
    struct iovec iov[IOVECS];
    size_t total = 0, chunks = s->out_len;
    int n = 0;
    ssize_t sent;

    for (struct chunk *c = s->out; c != NULL && n < IOVECS - 1; c = c->next) {
        iov[n++] = (struct iovec){ c->data + c->start, c->end - c->start };
        total += c->end - c->start;
    }
    if (extra->len > 0 && total == chunks) {
        iov[n++] = (struct iovec){ (void *)extra->at, extra->len };
        total += extra->len;
    }
    do {
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = (size_t)n };

        sent = sendmsg(s->fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        s->can_write = false;
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS) {
            stop_writing(s);
            s->can_read = true; /* what the peer said before it closed still lies there: an early answer */
            loop_again(s->loop, &s->again);
        }
        return false;
    }
    if ((size_t)sent < total)
        s->can_write = false;
    if ((size_t)sent > chunks) {
        chunks_sent(s, chunks);
        *extra = span_skip(*extra, (size_t)sent - chunks);
    } else {
        chunks_sent(s, (size_t)sent);
    }
    return s->can_write;
}

static void finish(struct stream *s)
{
    if (!s->shut || s->shut_sent || s->out_len > 0)
        return;
    s->shut_sent = true;
    shutdown(s->fd, SHUT_WR);
}

bool stream_put(struct stream *s, const void *data, size_t len)
{
    if (s->broken)
        return true; /* nobody will read it; the owner learns of it by the flag */
    s->queued += len;
    return append(s, data, len);
}

bool stream_send(struct stream *s, struct span data)
{
    if (s->broken)
        return true;
    s->queued += data.len;
    if (data.len < COPY_BELOW)
        return append(s, data.at, data.len);
    while (s->can_write && (s->out_len > 0 || data.len > 0))
        if (!write_some(s, &data))
            break;
    if (!s->broken)
        return append(s, data.at, data.len);
    s->queued -= data.len;
    return true;
}

void stream_flush(struct stream *s)
{
    struct span nothing = { NULL, 0 };

    if (!stream_is_open(s))
        return;
    while (s->can_write && s->out_len > 0)
        if (!write_some(s, &nothing))
            break;
    finish(s);
}

uint32_t stream_waiting(const struct stream *s)
{
    return s->out_len;
}

void stream_shutdown(struct stream *s)
{
    s->shut = true;
    finish(s);
}

uint64_t stream_acknowledged(const struct stream *s)
{
    int unacknowledged = 0;

    if (ioctl(s->fd, SIOCOUTQ, &unacknowledged) != 0)
        return 0;
    return s->queued - s->out_len - (uint64_t)unacknowledged;
}

int stream_look(struct stream *s)
{
    char byte;
    ssize_t n;

    if (s->kept_len > 0)
        return 1;
    if (s->eof || s->failed)
        return -1;
    n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0)
        return 1;
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? 0 : -1;
}
