/* SPDX-License-Identifier: ISC */
/*
 * How many WebSockets a policy lets be open at once, in all and for each client. They are counted in the worker's shard, by the
 * policy's name, from the moment at which the request is granted: so two requests of one worker never share the last place. The
 * sum over all shards is compared, and each worker may add one that the others have not seen yet: the overshoot is at most
 * workers - 1. What a worker counted is forgotten with its shard when it dies.
 */
#include "session/state.h"

static uint64_t sum(const struct engine *e, const char *policy, const struct addr *client)
{
    uint64_t open = 0;

    for (unsigned i = 0; i < e->args.workers; i++)
        open += streams_read(e->args.shards[i], policy, client);
    return open;
}

enum reason caps_take(struct session *s, const struct conf_policy *policy)
{
    const struct conf_websocket *ws = &policy->websocket;
    const struct addr *client = &s->row->client;

    if ((ws->streams != 0 && sum(s->engine, policy->name, NULL) >= ws->streams) ||
        (ws->streams_per_client != 0 && sum(s->engine, policy->name, client) >= ws->streams_per_client))
        return R_STREAM_LIMIT;
    caps_move(s, policy);
    return s->counted == NULL ? R_OVERLOAD : R_NONE;
}

void caps_move(struct session *s, const struct conf_policy *policy)
{
    caps_give(s);
    if (streams_add(s->engine->shard, policy->name, &s->row->client, 1))
        s->counted = policy;
}

void caps_give(struct session *s)
{
    if (s->counted != NULL && !streams_add(s->engine->shard, s->counted->name, &s->row->client, -1))
        log_debug("a policy's count was already gone");
    s->counted = NULL;
}
