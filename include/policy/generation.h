/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_GENERATION_H
#define POSTERN_POLICY_GENERATION_H

#include "conf/conf_hosts.h"
#include "policy/rules.h"
#include "policy/ws_match.h"

#define INSTANCE_TEXT 24
#define RESOLVER_SERVERS 8

/*
 * What a configuration means: everything that a worker needs to decide, immutable and reference-counted. A session keeps the one it
 * began with until it is judged again.
 */
struct generation {
    unsigned refs;
    uint16_t number; /* 1, 2, ...: of this posternd */
    struct conf *conf;
    struct rules *rules;
    struct ws_match **matches; /* one a policy; NULL: it has no rules about the content of WebSocket messages */
    struct hostset *files;     /* one a policy; memory is mapped */
    const struct conf_hosts *hosts;
    struct span hosts_memory; /* it is mapped; empty: it was parsed here */
    struct addr servers[RESOLVER_SERVERS];
    size_t server_count;
    struct span *tls_files; /* one for each of conf->tls_files, mapped while contexts are made; NULL: not loaded here */
    int64_t *tls_ends;      /* likewise, in control: when the certificate in it ends, in seconds of wall time; 0: not told */
    struct secure *secure;  /* contexts made of them (session/secure.h); freed by secure_free */
    void (*secure_free)(struct secure *secure);
    char instance[INSTANCE_TEXT]; /* "postern-1a2b3c4d": the default Via pseudonym, the same in all workers */
};

/* Unmaps what is left of tls_files; contexts have been made. */
void generation_forget_tls_files(struct generation *g);

/* Compiles what is in `conf` and `files`: rules and matches. false: no memory. */
MUST_CHECK bool generation_compile(struct generation *g);

struct generation *generation_ref(struct generation *g);
/* Frees it, and what it maps, with the last reference. NULL is fine. */
void generation_unref(struct generation *g);

#endif
