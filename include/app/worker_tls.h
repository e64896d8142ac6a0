/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_WORKER_TLS_H
#define POSTERN_APP_WORKER_TLS_H

#include "app/ipc.h"
#include "net/tls.h"
#include "policy/generation.h"

/* What a worker has for TLS beside its generations. */
struct worker_tls {
    struct tls_tickets *tickets;
    int keylog;     /* the same number for ever once it is not -1 */
    bool logs_keys; /* for the generation that is on its way, and later ones */
};

void worker_tls_start(struct worker_tls *t);
/* When no context is left. */
void worker_tls_end(struct worker_tls *t);

/* IPC_TICKETS, IPC_KEYLOG */
void worker_tls_tickets(struct worker_tls *t, struct ipc_message *m);
void worker_tls_keylog(struct worker_tls *t, struct ipc_message *m);

/* Makes the contexts of a generation and forgets its files. false: `error` of WORKER_TLS_ERROR bytes says why. */
#define WORKER_TLS_ERROR 512
MUST_CHECK bool worker_tls_make(struct worker_tls *t, struct generation *g, const struct generation *before, char *error);

#endif
