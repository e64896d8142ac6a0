/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_WORKER_MINTER_H
#define POSTERN_APP_WORKER_MINTER_H

#include "app/ipc.h"
#include "session/engine.h"

/*
 * A worker's side of the socket pair with the minter: the engine's questions (struct engine_minter), and the leaves that come back.
 * Without a minter, or with one that does not read, a question is refused at once; those that are open when it dies are refused
 * then. Nothing waits.
 */
struct minter_link {
    struct loop *loop;
    struct engine *engine;
    struct ipc_message *message;
    int fd; /* -1: none */
    struct loop_source source;
};

/* Before the engine is made: `link->engine` is set afterwards. */
void minter_link_init(struct minter_link *link, struct loop *loop, struct ipc_message *message);
struct engine_minter minter_link_calls(struct minter_link *link);
/* A new minter is at the other end of `fd`, which is taken over. */
void minter_link_take(struct minter_link *link, int fd);
void minter_link_close(struct minter_link *link);

#endif
