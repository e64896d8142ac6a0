/* SPDX-License-Identifier: ISC */
/*
 * The ledger: the rule that Postern is named after, as a small machine. The server owns no state here: only what the client opens
 * moves it out of IDLE, and each answer moves it back. Whoever passes on a byte of a server without asking ledger_bytes() first has
 * a bug. A step that its state does not allow condemns, too, and nothing leads out of CONDEMNED: an error of ours ends a stream, it
 * opens none.
 */
#include "policy/ledger.h"

#include "base/mutant.h"

#include <string.h>

void ledger_init(struct ledger *l)
{
    memset(l, 0, sizeof(*l));
}

void ledger_condemn(struct ledger *l)
{
    l->state = LEDGER_CONDEMNED;
}

static enum reason condemned(struct ledger *l, enum reason why)
{
    ledger_condemn(l);
    return why;
}

static void step(struct ledger *l, enum ledger_state from, enum ledger_state to)
{
    l->state = FAULT(LEDGER_STEP, l->state != from) ? LEDGER_CONDEMNED : to;
}

void ledger_open(struct ledger *l, bool upgrade_asked, unsigned interim_max)
{
    step(l, LEDGER_IDLE, LEDGER_ASKED);
    l->upgrade_asked = upgrade_asked;
    l->request_done = l->first_seen = false;
    l->interim = 0;
    l->interim_max = interim_max;
}

void ledger_open_tunnel(struct ledger *l)
{
    step(l, LEDGER_IDLE, LEDGER_TUNNEL);
}

void ledger_request_end(struct ledger *l)
{
    l->request_done = true;
    if (l->state == LEDGER_ANSWERED)
        l->state = LEDGER_IDLE;
}

enum reason ledger_bytes(struct ledger *l)
{
    switch (l->state) {
    case LEDGER_ASKED:
    case LEDGER_ANSWERING:
    case LEDGER_UPGRADED:
    case LEDGER_TUNNEL:
        return R_NONE;
    case LEDGER_ANSWERED:
        return FAULT(LEDGER_SURPLUS_BYTES, true) ? condemned(l, R_SURPLUS_ANSWER) : R_NONE;
    case LEDGER_IDLE:
        return FAULT(C17_LEDGER, true) ? condemned(l, R_UNSOLICITED_BYTES) : R_NONE;
    case LEDGER_CONDEMNED:
        break;
    }
    return FAULT(LEDGER_STAYS_CONDEMNED, true) ? R_UNSOLICITED_BYTES : R_NONE;
}

bool ledger_wants_position(const struct ledger *l)
{
    return l->state == LEDGER_ASKED && !l->first_seen;
}

enum reason ledger_causality(struct ledger *l, bool acknowledged)
{
    l->first_seen = true;
    if (FAULT(LEDGER_CAUSALITY, l->state != LEDGER_ASKED || !acknowledged))
        return condemned(l, R_ANSWER_BEFORE_REQUEST);
    return R_NONE;
}

enum reason ledger_answer(struct ledger *l, unsigned status)
{
    if (FAULT(LEDGER_SECOND_ANSWER, l->state != LEDGER_ASKED))
        return condemned(l, R_SURPLUS_ANSWER);
    if (status == 101)
        return FAULT(LEDGER_UPGRADE_UNASKED, !l->upgrade_asked) ? condemned(l, R_UPGRADE_UNASKED) : R_NONE;
    if (status >= 200) {
        l->state = LEDGER_ANSWERING;
        return R_NONE;
    }
    return FAULT(LEDGER_INTERIM, ++l->interim > l->interim_max) ? condemned(l, R_INTERIM_LIMIT) : R_NONE;
}

void ledger_upgrade(struct ledger *l)
{
    step(l, LEDGER_ASKED, FAULT(LEDGER_UPGRADE, !l->upgrade_asked) ? LEDGER_CONDEMNED : LEDGER_UPGRADED);
}

void ledger_answer_end(struct ledger *l)
{
    step(l, LEDGER_ANSWERING, l->request_done ? LEDGER_IDLE : LEDGER_ANSWERED);
}

bool ledger_is_settled(const struct ledger *l)
{
    return !FAULT(LEDGER_SETTLED, l->state != LEDGER_IDLE);
}
