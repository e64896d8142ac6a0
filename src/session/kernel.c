/* SPDX-License-Identifier: ISC */
/*
 * What the filter process is told of sessions, and what it tells: the facts of a client's conntrack entry, and whom it blocked.
 * Without one nothing is told, and nothing here costs anything.
 */
#include "session/state.h"

bool kernel_listens(const struct engine *e)
{
    return e->args.filter.flow_opened != NULL && e->generation->conf->packet_filter.line != 0;
}

void kernel_opened(struct session *s)
{
    const struct engine_filter *filter = &s->engine->args.filter;

    if (kernel_listens(s->engine) && s->row->destination.family != 0)
        filter->flow_opened(filter->arg, s->number, &s->row->client, &s->row->destination);
}

void kernel_closed(struct session *s)
{
    const struct engine_filter *filter = &s->engine->args.filter;

    if (filter->flow_closed != NULL)
        filter->flow_closed(filter->arg, s->number, s->evicted);
}

void kernel_offence(struct session *s, enum reason why, enum closer by)
{
    const struct engine_filter *filter = &s->engine->args.filter;

    if (filter->hostile != NULL && reason_is_hostile(why) && by != CLOSER_SERVER && !s->server_offends)
        filter->hostile(filter->arg, s->number, &s->row->client, why);
}

void engine_flow(struct engine *e, uint64_t number, const struct engine_flow *flow)
{
    struct session *s = numbers_find(e->numbers, number);

    if (s == NULL)
        return;
    row_begin(e->shard, s->row);
    s->row->conntrack = flow->conntrack;
    s->row->mark = flow->mark;
    s->row->conntrack_state = (uint8_t)flow->state;
    s->row->translated = flow->translated;
    row_end(e->shard, s->row);
}

/*
 * A blocked client's bytes go no further. What waits towards the server came from the client before, and goes nowhere either: the
 * server gets a close frame where what it has ends at a frame, and nothing waits.
 */
static void block_websocket(struct session *s)
{
    bool waits = stream_waiting(&s->server) > 0;

    if (waits) {
        connect_drop(s, true);
        s->server.failed = true; /* no close frame for it */
    }
    websocket_close(s, R_BLOCKED);
}

static void block(struct session *s)
{
    s->evicted = true;
    if (s->phase == PHASE_WEBSOCKET) {
        block_websocket(s);
        session_run(s);
        return;
    }
    if (!s->account.open && s->phase != PHASE_CLOSING)
        report_event(s, R_BLOCKED, CLOSER_POSTERN);
    session_drop(s, R_BLOCKED);
}

size_t engine_block(struct engine *e, const struct network *network)
{
    size_t ended = 0;

    for (struct session *s = e->sessions, *next; s != NULL; s = next) {
        next = s->next;
        if (!network_has(network, &s->row->client))
            continue;
        block(s);
        ended++;
    }
    return ended;
}
