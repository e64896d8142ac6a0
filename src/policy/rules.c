/* SPDX-License-Identifier: ISC */
/*
 * The judge. It is asked several times a request, so it does not walk policies: it joins the sets of policies that each condition
 * leaves standing (conditions.c) and looks only at what is left, in order. No allocation, no lock, no clock.
 *
 * Before the protocol is known, a policy that denies http, websocket and tls would be "unknown" and so skipped, though nothing that
 * it leaves open could be allowed by anybody: a name would be resolved for nothing. So then each protocol that a flow can turn out
 * to be is judged as if it were known, and the stage is granted if one of them would be.
 */
#include "policy/rules_index.h"

const char *stage_name(enum stage s)
{
    static const char *const names[STAGE_COUNT] = { "flow", "target", "address", "first-bytes", "exchange", "upgrade" };

    return (unsigned)s < STAGE_COUNT ? names[s] : "?";
}

static struct verdict denied(enum reason reason)
{
    return (struct verdict){ .policy = -1, .reason = reason };
}

static struct verdict decided_by(const struct rules *r, size_t index, bool remembered)
{
    enum conf_action action = r->conf->policies[index].action;

    return (struct verdict){ .granted = action == ACTION_ALLOW,
                             .remembered = remembered,
                             .drop = action == ACTION_DROP,
                             .policy = (int)index,
                             .reason = action == ACTION_ALLOW ? R_NONE : R_POLICY_DENIED };
}

static bool slow_conditions_fit(const struct view *v, size_t index)
{
    unsigned ask = v->rules->present[index] & v->slow;

    for (; ask != 0; ask &= ask - 1)
        if (!condition_fits(v->rules, index, (enum condition)__builtin_ctz(ask), v->facts))
            return false;
    return true;
}

/*
 * The first policy none of whose conditions is false, and which either has none that is unknown or allows. A later one that is all
 * true would not make the stage any more granted.
 */
static struct verdict walk(const struct view *v)
{
    const struct rules *r = v->rules;
    size_t words = sets_words(r->sets);

    for (size_t w = 0; w < words; w++) {
        uint64_t standing = v->all[w];

        for (unsigned left = v->narrows; left != 0; left &= left - 1)
            standing &= v->mask[__builtin_ctz(left)][w];
        for (; standing != 0; standing &= standing - 1) {
            size_t index = w * 64 + (size_t)__builtin_ctzll(standing);
            bool unknown = (r->present[index] & v->unknown) || (v->tls && rules_inspects(&r->conf->policies[index]));

            if ((!unknown || r->conf->policies[index].action == ACTION_ALLOW) && slow_conditions_fit(v, index))
                return decided_by(r, index, unknown);
        }
    }
    return denied(R_NO_POLICY);
}

/* Of two verdicts about what a flow may turn out to be: the granting one, then the one by the earlier policy. */
static bool is_better(const struct verdict *a, const struct verdict *b)
{
    if (a->granted != b->granted)
        return a->granted;
    return a->policy >= 0 && (b->policy < 0 || a->policy < b->policy);
}

static struct verdict walk_protocols(struct view *v)
{
    unsigned left = v->facts->listener < 0 ? PROTOCOLS_KERNEL : PROTOCOLS_PROXIED;
    struct verdict best = denied(R_NO_POLICY);
    uint32_t before = UINT32_MAX;

    v->unknown &= ~COND_BIT(COND_PROTOCOLS);
    v->narrows |= COND_BIT(COND_PROTOCOLS);
    for (; left != 0; left &= left - 1) {
        uint32_t set = v->rules->protocols[__builtin_ctz(left)];
        struct verdict one;

        if (set == before) /* the same policies, the same verdict */
            continue;
        before = set;
        v->mask[COND_PROTOCOLS] = sets_at(v->rules->sets, set);
        one = walk(v);
        if (is_better(&one, &best))
            best = one;
    }
    best.remembered = best.granted;
    return best;
}

bool rules_admit(const struct rules *r, int listener, int zone_in)
{
    if (zone_in < 0 || (size_t)zone_in >= r->zone_count || listener < 0 || (size_t)listener >= r->conf->listener_count)
        return false;
    return r->admits[(size_t)listener * r->zone_count + (size_t)zone_in];
}

static bool is_admitted(const struct rules *r, const struct facts *f)
{
    if (f->listener < 0)
        return f->zone_in >= 0 && (size_t)f->zone_in < r->zone_count;
    return rules_admit(r, f->listener, f->zone_in);
}

/* What no policy can allow: sides that are in no zone, and clients of zones that the listener is not for. */
static enum reason check_zones(const struct rules *r, const struct facts *f)
{
    struct network block;

    if ((f->known & KNOWN_FLOW) && !is_admitted(r, f))
        return R_ZONE_UNKNOWN;
    if ((f->known & KNOWN_ADDRESS) && !f->operators_word && f->zone_out == ZONE_NONE)
        return addr_special(&f->server, &block) ? R_ADDRESS_PRIVATE : R_ZONE_UNKNOWN;
    return R_NONE;
}

const struct conf *rules_conf(const struct rules *rules)
{
    return rules->conf;
}

const struct zones *rules_zones(const struct rules *rules)
{
    return rules->zones;
}

struct verdict rules_judge(const struct rules *rules, const struct facts *facts, bool last)
{
    enum reason why = check_zones(rules, facts);
    struct view v;

    if (why != R_NONE)
        return denied(why);
    view_init(&v, rules, facts, last);
    return v.unknown & COND_BIT(COND_PROTOCOLS) ? walk_protocols(&v) : walk(&v);
}
