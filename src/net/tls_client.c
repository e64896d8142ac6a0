/* SPDX-License-Identifier: ISC */
/*
 * Contexts towards servers. A server is who its certificate says: a chain to what the policy trusts, valid now, not revoked where
 * there are lists, for the name that was asked for (RFC 9525: a dNSName or an iPAddress of its subjectAltName, never the subject's
 * common name), and with a pinned key where there are pins. Pins are looked for in the chain that was verified, not in what the
 * server sent along; without verification only the server's own key counts, which the handshake proves to be its.
 */
#include "net/tls_context.h"

#include "net/tls_end.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define SUITES                                                                                                                     \
    "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:DHE+AES:RSA+AESGCM:RSA+AES:!aNULL:!eNULL:!PSK:!SRP:!aDSS:!"     \
    "CAMELLIA"

static bool has_pin(const struct tls_context *context, const X509 *certificate)
{
    unsigned char *der = NULL, digest[SHA256_DIGEST_LENGTH];
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    bool found = false;

    if (len <= 0)
        return false;
    SHA256(der, (size_t)len, digest);
    OPENSSL_free(der);
    for (size_t i = 0; i < context->pin_count; i++)
        found |= memcmp(context->pins[i], digest, sizeof(digest)) == 0;
    return found;
}

static bool is_pinned(const struct tls_context *context, X509_STORE_CTX *verification)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(verification);

    if (!context->verify)
        return has_pin(context, X509_STORE_CTX_get0_cert(verification));
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (has_pin(context, sk_X509_value(chain, i)))
            return true;
    return false;
}

/* OpenSSL forgets a certificate that is not good; the log should say whose it was. */
static void keep_refused(X509_STORE_CTX *verification)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_end *e = ssl != NULL ? SSL_get_app_data(ssl) : NULL;
    X509 *certificate = X509_STORE_CTX_get0_cert(verification);

    if (e == NULL || e->refused != NULL || certificate == NULL || X509_up_ref(certificate) != 1)
        return;
    e->refused = certificate;
}

static bool is_good(const struct tls_context *context, X509_STORE_CTX *verification)
{
    X509_STORE_CTX_set_error(verification, X509_V_OK);
    if (context->verify && X509_verify_cert(verification) != 1)
        return false;
    if (context->pin_count == 0 || is_pinned(context, verification))
        return true;
    X509_STORE_CTX_set_error(verification, TLS_VERIFY_PIN);
    return false;
}

static int on_verify(X509_STORE_CTX *verification, void *arg)
{
    bool good = is_good(arg, verification);

    if (!good)
        keep_refused(verification);
    return good;
}

/* The server gave a session; what it is kept for is who the server was verified to be. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_end *e = SSL_get_app_data(ssl);

    if (e == NULL || !SSL_SESSION_is_resumable(session))
        return 0;
    tls_sessions_put(e->context->sessions, &e->peer, session, e->until);
    return 1;
}

/* The server asks for a certificate and we have none. */
static int on_wanted(SSL *ssl, X509 **certificate, EVP_PKEY **key)
{
    struct tls_end *e = SSL_get_app_data(ssl);

    (void)certificate;
    (void)key;
    e->wanted = true;
    return 0;
}

static bool set_pins(struct tls_context *context, const struct tls_client_settings *settings)
{
    if (settings->pin_count == 0)
        return true;
    context->pins = calloc(settings->pin_count, sizeof(*context->pins));
    if (context->pins == NULL)
        return false;
    memcpy(context->pins, settings->pins, settings->pin_count * sizeof(*context->pins));
    context->pin_count = settings->pin_count;
    return true;
}

static bool set_sessions(struct tls_context *context)
{
    context->sessions = tls_sessions_new();
    SSL_CTX_set_session_cache_mode(context->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context->ctx, on_session);
    return context->sessions != NULL;
}

static bool set_up(struct tls_context *context, const struct tls_client_settings *settings)
{
    static const unsigned char alpn[] = "\x08http/1.1";

    SSL_CTX_set_verify(context->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context->ctx, on_verify, context);
    SSL_CTX_set_client_cert_cb(context->ctx, on_wanted);
    return SSL_CTX_set_alpn_protos(context->ctx, alpn, sizeof(alpn) - 1) == 0 &&
           SSL_CTX_set_cipher_list(context->ctx, SUITES) == 1 && set_pins(context, settings) && set_sessions(context);
}

struct tls_context *tls_client_new(const struct tls_client_settings *settings, char *error)
{
    struct tls_context *context = tls_context_new(TLS_client_method(), settings->min_version, settings->keylog, error);

    if (context == NULL)
        return NULL;
    context->verify = settings->verify;
    if (!set_up(context, settings)) {
        tls_complain(error, "no memory");
        goto fail;
    }
    if (settings->verify && !tls_use_trust(context, settings->trust, settings->crl, error))
        goto fail;
    if (settings->pair.certificate.len > 0 && !tls_use_pair(context->ctx, &settings->pair, error))
        goto fail;
    return context;
fail:
    tls_context_unref(context);
    return NULL;
}
