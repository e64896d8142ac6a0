/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_GENERATION_LOAD_H
#define POSTERN_APP_GENERATION_LOAD_H

#include "app/ipc.h"
#include "policy/generation.h"

#include <limits.h>

/* The payload of IPC_GENERATION. */
struct wire_generation {
    uint16_t number;
    uint32_t server_count;
    struct addr servers[RESOLVER_SERVERS];
    char instance[INSTANCE_TEXT];
    char file[PATH_MAX];
};

/* A generation on its way in. Zero it before first use. */
struct generation_inbox {
    struct generation *growing;
    char error[512]; /* the first thing that went wrong; "" : nothing */
};

/* IPC_GENERATION and IPC_HOSTSETS: takes their descriptors. What is wrong with them is said by generation_finish(). */
void generation_begin(struct generation_inbox *in, struct ipc_message *m);
void generation_hostsets(struct generation_inbox *in, struct ipc_message *m);
/* IPC_TLS_FILES: likewise, of workers. */
void generation_tls_files(struct generation_inbox *in, struct ipc_message *m);
/* IPC_TLS_ENDS: likewise, of control. */
void generation_tls_ends(struct generation_inbox *in, const struct ipc_message *m);
/* IPC_COMMIT: the generation, with one reference that is the caller's; NULL: in->error says why. */
MUST_CHECK struct generation *generation_finish(struct generation_inbox *in);

#endif
