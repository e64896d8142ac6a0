/* SPDX-License-Identifier: ISC */
/*
 * Idle upstream connections that sessions share (upstream_reuse = "shared"), by server, policy and generation. A connection that
 * becomes readable here is closed: whatever the server says now, nobody asked. The newest is taken first, and looked at once more;
 * the oldest goes first when sessions need the descriptors.
 */
#include "session/state.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define POOL_MAX 1024
#define SWEEP_MS 1000

struct pooled {
    struct pooled *next, **link;
    struct pool *pool;
    struct stream stream;
    struct addr server;
    int policy;
    uint16_t generation;
    uint64_t until; /* ms */
    struct row row; /* of the session that gave it, for the record if the server speaks */
};

struct pool {
    struct engine *engine;
    struct pooled *idle;
    struct timer sweep;
    size_t count;
};

static int take_out(struct pooled *p)
{
    int fd = stream_release(&p->stream);

    *p->link = p->next;
    if (p->next != NULL)
        p->next->link = p->link;
    p->pool->count--;
    free(p);
    return fd;
}

/* An idle connection is of no use any more: it ended, which is the server's right, or the server spoke (`look` as of stream_look).
 */
static void discard(struct pooled *p, int look)
{
    if (look > 0)
        report_unowned(p->pool->engine, &p->row, R_UNSOLICITED_BYTES);
    close(take_out(p));
}

/* Its first event may only say that it can be written to. */
static void on_ready(void *owner)
{
    struct pooled *p = owner;

    if (p->stream.can_read || p->stream.hang_up)
        discard(p, stream_look(&p->stream));
}

static void on_sweep(void *arg)
{
    struct pool *pool = arg;

    for (struct pooled *p = pool->idle, *next; p != NULL; p = next) {
        next = p->next;
        if (p->until <= clock_ms())
            close(take_out(p));
    }
    if (pool->idle != NULL)
        timer_set(loop_wheel(pool->engine->loop), &pool->sweep, clock_ms() + SWEEP_MS);
}

struct pool *pool_new(struct engine *e)
{
    struct pool *pool = calloc(1, sizeof(*pool));

    if (pool == NULL)
        return NULL;
    pool->engine = e;
    timer_init(&pool->sweep, on_sweep, pool);
    return pool;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    while (pool->idle != NULL)
        close(take_out(pool->idle));
    timer_clear(loop_wheel(pool->engine->loop), &pool->sweep);
    free(pool);
}

void pool_give(struct pool *pool, struct session *s)
{
    struct pooled *p = calloc(1, sizeof(*p));
    int fd = stream_release(&s->server);

    if (p == NULL) {
        close(fd);
        return;
    }
    if (!stream_open(&p->stream, pool->engine->loop, fd, on_ready, p)) {
        free(p);
        return;
    }
    p->pool = pool;
    p->server = s->server_address;
    p->policy = s->server_policy;
    p->generation = s->generation->number;
    p->until = clock_ms() + s->generation->conf->timeouts.keepalive;
    p->row = *s->row;
    p->next = pool->idle;
    p->link = &pool->idle;
    if (p->next != NULL)
        p->next->link = &p->next;
    pool->idle = p;
    pool->count++;
    timer_set(loop_wheel(pool->engine->loop), &pool->sweep, clock_ms() + SWEEP_MS);
}

void pool_limit(struct pool *pool, size_t room)
{
    struct pooled *p = pool->idle;
    size_t most = room < POOL_MAX ? room : POOL_MAX;

    if (pool->count <= most)
        return;
    for (size_t i = 0; i < most; i++)
        p = p->next;
    for (struct pooled *next; p != NULL; p = next) {
        next = p->next;
        close(take_out(p));
    }
}

int pool_take(struct pool *pool, const struct addr *server, int policy, uint16_t generation)
{
    for (struct pooled *p = pool->idle, *next; p != NULL; p = next) {
        int look;

        next = p->next;
        if (p->policy != policy || p->generation != generation || !addr_eq(&p->server, server))
            continue;
        look = stream_look(&p->stream);
        if (look == 0)
            return take_out(p);
        discard(p, look);
    }
    return -1;
}
