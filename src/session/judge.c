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
    memset(j, 0, offsetof(struct judgement, host));
    host_clear(&j->host);
    host_clear(&j->dial);
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

static bool is_own(const struct judge_context *c, const struct addr *a)
{
    for (size_t i = 0; i < c->own_count; i++)
        if (addr_same_ip(&c->own[i], a))
            return true;
    return false;
}

int judge_zone(const struct judge_context *c, const struct addr *a, const char *interface)
{
    if (!addr_is_loopback(a) && is_own(c, a))
        return zones_self(c->generation->conf);
    return zones_find(rules_zones(c->generation->rules), a, interface);
}

bool judge_is_listener(const struct judge_context *c, const struct addr *a)
{
    const struct conf *conf = c->generation->conf;

    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct addr *own = &conf->listeners[i].address;

        if (own->port != a->port)
            continue;
        if (addr_same_ip(own, a))
            return true;
        if (addr_is_any(own) && (addr_is_loopback(a) || addr_is_any(a) || is_own(c, a)))
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
    j->zones[index] = judge_zone(c, a, j->interfaces[index]);
    return R_NONE;
}

enum reason judge_original(struct judgement *j, const struct addr *original, enum conf_host_check check, enum reason mismatch)
{
    j->original = *original;
    j->host_check = check;
    j->mismatch = mismatch;
    j->port = original->port;
    j->dial = j->host;
    if (check == HOST_CHECK_OFF)
        host_from_addr(&j->dial, original);
    else if (j->host.ip.family != 0 && !addr_same_ip(&j->host.ip, original))
        return mismatch;
    return R_NONE;
}

/*
 * Is it settled before any look-up which address will be dialled? Then a name that may not be dialled there is not resolved. The
 * stage comes again when the look-up is done; here it leaves no trace.
 */
static enum reason judge_early(const struct judge_context *c, struct judgement *j)
{
    const struct facts facts = j->facts;
    const size_t trail = j->trail_count;
    enum reason why;

    if (j->original.family == 0 || j->host_check == HOST_CHECK_RESOLVE || j->dial.ip.family != 0 || j->address_count > 0)
        return R_NONE;
    j->addresses[0] = j->original;
    why = find_zone(c, j, 0);
    j->facts.known |= KNOWN_ADDRESS;
    j->facts.server = j->original;
    j->facts.zone_out = j->zones[0];
    if (why == R_NONE)
        why = judge_stage(c, j, STAGE_ADDRESS, false);
    if (why != R_NONE)
        return why;
    j->facts = facts;
    j->trail_count = trail;
    return R_NONE;
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
    why = judge_stage(c, j, STAGE_TARGET, false);
    return why == R_NONE ? judge_early(c, j) : why;
}

void judge_choose(struct judgement *j, size_t index)
{
    j->facts.known |= KNOWN_ADDRESS;
    j->facts.server = j->addresses[index];
    j->facts.zone_out = j->zones[index];
    j->verdict.policy = j->policies[index];
}

/* What was resolved must hold what the client dialled; that, and nothing else, is dialled then. */
static enum reason cut_to_original(struct judgement *j)
{
    if (j->original.family == 0 || j->host_check == HOST_CHECK_RESOLVE)
        return R_NONE;
    for (size_t i = 0; i < j->address_count; i++) {
        if (!addr_same_ip(&j->addresses[i], &j->original))
            continue;
        j->addresses[0] = j->original;
        j->address_count = 1;
        return R_NONE;
    }
    return j->mismatch;
}

enum reason judge_addresses(const struct judge_context *c, struct judgement *j, bool last)
{
    enum reason fits = cut_to_original(j);

    if (fits != R_NONE)
        return fits;
    for (size_t i = 0; i < j->address_count; i++) {
        enum reason why = find_zone(c, j, i);

        j->policies[i] = -1;
        judge_choose(j, i);
        if (why == R_NONE)
            why = judge_stage(c, j, STAGE_ADDRESS, last);
        if ((why == R_NONE || why == R_NO_POLICY) && judge_is_listener(c, &j->addresses[i]))
            why = R_LOOP;
        if (why != R_NONE)
            return why;
        j->policies[i] = j->verdict.policy;
    }
    judge_choose(j, 0);
    return R_NONE;
}

enum reason judge_way(const struct judge_context *c, struct judgement *j)
{
    return judge_addresses(c, j, (j->facts.known & KNOWN_PROTOCOL) != 0);
}

enum reason judge_as(const struct judge_context *c, struct judgement *j, unsigned protocol,
                     enum reason (*judge)(const struct judge_context *c, struct judgement *j))
{
    const unsigned as[] = { protocol, CONF_TUNNEL };
    const size_t trail = j->trail_count; /* of several tries the last one is told */
    enum reason why;

    j->facts.known &= ~(unsigned)KNOWN_PROTOCOL;
    why = judge(c, j);
    if (why != R_NONE || protocol == 0)
        return why;
    j->facts.known |= KNOWN_PROTOCOL;
    for (size_t i = 0; i < sizeof(as) / sizeof(as[0]); i++) {
        j->trail_count = trail;
        j->facts.protocol = as[i];
        if (judge(c, j) == R_NONE)
            return R_NONE;
    }
    return R_TUNNEL_PROTOCOL;
}
