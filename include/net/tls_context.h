/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_TLS_CONTEXT_H
#define POSTERN_NET_TLS_CONTEXT_H

#include "net/tls.h"

#include <openssl/ssl.h>

/*
 * What is inside of contexts: for net/tls*.c and net/stream_tls.c alone.
 */
#define TLS_PAIRS 4

/* The OCSP response of one of our certificates. */
struct tls_staple {
    X509 *certificate; /* not ours: compared only */
    unsigned char *der;
    size_t len;
    int64_t until; /* wall seconds; 0: no end */
};

struct tls_sessions;
struct tls_trust;

struct tls_context {
    unsigned refs;
    SSL_CTX *ctx;
    int keylog;
    bool server;
    const struct tls_tickets *tickets; /* servers; NULL: none */
    struct tls_staple staples[TLS_PAIRS];
    size_t staple_count;
    EVP_PKEY *leaf_key; /* inspection */
    unsigned char *leaf_public;
    int leaf_public_len;
    struct tls_trust *trust; /* NULL: nobody is verified */
    bool verify;             /* clients */
    uint8_t (*pins)[32];
    size_t pin_count;
    struct tls_sessions *sessions; /* that clients may resume */
};

struct tls_leaf {
    unsigned refs;
    struct tls_context *context; /* referenced: its key is the leaf's */
    X509 *certificate;
    STACK_OF(X509) * chain;
};

/* Own codes beside OpenSSL's X509_V_ERR_*. */
#define TLS_VERIFY_PIN X509_V_ERR_APPLICATION_VERIFICATION
#define TLS_VERIFY_ABSENT 0x10000 /* a certificate is required, and none came */

/* A context with what all have in common. NULL: `error` says so. */
MUST_CHECK struct tls_context *tls_context_new(const SSL_METHOD *method, uint16_t min_version, int keylog, char *error);
/* Writes `what` and OpenSSL's reason, if there is one, into `error` (TLS_ERROR bytes); the queue of errors is empty afterwards. */
void tls_complain(char *error, const char *what);

/* PEM. Each complains and returns NULL or false. */
MUST_CHECK X509 *tls_pem_certificate(struct span pem, char *error);
/* All certificates; at least one. */
MUST_CHECK STACK_OF(X509) * tls_pem_certificates(struct span pem, const char *what, char *error);
MUST_CHECK EVP_PKEY *tls_pem_key(struct span pem, char *error);
BIO *tls_pem_reader(struct span pem);
int tls_pem_no_password(char *out, int size, int writing, void *arg);
/* Did reading end because there was no further object, rather than a bad one? */
bool tls_pem_is_end(void);
/* Trust and revocation lists, shared by all contexts with the same bytes. */
MUST_CHECK bool tls_use_trust(struct tls_context *context, struct span trust, struct span crl, char *error);
void tls_trust_unref(struct tls_trust *trust);
/* A certificate, its chain and key for this context. */
MUST_CHECK bool tls_use_pair(SSL_CTX *ctx, const struct tls_pair *pair, char *error);
/* An address as certificates have it. */
MUST_CHECK bool tls_address(const ASN1_STRING *s, struct addr *out);
/* ASN.1's time as seconds of wall time; false: it is none. */
MUST_CHECK bool tls_seconds(const ASN1_TIME *t, int64_t *out);

/* Tickets: what the settings of a server's context want. */
void tls_tickets_use(SSL_CTX *ctx, bool wanted);
bool tls_tickets_ready(const struct tls_tickets *tickets);

/* The staple for a certificate of ours. */
MUST_CHECK bool tls_staple_add(struct tls_context *context, struct span der, X509 *certificate, char *error);
void tls_staples_free(struct tls_context *context);

/* Sessions with servers, by name, address and port. */
MUST_CHECK struct tls_sessions *tls_sessions_new(void);
void tls_sessions_free(struct tls_sessions *sessions);
/* A session, which the caller owns; NULL: there is none. `until` is when the sessions that come of this connection end (ms): their
 * server is verified anew only then. */
SSL_SESSION *tls_sessions_take(struct tls_sessions *sessions, const struct tls_peer *peer, uint64_t *until);
/* Keeps a session, which it owns from here. */
void tls_sessions_put(struct tls_sessions *sessions, const struct tls_peer *peer, SSL_SESSION *session, uint64_t until);

#endif
