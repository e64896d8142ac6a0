/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_PIPES_H
#define POSTERN_NET_PIPES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Pipes that bytes pass through from one socket to another without being copied (splice(2)). A loop has a few, and lends them: one
 * is held only while it has something in it, so those that are idle, or that keep up, share them.
 */
struct pipe {
    struct pipe *next;
    int read_end, write_end;
    uint32_t size; /* bytes that the kernel granted */
    uint32_t held; /* bytes that came in and did not leave yet */
};

/* All zero: none may be made. */
struct pipes {
    struct pipe *idle;
    unsigned made, most;
    uint64_t refused_until; /* ms: the kernel had none to give */
};

/* What is asked for, and the least that is worth it: less than a read brings. */
#define PIPE_BYTES (1024u * 1024u)
#define PIPE_LEAST_BYTES 65536u

/* An empty one, or NULL: all are in use, or the kernel gives none. Then bytes are read and written. */
struct pipe *pipes_take(struct pipes *pipes);
/* Takes it back; what it holds is lost. */
void pipes_give(struct pipes *pipes, struct pipe *pipe);
/* Those that nobody holds are closed. */
void pipes_fini(struct pipes *pipes);

/* Moves up to `most` bytes from a non-blocking socket into an empty pipe, and what a pipe holds into a non-blocking socket. Like
 * read(2) and write(2), but never interrupted, and pipe_drain() never returns 0. */
ssize_t pipe_fill(struct pipe *pipe, int fd, size_t most);
ssize_t pipe_drain(struct pipe *pipe, int fd);

#endif
