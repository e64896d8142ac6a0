/* SPDX-License-Identifier: ISC */
/*
 * Near misses: which policies would have allowed this, had one or two conditions been otherwise. For `explain` and for records of
 * denials, so each policy is looked at by itself.
 */
#include "policy/rules_index.h"

/* The conditions of policy `index` that are false. */
static uint32_t false_conditions(const struct view *v, size_t index)
{
    uint32_t set = 0;

    for (unsigned c = 0; c < COND_COUNT; c++) {
        unsigned bit = COND_BIT(c) & v->rules->present[index];
        bool out = (v->narrows & COND_BIT(c)) && !bits_has(v->mask[c], index);

        if (out || ((bit & v->slow) && !condition_fits(v->rules, index, (enum condition)c, v->facts)))
            set |= COND_BIT(c);
    }
    return set;
}

/* Enters a miss behind those that are as near; the farthest falls off the end. */
static size_t enter(struct rules_near *out, size_t count, size_t max, struct rules_near miss)
{
    size_t at = count;

    while (at > 0 && out[at - 1].false_count > miss.false_count)
        at--;
    if (at == max)
        return count;
    if (count < max)
        count++;
    for (size_t i = count - 1; i > at; i--)
        out[i] = out[i - 1];
    out[at] = miss;
    return count;
}

size_t rules_near(const struct rules *rules, const struct facts *facts, bool last, struct rules_near *out, size_t max)
{
    size_t count = 0;
    struct view v;

    view_init(&v, rules, facts, last);
    for (size_t i = 0; i < rules->conf->policy_count; i++) {
        uint32_t set = false_conditions(&v, i);

        if (rules->conf->policies[i].action != ACTION_ALLOW || set == 0)
            continue;
        count = enter(out, count, max,
                      (struct rules_near){ .policy = (int)i,
                                           .condition = (enum condition)__builtin_ctz(set),
                                           .false_count = (unsigned)__builtin_popcount(set),
                                           .false_set = set });
    }
    return count;
}
