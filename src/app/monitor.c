/* SPDX-License-Identifier: ISC */
/*
 * The monitor: opens every file and listener, makes generations, starts the other processes and starts them again, and answers
 * signals. It is the only process that may keep root, so it reads no byte that came over the network, and its loop is one poll(2)
 * over a signalfd and a socket a child. Its life goes one way: starting, serving, draining, stopping (workers end), flushing
 * (filter ends, the logger writes what is left), the end.
 */
#include "app/monitor.h"

#include "app/generation_tls.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mutant.h"
#include "policy/zones.h"
#include "proto/h1.h"
#include "session/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define STOP_MS 3000        /* for workers, and then again for filter, logger and control, to end */
#define DRAIN_GRACE_MS 3000 /* beyond timeouts.drain */
#define WAIT_MAX_MS 1000

static uint32_t rows_a_worker(const struct monitor *m, const struct conf *conf, unsigned workers)
{
    uint32_t rows = engine_room(m->files, workers).sessions;

    return (rows < conf->limits.sessions ? rows : conf->limits.sessions) + ENGINE_SPARE_ROWS;
}

uint64_t monitor_session_limit(const struct monitor *m)
{
    uint64_t room = (uint64_t)(m->shared.rows - ENGINE_SPARE_ROWS) * m->shared.workers, wanted = m->current->conf->limits.sessions;

    return room < wanted ? room : wanted;
}

static unsigned count_workers(const struct conf *conf)
{
    cpu_set_t cpus;
    unsigned count = conf->workers;

    if (count == 0)
        count = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
    if (count > WORKERS_MAX)
        count = WORKERS_MAX;
    return count > 0 ? count : 1;
}

static void block_signals(struct monitor *m)
{
    static const int wanted[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD };
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        sigaddset(&set, wanted[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    m->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    m->devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (m->signals < 0 || m->devnull < 0)
        fatal("signalfd or /dev/null: %s", strerror(errno));
}

static void name_instance(char out[INSTANCE_TEXT])
{
    struct hash_key key;

    hash_key_random(&key);
    snprintf(out, INSTANCE_TEXT, "postern-%08x", (unsigned)key.k0);
}

/* Everything that a start needs from files; every error at once. */
static bool read_first_generation(struct monitor *m)
{
    uint16_t number = (uint16_t)(m->upgrade.from.generation % UINT16_MAX + 1);
    char instance[INSTANCE_TEXT], *errors = NULL, *warnings = NULL;
    size_t error_len, warning_len;
    FILE *error_file = open_memstream(&errors, &error_len), *warning_file = open_memstream(&warnings, &warning_len);

    if (error_file == NULL || warning_file == NULL)
        fatal("%s", strerror(errno));
    name_instance(instance);
    m->current = blueprint_make(m->path, number, instance, NULL, error_file, warning_file);
    fclose(error_file);   // cppcheck-suppress nullPointerRedundantCheck ; fatal() does not return
    fclose(warning_file); // cppcheck-suppress nullPointerRedundantCheck ; likewise
    upgrade_complain(m, errors);
    monitor_log_lines("", warnings, false);
    free(errors);
    free(warnings);
    return m->current != NULL;
}

static bool open_admin(struct monitor *m, char *error, size_t size)
{
    const struct addr *address = &m->current->conf->admin;
    struct addr inherited;

    if (address->family == 0)
        return true;
    if (m->upgrade.from.admin >= 0 && listener_find(m->upgrade.from.admin, &inherited) && addr_eq(&inherited, address)) {
        m->admin = m->upgrade.from.admin;
        m->upgrade.from.admin = -1;
        return true;
    }
    m->admin = listener_open(address, error, size);
    return m->admin >= 0 || conf_blame(m->current->conf, m->current->conf->lines.admin, "admin.address", error, size);
}

static bool lock_table(struct monitor *m, const struct conf *conf, char *error)
{
    if (conf->packet_filter.line == 0)
        return true;
    if (m->upgrade.from.lock >= 0) { /* the same table: upgrade_fits() */
        table_lock_inherit(&m->lock, conf->packet_filter.table, m->upgrade.from.lock);
        m->upgrade.from.lock = -1;
        return true;
    }
    if (!table_lock_take(&m->lock, conf->packet_filter.table, error))
        return false;
    if (error[0] != '\0')
        log_warn("%s", error);
    return true;
}

static bool open_runtime_dir(struct monitor *m, const struct conf *conf, char *error, size_t size)
{
    int folder = m->upgrade.from.folder;

    if (folder < 0 || !runtime_dir_is(folder, conf->runtime_dir))
        return runtime_dir_open(&m->runtime, conf->runtime_dir, error, size) ||
               conf_blame(conf, conf->lines.runtime_dir, "runtime_dir", error, size);
    m->upgrade.from.folder = -1;
    return runtime_dir_inherit(&m->runtime, folder, conf->runtime_dir, error, size);
}

/* Sockets that another posternd serves are bound and nothing more until it is our turn. */
static bool open_listeners(struct monitor *m, const struct conf *conf, unsigned workers, char *error, size_t size)
{
    struct listeners before = { 0, NULL };
    struct handover *from = &m->upgrade.from;
    bool good;

    if (from->channel < 0)
        return listeners_prepare(&m->listeners, conf, &before, workers, error, size);
    if (!listeners_adopt(&before, from->listening, from->listening_count)) {
        snprintf(error, size, "the listening sockets of the running posternd cannot be taken over");
        return false;
    }
    from->listening_count = 0;
    good = listeners_bind(&m->listeners, conf, &before, workers, error, size);
    listeners_forget(&before, &m->listeners);
    return good;
}

static bool find_users(struct monitor *m, const struct conf *conf, char *error, size_t size)
{
    return identities_find(&m->identities, conf->user, error, size) || conf_blame(conf, conf->lines.user, "user", error, size);
}

/* What could not be had is said once, here. */
static bool find_sandbox(struct monitor *m, const struct conf *conf, char *error, size_t size)
{
    char missing[SANDBOX_TEXT], text[SANDBOX_TEXT];

    if (!sandbox_find(&m->sandbox, conf->sandbox, &m->identities, missing)) {
        snprintf(error, size, "%s%s", conf->sandbox == SANDBOX_REQUIRED ? "\"required\", but " : "", missing);
        return conf_blame(conf, conf->lines.sandbox, "sandbox", error, size);
    }
    if (conf->sandbox == SANDBOX_OFF)
        log_warn("the sandbox is off: system calls and files are not limited");
    else if (missing[0] != '\0')
        log_warn("sandbox: %s", missing);
    log_info("sandbox: %s", sandbox_text(&m->sandbox, text));
    return true;
}

static bool open_everything(struct monitor *m)
{
    const struct conf *conf = m->current->conf;
    unsigned workers = count_workers(conf);
    char error[FILE_ERROR];

    if (!monitor_may_filter(conf, error, sizeof(error)) || !upgrade_fits(m, conf, error, sizeof(error)) ||
        !find_users(m, conf, error, sizeof(error)) || !find_sandbox(m, conf, error, sizeof(error)) ||
        !open_runtime_dir(m, conf, error, sizeof(error)) || !lock_table(m, conf, error) ||
        !blueprint_open_keylog(m->current, error) || !monitor_open_log(m, conf, error) ||
        !open_listeners(m, conf, workers, error, sizeof(error)) || !open_admin(m, error, sizeof(error))) {
        upgrade_complain(m, error);
        return false;
    }
    if (zones_need_interfaces(conf))
        listeners_want_interfaces(&m->listeners, true);
    m->files = privileges_raise_files();
    if (!shared_open(&m->shared, workers, rows_a_worker(m, conf, workers))) {
        log_error("shared memory: %s", strerror(errno));
        return false;
    }
    if (monitor_session_limit(m) < conf->limits.sessions)
        log_warn("%u sessions are asked for, %zu descriptors a worker allow %llu", conf->limits.sessions, m->files,
                 (unsigned long long)monitor_session_limit(m));
    return true;
}

static void close_everything(struct monitor *m)
{
    struct listeners none = { 0, NULL };
    const int single[] = { m->admin, m->log, m->signals, m->devnull, m->upgrade.channel };

    tickets_close(m);
    listeners_commit(&m->listeners, &none);
    table_lock_drop(&m->lock);
    runtime_dir_close(&m->runtime);
    shared_close(&m->shared);
    blueprint_free(m->current);
    upgrade_forget(&m->upgrade.from);
    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++)
        if (single[i] >= 0)
            close(single[i]);
}

void monitor_say_ready(const struct monitor *m)
{
    const struct conf *conf = m->current->conf;
    char address[ADDR_TEXT], policies[64];

    if (conf->policy_count == 1)
        snprintf(policies, sizeof(policies), "policy %s", conf->policies[0].name);
    else
        snprintf(policies, sizeof(policies), "%zu policies", conf->policy_count);
    for (size_t i = 0; i < conf->listener_count; i++)
        log_info("ready: %s proxy on %s (%s)", mode_name(conf->listeners[i].mode),
                 addr_port_text(&conf->listeners[i].address, address), policies);
    if (conf->listener_count == 0)
        log_info("ready: no listeners");
    monitor_notify_ready(m);
}

void monitor_notify_ready(const struct monitor *m)
{
    char status[64];

    if (m->life != LIFE_SERVING)
        return;
    snprintf(status, sizeof(status), "Serving, generation %u", m->current->number);
    notify_ready(&m->notify, status);
}

void monitor_stop(struct monitor *m, int exit_code)
{
    upgrade_stop(m, true); /* even if there is nobody left here, another posternd may still drain */
    if (m->life >= LIFE_STOPPING)
        return;
    reload_cancel(m);
    if (m->life < LIFE_DRAINING)
        notify_stopping(&m->notify, 2 * STOP_MS);
    m->life = LIFE_STOPPING;
    m->life_deadline_ms = clock_ms() + STOP_MS;
    m->exit_code = exit_code;
    children_tell_workers(m, IPC_STOP, NULL, 0);
}

static void drain(struct monitor *m, enum ipc_type how)
{
    uint64_t ms = m->current->conf->timeouts.drain;
    struct listeners none = { 0, NULL };

    log_info("draining: streams may take %llu ms", (unsigned long long)ms);
    m->life = LIFE_DRAINING;
    m->life_deadline_ms = clock_ms() + ms + DRAIN_GRACE_MS;
    children_tell_workers(m, how, &ms, sizeof(ms));
    listeners_commit(&m->listeners, &none); /* each worker closes its own when its queue is empty */
    monitor_tell_status(m);
}

void monitor_drain(struct monitor *m)
{
    if (m->life >= LIFE_DRAINING)
        return;
    reload_cancel(m);
    upgrade_stop(m, false);
    notify_stopping(&m->notify, m->current->conf->timeouts.drain + DRAIN_GRACE_MS + 2 * STOP_MS);
    drain(m, follow_waits(m) ? IPC_HAND_OVER : IPC_DRAIN); /* where another one serves nobody is sent away */
}

void monitor_leave(struct monitor *m)
{
    child_tell(monitor_control(m), IPC_HAND_OVER, NULL, 0);
    child_tell(monitor_filter(m), IPC_HAND_OVER, NULL, 0);
    drain(m, IPC_HAND_OVER);
}

void monitor_reopen_log(struct monitor *m)
{
    char error[FILE_ERROR];

    if (!monitor_open_log(m, m->current->conf, error))
        log_error("the access log stays as it is: %s", error);
    else
        monitor_send_log(m);
    upgrade_reopened(m);
}

static void on_signal(struct monitor *m, uint32_t number)
{
    switch (number) {
    case SIGHUP:
        m->reload.wanted = true;
        break;
    case SIGUSR1:
        monitor_reopen_log(m);
        break;
    case SIGUSR2:
        upgrade_ask(m, false);
        break;
    case SIGTERM:
        if (m->life == LIFE_SERVING)
            monitor_drain(m);
        else
            monitor_stop(m, 0);
        break;
    case SIGINT:
        log_info("stopping");
        monitor_stop(m, 0);
        break;
    case SIGCHLD:
        children_reap(m);
        break;
    }
}

static void read_signals(struct monitor *m)
{
    struct signalfd_siginfo info;

    while (read(m->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        on_signal(m, info.ssi_signo);
}

/* The workers are gone. The rules go too, but only at a clean stop and only if they are meant to. */
static void flush(struct monitor *m)
{
    struct child *filter = monitor_filter(m);
    bool ours = m->upgrade.role != UPGRADE_LEFT && !follow_waits(m); /* not another's, who serves */
    uint32_t remove = filter->wanted && m->current->conf->packet_filter.open_on_exit && m->exit_code == 0 && ours;

    m->life = LIFE_FLUSHING;
    m->life_deadline_ms = clock_ms() + STOP_MS;
    if (remove && filter->pid == 0)
        child_start(m, filter); /* it died: its replacement removes them */
    child_tell(filter, IPC_STOP, &remove, sizeof(remove));
    child_tell(monitor_minter(m), IPC_STOP, NULL, 0);
    close(m->shared.alive[1]); /* without writers logger and control see the end */
    m->shared.alive[1] = -1;
}

/* Moves on in life; false: it is over. */
static bool live(struct monitor *m)
{
    bool late = m->life > LIFE_SERVING && clock_ms() >= m->life_deadline_ms;

    if (m->life == LIFE_STARTING && children_all_ready(m)) {
        m->life = LIFE_SERVING;
        upgrade_ready(m);
    }
    if (m->life == LIFE_DRAINING && late)
        monitor_stop(m, 0);
    else if (m->life == LIFE_STOPPING && late)
        children_kill_workers(m);
    else if (m->life == LIFE_FLUSHING && late)
        children_kill_all(m);
    if ((m->life == LIFE_DRAINING || m->life == LIFE_STOPPING) && children_workers_gone(m) &&
        (late || !child_is_dying(monitor_filter(m))))
        flush(m);
    return m->life != LIFE_FLUSHING || !children_all_gone(m) || upgrade_holds(m);
}

static int wait_ms(const struct monitor *m)
{
    uint64_t now = clock_ms(), soonest = now + WAIT_MAX_MS;

    if (m->life > LIFE_SERVING && m->life_deadline_ms < soonest && !children_all_gone(m))
        soonest = m->life_deadline_ms;
    if (m->reload.running && m->reload.deadline_ms < soonest)
        soonest = m->reload.deadline_ms;
    if (upgrade_tries(m) && m->upgrade.deadline_ms < soonest)
        soonest = m->upgrade.deadline_ms;
    if (m->notify.watchdog_ms != 0 && m->notify.next_ms < soonest)
        soonest = m->notify.next_ms;
    if (m->tickets.renew_ms < soonest)
        soonest = m->tickets.renew_ms;
    if (m->life == LIFE_SERVING && m->watch_ms < soonest)
        soonest = m->watch_ms;
    if (m->memory.look_ms < soonest)
        soonest = m->memory.look_ms;
    for (size_t i = 0; i < m->child_count; i++)
        if (m->children[i].restart_ms != 0 && m->children[i].restart_ms < soonest)
            soonest = m->children[i].restart_ms;
    return soonest > now ? (int)(soonest - now) : 0;
}

static void wait_for_events(struct monitor *m)
{
    struct pollfd fds[CHILDREN_MAX + 2] = { { .fd = m->signals, .events = POLLIN } };

    for (size_t i = 0; i < m->child_count; i++)
        fds[i + 1] = (struct pollfd){ .fd = m->children[i].ipc, .events = POLLIN };
    fds[m->child_count + 1] = (struct pollfd){ .fd = m->upgrade.channel, .events = POLLIN };
    if (poll(fds, m->child_count + 2, wait_ms(m)) < 0 && errno != EINTR)
        fatal("poll: %s", strerror(errno));
    clock_tick();
    for (size_t i = 0; i < m->child_count; i++)
        if (fds[i + 1].fd >= 0 && fds[i + 1].revents != 0)
            child_read(m, &m->children[i]);
    if (fds[m->child_count + 1].fd >= 0 && fds[m->child_count + 1].revents != 0)
        upgrade_heard(m);
    if (fds[0].revents != 0)
        read_signals(m);
}

/* Found now: once it is replaced, the kernel only knows where it was. A path that was given may be a link that will point
 * elsewhere. */
static const char *find_binary(char **argv)
{
    static char path[PATH_MAX];
    ssize_t len;

    if (strchr(argv[0], '/') != NULL)
        return argv[0];
    len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    return len > 0 ? path : NULL;
}

int monitor_main(const char *path, char **argv)
{
    static struct monitor m = { .admin = -1,
                                .log = -1,
                                .signals = -1,
                                .devnull = -1,
                                .lock.fd = -1,
                                .reload = { .log = -1, .lock.fd = -1 },
                                .upgrade = { .channel = -1 } };

    log_open("monitor", LOG_LEVEL_INFO);
    clock_tick();
    m.path = path;
    m.argv = argv;
    m.binary = find_binary(argv);
    m.started_us = clock_wall_us();
    m.runtime.folder = m.runtime.socket = -1;
    memset(&m.shared, 0xff, sizeof(m.shared));
    if (FAULT(C18_START, !h1_self_test()))
        fatal("the HTTP parser is not the strict one that Postern needs");
    notify_open(&m.notify);
    block_signals(&m);
    if (!upgrade_begin(&m) || !read_first_generation(&m) || !open_everything(&m)) {
        close_everything(&m);
        return 1;
    }
    m.log_level = m.current->conf->log_level;
    log_set_level(m.log_level);
    privileges_no_core();
    tickets_open(&m);
    children_start(&m);
    memory_open(&m);
    while (live(&m)) {
        wait_for_events(&m);
        if (m.life == LIFE_SERVING)
            children_restart(&m);
        watch_step(&m);
        reload_step(&m);
        upgrade_step(&m);
        if (!follow_waits(&m))
            notify_step(&m.notify);
        tickets_step(&m);
        certificates_step(&m);
        memory_step(&m);
    }
    if (m.exit_code == 0)
        log_info("stopped");
    close_everything(&m);
    return m.exit_code;
}
