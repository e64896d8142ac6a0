/* SPDX-License-Identifier: ISC */
/*
 * Idle upstream connections that sessions share (upstream_reuse = "shared"), by server, policy and generation. A connection that
 * becomes readable here is closed: whatever the server says now, nobody asked. The newest is taken first, and looked at once more;
 * the oldest goes first when sessions need the descriptors.
 */
#include "session/handshake.h"
#include "session/state.h"

#include "base/clock.h"
#include "base/mutant.h"

#include <stdlib.h>
#include <string.h>

#define POOL_MAX 1024
#define SWEEP_MS 1000

struct pooled {
    struct pooled *next, **link;
    struct pool *pool;
    struct stream stream;
    struct addr server;
    int policy;
    uint16_t generation;
    struct tls_context *context; /* reference: it was secured with it; NULL: in clear */
    char name[HOST_TEXT + 1];    /* who the server is; "": in clear */
    uint64_t until;              /* ms */
    struct row row;              /* of the session that gave it, for the record if the server speaks */
};

struct pool {
    struct engine *engine;
    struct pooled *idle;
    struct timer sweep;
    size_t count;
};

/* The stream was moved or closed. */
static void forget(struct pooled *p)
{
    *p->link = p->next;
    if (p->next != NULL)
        p->next->link = p->link;
    p->pool->count--;
    if (p->context != NULL)
        tls_context_unref(p->context);
    free(p);
}

static void end(struct pooled *p)
{
    stream_close(&p->stream, false);
    forget(p);
}

/* An idle connection is of no use any more: it ended, which is the server's right, or the server spoke (`look` as of stream_look).
 */
static void discard(struct pooled *p, int look)
{
    if (look > 0)
        report_unowned(p->pool->engine, &p->row, R_UNSOLICITED_BYTES);
    end(p);
}

/* Its first event may only say that it can be written to; what TLS says of itself (tickets) is no speech. */
static void on_ready(void *owner)
{
    struct pooled *p = owner;

    if (stream_has_input(&p->stream) || p->stream.hang_up) {
        int look = stream_look(&p->stream);

        if (FAULT(LOOK_POOL, look != 0))
            discard(p, look);
        else
            p->stream.can_read = false;
    }
}

static void on_sweep(void *arg)
{
    struct pool *pool = arg;

    for (struct pooled *p = pool->idle, *next; p != NULL; p = next) {
        next = p->next;
        if (p->until <= clock_ms())
            end(p);
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
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): end() takes the first out of the list */
        end(pool->idle);
    timer_clear(loop_wheel(pool->engine->loop), &pool->sweep);
    free(pool);
}

void pool_give(struct pool *pool, struct session *s)
{
    struct pooled *p = calloc(1, sizeof(*p));

    if (p == NULL) {
        connect_drop(s, false);
        return;
    }
    stream_move(&p->stream, &s->server, on_ready, p);
    if (s->tls != NULL && s->tls->upstream != NULL) {
        p->context = tls_context_ref(s->tls->upstream);
        memcpy(p->name, s->tls->peer, sizeof(p->name));
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
        end(p);
    }
}

static void session_ready(void *owner)
{
    session_run(owner);
}

/* false: no memory, and it is closed. */
static bool hand_over(struct pooled *p, struct session *s)
{
    bool kept = true;

    stream_move(&s->server, &p->stream, session_ready, s);
    s->row->upstream = p->row.upstream;
    if (p->context != NULL) {
        struct session_tls *tls = handshake_state(s);

        kept = tls != NULL;
        if (!kept) {
            stream_close(&s->server, false);
        } else {
            upstream_forget(s);
            tls->upstream = tls_context_ref(p->context);
            memcpy(tls->peer, p->name, sizeof(tls->peer));
            handshake_report(s, DOWN, TLS_WAY_ENDED);
        }
    }
    forget(p);
    return kept;
}

bool pool_take(struct pool *pool, struct session *s, const struct addr *server, int policy, const char *name)
{
    for (struct pooled *p = pool->idle, *next; p != NULL; p = next) {
        int look;

        next = p->next;
        if (p->policy != policy || p->generation != s->generation->number || !addr_eq(&p->server, server) ||
            strcmp(p->name, name) != 0)
            continue;
        look = stream_look(&p->stream);
        if (!FAULT(LOOK_TAKEN, look != 0))
            return hand_over(p, s);
        discard(p, look);
    }
    return false;
}
