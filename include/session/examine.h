/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_EXAMINE_H
#define POSTERN_SESSION_EXAMINE_H

#include "session/session.h"

/* Where a request came in. */
struct examine {
    const struct generation *generation;
    const struct conf_listener *listener;
    const struct tunnel *tunnel; /* NULL: not inside one */
    bool secure;                 /* the request came inside TLS of its own, which ends here */
    const struct host *name;     /* that the client's TLS handshake with the listener asked for; NULL: none */
    const struct addr *original; /* transparent: what the client dialled; NULL otherwise */
    size_t upstream_index;       /* reverse: which upstream's turn it is */
    struct host_memo *hosts;     /* what Host fields said before */
    char *scratch;               /* takes the normalised path: TARGET_BUFFER(length of the target) bytes */
};

/*
 * Everything about a request that its head alone tells: target, Host, protocol, handshake, loops. Fills the judgement's host, what
 * is dialled, port, and facts. R_NONE or the reason for the refusal; `target` is valid as far as it was read.
 */
MUST_CHECK enum reason examine_request(const struct examine *q, const struct h1_head *head, struct target *target,
                                       struct judgement *j, struct ws_offer *offer);
/* The same for CONNECT on an explicit listener: authority-form, Host the same, no body (RFC 9110 9.3.6). */
MUST_CHECK enum reason examine_connect(const struct examine *q, const struct h1_head *head, struct target *target);
/* The last stages, once all addresses are known; for a WebSocket with what the policy says of its handshake. */
MUST_CHECK enum reason examine_addresses(const struct judge_context *c, struct judgement *j, const struct h1_head *head,
                                         struct ws_offer *offer);

#endif
