/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_LOOP_H
#define POSTERN_NET_LOOP_H

#include "base/span.h"
#include "net/timer.h"

#include <stddef.h>

/*
 * The event loop of a worker, on epoll: sources, the clock read once a turn, a wheel of timers, streams that want another turn, and
 * work at the end of a turn. One loop a process.
 */
struct loop;

struct loop *loop_new(void);
void loop_free(struct loop *loop);
struct wheel *loop_wheel(struct loop *loop);
/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* One turn without waiting; true if anything happened: tests. */
bool loop_turn(struct loop *loop);

/* `fn` is called at the end of every turn (reaping). One only. */
void loop_on_turn_end(struct loop *loop, void (*fn)(void *arg), void *arg);

/* What the kernel says of a descriptor, and what can be wanted of it: */
enum {
    LOOP_READ = 1,   /* it can be read */
    LOOP_WRITE = 2,  /* it can be written */
    LOOP_END = 4,    /* the peer sends nothing more */
    LOOP_ERROR = 8,  /* told, with the first two, whether wanted or not: reset, or another error */
    LOOP_EDGES = 16, /* wanted: each thing is told once, when it becomes so, and not as long as it is so */
    LOOP_URGENT = 32 /* urgent data lies there (RFC 9293 3.8.5) */
};

/*
 * Who is told. The owner fills in `fn` and `arg`, and `fd` with -1; it may free or add the source again inside `fn`. A source that
 * has no descriptor may be removed and forgotten.
 */
struct loop_source {
    void (*fn)(void *arg, unsigned what);
    void *arg;
    int fd;          /* -1: not added */
    uint32_t number; /* of this registration */
};

/* The descriptor stays the caller's. false: it could not be registered. */
MUST_CHECK bool loop_add(struct loop *loop, struct loop_source *source, int fd, unsigned wants);
/* From now on these are wanted; what is so at this moment is told. */
void loop_want(struct loop *loop, struct loop_source *source, unsigned wants);
void loop_remove(struct loop *loop, struct loop_source *source);
/* The same for a descriptor that the caller closes next, and that no other process has: the kernel then forgets it by itself. */
void loop_forget(struct loop *loop, struct loop_source *source);
/* `to`, which has no descriptor yet, is told from now on what `from` was told. */
void loop_move(struct loop *loop, struct loop_source *to, struct loop_source *from);

/* A place in the queue of those that want another turn; its owner zeroes it, and fills in the last two. */
struct loop_again {
    struct loop_again *next, *prev; /* next NULL: not queued */
    void (*fn)(void *arg);
    void *arg;
};
/* Run in the next turn, which begins at once. One that is queued stays where it is. */
void loop_again(struct loop *loop, struct loop_again *again);
void loop_again_clear(struct loop_again *again);
bool loop_is_queued(const struct loop_again *again);

/* Where streams read into, behind what they had left: one buffer for all, valid until the next read. */
#define LOOP_READ_BYTES 65536u
char *loop_buffer(struct loop *loop);

/* Pooled buffers of CHUNK_BYTES that hold what could not be sent yet. NULL: no memory. */
struct chunk {
    struct chunk *next;
    uint32_t start, end;
    char data[];
};
#define CHUNK_BYTES (16384u - 16u)
struct chunk *chunk_take(struct loop *loop);
void chunk_give(struct loop *loop, struct chunk *chunk);
/* Frees those that wait for their next use. */
void loop_trim(struct loop *loop);

/* The pipes of its streams; none may be made until it is said how many (`most`). */
struct pipes;
struct pipes *loop_pipes(struct loop *loop);

#endif
