/* SPDX-License-Identifier: ISC */
/*
 * Judging. The order of the stages is the order in which facts become known, and nothing is done for a stage that the one before
 * did not grant: no name is resolved that no policy could allow, no address dialled that was not judged, no byte sent before the
 * exchange is granted. Live requests and the dry run call the same functions in the same order, so that `explain` cannot drift from
 * the truth.
 */
#include "session/judge.h"

#include <string.h>

void judge_init(struct judgement *j, int listener, const struct addr *client, int zone_in)
{
    memset(j, 0, sizeof(*j));
    j->facts.known = KNOWN_FLOW;
    j->facts.listener = listener;
    j->facts.client = *client;
    j->facts.zone_in = zone_in;
    j->facts.zone_out = ZONE_NONE;
    j->verdict.policy = -1;
}

enum reason judge_stage(const struct judge_context *c, struct judgement *j, enum stage stage, bool last)
{
    j->stage = stage;
    j->last = last;
    j->verdict = rules_judge(c->generation->rules, &j->facts, last);
    if (j->trail_count < JUDGE_TRAIL)
        j->trail[j->trail_count++] = (struct explain_step){ stage, j->verdict };
    return j->verdict.granted ? R_NONE : j->verdict.reason;
}

enum reason judge_target(const struct judge_context *c, struct judgement *j)
{
    unsigned known = j->facts.known;
    enum reason why;

    j->facts.known = KNOWN_FLOW; /* each stage is judged by what belongs to it */
    why = judge_stage(c, j, STAGE_FLOW, false);
    if (why != R_NONE)
        return why;
    j->facts.known = known | KNOWN_TARGET;
    j->facts.host = j->host.len > 0 ? &j->host : NULL;
    j->facts.port = j->port;
    return judge_stage(c, j, STAGE_TARGET, false);
}

/* Is this one of our own listeners? Then the stream would come back. */
static bool is_own_listener(const struct judge_context *c, const struct addr *a)
{
    const struct conf *conf = c->generation->conf;

    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct addr *own = &conf->listeners[i].address;

        if (own->port != a->port)
            continue;
        if (addr_same_ip(own, a))
            return true;
        if (!addr_is_any(own))
            continue;
        if (addr_is_loopback(a) || addr_is_any(a))
            return true;
        for (size_t k = 0; k < c->own_count; k++)
            if (addr_same_ip(&c->own[k], a))
                return true;
    }
    return false;
}

static enum reason find_zone(const struct judge_context *c, struct judgement *j, size_t index)
{
    const struct addr *a = &j->addresses[index];

    j->interfaces[index][0] = '\0';
    if (c->route != NULL) {
        /* Without an answer nobody knows the zone: that is no route, too. */
        if (route_find(c->route, a, j->interfaces[index]) != ROUTE_FOUND)
            return R_NO_ROUTE;
    }
    j->zones[index] = zones_find(rules_zones(c->generation->rules), a, j->interfaces[index]);
    return R_NONE;
}

void judge_choose(struct judgement *j, size_t index)
{
    j->facts.known |= KNOWN_ADDRESS;
    j->facts.server = j->addresses[index];
    j->facts.zone_out = j->zones[index];
    j->verdict.policy = j->policies[index];
}

enum reason judge_addresses(const struct judge_context *c, struct judgement *j, bool last)
{
    for (size_t i = 0; i < j->address_count; i++) {
        enum reason why = find_zone(c, j, i);

        j->policies[i] = -1;
        judge_choose(j, i);
        if (why == R_NONE)
            why = judge_stage(c, j, STAGE_ADDRESS, last);
        if (why == R_NONE && is_own_listener(c, &j->addresses[i]))
            why = R_LOOP;
        if (why != R_NONE)
            return why;
        j->policies[i] = j->verdict.policy;
    }
    judge_choose(j, 0);
    return R_NONE;
}
