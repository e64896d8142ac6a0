/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_WS_MATCH_H
#define POSTERN_POLICY_WS_MATCH_H

#include "conf/conf.h"

/* Rules about the content of messages, compiled. One for each policy that has any, in the generation. */
struct ws_match;

/* `conf` must outlive it. NULL: no memory (conf/ has tried the patterns). */
MUST_CHECK struct ws_match *ws_match_new(const struct conf_websocket *conf);
void ws_match_free(struct ws_match *m);

/* Are there rules about messages of this side? */
bool ws_match_asks(const struct ws_match *m, enum direction from);

struct ws_verdict {
    int rule;      /* index of the one that denies the message, or that could not judge it; -1: it is allowed */
    bool gave_up;  /* it could not be judged: too much work, or time. It is denied */
    uint64_t past; /* us of processor time beyond what the length of the message explains */
};

/*
 * A whole message, inflated and unmasked. All rules together may take 5 ms of processor time and 10 ns more for each byte.
 * Whatever cannot be judged within that is denied. Binary messages fit no pattern and are no JSON: json rules deny them.
 */
struct ws_verdict ws_match_judge(const struct ws_match *m, enum direction from, bool text, struct span message);

/* What judging the messages of one stream took, beyond what their length explains. Zeroed by its owner. */
struct ws_effort {
    uint64_t us, at; /* at: ms, of the last message */
};
/* `us` more at `now` (ms). false: that is more than 100 ms in a second. */
MUST_CHECK bool ws_effort_take(struct ws_effort *e, uint64_t us, uint64_t now);

#endif
