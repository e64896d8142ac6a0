/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_EXPLAIN_HEAD_H
#define POSTERN_SESSION_EXPLAIN_HEAD_H

#include "session/engine.h"
#include "session/text.h"

/* What the URL of a question says: where to, and what would be spoken. */
struct explain_url {
    struct span scheme, authority; /* of the URL; the scheme may be empty */
    bool tls, websocket, connect;  /* connect: a CONNECT request is asked about, by its method */
};
void explain_url_read(struct explain_url *out, const struct explain_query *query);
/* The host and the port, which the scheme knows if the URL does not say it. false: there is no host. */
MUST_CHECK bool explain_url_target(const struct explain_url *url, struct host *host, uint16_t *port);

/* The head that a client would send to a listener of this mode; text->overflow: it does not fit. */
void explain_head_write(const struct explain_url *url, const struct explain_query *query, enum mode mode, struct text *text);
/* What it would send within TLS. */
void explain_head_write_inside(const struct explain_url *url, const struct explain_query *query, struct text *text);

#endif
