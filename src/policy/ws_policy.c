/* SPDX-License-Identifier: ISC */
/*
 * What a policy says of a WebSocket handshake that it allowed: the pages that may open it (Origin, RFC 6455 10.2), the subprotocols
 * that may be passed on, and whether compression may (permessage-deflate, RFC 7692). The handshake itself was checked before
 * (proto/ws_handshake.h).
 *
 * A compressed message may refer to the ones before it. Where one may vanish for what it says, each has to stand alone.
 */
#include "policy/rules.h"

#include <string.h>

static bool is_listed(const struct conf_strings *list, struct span item)
{
    for (size_t i = 0; i < list->count; i++)
        if (span_eq(span_str(list->items[i]), item))
            return true;
    return false;
}

/* Scheme and host of an origin have no case (RFC 6454 4). */
static bool is_allowed_origin(const struct conf_strings *origins, struct span origin)
{
    for (size_t i = 0; i < origins->count; i++)
        if (span_ieq(span_str(origins->items[i]), origin))
            return true;
    return false;
}

static bool origin_fits(const struct conf_websocket *ws, const struct h1_head *head)
{
    size_t count = h1_count(head, H1_ORIGIN);

    if (ws->origins.count == 0)
        return true;
    if (count == 0)
        return !ws->origin_required;
    return count == 1 && is_allowed_origin(&ws->origins, h1_find(head, H1_ORIGIN)->value);
}

/* Keeps what is allowed of the comma-separated `offered`, in place; false if nothing is left of something. */
static bool reduce(const struct conf_strings *allowed, char *offered)
{
    struct span list = span_str(offered), item;
    size_t used = 0;
    bool any = list.len > 0;

    while (span_next_item(&list, &item)) {
        if (!is_listed(allowed, item))
            continue;
        if (used > 0)
            offered[used++] = ',';
        memmove(offered + used, item.at, item.len);
        used += item.len;
    }
    offered[used] = '\0';
    return used > 0 || !any;
}

static void reduce_deflate(const struct conf_websocket *ws, struct ws_deflate *offer)
{
    if (ws->deflate == DEFLATE_STRIP || ws->deflate == DEFLATE_DENY)
        offer->on = false;
    else if (ws->on_violation == VIOLATION_DROP_MESSAGE)
        ws_deflate_no_context(offer);
}

enum reason rules_websocket(const struct conf_policy *policy, const struct h1_head *head, struct ws_offer *offer)
{
    const struct conf_websocket *ws = &policy->websocket;

    if (!origin_fits(ws, head))
        return R_ORIGIN_DENIED;
    if (ws->subprotocols.count > 0 && !reduce(&ws->subprotocols, offer->protocols))
        return R_SUBPROTOCOL_DENIED;
    if (ws->deflate == DEFLATE_DENY && offer->deflate.named)
        return R_EXTENSION_DENIED;
    reduce_deflate(ws, &offer->deflate);
    return R_NONE;
}
