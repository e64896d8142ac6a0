/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_WS_CONTRACT_H
#define POSTERN_POLICY_WS_CONTRACT_H

#include "conf/conf.h"

/*
 * What a policy lets each side of one WebSocket say, and when: rates (token buckets that hold `burst` of a rate and begin full),
 * who may speak at all, and the push contract of the server. Pure: time is a parameter, in milliseconds, and never goes back. Each
 * question that is answered with R_NONE is an admission and is counted; one that is refused is not.
 */
struct ws_bucket {
    uint64_t level; /* thousandths of a token */
    uint64_t at;    /* ms */
};
struct ws_contract {
    const struct conf_websocket *conf;
    struct ws_bucket messages[2], bytes[2]; /* by direction */
    uint64_t control_window[2];             /* ms: when the window of 10 s began */
    uint32_t control_count[2];
    uint64_t client_spoke;                     /* ms: its last data message; 0: never */
    uint64_t pushes, push_bytes, client_bytes; /* of the server since the client's last message; of that message */
};

void ws_contract_init(struct ws_contract *c, const struct conf_websocket *conf, uint64_t now);
/* Another policy is in force: what was counted stays, buckets are no fuller than the new one lets them be. */
void ws_contract_renew(struct ws_contract *c, const struct conf_websocket *conf, uint64_t now);

/* A data message begins (UP: of the client). R_NONE, R_SEND_DENIED, R_RATE_EXCEEDED, R_PUSH_CONTRACT. */
MUST_CHECK enum reason ws_contract_message(struct ws_contract *c, enum direction from, uint64_t now);
/* A data frame of it announces this much payload. R_NONE, R_RATE_EXCEEDED, R_PUSH_CONTRACT. */
MUST_CHECK enum reason ws_contract_payload(struct ws_contract *c, enum direction from, uint64_t bytes, uint64_t now);
/* A ping or pong. R_NONE or R_CONTROL_FLOOD. */
MUST_CHECK enum reason ws_contract_control(struct ws_contract *c, enum direction from, uint64_t now);

#endif
