/* SPDX-License-Identifier: ISC */
/*
 * How many WebSockets a policy lets be open at once, in all and for each client. They are counted in the worker's shard, by the
 * policy's name, from the moment at which the request is granted: so two requests of one worker never share the last place. The
 * sum over all shards is compared, and each worker may add one that the others have not seen yet: the overshoot is at most
 * workers - 1. What a worker counted is forgotten with its shard when it dies.
 *
 * A cap is asked when a WebSocket comes under its policy: when it is opened, when the address that was reached is another policy's
 * than the first one's, and when a reload gives it to a policy of another name. Who is there already stays when a cap is lowered.
 */
#include "session/state.h"

#include <string.h>

static uint64_t sum(const struct engine *e, const char *policy, const struct addr *client)
{
    uint64_t open = 0;

    for (unsigned i = 0; i < e->args.workers; i++)
        open += streams_read(e->args.shards[i], policy, client);
    return open;
}

struct caps_now caps_read(const struct engine *e, const struct conf_policy *policy, const struct addr *client)
{
    return (struct caps_now){ sum(e, policy->name, NULL), sum(e, policy->name, client) };
}

bool caps_are_full(const struct conf_websocket *ws, const struct caps_now *now)
{
    return (ws->streams != 0 && now->open >= ws->streams) ||
           (ws->streams_per_client != 0 && now->of_client >= ws->streams_per_client);
}

/* By others: this one is not counted at this moment. */
static bool is_full(const struct session *s, const struct conf_policy *policy)
{
    const struct conf_websocket *ws = &policy->websocket;
    struct caps_now now;

    if (ws->streams == 0 && ws->streams_per_client == 0)
        return false;
    now = caps_read(s->engine, policy, &s->row->client);
    return caps_are_full(ws, &now);
}

static enum reason count(struct session *s, const struct conf_policy *policy)
{
    if (!streams_add(s->engine->shard, policy->name, &s->row->client, 1))
        return R_OVERLOAD;
    s->counted = policy;
    return R_NONE;
}

enum reason caps_take(struct session *s, const struct conf_policy *policy)
{
    caps_give(s);
    return is_full(s, policy) ? R_STREAM_LIMIT : count(s, policy);
}

enum reason caps_move(struct session *s, const struct conf_policy *policy)
{
    bool stays = s->counted != NULL && strcmp(s->counted->name, policy->name) == 0;

    if (!stays)
        return caps_take(s, policy);
    s->counted = policy;
    return R_NONE;
}

void caps_give(struct session *s)
{
    if (s->counted != NULL && !streams_add(s->engine->shard, s->counted->name, &s->row->client, -1))
        log_debug("a policy's count was already gone");
    s->counted = NULL;
}
