/* SPDX-License-Identifier: ISC */
/*
 * Shares: what a client may have while places or memory are short, so that whoever has little gets in, however much the others
 * want.
 *
 * Places: when more than three quarters are taken, no client gets more connections than there are places left. So the last quarter
 * is never one client's: the fewer are left, the less one must have to get one of them. Where there is one client only (a load
 * balancer, a gateway) nobody has to be kept so much for: enough are left that others get in, and from then on it has a share.
 * Memory: from PRESSURE_HIGH on a client may have as much of limits.sessions_per_client as is left of the way to PRESSURE_FULL. Who
 * has more loses no stream: its connections end with the answer that they carry, and those that are idle are closed.
 *
 * Places are counted over all workers. What descriptors leave is known of this worker alone, and taken for all.
 */
#include "session/state.h"

#include "base/clock.h"

#define QUARTER 4
#define FOR_OTHERS 32  /* so much of all is kept for them while there are none */
#define EMPTY 64       /* buckets that are looked into for each session that is looked at: the table may be sparse */
#define SILENT_MS 1000 /* one that has not said anything for so long is idle */

/* Who is only told that it is refused takes no place. Of another worker one of the two numbers may be a moment older. */
static uint64_t sum_open(const struct engine *e)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < e->args.workers; i++) {
        uint64_t told = count_read(e->args.shards[i], COUNT_SESSIONS_TOLD);
        uint64_t open = count_read(e->args.shards[i], COUNT_SESSIONS_OPEN);

        sum += open > told ? open - told : 0;
    }
    return sum;
}

uint64_t shares_taken(const struct engine *e, const struct addr *client)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < e->args.workers; i++)
        sum += clients_read(e->args.shards[i], client);
    return sum;
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t count_places(const struct engine *e)
{
    return lower(e->generation->conf->limits.sessions, (uint64_t)e->max * e->args.workers);
}

static uint64_t count_free(const struct engine *e)
{
    uint64_t open = sum_open(e), most = e->generation->conf->limits.sessions, here = e->open < e->max ? e->max - e->open : 0;

    return lower(open < most ? most - open : 0, here * e->args.workers);
}

/* Are they, for this client? Who has all that are taken is alone. */
static bool is_short(const struct engine *e, const struct addr *client, uint64_t left)
{
    uint64_t places = count_places(e);

    if (left == 0 || left >= places / QUARTER)
        return left == 0;
    return left < (places + FOR_OTHERS - 1) / FOR_OTHERS || shares_taken(e, client) < sum_open(e);
}

uint32_t shares_of_client(const struct engine *e, const struct addr *client)
{
    uint64_t share = e->generation->conf->limits.sessions_per_client, left = count_free(e);

    if (e->pressure.level != PRESSURE_NONE)
        share = 1 + (share - 1) * e->pressure.left / 1000;
    return (uint32_t)(is_short(e, client, left) ? lower(share, left) : share);
}

void shares_look(struct engine *e)
{
    e->crowded = e->generation != NULL && (e->pressure.level != PRESSURE_NONE || count_free(e) < count_places(e) / QUARTER);
}

bool shares_is_greedy(const struct session *s)
{
    uint32_t share = shares_of_client(s->engine, &s->row->client);

    return shares_taken(s->engine, &s->row->client) > (share > 0 ? share : 1);
}

/* One that was just accepted may not have had the time to speak. */
static bool is_unused(const struct session *s)
{
    return session_is_idle(s) && stream_waiting(&s->client) == 0 && (s->row->exchanges > 0 || s->opened + SILENT_MS < clock_ms());
}

void shares_close_idle(struct engine *e, unsigned most)
{
    unsigned seen = 0;

    for (unsigned i = 0; i < EMPTY * most && seen < most; i++)
        for (struct session *s = numbers_some(e->numbers, &e->hand), *next; s != NULL; s = next) {
            next = s->numbered;
            seen++;
            if (!is_unused(s) || !shares_is_greedy(s)) /* with each that goes the shares grow */
                continue;
            count_add(e->shard, COUNT_IDLE_CLOSED, 1);
            session_close(s, R_NONE, CLOSER_POSTERN);
        }
}
