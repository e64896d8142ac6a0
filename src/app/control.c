/* SPDX-License-Identifier: ISC */
/*
 * The control process: reads all shards, answers posternctl and the admin listener, and passes commands on to those who can carry
 * them out. It decides nothing and writes nothing but its answers. Like the logger it outlives the monitor until the last worker
 * has ended, so that a drain can be watched.
 */
#include "app/control.h"

#include "app/privileges.h"
#include "base/clock.h"

#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void map_shared(struct control *c)
{
    const struct process_args *a = c->args;
    struct view *v = &c->view;

    v->workers = a->workers;
    v->writers = a->writers;
    v->rows = a->rows;
    for (unsigned i = 0; i < a->writers; i++) {
        v->shards[i] = shard_map(a->shards[i], a->rows, false);
        if (v->shards[i] == NULL || !shared_map_ring(&v->rings[i], a->rings[i], false))
            fatal("shared memory cannot be mapped: %s", strerror(errno));
    }
    v->log_stats = shared_map_stats(a->log_stats, false);
    v->filter_stats = shared_map_filter(a->filter_stats, false);
    v->health = shared_map_health(a->health, false);
    if (v->log_stats == NULL || v->filter_stats == NULL || v->health == NULL)
        fatal("shared memory cannot be mapped: %s", strerror(errno));
}

/* The table of the posternd before this one. Without it everything else goes on. */
static void map_old(struct control *c)
{
    const struct process_args *a = c->args;
    struct view *v = &c->view;

    v->old.rows = a->old_rows;
    for (unsigned i = 0; i < a->old_writers; i++) {
        v->old.shards[i] = shard_map(a->old_shards[i], a->old_rows, false);
        close(a->old_shards[i]);
        if (v->old.shards[i] == NULL)
            log_error("the sessions that drain cannot be listed: %s", strerror(errno));
        else if (v->old.writers == i)
            v->old.writers++;
    }
}

static void unmap_old(struct control *c)
{
    for (unsigned i = 0; i < c->args->old_writers; i++)
        shard_unmap(c->view.old.shards[i]);
    memset(&c->view.old, 0, sizeof(c->view.old));
}

static void unmap_shared(struct control *c)
{
    unmap_old(c);
    for (unsigned i = 0; i < c->view.writers; i++) {
        shared_unmap_ring(&c->view.rings[i]);
        shard_unmap(c->view.shards[i]);
    }
    shared_unmap_stats((struct log_stats *)c->view.log_stats);
    shared_unmap_filter((struct filter_stats *)c->view.filter_stats);
    shared_unmap_health((struct health *)c->view.health);
}

static void peer_close(struct peer *p)
{
    if (p->event != NULL)
        event_free(p->event);
    if (p->fd >= 0)
        close(p->fd);
    p->event = NULL;
    p->fd = -1;
    if (p == &p->control->filter)
        clients_on_filter_gone(p->control);
    else
        clients_on_worker_gone(p->control, p->worker);
}

static void on_peer_message(struct peer *p, const struct ipc_message *m)
{
    bool filter = p == &p->control->filter;
    struct wire_killed killed;
    struct wire_answer answer;
    uint64_t request;

    if (filter && m->type == IPC_ANSWER && ipc_read(m, &answer, sizeof(answer)))
        clients_on_answer(p->control, &answer, ipc_rest(m, sizeof(answer)));
    else if (filter)
        log_warn("filter said what it may not say");
    else if (m->type == IPC_KILLED && ipc_read(m, &killed, sizeof(killed)))
        clients_on_killed(p->control, p->worker, &killed);
    else if (m->type == IPC_EXPLAINED && ipc_read(m, &request, sizeof(request)))
        clients_on_explained(p->control, request, ipc_rest(m, sizeof(request)));
}

static void on_peer(int fd, short what, void *arg)
{
    struct peer *p = arg;
    struct ipc_message *m = &p->control->message;
    enum ipc_result result;

    (void)what;
    while ((result = ipc_receive(fd, m)) == IPC_MESSAGE) {
        on_peer_message(p, m);
        ipc_release(m);
    }
    if (result == IPC_END)
        peer_close(p);
}

static struct peer *find_peer(struct control *c, const struct ipc_message *m)
{
    struct wire_peer who;

    if (!ipc_read(m, &who, sizeof(who)))
        return NULL;
    if (who.kind == PROCESS_FILTER)
        return &c->filter;
    return who.kind == PROCESS_WORKER && who.worker < c->args->workers ? &c->peers[who.worker] : NULL;
}

static void take_peer(struct control *c, struct ipc_message *m)
{
    struct peer *p = find_peer(c, m);

    if (p == NULL)
        return;
    if (p->fd >= 0)
        peer_close(p);
    p->fd = ipc_take_fd(m, 0);
    if (p->fd < 0)
        return;
    p->event = event_new(c->base, p->fd, EV_READ | EV_PERSIST, on_peer, p);
    if (p->event == NULL || event_add(p->event, NULL) < 0)
        peer_close(p);
}

static void commit(struct control *c)
{
    struct generation *g = generation_finish(&c->inbox);
    enum ipc_type type = g != NULL ? IPC_ACCEPTED : IPC_REFUSED;
    bool told = g != NULL ? ipc_send(c->monitor, type, &g->number, sizeof(g->number))
                          : ipc_send(c->monitor, type, c->inbox.error, strlen(c->inbox.error));

    if (!told)
        log_error("the monitor cannot be told: %s", strerror(errno));
    if (g == NULL)
        return;
    generation_unref(c->current);
    c->view.generation = c->current = g;
}

static void take_status(struct control *c, const struct ipc_message *m)
{
    if (!ipc_read(m, &c->view.status, sizeof(c->view.status)))
        log_error("the monitor's status cannot be read");
    else if (c->serves && c->view.status.predecessor == 0)
        unmap_old(c);
}

/* Another posternd served until now. */
static void serve(struct control *c)
{
    c->serves = true;
    if (!admin_open(c))
        log_error("the admin listener cannot be served");
}

static void on_monitor_message(struct control *c, struct ipc_message *m)
{
    uint32_t word;

    if (m->type == IPC_GENERATION)
        generation_begin(&c->inbox, m);
    else if (m->type == IPC_HOSTSETS)
        generation_hostsets(&c->inbox, m);
    else if (m->type == IPC_TLS_ENDS)
        generation_tls_ends(&c->inbox, m);
    else if (m->type == IPC_COMMIT)
        commit(c);
    else if (m->type == IPC_PEER)
        take_peer(c, m);
    else if (m->type == IPC_PING)
        process_answer_ping(c->monitor);
    else if (m->type == IPC_STATUS)
        take_status(c, m);
    else if (m->type == IPC_SERVE)
        serve(c);
    else if (m->type == IPC_HAND_OVER)
        admin_retire(c);
    else if (m->type == IPC_UPGRADED && ipc_read(m, &word, sizeof(word)))
        clients_on_upgraded(c, (int32_t)word, ipc_rest(m, sizeof(word)));
    else if (m->type == IPC_LOG_LEVEL)
        process_set_log_level(m);
    else if (m->type == IPC_RELOADED && ipc_read(m, &word, sizeof(word)))
        clients_on_reloaded(c, (enum reload_end)word, ipc_rest(m, sizeof(word)));
}

static void on_monitor(int fd, short what, void *arg)
{
    struct control *c = arg;
    enum ipc_result result;

    (void)what;
    while ((result = ipc_receive(fd, &c->message)) == IPC_MESSAGE) {
        on_monitor_message(c, &c->message);
        ipc_release(&c->message);
    }
    if (result != IPC_END)
        return;
    event_del(c->monitor_event);
    close(c->monitor);
    c->monitor = -1;
    c->view.status.draining = true;
    clients_on_reloaded(c, RELOAD_REFUSED, SPAN("the monitor is gone"));
    clients_on_upgraded(c, 0, SPAN("the monitor is gone"));
}

/* End-of-file: the last worker and the monitor have ended. */
static void on_alive(int fd, short what, void *arg)
{
    struct control *c = arg;

    (void)fd;
    (void)what;
    event_base_loopbreak(c->base);
}

static void on_tick(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    clients_tick(arg);
    admin_tick(arg);
}

static void start(struct control *c)
{
    struct timeval second = { 1, 0 };

    json_object_seed(0);
    map_shared(c);
    map_old(c);
    c->serves = !c->args->waits;
    c->monitor = c->args->ipc;
    c->next_request = (uint64_t)getpid() << 32;
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        c->peers[i] = (struct peer){ c, i, -1, NULL };
    c->filter = (struct peer){ c, c->args->workers, -1, NULL };
    c->base = event_base_new();
    if (c->base == NULL)
        fatal("no event loop: %s", strerror(errno));
    c->monitor_event = event_new(c->base, c->monitor, EV_READ | EV_PERSIST, on_monitor, c);
    c->alive_event = event_new(c->base, c->args->alive, EV_READ, on_alive, c);
    c->tick_event = event_new(c->base, -1, EV_PERSIST, on_tick, c);
    if (c->monitor_event == NULL || event_add(c->monitor_event, NULL) < 0 || c->alive_event == NULL ||
        event_add(c->alive_event, NULL) < 0 || c->tick_event == NULL || event_add(c->tick_event, &second) < 0 || !clients_open(c) ||
        (c->serves && !admin_open(c)))
        fatal("the control socket cannot be served");
    privileges_close_door(c->args->sandbox, PROCESS_CONTROL);
}

int control_main(const struct process_args *args)
{
    static struct control c;

    c.args = args;
    start(&c);
    event_base_dispatch(c.base);
    clients_close(&c);
    admin_close(&c);
    for (unsigned i = 0; i < args->workers; i++)
        peer_close(&c.peers[i]);
    peer_close(&c.filter);
    event_free(c.monitor_event);
    event_free(c.alive_event);
    event_free(c.tick_event);
    event_base_free(c.base);
    generation_unref(c.current);
    unmap_shared(&c);
    return 0;
}
