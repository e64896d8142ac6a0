/* SPDX-License-Identifier: ISC */
/*
 * What a worker that was taken over may ask the minter for. Input: a byte of flags, two bytes that shape the validity, the length
 * of the name, the name, the public key. Whatever is signed must be a certificate that signs nothing, for one name, for servers.
 */
#include "proto/leaf.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1800000000
#define DAY 86400
#define FAILING 1  /* flags */
#define ADDRESS 2  /* the name is read as an address, too */
#define UNPARSED 4 /* the name goes in as it is */
#define GOOD_KEY 8 /* the key is ours */
#define HEADER 4

static struct ca *ca;
static char key_der[LEAF_KEY_MAX];
static size_t key_len;

static void extend(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *extension;
    X509V3_CTX context;

    X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    if (extension == NULL || X509_add_ext(x, extension, -1) != 1)
        abort();
    X509_EXTENSION_free(extension);
}

static struct span text_of(BIO *bio)
{
    char *text;
    long len = BIO_get_mem_data(bio, &text);

    return span_of(text, (size_t)len);
}

static void make_ca(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *certificate = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_mem());
    unsigned char *at = (unsigned char *)key_der;
    char error[256];

    X509_set_version(x, X509_VERSION_3);
    ASN1_TIME_set(X509_getm_notBefore(x), NOW - DAY);
    ASN1_TIME_set(X509_getm_notAfter(x), NOW + 1000 * (time_t)DAY);
    X509_set_pubkey(x, key);
    extend(x, NID_basic_constraints, "critical,CA:TRUE");
    extend(x, NID_key_usage, "critical,keyCertSign");
    extend(x, NID_subject_key_identifier, "hash");
    if (X509_sign(x, key, EVP_sha256()) <= 0)
        abort();
    PEM_write_bio_X509(certificate, x);
    PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL);
    ca = ca_open(text_of(certificate), text_of(secret), NOW, error);
    if (ca == NULL)
        abort();
    key_len = (size_t)i2d_PUBKEY(key, &at);
    BIO_free(certificate);
    BIO_free(secret);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void check_leaf(const struct leaf_request *r, const char *der, size_t len)
{
    const unsigned char *at = (const unsigned char *)der;
    X509 *x = d2i_X509(NULL, &at, (long)len);
    GENERAL_NAMES *names = x != NULL ? X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL) : NULL;

    if (names == NULL || at != (const unsigned char *)der + len || sk_GENERAL_NAME_num(names) != 1)
        abort();
    if ((X509_get_extension_flags(x) & (EXFLAG_CA | EXFLAG_INVALID)) != 0 || X509_get_extended_key_usage(x) != XKU_SSL_SERVER)
        abort();
    if (r->name.ip.family == 0 && X509_check_host(x, r->name.name, r->name.len, 0, NULL) != 1)
        abort();
    if (r->name.ip.family != 0 && X509_check_ip_asc(x, r->name.name, 0) != 1)
        abort();
    if (X509_cmp_time(X509_get0_notAfter(x), &(time_t){ NOW + 398 * (time_t)DAY + 1 }) > 0)
        abort();
    GENERAL_NAMES_free(names);
    X509_free(x);
}

static void fill_name(struct host *out, struct span text, unsigned flags)
{
    struct addr ip;

    if (flags & UNPARSED) {
        out->len = (uint16_t)(text.len < sizeof(out->name) ? text.len : sizeof(out->name) - 1);
        memcpy(out->name, text.at, out->len);
        if ((flags & ADDRESS) && !addr_parse(&out->ip, SPAN("192.0.2.1"), 0))
            abort();
    } else if ((flags & ADDRESS) && addr_parse(&ip, text, 0))
        host_from_addr(out, &ip);
    else if (!host_parse(out, text))
        *out = (struct host){ 0 };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct leaf_request r = { 0 };
    char der[LEAF_MAX];
    size_t name_len, len;

    if (ca == NULL)
        make_ca();
    if (size < HEADER)
        return 0;
    name_len = data[3] < size - HEADER ? data[3] : size - HEADER;
    r.failing = data[0] & FAILING;
    r.from = NOW - DAY + (int64_t)data[1] * DAY / 64;
    r.until = NOW - DAY + (int64_t)data[2] * DAY * 4;
    fill_name(&r.name, span_of((const char *)data + HEADER, name_len), data[0]);
    r.public_key =
        data[0] & GOOD_KEY ? span_of(key_der, key_len) : span_of((const char *)data + HEADER + name_len, size - HEADER - name_len);
    len = leaf_sign(ca, &r, NOW, der);
    if (len > LEAF_MAX)
        abort();
    if (len > 0)
        check_leaf(&r, der, len);
    return 0;
}
