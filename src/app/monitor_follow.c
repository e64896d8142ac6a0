/* SPDX-License-Identifier: ISC */
/*
 * An upgrade, seen from the posternd that follows. It takes up what was passed on, prepares everything, and says that it is ready;
 * at GO its workers accept from the sockets of both. When each of them has shown that its loop turns with them, it says that it
 * serves; when it is told to take the rest, what there may be only one of changes hands: the control socket, the file with the
 * process id, the admin listener, the flows of the packet filter, the service manager's attention. Until then the old one serves,
 * too, and goes on if this one ends.
 */
#include "app/monitor.h"

#include "base/clock.h"
#include "policy/zones.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define NUMBER_STEP 10000000u /* numbers of sessions begin anew at a multiple of it, at least half of it above all before */

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

/* A worker answers the watchdog's question only behind what it was told before. */
static void send_sockets(struct monitor *m)
{
    const struct listeners none = { 0, NULL };

    for (unsigned i = 0; i < m->shared.workers; i++) {
        struct child *c = monitor_worker(m, i);

        if (c->ipc >= 0 && !child_send_listeners(m, c, IPC_LISTEN, &m->listeners, &none))
            log_error("worker %u cannot be told its listeners: %s", i, strerror(errno));
    }
}

/* What the old one's workers need of the sockets stays as it is. */
static void accept_beside(struct monitor *m)
{
    char error[FILE_ERROR];

    m->upgrade.role = UPGRADE_TRYING;
    if (!listeners_listen(&m->listeners, error, sizeof(error)))
        log_error("%s", error);
    if (zones_need_interfaces(m->current->conf))
        listeners_want_interfaces(&m->listeners, true);
    listeners_steer(&m->listeners, m->shared.workers);
    send_sockets(m);
    children_tell_workers(m, IPC_TRY, NULL, 0);
    for (unsigned i = 0; i < m->shared.workers; i++)
        watch_ask(monitor_worker(m, i));
}

/* The rest. */
static void take(struct monitor *m)
{
    m->upgrade.role = UPGRADE_FOLLOWING;
    listeners_want_interfaces(&m->listeners, zones_need_interfaces(m->current->conf));
    listeners_settle(&m->listeners);
    children_tell_workers(m, IPC_SERVE, NULL, 0);
    child_tell(monitor_control(m), IPC_SERVE, NULL, 0);
    child_tell(monitor_filter(m), IPC_SERVE, NULL, 0);
    if (!runtime_dir_publish(&m->runtime))
        log_error("%s: the control socket or the file with the process id is not in its place: %s", m->runtime.path,
                  strerror(errno));
    log_info("upgrade: taken over from process %d", (int)m->upgrade.pid);
    monitor_say_ready(m);
    monitor_tell_status(m);
}

static bool all_serve(const struct monitor *m)
{
    for (size_t i = 0; i < m->child_count; i++)
        if (m->children[i].wanted && (!m->children[i].ready || m->children[i].silent > 0))
            return false;
    return true;
}

void follow_step(struct monitor *m)
{
    struct upgrade *u = &m->upgrade;

    if (u->role == UPGRADE_TRYING && !u->told && m->life == LIFE_SERVING && all_serve(m))
        u->told = upgrade_say(u->channel, UPGRADE_SERVES, "");
}

void follow_heard(struct monitor *m, enum upgrade_word word, const char *text)
{
    enum upgrade_role role = m->upgrade.role;

    if (role == UPGRADE_WAITING && word == UPGRADE_TICKETS)
        tickets_take(m, text);
    else if (role == UPGRADE_WAITING && word == UPGRADE_GO)
        accept_beside(m);
    else if (role == UPGRADE_TRYING && word == UPGRADE_TAKE)
        take(m);
}

void follow_gone(struct monitor *m)
{
    struct upgrade *u = &m->upgrade;

    if (follow_waits(m))
        log_error("the posternd that was to be replaced is gone");
    else if (u->role == UPGRADE_FOLLOWING)
        log_info("process %d has drained", (int)u->pid);
    else
        return;
    if (u->role == UPGRADE_WAITING) {
        monitor_stop(m, 1);
        return;
    }
    if (u->role == UPGRADE_TRYING)
        take(m); /* nobody else serves any more */
    upgrade_forget(&u->from);
    upgrade_over(u);
    monitor_tell_status(m);
}

bool follow_waits(const struct monitor *m)
{
    return m->upgrade.role == UPGRADE_WAITING || m->upgrade.role == UPGRADE_TRYING;
}
