/* SPDX-License-Identifier: ISC */
/*
 * Contracts of one WebSocket. Two kinds of bounds: rates, which any side may have, and the push contract, which ties what the
 * server says to what the client said before. Both are asked before a frame passes, so nothing beyond a bound ever does.
 *
 * A bucket counts thousandths of a token: then a rate in tokens a second is what one millisecond adds, and nothing is lost to
 * rounding however often it is filled up. All arithmetic stops at the ends of its range: a bucket that would hold more holds
 * UINT64_MAX, and a cost that cannot be written is never paid.
 *
 * All bounds are asked before any of them is charged: a message that one refuses costs nothing of the others. A client that was
 * admitted has not spoken yet: what it says may still be held, and denied. What gives the server a right is what passed on.
 */
#include "policy/ws_contract.h"

#define TOKEN 1000

static uint64_t sum(uint64_t a, uint64_t b)
{
    uint64_t result;

    return __builtin_add_overflow(a, b, &result) ? UINT64_MAX : result;
}

static uint64_t product(uint64_t a, uint64_t b)
{
    uint64_t result;

    return __builtin_mul_overflow(a, b, &result) ? UINT64_MAX : result;
}

/* What a bucket of this rate holds: a burst, and never less than one token. */
static uint64_t room(uint64_t rate, uint32_t burst)
{
    uint64_t most = product(rate, burst);

    return rate == 0 ? UINT64_MAX : most > TOKEN ? most : TOKEN;
}

static void fill(struct ws_bucket *b, uint64_t rate, uint32_t burst, uint64_t now)
{
    uint64_t most = room(rate, burst), level = sum(b->level, product(rate, now - b->at));

    *b = (struct ws_bucket){ level < most ? level : most, now };
}

/* Takes tokens out if all of them are there. */
static bool take(struct ws_bucket *b, uint64_t rate, uint32_t burst, uint64_t tokens, uint64_t now)
{
    uint64_t cost;

    if (rate == 0)
        return true;
    fill(b, rate, burst, now);
    if (__builtin_mul_overflow(tokens, (uint64_t)TOKEN, &cost) || cost > b->level)
        return false;
    b->level -= cost;
    return true;
}

void ws_contract_init(struct ws_contract *c, const struct conf_websocket *conf, uint64_t now)
{
    *c = (struct ws_contract){ .spoke = now };
    for (size_t d = 0; d < DIRECTIONS; d++) {
        c->messages[d] = c->bytes[d] = (struct ws_bucket){ UINT64_MAX, now };
    }
    ws_contract_renew(c, conf, now);
}

/* A bucket that never had a rate is full to the brim of what one could hold, so a rate that comes later finds it full. */
void ws_contract_renew(struct ws_contract *c, const struct conf_websocket *conf, uint64_t now)
{
    c->conf = conf;
    for (size_t d = 0; d < DIRECTIONS; d++) {
        const struct conf_ws_side *side = &conf->sides[d];

        fill(&c->messages[d], side->messages_per_second, side->burst, now);
        fill(&c->bytes[d], side->bytes_per_second, side->burst, now);
    }
}

/* May the server speak now? */
static bool may_push(const struct ws_contract *c, uint64_t now)
{
    const struct conf_websocket *conf = c->conf;

    if (!conf->server_first && !c->client_began)
        return false;
    return conf->quiet_after == 0 || now - c->spoke <= conf->quiet_after;
}

static bool may_push_message(const struct ws_contract *c, uint64_t now)
{
    uint32_t most = c->conf->messages_per_client_message;

    return may_push(c, now) && (most == 0 || c->pushes < most);
}

static bool may_push_bytes(const struct ws_contract *c, uint64_t bytes, uint64_t now)
{
    uint32_t ratio = c->conf->bytes_per_client_byte;
    uint64_t most = product(c->spoke_bytes > 0 ? c->spoke_bytes : 1, ratio);

    return may_push(c, now) && (ratio == 0 || (c->push_bytes <= most && bytes <= most - c->push_bytes));
}

enum reason ws_contract_message(struct ws_contract *c, enum direction from, uint64_t now)
{
    const struct conf_ws_side *side = &c->conf->sides[from];

    if (!side->send)
        return R_SEND_DENIED;
    if (from == DOWN && !may_push_message(c, now))
        return R_PUSH_CONTRACT;
    if (!take(&c->messages[from], side->messages_per_second, side->burst, 1, now))
        return R_RATE_EXCEEDED;
    c->pushes += from == DOWN;
    return R_NONE;
}

enum reason ws_contract_payload(struct ws_contract *c, enum direction from, uint64_t bytes, uint64_t now)
{
    const struct conf_ws_side *side = &c->conf->sides[from];

    if (from == DOWN && !may_push_bytes(c, bytes, now))
        return R_PUSH_CONTRACT;
    if (!take(&c->bytes[from], side->bytes_per_second, side->burst, bytes, now))
        return R_RATE_EXCEEDED;
    if (from == DOWN)
        c->push_bytes = sum(c->push_bytes, bytes);
    return R_NONE;
}

void ws_contract_said(struct ws_contract *c, bool begins, uint64_t bytes, uint64_t now)
{
    if (begins)
        c->pushes = c->push_bytes = c->spoke_bytes = 0;
    c->client_began = true;
    c->spoke_bytes = sum(c->spoke_bytes, bytes);
    c->spoke = now;
}

static void forget(struct ws_control *c, uint64_t now)
{
    while (c->used > 0 && now - c->last[c->first] >= WS_CONTROL_WINDOW) {
        c->count -= c->counts[c->first];
        c->first = (c->first + 1) % WS_CONTROL_SLOTS;
        c->used--;
    }
}

/* The slot of this moment. There is always one: the oldest is less than 10 s old, and no two begin less than a slot apart. */
static uint32_t slot_of(struct ws_control *c, uint64_t now)
{
    uint32_t newest = (c->first + c->used + WS_CONTROL_SLOTS - 1) % WS_CONTROL_SLOTS;

    if (c->used > 0 && c->last[newest] / WS_CONTROL_SLOT == now / WS_CONTROL_SLOT)
        return newest;
    newest = (c->first + c->used++) % WS_CONTROL_SLOTS;
    c->counts[newest] = 0;
    return newest;
}

enum reason ws_control_take(struct ws_control *c, uint32_t most, uint64_t now)
{
    uint32_t slot;

    forget(c, now);
    if (most > 0 && c->count >= most)
        return R_CONTROL_FLOOD;
    slot = slot_of(c, now);
    c->last[slot] = now;
    c->counts[slot]++;
    c->count++;
    return R_NONE;
}
