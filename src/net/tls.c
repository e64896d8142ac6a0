/* SPDX-License-Identifier: ISC */
/*
 * What all TLS contexts have in common: versions from 1.2 on, security level 2 (no SHA-1 signature, no RSA key below 2048 bits), no
 * renegotiation, no compression, no early data. The configuration file of OpenSSL is not read: what Postern accepts is said in its
 * own.
 *
 * Private keys lie in OpenSSL's secure heap: locked where the limit allows it, never in a core, wiped when they are freed. A child
 * that inherits the heap by fork makes its own while it is still empty, because locks are not inherited.
 */
#include "net/tls_context.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECURE_HEAP (4u << 20)
#define SECURE_LEAST 16

/* No finite field groups: their sizes are a way to make a server work. */
#define GROUPS "X25519:P-256:P-384:P-521"
#define SIGNATURES                                                                                                                 \
    "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed25519:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:"        \
    "rsa_pss_rsae_sha512:rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:rsa_pkcs1_sha256:rsa_pkcs1_sha384:"              \
    "rsa_pkcs1_sha512"

bool tls_start(void)
{
    const uint64_t what = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS |
                          OPENSSL_INIT_ADD_ALL_CIPHERS | OPENSSL_INIT_ADD_ALL_DIGESTS;
    unsigned char byte;

    if (CRYPTO_secure_malloc_initialized())
        CRYPTO_secure_malloc_done();
    if (!CRYPTO_secure_malloc_initialized() && CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_LEAST) == 0)
        return false;
    return OPENSSL_init_ssl(what, NULL) == 1 && RAND_bytes(&byte, 1) == 1 && RAND_priv_bytes(&byte, 1) == 1;
}

void tls_complain(char *error, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    if (reason != NULL)
        snprintf(error, TLS_ERROR, "%s: %s", what, reason);
    else
        snprintf(error, TLS_ERROR, "%s", what);
    ERR_clear_error();
}

/* One write a line: lines of several processes do not mix in a file that is appended to. */
static void on_keylog(const SSL *ssl, const char *line)
{
    const struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    char text[512];
    int len = snprintf(text, sizeof(text), "%s\n", line);

    if (len > 0 && (size_t)len < sizeof(text) && write(context->keylog, text, (size_t)len) != len)
        return; /* a help for debugging: a full disk ends no session */
}

static bool set_common(SSL_CTX *ctx, uint16_t min_version)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY); /* so that each message after the handshake is seen, and counted */
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_min_proto_version(ctx, min_version) && SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) &&
           SSL_CTX_set_max_early_data(ctx, 0) && SSL_CTX_set1_groups_list(ctx, GROUPS) &&
           SSL_CTX_set1_sigalgs_list(ctx, SIGNATURES);
}

struct tls_context *tls_context_new(const SSL_METHOD *method, uint16_t min_version, int keylog, char *error)
{
    struct tls_context *context = calloc(1, sizeof(*context));

    ERR_clear_error();
    if (context == NULL)
        goto fail;
    context->refs = 1;
    context->keylog = keylog;
    context->ctx = SSL_CTX_new(method);
    if (context->ctx == NULL || !set_common(context->ctx, min_version) || !SSL_CTX_set_app_data(context->ctx, context))
        goto fail;
    if (keylog >= 0)
        SSL_CTX_set_keylog_callback(context->ctx, on_keylog);
    return context;
fail:
    tls_complain(error, "no TLS context");
    tls_context_unref(context);
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    context->refs++;
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (context == NULL || --context->refs > 0)
        return;
    tls_sessions_free(context->sessions);
    tls_staples_free(context);
    SSL_CTX_free(context->ctx);
    tls_trust_unref(context->trust);
    EVP_PKEY_free(context->leaf_key);
    OPENSSL_free(context->leaf_public);
    free(context->pins);
    free(context);
}

const char *tls_failure_name(enum tls_failure f)
{
    switch (f) {
    case TLS_FAILED_NOT:
        return "";
    case TLS_FAILED_CLOSED:
        return "closed";
    case TLS_FAILED_PROTOCOL:
        return "protocol";
    case TLS_FAILED_ALPN:
        return "alpn";
    case TLS_FAILED_CERTIFICATE:
        return "certificate";
    case TLS_FAILED_REFUSED:
        return "refused";
    case TLS_FAILED_WANTED:
        return "certificate wanted";
    case TLS_FAILED_ALERT:
        return "alert";
    case TLS_FAILED_MEMORY:
        return "memory";
    }
    return "";
}

const char *tls_verify_text(int verify)
{
    switch (verify) {
    case TLS_VERIFY_PIN:
        return "no certificate of the chain has a pinned key";
    case TLS_VERIFY_ABSENT:
        return "no certificate was given";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "the certificate is for another name";
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
        return "the key is too short";
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return "the signature is too weak";
    default:
        return X509_verify_cert_error_string(verify);
    }
}
