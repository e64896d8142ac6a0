/* SPDX-License-Identifier: ISC */
/*
 * Leaves and the CA that signs them: what openssl(1) and libcrypto say of a leaf, and what is refused.
 */
#include "proto/leaf.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DAY (24 * 3600)
#define PEM_MAX 8192

/* A CA as it is told to be, and its files. */
struct authority {
    char certificate[PEM_MAX], key[PEM_MAX];
    size_t certificate_len, key_len;
};
struct made {
    EVP_PKEY *key;
    const char *usage, *basic, *name_constraints;
    int64_t from, until;
    bool no_key_id;
};

static int64_t now;
static char subscriber[LEAF_KEY_MAX]; /* the worker's public key */
static size_t subscriber_len;

static size_t text_of(BIO *bio, char *out)
{
    int len = BIO_read(bio, out, PEM_MAX);

    assert_in_range(len, 1, PEM_MAX - 1);
    BIO_free(bio);
    return (size_t)len;
}

static void extend(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *extension;
    X509V3_CTX context;

    if (value == NULL)
        return;
    X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(x, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void make(struct authority *out, struct made how)
{
    X509 *x = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());

    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    ASN1_TIME_set(X509_getm_notBefore(x), how.from != 0 ? how.from : now - DAY);
    ASN1_TIME_set(X509_getm_notAfter(x), how.until != 0 ? how.until : now + 1000 * (int64_t)DAY);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const unsigned char *)"Test CA", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, how.key);
    extend(x, NID_basic_constraints, how.basic != NULL ? how.basic : "critical,CA:TRUE,pathlen:0");
    extend(x, NID_key_usage, how.usage != NULL ? how.usage : "critical,keyCertSign,cRLSign");
    extend(x, NID_subject_key_identifier, how.no_key_id ? NULL : "hash");
    extend(x, NID_name_constraints, how.name_constraints);
    assert_true(X509_sign(x, how.key, EVP_sha256()) > 0);
    PEM_write_bio_X509(bio, x);
    out->certificate_len = text_of(bio, out->certificate);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, how.key, NULL, NULL, 0, NULL, NULL);
    out->key_len = text_of(bio, out->key);
    X509_free(x);
    EVP_PKEY_free(how.key);
}

static EVP_PKEY *p256(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    assert_non_null(key);
    return key;
}

static struct ca *open_authority(const struct authority *a, char *error)
{
    return ca_open(span_of(a->certificate, a->certificate_len), span_of(a->key, a->key_len), now, error);
}

static struct ca *good_ca(struct authority *a)
{
    char error[256] = "";
    struct ca *ca;

    make(a, (struct made){ .key = p256() });
    ca = open_authority(a, error);
    assert_string_equal(error, "");
    assert_non_null(ca);
    return ca;
}

static struct leaf_request request_for(const char *name)
{
    struct leaf_request r = { .public_key = span_of(subscriber, subscriber_len), .from = now - 10 * DAY, .until = now + 60 * DAY };
    struct addr ip;

    if (addr_parse(&ip, span_str(name), 0))
        host_from_addr(&r.name, &ip);
    else
        assert_true(host_parse(&r.name, span_str(name)));
    return r;
}

static X509 *parse(const char *der, size_t len)
{
    const unsigned char *at = (const unsigned char *)der;
    X509 *x = d2i_X509(NULL, &at, (long)len);

    assert_non_null(x);
    assert_ptr_equal(at, der + len);
    return x;
}

static X509 *sign(const struct ca *ca, const struct leaf_request *r)
{
    char der[LEAF_MAX];
    size_t len = leaf_sign(ca, r, now, der);

    assert_true(len > 0);
    return parse(der, len);
}

static bool is_refused(const struct ca *ca, const struct leaf_request *r)
{
    char der[LEAF_MAX];

    return leaf_sign(ca, r, now, der) == 0;
}

static int64_t seconds(const ASN1_TIME *t)
{
    struct tm tm;

    assert_int_equal(ASN1_TIME_to_tm(t, &tm), 1);
    return timegm(&tm);
}

/* What libcrypto says: chain, purpose, strictness, name. */
static int verify(const struct authority *a, X509 *leaf, const char *name)
{
    BIO *bio = BIO_new_mem_buf(a->certificate, (int)a->certificate_len);
    X509 *root = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *wanted;
    int error;

    X509_STORE_add_cert(store, root);
    X509_STORE_CTX_init(context, store, leaf, NULL);
    X509_STORE_CTX_set_default(context, "ssl_server");
    wanted = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_flags(wanted, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    X509_VERIFY_PARAM_set_auth_level(wanted, 2);
    X509_VERIFY_PARAM_set_time(wanted, now);
    if (X509_VERIFY_PARAM_set1_ip_asc(wanted, name) != 1)
        assert_int_equal(X509_VERIFY_PARAM_set1_host(wanted, name, 0), 1);
    error = X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_free(root);
    BIO_free(bio);
    return error;
}

static void write_file(const char *path, const char *data, size_t len)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

/* What openssl(1) says. */
static int verify_by_program(const struct authority *a, X509 *leaf, const char *option, const char *name)
{
    char folder[] = "/tmp/postern-leaf-XXXXXX", ca[64], file[64], command[512], text[PEM_MAX];
    BIO *bio = BIO_new(BIO_s_mem());
    int status;

    assert_non_null(mkdtemp(folder));
    snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    snprintf(file, sizeof(file), "%s/leaf.pem", folder);
    write_file(ca, a->certificate, a->certificate_len);
    PEM_write_bio_X509(bio, leaf);
    write_file(file, text, text_of(bio, text));
    snprintf(command, sizeof(command),
             "openssl verify -x509_strict -purpose sslserver -auth_level 2 -CAfile %s %s %s %s >%s/out 2>&1", ca, option, name,
             file, folder);
    status = system(command);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    return status;
}

static void leaf_is_good(void **state)
{
    static const char *const names[] = { "www.example", "a.b.xn--bcher-kva.example", "192.0.2.7", "2001:db8::7", "single" };
    struct authority a;
    struct ca *ca = good_ca(&a);

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct leaf_request r = request_for(names[i]);
        X509 *leaf = sign(ca, &r);

        assert_int_equal(verify(&a, leaf, names[i]), X509_V_OK);
        assert_int_equal(verify(&a, leaf, "other.example"), X509_V_ERR_HOSTNAME_MISMATCH);
        assert_int_equal(verify_by_program(&a, leaf, r.name.ip.family != 0 ? "-verify_ip" : "-verify_hostname", names[i]), 0);
        assert_int_not_equal(verify_by_program(&a, leaf, "-verify_hostname", "other.example"), 0);
        X509_free(leaf);
    }
    ca_free(ca);
}

static void leaf_says_what_it_is(void **state)
{
    struct authority a;
    struct ca *ca = good_ca(&a);
    struct leaf_request r = request_for("www.example");
    X509 *leaf = sign(ca, &r), *second = sign(ca, &r);
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    char *subject = X509_NAME_oneline(X509_get_subject_name(leaf), NULL, 0);

    (void)state;
    assert_int_equal(sk_GENERAL_NAME_num(names), 1);
    assert_string_equal(subject, "/CN=www.example");
    assert_int_equal(X509_get_extension_flags(leaf) & EXFLAG_CA, 0);
    assert_int_equal(X509_get_key_usage(leaf), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_extended_key_usage(leaf), XKU_SSL_SERVER);
    assert_int_equal(X509_get_signature_nid(leaf), NID_ecdsa_with_SHA256);
    assert_int_equal(ASN1_STRING_length(X509_get0_serialNumber(leaf)), 16);
    assert_int_equal(ASN1_STRING_type(X509_get0_serialNumber(leaf)), V_ASN1_INTEGER); /* not V_ASN1_NEG_INTEGER */
    assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(leaf), X509_get0_serialNumber(second)), 0);
    OPENSSL_free(subject);
    GENERAL_NAMES_free(names);
    X509_free(leaf);
    X509_free(second);
    ca_free(ca);
}

static void validity_is_within_the_servers(void **state)
{
    static const struct {
        int64_t until, wanted;
    } cases[] = {
        { 60 * DAY, 60 * DAY }, { 1, 1 }, { 398 * DAY, 398 * DAY }, { 398 * DAY + 1, 398 * DAY }, { 9000 * (int64_t)DAY, 398 * DAY }
    };
    struct authority a;
    struct ca *ca = good_ca(&a);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct leaf_request r = request_for("www.example");
        X509 *leaf;

        r.until = now + cases[i].until;
        leaf = sign(ca, &r);
        assert_int_equal(seconds(X509_get0_notBefore(leaf)), now - 3600);
        assert_int_equal(seconds(X509_get0_notAfter(leaf)), now + cases[i].wanted);
        X509_free(leaf);
    }
    ca_free(ca);
}

static void what_is_not_valid_now_is_refused(void **state)
{
    struct authority a;
    struct ca *ca = good_ca(&a);
    struct leaf_request r = request_for("www.example");

    (void)state;
    r.until = now;
    assert_true(is_refused(ca, &r));
    r = request_for("www.example");
    r.from = now + 1;
    assert_true(is_refused(ca, &r));
    r.from = now;
    assert_false(is_refused(ca, &r));
    ca_free(ca);
}

static void failing_leaf_says_so(void **state)
{
    struct authority a;
    struct ca *ca = good_ca(&a);
    struct leaf_request r = request_for("www.example");
    char organisation[128];
    X509 *leaf;

    (void)state;
    r.failing = true;
    r.from = r.until = 0;
    leaf = sign(ca, &r);
    assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_organizationName, organisation, sizeof(organisation)) >
                0);
    assert_string_equal(organisation, "Postern: the server's certificate is not good");
    assert_int_equal(seconds(X509_get0_notAfter(leaf)), now + DAY);
    assert_int_equal(verify(&a, leaf, "www.example"), X509_V_OK);
    assert_int_equal(verify_by_program(&a, leaf, "-verify_hostname", "www.example"), 0);
    X509_free(leaf);
    ca_free(ca);
}

/* 64 characters of a common name at most; the subjectAltName has all. */
static void long_names(void **state)
{
    static const char label[] = "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0";
    struct authority a;
    struct ca *ca = good_ca(&a);
    struct leaf_request r;
    char name[256], common[128];
    X509 *leaf;

    (void)state;
    snprintf(name, sizeof(name), "%s.%s.%s.%.61s", label, label, label, label);
    assert_int_equal(strlen(name), 253);
    r = request_for(name);
    leaf = sign(ca, &r);
    assert_int_equal(verify(&a, leaf, name), X509_V_OK);
    assert_int_equal(X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, common, sizeof(common)), 64);
    X509_free(leaf);
    ca_free(ca);
}

/* A worker that was taken over may send any struct. */
static void names_that_are_none(void **state)
{
    static const char *const bad[] = { "",          "*.example", "a,DNS:b.example", "a b", "A.example", "a.example.",
                                       "a\nb",      "..",        "[::1]",           "a/b", "a@b",       "1.2.3.4",
                                       "b\303\274", "127.1",     "a.example:1" };
    struct authority a;
    struct ca *ca = good_ca(&a);
    struct leaf_request r = request_for("www.example");

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memset(&r.name, 0, sizeof(r.name));
        snprintf(r.name.name, sizeof(r.name.name), "%s", bad[i]);
        r.name.len = (uint16_t)strlen(bad[i]);
        if (!is_refused(ca, &r))
            fail_msg("signed: %s", bad[i]);
    }
    r = request_for("www.example");
    r.name.len = 3; /* not where it ends */
    assert_true(is_refused(ca, &r));
    r = request_for("192.0.2.1");
    assert_true(addr_parse(&r.name.ip, SPAN("192.0.2.2"), 0)); /* another one than the text */
    assert_true(is_refused(ca, &r));
    ca_free(ca);
}

static size_t public_der(EVP_PKEY *key, char *out, size_t size)
{
    unsigned char *at = (unsigned char *)out;
    int len = i2d_PUBKEY(key, NULL);

    assert_in_range(len, 1, size);
    i2d_PUBKEY(key, &at);
    EVP_PKEY_free(key);
    return (size_t)len;
}

static void keys_that_are_not_p256(void **state)
{
    struct authority a;
    struct ca *ca = good_ca(&a);
    struct leaf_request r = request_for("www.example");
    char der[1024];

    (void)state;
    r.public_key = span_of(der, public_der(EVP_EC_gen("P-384"), der, sizeof(der)));
    assert_true(is_refused(ca, &r));
    r.public_key = span_of(der, public_der(EVP_RSA_gen(2048), der, sizeof(der)));
    assert_true(is_refused(ca, &r));
    r.public_key = span_of(der, public_der(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), der, sizeof(der)));
    assert_true(is_refused(ca, &r));
    r.public_key = span_of(NULL, 0);
    assert_true(is_refused(ca, &r));
    memcpy(der, subscriber, subscriber_len);
    for (size_t len = 0; len < subscriber_len; len++) {
        r.public_key = span_of(der, len);
        assert_true(is_refused(ca, &r));
    }
    der[subscriber_len] = 0;
    r.public_key = span_of(der, subscriber_len + 1); /* something behind it */
    assert_true(is_refused(ca, &r));
    der[subscriber_len - 1] ^= 1; /* not on the curve */
    r.public_key = span_of(der, subscriber_len);
    assert_true(is_refused(ca, &r));
    ca_free(ca);
}

static void check_fault(struct made how, const char *wanted)
{
    char error[256] = "";
    struct authority a;
    struct ca *ca;

    make(&a, how);
    ca = open_authority(&a, error);
    if (strstr(error, wanted) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", error, wanted);
    assert_null(ca);
}

static void bad_authorities(void **state)
{
    (void)state;
    check_fault((struct made){ .key = p256(), .basic = "critical,CA:FALSE" }, "basicConstraints");
    check_fault((struct made){ .key = p256(), .usage = "critical,digitalSignature" }, "keyUsage");
    check_fault((struct made){ .key = p256(), .until = now - 1 }, "expired");
    check_fault((struct made){ .key = p256(), .until = now }, "expired");
    check_fault((struct made){ .key = p256(), .from = now + 1 }, "not valid yet");
    check_fault((struct made){ .key = p256(), .no_key_id = true }, "subjectKeyIdentifier");
    check_fault((struct made){ .key = EVP_RSA_gen(1024) }, "RSA below 2048");
    check_fault((struct made){ .key = EVP_EC_gen("prime192v1") }, "below 224");
}

static void texts_that_are_no_authority(void **state)
{
    char error[256];
    struct authority a, other;
    struct ca *ca;

    (void)state;
    make(&a, (struct made){ .key = p256() });
    make(&other, (struct made){ .key = p256() });
    assert_null(ca_open(span_of(a.certificate, a.certificate_len), span_of(other.key, other.key_len), now, error));
    assert_non_null(strstr(error, "not that of the certificate"));
    assert_null(ca_open(span_of(a.key, a.key_len), span_of(a.key, a.key_len), now, error));
    assert_non_null(strstr(error, "the certificate cannot be read"));
    assert_null(ca_open(span_of(a.certificate, a.certificate_len), span_of(a.certificate, a.certificate_len), now, error));
    assert_non_null(strstr(error, "the key cannot be read"));
    assert_null(ca_open(span_of(NULL, 0), span_of(NULL, 0), now, error));
    for (size_t len = 0; len + 1 < a.key_len; len += 7)
        assert_null(ca_open(span_of(a.certificate, a.certificate_len), span_of(a.key, len), now, error));
    ca = ca_open(span_of(a.certificate, a.certificate_len), span_of(a.key, a.key_len), now, error);
    assert_non_null(ca);
    ca_free(ca);
}

static void rsa_authority(void **state)
{
    struct authority a;
    struct leaf_request r = request_for("www.example");
    char error[256];
    struct ca *ca;
    X509 *leaf;

    (void)state;
    make(&a, (struct made){ .key = EVP_RSA_gen(2048) });
    ca = open_authority(&a, error);
    assert_non_null(ca);
    leaf = sign(ca, &r);
    assert_int_equal(X509_get_signature_nid(leaf), NID_sha256WithRSAEncryption);
    assert_int_equal(verify(&a, leaf, "www.example"), X509_V_OK);
    X509_free(leaf);
    ca_free(ca);
}

/* A leaf never outlives its CA, and one that expired signs nothing more. */
static void authority_that_ends(void **state)
{
    struct authority a;
    struct leaf_request r = request_for("www.example");
    char error[256], der[LEAF_MAX];
    struct ca *ca;
    X509 *leaf;

    (void)state;
    make(&a, (struct made){ .key = p256(), .from = now - 60, .until = now + 60 });
    ca = open_authority(&a, error);
    assert_non_null(ca);
    leaf = sign(ca, &r);
    assert_int_equal(seconds(X509_get0_notBefore(leaf)), now - 60);
    assert_int_equal(seconds(X509_get0_notAfter(leaf)), now + 60);
    assert_int_equal(leaf_sign(ca, &r, now + 60, der), 0);
    assert_int_equal(leaf_sign(ca, &r, now - 61, der), 0);
    X509_free(leaf);
    ca_free(ca);
}

static void name_constraints(void **state)
{
    struct authority a;
    struct leaf_request in = request_for("www.example"), out = request_for("www.test");
    char error[256];
    struct ca *ca;
    X509 *leaf;

    (void)state;
    make(&a, (struct made){ .key = p256(), .name_constraints = "critical,permitted;DNS:example" });
    ca = open_authority(&a, error);
    assert_non_null(ca);
    assert_true(is_refused(ca, &out));
    leaf = sign(ca, &in);
    assert_int_equal(verify(&a, leaf, "www.example"), X509_V_OK);
    X509_free(leaf);
    ca_free(ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaf_is_good),
        cmocka_unit_test(leaf_says_what_it_is),
        cmocka_unit_test(validity_is_within_the_servers),
        cmocka_unit_test(what_is_not_valid_now_is_refused),
        cmocka_unit_test(failing_leaf_says_so),
        cmocka_unit_test(long_names),
        cmocka_unit_test(names_that_are_none),
        cmocka_unit_test(keys_that_are_not_p256),
        cmocka_unit_test(bad_authorities),
        cmocka_unit_test(texts_that_are_no_authority),
        cmocka_unit_test(rsa_authority),
        cmocka_unit_test(authority_that_ends),
        cmocka_unit_test(name_constraints),
    };

    now = time(NULL);
    subscriber_len = public_der(p256(), subscriber, sizeof(subscriber));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
