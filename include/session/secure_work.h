/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_SECURE_WORK_H
#define POSTERN_SESSION_SECURE_WORK_H

#include "session/secure.h"

/*
 * How the contexts of a generation are made; private to secure_contexts.c (what is made once, look-ups), secure_sites.c (of
 * listeners) and secure_upstreams.c (towards servers and for inspection).
 */
#define SECURE_NONE (-1)

struct digest {
    uint64_t a, b;
};

/* Certificates that serve together: indices of pairs, or SECURE_NONE. */
struct choice {
    int ecdsa, rsa;
};

struct site {
    char *name; /* "x.example" or "*.example" */
    struct choice choice;
    struct tls_context *context;
};

struct sites {
    struct site *items; /* sorted by name, once all are known */
    size_t count, room;
    struct tls_context *first; /* for unknown names; NULL: refused */
    struct digest asked;       /* what is asked of clients' certificates */
};

struct made {
    struct digest digest;
    struct tls_context *context;
};

struct secure {
    size_t listener_count, policy_count;
    struct sites *listeners;
    struct tls_context **upstreams; /* by policy; NULL: it needs none */
    struct tls_context *inspect;    /* one of made */
    char *chain;
    size_t chain_len;
    struct made *made;
    size_t made_count, made_room;
};

/* While it is made. */
struct secure_work {
    const struct secure_inputs *in;
    struct secure *s;
    struct digest *files; /* one for each of conf->tls_files */
    bool *warned;         /* likewise: its certificate expires, and that was said */
    bool failed, no_memory;
    char error[TLS_ERROR];
};

/* SipHash of these bytes under the keys of this process. */
struct digest secure_digest_of(struct span bytes);
/* The bytes of a file, and their digest; of none (-1) the empty span and zeroes. */
struct span secure_file_at(const struct secure_work *w, int index);
struct digest secure_file_digest(const struct secure_work *w, int index);

void secure_complain(struct secure_work *w, unsigned line, const char *key, const char *text);
void secure_complain_of_file(struct secure_work *w, int file, const char *text);
void secure_no_memory(struct secure_work *w);
/* Warns, once a file, of a certificate that is about to expire. */
void secure_check_life(struct secure_work *w, int file);

/* Room for one more item in an array; NULL: no memory, and it is as it was. */
void *secure_grow(void *items, size_t count, size_t *room, size_t size);
/* A context that was made of the same, now or the last time; the reference is that of w->s->made. NULL: there is none. */
struct tls_context *secure_find(struct secure_work *w, const struct digest *digest);
/* Takes the reference; NULL: no memory. */
struct tls_context *secure_remember(struct secure_work *w, const struct digest *digest, struct tls_context *context);

/* The sites of one listener. */
void secure_make_sites(struct secure_work *w, size_t index);
/* Contexts towards servers; true if a policy inspects. */
bool secure_make_upstreams(struct secure_work *w);
void secure_make_inspect(struct secure_work *w);

#endif
