/* SPDX-License-Identifier: ISC */
/*
 * The children: when they are started, what they are told, what they say, and that they come back when they die. Who dies again and
 * again is started later and later, so that a crash at every start is no fork bomb. What a child is born with is in monitor_fork.c;
 * what a dead worker leaves behind in monitor_lost.c.
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
#define HEALTHY_MS 10000 /* who lived as long as this is started again at once */

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

const char *child_name(const struct child *c, char out[32])
{
    if (c->kind == PROCESS_WORKER)
        snprintf(out, 32, "worker %u", c->index);
    else
        snprintf(out, 32, "%s", c->kind == PROCESS_LOGGER ? "logger" : "control");
    return out;
}

/* The listening sockets of one worker, as many a message as it can carry. */
static bool send_listeners(struct monitor *m, struct child *c)
{
    struct addr addresses[IPC_FDS];
    int fds[IPC_FDS];
    size_t count = 0;

    for (size_t i = 0; i < m->listeners.count; i++) {
        addresses[count] = m->listeners.items[i].address;
        fds[count++] = m->listeners.items[i].fds[c->index];
        if (count < IPC_FDS && i + 1 < m->listeners.count)
            continue;
        if (!ipc_send_fds(c->ipc, IPC_LISTEN, addresses, count * sizeof(addresses[0]), fds, count))
            return false;
        count = 0;
    }
    return true;
}

static bool send_generation(struct monitor *m, struct child *c)
{
    const struct blueprint *b = m->current;

    return blueprint_send(b, c->ipc) && (c->kind != PROCESS_WORKER || send_listeners(m, c)) &&
           ipc_send(c->ipc, IPC_COMMIT, &b->number, sizeof(b->number));
}

/* A new socket pair between control and one worker, if both live. */
static void connect_peers(struct monitor *m, struct child *worker)
{
    struct child *control = monitor_control(m);
    struct wire_peer to_control = { PROCESS_CONTROL, 0 }, to_worker = { PROCESS_WORKER, worker->index };
    int pair[2];

    if (control->pid == 0 || worker->pid == 0 || !ipc_pair(pair))
        return;
    if (!ipc_send_fds(control->ipc, IPC_PEER, &to_worker, sizeof(to_worker), &pair[0], 1) ||
        !ipc_send_fds(worker->ipc, IPC_PEER, &to_control, sizeof(to_control), &pair[1], 1))
        log_error("control and worker %u cannot be connected: %s", worker->index, strerror(errno));
    close(pair[0]);
    close(pair[1]);
}

static bool child_introduce(struct monitor *m, struct child *c)
{
    switch (c->kind) {
    case PROCESS_LOGGER:
        monitor_send_log(m);
        return true;
    case PROCESS_CONTROL:
        if (!send_generation(m, c))
            return false;
        for (unsigned i = 0; i < m->shared.workers; i++)
            connect_peers(m, monitor_worker(m, i));
        return true;
    case PROCESS_WORKER:
        if (!send_generation(m, c))
            return false;
        connect_peers(m, c);
        return true;
    case PROCESS_FILTER:
        break;
    }
    return false;
}

static void plan_restart(struct child *c)
{
    c->backoff_ms = c->backoff_ms == 0 ? BACKOFF_FIRST_MS : c->backoff_ms * 2;
    if (c->backoff_ms > BACKOFF_MAX_MS)
        c->backoff_ms = BACKOFF_MAX_MS;
    if (clock_ms() - c->started_ms >= HEALTHY_MS)
        c->backoff_ms = 0;
    c->restart_ms = clock_ms() + c->backoff_ms;
}

static void child_start(struct monitor *m, struct child *c)
{
    char name[32];
    int pair[2];

    c->restart_ms = 0;
    c->started_ms = clock_ms();
    c->ready = false;
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

void children_start(struct monitor *m)
{
    m->child_count = 2 + m->shared.workers;
    for (size_t i = 0; i < m->child_count; i++) {
        m->children[i] = (struct child){ .kind = i == 0 ? PROCESS_LOGGER : i == 1 ? PROCESS_CONTROL : PROCESS_WORKER, .ipc = -1 };
        m->children[i].index = i < 2 ? 0 : (unsigned)i - 2;
    }
    for (size_t i = 0; i < m->child_count; i++)
        child_start(m, &m->children[i]);
}

void children_restart(struct monitor *m)
{
    for (size_t i = 0; i < m->child_count; i++) {
        struct child *c = &m->children[i];

        if (c->pid != 0 || c->restart_ms == 0 || c->restart_ms > clock_ms())
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
    if (WIFSIGNALED(status))
        log_error("%s died of signal %d", child_name(c, name), WTERMSIG(status));
    else if (!clean || m->life < LIFE_DRAINING)
        log_error("%s ended with status %d", child_name(c, name), WEXITSTATUS(status));
    if (c->kind == PROCESS_WORKER)
        children_clear_worker(m, c->index);
    if (c->awaited)
        reload_answer(m, c, NULL); /* its replacement gets the new generation */
    if (m->life == LIFE_STARTING)
        monitor_stop(m, 1);
    else if (m->life == LIFE_SERVING)
        plan_restart(c);
    monitor_tell_status(m);
}

void children_reap(struct monitor *m)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < m->child_count; i++)
            if (m->children[i].pid == pid)
                child_died(m, &m->children[i], status);
}

void monitor_set_log_level(struct monitor *m, enum log_level level)
{
    uint32_t word = level;

    m->log_level = level;
    log_set_level(level);
    children_tell(m, IPC_LOG_LEVEL, &word, sizeof(word));
    monitor_tell_status(m);
}

static void child_ready(struct monitor *m, struct child *c)
{
    if (c->awaited)
        reload_answer(m, c, NULL);
    if (c->ready)
        return;
    c->ready = true;
    monitor_tell_status(m);
}

static void child_refused(struct monitor *m, struct child *c, const char *why)
{
    char name[32];

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
            child_ready(m, c);
        else if (message.type == IPC_REFUSED)
            child_refused(m, c, ipc_rest(&message, 0).at != NULL ? message.data : "refused");
        else if (c->kind == PROCESS_CONTROL)
            control_asks(m, &message);
        ipc_release(&message);
    }
    if (c->ipc < 0 || result != IPC_END)
        return;
    close(c->ipc); /* it is dying: SIGCHLD tells the rest */
    c->ipc = -1;
}

static void tell(struct child *c, enum ipc_type type, const void *data, size_t len)
{
    char name[32];

    if (c->ipc >= 0 && !ipc_send(c->ipc, type, data, len))
        log_warn("%s cannot be told: %s", child_name(c, name), strerror(errno));
}

void children_tell(struct monitor *m, enum ipc_type type, const void *data, size_t len)
{
    for (size_t i = 0; i < m->child_count; i++)
        tell(&m->children[i], type, data, len);
}

void children_tell_workers(struct monitor *m, enum ipc_type type, const void *data, size_t len)
{
    for (unsigned i = 0; i < m->shared.workers; i++)
        tell(monitor_worker(m, i), type, data, len);
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
                                  .monitor = getpid(),
                                  .logger = monitor_logger(m)->pid,
                                  .control = monitor_control(m)->pid,
                                  .generation = m->current->number,
                                  .log_level = (uint8_t)m->log_level,
                                  .draining = m->life > LIFE_SERVING };

    for (unsigned i = 0; i < m->shared.workers; i++) {
        const struct child *c = monitor_worker(m, i);

        status.workers[i].pid = c->pid;
        status.workers[i].restarts = c->restarts;
        status.workers[i].ready = c->ready;
    }
    tell(monitor_control(m), IPC_STATUS, &status, sizeof(status));
}

bool children_all_ready(const struct monitor *m)
{
    for (size_t i = 0; i < m->child_count; i++)
        if (!m->children[i].ready)
            return false;
    return true;
}

bool children_workers_gone(const struct monitor *m)
{
    for (size_t i = 2; i < m->child_count; i++)
        if (m->children[i].pid != 0)
            return false;
    return true;
}

bool children_all_gone(const struct monitor *m)
{
    return children_workers_gone(m) && m->children[0].pid == 0 && m->children[1].pid == 0;
}
