/* SPDX-License-Identifier: ISC */
/*
 * Accepting: the listening sockets of a worker, who is let in, and where an intercepted client wanted to go. Limits are checked
 * before a byte is read: a client over its limit is only told so, and when even that would need more descriptors than are left,
 * accepting pauses and the backlog waits. What an intercepted client dialled is asked for once, here; a flow of which nobody knows
 * it, or that dialled ourselves, ends without a byte.
 */
#include "session/state.h"

#include <stdlib.h>
#include <unistd.h>

void accept_resume(struct engine *e)
{
    if (!e->paused || e->open >= e->max)
        return;
    e->paused = false;
    for (struct listening *l = e->listening; l != NULL; l = l->next)
        listener_resume(l->listener);
}

static void pause_accepting(struct engine *e)
{
    if (e->paused)
        return;
    e->paused = true;
    count_add(e->shard, COUNT_ACCEPT_PAUSES, 1);
    for (struct listening *l = e->listening; l != NULL; l = l->next)
        listener_pause(l->listener);
}

void accept_end(struct engine *e)
{
    while (e->listening != NULL) {
        struct listening *l = e->listening;

        e->listening = l->next;
        listener_free(l->listener);
        free(l);
    }
}

static uint64_t sum_open(const struct engine *e)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < e->args.workers; i++)
        sum += count_read(e->args.shards[i], COUNT_SESSIONS_OPEN);
    return sum;
}

static uint64_t sum_of_client(const struct engine *e, const struct addr *client)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < e->args.workers; i++)
        sum += clients_read(e->args.shards[i], client);
    return sum;
}

/* Admission, before any byte is read. */
static enum reason admit(const struct engine *e, const struct addr *client)
{
    const struct conf_limits *limits = &e->generation->conf->limits;

    if (e->draining)
        return R_DRAINED;
    if (sum_open(e) >= limits->sessions || sum_of_client(e, client) >= limits->sessions_per_client)
        return R_OVERLOAD;
    return R_NONE;
}

/* Of an intercepted flow it must be known where to; and what was dialled must not be ourselves. */
static enum reason admit_original(struct engine *e, const struct addr *original, enum original found)
{
    struct judge_context context = engine_judge_context(e, e->generation);

    if (found != ORIGINAL_FOUND)
        return R_NO_ORIGINAL_DESTINATION;
    return judge_is_listener(&context, original) ? R_LOOP : R_NONE;
}

/* `arrival` without what admission says. */
static void take(struct engine *e, struct arrival *arrival, enum original found)
{
    const struct conf_listener *listener = &e->generation->conf->listeners[arrival->listener];
    enum reason why = listener->mode == MODE_TRANSPARENT ? admit_original(e, &arrival->destination, found) : R_NONE;

    arrival->refused = why != R_NONE ? why : admit(e, &arrival->client);
    if (session_open(e, arrival) == NULL) {
        count_add(e->shard, COUNT_DENIED, 1);
        count_reason(e->shard, R_OVERLOAD);
        log_remote("a connection could not be taken: no room");
    }
    pool_limit(e->pool, engine_spare_descriptors(e));
    if (e->open >= e->max)
        pause_accepting(e);
}

void engine_accept(struct engine *e, int fd, const struct addr *client, const struct addr *listener, const struct addr *original,
                   enum original found)
{
    int index = e->generation != NULL ? engine_find_listener(e->generation->conf, listener) : -1;
    struct arrival arrival = { .fd = fd, .listener = index, .client = *client, .destination = *original };

    if (index < 0)
        close(fd);
    else
        take(e, &arrival, found);
}

/* What the client dialled. Nobody asks the kernel for what a listener's own address says. */
static enum original find_destination(const struct engine *e, const struct conf_listener *l, struct arrival *arrival)
{
    arrival->destination = l->address;
    if (l->mode == MODE_TRANSPARENT && l->intercept == INTERCEPT_REDIRECT)
        return original_by_conntrack(arrival->fd, &l->address, &arrival->destination);
    if (l->mode == MODE_TRANSPARENT || (kernel_listens(e) && addr_is_any(&l->address)))
        return original_by_address(arrival->fd, &l->address, &arrival->destination);
    return ORIGINAL_DIRECT;
}

static void accepted(void *arg, int fd, const struct addr *client)
{
    struct listening *l = arg;
    struct engine *e = l->engine;
    int index = e->generation != NULL ? engine_find_listener(e->generation->conf, listener_address(l->listener)) : -1;
    struct arrival arrival = { .fd = fd, .listener = index, .client = *client };

    if (index < 0)
        close(fd);
    else
        take(e, &arrival, find_destination(e, &e->generation->conf->listeners[index], &arrival));
}

static void out_of_descriptors(void *arg)
{
    struct listening *l = arg;

    count_add(l->engine->shard, COUNT_ACCEPT_PAUSES, 1);
    log_remote("accepting pauses: no descriptor is left");
}

bool engine_listen(struct engine *e, int fd)
{
    static const struct listener_calls calls = { accepted, out_of_descriptors };
    struct listening *l = calloc(1, sizeof(*l));

    if (l == NULL) {
        close(fd);
        return false;
    }
    l->engine = e;
    l->listener = listener_new(e->loop, fd, &calls, l);
    if (l->listener == NULL) {
        free(l);
        return false;
    }
    l->next = e->listening;
    e->listening = l;
    return true;
}

void engine_unlisten(struct engine *e, const struct addr *address)
{
    for (struct listening **link = &e->listening; *link != NULL;) {
        struct listening *l = *link;

        if (!addr_eq(listener_address(l->listener), address)) {
            link = &l->next;
            continue;
        }
        listener_drain(l->listener);
        *link = l->next;
        listener_free(l->listener);
        free(l);
    }
}
