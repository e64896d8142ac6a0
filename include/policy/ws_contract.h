/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_WS_CONTRACT_H
#define POSTERN_POLICY_WS_CONTRACT_H

#include "conf/conf.h"

/*
 * What a policy lets each side of one WebSocket say, and when: rates (token buckets that hold `burst` of a rate, and always room
 * for one token, and begin full), who may speak at all, and the push contract of the server. Pure: time is a parameter, in
 * milliseconds, and never goes back. Each question that is answered with R_NONE is an admission and is counted; one that is refused
 * is not. What an admission of the client gives the server is counted apart, when it passes.
 */
#define WS_CONTROL_WINDOW 10000 /* ms */
#define WS_CONTROL_SLOT 500     /* ms */
#define WS_CONTROL_SLOTS (WS_CONTROL_WINDOW / WS_CONTROL_SLOT + 1)

struct ws_bucket {
    uint64_t level; /* thousandths of a token; UINT64_MAX if there was no rate yet */
    uint64_t at;    /* ms: when it was filled up last */
};

/* Control frames of one side, by slots of half a second: those of 10 s before the last one fit. All zero: there was none. */
struct ws_control {
    uint64_t last[WS_CONTROL_SLOTS]; /* ms: a slot's last frame */
    uint32_t counts[WS_CONTROL_SLOTS];
    uint32_t first, used; /* the oldest slot, and how many there are from there on */
    uint32_t count;       /* in all of them */
};

struct ws_contract {
    const struct conf_websocket *conf;
    struct ws_bucket messages[DIRECTIONS], bytes[DIRECTIONS];
    bool client_began;    /* of the client a data message passed */
    uint64_t spoke;       /* ms: when its last data frame passed; before the first: when the WebSocket opened */
    uint64_t pushes;      /* data messages of the server since the client's last one began to pass */
    uint64_t push_bytes;  /* payload of the server since then */
    uint64_t spoke_bytes; /* payload of the client's last message */
};

void ws_contract_init(struct ws_contract *c, const struct conf_websocket *conf, uint64_t now);
/* Another policy is in force: what was counted stays, buckets are no fuller than the new one lets them be. The policy before is not
 * looked at. */
void ws_contract_renew(struct ws_contract *c, const struct conf_websocket *conf, uint64_t now);

/* A data message begins (UP: of the client). R_NONE, R_SEND_DENIED, R_RATE_EXCEEDED, R_PUSH_CONTRACT. */
MUST_CHECK enum reason ws_contract_message(struct ws_contract *c, enum direction from, uint64_t now);
/*
 * A data frame announces this much payload: one of the message that began last. R_NONE, R_RATE_EXCEEDED (also if it is more than
 * the bucket ever holds), R_PUSH_CONTRACT. Before the first message of the client the server may say as much as after an empty one.
 */
MUST_CHECK enum reason ws_contract_payload(struct ws_contract *c, enum direction from, uint64_t bytes, uint64_t now);
/* Of a client's data message this much payload passes on to the server: its first frame (`begins`), another one, or all at once. */
void ws_contract_said(struct ws_contract *c, bool begins, uint64_t bytes, uint64_t now);
/*
 * A ping or pong of a side that may send `most` of them in 10 s (0: any number). R_NONE or R_CONTROL_FLOOD. No span of 10 s holds
 * more than the limit, wherever it begins. The price: one counts for 10 s after the last one of its slot, so for at most 10.5 s.
 */
MUST_CHECK enum reason ws_control_take(struct ws_control *c, uint32_t most, uint64_t now);

#endif
