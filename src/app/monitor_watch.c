/* SPDX-License-Identifier: ISC */
/*
 * The watchdog. Once a second every process that serves others by a loop is asked for a sign of life, over the socket pair that it
 * has with the monitor: one that sleeps because there is nothing to do answers as well as a busy one, and one that hangs, or was
 * stopped, does not. Who owes the answer for too long is killed; what follows is as after any other death. Until then it is asked
 * again with each look: a question or an answer that was lost, because there was no memory for it, is no sign of death.
 *
 * Looks are counted instead of time: a monitor that was itself stopped, or that got no processor for long, has looked only once.
 * Not looked at: who is not ready yet or has to take a new generation, which may take long and has a deadline of its own; filter,
 * which waits for the kernel; the logger, which waits for disks.
 */
#include "app/monitor.h"

#include "base/clock.h"

#include <signal.h>

#define LOOK_MS 1000
#define QUESTIONS 16 /* to one that does not answer: what it does not read must not fill the socket pair */

static bool is_watched(const struct child *c)
{
    if (c->pid == 0 || c->ipc < 0 || !c->ready || c->awaited)
        return false;
    return c->kind == PROCESS_WORKER || c->kind == PROCESS_CONTROL || c->kind == PROCESS_MINTER;
}

/* What a worker is at: "in session 0-17, phase http"; of the others nothing is known. */
static void say_where(const struct monitor *m, const struct child *c, char *out, size_t size)
{
    struct shard *shard = c->kind == PROCESS_WORKER ? shard_map(m->shared.shard_ro[c->index], m->shared.rows, false) : NULL;
    enum phase phase = PHASE_DEAD;
    uint64_t session = shard != NULL ? shard_at_read(shard, &phase) : 0;

    if (session != 0)
        snprintf(out, size, " in session %u-%llu, phase %s", c->index, (unsigned long long)session, phase_name(phase));
    else
        snprintf(out, size, "%s", shard != NULL ? " in no session" : "");
    shard_unmap(shard);
}

static void replace(const struct monitor *m, struct child *c)
{
    char name[32], where[96];

    say_where(m, c, where, sizeof(where));
    log_error("%s hangs%s: it has not answered for %.1f s, and is killed", child_name(c, name), where,
              m->current->conf->timeouts.stall / 1000.0);
    c->silent = 0;
    kill(c->pid, SIGKILL);
}

static void look(const struct monitor *m, struct child *c)
{
    if (!is_watched(c))
        c->silent = 0;
    else if ((uint64_t)c->silent * LOOK_MS >= m->current->conf->timeouts.stall)
        replace(m, c);
    else if (c->silent++ < QUESTIONS)
        child_tell(c, IPC_PING, NULL, 0);
}

void watch_ask(struct child *c)
{
    c->silent = 1;
    child_tell(c, IPC_PING, NULL, 0);
}

void watch_step(struct monitor *m)
{
    if (m->life != LIFE_SERVING || clock_ms() < m->watch_ms)
        return;
    m->watch_ms = clock_ms() + LOOK_MS;
    for (size_t i = 0; i < m->child_count; i++)
        look(m, &m->children[i]);
}
