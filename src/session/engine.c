/* SPDX-License-Identifier: ISC */
/*
 * The engine: admission of connections, the generation that is in force, the drain, and the end of each turn, when sessions that
 * died in it are freed. Limits are checked before a byte is read: a client over its limit is only told so, and when even that would
 * need more descriptors than are left, accepting pauses and the backlog waits.
 */
#include "session/state.h"

#include "base/clock.h"
#include "net/pipes.h"
#include "session/leaves.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOOKED_AT 1024    /* sessions, for idle connections to be closed */
#define GIVE_BACK_MS 1000 /* between two looks for memory that can be given back: they are not free */

struct engine_room engine_room(uint64_t files, unsigned workers)
{
    uint64_t pairs = files > FDS_HELD_BACK + 2 ? (files - FDS_HELD_BACK) / 2 : 1;
    uint64_t pipes = pairs / PAIRS_PER_PIPE, share = workers < PIPES ? PIPES / workers : 1;

    if (pairs > UINT32_MAX / 2)
        pairs = UINT32_MAX / 2;
    if (pipes > share)
        pipes = share;
    return (struct engine_room){ .sessions = (uint32_t)(pairs - pipes), .pipes = (uint32_t)pipes };
}

static void share_descriptors(struct engine *e)
{
    struct rlimit limit = { 0, 0 };
    struct engine_room room;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_error("RLIMIT_NOFILE: %s", strerror(errno));
    room = engine_room(limit.rlim_cur, e->args.workers);
    e->max = room.sessions;
    loop_pipes(e->loop)->most = room.pipes;
}

size_t engine_spare_descriptors(const struct engine *e)
{
    return e->open < e->max ? 2 * (size_t)(e->max - e->open) : 0;
}

static void tell_empty(struct engine *e)
{
    void (*on_empty)(void *arg) = e->on_empty;

    if (!e->draining || e->open > 0 || on_empty == NULL)
        return;
    e->on_empty = NULL;
    timer_clear(loop_wheel(e->loop), &e->drain_timer);
    on_empty(e->on_empty_arg);
}

/* The end of a turn: nobody holds the dead any more. */
static void reap(void *arg)
{
    struct engine *e = arg;

    shard_at(e->shard, 0, PHASE_SNIFF);
    while (e->dead != NULL) {
        struct session *s = e->dead;

        e->dead = s->next;
        session_free(s);
    }
    if (e->crowded)
        shares_look(e);
    accept_resume(e);
    tell_empty(e);
}

struct engine *engine_new(const struct engine_args *args)
{
    struct engine *e = calloc(1, sizeof(*e));

    if (e == NULL)
        return NULL;
    e->args = *args;
    e->loop = args->loop;
    e->own_source.fd = -1;
    e->shard = args->shards[args->worker];
    e->next_number = args->first_number;
    share_descriptors(e);
    e->own_health = args->health == NULL ? calloc(1, sizeof(*e->own_health)) : NULL;
    e->health = args->health != NULL ? args->health : e->own_health;
    e->text = malloc(TEXT_BYTES);
    e->resolver = resolver_new(e->loop);
    e->pool = pool_new(e);
    e->numbers = numbers_new();
    e->leaves = leaves_new(&args->minter);
    e->sockets_last = &e->sockets;
    e->route = route_open();
    loop_on_turn_end(e->loop, reap, e);
    if (e->health == NULL || e->text == NULL || e->resolver == NULL || e->pool == NULL || e->numbers == NULL || e->leaves == NULL ||
        e->route == NULL || !own_watch(e)) {
        engine_free(e);
        return NULL;
    }
    return e;
}

void engine_free(struct engine *e)
{
    if (e == NULL)
        return;
    accept_end(e);
    checks_end(e);
    explain_cancel_all(e);
    while (e->sessions != NULL)
        session_close(e->sessions, R_DRAINED, CLOSER_POSTERN);
    e->draining = false;
    reap(e);
    loop_on_turn_end(e->loop, NULL, NULL);
    timer_clear(loop_wheel(e->loop), &e->drain_timer);
    leaves_free(e->leaves);
    pool_free(e->pool);
    resolver_free(e->resolver);
    own_free(e);
    if (e->route != NULL)
        route_close(e->route);
    generation_unref(e->generation);
    numbers_free(e->numbers);
    exchange_free_spare(e);
    free(e->own_health);
    free(e->text);
    free(e);
}

/* Sessions may end while they are walked: the next one is taken first, and only this one can go. */
static void for_each_session(struct engine *e, void (*fn)(struct session *s))
{
    for (struct session *s = e->sessions, *next; s != NULL; s = next) {
        next = s->next;
        fn(s);
    }
}

void engine_set_generation(struct engine *e, struct generation *g)
{
    struct generation *old = e->generation;

    e->generation = generation_ref(g);
    generation_unref(old);
    resolver_configure(e->resolver, g->servers, g->server_count, g->conf->resolver_negative_ttl);
    own_read(e);
    if (e->args.worker == 0) {
        balance_retain(e, g->conf);
        checks_renew(e);
    }
    leaves_renew(e->leaves, g);
    for_each_session(e, session_judge_again);
}

/* Memory that only saves work later. The allocator gives back what is free. */
static void give_back(struct engine *e)
{
    exchange_free_spare(e);
    pool_limit(e->pool, 0);
    loop_trim(e->loop);
    malloc_trim(0);
}

void engine_set_pressure(struct engine *e, const struct pressure *pressure)
{
    bool again = clock_ms() - e->given_back_ms >= GIVE_BACK_MS;

    e->pressure = *pressure;
    shares_look(e);
    if (pressure->level == PRESSURE_NONE || !again)
        return;
    e->given_back_ms = clock_ms();
    if (e->crowded)
        shares_close_idle(e, LOOKED_AT);
    give_back(e);
}

struct judge_context engine_judge_context(struct engine *e, const struct generation *g)
{
    return (struct judge_context){ g, zones_need_interfaces(g->conf) ? e->route : NULL, e->own, e->own_count };
}

int engine_find_listener(const struct conf *conf, const struct addr *address)
{
    for (size_t i = 0; i < conf->listener_count; i++)
        if (addr_eq(&conf->listeners[i].address, address))
            return (int)i;
    return -1;
}

uint32_t engine_open_sessions(const struct engine *e)
{
    return e->open;
}

bool session_is_idle(const struct session *s)
{
    return s->phase == PHASE_SNIFF || (s->phase == PHASE_HTTP && s->exchange == NULL && s->head_since == 0);
}

static void drain_one(struct session *s)
{
    if (!session_is_idle(s))
        return;
    if (stream_waiting(&s->client) > 0)
        session_finish(s, R_NONE, CLOSER_POSTERN);
    else
        session_close(s, R_NONE, CLOSER_POSTERN);
}

static void end_one(struct session *s)
{
    if (s->phase == PHASE_WEBSOCKET)
        websocket_close(s, R_DRAINED);
    else
        session_close(s, R_DRAINED, CLOSER_POSTERN);
    session_run(s);
}

static void on_drain_over(void *arg)
{
    for_each_session(arg, end_one);
}

void engine_drain(struct engine *e, uint64_t ms, void (*on_empty)(void *arg), void *arg)
{
    if (e->draining)
        return;
    for (struct listening *l = e->listening; l != NULL; l = l->next)
        listener_drain(l->listener); /* who is queued came before the end */
    e->draining = true;
    checks_end(e);
    e->on_empty = on_empty;
    e->on_empty_arg = arg;
    accept_end(e);
    timer_init(&e->drain_timer, on_drain_over, e);
    timer_set(loop_wheel(e->loop), &e->drain_timer, clock_ms() + ms + 1);
    if (!e->handed_over)
        for_each_session(e, drain_one);
}

void engine_hand_over(struct engine *e, uint64_t ms, void (*on_empty)(void *arg), void *arg)
{
    e->handed_over = true;
    engine_drain(e, ms, on_empty, arg);
}

static void end_for(struct session *s, enum reason why)
{
    if (s->phase == PHASE_WEBSOCKET)
        websocket_close(s, why);
    else if (s->account.open || s->phase == PHASE_CLOSING)
        session_close(s, why, CLOSER_POSTERN);
    else
        session_finish_flow(s, why);
    session_run(s);
}

bool engine_has_interface(struct engine *e, const char *name)
{
    return route_has_interface(e->route, name);
}

bool engine_kill(struct engine *e, uint64_t number)
{
    struct session *s = numbers_find(e->numbers, number);

    if (s == NULL)
        return false;
    s->evicted = true;
    end_for(s, R_KILLED);
    return true;
}
