/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_CONTROL_CLIENT_H
#define POSTERN_APP_CONTROL_CLIENT_H

#include "app/control.h"
#include "app/listing.h"

#include <jansson.h>

/*
 * A connection to the control socket, shared by the two files that know of it: control_clients.c (bytes in, bytes out, times, the
 * end) and control_requests.c (what a request does, and who is waited for).
 */
#define ANSWER_S 30 /* how long a worker or the monitor may take to answer */

struct bufferevent;
struct command;

enum waiting {
    WAIT_NOTHING,
    WAIT_LISTING,
    WAIT_WATCH,
    WAIT_RELOAD_TURN,
    WAIT_RELOAD,
    WAIT_UPGRADE,
    WAIT_KILL,
    WAIT_EXPLAIN,
    WAIT_ROUTE,
    WAIT_FILTER
};

struct client {
    struct control *control;
    struct bufferevent *buffer;
    enum waiting waiting;
    bool closing;                   /* freed when everything is written */
    unsigned seconds_left;          /* of waiting for others */
    unsigned seconds_idle;          /* since its last request */
    uint64_t request;               /* what an answer has to name */
    uint64_t owed;                  /* a bit for each worker that has not answered */
    bool owed_filter;               /* the filter process has not answered a kill */
    struct evbuffer *pieces;        /* of the filter process's answer; NULL: none yet */
    json_t *explained;              /* a worker's answer, to which the filter process may add; NULL: none */
    uint64_t killed, killed_before; /* of the sessions that fit; of them, of the posternd before */
    bool more;                      /* there were more than KILL_MAX */
    json_t *kill_warning;           /* the filter process's, of a kill; NULL: none */
    struct listing listing;
};

/* control_clients.c: answers what has come in. false: the client is gone. */
bool client_serve(struct client *client);

/* control_requests.c: does what a line asks; the answer is written at once, or when it comes. */
void client_request(struct client *client, struct span line);
/* Gives up what is kept for an answer that is still to come. */
void client_forget(struct client *client);
void client_reply_error(struct client *client, const char *error);
/* control_before.c: has sessions of the posternd before this one ended, those that a kill means: how many it was told. */
size_t before_kill(const struct control *c, const struct command *command);
/* The wall time that answers are made with. */
void control_refresh(struct control *c);

#endif
