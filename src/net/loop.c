/* SPDX-License-Identifier: ISC */
/*
 * The loop. A turn is: wait for events (or not, if somebody wants another turn), let libevent call what is ready, run those that
 * queued for another turn, run the timers that are due, then the work of the turn's end. Nothing that a callback closes is freed
 * before that end. The loop also lends what all streams share: the read buffer, the pool of chunks, and pipes.
 */
#include "net/loop.h"

#include "base/clock.h"
#include "net/pipes.h"

#include <event2/event.h>
#include <stdlib.h>

#define TICK_MS 50
#define CHUNKS_KEPT 1024

struct loop {
    struct event_base *base;
    struct event *tick;
    struct wheel *wheel;
    struct loop_again *again, **again_tail;
    size_t again_count;
    void (*turn_end)(void *arg);
    void *turn_end_arg;
    struct chunk *chunks;
    unsigned chunk_count;
    struct pipes pipes;
    bool clock_is_read, stopped, worked, ticking;
    char *buffer;
};

static void on_tick(int fd, short what, void *arg)
{
    struct loop *loop = arg;

    bool worked = loop->worked;

    (void)fd;
    (void)what;
    loop_enter(loop);
    loop->worked = worked; /* a tick alone is no work: the timers tell */
}

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    struct event_config *config = event_config_new();

    if (loop == NULL || config == NULL)
        goto fail;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    loop->again_tail = &loop->again;
    loop->base = event_base_new_with_config(config);
    loop->wheel = wheel_new();
    loop->buffer = malloc(LOOP_READ_BYTES);
    loop->tick = loop->base ? event_new(loop->base, -1, EV_PERSIST, on_tick, loop) : NULL;
    if (loop->tick == NULL || loop->wheel == NULL || loop->buffer == NULL)
        goto fail;
    event_config_free(config);
    clock_tick();
    return loop;
fail:
    if (config != NULL)
        event_config_free(config);
    loop_free(loop);
    return NULL;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    if (loop->tick != NULL)
        event_free(loop->tick);
    if (loop->base != NULL)
        event_base_free(loop->base);
    while (loop->chunks != NULL) {
        struct chunk *chunk = loop->chunks;

        loop->chunks = chunk->next;
        free(chunk);
    }
    pipes_fini(&loop->pipes);
    wheel_free(loop->wheel);
    free(loop->buffer);
    free(loop);
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

struct wheel *loop_wheel(struct loop *loop)
{
    return loop->wheel;
}

char *loop_buffer(struct loop *loop)
{
    return loop->buffer;
}

void loop_enter(struct loop *loop)
{
    loop->worked = true;
    if (loop->clock_is_read)
        return;
    clock_tick();
    loop->clock_is_read = true;
}

struct watch {
    struct loop *loop;
    struct event *event;
    void (*fn)(void *arg);
    void *arg;
};

static void on_watched(int fd, short what, void *arg)
{
    struct watch *w = arg;

    (void)fd;
    (void)what;
    loop_enter(w->loop);
    w->fn(w->arg);
}

struct watch *loop_watch(struct loop *loop, int fd, void (*fn)(void *arg), void *arg)
{
    struct watch *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return NULL;
    *w = (struct watch){ .loop = loop, .fn = fn, .arg = arg };
    w->event = event_new(loop->base, fd, EV_READ | EV_PERSIST, on_watched, w);
    if (w->event != NULL && event_add(w->event, NULL) == 0)
        return w;
    loop_unwatch(w);
    return NULL;
}

void loop_unwatch(struct watch *w)
{
    if (w == NULL)
        return;
    if (w->event != NULL)
        event_free(w->event);
    free(w);
}

void loop_on_turn_end(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    loop->turn_end = fn;
    loop->turn_end_arg = arg;
}

void loop_again(struct loop *loop, struct loop_again *again)
{
    if (again->link != NULL)
        return;
    again->next = NULL;
    again->link = loop->again_tail;
    *loop->again_tail = again;
    loop->again_tail = &again->next;
    loop->again_count++;
}

void loop_again_clear(struct loop *loop, struct loop_again *again)
{
    if (again->link == NULL)
        return;
    *again->link = again->next;
    if (again->next != NULL)
        again->next->link = again->link;
    else
        loop->again_tail = again->link;
    again->link = NULL;
    loop->again_count--;
}

/* As many as were queued before this turn; what they queue waits for the next one. */
static void run_again(struct loop *loop)
{
    for (size_t n = loop->again_count; n > 0 && loop->again != NULL; n--) {
        struct loop_again *again = loop->again;

        loop_again_clear(loop, again);
        again->fn(again->arg);
    }
}

/* The tick runs only while a timer is armed: an idle process sleeps. */
static void keep_ticking(struct loop *loop)
{
    static const struct timeval tick = { 0, TICK_MS * 1000 };
    bool want = !wheel_is_empty(loop->wheel);

    if (want == loop->ticking)
        return;
    loop->ticking = want;
    if (want)
        event_add(loop->tick, &tick);
    else
        event_del(loop->tick);
}

static void turn(struct loop *loop, bool wait)
{
    keep_ticking(loop);
    loop->clock_is_read = false;
    event_base_loop(loop->base, EVLOOP_ONCE | (wait && loop->again == NULL ? 0 : EVLOOP_NONBLOCK));
    if (loop->again != NULL) {
        loop_enter(loop);
        run_again(loop);
    }
    if (!loop->clock_is_read)
        clock_tick();
    wheel_run(loop->wheel, clock_ms());
    if (loop->turn_end != NULL)
        loop->turn_end(loop->turn_end_arg);
}

void loop_run(struct loop *loop)
{
    loop->stopped = false;
    while (!loop->stopped)
        turn(loop, true);
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

bool loop_turn(struct loop *loop)
{
    loop->worked = false;
    turn(loop, false);
    return loop->worked || loop->again != NULL;
}

struct chunk *chunk_take(struct loop *loop)
{
    struct chunk *chunk = loop->chunks;

    if (chunk != NULL) {
        loop->chunks = chunk->next;
        loop->chunk_count--;
    } else {
        chunk = malloc(sizeof(*chunk) + CHUNK_BYTES);
    }
    if (chunk != NULL) {
        chunk->next = NULL;
        chunk->start = chunk->end = 0;
    }
    return chunk;
}

void chunk_give(struct loop *loop, struct chunk *chunk)
{
    if (loop->chunk_count >= CHUNKS_KEPT) {
        free(chunk);
        return;
    }
    chunk->next = loop->chunks;
    loop->chunks = chunk;
    loop->chunk_count++;
}

struct pipes *loop_pipes(struct loop *loop)
{
    return &loop->pipes;
}
