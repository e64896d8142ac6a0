/* SPDX-License-Identifier: ISC */
/*
 * Reload: everything that can fail is done first (files, the access log, new listening sockets); then the minter is asked whether
 * the key of inspection is good, if there is one, and then filter, if there is a packet filter: it commits the new ruleset or says
 * why the kernel does not take it. Only then is anything else changed. So what is refused has changed nothing anywhere. A filter
 * process that dies with the question, or does not answer, comes back with what is in force. A packet filter that is no longer
 * configured is removed last.
 *
 * Workers are told which addresses go before they get the new generation, so that what is queued there is accepted under the old
 * one. A reload is over when everybody has answered or died; what was wrong goes to the log and to whoever asked.
 */
#include "app/monitor.h"

#include "app/generation_tls.h"

#include "base/clock.h"
#include "policy/zones.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MS 10000

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool open_log(const struct conf *conf, int *out, char *error)
{
    *out = conf->log_access != NULL ? file_open_log(conf->log_access, error) : -1;
    return *out >= 0 || conf->log_access == NULL || conf_blame(conf, conf->lines.log_access, "log.access", error, FILE_ERROR);
}

static void replace_log(struct monitor *m, int fd)
{
    if (m->log >= 0)
        close(m->log);
    m->log = fd;
}

bool monitor_open_log(struct monitor *m, const struct conf *conf, char *error)
{
    int fd;

    if (!open_log(conf, &fd, error))
        return false;
    replace_log(m, fd);
    return true;
}

bool monitor_may_filter(const struct conf *conf, char *error, size_t size)
{
    if (conf->packet_filter.line == 0 || geteuid() == 0)
        return true;
    snprintf(error, size, "%s:%u: packet_filter: posternd must be started by root to program the packet filter", conf->file,
             conf->packet_filter.line);
    return false;
}

void monitor_send_log(struct monitor *m)
{
    struct child *logger = monitor_logger(m);

    if (logger->ipc >= 0 && !ipc_send_fds(logger->ipc, IPC_LOG_FILE, NULL, 0, &m->log, m->log >= 0 ? 1 : 0))
        log_error("the logger cannot be given its file: %s", strerror(errno));
}

/* Keys that are read once, when posternd starts. */
static void warn_fixed(struct monitor *m, const struct conf *now)
{
    const struct conf *was = m->current->conf;

    if (now->workers != was->workers)
        fprintf(m->reload.report, "%s: workers: takes effect when posternd is started again\n", now->file);
    if (!same_text(now->user, was->user))
        fprintf(m->reload.report, "%s: user: takes effect when posternd is started again\n", now->file);
    if (now->sandbox != was->sandbox)
        fprintf(m->reload.report, "%s: sandbox: takes effect when posternd is started again\n", now->file);
    if (!same_text(now->runtime_dir, was->runtime_dir))
        fprintf(m->reload.report, "%s: runtime_dir: takes effect when posternd is started again\n", now->file);
    if (!addr_eq(&now->admin, &was->admin))
        fprintf(m->reload.report, "%s: admin.address: takes effect when posternd is started again\n", now->file);
    if (now->limits.sessions > monitor_session_limit(m))
        fprintf(m->reload.report, "%s: limits.sessions: %u sessions are asked for, %llu is what there is room for\n", now->file,
                now->limits.sessions, (unsigned long long)monitor_session_limit(m));
}

static void send_difference(const struct monitor *m, const struct child *c, enum ipc_type type, const struct listeners *from,
                            const struct listeners *without)
{
    if (!child_send_listeners(m, c, type, from, without))
        log_error("worker %u cannot be told its listeners: %s", c->index, strerror(errno));
}

/* Sends what is new to one child, and expects its answer. */
static void tell_child(struct monitor *m, struct child *c, const struct listeners *old)
{
    bool worker = c->kind == PROCESS_WORKER;

    if (c->ipc < 0 || c->kind == PROCESS_LOGGER || c->kind == PROCESS_FILTER || c->kind == PROCESS_MINTER)
        return;
    if (worker)
        send_difference(m, c, IPC_UNLISTEN, old, &m->listeners);
    c->awaited = monitor_send_generation(m, m->current, c);
    if (worker && c->awaited)
        send_difference(m, c, IPC_LISTEN, &m->listeners, old);
    if (c->awaited && ipc_send(c->ipc, IPC_COMMIT, &m->current->number, sizeof(m->current->number)))
        return;
    c->awaited = false;
    reload_answer(m, c, strerror(errno));
}

/* The packet filter is no longer configured: its rules go, and filter with them. */
static void dismiss_filter(struct monitor *m)
{
    struct child *filter = monitor_filter(m);
    uint32_t remove = true;

    if (!filter->wanted)
        return;
    filter->wanted = false;
    filter->awaited = filter->ipc >= 0;
    if (filter->awaited && ipc_send(filter->ipc, IPC_STOP, &remove, sizeof(remove)))
        return;
    reload_answer(m, filter, "it cannot be told to remove the rules");
}

/* What was prepared comes into force. Nothing can fail any more but a child. */
static void adopt(struct monitor *m)
{
    struct listeners old = m->listeners;
    struct reload *r = &m->reload;

    listeners_want_interfaces(&r->listeners, zones_need_interfaces(r->next->conf));
    blueprint_free(m->current);
    m->current = r->next;
    m->listeners = r->listeners;
    replace_log(m, r->log);
    r->next = NULL;
    r->log = -1;
    minter_settle(m); /* before any worker can ask */
    for (size_t i = 0; i < m->child_count; i++)
        tell_child(m, &m->children[i], &old);
    listeners_commit(&old, &m->listeners);
    monitor_send_log(m);
    monitor_set_log_level(m, m->current->conf->log_level);
    if (m->current->conf->packet_filter.line == 0)
        dismiss_filter(m);
    else {
        monitor_filter(m)->wanted = true;
        if (!table_lock_holds(&m->lock, m->current->conf->packet_filter.table))
            table_lock_move(&m->lock, &r->lock);
    }
}

/* Forgets what was prepared. */
static void refuse(struct monitor *m, const char *why)
{
    struct reload *r = &m->reload;

    fprintf(r->report, "%s\n", why);
    listeners_cancel(&r->listeners, &m->listeners);
    table_lock_drop(&r->lock);
    if (r->log >= 0)
        close(r->log);
    blueprint_free(r->next);
    r->next = NULL;
    r->log = -1;
    r->end = RELOAD_REFUSED;
    monitor_filter(m)->awaited = false;
    minter_settle(m);
}

static void refuse_filter(struct monitor *m, const char *why)
{
    const struct conf *conf = m->reload.next->conf;
    char text[FILE_ERROR];

    snprintf(text, sizeof(text), "%s:%u: packet_filter: %s", conf->file, conf->packet_filter.line, why);
    refuse(m, text);
}

/* One that does not run is started with the question. */
static void ask_filter(struct monitor *m)
{
    struct child *filter = monitor_filter(m);
    const struct blueprint *b = m->reload.next;

    if (filter->pid == 0)
        child_start(m, filter);
    else if (!blueprint_send(b, filter->ipc) || !ipc_send(filter->ipc, IPC_COMMIT, &b->number, sizeof(b->number)))
        kill(filter->pid, SIGKILL);
    filter->awaited = filter->pid != 0;
    if (!filter->awaited)
        refuse_filter(m, "the filter process cannot be started");
}

/* Those who must agree, one after the other; then it comes into force. */
static void ask(struct monitor *m)
{
    struct reload *r = &m->reload;

    r->deadline_ms = clock_ms() + ANSWER_MS;
    if (!r->minter_agreed && minter_is_wanted(r->next->conf)) {
        if (!minter_ask(m))
            refuse(m, "the minter cannot be started");
    } else if (r->next->conf->packet_filter.line != 0)
        ask_filter(m);
    else {
        if (monitor_filter(m)->wanted && monitor_filter(m)->pid == 0)
            child_start(m, monitor_filter(m)); /* it died: its replacement removes the rules */
        adopt(m);
    }
}

/* A table that is new to us must be nobody else's. */
static bool lock_table(struct monitor *m, const struct conf *conf)
{
    const struct conf_packet_filter *filter = &conf->packet_filter;
    char error[TABLE_LOCK_ERROR];
    bool good;

    if (filter->line == 0 || table_lock_holds(&m->lock, filter->table))
        return true;
    good = table_lock_take(&m->reload.lock, filter->table, error);
    if (error[0] != '\0')
        fprintf(m->reload.report, "%s:%u: packet_filter.table: %s\n", conf->file, filter->line, error);
    return good;
}

/* Everything that needs files and sockets, changing nothing yet. */
static bool prepare(struct monitor *m)
{
    uint16_t number = m->current->number == UINT16_MAX ? 1 : (uint16_t)(m->current->number + 1);
    struct reload *r = &m->reload;
    struct blueprint *b = blueprint_make(m->path, number, m->current->instance, m->current, r->report, r->report);
    char error[FILE_ERROR];

    if (b == NULL)
        return false;
    if (!monitor_may_filter(b->conf, error, sizeof(error)))
        fprintf(r->report, "%s\n", error);
    else if (!blueprint_open_keylog(b, error) ||
             !listeners_prepare(&r->listeners, b->conf, &m->listeners, m->shared.workers, error, sizeof(error)))
        fprintf(r->report, "%s\n", error);
    else if (!open_log(b->conf, &r->log, error)) {
        fprintf(r->report, "%s\n", error);
        listeners_cancel(&r->listeners, &m->listeners);
    } else if (!lock_table(m, b->conf)) {
        listeners_cancel(&r->listeners, &m->listeners);
        if (r->log >= 0)
            close(r->log);
        r->log = -1;
    } else {
        warn_fixed(m, b->conf);
        r->next = b;
        return true;
    }
    blueprint_free(b);
    return false;
}

/* Without memory there may be no text. */
static void tell_control(struct monitor *m, struct span text)
{
    uint32_t end = m->reload.end;

    text.len = text.len < IPC_BYTES - sizeof(end) ? text.len : IPC_BYTES - sizeof(end);
    if (m->reload.for_control && monitor_control(m)->ipc >= 0 &&
        !ipc_send_two(monitor_control(m)->ipc, IPC_RELOADED, &end, sizeof(end), text))
        log_error("control cannot be told of the reload: %s", strerror(errno));
    m->reload.for_control = false;
}

static void begin(struct monitor *m)
{
    struct reload *r = &m->reload;

    r->for_control = r->wanted_by_control;
    r->wanted = r->wanted_by_control = false;
    r->report = open_memstream(&r->text, &r->text_len);
    if (r->report == NULL) {
        r->end = RELOAD_REFUSED;
        log_error("reload: %s", strerror(errno));
        tell_control(m, SPAN("no memory\n"));
        return;
    }
    r->running = true;
    notify_reloading(&m->notify);
    r->end = RELOAD_DONE;
    r->minter_agreed = false;
    if (!prepare(m))
        r->end = RELOAD_REFUSED;
    else
        ask(m);
}

void monitor_log_lines(const char *before, const char *text, bool failed)
{
    for (const char *line = text != NULL ? text : "no memory\n"; *line != '\0';) {
        int len = (int)strcspn(line, "\n");

        if (failed)
            log_error("%s%.*s", before, len, line);
        else
            log_warn("%s%.*s", before, len, line);
        line += len + (line[len] == '\n');
    }
}

static void finish(struct monitor *m)
{
    struct reload *r = &m->reload;

    if (r->end == RELOAD_DONE && m->current->conf->packet_filter.line == 0)
        table_lock_drop(&m->lock); /* the rules are gone */
    fclose(r->report);
    monitor_log_lines("reload: ", r->text, r->end != RELOAD_DONE);
    if (r->end == RELOAD_REFUSED)
        log_error("reload failed: generation %u stays", m->current->number);
    else if (r->end == RELOAD_PARTIAL)
        log_error("reload failed: generation %u is in force, but not everywhere", m->current->number);
    else
        log_info("reloaded: generation %u", m->current->number);
    tell_control(m, span_of(r->text, r->text != NULL ? r->text_len : 0));
    free(r->text);
    r->text = NULL;
    r->running = false;
    monitor_notify_ready(m);
    monitor_tell_status(m);
}

void reload_answer(struct monitor *m, struct child *c, const char *error)
{
    char name[32];

    c->awaited = false;
    if (!m->reload.running)
        return;
    if (m->reload.next != NULL && error == NULL && c->kind == PROCESS_MINTER) {
        m->reload.minter_agreed = true;
        ask(m);
    } else if (m->reload.next != NULL && error == NULL) {
        m->reload.deadline_ms = clock_ms() + ANSWER_MS;
        adopt(m);
    } else if (m->reload.next != NULL && c->kind == PROCESS_FILTER)
        refuse_filter(m, error);
    else if (m->reload.next != NULL)
        refuse(m, error);
    else if (error != NULL) {
        fprintf(m->reload.report, "%s: %s\n", child_name(c, name), error);
        m->reload.end = RELOAD_PARTIAL;
    }
}

void reload_child_died(struct monitor *m, struct child *c, bool clean)
{
    bool filter = c->kind == PROCESS_FILTER;

    if (c->kind == PROCESS_MINTER && m->reload.next != NULL)
        reload_answer(m, c, "the minter died");
    else if (filter && m->reload.next != NULL)
        reload_answer(m, c, "the filter process died");
    else if (filter && !c->wanted && !clean)
        reload_answer(m, c, "the rules could not be removed");
    else
        reload_answer(m, c, NULL); /* its replacement gets the new generation */
}

void reload_cancel(struct monitor *m)
{
    if (m->reload.next != NULL)
        refuse(m, "posternd is stopping");
}

/* true if somebody has still to answer; who is too late counts as failed. */
static bool anybody_awaited(struct monitor *m)
{
    bool late = clock_ms() >= m->reload.deadline_ms, awaited = false;

    for (size_t i = 0; i < m->child_count; i++) {
        if (!m->children[i].awaited)
            continue;
        if (late && (m->children[i].kind == PROCESS_FILTER || m->children[i].kind == PROCESS_MINTER) && m->children[i].pid > 0)
            kill(m->children[i].pid, SIGKILL); /* it must not take up what was refused */
        if (late)
            reload_answer(m, &m->children[i], "no answer in time");
        else
            awaited = true;
    }
    return awaited;
}

void reload_step(struct monitor *m)
{
    if (m->reload.running && !anybody_awaited(m))
        finish(m);
    if (!m->reload.running && m->reload.wanted && m->life == LIFE_SERVING && upgrade_lets_reload(m) &&
        !child_is_dying(monitor_filter(m)) && !child_is_dying(monitor_minter(m))) {
        begin(m);
        if (m->reload.running && !anybody_awaited(m))
            finish(m);
    }
}
