/* SPDX-License-Identifier: ISC */
/*
 * What is known of a secured stream and of its peer's certificate, for rows, the log and the policy. Names are handed on with their
 * length; one with a byte that no name has (NUL, controls) is left out, so that nobody cuts it or shows half of it.
 */
#include "net/tls_end.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

/* RFC 2253 form, escaped to printable ASCII; a cut is marked with a last byte of '~'. */
static void show_name(const X509_NAME *name, char out[TLS_SUBJECT])
{
    BIO *text = BIO_new(BIO_s_mem());
    char *at = NULL;
    long len = 0;

    out[0] = '\0';
    if (text != NULL && X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253) >= 0)
        len = BIO_get_mem_data(text, &at);
    if (len > 0) {
        size_t n = len < TLS_SUBJECT ? (size_t)len : TLS_SUBJECT - 1;

        memcpy(out, at, n);
        out[n] = '\0';
        if (len >= TLS_SUBJECT)
            out[n - 1] = '~';
    }
    BIO_free(text);
}

void stream_tls_facts(const struct stream *s, struct tls_facts *out)
{
    const struct tls_end *e = s->tls;
    const SSL_CIPHER *cipher;
    const unsigned char *alpn;
    unsigned alpn_len;
    X509 *certificate;

    if (e == NULL)
        return;
    cipher = SSL_get_current_cipher(e->ssl);
    out->version = cipher != NULL ? (uint16_t)SSL_version(e->ssl) : 0;
    out->suite = cipher != NULL ? SSL_CIPHER_get_protocol_id(cipher) : 0;
    SSL_get0_alpn_selected(e->ssl, &alpn, &alpn_len);
    out->alpn = alpn_len > 0 ? TLS_ALPN_HTTP1 : TLS_ALPN_NONE;
    out->resumed = SSL_session_reused(e->ssl) == 1;
    out->unverified = !e->context->server && !e->context->verify;
    out->verify = e->absent ? TLS_VERIFY_ABSENT : (int32_t)SSL_get_verify_result(e->ssl);
    if (!e->context->server)
        span_show(e->peer.name, out->name, sizeof(out->name));
    out->subject[0] = out->issuer[0] = '\0';
    certificate = e->refused != NULL ? e->refused : SSL_get0_peer_certificate(e->ssl);
    if (certificate == NULL)
        return;
    show_name(X509_get_subject_name(certificate), out->subject);
    show_name(X509_get_issuer_name(certificate), out->issuer);
}

static bool is_plain(const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (at[i] <= 0x20 || at[i] > 0x7e)
            return false;
    return len > 0;
}

/* "DNS:x"; what is too long for any name is left out. */
static void tell(const char *kind, const char *at, size_t len, void (*name)(void *arg, struct span name), void *arg)
{
    char text[512];
    int n = is_plain(at, len) ? snprintf(text, sizeof(text), "%s:%.*s", kind, (int)len, at) : 0;

    if (n > 0 && (size_t)n < sizeof(text))
        name(arg, span_of(text, (size_t)n));
}

static void tell_general(const GENERAL_NAME *one, void (*name)(void *arg, struct span name), void *arg)
{
    const char *kind = one->type == GEN_DNS ? "DNS" : one->type == GEN_EMAIL ? "email" : one->type == GEN_URI ? "URI" : NULL;
    struct addr address;
    char text[ADDR_TEXT];

    if (one->type == GEN_IPADD && tls_address(one->d.iPAddress, &address)) {
        addr_text(&address, text);
        tell("IP", text, strlen(text), name, arg);
    }
    if (kind != NULL)
        tell(kind, (const char *)ASN1_STRING_get0_data(one->d.ia5), (size_t)ASN1_STRING_length(one->d.ia5), name, arg);
}

void stream_peer_names(const struct stream *s, void (*name)(void *arg, struct span name), void *arg)
{
    X509 *certificate = s->tls != NULL ? SSL_get0_peer_certificate(s->tls->ssl) : NULL;
    GENERAL_NAMES *names = certificate ? X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL) : NULL;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        tell_general(sk_GENERAL_NAME_value(names, i), name, arg);
    GENERAL_NAMES_free(names);
}

void stream_peer_subject(const struct stream *s, void (*subject)(void *arg, struct span text), void *arg)
{
    X509 *certificate = s->tls != NULL ? SSL_get0_peer_certificate(s->tls->ssl) : NULL;
    BIO *text = certificate != NULL ? BIO_new(BIO_s_mem()) : NULL;
    char *at = NULL;
    long len = 0;

    if (text != NULL && X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
        len = BIO_get_mem_data(text, &at);
    if (len > 0)
        subject(arg, span_of(at, (size_t)len));
    BIO_free(text);
}

bool stream_peer_validity(const struct stream *s, int64_t *from, int64_t *until)
{
    X509 *certificate = s->tls != NULL ? SSL_get0_peer_certificate(s->tls->ssl) : NULL;

    return certificate != NULL && tls_seconds(X509_get0_notBefore(certificate), from) &&
           tls_seconds(X509_get0_notAfter(certificate), until);
}

/* As OpenSSL does in a handshake. A resumed session knows no chain: if one is needed, the certificate is not good. */
static bool is_good(SSL *ssl, X509 *certificate, const struct tls_context *context)
{
    X509_STORE_CTX *verification = X509_STORE_CTX_new();
    bool good = false;

    if (verification != NULL &&
        X509_STORE_CTX_init(verification, SSL_CTX_get_cert_store(context->ctx), certificate, SSL_get_peer_cert_chain(ssl)) == 1) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(verification);

        X509_VERIFY_PARAM_set_auth_level(param, SSL_CTX_get_security_level(context->ctx));
        good = X509_STORE_CTX_set_default(verification, "ssl_client") == 1 &&
               X509_VERIFY_PARAM_set1(param, SSL_CTX_get0_param(context->ctx)) == 1 && X509_verify_cert(verification) == 1;
    }
    X509_STORE_CTX_free(verification);
    ERR_clear_error();
    return good;
}

bool stream_peer_fits(const struct stream *s, const struct tls_context *context)
{
    X509 *certificate = s->tls != NULL ? SSL_get0_peer_certificate(s->tls->ssl) : NULL;

    if (!context->verify)
        return true;
    if (certificate == NULL)
        return (SSL_CTX_get_verify_mode(context->ctx) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) == 0;
    return is_good(s->tls->ssl, certificate, context);
}
