/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_LEAVES_H
#define POSTERN_SESSION_LEAVES_H

#include "base/reason.h"
#include "net/tls.h"
#include "proto/host.h"

/*
 * Leaves of inspected names (proto/leaf.h): kept in this worker, and asked of the minter. Two who want the same leaf share one
 * question. A client may have a few questions open, and a few new names a second, so that one cannot use up what the minter does
 * for all. One an engine (engine->leaves).
 *
 * engine_leaf() and engine_leaves_lost() (session/engine.h) end the questions.
 */
struct engine;
struct engine_minter;
struct generation;
struct leaves;

#define LEAVES_KEPT 1024
#define LEAVES_OPEN 1024      /* questions of this worker */
#define LEAVES_CLIENT_OPEN 32 /* ... of one client */
#define LEAVES_CLIENT_NEW 16  /* of one client in a second, with four seconds saved up */

struct leaf_wanted {
    struct generation *generation; /* whose secure_inspect() context it is for, under the chain of secure_inspect_chain() */
    const struct addr *client;     /* whose limits count */
    struct host name;
    int64_t from, until; /* validity of the server's certificate, seconds of wall time; of a failing one they mean nothing */
    bool failing;        /* the server's certificate, or its TLS, is not good */
};

/* Somebody who waits: part of its owner's memory. Zero it before first use. */
struct leaf_wait {
    struct leaf_wait *next, **link; /* link NULL: it waits for nothing */
    /* The leaf, with a reference that is the owner's now; NULL: there is none (R_MINT_FAILED). Called once, never from
     * leaves_ask(), and never after leaves_cancel(). It may do anything, and runs the session itself. */
    void (*done)(void *arg, struct tls_leaf *leaf);
    void *arg;
};

MUST_CHECK struct leaves *leaves_new(const struct engine_minter *minter);
/* Nobody may wait any more. */
void leaves_free(struct leaves *l);

/*
 * R_NONE: `*leaf` is it, with a reference for the caller. R_COUNT: `wait` waits, its `done` will be called. R_MINT_FAILED: there is
 * no minter, a limit was reached, or no memory (the diagnostic log says which).
 */
MUST_CHECK enum reason leaves_ask(struct leaves *l, struct leaf_wait *wait, const struct leaf_wanted *wanted,
                                  struct tls_leaf **leaf);
/* Waits no more; nothing if it did not. */
void leaves_cancel(struct leaf_wait *wait);

/* The minter's answers, as engine_leaf() and engine_leaves_lost() have them. */
void leaves_answer(struct leaves *l, uint64_t request, struct span der);
void leaves_lost(struct leaves *l);
/* A new generation is in force: kept leaves of other contexts go. */
void leaves_renew(struct leaves *l, const struct generation *g);

#endif
