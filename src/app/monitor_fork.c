/* SPDX-License-Identifier: ISC */
/*
 * A child's first steps. It is a fork of the monitor without exec: it gives up everything (app/privileges.h) but the descriptors
 * that its kind of process is born with, which are listed here and nowhere else, and then runs its own main. Filter alone keeps a
 * capability.
 */
#include "app/monitor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What this kind of process is born with. */
static void fill_args(const struct monitor *m, const struct child *c, int ipc, struct process_args *args)
{
    const struct shared *s = &m->shared;

    memset(args, 0xff, sizeof(*args)); /* every descriptor -1 */
    args->kind = c->kind;
    args->sandbox = &m->sandbox;
    args->ipc = ipc;
    args->worker = c->index;
    args->workers = s->workers;
    args->writers = s->writers;
    args->rows = s->rows;
    args->owner = geteuid();
    args->waits = follow_waits(m);
    args->first_number = m->first_number;
    args->old_writers = 0;
    args->worker_user = m->identities.of[PROCESS_WORKER].uid;
    if (c->kind == PROCESS_MINTER) /* nothing else */
        return;
    args->alive = s->alive[c->kind == PROCESS_WORKER || c->kind == PROCESS_FILTER ? 1 : 0];
    memcpy(args->shards, s->shard_ro, sizeof(args->shards));
    switch (c->kind) {
    case PROCESS_WORKER:
        args->shards[s->workers] = -1; /* rows of filter are no client of ours */
        args->shards[c->index] = s->shard_rw[c->index];
        args->rings[c->index] = s->ring_rw[c->index];
        args->log_wake = s->log_wake;
        args->health = s->health_rw;
        break;
    case PROCESS_LOGGER:
        memcpy(args->rings, s->ring_rw, sizeof(args->rings));
        args->log_wake = s->log_wake;
        args->log_stats = s->stats_rw;
        break;
    case PROCESS_CONTROL:
        memcpy(args->rings, s->ring_ro, sizeof(args->rings));
        args->log_stats = s->stats_ro;
        args->filter_stats = s->filter_ro;
        args->health = s->health_ro;
        args->control_socket = m->runtime.socket;
        args->old_writers = m->upgrade.from.writers;
        args->old_rows = m->upgrade.from.rows;
        memcpy(args->old_shards, m->upgrade.from.shards, sizeof(args->old_shards[0]) * args->old_writers);
        args->admin_socket = m->admin;
        break;
    case PROCESS_FILTER:
        memset(args->shards, 0xff, sizeof(args->shards));
        args->shards[c->index] = s->shard_rw[c->index];
        args->rings[c->index] = s->ring_rw[c->index];
        args->log_wake = s->log_wake;
        args->filter_stats = s->filter_rw;
        break;
    case PROCESS_MINTER:
        break;
    }
}

static size_t list_descriptors(const struct process_args *args, int *keep)
{
    const int single[] = { args->ipc,          args->alive,  args->log_wake,       args->log_stats,
                           args->filter_stats, args->health, args->control_socket, args->admin_socket };
    size_t count = 0;

    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++)
        if (single[i] >= 0)
            keep[count++] = single[i];
    for (size_t i = 0; i < WRITERS_MAX; i++) {
        if (args->shards[i] >= 0)
            keep[count++] = args->shards[i];
        if (args->rings[i] >= 0)
            keep[count++] = args->rings[i];
        if (args->old_shards[i] >= 0)
            keep[count++] = args->old_shards[i];
    }
    return count;
}

/* The monitor decides when we stop; a terminal's or a service manager's signal to all of us must not. */
static void reset_signals(void)
{
    static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE };
    sigset_t none;

    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The name of the process, as ps shows it: "postern-w3", "postern-logger". */
static const char *process_title(const struct child *c, char out[16])
{
    char name[32];

    if (c->kind == PROCESS_WORKER)
        snprintf(out, 16, "postern-w%u", c->index);
    else
        snprintf(out, 16, "postern-%.7s", child_name(c, name));
    return out;
}

void child_run(const struct monitor *m, const struct child *c, int ipc)
{
    static int (*const mains[PROCESS_KINDS])(const struct process_args *) = { [PROCESS_WORKER] = worker_main,
                                                                              [PROCESS_LOGGER] = logger_main,
                                                                              [PROCESS_CONTROL] = control_main,
                                                                              [PROCESS_FILTER] = filter_main,
                                                                              [PROCESS_MINTER] = minter_main };
    int keep[3 * WRITERS_MAX + 9];
    struct process_args args;
    char name[32], title[16];

    reset_signals();
    if (dup2(m->devnull, STDIN_FILENO) < 0 || dup2(m->devnull, STDOUT_FILENO) < 0)
        fatal("dup2: %s", strerror(errno));
    fill_args(m, c, ipc, &args);
    log_open(child_name(c, name), m->log_level);
    if (c->kind == PROCESS_WORKER && !tls_start())
        fatal("no memory for TLS");
    privileges_drop(&m->identities.of[c->kind], c->kind, keep, list_descriptors(&args, keep), process_title(c, title));
    exit(mains[c->kind](&args));
}
