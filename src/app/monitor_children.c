/* SPDX-License-Identifier: ISC */
/*
 * The children: when they are started, what they are told, what they say, and that they come back when they die. Who dies again and
 * again is started later and later, so that a crash at every start is no fork bomb. With a packet filter the filter process is
 * started alone: the others only when the kernel has taken the ruleset. What a child is born with is in monitor_fork.c, its first
 * messages in monitor_introduce.c, what the dead leave behind in monitor_lost.c, what is special about the minter in
 * monitor_minter.c.
 */
#include "app/monitor.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 10000
#define BACKOFF_MINTER_MS 500 /* it takes nothing with it, and no name can be inspected without it */
#define HEALTHY_MS 10000      /* who lived as long as this is started again at once */

struct child *monitor_logger(struct monitor *m)
{
    return &m->children[0];
}

struct child *monitor_control(struct monitor *m)
{
    return &m->children[1];
}

struct child *monitor_worker(struct monitor *m, unsigned index)
{
    return &m->children[2 + index];
}

struct child *monitor_filter(struct monitor *m)
{
    return &m->children[2 + m->shared.workers];
}

struct child *monitor_minter(struct monitor *m)
{
    return &m->children[3 + m->shared.workers];
}

const char *child_name(const struct child *c, char out[32])
{
    static const char *const names[] = { [PROCESS_LOGGER] = "logger",
                                         [PROCESS_CONTROL] = "control",
                                         [PROCESS_WORKER] = "worker",
                                         [PROCESS_FILTER] = "filter",
                                         [PROCESS_MINTER] = "minter" };

    if (c->kind == PROCESS_WORKER)
        snprintf(out, 32, "%s %u", names[c->kind], c->index);
    else
        snprintf(out, 32, "%s", names[c->kind]);
    return out;
}

static void plan_restart(struct child *c)
{
    uint64_t most = c->kind == PROCESS_MINTER ? BACKOFF_MINTER_MS : BACKOFF_MAX_MS;

    c->backoff_ms = c->backoff_ms == 0 ? BACKOFF_FIRST_MS : c->backoff_ms * 2;
    if (c->backoff_ms > most)
        c->backoff_ms = most;
    if (clock_ms() - c->started_ms >= HEALTHY_MS)
        c->backoff_ms = 0;
    c->restart_ms = clock_ms() + c->backoff_ms;
}

void child_start(struct monitor *m, struct child *c)
{
    char name[32];
    int pair[2];

    c->restart_ms = 0;
    c->started_ms = clock_ms();
    c->ready = false;
    c->silent = 0;
    if (!ipc_pair(pair)) {
        log_error("%s cannot be started: %s", child_name(c, name), strerror(errno));
        plan_restart(c);
        return;
    }
    c->pid = fork();
    if (c->pid == 0)
        child_run(m, c, pair[1]);
    close(pair[1]);
    c->ipc = pair[0];
    if (c->pid < 0) {
        log_error("%s cannot be started: %s", child_name(c, name), strerror(errno));
        close(pair[0]);
        c->pid = 0;
        c->ipc = -1;
        plan_restart(c);
        return;
    }
    if (!child_introduce(m, c)) {
        log_error("%s cannot be told the configuration: %s", child_name(c, name), strerror(errno));
        kill(c->pid, SIGKILL);
    }
}

static enum process_kind kind_at(const struct monitor *m, size_t place)
{
    if (place < 2)
        return place == 0 ? PROCESS_LOGGER : PROCESS_CONTROL;
    if (place < 2 + m->shared.workers)
        return PROCESS_WORKER;
    return place == 2 + m->shared.workers ? PROCESS_FILTER : PROCESS_MINTER;
}

/* Those that wait for filter. */
static void start_others(struct monitor *m)
{
    for (size_t i = 0; i < m->child_count; i++)
        if (m->children[i].kind != PROCESS_FILTER && m->children[i].wanted)
            child_start(m, &m->children[i]);
}

void children_start(struct monitor *m)
{
    m->child_count = 4 + m->shared.workers;
    for (size_t i = 0; i < m->child_count; i++)
        m->children[i] = (struct child){ .kind = kind_at(m, i), .index = i < 2 ? 0 : (unsigned)i - 2, .ipc = -1, .wanted = true };
    monitor_filter(m)->wanted = m->current->conf->packet_filter.line != 0;
    monitor_minter(m)->wanted = minter_is_wanted(m->current->conf);
    if (monitor_filter(m)->wanted)
        child_start(m, monitor_filter(m));
    else
        start_others(m);
}

void children_restart(struct monitor *m)
{
    for (size_t i = 0; i < m->child_count; i++) {
        struct child *c = &m->children[i];

        if (!c->wanted || c->pid != 0 || c->restart_ms == 0 || c->restart_ms > clock_ms())
            continue;
        c->restarts++;
        child_start(m, c);
        monitor_tell_status(m);
    }
}

static void child_died(struct monitor *m, struct child *c, int status)
{
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    char name[32];

    c->pid = 0;
    c->ready = false;
    if (c->ipc >= 0)
        close(c->ipc);
    c->ipc = -1;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        log_error("%s was killed: it made a system call that its sandbox does not allow (the kernel's audit log may name it)",
                  child_name(c, name));
    else if (WIFSIGNALED(status))
        log_error("%s died of signal %d", child_name(c, name), WTERMSIG(status));
    else if (!clean || (c->wanted && m->life < LIFE_DRAINING))
        log_error("%s ended with status %d", child_name(c, name), WEXITSTATUS(status));
    if (c->kind == PROCESS_WORKER)
        children_clear_worker(m, c->index);
    else if (c->kind == PROCESS_FILTER)
        children_clear_filter(m);
    if (c->awaited)
        reload_child_died(m, c, clean);
    if (m->life == LIFE_STARTING)
        monitor_stop(m, 1);
    else if (m->life == LIFE_SERVING && c->wanted)
        plan_restart(c);
    monitor_tell_status(m);
}

void children_reap(struct monitor *m)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == m->upgrade.guardian)
            upgrade_child_died(m, status);
        for (size_t i = 0; i < m->child_count; i++)
            if (m->children[i].pid == pid)
                child_died(m, &m->children[i], status);
    }
}

void monitor_set_log_level(struct monitor *m, enum log_level level)
{
    uint32_t word = level;

    m->log_level = level;
    log_set_level(level);
    children_tell(m, IPC_LOG_LEVEL, &word, sizeof(word));
    monitor_tell_status(m);
}

/* Is it the generation that is waited for? A child that was started just before answers for the one that it was born with, too. */
static bool is_asked_for(const struct monitor *m, const struct ipc_message *accepted)
{
    const struct blueprint *asked = m->reload.next != NULL ? m->reload.next : m->current;
    uint16_t number;

    return ipc_read(accepted, &number, sizeof(number)) && number == asked->number;
}

static void child_ready(struct monitor *m, struct child *c, const struct ipc_message *accepted)
{
    bool dismissed = !c->wanted && m->reload.next == NULL; /* of filter its end is awaited */

    if (c->awaited && !dismissed && is_asked_for(m, accepted))
        reload_answer(m, c, NULL);
    if (c->ready)
        return;
    c->ready = true;
    if (c->kind == PROCESS_FILTER && m->life == LIFE_STARTING)
        start_others(m);
    else if (c->kind == PROCESS_FILTER || c->kind == PROCESS_MINTER)
        child_connect(m, c);
    monitor_tell_status(m);
}

static void child_refused(struct monitor *m, struct child *c, const char *why)
{
    char name[32], text[FILE_ERROR];

    if (c->kind == PROCESS_MINTER) {
        minter_refused(m, why, text, sizeof(text));
        why = text;
    }
    if (m->life == LIFE_STARTING)
        upgrade_complain(m, why);
    else
        log_error("%s: %s", child_name(c, name), why);
    if (c->awaited)
        reload_answer(m, c, why);
    if (m->life == LIFE_STARTING)
        monitor_stop(m, 1);
}

/* What only control may ask. */
static void control_asks(struct monitor *m, const struct ipc_message *message)
{
    uint32_t level;

    if (message->type == IPC_RELOAD)
        m->reload.wanted = m->reload.wanted_by_control = true;
    else if (message->type == IPC_UPGRADE)
        upgrade_ask(m, true);
    else if (message->type == IPC_KILL)
        orders_kill(m, message);
    else if (message->type == IPC_DRAIN)
        monitor_drain(m);
    else if (message->type == IPC_LOG_LEVEL && ipc_read(message, &level, sizeof(level)) && level <= LOG_LEVEL_DEBUG)
        monitor_set_log_level(m, (enum log_level)level);
}

void child_read(struct monitor *m, struct child *c)
{
    static struct ipc_message message;
    enum ipc_result result = IPC_NOTHING;

    while (c->ipc >= 0 && (result = ipc_receive(c->ipc, &message)) == IPC_MESSAGE) {
        if (message.type == IPC_ACCEPTED)
            child_ready(m, c, &message);
        else if (message.type == IPC_REFUSED)
            child_refused(m, c, ipc_rest(&message, 0).at != NULL ? message.data : "refused");
        else if (message.type == IPC_PING)
            c->silent = 0;
        else if (c->kind == PROCESS_CONTROL)
            control_asks(m, &message);
        ipc_release(&message);
    }
    if (c->ipc < 0 || result != IPC_END)
        return;
    close(c->ipc); /* it is dying: SIGCHLD tells the rest */
    c->ipc = -1;
}

bool child_is_dying(const struct child *c)
{
    return c->pid != 0 && c->ipc < 0;
}

void child_tell(struct child *c, enum ipc_type type, const void *data, size_t len)
{
    char name[32];

    if (c->ipc >= 0 && !ipc_send(c->ipc, type, data, len))
        log_warn("%s cannot be told: %s", child_name(c, name), strerror(errno));
}

void children_tell(struct monitor *m, enum ipc_type type, const void *data, size_t len)
{
    for (size_t i = 0; i < m->child_count; i++)
        child_tell(&m->children[i], type, data, len);
}

void children_tell_workers(struct monitor *m, enum ipc_type type, const void *data, size_t len)
{
    for (unsigned i = 0; i < m->shared.workers; i++)
        child_tell(monitor_worker(m, i), type, data, len);
}

void children_kill_workers(struct monitor *m)
{
    for (unsigned i = 0; i < m->shared.workers; i++)
        if (monitor_worker(m, i)->pid > 0)
            kill(monitor_worker(m, i)->pid, SIGKILL);
}

void children_kill_all(struct monitor *m)
{
    for (size_t i = 0; i < m->child_count; i++)
        if (m->children[i].pid > 0)
            kill(m->children[i].pid, SIGKILL);
}

void monitor_tell_status(struct monitor *m)
{
    struct wire_status status = { .started_us = m->started_us,
                                  .sessions_configured = m->current->conf->limits.sessions,
                                  .sessions_limit = monitor_session_limit(m),
                                  .files = m->files,
                                  .memory_used = m->memory.used,
                                  .memory_limit = m->memory.limit,
                                  .pressure = (uint8_t)m->memory.pressure.level,
                                  .monitor = getpid(),
                                  .logger = monitor_logger(m)->pid,
                                  .control = monitor_control(m)->pid,
                                  .filter = monitor_filter(m)->pid,
                                  .filter_restarts = monitor_filter(m)->restarts,
                                  .filter_ready = monitor_filter(m)->ready,
                                  .minter = monitor_minter(m)->pid,
                                  .minter_restarts = monitor_minter(m)->restarts,
                                  .minter_ready = monitor_minter(m)->ready,
                                  .predecessor = m->upgrade.role == UPGRADE_FOLLOWING ? m->upgrade.pid : 0,
                                  .sandbox = { m->sandbox.wanted, m->sandbox.users, (uint8_t)m->sandbox.landlock,
                                               m->sandbox.calls },
                                  .generation = m->current->number,
                                  .log_level = (uint8_t)m->log_level,
                                  .draining = m->life > LIFE_SERVING };

    for (unsigned i = 0; i < m->shared.workers; i++) {
        const struct child *c = monitor_worker(m, i);

        status.workers[i].pid = c->pid;
        status.workers[i].restarts = c->restarts;
        status.workers[i].ready = c->ready;
    }
    child_tell(monitor_control(m), IPC_STATUS, &status, sizeof(status));
}

bool children_all_ready(const struct monitor *m)
{
    for (size_t i = 0; i < m->child_count; i++)
        if (m->children[i].wanted && !m->children[i].ready)
            return false;
    return true;
}

bool children_workers_gone(const struct monitor *m)
{
    for (size_t i = 0; i < m->child_count; i++)
        if (m->children[i].kind == PROCESS_WORKER && m->children[i].pid != 0)
            return false;
    return true;
}

bool children_all_gone(const struct monitor *m)
{
    for (size_t i = 0; i < m->child_count; i++)
        if (m->children[i].pid != 0)
            return false;
    return true;
}
