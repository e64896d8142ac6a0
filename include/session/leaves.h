/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_LEAVES_H
#define POSTERN_SESSION_LEAVES_H

#include "session/engine.h"

/*
 * Leaves that stand for servers towards inspected clients: a cache of those that were minted, and the questions to the minter that
 * are not answered yet. A leaf fits one context, the one for inspection of the generation that the session has
 * (secure_inspect(s->generation->secure), whose key it names and whose chain (secure_inspect_chain()) goes with it): the cache is
 * kept by context, too, and holds references to it. One an engine; made and freed by it.
 */
struct leaves;
struct session;

struct leaf_wish {
    struct host name;    /* DNS name or address that the leaf is to name */
    int64_t from, until; /* validity of the server's certificate, seconds of wall time */
    bool failing;        /* the server is not good: the leaf says so */
};

/* NULL: no memory. */
MUST_CHECK struct leaves *leaves_new(struct engine *e);
void leaves_free(struct leaves *l);

/*
 * A leaf for a session's client. HERE: *leaf is a reference of the caller's. ASKED: handshake_leaf() is called later, in another
 * turn, once. NONE: the minter cannot be asked, or this client asks too often. At most one question a session.
 */
enum leaves_result { LEAVES_HERE, LEAVES_ASKED, LEAVES_NONE };
MUST_CHECK enum leaves_result leaves_ask(struct session *s, const struct leaf_wish *wish, struct tls_leaf **leaf);
/* The session does not wait any more; it need not have asked. What is minted goes into the cache all the same. */
void leaves_cancel(struct session *s);

/* handshake.c: the answer. Takes the reference over; NULL: refused, or the minter is gone. May end the session. */
void handshake_leaf(struct session *s, struct tls_leaf *leaf);

#endif
