/* SPDX-License-Identifier: ISC */
/*
 * A new binary without a gap, and what both sides have in common; the other side is in monitor_follow.c.
 *
 * The old posternd starts the program that lies in its place now, with its own arguments, and passes on the listening sockets and
 * what else there may be only one of (app/upgrade.h). The new one reads the configuration, starts its children and says that it is
 * ready; until then it accepts nobody and nothing of the old one has changed. When it hears GO its workers accept from the same
 * sockets, beside those of the old one, which still are as they were: so whatever ends the new one, or keeps it from saying that
 * all its workers serve, leaves the old one serving. Only when it has said so it is told to take everything else, and the old one
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
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The old posternd. */

static const char *refusal(const struct monitor *m)
{
    if (m->life != LIFE_SERVING)
        return "posternd is starting or stopping";
    if (m->upgrade.wanted || upgrade_tries(m))
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

void upgrade_over(struct upgrade *u)
{
    *u = (struct upgrade){ .channel = -1, .from = { .channel = -1, .folder = -1, .admin = -1, .lock = -1 } };
}

/* The sockets as they were: what they are set to is one thing for all who have them. */
static void take_back(struct monitor *m)
{
    listeners_want_interfaces(&m->listeners, zones_need_interfaces(m->current->conf));
    listeners_steer(&m->listeners, m->shared.workers);
}

static void fail(struct monitor *m, const char *why)
{
    struct upgrade *u = &m->upgrade;
    uint32_t off = false;

    if (u->role == UPGRADE_LENDING)
        take_back(m);
    monitor_log_lines("upgrade: ", why, true);
    log_error("upgrade failed: this posternd stays");
    if (u->for_control)
        tell_control(m, 0, why);
    child_tell(monitor_filter(m), IPC_STANDBY, &off, sizeof(off));
    if (u->channel >= 0)
        close(u->channel);
    upgrade_over(u);
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

/* In the guardian: ends as the new program does, and with the old one. */
static _Noreturn void guard(pid_t pid, pid_t old)
{
    sigset_t all;
    int status = 0;

    closefrom(STDERR_FILENO + 1);
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != old || waitpid(pid, &status, 0) != pid)
        _exit(1);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        sigfillset(&all);
        raise(WTERMSIG(status));
        sigprocmask(SIG_UNBLOCK, &all, NULL);
    }
    _exit(WEXITSTATUS(status));
}

/*
 * As fork(), with a process in between. A service manager that is told of another main process looks once whether that is a child
 * of its own; if not, it does not wait for its end when it stops the service, but kills it at once. When the guardian is gone the
 * new posternd is what it would become anyway at the end of this one: a child of process 1, or of who stands for it.
 */
static pid_t fork_guarded(pid_t *guardian)
{
    pid_t pid = -1, old = getpid();
    int said[2];

    if (pipe2(said, O_CLOEXEC) != 0)
        return -1;
    *guardian = fork();
    if (*guardian == 0) {
        pid = fork();
        if (pid == 0)
            return 0;
        if (pid < 0 || write(said[1], &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
            _exit(1);
        guard(pid, old);
    }
    close(said[1]);
    if (*guardian > 0 && read(said[0], &pid, sizeof(pid)) != (ssize_t)sizeof(pid)) {
        pid = -1;
        errno = EAGAIN; /* fork() of the guardian: as a rule there are too many processes */
    }
    close(said[0]);
    return pid;
}

static bool start(struct monitor *m, const struct handover *h, int text)
{
    struct upgrade *u = &m->upgrade;
    int pair[2];

    if (text < 0 || !ipc_pair(pair))
        return false;
    u->pid = fork_guarded(&u->guardian);
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

/* It may try. The keys go first: its workers have clients from then on. */
static void lend(struct monitor *m)
{
    struct upgrade *u = &m->upgrade;

    tickets_pass_on(m, u->channel);
    if (!upgrade_say(u->channel, UPGRADE_GO, ""))
        return; /* it died: SIGCHLD tells the rest */
    u->role = UPGRADE_LENDING;
    log_info("upgrade: process %d accepts beside this one", (int)u->pid);
    if (u->reopened)
        upgrade_reopened(m);
}

void upgrade_reopened(struct monitor *m)
{
    struct upgrade *u = &m->upgrade;

    if (u->role == UPGRADE_STARTING)
        u->reopened = true;
    else if (u->role == UPGRADE_LENDING)
        kill(u->pid, SIGUSR1);
    else if (u->role == UPGRADE_FOLLOWING)
        (void)upgrade_say(u->channel, UPGRADE_REOPEN, "");
}

/* The new one needs no guardian any more. */
static void release(struct upgrade *u)
{
    kill(u->guardian, SIGKILL);
    (void)waitpid(u->guardian, NULL, 0);
    u->guardian = 0;
}

static void hand_over(struct monitor *m)
{
    struct upgrade *u = &m->upgrade;

    release(u);
    notify_send(&m->notify, "MAINPID=%d\n", (int)u->pid); /* before it speaks for itself */
    if (!upgrade_say(u->channel, UPGRADE_TAKE, "")) {
        notify_send(&m->notify, "MAINPID=%d\n", (int)getpid());
        kill(u->pid, SIGKILL);
        fail(m, "the new posternd does not hear that it shall take over");
        return;
    }
    m->notify = (struct notify){ .to_len = 0 };
    log_info("upgrade: process %d serves from now on", (int)u->pid);
    u->role = UPGRADE_LEFT;
    if (u->for_control)
        tell_control(m, u->pid, "");
    pass_on_reload(m);
    monitor_leave(m);
}

bool upgrade_tries(const struct monitor *m)
{
    return m->upgrade.role == UPGRADE_STARTING || m->upgrade.role == UPGRADE_LENDING;
}

void upgrade_step(struct monitor *m)
{
    struct upgrade *u = &m->upgrade;

    if (u->wanted && m->life == LIFE_SERVING && !m->reload.running)
        begin(m);
    follow_step(m);
    if (!upgrade_tries(m) || clock_ms() < u->deadline_ms || u->pid <= 0)
        return;
    snprintf(u->why, sizeof(u->why), "it %s within %u ms (timeouts.upgrade)",
             u->role == UPGRADE_STARTING ? "was not ready" : "was ready, but did not serve", m->current->conf->timeouts.upgrade);
    kill(u->pid, SIGKILL);
    u->deadline_ms = UINT64_MAX;
}

void upgrade_child_died(struct monitor *m, int status)
{
    struct upgrade *u = &m->upgrade;
    char why[UPGRADE_TEXT], end[64];

    upgrade_heard(m); /* its last words */
    u->pid = u->guardian = 0;
    if (WIFSIGNALED(status))
        snprintf(end, sizeof(end), "the new posternd died of signal %d", WTERMSIG(status));
    else
        snprintf(end, sizeof(end), "the new posternd ended with status %d", WEXITSTATUS(status));
    if (upgrade_tries(m)) {
        snprintf(why, sizeof(why), "%s", u->why[0] != '\0' ? u->why : end);
        fail(m, why);
    }
}

/* Both. */

static void hear(struct monitor *m, enum upgrade_word word, const char *text)
{
    struct upgrade *u = &m->upgrade;

    if (u->role == UPGRADE_STARTING && word == UPGRADE_READY && m->life == LIFE_SERVING) /* or else it was told to end */
        lend(m);
    else if (u->role == UPGRADE_LENDING && word == UPGRADE_SERVES && m->life == LIFE_SERVING)
        hand_over(m);
    else if (u->role == UPGRADE_STARTING && word == UPGRADE_FAILED)
        snprintf(u->why, sizeof(u->why), "%s", text);
    else if (u->role == UPGRADE_LEFT)
        orders_heard(m, word, text);
    else
        follow_heard(m, word, text);
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
    if (m->upgrade.channel < 0 || heard >= 0)
        return;
    close(m->upgrade.channel);
    m->upgrade.channel = -1;
    if (m->upgrade.role == UPGRADE_LEFT)
        log_error("the new posternd has ended");
    follow_gone(m);
}

void upgrade_stop(struct monitor *m, bool at_once)
{
    struct upgrade *u = &m->upgrade;

    u->wanted = false;
    if (upgrade_tries(m) && u->pid > 0) {
        snprintf(u->why, sizeof(u->why), "posternd is stopping");
        kill(u->pid, at_once ? SIGINT : SIGTERM);
    } else if (u->role == UPGRADE_FOLLOWING && at_once && u->channel >= 0)
        (void)upgrade_say(u->channel, UPGRADE_STOP, "");
}

bool upgrade_lets_reload(const struct monitor *m)
{
    return !m->upgrade.wanted && !upgrade_tries(m) && !follow_waits(m);
}

bool upgrade_holds(const struct monitor *m)
{
    const struct upgrade *u = &m->upgrade;

    return (upgrade_tries(m) && u->pid > 0) || (u->role == UPGRADE_FOLLOWING && u->channel >= 0);
}
