/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_LOOP_H
#define POSTERN_NET_LOOP_H

#include "net/timer.h"

#include <stddef.h>

/*
 * The event loop: libevent's, with the clock read once a turn, a wheel of timers, streams that want another turn, and work at the
 * end of a turn. One loop a process.
 */
struct loop;
struct event_base;

struct loop *loop_new(void);
void loop_free(struct loop *loop);
/* For signals and sockets that are not streams (IPC): only net/ and app/ use it. */
struct event_base *loop_base(struct loop *loop);
struct wheel *loop_wheel(struct loop *loop);
/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* One turn without waiting; true if anything happened: tests. */
bool loop_turn(struct loop *loop);
/* Every callback from libevent calls this first: the clock is read in the first one of a turn. */
void loop_enter(struct loop *loop);

/* `fn` is called at the end of every turn (reaping). One only. */
void loop_on_turn_end(struct loop *loop, void (*fn)(void *arg), void *arg);

/*
 * Calls `fn` in each turn in which `fd` can be read: for descriptors that are not streams. NULL: no memory. The descriptor stays
 * the caller's and must outlive the watch.
 */
struct watch;
struct watch *loop_watch(struct loop *loop, int fd, void (*fn)(void *arg), void *arg);
void loop_unwatch(struct watch *w);

/* A place in the queue of those that want another turn; zeroed by its owner. */
struct loop_again {
    struct loop_again *next, **link; /* link NULL: not queued */
    void (*fn)(void *arg);
    void *arg;
};
void loop_again(struct loop *loop, struct loop_again *again);
void loop_again_clear(struct loop *loop, struct loop_again *again);

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

/* The pipes of its streams; none may be made until it is said how many (`most`). */
struct pipes;
struct pipes *loop_pipes(struct loop *loop);

#endif
