/* SPDX-License-Identifier: ISC */
/*
 * Accepting: the listening sockets of a worker, who is let in, and where an intercepted client wanted to go. Limits are checked
 * before a byte is read: a client over its limit is only told so, of a flood of them some; and when even that would need more
 * descriptors than are left, accepting pauses and the backlog waits. What an intercepted client dialled is asked for once, here; a
 * flow of which nobody knows it, or that dialled ourselves, ends without a byte.
 */
#include "session/state.h"

#include <stdlib.h>
#include <unistd.h>

#define LOOKED_AT 16 /* sessions, with each connection that comes while places are short */

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

/* Admission, before any byte is read. */
static enum reason admit(const struct engine *e, const struct addr *client)
{
    if (e->draining)
        return R_DRAINED;
    if (e->pressure.level == PRESSURE_FULL || shares_taken(e, client) >= shares_of_client(e, client))
        return R_OVERLOAD;
    return R_NONE;
}

/* How many may be told at once that they are refused: each takes a descriptor until it has read it. */
static bool may_tell(const struct engine *e)
{
    uint32_t most = e->max / 8 + 1;

    return count_read(e->shard, COUNT_SESSIONS_TOLD) < (most < ENGINE_SPARE_ROWS ? most : ENGINE_SPARE_ROWS);
}

static void take_none(struct engine *e, const char *why)
{
    count_add(e->shard, COUNT_DENIED, 1);
    count_reason(e->shard, R_OVERLOAD);
    log_remote("a connection could not be taken: %s", why);
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

    shares_look(e);
    if (e->crowded)
        shares_close_idle(e, LOOKED_AT);
    arrival->refused = why != R_NONE ? why : admit(e, &arrival->client);
    if (arrival->refused == R_OVERLOAD && !may_tell(e)) {
        close(arrival->fd);
        count_add(e->shard, COUNT_UNTOLD, 1);
        take_none(e, "too many are being told so already");
        return;
    }
    if (session_open(e, arrival) == NULL)
        take_none(e, "no room");
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
