/* SPDX-License-Identifier: ISC */
/*
 * The CA of inspection and the leaves that it signs. What comes in here comes from a worker, which reads the network and may have
 * been taken over: so a request is checked as if a stranger had sent it. It gets a certificate for one host that is spelled as
 * hosts are, for a P-256 key, for servers' authentication alone, of a bounded life, and never one that may sign others.
 *
 * A leaf begins an hour ago, since clocks differ, and ends with the server's own certificate, after 398 days at the latest (what
 * browsers accept). One for a server whose certificate is not good lives a day and says so in its subject. Its serial number is
 * random, so nothing is kept about leaves that were signed.
 */
#include "proto/leaf.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ERROR_BYTES 256
#define HOUR 3600
#define DAY (24 * (int64_t)HOUR)
#define LONGEST (398 * DAY)
#define SERIAL_BYTES 16
#define COMMON_NAME_MAX 64 /* ub-common-name (RFC 5280) */
#define RSA_MIN_BITS 2048
#define EC_MIN_BITS 224
#define FAILING_ORGANISATION "Postern: the server's certificate is not good"

struct ca {
    X509 *certificate;
    EVP_PKEY *key;
    NAME_CONSTRAINTS *constraints; /* NULL: none */
    int64_t from, until;
};

/* X509_get0_notBefore() and such, as seconds of wall time; false: it is no time. */
static bool read_time(const ASN1_TIME *t, int64_t *out)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return false;
    *out = timegm(&tm);
    return true;
}

static BIO *open_text(struct span text)
{
    return text.len > 0 && text.len <= INT_MAX ? BIO_new_mem_buf(text.at, (int)text.len) : NULL;
}

/* Nobody is asked for a passphrase: a key that needs one cannot be read. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static X509 *read_certificate(struct span text)
{
    BIO *bio = open_text(text);
    X509 *x = bio != NULL ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    return x;
}

static EVP_PKEY *read_key(struct span text)
{
    BIO *bio = open_text(text);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    return key;
}

/* ECDSA and RSA, which sign with SHA-256; NULL or what is wrong. */
static const char *key_fault(const EVP_PKEY *key)
{
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
        return EVP_PKEY_get_bits(key) < RSA_MIN_BITS ? "the key is weak: RSA below 2048 bits" : NULL;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
        return EVP_PKEY_get_bits(key) < EC_MIN_BITS ? "the key is weak: an elliptic curve below 224 bits" : NULL;
    return "the key is neither ECDSA nor RSA";
}

static const char *certificate_fault(const struct ca *ca, int64_t now)
{
    uint32_t flags = X509_get_extension_flags(ca->certificate);

    if ((flags & EXFLAG_INVALID) != 0)
        return "the certificate has extensions that cannot be read";
    if ((flags & EXFLAG_BCONS) == 0 || (flags & EXFLAG_CA) == 0)
        return "the certificate is not of a CA (basicConstraints)";
    if ((X509_get_key_usage(ca->certificate) & KU_KEY_CERT_SIGN) == 0)
        return "the certificate may not sign others (keyUsage)";
    if (X509_get0_subject_key_id(ca->certificate) == NULL)
        return "the certificate has no subjectKeyIdentifier";
    if (now < ca->from)
        return "the certificate is not valid yet";
    return now >= ca->until ? "the certificate has expired" : NULL;
}

static const char *fault(const struct ca *ca, int64_t now)
{
    const char *what;

    if (ca->certificate == NULL)
        return "the certificate cannot be read: it is no PEM, or broken";
    if (ca->key == NULL)
        return "the key cannot be read: it is no PEM, broken, or has a passphrase";
    if (X509_check_private_key(ca->certificate, ca->key) != 1)
        return "the key is not that of the certificate";
    what = key_fault(ca->key);
    return what != NULL ? what : certificate_fault(ca, now);
}

struct ca *ca_open(struct span certificate, struct span key, int64_t now, char *error)
{
    struct ca *ca = calloc(1, sizeof(*ca));
    const char *what = "no memory";

    if (ca != NULL) {
        ca->certificate = read_certificate(certificate);
        ca->key = read_key(key);
        if (ca->certificate != NULL && !(read_time(X509_get0_notBefore(ca->certificate), &ca->from) &&
                                         read_time(X509_get0_notAfter(ca->certificate), &ca->until)))
            ca->until = 0;
        if (ca->certificate != NULL)
            ca->constraints = X509_get_ext_d2i(ca->certificate, NID_name_constraints, NULL, NULL);
        what = fault(ca, now);
    }
    ERR_clear_error();
    if (what == NULL)
        return ca;
    snprintf(error, ERROR_BYTES, "%s", what);
    ca_free(ca);
    return NULL;
}

void ca_free(struct ca *ca)
{
    if (ca == NULL)
        return;
    NAME_CONSTRAINTS_free(ca->constraints);
    X509_free(ca->certificate);
    EVP_PKEY_free(ca->key);
    free(ca);
}

/* A P-256 key and nothing behind it. */
static EVP_PKEY *read_public_key(struct span der)
{
    const unsigned char *at = (const unsigned char *)der.at;
    EVP_PKEY *key;
    char group[32] = "";

    if (der.len == 0 || der.len > LEAF_KEY_MAX)
        return NULL;
    key = d2i_PUBKEY(NULL, &at, (long)der.len);
    if (key == NULL)
        return NULL;
    if (at == (const unsigned char *)der.at + der.len && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
        EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 && strcmp(group, "prime256v1") == 0)
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

/* Spelled as hosts are after normalising: nothing else is ever put into a certificate. */
static bool is_strict_host(const struct host *h)
{
    struct span text = host_span(h);
    struct host again;
    struct addr ip;

    if (h->len == 0 || h->len >= sizeof(h->name) || h->name[h->len] != '\0' || strlen(h->name) != h->len)
        return false;
    if (addr_parse(&ip, text, 0))
        return addr_same_ip(&h->ip, &ip);
    return h->ip.family == 0 && host_parse(&again, text) && host_eq(&again, h) && span_eq(host_span(&again), text);
}

static bool set_times(X509 *x, const struct ca *ca, const struct leaf_request *r, int64_t now)
{
    int64_t from = now - HOUR, until = now + (r->failing ? DAY : LONGEST);

    if (!r->failing && (now >= r->until || now < r->from))
        return false;
    if (!r->failing && r->until < until)
        until = r->until;
    if (ca->from > from)
        from = ca->from;
    if (ca->until < until)
        until = ca->until;
    return from <= now && now < until && ASN1_TIME_set(X509_getm_notBefore(x), from) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x), until) != NULL;
}

/* Random and positive (RFC 5280 4.1.2.2). */
static bool set_serial(X509 *x)
{
    unsigned char bytes[SERIAL_BYTES];
    BIGNUM *number;
    bool good;

    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, and all of the same length */
    number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    good = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != NULL;
    BN_free(number);
    return good;
}

static bool add_entry(X509_NAME *name, const char *field, struct span text)
{
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text.at, (int)text.len, -1, 0) == 1;
}

/* The common name is for people; clients look at the subjectAltName. */
static bool set_names(X509 *x, const struct ca *ca, const struct leaf_request *r)
{
    X509_NAME *subject = X509_get_subject_name(x);
    struct span common = host_span(&r->name);

    if (common.len > COMMON_NAME_MAX)
        common.len = COMMON_NAME_MAX;
    return (!r->failing || add_entry(subject, "O", SPAN(FAILING_ORGANISATION))) && add_entry(subject, "CN", common) &&
           X509_set_issuer_name(x, X509_get_subject_name(ca->certificate)) == 1;
}

static ASN1_OCTET_STRING *address_octets(const struct addr *ip)
{
    char text[ADDR_TEXT];

    return a2i_IPADDRESS(addr_text(ip, text));
}

/* Made as a structure, not from text: no byte of a name can mean anything there. */
static bool add_alternative_name(X509 *x, const struct host *host)
{
    bool is_name = host->ip.family == 0, good = false;
    ASN1_STRING *value = is_name ? ASN1_IA5STRING_new() : address_octets(&host->ip);
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();

    if (value != NULL && names != NULL && name != NULL && (!is_name || ASN1_STRING_set(value, host->name, host->len) == 1)) {
        GENERAL_NAME_set0_value(name, is_name ? GEN_DNS : GEN_IPADD, value);
        value = NULL;
        if (sk_GENERAL_NAME_push(names, name) > 0) {
            name = NULL;
            good = X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0) == 1;
        }
    }
    ASN1_STRING_free(value);
    GENERAL_NAME_free(name);
    GENERAL_NAMES_free(names);
    return good;
}

static bool add_extension(X509 *x, X509V3_CTX *context, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, nid, value);
    bool good = extension != NULL && X509_add_ext(x, extension, -1) == 1;

    X509_EXTENSION_free(extension);
    return good;
}

static bool add_extensions(X509 *x, const struct ca *ca, const struct leaf_request *r)
{
    X509V3_CTX context;

    X509V3_set_ctx(&context, ca->certificate, x, NULL, NULL, 0);
    return add_extension(x, &context, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(x, &context, NID_key_usage, "critical,digitalSignature") &&
           add_extension(x, &context, NID_ext_key_usage, "serverAuth") &&
           add_extension(x, &context, NID_subject_key_identifier, "hash") &&
           add_extension(x, &context, NID_authority_key_identifier, "keyid:always") && add_alternative_name(x, &r->name);
}

static bool fill(X509 *x, const struct ca *ca, const struct leaf_request *r, EVP_PKEY *key, int64_t now)
{
    return X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) && set_times(x, ca, r, now) && set_names(x, ca, r) &&
           X509_set_pubkey(x, key) == 1 && add_extensions(x, ca, r);
}

/* Clients would refuse what the CA's own certificate rules out. Of a certificate that is signed: its extensions are read first. */
static bool is_within_constraints(X509 *x, const struct ca *ca)
{
    return ca->constraints == NULL ||
           (X509_check_purpose(x, -1, 0) == 1 && NAME_CONSTRAINTS_check(x, ca->constraints) == X509_V_OK);
}

static size_t write_der(X509 *x, char *out)
{
    unsigned char *at = (unsigned char *)out;
    int len = i2d_X509(x, NULL);

    return len > 0 && len <= LEAF_MAX && i2d_X509(x, &at) == len ? (size_t)len : 0;
}

size_t leaf_sign(const struct ca *ca, const struct leaf_request *request, int64_t now, char *out)
{
    EVP_PKEY *key = is_strict_host(&request->name) ? read_public_key(request->public_key) : NULL;
    X509 *x = key != NULL ? X509_new() : NULL;
    size_t len = 0;

    if (x != NULL && fill(x, ca, request, key, now) && X509_sign(x, ca->key, EVP_sha256()) > 0 && is_within_constraints(x, ca))
        len = write_der(x, out);
    X509_free(x);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return len;
}
