/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_COMMAND_H
#define POSTERN_APP_COMMAND_H

#include "app/filters.h"
#include "app/view.h"

#include <jansson.h>

/*
 * One request on the control socket: a JSON object in a line, { "command": NAME, ... }. Reading is pure: what can be answered from
 * the view is answered at once, everything else says what has to be done. The requests (what they take): status | sessions
 * (filters) | watch (filters) | show (id) | kill (id or filters) | explain (id, or method, url, from, interface, listener, headers,
 * address, resolve) | denials (count) | reload | upgrade | drain | log (level) | block (address, seconds) | unblock (address) |
 * blocks | filter | doctor | inspected
 */
enum command_kind {
    COMMAND_REPLY,    /* `reply` is the whole answer */
    COMMAND_SESSIONS, /* all rows that fit `filters` */
    COMMAND_WATCH,    /* the same, and then what changes, every second */
    COMMAND_KILL,     /* `id`, or if `by_id` is false all that fit `filters` (at least one) */
    COMMAND_EXPLAIN,  /* `question` goes to a worker */
    COMMAND_ASK,      /* `question` goes to the filter process */
    COMMAND_RELOAD,
    COMMAND_UPGRADE,
    COMMAND_DRAIN,
    COMMAND_LOG /* `level` */
};

struct command {
    enum command_kind kind;
    json_t *reply;      /* owned */
    json_t *question;   /* owned */
    bool hang_up;       /* that was no request: close after the reply */
    bool by_id, before; /* ... which is the posternd's before this one */
    struct stream_id id;
    struct filters filters;
    enum log_level level;
};

/* Reads a line without its LF. Always leaves a command that the caller ends with command_fini(). */
void command_read(struct command *out, const struct view *view, struct span line);
void command_fini(struct command *command);

#endif
