/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_STATE_H
#define POSTERN_SESSION_STATE_H

#include "base/health.h"
#include "session/secure.h"
#include "session/session.h"

#define FDS_HELD_BACK 64          /* descriptors that are never used for sessions */
#define PIPES 32                  /* of all workers: half of the large ones that the kernel gives a user */
#define PAIRS_PER_PIPE 8          /* of descriptors: one of them is a pipe */
#define TEXT_BYTES (256u * 1024u) /* where heads are written anew */

/* A listening socket. Which listener of a generation it serves follows from its address. */
struct listening {
    struct listening *next;
    struct engine *engine;
    struct listener *listener;
};

/* The engine, for session/ only. One a worker. */
struct engine {
    struct engine_args args;
    struct loop *loop;
    struct shard *shard;
    struct generation *generation;
    struct resolver *resolver;
    struct route *route; /* NULL while no zone names interfaces */
    struct pool *pool;
    struct listening *listening;
    struct session *sessions, *dead;
    struct numbers *numbers;
    struct sockets *sockets, **sockets_last; /* dials that wait for the filter process, oldest first */
    uint64_t next_socket;
    struct leaves *leaves;      /* of inspected names */
    struct pending *explaining; /* dry runs that wait for a resolver */
    uint32_t open, max;         /* sessions, and how many descriptors allow */
    uint64_t next_number;
    uint32_t round_robin;
    struct checks *checks;              /* of upstreams; NULL: none */
    struct health *health, *own_health; /* of upstreams; own: where none is shared */
    struct addr *own;                   /* this machine's addresses */
    size_t own_count;
    struct loop_source own_source;
    struct timer own_timer;
    bool draining, paused;
    bool handed_over;         /* ... while another posternd accepts: nobody is cut off who was not told to go */
    struct pressure pressure; /* of memory */
    bool crowded;             /* clients are held to their shares (shares.c) */
    uint64_t given_back_ms;   /* when memory was last given back for want of it */
    size_t hand;              /* where shares.c looks for idle connections next */
    struct timer drain_timer;
    uint64_t held; /* bytes of memory that messages take that are held (ws_hold.c) */
    void (*on_empty)(void *arg);
    void *on_empty_arg;
    struct h1_head request_head, answer_head; /* scratch: valid within one handler */
    struct record record;                     /* scratch of report.c */
    char *text;                               /* scratch of TEXT_BYTES */
    struct host_memo hosts;
    struct exchange *spare; /* exchanges that are over, for those to come */
    unsigned spare_count;
};

struct judge_context engine_judge_context(struct engine *e, const struct generation *g);
/* Those that sessions which are not open yet may take: idle shared connections may have them until then, and no more. */
size_t engine_spare_descriptors(const struct engine *e);
/* accept.c: accepting goes on when descriptors are free again; it ends with all listeners. */
void accept_resume(struct engine *e);
void accept_end(struct engine *e);
/* shares.c: what a client may have while places or memory are short */
/* Connections that this client may have now; 0: there is no place left at all. */
uint32_t shares_of_client(const struct engine *e, const struct addr *client);
/* Connections of this client, in all workers, without those that are only told that they are refused. */
uint64_t shares_taken(const struct engine *e, const struct addr *client);
/* Are they short? Then e->crowded is set. */
void shares_look(struct engine *e);
/* Shall this session's client, after an answer, give its connection back? Only asked while e->crowded. */
bool shares_is_greedy(const struct session *s);
/* Closes idle connections of clients who have more than their share, among about so many sessions: each call goes on where the last
 * one ended. */
void shares_close_idle(struct engine *e, unsigned most);
/* Nothing is under way on it, nor has anything of a request come. */
bool session_is_idle(const struct session *s);
/* own.c: reads the machine's own addresses. If that fails those of the last time stay. */
void own_read(struct engine *e);
/* From now on they are read again when the kernel says that they may have changed. false: no memory. */
MUST_CHECK bool own_watch(struct engine *e);
void own_free(struct engine *e);
/* The listener of this generation at this address, or -1. */
int engine_find_listener(const struct conf *conf, const struct addr *address);
/* explain.c: drops dry runs that wait, without an answer. */
void explain_cancel_all(struct engine *e);
/* balance.c: what is known of upstreams that are no longer there is forgotten. The first worker's alone. */
void balance_retain(struct engine *e, const struct conf *conf);
/* checks.c: checks of upstreams, as the generation in force says; the first worker's alone. They end with the drain. */
void checks_renew(struct engine *e);
void checks_end(struct engine *e);
const struct conf_listener *session_listener(const struct session *s);

#endif
