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

/*
 * A whole message, inflated and unmasked. Returns the index of the rule that denies it, or -1. A pattern that runs into the match
 * limit denies (fail closed). Binary messages fit no pattern and are no JSON: json rules deny them.
 */
MUST_CHECK int ws_match_judge(const struct ws_match *m, enum direction from, bool text, struct span message);

#endif
