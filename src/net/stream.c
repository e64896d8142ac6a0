/* SPDX-License-Identifier: ISC */
/*
 * Streams: sockets as the rest of Postern sees them. Edge-triggered, so the kernel says a thing once and the flags keep it:
 * can_read stays until a read comes back short or empty, can_write until a write does; whether there is room again is first asked
 * for then, because most streams never have to wait for it. A short read means that the socket is empty,
 * unless the peer hung up: then there is an end to be read, and nobody will say so again (that is what hang_up is for). A byte of
 * urgent data, which is none of the stream, makes a read short, too (urgent).
 *
 * Memory: reads go to the loop's one buffer; only what the owner leaves is copied into `kept`. Writes go straight from wherever the
 * bytes are; only what the kernel refuses is copied into chunks. That is the whole of a stream's memory, and the owner bounds it:
 * it stops reading the other side when stream_waiting() is at the high water mark.
 *
 * A secured stream (net/stream_tls.c) differs where it reads, and where plaintext enters the output: behind that point the bytes
 * are ciphertext and go the same way.
 */
#include "net/stream.h"

#include "base/clock.h"
#include "net/splice.h"
#include "net/tls_end.h"

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
#define INPUT (LOOP_READ | LOOP_END | LOOP_URGENT | LOOP_EDGES)

/* Nothing can be sent any more. What was never sent does not count as queued: it must not look acknowledged. */
void stream_stop_writing(struct stream *s)
{
    uint64_t lost = s->out.len + splice_drop(s);

    s->broken = true;
    s->can_write = false;
    if (s->tls != NULL) {
        s->tls->raw -= s->out.len;
        lost += s->tls->plain.len;
        lost = lost < s->queued ? lost : s->queued; /* ciphertext is longer than what is in it */
        s->tls->held = 0;
        chunks_drop(&s->tls->plain, s->loop);
    }
    s->queued -= lost;
    chunks_drop(&s->out, s->loop);
}

/*
 * A reset that came with the last bytes would stay unseen behind them. When the stream has been quiet for a moment, the kernel is
 * asked; the next read or write of a busy one will tell. So the owner learns of a reset even if it does not read: who asked is
 * gone.
 */
static void on_settled(void *arg)
{
    struct stream *s = arg;
    struct pollfd p = { .fd = s->fd };

    if (poll(&p, 1, 0) <= 0 || (p.revents & (POLLERR | POLLHUP)) == 0)
        return;
    if (p.revents & POLLERR)
        stream_stop_writing(s);
    s->can_read = s->hang_up = true;
    s->on_ready(s->owner);
}

/* Does it say what the flags do not yet? Whoever did not read what is there has a reason; more of it is none to ask again. */
static bool is_news(const struct stream *s, unsigned what)
{
    return (what & (LOOP_END | LOOP_URGENT | LOOP_ERROR)) || ((what & LOOP_READ) && !s->can_read) ||
           ((what & LOOP_WRITE) && !s->can_write);
}

static void on_event(void *arg, unsigned what)
{
    struct stream *s = arg;

    if (!is_news(s, what))
        return;
    if (what & LOOP_READ)
        s->can_read = true;
    if (what & LOOP_WRITE)
        s->can_write = true;
    if (what & LOOP_END)
        s->can_read = s->hang_up = true;
    if (what & LOOP_URGENT)
        s->can_read = s->urgent = true;
    if (what & LOOP_ERROR)
        timer_set(loop_wheel(s->loop), &s->settle, clock_ms() + SETTLE_MS);
    s->on_ready(s->owner);
}

static void on_again(void *arg)
{
    struct stream *s = arg;

    s->on_ready(s->owner);
}

/* All but the descriptor. */
static void init(struct stream *s, struct loop *loop, void (*on_ready)(void *owner), void *owner)
{
    memset(s, 0, sizeof(*s));
    s->fd = -1;
    s->loop = loop;
    s->on_ready = on_ready;
    s->owner = owner;
    s->again.fn = on_again;
    s->again.arg = s;
    s->can_write = true;
    s->source = (struct loop_source){ .fn = on_event, .arg = s, .fd = -1 };
    timer_init(&s->settle, on_settled, s);
}

bool stream_open(struct stream *s, struct loop *loop, int fd, void (*on_ready)(void *owner), void *owner)
{
    init(s, loop, on_ready, owner);
    if (!loop_add(loop, &s->source, fd, INPUT)) {
        close(fd);
        return false;
    }
    s->fd = fd;
    return true;
}

/* What the kernel tells of it from now on; what is so at this moment, too. */
void stream_listen(struct stream *s)
{
    unsigned wants = s->muted ? INPUT & ~(unsigned)LOOP_READ : INPUT;

    loop_want(s->loop, &s->source, s->asks_for_room ? wants | LOOP_WRITE : wants);
}

/* The kernel took less than it was given: can_write is false until it says that there is room. */
static void ask_for_room(struct stream *s)
{
    s->can_write = false;
    if (s->asks_for_room)
        return;
    s->asks_for_room = true;
    stream_listen(s);
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
    if (s->tls != NULL && !reset)
        tls_farewell(s);
    if (reset) {
        struct linger now = { 1, 0 };

        setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    loop_forget(s->loop, &s->source);
    timer_clear(loop_wheel(s->loop), &s->settle);
    loop_again_clear(&s->again);
    close(s->fd);
    s->fd = -1;
    tls_end_free(s);
    splice_drop(s);
    chunks_drop(&s->out, s->loop);
    drop_kept(s);
}

int stream_release(struct stream *s)
{
    int fd = s->fd;

    splice_end(s);
    loop_remove(s->loop, &s->source);
    timer_clear(loop_wheel(s->loop), &s->settle);
    loop_again_clear(&s->again);
    s->fd = -1;
    tls_end_free(s);
    drop_kept(s);
    return fd;
}

void stream_move(struct stream *to, struct stream *from, void (*on_ready)(void *owner), void *owner)
{
    splice_end(from);
    timer_clear(loop_wheel(from->loop), &from->settle);
    loop_again_clear(&from->again);
    drop_kept(from);
    init(to, from->loop, on_ready, owner);
    loop_move(to->loop, &to->source, &from->source);
    to->fd = from->fd;
    from->fd = -1;
    to->can_read = from->can_read;
    to->can_write = from->can_write;
    to->asks_for_room = from->asks_for_room;
    to->hang_up = from->hang_up;
    to->urgent = from->urgent;
    to->eof = from->eof;
    to->failed = from->failed;
    to->broken = from->broken;
    to->truncated = from->truncated;
    to->queued = from->queued;
    to->acked = from->acked;
    to->received = from->received;
    to->mark = from->mark;
    to->tls = from->tls;
    from->tls = NULL;
    tls_moved(to);
    if (to->can_read) /* maybe: more of it would be no news, so the new owner has to look once */
        loop_again(to->loop, &to->again);
}

bool stream_is_open(const struct stream *s)
{
    return s->loop != NULL && s->fd >= 0;
}

ssize_t stream_recv(struct stream *s, char *at, size_t room)
{
    ssize_t n;

    do
        n = recv(s->fd, at, room, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        s->can_read = s->urgent = false;
        return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_NOTHING : STREAM_ERROR;
    }
    if (n == 0 || ((size_t)n < room && !s->hang_up && !s->urgent))
        s->can_read = false;
    return n;
}

void stream_read_none(struct stream *s, ssize_t n)
{
    s->can_read = false;
    if (n == 0) {
        s->eof = true;
        s->failed = s->broken; /* a write was told of the reset: here it looks like an end */
    } else if (n == STREAM_ERROR) {
        s->failed = true;
        stream_stop_writing(s);
    }
}

/* Reads behind the `have` bytes that already lie in the buffer; returns how many came. */
static size_t read_more(struct stream *s, char *buffer, size_t have)
{
    ssize_t n;

    if (s->tls != NULL)
        return tls_read(s, buffer + have, LOOP_READ_BYTES - have);
    splice_end(s);
    n = stream_recv(s, buffer + have, LOOP_READ_BYTES - have);
    if (n > 0) {
        s->received += (uint64_t)n;
        s->bulk = (size_t)n == LOOP_READ_BYTES - have;
        if (s->can_read)
            loop_again(s->loop, &s->again);
        return (size_t)n;
    }
    stream_read_none(s, n);
    return 0;
}

/* Could a read bring anything? */
static bool has_more(const struct stream *s)
{
    return s->can_read || (s->tls != NULL && s->tls->ready);
}

struct span stream_input(struct stream *s, bool more)
{
    char *buffer = loop_buffer(s->loop);
    size_t have = s->kept_len;

    if (have > 0)
        memcpy(buffer, s->kept, have);
    if (has_more(s) && !s->failed && !loop_is_queued(&s->again) && have < LOOP_READ_BYTES && (more || have == 0))
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

bool stream_untake(struct stream *s, struct span input)
{
    size_t len = input.len + s->kept_len;
    char *both = len <= LOOP_READ_BYTES ? malloc(len) : NULL;

    if (both == NULL)
        return false;
    memcpy(both, input.at, input.len);
    if (s->kept_len > 0)
        memcpy(both + input.len, s->kept, s->kept_len);
    free(s->kept);
    s->kept = both;
    s->kept_len = s->kept_size = (uint32_t)len;
    return true;
}

bool stream_has_input(const struct stream *s)
{
    if (s->tls != NULL && !s->tls->done)
        return false;
    return s->kept_len > 0 || has_more(s) || s->eof || s->failed;
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
    return loop_is_queued(&s->again);
}

void stream_write_none(struct stream *s)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        ask_for_room(s);
        return;
    }
    if (errno == ENOBUFS || errno == ENOMEM)
        s->failed = true; /* the connection stands: neither an edge nor an end would tell the owner */
    stream_stop_writing(s);
    s->can_read = true; /* what the peer said before it closed still lies there: an early answer */
    loop_again(s->loop, &s->again);
}

/* One writev of the chunks and `extra`; returns how many bytes of `extra` left, and whether another try may bring more. */
static bool write_some(struct stream *s, struct span *extra)
{
    struct iovec iov[IOVECS];
    size_t total = 0, chunks = s->out.len;
    int n = 0;
    ssize_t sent;

    for (struct chunk *c = s->out.first; c != NULL && n < IOVECS - 1; c = c->next) {
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
        stream_write_none(s);
        return false;
    }
    if ((size_t)sent < total)
        ask_for_room(s);
    if ((size_t)sent > chunks) {
        chunks_take(&s->out, s->loop, chunks);
        *extra = span_skip(*extra, (size_t)sent - chunks);
    } else {
        chunks_take(&s->out, s->loop, (size_t)sent);
    }
    return s->can_write;
}

static void finish(struct stream *s)
{
    if (!s->shut || s->shut_sent || s->pipe != NULL || s->out.len > 0 || (s->tls != NULL && !s->tls->goodbye))
        return;
    s->shut_sent = true;
    shutdown(s->fd, SHUT_WR);
}

bool stream_put(struct stream *s, const void *data, size_t len)
{
    if (s->broken)
        return true; /* nobody will read it; the owner learns of it by the flag */
    s->queued += len;
    if (s->tls != NULL)
        return tls_put(s, span_of(data, len));
    return chunks_add(&s->out, s->loop, data, len);
}

bool stream_send(struct stream *s, struct span data)
{
    if (s->broken)
        return true;
    s->queued += data.len;
    if (s->tls != NULL)
        return data.len < COPY_BELOW ? tls_put(s, data) : tls_send(s, data);
    if (data.len < COPY_BELOW)
        return chunks_add(&s->out, s->loop, data.at, data.len);
    splice_send(s);
    while (s->can_write && (s->out.len > 0 || data.len > 0))
        if (!write_some(s, &data))
            break;
    if (!s->broken)
        return chunks_add(&s->out, s->loop, data.at, data.len);
    s->queued -= data.len;
    return true;
}

void stream_send_out(struct stream *s)
{
    struct span nothing = { NULL, 0 };

    if (s->tls != NULL && s->tls->held > 0) {
        if (s->tls->held == s->out.len)
            return;
        s->tls->held = 0;
    }
    splice_send(s);
    while (s->can_write && s->out.len > 0)
        if (!write_some(s, &nothing))
            break;
}

void stream_flush(struct stream *s)
{
    if (!stream_is_open(s))
        return;
    if (s->tls != NULL)
        tls_encrypt(s);
    stream_send_out(s);
    finish(s);
}

uint32_t stream_waiting(const struct stream *s)
{
    return s->out.len + (s->pipe != NULL ? s->pipe->held : 0) + (s->tls != NULL ? s->tls->plain.len - s->tls->held : 0);
}

bool stream_is_full(const struct stream *s)
{
    return s->pipe != NULL || stream_waiting(s) >= STREAM_HIGH_WATER;
}

void stream_shutdown(struct stream *s)
{
    s->shut = true;
    if (s->tls != NULL)
        stream_flush(s);
    else
        finish(s);
}

/* Bytes that wait here or are unacknowledged by the peer's kernel; false: not known. */
static bool unacknowledged(const struct stream *s, uint64_t *out)
{
    int in_kernel = 0;

    if (ioctl(s->fd, SIOCOUTQ, &in_kernel) != 0)
        return false;
    *out = s->out.len + (s->pipe != NULL ? s->pipe->held : 0) + (uint64_t)in_kernel;
    return true;
}

uint64_t stream_acknowledged(struct stream *s)
{
    uint64_t open;

    if (s->acked == s->queued)
        return s->acked;
    if (!unacknowledged(s, &open))
        return 0;
    if (s->tls != NULL)
        open += s->tls->plain.len;
    s->acked = open < s->queued ? s->queued - open : 0;
    return s->acked;
}

uint64_t stream_wire_given(const struct stream *s)
{
    return s->tls != NULL ? s->tls->raw + s->tls->plain.len : s->queued;
}

uint64_t stream_wire_taken(const struct stream *s)
{
    uint64_t open, given = stream_wire_given(s);

    if (!unacknowledged(s, &open))
        return 0;
    if (s->tls != NULL)
        open += s->tls->plain.len;
    return open < given ? given - open : 0;
}

void stream_set_mark(struct stream *s)
{
    s->mark = (struct stream_mark){ .set = true, .at = s->queued };
    if (s->tls != NULL && s->tls->plain.len == 0) {
        s->mark.written = true;
        s->mark.raw = s->tls->raw;
    }
}

bool stream_mark_acknowledged(struct stream *s)
{
    uint64_t open;

    if (!s->mark.set)
        return false;
    if (s->tls == NULL)
        return stream_acknowledged(s) >= s->mark.at;
    return s->mark.written && unacknowledged(s, &open) && s->mark.raw + open <= s->tls->raw;
}

int stream_look(struct stream *s)
{
    char byte;
    ssize_t n;

    if (s->kept_len > 0)
        return 1;
    if (s->eof || s->failed)
        return -1;
    if (s->tls != NULL)
        return tls_look(s);
    n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0)
        return 1;
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? 0 : -1;
}
