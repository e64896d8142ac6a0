/* SPDX-License-Identifier: ISC */
/*
 * The worker process: an event loop, an engine, and the messages that come in for it. Everything that needs a file, a name of a
 * user or any privilege was done by the monitor before the fork or comes as a descriptor; what libraries load lazily is touched
 * here before the first message is read, so that from "worker ready" on no file is opened.
 */
#include "app/process.h"

#include "app/generation_load.h"
#include "app/privileges.h"
#include "app/worker_explain.h"
#include "app/worker_filter.h"
#include "app/worker_minter.h"
#include "app/worker_tls.h"
#include "base/clock.h"
#include "net/loop.h"
#include "proto/ws_handshake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_PENDING 1024
#define EXPLAIN_MAX 16 /* dry runs at once */

/* One dry run on its way; `worker` NULL: free. */
struct asked {
    struct worker *worker;
    uint64_t request;
};

struct worker {
    const struct process_args *args;
    struct loop *loop;
    struct engine *engine;
    struct ring log;
    struct shard *shards[WORKERS_MAX];
    struct health *health;
    struct generation *current;
    struct generation_inbox inbox;
    int pending[LISTEN_PENDING]; /* listening sockets that came with the generation that is not committed yet */
    size_t pending_count;
    struct loop_source monitor_source, peer_source;
    int peer; /* control; -1: none */
    struct filter_link filter;
    struct minter_link minter;
    struct worker_tls tls;
    bool draining;
    bool alone; /* no other posternd serves, that could have taken over or would go on */
    int exit_code;
    struct asked asked[EXPLAIN_MAX];
    struct ipc_message message;
    struct explain_question question;
};

static void on_empty(void *arg)
{
    struct worker *w = arg;

    loop_stop(w->loop);
}

static void drain(struct worker *w, uint64_t ms, bool handed_over)
{
    if (w->draining)
        return;
    w->draining = true;
    if (handed_over)
        engine_hand_over(w->engine, ms, on_empty, w);
    else
        engine_drain(w->engine, ms, on_empty, w);
}

static void tell_monitor(struct worker *w, enum ipc_type type, const void *data, size_t len)
{
    if (!ipc_send(w->args->ipc, type, data, len))
        log_error("the monitor cannot be told: %s", strerror(errno));
}

static void hold_sockets(struct worker *w, struct ipc_message *m)
{
    for (size_t i = 0; i < m->fd_count && w->pending_count < LISTEN_PENDING; i++)
        w->pending[w->pending_count++] = ipc_take_fd(m, i);
}

/* Sockets that came with a generation that was refused are served under the old one, if there is one. */
static void listen_on_pending(struct worker *w)
{
    for (size_t i = 0; i < w->pending_count; i++)
        if (!engine_listen(w->engine, w->pending[i]))
            log_error("a listening socket cannot be served");
    w->pending_count = 0;
}

static void unlisten(struct worker *w, const struct ipc_message *m)
{
    struct addr address;

    for (size_t at = 0; at + sizeof(address) <= m->len; at += sizeof(address)) {
        memcpy(&address, m->data + at, sizeof(address));
        engine_unlisten(w->engine, &address);
    }
}

/* Takes up the generation that was sent; without any there is nothing to serve and the process ends. */
static void commit(struct worker *w)
{
    struct generation *g = generation_finish(&w->inbox);

    if (g != NULL && !worker_tls_make(&w->tls, g, w->current, w->inbox.error)) {
        generation_unref(g);
        g = NULL;
    }
    if (g == NULL) {
        tell_monitor(w, IPC_REFUSED, w->inbox.error, strlen(w->inbox.error));
        if (w->current != NULL)
            listen_on_pending(w);
        else {
            w->exit_code = 1;
            loop_stop(w->loop);
        }
        return;
    }
    if (w->current == NULL)
        log_debug("worker ready");
    engine_set_generation(w->engine, g);
    generation_unref(w->current);
    w->current = g;
    listen_on_pending(w);
    tell_monitor(w, IPC_ACCEPTED, &g->number, sizeof(g->number));
}

static void send_answer(struct worker *w, uint64_t request, json_t *answer)
{
    char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;

    if (text != NULL && w->peer >= 0 && !ipc_send_two(w->peer, IPC_EXPLAINED, &request, sizeof(request), span_str(text)))
        log_error("control cannot be answered: %s", strerror(errno));
    free(text);
    json_decref(answer);
}

static void send_fault(struct worker *w, uint64_t request, const char *fault)
{
    send_answer(w, request, json_pack("{s:s}", "error", fault));
}

static void on_explained(const struct explain_answer *answer, void *arg)
{
    struct asked *asked = arg;
    struct worker *w = asked->worker;

    asked->worker = NULL;
    send_answer(w, asked->request, explain_write(answer));
}

static void explain(struct worker *w, uint64_t request, const json_t *object)
{
    const char *fault = explain_read(&w->question, object);
    struct asked *asked = w->asked;

    while (asked < w->asked + EXPLAIN_MAX && asked->worker != NULL)
        asked++;
    if (asked == w->asked + EXPLAIN_MAX)
        fault = "too many questions at once";
    if (fault == NULL && w->question.query.interface != NULL && !engine_has_interface(w->engine, w->question.query.interface))
        fault = "there is no interface of that name";
    if (fault == NULL && w->current == NULL)
        fault = "this worker is not ready";
    if (fault != NULL) {
        send_fault(w, request, fault);
        return;
    }
    *asked = (struct asked){ w, request };
    engine_explain(w->engine, &w->question.query, on_explained, asked);
}

static void on_explain(struct worker *w, const struct ipc_message *m)
{
    struct span text = ipc_rest(m, sizeof(uint64_t));
    uint64_t request;
    json_t *object;

    if (!ipc_read(m, &request, sizeof(request)))
        return;
    object = json_loadb(text.at != NULL ? text.at : "", text.len, 0, NULL);
    if (json_is_object(object))
        explain(w, request, object);
    else
        send_fault(w, request, "the question is not a JSON object");
    json_decref(object);
}

/* The sessions that are named behind the number of the request: how many there were. */
static uint64_t kill_named(struct worker *w, const struct ipc_message *m)
{
    uint64_t number, killed = 0;

    for (size_t at = sizeof(number); at + sizeof(number) <= m->len; at += sizeof(number)) {
        memcpy(&number, m->data + at, sizeof(number));
        killed += engine_kill(w->engine, number);
    }
    return killed;
}

static void on_kill(struct worker *w, const struct ipc_message *m)
{
    struct wire_killed answer = { 0 };

    if (!ipc_read(m, &answer.request, sizeof(answer.request)))
        return;
    answer.killed = kill_named(w, m);
    if (!ipc_send(w->peer, IPC_KILLED, &answer, sizeof(answer)))
        log_error("control cannot be answered: %s", strerror(errno));
}

static void close_peer(struct worker *w)
{
    loop_remove(w->loop, &w->peer_source);
    if (w->peer >= 0)
        close(w->peer);
    w->peer = -1;
}

static void on_peer(void *arg, unsigned what)
{
    struct worker *w = arg;
    enum ipc_result result;

    (void)what;
    while ((result = ipc_receive(w->peer, &w->message)) == IPC_MESSAGE) {
        if (w->message.type == IPC_KILL)
            on_kill(w, &w->message);
        else if (w->message.type == IPC_EXPLAIN)
            on_explain(w, &w->message);
        ipc_release(&w->message);
    }
    if (result == IPC_END)
        close_peer(w);
}

static void take_peer(struct worker *w, struct ipc_message *m)
{
    close_peer(w);
    w->peer = ipc_take_fd(m, 0);
    if (w->peer < 0)
        return;
    if (!loop_add(w->loop, &w->peer_source, w->peer, LOOP_READ))
        close_peer(w);
}

static void on_message(struct worker *w, struct ipc_message *m)
{
    struct pressure pressure;
    struct wire_peer peer;
    uint64_t ms;

    if (m->type == IPC_GENERATION)
        generation_begin(&w->inbox, m);
    else if (m->type == IPC_HOSTSETS)
        generation_hostsets(&w->inbox, m);
    else if (m->type == IPC_TLS_FILES)
        generation_tls_files(&w->inbox, m);
    else if (m->type == IPC_TICKETS)
        worker_tls_tickets(&w->tls, m);
    else if (m->type == IPC_KEYLOG)
        worker_tls_keylog(&w->tls, m);
    else if (m->type == IPC_LISTEN)
        hold_sockets(w, m);
    else if (m->type == IPC_UNLISTEN)
        unlisten(w, m);
    else if (m->type == IPC_COMMIT)
        commit(w);
    else if (m->type == IPC_PEER && ipc_read(m, &peer, sizeof(peer)) && peer.kind == PROCESS_CONTROL)
        take_peer(w, m);
    else if (m->type == IPC_PEER && ipc_read(m, &peer, sizeof(peer)) && peer.kind == PROCESS_FILTER)
        filter_link_take(&w->filter, ipc_take_fd(m, 0));
    else if (m->type == IPC_PEER && ipc_read(m, &peer, sizeof(peer)) && peer.kind == PROCESS_MINTER)
        minter_link_take(&w->minter, ipc_take_fd(m, 0));
    else if (m->type == IPC_PING)
        process_answer_ping(w->args->ipc);
    else if (m->type == IPC_LOG_LEVEL)
        process_set_log_level(m);
    else if (m->type == IPC_TRY)
        listen_on_pending(w);
    else if (m->type == IPC_SERVE)
        w->alone = true;
    else if ((m->type == IPC_DRAIN || m->type == IPC_HAND_OVER) && ipc_read(m, &ms, sizeof(ms)))
        drain(w, ms, m->type == IPC_HAND_OVER);
    else if (m->type == IPC_PRESSURE && ipc_read(m, &pressure, sizeof(pressure)))
        engine_set_pressure(w->engine, &pressure);
    else if (m->type == IPC_KILL)
        (void)kill_named(w, m);
    else if (m->type == IPC_STOP)
        loop_stop(w->loop);
}

static void on_monitor(void *arg, unsigned what)
{
    struct worker *w = arg;
    enum ipc_result result;

    (void)what;
    while ((result = ipc_receive(w->args->ipc, &w->message)) == IPC_MESSAGE) {
        on_message(w, &w->message);
        ipc_release(&w->message);
    }
    if (result != IPC_END)
        return;
    loop_remove(w->loop, &w->monitor_source);
    log_error("the monitor is gone: draining");
    drain(w, w->current != NULL ? w->current->conf->timeouts.drain : 0, !w->alone);
}

/* Maps what is shared and gives the descriptors back: sessions need them. */
static void map_shared(struct worker *w)
{
    const struct process_args *a = w->args;

    for (unsigned i = 0; i < a->workers; i++) {
        w->shards[i] = shard_map(a->shards[i], a->rows, i == a->worker);
        if (w->shards[i] == NULL)
            fatal("the shard of worker %u cannot be mapped: %s", i, strerror(errno));
        close(a->shards[i]);
    }
    if (!shared_map_ring(&w->log, a->rings[a->worker], true))
        fatal("the log ring cannot be mapped: %s", strerror(errno));
    close(a->rings[a->worker]);
    w->health = shared_map_health(a->health, true);
    if (w->health == NULL)
        fatal("the health of upstreams cannot be mapped: %s", strerror(errno));
    close(a->health);
}

/* The seed of jansson's hashes comes from a file, the digests of OpenSSL from a provider; both are loaded when first used. */
static void touch_lazy_libraries(void)
{
    char accept[WS_ACCEPT_TEXT + 1], text[64];
    time_t now = time(NULL);
    struct tm utc;

    json_object_seed(0);
    ws_accept("AAAAAAAAAAAAAAAAAAAAAA==", accept);
    (void)strftime(text, sizeof(text), "%c", gmtime_r(&now, &utc));
}

static void start(struct worker *w)
{
    const struct process_args *a = w->args;
    uint64_t opened;

    touch_lazy_libraries();
    worker_tls_start(&w->tls);
    map_shared(w);
    w->loop = loop_new();
    if (w->loop == NULL)
        fatal("no event loop: %s", strerror(errno));
    filter_link_init(&w->filter, w->loop, w->shards[a->worker], &w->message);
    minter_link_init(&w->minter, w->loop, &w->message);
    opened = count_read(w->shards[a->worker], COUNT_SESSIONS_OPENED);
    w->engine = engine_new(&(struct engine_args){ .loop = w->loop,
                                                  .worker = a->worker,
                                                  .workers = a->workers,
                                                  .shards = w->shards,
                                                  .log = &w->log,
                                                  .log_wake = a->log_wake,
                                                  .health = w->health,
                                                  .first_number = a->first_number + (opened > 0 ? opened + 2 : 1),
                                                  .filter = filter_link_calls(&w->filter),
                                                  .minter = minter_link_calls(&w->minter) });
    if (w->engine == NULL)
        fatal("no engine: %s", strerror(errno));
    w->filter.engine = w->minter.engine = w->engine;
    w->peer_source = (struct loop_source){ .fn = on_peer, .arg = w, .fd = -1 };
    w->monitor_source = (struct loop_source){ .fn = on_monitor, .arg = w, .fd = -1 };
    if (!loop_add(w->loop, &w->monitor_source, a->ipc, LOOP_READ))
        fatal("the monitor cannot be listened to");
    privileges_close_door(a->sandbox, PROCESS_WORKER);
}

int worker_main(const struct process_args *args)
{
    static struct worker w = { .peer = -1 };

    w.args = args;
    w.alone = !args->waits;
    start(&w);
    loop_run(w.loop);
    filter_link_close(&w.filter);
    minter_link_close(&w.minter);
    engine_free(w.engine);
    close_peer(&w);
    loop_remove(w.loop, &w.monitor_source);
    loop_free(w.loop);
    generation_unref(w.current);
    worker_tls_end(&w.tls);
    for (unsigned i = 0; i < args->workers; i++)
        shard_unmap(w.shards[i]);
    shared_unmap_ring(&w.log);
    shared_unmap_health(w.health);
    return w.exit_code;
}
