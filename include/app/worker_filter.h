/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_WORKER_FILTER_H
#define POSTERN_APP_WORKER_FILTER_H

#include "app/ipc.h"
#include "session/engine.h"

/*
 * A worker's side of the socket pair with the filter process: what the engine tells and asks (struct engine_filter), and what comes
 * back. Without a filter process, or with one that does not read, sockets are refused and messages are lost, but those of sessions
 * that opened are sent again; nothing waits.
 */
struct filter_link {
    struct loop *loop;
    struct engine *engine;
    const struct shard *shard; /* the worker's own: sessions to tell a new filter process of */
    struct ipc_message *message;
    int fd; /* -1: none */
    struct loop_source source;
    uint32_t next_row; /* to be told of */
    bool unknown_only; /* ... and only of those without an entry */
    bool again;        /* it missed some: once more, from the first row on */
};

/* Before the engine is made: `link->engine` is set afterwards. */
void filter_link_init(struct filter_link *link, struct loop *loop, const struct shard *shard, struct ipc_message *message);
struct engine_filter filter_link_calls(struct filter_link *link);
/* A new filter process is at the other end of `fd`, which is taken over: it is told of all sessions that are open. */
void filter_link_take(struct filter_link *link, int fd);
void filter_link_close(struct filter_link *link);

#endif
