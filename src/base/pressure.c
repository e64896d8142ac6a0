/* SPDX-License-Identifier: ISC */
/*
 * From bytes to a level of pressure. A level begins higher than it ends.
 */
#include "base/pressure.h"

static uint64_t thousandths(uint64_t used, uint64_t limit)
{
    return used < UINT64_MAX / 1000 ? used * 1000 / limit : used / (limit / 1000 + 1);
}

static enum pressure_level level_at(enum pressure_level before, uint64_t at)
{
    if (at >= (before == PRESSURE_FULL ? PRESSURE_FULL_UNTIL : PRESSURE_FULL_AT))
        return PRESSURE_FULL;
    return at >= (before == PRESSURE_NONE ? PRESSURE_HIGH_AT : PRESSURE_HIGH_UNTIL) ? PRESSURE_HIGH : PRESSURE_NONE;
}

struct pressure pressure_of(enum pressure_level before, uint64_t used, uint64_t limit)
{
    struct pressure p = { PRESSURE_NONE, 1000 };
    uint64_t at;

    if (limit == 0)
        return p;
    at = thousandths(used, limit);
    p.level = level_at(before, at);
    if (at >= PRESSURE_FULL_AT)
        p.left = 0;
    else if (at > PRESSURE_HIGH_AT)
        p.left = (uint32_t)((PRESSURE_FULL_AT - at) * 1000 / (PRESSURE_FULL_AT - PRESSURE_HIGH_AT));
    return p;
}

const char *pressure_name(enum pressure_level level)
{
    static const char *const names[PRESSURE_LEVELS] = { "good", "tight", "full" };

    return (unsigned)level < PRESSURE_LEVELS ? names[level] : "?";
}
