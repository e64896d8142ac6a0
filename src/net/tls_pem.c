/* SPDX-License-Identifier: ISC */
/*
 * Certificates and keys out of PEM, which the monitor read from files, and what is said of them: their names and how long they are
 * valid. Nothing here asks for a password: an encrypted key is refused.
 */
#include "net/tls_context.h"

#include "base/addr.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int tls_pem_no_password(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

BIO *tls_pem_reader(struct span pem)
{
    return pem.len <= INT_MAX ? BIO_new_mem_buf(pem.len > 0 ? pem.at : "", (int)pem.len) : NULL;
}

bool tls_pem_is_end(void)
{
    unsigned long e = ERR_peek_last_error();
    bool end = e == 0 || (ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE);

    if (end)
        ERR_clear_error();
    return end;
}

/* OpenSSL's word for the commonest case says nothing to who named the wrong file. */
static void complain_of_pem(char *error, const char *what)
{
    if (tls_pem_is_end())
        snprintf(error, TLS_ERROR, "%s: the file has no PEM block of that kind", what);
    else
        tls_complain(error, what);
}

X509 *tls_pem_certificate(struct span pem, char *error)
{
    BIO *in = tls_pem_reader(pem);
    X509 *certificate = in ? PEM_read_bio_X509(in, NULL, tls_pem_no_password, NULL) : NULL;

    BIO_free(in);
    if (certificate == NULL)
        complain_of_pem(error, "no certificate");
    return certificate;
}

STACK_OF(X509) * tls_pem_certificates(struct span pem, const char *what, char *error)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *in = tls_pem_reader(pem);
    X509 *one = NULL;
    bool fine = in != NULL && all != NULL;

    while (fine && (one = PEM_read_bio_X509(in, NULL, tls_pem_no_password, NULL)) != NULL)
        if (!sk_X509_push(all, one)) {
            X509_free(one);
            fine = false;
        }
    BIO_free(in);
    if (fine && tls_pem_is_end() && sk_X509_num(all) > 0)
        return all;
    sk_X509_pop_free(all, X509_free);
    complain_of_pem(error, what);
    return NULL;
}

EVP_PKEY *tls_pem_key(struct span pem, char *error)
{
    BIO *in = tls_pem_reader(pem);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, tls_pem_no_password, NULL) : NULL;

    BIO_free(in);
    if (key != NULL)
        return key;
    if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_BAD_PASSWORD_READ)
        snprintf(error, TLS_ERROR, "the key has a passphrase: take it off (openssl pkey -in OLD -out NEW)");
    else
        snprintf(error, TLS_ERROR, "no private key: the file has no PEM block of that kind, or a broken one");
    ERR_clear_error();
    return NULL;
}

bool tls_use_pair(SSL_CTX *ctx, const struct tls_pair *pair, char *error)
{
    STACK_OF(X509) *chain = tls_pem_certificates(pair->certificate, "no certificate", error);
    EVP_PKEY *key = chain ? tls_pem_key(pair->key, error) : NULL;
    X509 *own = chain ? sk_X509_shift(chain) : NULL;
    bool fits = key != NULL && X509_check_private_key(own, key) == 1;
    bool fine = fits && SSL_CTX_use_cert_and_key(ctx, own, key, chain, 1) == 1;

    if (fits && !fine)
        tls_complain(error, "the certificate is too weak (RSA from 2048 bits on, EC from 224, SHA-256)");
    else if (key != NULL && !fits)
        snprintf(error, TLS_ERROR, "the key is not that of the certificate");
    ERR_clear_error();
    X509_free(own);
    EVP_PKEY_free(key);
    sk_X509_pop_free(chain, X509_free);
    return fine;
}

bool tls_seconds(const ASN1_TIME *t, int64_t *out)
{
    struct tm tm;

    if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
        return false;
    *out = timegm(&tm);
    return true;
}

bool tls_certificate_life(struct span pem, int64_t *from, int64_t *until)
{
    char error[TLS_ERROR];
    X509 *certificate = tls_pem_certificate(pem, error);
    bool good = certificate != NULL && tls_seconds(X509_get0_notBefore(certificate), from) &&
                tls_seconds(X509_get0_notAfter(certificate), until);

    X509_free(certificate);
    return good;
}

/* A name as DNS has it, maybe with a wildcard in front: what is not like that is never asked for. */
static bool is_dns_name(struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = byte_lower(name.at[i]);

        if (c == '*' ? i != 0 || name.len < 3 || name.at[1] != '.'
                     : !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'))
            return false;
    }
    return name.len > 0 && name.len <= 253;
}

static bool tell_dns(const ASN1_STRING *s, void (*tell)(void *arg, struct span name), void *arg)
{
    struct span name = span_of((const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
    char lower[256];

    if (!is_dns_name(name))
        return false;
    for (size_t i = 0; i < name.len; i++)
        lower[i] = byte_lower(name.at[i]);
    tell(arg, span_of(lower, name.len));
    return true;
}

static bool tell_address(const ASN1_STRING *s, void (*tell)(void *arg, struct span name), void *arg)
{
    struct addr a;
    char text[ADDR_TEXT];

    if (!tls_address(s, &a))
        return false;
    tell(arg, span_str(addr_text(&a, text)));
    return true;
}

static unsigned tell_names(const X509 *certificate, void (*name)(void *arg, struct span name), void *arg)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    unsigned count = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);

        if (one->type == GEN_DNS)
            count += tell_dns(one->d.dNSName, name, arg);
        else if (one->type == GEN_IPADD)
            count += tell_address(one->d.iPAddress, name, arg);
    }
    GENERAL_NAMES_free(names);
    return count;
}

bool tls_address(const ASN1_STRING *s, struct addr *out)
{
    int len = ASN1_STRING_length(s);

    memset(out, 0, sizeof(*out));
    if (len != 4 && len != 16)
        return false;
    out->family = len == 4 ? AF_INET : AF_INET6;
    memcpy(out->ip, ASN1_STRING_get0_data(s), (size_t)len);
    return true;
}

bool tls_certificate_names(struct span pem, void (*name)(void *arg, struct span name), void *arg, bool *is_ecdsa, char *error)
{
    X509 *certificate = tls_pem_certificate(pem, error);
    EVP_PKEY *key = certificate ? X509_get0_pubkey(certificate) : NULL;
    bool fine = false;

    if (certificate == NULL)
        return false;
    if (key == NULL || !(EVP_PKEY_is_a(key, "EC") || EVP_PKEY_is_a(key, "RSA"))) {
        tls_complain(error, "the certificate's key is neither ECDSA nor RSA");
    } else if (tell_names(certificate, name, arg) == 0) {
        tls_complain(error, "the certificate names nobody (subjectAltName): a common name alone counts for nothing");
    } else {
        *is_ecdsa = EVP_PKEY_is_a(key, "EC");
        fine = true;
    }
    X509_free(certificate);
    return fine;
}
