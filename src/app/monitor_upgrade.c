/* SPDX-License-Identifier: ISC */
/*
 * A new binary without a gap, seen from both sides.
 *
 * The old posternd starts the program that lies in its place now, with its own arguments, and passes on the listening sockets and
 * what else there may be only one of (app/upgrade.h). The new one reads the configuration, starts its children and says that it is
 * ready; until then it accepts nobody and nothing of the old one has changed, so whatever goes wrong, the old one serves on. When
 * it hears GO its workers begin to accept from the same sockets, its control socket takes the place of the old one, and the old one
 * drains: it tells its clients with their next answer to go, and WebSockets when timeouts.drain is over.
 *
 * With a packet filter both have a filter process. That of the new one commits its table, in place of the old one's, in one
 * transaction, before it is ready; that of the old one does not mind meanwhile, and if the new one fails puts back what was.
 */
#include "app/monitor.h"

#include "base/clock.h"
#include "policy/zones.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NUMBER_STEP 10000000u /* numbers of sessions begin anew at a multiple of it, at least half of it above all before */

static const struct upgrade with_nobody = { .channel = -1, .from = { .channel = -1, .folder = -1, .admin = -1, .lock = -1 } };

/* The old posternd. */

static const char *refusal(const struct monitor *m)
{
    if (m->life != LIFE_SERVING)
        return "posternd is starting or stopping";
    if (m->upgrade.wanted || m->upgrade.role == UPGRADE_STARTING)
        return "an upgrade is under way";
    if (m->upgrade.role != UPGRADE_NONE)
        return "the posternd before this one still drains";
    if (getpid() == 1)
        return "posternd is process 1 here: with its end the kernel would end the new one, too";
    return m->binary == NULL ? "it is not known where the program lies" : NULL;
}

static void tell_control(struct monitor *m, pid_t pid, const char *why)
{
    int32_t head = pid;
    struct child *control = monitor_control(m);

    if (control->ipc >= 0 && !ipc_send_two(control->ipc, IPC_UPGRADED, &head, sizeof(head), span_str(why)))
        log_error("control cannot be told of the upgrade: %s", strerror(errno));
}

void upgrade_ask(struct monitor *m, bool for_control)
{
    const char *why = refusal(m);

    if (why == NULL) {
        m->upgrade.wanted = true;
        m->upgrade.for_control = for_control;
        return;
    }
    log_warn("no upgrade now: %s", why);
    if (for_control)
        tell_control(m, 0, why);
}

static void fail(struct monitor *m, const char *why)
{
    struct upgrade *u = &m->upgrade;
    uint32_t off = false;

    monitor_log_lines("upgrade: ", why, true);
    log_error("upgrade failed: this posternd stays");
    if (u->for_control)
        tell_control(m, 0, why);
    child_tell(monitor_filter(m), IPC_STANDBY, &off, sizeof(off));
    if (u->channel >= 0)
        close(u->channel);
    *u = with_nobody;
}

static uint64_t highest_number(const struct monitor *m)
{
    uint64_t most = 0;

    for (unsigned i = 0; i < m->shared.writers; i++) {
        struct shard *shard = shard_map(m->shared.shard_ro[i], m->shared.rows, false);

        if (shard != NULL && count_read(shard, COUNT_SESSIONS_OPENED) > most)
            most = count_read(shard, COUNT_SESSIONS_OPENED);
        shard_unmap(shard);
    }
    return m->first_number + most;
}

/* What there is to pass on. false: no memory. */
static bool describe(const struct monitor *m, struct handover *out)
{
    *out = (struct handover){ .generation = m->current->number,
                              .number = highest_number(m),
                              .folder = m->runtime.folder,
                              .admin = m->admin,
                              .lock = m->lock.fd,
                              .layout = upgrade_layout(),
                              .writers = m->shared.writers,
                              .rows = m->shared.rows };
    if (m->current->conf->packet_filter.line != 0)
        memcpy(out->table, m->current->conf->packet_filter.table, sizeof(out->table));
    memcpy(out->shards, m->shared.shard_ro, sizeof(out->shards));
    out->listening = calloc(m->listeners.count * WORKERS_MAX + 1, sizeof(*out->listening));
    for (size_t i = 0; i < m->listeners.count && out->listening != NULL; i++)
        out->listening_count += listening_of(&m->listeners.items[i], 0, 1, out->listening + out->listening_count);
    return out->listening != NULL;
}

static void pass_on(int fd, void *arg)
{
    (void)arg;
    (void)fcntl(fd, F_SETFD, 0);
}

/* In the fork: becomes the new program. */
static _Noreturn void become(const struct monitor *m, const struct handover *h, int channel, int text)
{
    char value[32], why[PATH_MAX + 128];
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    upgrade_each_fd(h, pass_on, NULL);
    pass_on(channel, NULL);
    pass_on(text, NULL);
    snprintf(value, sizeof(value), "%d %d", channel, text);
    if (setenv(UPGRADE_VARIABLE, value, 1) == 0)
        execv(m->binary, m->argv);
    snprintf(why, sizeof(why), "%s: %s", m->binary, strerror(errno));
    (void)upgrade_say(channel, UPGRADE_FAILED, why);
    _exit(1);
}

static bool start(struct monitor *m, const struct handover *h, int text)
{
    struct upgrade *u = &m->upgrade;
    int pair[2];

    if (text < 0 || !ipc_pair(pair))
        return false;
    u->pid = fork();
    if (u->pid == 0)
        become(m, h, pair[1], text);
    close(pair[1]);
    u->channel = pair[0];
    return u->pid > 0;
}

static void begin(struct monitor *m)
{
    struct upgrade *u = &m->upgrade;
    struct handover h;
    uint32_t on = true;
    int text = describe(m, &h) ? upgrade_write(&h) : -1;

    u->wanted = false;
    u->role = UPGRADE_STARTING;
    u->deadline_ms = clock_ms() + m->current->conf->timeouts.upgrade;
    child_tell(monitor_filter(m), IPC_STANDBY, &on, sizeof(on));
    if (!start(m, &h, text))
        fail(m, strerror(errno));
    else
        log_info("upgrade: %s is started as process %d", m->binary, (int)u->pid);
    if (text >= 0)
        close(text);
    free(h.listening);
}

/* A reload that was asked for while the new one read its configuration, or before, is its to make. */
static void pass_on_reload(struct monitor *m)
{
    static const char why[] = "another posternd serves now, and reads the configuration again";
    uint32_t end = RELOAD_REFUSED;

    if (!m->reload.wanted)
        return;
    kill(m->upgrade.pid, SIGHUP);
    if (m->reload.wanted_by_control && monitor_control(m)->ipc >= 0 &&
        !ipc_send_two(monitor_control(m)->ipc, IPC_RELOADED, &end, sizeof(end), span_str(why)))
        log_error("control cannot be told of the reload: %s", strerror(errno));
    m->reload.wanted = m->reload.wanted_by_control = false;
}

static void hand_over(struct monitor *m)
{
    struct upgrade *u = &m->upgrade;

    tickets_pass_on(m, u->channel);
    notify_send(&m->notify, "MAINPID=%d\n", (int)u->pid); /* before it speaks for itself */
    if (!upgrade_say(u->channel, UPGRADE_GO, "")) {
        notify_send(&m->notify, "MAINPID=%d\n", (int)getpid());
        return; /* it died: SIGCHLD tells the rest */
    }
    m->notify = (struct notify){ .to_len = 0 };
    log_info("upgrade: process %d serves from now on", (int)u->pid);
    u->role = UPGRADE_LEFT;
    if (u->for_control)
        tell_control(m, u->pid, "");
    pass_on_reload(m);
    monitor_leave(m);
}

void upgrade_step(struct monitor *m)
{
    struct upgrade *u = &m->upgrade;

    if (u->wanted && m->life == LIFE_SERVING && !m->reload.running)
        begin(m);
    if (u->role != UPGRADE_STARTING || clock_ms() < u->deadline_ms || u->pid <= 0)
        return;
    snprintf(u->why, sizeof(u->why), "it was not ready within %u ms (timeouts.upgrade)", m->current->conf->timeouts.upgrade);
    kill(u->pid, SIGKILL);
    u->deadline_ms = UINT64_MAX;
}

void upgrade_child_died(struct monitor *m, int status)
{
    struct upgrade *u = &m->upgrade;
    char why[UPGRADE_TEXT], end[64];

    upgrade_heard(m); /* its last words */
    u->pid = 0;
    if (WIFSIGNALED(status))
        snprintf(end, sizeof(end), "the new posternd died of signal %d", WTERMSIG(status));
    else
        snprintf(end, sizeof(end), "the new posternd ended with status %d", WEXITSTATUS(status));
    if (u->role == UPGRADE_STARTING) {
        snprintf(why, sizeof(why), "%s", u->why[0] != '\0' ? u->why : end);
        fail(m, why);
    } else if (u->role == UPGRADE_LEFT)
        log_error("%s", end);
}

/* The new posternd. */

bool upgrade_begin(struct monitor *m)
{
    struct upgrade *u = &m->upgrade;
    char error[160];

    m->first_number = 0;
    if (!upgrade_read(&u->from, error, sizeof(error))) {
        u->channel = u->from.channel;
        u->role = u->channel >= 0 ? UPGRADE_WAITING : UPGRADE_NONE;
        upgrade_complain(m, error);
        return false;
    }
    if (u->from.channel < 0)
        return true;
    u->role = UPGRADE_WAITING;
    u->channel = u->from.channel;
    u->pid = u->from.pid;
    m->first_number = (u->from.number + NUMBER_STEP / 2 + NUMBER_STEP) / NUMBER_STEP * NUMBER_STEP;
    if (u->from.layout != upgrade_layout()) {
        log_warn("the sessions of the running posternd are laid out in another way: they are not listed while it drains");
        for (unsigned i = 0; i < u->from.writers; i++)
            close(u->from.shards[i]);
        u->from.writers = 0;
    }
    return true;
}

/* If it failed after its filter process has committed, the old one could not put back what was, but for its own table. */
bool upgrade_fits(const struct monitor *m, const struct conf *conf, char *error, size_t size)
{
    const char *before = m->upgrade.from.table, *now = conf->packet_filter.line != 0 ? conf->packet_filter.table : "";

    if (m->upgrade.role != UPGRADE_WAITING || strcmp(before, now) == 0)
        return true;
    snprintf(error, size, "%s:%u: packet_filter: another table is in force: reload first, then upgrade", conf->file,
             conf->packet_filter.line);
    return false;
}

void upgrade_complain(struct monitor *m, const char *text)
{
    monitor_log_lines("", text, true);
    if (m->upgrade.role == UPGRADE_WAITING && text[0] != '\0')
        (void)upgrade_say(m->upgrade.channel, UPGRADE_FAILED, text);
}

void upgrade_ready(struct monitor *m)
{
    if (m->upgrade.role != UPGRADE_WAITING) {
        runtime_dir_publish(&m->runtime);
        monitor_say_ready(m);
    } else if (!upgrade_say(m->upgrade.channel, UPGRADE_READY, ""))
        monitor_stop(m, 1);
}

static void serve(struct monitor *m, struct child *c)
{
    const struct listeners none = { 0, NULL };

    if (c->kind == PROCESS_WORKER && c->ipc >= 0 && !child_send_listeners(m, c, IPC_LISTEN, &m->listeners, &none))
        log_error("worker %u cannot be told its listeners: %s", c->index, strerror(errno));
    if (c->kind == PROCESS_WORKER || c->kind == PROCESS_CONTROL || c->kind == PROCESS_FILTER)
        child_tell(c, IPC_SERVE, NULL, 0);
}

/* It is our turn. */
static void take_over(struct monitor *m)
{
    char error[FILE_ERROR];

    m->upgrade.role = UPGRADE_FOLLOWING;
    if (!listeners_listen(&m->listeners, error, sizeof(error)))
        log_error("%s", error);
    listeners_want_interfaces(&m->listeners, zones_need_interfaces(m->current->conf));
    listeners_settle(&m->listeners);
    listeners_steer(&m->listeners, m->shared.workers);
    for (size_t i = 0; i < m->child_count; i++)
        serve(m, &m->children[i]);
    if (!runtime_dir_publish(&m->runtime))
        log_error("%s: the control socket or the file with the process id is not in its place: %s", m->runtime.path,
                  strerror(errno));
    log_info("upgrade: taken over from process %d", (int)m->upgrade.pid);
    monitor_say_ready(m);
    monitor_tell_status(m);
}

/* Both. */

static void hear(struct monitor *m, enum upgrade_word word, const char *text)
{
    struct upgrade *u = &m->upgrade;

    if (u->role == UPGRADE_STARTING && word == UPGRADE_READY && m->life == LIFE_SERVING) /* or else it was told to end */
        hand_over(m);
    else if (u->role == UPGRADE_STARTING && word == UPGRADE_FAILED)
        snprintf(u->why, sizeof(u->why), "%s", text);
    else if (u->role == UPGRADE_WAITING && word == UPGRADE_TICKETS)
        tickets_take(m, text);
    else if (u->role == UPGRADE_WAITING && word == UPGRADE_GO)
        take_over(m);
    else if (u->role == UPGRADE_LEFT)
        orders_heard(m, word, text);
}

static void on_gone(struct monitor *m)
{
    struct upgrade *u = &m->upgrade;

    close(u->channel);
    u->channel = -1;
    if (u->role == UPGRADE_WAITING) {
        log_error("the posternd that was to be replaced is gone");
        monitor_stop(m, 1);
    } else if (u->role == UPGRADE_FOLLOWING) {
        log_info("process %d has drained", (int)u->pid);
        upgrade_forget(&u->from);
        *u = with_nobody;
        monitor_tell_status(m);
    }
}

void upgrade_heard(struct monitor *m)
{
    static char text[UPGRADE_TEXT];
    enum upgrade_word word;
    int heard = 0;

    while (m->upgrade.channel >= 0 && (heard = upgrade_hear(m->upgrade.channel, &word, text)) > 0) {
        hear(m, word, text);
        explicit_bzero(text, sizeof(text)); /* it may have been keys */
    }
    if (m->upgrade.channel >= 0 && heard < 0)
        on_gone(m);
}

void upgrade_stop(struct monitor *m, bool at_once)
{
    struct upgrade *u = &m->upgrade;

    u->wanted = false;
    if (u->role == UPGRADE_STARTING && u->pid > 0) {
        snprintf(u->why, sizeof(u->why), "posternd is stopping");
        kill(u->pid, SIGTERM);
    } else if (u->role == UPGRADE_FOLLOWING && at_once && u->channel >= 0)
        (void)upgrade_say(u->channel, UPGRADE_STOP, "");
}

bool upgrade_lets_reload(const struct monitor *m)
{
    return m->upgrade.role != UPGRADE_STARTING && m->upgrade.role != UPGRADE_WAITING;
}

bool upgrade_holds(const struct monitor *m)
{
    const struct upgrade *u = &m->upgrade;

    return (u->role == UPGRADE_STARTING && u->pid > 0) || (u->role == UPGRADE_FOLLOWING && u->channel >= 0);
}
