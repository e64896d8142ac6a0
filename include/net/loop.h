/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_LOOP_H
#define POSTERN_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The event loop: libevent's, with the clock read once a turn, a list of work for the end of a turn, and a millisecond tick for timers.
 */
struct loop;
struct event_base;

struct loop *loop_new(void);
void loop_free(struct loop *loop);
/* For signals and sockets that are not streams (IPC): only app/ uses it. */
struct event_base *loop_base(struct loop *loop);
/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* One turn without waiting; true if anything happened: tests. */
bool loop_turn(struct loop *loop);

/* `fn` is called at the end of every turn (reaping, flushing). One only. */
void loop_on_turn_end(struct loop *loop, void (*fn)(void *arg), void *arg);
/* `fn` is called about every LOOP_TICK_MS while anything is armed. One only. */
#define LOOP_TICK_MS 50
void loop_on_tick(struct loop *loop, void (*fn)(void *arg), void *arg);

#endif
