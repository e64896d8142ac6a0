/* SPDX-License-Identifier: ISC */
/*
 * Messages that are judged as a whole. Where a policy has match rules about what a side says, its messages wait here: the frames as
 * they came, and what they say, unmasked and inflated. When the last byte is there the rules decide, and the very same frames go on
 * or vanish. So of n messages of which the last is denied n - 1 were delivered. At most one message a direction waits, and it is no
 * larger than message_bytes (ws_inspect.c) and its frame headers; the memory is given back as soon as it is judged.
 *
 * Control frames pass meanwhile: they may stand between the frames of a message, and in front of it.
 */
#include "session/state.h"
#include "session/websocket.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 4096
#define STEP_BYTES 1048576 /* it doubles up to here, and then grows by as much */

bool ws_bytes_add(struct ws_bytes *b, struct span s)
{
    size_t size = b->size > 0 ? b->size : FIRST_BYTES;
    char *larger;

    while (size - b->len < s.len)
        size += size < STEP_BYTES ? size : STEP_BYTES;
    if (size > b->size) {
        larger = realloc(b->at, size);
        if (larger == NULL)
            return false;
        b->at = larger;
        b->size = size;
    }
    if (s.len > 0)
        memcpy(b->at + b->len, s.at, s.len);
    b->len += s.len;
    return true;
}

void ws_bytes_drop(struct ws_bytes *b)
{
    free(b->at);
    memset(b, 0, sizeof(*b));
}

/* The complete message. R_NONE: it goes on, or vanishes. */
static enum reason judge(struct ws_half *h)
{
    struct session *s = h->session;
    struct websocket *w = s->websocket;
    const struct conf_ws_match *rule;
    enum reason why;
    int denied = -1;

    if (w->match != NULL && !h->vanishes)
        denied = ws_match_judge(w->match, h->from, h->text, span_of(h->plain.at, h->plain.len));
    if (denied < 0)
        return R_NONE;
    rule = &w->policy->websocket.matches[denied];
    ws_rules_name(w, s, rule->name, rule->line);
    why = ws_rules_broken(h, R_MATCH_DENIED, ws_rules_may_vanish(h, h->compressed), &h->vanishes);
    if (why == R_NONE)
        ws_rules_name(w, s, "", 0);
    return why;
}

/* Only now it was said. */
static enum reason release(struct ws_half *h)
{
    struct session *s = h->session;

    if (h->from == UP)
        ws_contract_said(&s->websocket->contract, true, h->announced, clock_ms());
    return stream_send(ws_target(s, h->from), span_of(h->raw.at, h->raw.len)) ? R_NONE : R_MEMORY;
}

enum reason ws_hold(struct ws_half *h, struct span run)
{
    enum reason why;

    if (!ws_bytes_add(&h->raw, run))
        return R_MEMORY;
    if (!h->reader.ended)
        return R_NONE;
    why = judge(h);
    ws_bytes_drop(&h->plain);
    if (why == R_NONE && !h->vanishes)
        why = release(h);
    ws_bytes_drop(&h->raw);
    websocket_set_rules(h);
    return why;
}
