/* SPDX-License-Identifier: ISC */
/*
 * Contexts of the side that clients see: those of listeners, with certificates from files, and the one for inspection, whose
 * certificates are minted leaves for one key. Which context a client gets is decided before by the name it asks for, so there is no
 * choice by name here; between ECDSA and RSA OpenSSL chooses by what the client can verify.
 */
#include "net/tls_context.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* TLS 1.3: in the order of 1.2, which is not OpenSSL's. SHA-256 makes the keys of a handshake at half the price of SHA-384. */
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
/* TLS 1.2. */
#define MODERN                                                                                                                     \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"         \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define COMPATIBLE                                                                                                                 \
    MODERN ":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"                       \
           "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA:AES256-SHA"

/* http/1.1 or nothing: a client that offers only others gets no_application_protocol (RFC 7301 3.2). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in, unsigned in_len, void *arg)
{
    static const char ours[] = "http/1.1";

    (void)ssl;
    (void)arg;
    for (unsigned i = 0; i < in_len; i += 1u + in[i])
        if (in[i] == sizeof(ours) - 1 && in_len - i > in[i] && memcmp(in + i + 1, ours, sizeof(ours) - 1) == 0) {
            *out = in + i + 1;
            *len = sizeof(ours) - 1;
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int on_status(SSL *ssl, void *arg)
{
    const struct tls_context *context = arg;
    const X509 *used = SSL_get_certificate(ssl);

    for (size_t i = 0; i < context->staple_count; i++) {
        const struct tls_staple *staple = &context->staples[i];
        unsigned char *copy;

        if (staple->certificate != used || (staple->until != 0 && staple->until <= time(NULL)))
            continue;
        copy = OPENSSL_memdup(staple->der, staple->len);
        if (copy == NULL)
            return SSL_TLSEXT_ERR_NOACK;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->len);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static struct tls_context *server_new(enum tls_profile profile, uint16_t min_version, int keylog, char *error)
{
    struct tls_context *context = tls_context_new(TLS_server_method(), min_version, keylog, error);

    if (context == NULL)
        return NULL;
    context->server = true;
    if (!SSL_CTX_set_ciphersuites(context->ctx, SUITES) ||
        !SSL_CTX_set_cipher_list(context->ctx, profile == TLS_MODERN ? MODERN : COMPATIBLE)) {
        tls_complain(error, "no cipher suites");
        tls_context_unref(context);
        return NULL;
    }
    SSL_CTX_set_alpn_select_cb(context->ctx, on_alpn, NULL);
    return context;
}

static bool set_pair(struct tls_context *context, const struct tls_pair *pair, char *error)
{
    if (!tls_use_pair(context->ctx, pair, error))
        return false;
    return pair->ocsp.len == 0 || tls_staple_add(context, pair->ocsp, SSL_CTX_get0_certificate(context->ctx), error);
}

/* Clients are told whose certificates are taken. */
static bool set_client_names(SSL_CTX *ctx, struct span ca, char *error)
{
    STACK_OF(X509) *all = tls_pem_certificates(ca, "no CA for the certificates of clients", error);
    bool fine = all != NULL;

    for (int i = 0; fine && i < sk_X509_num(all); i++)
        fine = SSL_CTX_add_client_CA(ctx, sk_X509_value(all, i)) == 1;
    if (all != NULL && !fine)
        tls_complain(error, "no memory");
    sk_X509_pop_free(all, X509_free);
    return fine;
}

static bool set_verify(struct tls_context *context, const struct tls_server_settings *settings, char *error)
{
    int mode = SSL_VERIFY_PEER | (settings->verify == TLS_VERIFY_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);

    if (settings->verify == TLS_VERIFY_NONE)
        return true;
    if (!tls_use_trust(context, settings->ca, settings->crl, error) || !set_client_names(context->ctx, settings->ca, error))
        return false;
    context->verify = true;
    SSL_CTX_set_verify(context->ctx, mode, NULL);
    return true;
}

/* A ticket carries it, and is only taken where it is the same. */
static bool set_identity(SSL_CTX *ctx, struct span identity)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)identity.at, identity.len, digest);
    return SSL_CTX_set_session_id_context(ctx, digest, sizeof(digest)) == 1;
}

struct tls_context *tls_server_new(const struct tls_server_settings *settings, char *error)
{
    struct tls_context *context = server_new(settings->profile, settings->min_version, settings->keylog, error);
    bool fine = context != NULL && settings->pair_count > 0 && settings->pair_count <= TLS_PAIRS;

    if (context != NULL && !fine)
        tls_complain(error, "no certificate");
    for (size_t i = 0; fine && i < settings->pair_count; i++)
        fine = set_pair(context, &settings->pairs[i], error);
    if (!fine || !set_verify(context, settings, error))
        goto fail;
    context->tickets = settings->tickets;
    tls_tickets_use(context->ctx, settings->tickets != NULL);
    SSL_CTX_set_tlsext_status_cb(context->ctx, on_status);
    SSL_CTX_set_tlsext_status_arg(context->ctx, context);
    if (set_identity(context->ctx, settings->identity))
        return context;
    tls_complain(error, "no identity");
fail:
    tls_context_unref(context);
    return NULL;
}

struct tls_context *tls_inspect_new(int keylog, char *error)
{
    struct tls_context *context = server_new(TLS_MODERN, TLS1_2_VERSION, keylog, error);

    if (context == NULL)
        return NULL;
    tls_tickets_use(context->ctx, false);
    context->leaf_key = EVP_EC_gen("P-256");
    if (context->leaf_key != NULL)
        context->leaf_public_len = i2d_PUBKEY(context->leaf_key, &context->leaf_public);
    if (context->leaf_public_len > 0)
        return context;
    tls_complain(error, "no key for inspection");
    tls_context_unref(context);
    return NULL;
}

struct span tls_inspect_public_key(const struct tls_context *context)
{
    return span_of((const char *)context->leaf_public, (size_t)context->leaf_public_len);
}

struct tls_leaf *tls_leaf_new(struct tls_context *context, struct span der, struct span chain)
{
    struct tls_leaf *leaf = calloc(1, sizeof(*leaf));
    const unsigned char *at = (const unsigned char *)der.at;
    char error[TLS_ERROR];

    if (leaf == NULL)
        return NULL;
    leaf->refs = 1;
    leaf->context = tls_context_ref(context);
    leaf->certificate = d2i_X509(NULL, &at, (long)der.len);
    leaf->chain = tls_pem_certificates(chain, "no chain", error);
    if (leaf->certificate != NULL && at == (const unsigned char *)der.at + der.len && leaf->chain != NULL &&
        X509_check_private_key(leaf->certificate, context->leaf_key) == 1)
        return leaf;
    ERR_clear_error();
    tls_leaf_unref(leaf);
    return NULL;
}

struct tls_leaf *tls_leaf_ref(struct tls_leaf *leaf)
{
    leaf->refs++;
    return leaf;
}

void tls_leaf_unref(struct tls_leaf *leaf)
{
    if (leaf == NULL || --leaf->refs > 0)
        return;
    X509_free(leaf->certificate);
    sk_X509_pop_free(leaf->chain, X509_free);
    tls_context_unref(leaf->context);
    free(leaf);
}
