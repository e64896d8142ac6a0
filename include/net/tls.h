/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_TLS_H
#define POSTERN_NET_TLS_H

#include "base/addr.h"
#include "base/tls_facts.h"

/*
 * TLS contexts: what a listener, or a policy towards servers, says about TLS, made once for a generation and shared by its
 * connections. Connections themselves are part of struct stream (net/stream.h). Never: versions below 1.2, renegotiation,
 * compression, early data, any protocol but http/1.1.
 *
 * Functions that can fail for what a file holds write a sentence into `error` of TLS_ERROR bytes.
 */
struct tls_context; /* reference-counted */
struct tls_tickets;
struct tls_leaf;

#define TLS_ERROR 256

/* Once a process, before the first context, and before privileges are dropped: memory for keys that is locked where possible and
 * never dumped; everything that OpenSSL loads lazily. false: no memory. */
MUST_CHECK bool tls_start(void);

/* A certificate with its chain, and its key, as PEM; the OCSP response to staple as DER, or empty. */
struct tls_pair {
    struct span certificate, key, ocsp;
};
enum tls_profile { TLS_MODERN, TLS_COMPATIBLE };
/* Certificates of clients: not asked for, asked for and verified if one comes, or needed. */
enum tls_verify { TLS_VERIFY_NONE, TLS_VERIFY_OPTIONAL, TLS_VERIFY_REQUIRED };

struct tls_server_settings {
    const struct tls_pair *pairs; /* at most one of each kind of key: ECDSA and RSA side by side */
    size_t pair_count;
    enum tls_profile profile;
    uint16_t min_version; /* 0x0303 or 0x0304 */
    enum tls_verify verify;
    struct span ca, crl;         /* PEM; for verify */
    struct tls_tickets *tickets; /* NULL: no resumption. It must outlive the context */
    struct span identity;        /* a session is resumed only by a context with the same identity */
    int keylog;                  /* descriptor for NSS key log lines; -1: none. Not taken over */
};
MUST_CHECK struct tls_context *tls_server_new(const struct tls_server_settings *settings, char *error);

/* A context for minted leaves, with a P-256 key of this process. */
MUST_CHECK struct tls_context *tls_inspect_new(int keylog, char *error);
/* The public key that leaves are minted for, as DER (SubjectPublicKeyInfo). The context's. */
struct span tls_inspect_public_key(const struct tls_context *context);
/* A minted certificate (DER), with the chain behind it (PEM, the CA's). NULL: it does not fit the key, or no memory. */
MUST_CHECK struct tls_leaf *tls_leaf_new(struct tls_context *context, struct span der, struct span chain);
struct tls_leaf *tls_leaf_ref(struct tls_leaf *leaf);
void tls_leaf_unref(struct tls_leaf *leaf);

struct tls_client_settings {
    struct span trust, crl; /* PEM; all intermediate CAs are checked against the CRLs if there is one */
    bool verify;
    struct tls_pair pair; /* our certificate; empty: none */
    uint16_t min_version;
    const uint8_t (*pins)[32]; /* SHA-256 of SubjectPublicKeyInfo; any of them must be in the chain, if there are any */
    size_t pin_count;
    int keylog;
};
MUST_CHECK struct tls_context *tls_client_new(const struct tls_client_settings *settings, char *error);

struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context);

/* Every dNSName and iPAddress of a PEM chain's first certificate (lower case, "*.x" kept; addresses as addr_format()), and its kind
 * of key. false: `error` says what is wrong with it. */
MUST_CHECK bool tls_certificate_names(struct span pem, void (*name)(void *arg, struct span name), void *arg, bool *is_ecdsa,
                                      char *error);
/* From when until when the first certificate of a PEM chain is valid, in seconds of wall time; false: it cannot be read. */
MUST_CHECK bool tls_certificate_life(struct span pem, int64_t *from, int64_t *until);

/* Keys for session tickets (RFC 5077), shared by all workers: the monitor makes them. The first encrypts; all decrypt. */
#define TLS_TICKET_KEYS 2
struct tls_ticket_key {
    uint8_t name[16], aes[32], hmac[32];
};
MUST_CHECK struct tls_tickets *tls_tickets_new(void); /* without keys: no tickets are given */
void tls_tickets_set(struct tls_tickets *tickets, const struct tls_ticket_key *keys, size_t count);
void tls_tickets_free(struct tls_tickets *tickets);

/* Who the server must be. */
struct tls_peer {
    struct span name;           /* DNS name: sent as SNI and verified. Empty: the address */
    const struct addr *address; /* verified as iPAddress if there is no name; no SNI is sent */
};

/* Why a handshake failed. */
enum tls_failure {
    TLS_FAILED_NOT,
    TLS_FAILED_CLOSED,      /* the peer closed or reset in the middle */
    TLS_FAILED_PROTOCOL,    /* what came is not TLS, or not what we speak */
    TLS_FAILED_ALPN,        /* no protocol in common */
    TLS_FAILED_CERTIFICATE, /* the peer's certificate is not good: facts.verify */
    TLS_FAILED_REFUSED,     /* the peer's alert says that it does not like our certificate, or wants one */
    TLS_FAILED_WANTED,      /* the server wants a certificate from us, and there is none */
    TLS_FAILED_ALERT,       /* another alert of the peer */
    TLS_FAILED_MEMORY
};
const char *tls_failure_name(enum tls_failure f);
/* OpenSSL's sentence for facts.verify ("certificate has expired"); our own for a pin, a weak key, a wildcard. */
const char *tls_verify_text(int verify);

#endif
