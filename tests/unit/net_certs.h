/* SPDX-License-Identifier: ISC */
/* Keys and certificates made for a test by libcrypto. Include before cmocka.h. */
#ifndef POSTERN_TESTS_NET_CERTS_H
#define POSTERN_TESTS_NET_CERTS_H

#include "base/log.h"
#include "base/span.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY 86400L

struct cert {
    X509 *x509;
    EVP_PKEY *key;
    struct span pem, key_pem; /* malloc'ed */
};

struct cert_spec {
    const char *cn;
    const char *names;         /* subjectAltName as in openssl.cnf; NULL: none */
    struct span raw_dns;       /* a dNSName with any bytes */
    const struct cert *issuer; /* NULL: itself */
    long from, until;          /* seconds from now; 0 and 0: from yesterday until tomorrow, and a minute more: days are counted */
    int rsa_bits;              /* 0: a P-256 key */
    const EVP_MD *digest;      /* NULL: SHA-256 */
    const char *ca;            /* basicConstraints, NULL: no CA */
    const char *usage;         /* extendedKeyUsage; NULL: none */
    const char *constraints;   /* nameConstraints */
};

static inline struct span certs_take(BIO *bio)
{
    char *at, *copy;
    long len = BIO_get_mem_data(bio, &at);

    copy = malloc((size_t)len);
    if (copy == NULL || len <= 0)
        fatal("no PEM");
    memcpy(copy, at, (size_t)len);
    BIO_free(bio);
    return span_of(copy, (size_t)len);
}

static inline void certs_extend(X509 *x, const X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    if (value == NULL)
        return;
    X509V3_set_ctx(&ctx, (X509 *)issuer, x, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (extension == NULL || X509_add_ext(x, extension, -1) != 1)
        fatal("no extension %s", value);
    X509_EXTENSION_free(extension);
}

static inline void certs_raw_name(X509 *x, struct span dns)
{
    GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *one = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();

    if (dns.len == 0 || !ASN1_STRING_set(text, dns.at, (int)dns.len))
        fatal("no name");
    GENERAL_NAME_set0_value(one, GEN_DNS, text);
    sk_GENERAL_NAME_push(all, one);
    if (X509_add1_ext_i2d(x, NID_subject_alt_name, all, 0, 0) != 1)
        fatal("no name");
    GENERAL_NAMES_free(all);
}

static inline struct cert cert_make(struct cert_spec spec)
{
    static long serial = 1000;
    struct cert c = { .x509 = X509_new() };
    const struct cert *issuer = spec.issuer ? spec.issuer : &c;
    const EVP_MD *digest = spec.digest ? spec.digest : EVP_sha256();
    BIO *pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_mem());

    c.key = spec.rsa_bits ? EVP_RSA_gen((unsigned)spec.rsa_bits) : EVP_EC_gen("P-256");
    X509_set_version(c.x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x509), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(c.x509), spec.from || spec.until ? spec.from : -DAY);
    X509_gmtime_adj(X509_getm_notAfter(c.x509), spec.from || spec.until ? spec.until : DAY + 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c.x509), "CN", MBSTRING_UTF8, (const unsigned char *)spec.cn, -1, -1, 0);
    X509_set_issuer_name(c.x509, X509_get_subject_name(issuer->x509));
    X509_set_pubkey(c.x509, c.key);
    certs_extend(c.x509, issuer->x509, NID_basic_constraints, spec.ca);
    certs_extend(c.x509, issuer->x509, NID_subject_key_identifier, "hash");
    certs_extend(c.x509, issuer->x509, NID_ext_key_usage, spec.usage);
    certs_extend(c.x509, issuer->x509, NID_name_constraints, spec.constraints);
    certs_extend(c.x509, issuer->x509, NID_subject_alt_name, spec.names);
    if (spec.raw_dns.len > 0)
        certs_raw_name(c.x509, spec.raw_dns);
    if (c.key == NULL || X509_sign(c.x509, issuer->key, digest) == 0 || PEM_write_bio_X509(pem, c.x509) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(key_pem, c.key, NULL, NULL, 0, NULL, NULL) != 1)
        fatal("no certificate");
    c.pem = certs_take(pem);
    c.key_pem = certs_take(key_pem);
    return c;
}

static inline struct cert cert_make_ca(const char *cn)
{
    return cert_make((struct cert_spec){ .cn = cn, .ca = "critical,CA:TRUE" });
}

static inline void cert_free(struct cert *c)
{
    X509_free(c->x509);
    EVP_PKEY_free(c->key);
    free((char *)c->pem.at);
    free((char *)c->key_pem.at);
}

/* Two PEMs behind each other. */
static inline struct span certs_join(struct span a, struct span b)
{
    char *both = malloc(a.len + b.len);

    if (both == NULL)
        fatal("no memory");
    memcpy(both, a.at, a.len);
    memcpy(both + a.len, b.at, b.len);
    return span_of(both, a.len + b.len);
}

/* A revocation list of this CA, with one certificate on it or none. */
static inline struct span certs_crl(const struct cert *ca, const X509 *revoked)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *at = X509_gmtime_adj(NULL, -DAY);
    BIO *pem = BIO_new(BIO_s_mem());

    X509_CRL_set_version(crl, 1);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->x509));
    X509_CRL_set1_lastUpdate(crl, at);
    if (revoked != NULL) {
        X509_REVOKED *entry = X509_REVOKED_new();

        X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)X509_get0_serialNumber(revoked));
        X509_REVOKED_set_revocationDate(entry, at);
        X509_CRL_add0_revoked(crl, entry);
    }
    X509_gmtime_adj(at, DAY);
    X509_CRL_set1_nextUpdate(crl, at);
    if (X509_CRL_sign(crl, ca->key, EVP_sha256()) == 0 || PEM_write_bio_X509_CRL(pem, crl) != 1)
        fatal("no list");
    ASN1_TIME_free(at);
    X509_CRL_free(crl);
    return certs_take(pem);
}

#endif
