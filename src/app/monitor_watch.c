/* SPDX-License-Identifier: ISC */
/*
 * The watchdog. Once a second every process is asked for a sign of life, over the socket pair that it has with the monitor: one
 * that sleeps because there is nothing to do answers as well as a busy one, and one that hangs, or was stopped, does not. Who owes
 * the answer for too long is killed; what follows is as after any other death. Until then it is asked again with each look: a
 * question or an answer that was lost, because there was no memory for it, is no sign of death.
 *
 * Looks are counted instead of time: a monitor that was itself stopped, or that got no processor for long, has looked only once.
 * Not looked at: who is not ready yet or has to take a new generation, which may take long and has a deadline of its own. Filter,
 * which the kernel may have list all its flows, and the logger, which writes to disks, have more time; and while one of them waits
 * in the kernel it is only said: its death would have to wait, too, and the logger's lines would be lost that it has in hand.
 */
#include "app/monitor.h"

#include "base/clock.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS 1000
#define QUESTIONS 16 /* to one that does not answer: what it does not read must not fill the socket pair */
#define PATIENCE 4   /* times timeouts.stall, for filter and logger */

static bool is_watched(const struct child *c)
{
    return c->pid != 0 && c->ipc >= 0 && c->ready && !c->awaited;
}

static bool has_time(const struct child *c)
{
    return c->kind == PROCESS_FILTER || c->kind == PROCESS_LOGGER;
}

static uint64_t patience_ms(const struct monitor *m, const struct child *c)
{
    return (uint64_t)m->current->conf->timeouts.stall * (has_time(c) ? PATIENCE : 1);
}

/* As ps has it, 'T' for stopped; '?': not known (proc(5), /proc/pid/stat). */
static char state_of(pid_t pid)
{
    char path[64], text[128];
    const char *end;
    ssize_t len;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[len > 0 ? len : 0] = '\0';
    end = strrchr(text, ')');
    return end != NULL && strlen(end) > 2 ? end[2] : '?';
}

/* What a worker is at: "in session 0-17, phase http"; of control and minter nothing is known. */
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
    double seconds = (double)patience_ms(m, c) / 1000.0;
    char name[32], where[96], state = has_time(c) ? state_of(c->pid) : '?';

    if (state == 'D') {
        log_warn("%s has not answered for another %.1f s: it waits in the kernel", child_name(c, name), seconds);
        c->silent = 1;
        return;
    }
    if (has_time(c))
        snprintf(where, sizeof(where), " in state %c", state);
    else
        say_where(m, c, where, sizeof(where));
    log_error("%s hangs%s: it has not answered for %.1f s, and is killed", child_name(c, name), where, seconds);
    c->silent = 0;
    kill(c->pid, SIGKILL);
}

static void look(const struct monitor *m, struct child *c)
{
    if (!is_watched(c))
        c->silent = 0;
    else if ((uint64_t)c->silent * LOOK_MS >= patience_ms(m, c))
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
