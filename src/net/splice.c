/* SPDX-License-Identifier: ISC */
/*
 * Bytes that pass unread: from one socket into a pipe, from the pipe into the other one, without being copied. A pipe belongs to
 * the stream that its bytes leave by and stands in front of everything else that waits there. It is held only until it is empty: a
 * stream that takes all at once has one for the length of a call.
 *
 * That is worth it for large pieces only, so it begins when a read filled its buffer and ends with a small piece. Without a pipe
 * bytes are read and written as everywhere else; nobody needs to know. So it is where the kernel refuses to splice.
 *
 * A stream whose output is full can be read, and is muted: what comes meanwhile would be told of packet by packet, and wake up
 * the worker for nothing.
 */
#include "net/splice.h"

#include "net/tls_end.h"

#include <errno.h>

#define SPLICE_LEAST 16384u         /* a turn that moves less is followed by reads */
#define SPLICE_TURN (1024u * 1024u) /* then others have theirs */

uint32_t splice_drop(struct stream *s)
{
    uint32_t lost = s->pipe != NULL ? s->pipe->held : 0;

    if (s->pipe != NULL)
        pipes_give(loop_pipes(s->loop), s->pipe);
    s->pipe = NULL;
    return lost;
}

/* The kernel does not splice to or from this socket, or a filter of system calls forbids it. Nobody asks again. */
static bool is_refused(struct stream *s)
{
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP && errno != EPERM && errno != EACCES)
        return false;
    loop_pipes(s->loop)->most = 0;
    return true;
}

/* What lies in the pipe is written as everything else is, and in front of it. false: no memory. */
static bool unload(struct stream *s)
{
    struct chunks held = { 0 };

    if (!chunks_read(&held, s->loop, s->pipe->read_end, s->pipe->held)) {
        chunks_drop(&held, s->loop);
        return false;
    }
    chunks_join(&held, &s->out);
    s->out = held;
    s->pipe->held = 0;
    splice_drop(s);
    return true;
}

void splice_send(struct stream *s)
{
    while (s->pipe != NULL && s->can_write) {
        if (pipe_drain(s->pipe, s->fd) < 0 && !(is_refused(s) && unload(s)))
            stream_write_none(s);
        else if (s->pipe != NULL && s->pipe->held == 0)
            splice_drop(s);
    }
}

static bool may_pass(const struct stream *from, const struct stream *to)
{
    return from->bulk && from->can_read && !from->urgent && !from->failed && !loop_is_queued(&from->again) && from->kept_len == 0 &&
           from->tls == NULL && to->tls == NULL && to->pipe == NULL && to->out.len == 0 && !to->broken && !to->shut;
}

/*
 * Returns how many bytes came. splice(2) stops for ever at a byte of urgent data and then says "nothing now", or "the end" if there
 * is one somewhere behind: the loop tells of the first, and an end is believed of a read only.
 */
static size_t fill(struct stream *from, struct stream *to, size_t most)
{
    ssize_t n;

    to->pipe = pipes_take(loop_pipes(to->loop));
    if (to->pipe == NULL)
        return 0;
    n = pipe_fill(to->pipe, from->fd, most);
    if (n > 0) {
        from->received += (uint64_t)n;
        to->queued += (uint64_t)n;
        return (size_t)n;
    }
    if (n < 0 && !is_refused(from))
        stream_read_none(from, errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_NOTHING : STREAM_ERROR);
    splice_drop(to);
    return 0;
}

static void mute(struct stream *s, bool muted)
{
    if (s->muted == muted)
        return;
    s->muted = muted;
    stream_listen(s);
}

void splice_end(struct stream *s)
{
    mute(s, false);
}

size_t stream_splice(struct stream *from, struct stream *to, uint64_t most)
{
    size_t moved = 0, n;

    if (most < SPLICE_LEAST)
        return 0;
    while (moved < most && moved < SPLICE_TURN && may_pass(from, to)) {
        n = fill(from, to, (size_t)(most - moved < PIPE_BYTES ? most - moved : PIPE_BYTES));
        if (n == 0)
            break;
        moved += n;
        splice_send(to);
    }
    if (to->pipe != NULL || !from->can_read)
        mute(from, from->can_read);
    if (moved == 0)
        return 0;
    from->bulk = moved >= SPLICE_LEAST;
    if (from->can_read && to->pipe == NULL) /* or it goes on when the pipe is empty */
        stream_again(from);
    return moved;
}
