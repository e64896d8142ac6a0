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

bool reason_is_hostile(enum reason r)
{
    static const enum reason hostile[] = { R_HEAD_MALFORMED,  R_FRAMING_AMBIGUOUS,   R_BODY_MALFORMED,    R_HOST_MALFORMED,
                                           R_HELLO_MALFORMED, R_HANDSHAKE_MALFORMED, R_FRAME_MALFORMED,   R_FRAME_UNMASKED,
                                           R_CLOSE_MALFORMED, R_UTF8_INVALID,        R_DEFLATE_MALFORMED, R_CONTROL_FLOOD,
                                           R_TUNNEL_PROTOCOL, R_SOCKS_MALFORMED,     R_PIPELINE_LIMIT,    R_VERSION_UNSUPPORTED,
                                           R_TLS_FLOOD };

    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
        if (hostile[i] == r)
            return true;
    return false;
}

enum reason reason_find(struct span name)
{
    unsigned r = 0;

    while (r < R_COUNT && !span_eq(span_str(table[r].name), name))
        r++;
    return (enum reason)r;
}
