/* SPDX-License-Identifier: ISC */
/*
 * Reasons are data: the one table of base/reason.h, looked at from five sides. Nothing else in Postern knows which status or close
 * code a reason has.
 */
#include "base/reason.h"

static const struct {
    const char *name, *proxy_error, *sentence;
    unsigned status, close_code;
} table[R_COUNT] = {
#define X(id, name, status, close, proxy, sentence) [R_##id] = { name, proxy, sentence, status, close },
    REASONS(X)
#undef X
};

const char *reason_name(enum reason r)
{
    return r < R_COUNT ? table[r].name : "?";
}

unsigned reason_status(enum reason r)
{
    return r < R_COUNT ? table[r].status : 500;
}

unsigned reason_close_code(enum reason r)
{
    return r < R_COUNT ? table[r].close_code : 1011;
}

const char *reason_proxy_error(enum reason r)
{
    return r < R_COUNT ? table[r].proxy_error : "";
}

const char *reason_sentence(enum reason r)
{
    return r < R_COUNT ? table[r].sentence : "?";
}

enum reason reason_find(struct span name)
{
    unsigned r = 0;

    while (r < R_COUNT && !span_eq(span_str(table[r].name), name))
        r++;
    return (enum reason)r;
}
