/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_LEDGER_H
#define POSTERN_POLICY_LEDGER_H

#include "base/reason.h"

/*
 * The ledger of one upstream connection: what the client opened on it, and so what the server may say. Every byte of a server is
 * shown to the ledger before it is shown to anybody else. One exchange at a time is open on a connection: requests that a client
 * sent ahead wait in the session, unread, until the answer before them is complete. Pure: positions and facts in, a reason out. A
 * call that the state does not allow condemns.
 */
enum ledger_state {
    LEDGER_IDLE,      /* nothing is owed: every byte is unsolicited */
    LEDGER_ASKED,     /* a request was begun: an answer is owed, interim ones may come first */
    LEDGER_ANSWERING, /* the head of the final answer was read: its body is owed */
    LEDGER_ANSWERED,  /* the answer is complete, the request is not yet */
    LEDGER_UPGRADED,  /* both sides may send frames */
    LEDGER_TUNNEL,    /* both sides may send bytes */
    LEDGER_CONDEMNED  /* a rule was broken: nothing more is believed */
};

struct ledger {
    enum ledger_state state;
    bool upgrade_asked;
    bool request_done; /* the whole request, body included, was handed to the kernel's care */
    bool first_seen;   /* a byte of the answer was seen */
    unsigned interim;  /* interim answers so far */
    unsigned interim_max;
};

/* A fresh connection. */
void ledger_init(struct ledger *l);
/* The client opened an exchange. Only from IDLE. */
void ledger_open(struct ledger *l, bool upgrade_asked, unsigned interim_max);
/* The client opened a tunnel on a fresh connection. */
void ledger_open_tunnel(struct ledger *l);
/* The last byte of the request was given away. */
void ledger_request_end(struct ledger *l);

/*
 * The server sent bytes. R_NONE: they may be parsed. R_UNSOLICITED_BYTES: nobody asked for anything. R_SURPLUS_ANSWER: the answer
 * was complete before them, though the request is not. Then the ledger is condemned.
 */
MUST_CHECK enum reason ledger_bytes(struct ledger *l);
/* Must the position be asked for (ledger_causality) before these bytes are believed? True for the first bytes of an answer. */
bool ledger_wants_position(const struct ledger *l);
/*
 * `acknowledged`: had the peer's kernel acknowledged the whole head of the request? Asked for after the answer's first bytes were
 * read (design.md, causality). R_ANSWER_BEFORE_REQUEST if not.
 */
MUST_CHECK enum reason ledger_causality(struct ledger *l, bool acknowledged);
/* A head with this status was read. R_NONE, R_INTERIM_LIMIT or R_UPGRADE_UNASKED. After a 101 the caller checks the handshake. */
MUST_CHECK enum reason ledger_answer(struct ledger *l, unsigned status);
/* The handshake was good: frames may flow. */
void ledger_upgrade(struct ledger *l);
/* The last byte of the answer was read. */
void ledger_answer_end(struct ledger *l);
/* Nothing of this connection is to be believed any more. */
void ledger_condemn(struct ledger *l);

/* Is nothing owed in either direction? Only then may another request be sent on this connection. */
bool ledger_is_settled(const struct ledger *l);

#endif
