/* SPDX-License-Identifier: ISC */
/*
 * Pipes for splice(2), and how few there are: the loop's owner says how many may be made, and the kernel gives a user without
 * privileges 64 MiB of them (pipe-user-pages-soft), beyond which they shrink to two pages. What is granted is taken, down to what a
 * read would bring; after a refusal nobody asks again for a second. Whoever gets none reads and writes.
 *
 * A pipe is filled only when it is empty: so "nothing now" means that the socket is empty, and never that the pipe is full.
 */
#include "net/pipes.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define REFUSED_MS 1000

/* The largest that the kernel lets it be; what it is, if it may not grow. */
static int grow(int fd)
{
    for (unsigned size = PIPE_BYTES; size > PIPE_LEAST_BYTES; size /= 2) {
        int granted = fcntl(fd, F_SETPIPE_SZ, (int)size);

        if (granted > 0)
            return granted;
    }
    return fcntl(fd, F_GETPIPE_SZ);
}

static struct pipe *make_pipe(void)
{
    struct pipe *pipe = calloc(1, sizeof(*pipe));
    int ends[2], size;

    if (pipe == NULL || pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
        free(pipe);
        return NULL;
    }
    size = grow(ends[1]);
    if (size < (int)PIPE_LEAST_BYTES) {
        close(ends[0]);
        close(ends[1]);
        free(pipe);
        return NULL;
    }
    *pipe = (struct pipe){ .read_end = ends[0], .write_end = ends[1], .size = (uint32_t)size };
    return pipe;
}

struct pipe *pipes_take(struct pipes *pipes)
{
    struct pipe *pipe = pipes->idle;

    if (pipe != NULL && pipes->most > 0) {
        pipes->idle = pipe->next;
        return pipe;
    }
    if (pipes->made >= pipes->most || clock_ms() < pipes->refused_until)
        return NULL;
    pipe = make_pipe();
    if (pipe != NULL)
        pipes->made++;
    else
        pipes->refused_until = clock_ms() + REFUSED_MS;
    return pipe;
}

static void drop(struct pipes *pipes, struct pipe *pipe)
{
    close(pipe->read_end);
    close(pipe->write_end);
    free(pipe);
    pipes->made--;
}

void pipes_give(struct pipes *pipes, struct pipe *pipe)
{
    if (pipe->held > 0) {
        drop(pipes, pipe);
        return;
    }
    pipe->next = pipes->idle;
    pipes->idle = pipe;
}

void pipes_fini(struct pipes *pipes)
{
    while (pipes->idle != NULL) {
        struct pipe *pipe = pipes->idle;

        pipes->idle = pipe->next;
        drop(pipes, pipe);
    }
}

/* Both ends do not wait; a socket that waited would, whatever the flag says. */
static ssize_t move(int from, int to, size_t most)
{
    ssize_t n;

    do
        n = splice(from, NULL, to, NULL, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    while (n < 0 && errno == EINTR);
    return n;
}

ssize_t pipe_fill(struct pipe *pipe, int fd, size_t most)
{
    ssize_t n = move(fd, pipe->write_end, most < pipe->size ? most : pipe->size);

    if (n > 0)
        pipe->held += (uint32_t)n;
    return n;
}

ssize_t pipe_drain(struct pipe *pipe, int fd)
{
    ssize_t n = move(pipe->read_end, fd, pipe->held);

    if (n > 0) {
        pipe->held -= (uint32_t)n;
        return n;
    }
    if (n == 0)
        errno = EPIPE; /* what lies there could be taken, and was not */
    return -1;
}
