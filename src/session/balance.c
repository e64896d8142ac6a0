/* SPDX-License-Identifier: ISC */
/*
 * Several upstreams behind one reverse listener. Requests that need a fresh connection go to them in turn, past those that cannot
 * be reached at the moment. One that fails is noted where all workers see it (base/health.h), and the request that found it out
 * goes on with another one where that can do no harm: while nothing of it was sent, whatever its method; when a fresh connection
 * died under it, once, if it may be sent twice and no byte of its body left. To go on, its head is put back into the client's
 * stream: the code that judged it for the first upstream judges it for the next one, whose port and address are others.
 *
 * A listener with one upstream and no checks is not watched: its server is dialled each time, and what that gives is the answer.
 */
#include "session/handshake.h"
#include "session/state.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

static bool is_balanced(const struct session *s)
{
    return s->exchange != NULL && s->tunnel == NULL && conf_watches_upstreams(session_listener(s));
}

static const struct conf_upstream *upstream_at(const struct session *s, size_t index)
{
    const struct conf_listener *listener = session_listener(s);

    return &listener->upstreams[index % listener->upstream_count];
}

static struct health_slot *slot_at(const struct session *s, size_t index)
{
    const struct conf_upstream *u = upstream_at(s, index);

    return health_find(s->engine->health, health_key(session_listener(s)->name, u->host, u->port, u->tls), true);
}

/* Is the upstream in this state? Who is the one that tries one that failed is alone with it until it is known what came of it. */
static bool may_use(struct session *s, struct health_slot *slot, enum health_state wanted)
{
    uint64_t now = clock_ms(), until = now + s->generation->conf->timeouts.connect;
    bool failed = health_state(slot) != HEALTH_UP;
    enum health_state state = health_ask(slot, now, until - now);
    bool tries = failed && state == HEALTH_UP;

    if (tries && state != wanted)
        health_untried(slot, until);
    s->exchange->tries_until = tries && state == wanted ? until : 0;
    return state == wanted;
}

void balance_give_back(struct session *s)
{
    struct exchange *x = s->exchange;
    struct health_slot *slot = x->tries_until != 0 ? slot_at(s, x->upstream_index) : NULL;

    if (slot != NULL)
        health_untried(slot, x->tries_until);
    x->tries_until = 0;
}

/* One round past those that are up, then one past those that are doubtful; each is tried once. false: there is none left. */
static bool next_one(struct session *s)
{
    struct exchange *x = s->exchange;
    size_t count = session_listener(s)->upstream_count;

    balance_give_back(s);
    for (; x->walked < 2 * count; x->walked++) {
        struct health_slot *slot = slot_at(s, x->first + x->walked);
        enum health_state wanted = x->walked < count ? HEALTH_UP : HEALTH_DOUBTFUL;

        if (slot != NULL && !may_use(s, slot, wanted))
            continue;
        x->upstream_index = s->upstream_index = (x->first + x->walked++) % count;
        return true;
    }
    return false;
}

void balance_begin(struct session *s)
{
    struct exchange *x = s->exchange;
    bool connected = stream_is_open(&s->server);

    if (!connected)
        s->upstream_index = s->engine->round_robin++;
    x->first = x->upstream_index = s->upstream_index;
    if (!is_balanced(s))
        return;
    if (connected)
        x->walked = 1;
    else
        x->none_usable = !next_one(s);
}

void balance_keep(struct session *s, struct span bytes)
{
    struct exchange *x = s->exchange;

    if (!is_balanced(s))
        return;
    if (x->head == x->head_room && x->written_len + bytes.len <= sizeof(x->head_room))
        x->original = x->head_room + x->written_len;
    else
        x->original = malloc(bytes.len);
    if (x->original != NULL)
        memcpy(x->original, bytes.at, bytes.len);
}

/* Which failures are the upstream's, and not ours or the client's? */
static bool is_theirs(enum reason why)
{
    static const enum reason theirs[] = { R_NAME_UNRESOLVED,      R_NAME_TIMEOUT,    R_NO_ROUTE,   R_TIMEOUT_CONNECT,
                                          R_UPSTREAM_REFUSED,     R_UPSTREAM_TLS,    R_PEER_RESET, R_UPSTREAM_CLOSED,
                                          R_UPSTREAM_CERTIFICATE, R_TIMEOUT_RESPONSE };

    for (size_t i = 0; i < sizeof(theirs) / sizeof(theirs[0]); i++)
        if (theirs[i] == why)
            return true;
    return false;
}

static void say(const struct session *s, const char *what, enum reason why)
{
    char text[UPSTREAM_TEXT];

    log_warn("upstream %s of listener %s is %s%s%s", conf_upstream_text(upstream_at(s, s->exchange->upstream_index), text),
             session_listener(s)->name, what, why != R_NONE ? ": " : "", why != R_NONE ? reason_name(why) : "");
}

static void note_failure(struct session *s, enum reason why)
{
    struct health_slot *slot = slot_at(s, s->exchange->upstream_index);

    s->exchange->tries_until = 0;
    if (slot != NULL && health_failed(slot, clock_ms(), s->exchange->step != STEP_ASK))
        say(s, health_state_name(health_state(slot)), why);
}

void balance_reached(struct session *s)
{
    struct health_slot *slot = is_balanced(s) ? slot_at(s, s->exchange->upstream_index) : NULL;

    if (slot != NULL && health_reached(slot))
        say(s, health_state_name(health_state(slot)), R_NONE);
}

void balance_worked(struct session *s)
{
    struct health_slot *slot = is_balanced(s) ? slot_at(s, s->exchange->upstream_index) : NULL;

    if (slot != NULL && health_worked(slot))
        say(s, "up again", R_NONE);
}

/* Before anything was sent: always. A server that died at it, but not one that is silent, may have begun to do it: what may be done
 * twice is, once. */
static bool may_move(const struct exchange *x, enum reason why)
{
    if (x->body_used || x->answer_begun || x->head_len == 0)
        return false;
    return x->step != STEP_ASK || (x->is_idempotent && !x->retried && why != R_TIMEOUT_RESPONSE);
}

/* The head goes back to where it came from, and is judged again for the next upstream. */
static bool start_over(struct session *s)
{
    struct exchange *x = s->exchange;

    connect_cancel(s);
    connect_drop(s, true);
    if (x->taken && (x->original == NULL || !stream_untake(&s->client, span_of(x->original, x->head_len))))
        return false;
    if (s->phase == PHASE_UPGRADE_WAIT)
        session_set_phase(s, PHASE_HTTP);
    exchange_free_heads(x);
    x->retried |= x->step == STEP_ASK;
    x->step = STEP_JUDGE;
    x->taken = x->request_done = false;
    memset(&s->answer_scan, 0, sizeof(s->answer_scan));
    s->answer_scanned = 0;
    judge_init(&x->judge, s->listener, &s->row->client, s->zone_in);
    handshake_judge(s, &x->judge, true);
    s->row->retries++;
    count_add(s->engine->shard, COUNT_FAILOVERS, 1);
    return true;
}

static bool move(struct session *s, enum reason why)
{
    return may_move(s->exchange, why) && next_one(s) && start_over(s);
}

bool balance_moves(struct session *s, enum reason why)
{
    if (!is_balanced(s) || !is_theirs(why))
        return false;
    note_failure(s, why);
    return move(s, why);
}

bool balance_moves_unblamed(struct session *s, enum reason why)
{
    return is_balanced(s) && move(s, why);
}

void balance_retain(struct engine *e, const struct conf *conf)
{
    uint64_t keys[HEALTH_SLOTS];
    size_t count = 0;

    for (size_t i = 0; i < conf->listener_count; i++)
        for (size_t k = 0; k < conf->listeners[i].upstream_count && count < HEALTH_SLOTS; k++) {
            const struct conf_upstream *u = &conf->listeners[i].upstreams[k];

            keys[count++] = health_key(conf->listeners[i].name, u->host, u->port, u->tls);
        }
    health_retain(e->health, keys, count);
}
