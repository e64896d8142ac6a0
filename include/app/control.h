/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_CONTROL_H
#define POSTERN_APP_CONTROL_H

#include "app/generation_load.h"
#include "app/ipc.h"
#include "app/view.h"

struct event;
struct event_base;
struct client;
struct admin;

/*
 * The control process: control.c (start, messages of the monitor and the workers), control_clients.c (connections to the control
 * socket), control_requests.c (what requests do, and whom they wait for) and admin_http.c.
 */
#define CLIENTS_MAX 32     /* connections to the control socket; the same number to the admin listener */
#define CONTROL_LINE 65536 /* the longest request, without its LF */

struct peer {
    struct control *control;
    unsigned worker; /* of filter: how many workers there are */
    int fd;          /* -1: none */
    struct event *event;
};

struct control {
    const struct process_args *args;
    struct event_base *base;
    struct view view;
    struct generation_inbox inbox;
    struct generation *current;
    struct event *monitor_event, *alive_event, *accept_event, *admin_event, *tick_event;
    int monitor; /* -1: it is dead */
    struct peer peers[WORKERS_MAX];
    struct peer filter; /* the filter process; fd -1: none runs, or there is no packet filter */
    struct client *clients[CLIENTS_MAX];
    struct admin *admins; /* a list */
    unsigned admin_clients;
    bool serves; /* no other posternd does */
    bool handed_over;
    bool reload_running, upgrade_running;
    uint64_t next_request;
    struct ipc_message message;
};

/* control_clients.c */
MUST_CHECK bool clients_open(struct control *c);
void clients_close(struct control *c);
/* Every second: streams go on, who waited too long is told so. */
void clients_tick(struct control *c);

/* control_requests.c */
/* A worker, filter or the monitor answered. */
void clients_on_killed(struct control *c, unsigned worker, const struct wire_killed *answer);
void clients_on_explained(struct control *c, uint64_t request, struct span answer);
/* A piece of filter's answer to IPC_ASK: JSON text when all pieces are put together. */
void clients_on_answer(struct control *c, const struct wire_answer *head, struct span piece);
void clients_on_reloaded(struct control *c, enum reload_end end, struct span report);
/* The end of an upgrade: the process that serves now, or 0 and why this one stays. */
void clients_on_upgraded(struct control *c, int32_t pid, struct span why);
/* This worker, or filter, will not answer any more. */
void clients_on_worker_gone(struct control *c, unsigned worker);
void clients_on_filter_gone(struct control *c);

/* admin_http.c */
MUST_CHECK bool admin_open(struct control *c);
void admin_close(struct control *c);
/* Once a second. */
void admin_tick(struct control *c);
/* Accepts no more; who is connected gets an answer. */
void admin_retire(struct control *c);

#endif
