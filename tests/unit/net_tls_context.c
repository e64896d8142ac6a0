/* SPDX-License-Identifier: ISC */
/* What files can hold: good and bad certificates, keys, lists and responses; leaves; key logs. */
#include "net/tls_end.h"
#include "net_tls_pair.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct cert ca, ecdsa, rsa;

static int set_up(void **state)
{
    (void)state;
    if (!tls_start() || !tls_start())
        return -1;
    ca = cert_make_ca("Test CA");
    ecdsa = cert_make((struct cert_spec){
        .cn = "x", .names = "DNS:A.example,DNS:*.b.example,IP:::1,IP:10.0.0.1,email:a@a.example", .issuer = &ca });
    rsa = cert_make((struct cert_spec){ .cn = "x", .names = "DNS:a.example", .issuer = &ca, .rsa_bits = 2048 });
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cert_free(&ca);
    cert_free(&ecdsa);
    cert_free(&rsa);
    return 0;
}

static void expect_error(struct tls_context *context, const char *error, const char *begins)
{
    if (context != NULL || !span_starts(span_str(error), span_str(begins)))
        fail_msg("'%s' instead of '%s'", error, begins);
    assert_int_equal(ERR_peek_error(), 0);
}

static void refuses_pair(struct span certificate, struct span key, const char *begins)
{
    struct tls_pair pair = { certificate, key, { NULL, 0 } };
    char error[TLS_ERROR] = "";
    struct tls_server_settings server = { .pairs = &pair, .pair_count = 1, .min_version = 0x0303, .keylog = -1 };
    struct tls_client_settings client = { .pair = pair, .min_version = 0x0303, .keylog = -1 };

    expect_error(tls_server_new(&server, error), error, begins);
    if (certificate.len > 0)
        expect_error(tls_client_new(&client, error), error, begins);
}

static struct span encrypted_key(void)
{
    BIO *pem = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(pem, ecdsa.key, EVP_aes_256_cbc(), "secret", 6, NULL, NULL), 1);
    return certs_take(pem);
}

static void test_pairs(void **state)
{
    struct cert weak = cert_make((struct cert_spec){ .cn = "x", .issuer = &ca, .rsa_bits = 1024 });
    struct cert sha1 = cert_make((struct cert_spec){ .cn = "x", .issuer = &ca, .digest = EVP_sha1() });
    struct span half = { ecdsa.pem.at, ecdsa.pem.len / 2 }, none = { NULL, 0 }, locked = encrypted_key();
    struct span cut = certs_join(ecdsa.pem, half);

    (void)state;
    refuses_pair(none, ecdsa.key_pem, "no certificate");
    refuses_pair(half, ecdsa.key_pem, "no certificate");
    refuses_pair(cut, ecdsa.key_pem, "no certificate");
    refuses_pair(ecdsa.key_pem, ecdsa.key_pem, "no certificate: the file has no PEM block of that kind");
    refuses_pair(ecdsa.pem, none, "no private key: ");
    refuses_pair(ecdsa.pem, ecdsa.pem, "no private key: ");
    refuses_pair(ecdsa.pem, locked, "the key has a passphrase: ");
    refuses_pair(ecdsa.pem, rsa.key_pem, "the key is not that of the certificate");
    refuses_pair(ecdsa.pem, ca.key_pem, "the key is not that of the certificate");
    refuses_pair(weak.pem, weak.key_pem,
                 "the certificate is too weak (RSA from 2048 bits on, EC from 224, SHA-256): ee key too small");
    refuses_pair(sha1.pem, sha1.key_pem,
                 "the certificate is too weak (RSA from 2048 bits on, EC from 224, SHA-256): ca md too weak");
    cert_free(&weak);
    cert_free(&sha1);
    free((char *)locked.at);
    free((char *)cut.at);
}

static void test_trust(void **state)
{
    struct tls_pair pair = { ecdsa.pem, ecdsa.key_pem, { NULL, 0 } };
    struct tls_server_settings server = {
        .pairs = &pair, .pair_count = 1, .min_version = 0x0303, .keylog = -1, .verify = TLS_VERIFY_REQUIRED
    };
    struct tls_client_settings client = { .verify = true, .min_version = 0x0303, .keylog = -1 };
    struct tls_context *one, *two, *other;
    char error[TLS_ERROR] = "";

    (void)state;
    expect_error(tls_server_new(&server, error), error, "no certificates to trust");
    expect_error(tls_client_new(&client, error), error, "no certificates to trust");
    server.ca = client.trust = ca.pem;
    server.crl = client.crl = SPAN("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    expect_error(tls_server_new(&server, error), error, "no revocation list");
    expect_error(tls_client_new(&client, error), error, "no revocation list");
    client.crl = ca.pem;
    expect_error(tls_client_new(&client, error), error, "no revocation list");
    client.crl = span_of(NULL, 0);
    one = tls_client_new(&client, error);
    two = tls_client_new(&client, error);
    assert_ptr_equal(one->trust, two->trust); /* the same bytes are read once */
    client.trust = rsa.pem;
    other = tls_client_new(&client, error);
    assert_ptr_not_equal(one->trust, other->trust);
    tls_context_unref(one);
    tls_context_unref(tls_context_ref(two));
    tls_context_unref(two);
    tls_context_unref(other);
}

static void note(void *arg, struct span name)
{
    char *all = arg;

    strncat(all, name.at, name.len);
    strcat(all, " ");
}

static void test_names(void **state)
{
    struct cert bare = cert_make((struct cert_spec){ .cn = "a.example", .issuer = &ca });
    struct cert nul = cert_make((struct cert_spec){ .cn = "x", .raw_dns = { "a\0b", 3 }, .issuer = &ca });
    struct cert odd =
        cert_make((struct cert_spec){ .cn = "x", .names = "DNS:a*.x.example,DNS:*,DNS:a b,DNS:good.example", .issuer = &ca });
    char all[256] = "", error[TLS_ERROR];
    bool is_ecdsa = false;

    (void)state;
    assert_true(tls_certificate_names(ecdsa.pem, note, all, &is_ecdsa, error));
    assert_string_equal(all, "a.example *.b.example ::1 10.0.0.1 ");
    assert_true(is_ecdsa);
    assert_true(tls_certificate_names(rsa.pem, note, all, &is_ecdsa, error));
    assert_false(is_ecdsa);
    all[0] = '\0';
    assert_true(tls_certificate_names(odd.pem, note, all, &is_ecdsa, error));
    assert_string_equal(all, "good.example ");
    assert_false(tls_certificate_names(bare.pem, note, all, &is_ecdsa, error));
    assert_string_equal(error, "the certificate names nobody (subjectAltName): a common name alone counts for nothing");
    assert_false(tls_certificate_names(nul.pem, note, all, &is_ecdsa, error));
    assert_false(tls_certificate_names(SPAN("x"), note, all, &is_ecdsa, error));
    cert_free(&bare);
    cert_free(&nul);
    cert_free(&odd);
}

static void test_life(void **state)
{
    int64_t now = time(NULL), from, until;

    (void)state;
    assert_true(tls_certificate_life(ecdsa.pem, &from, &until));
    assert_in_range(until - now, DAY, DAY + 3700);
    assert_true(from <= now && from > now - 2 * DAY);
    assert_false(tls_certificate_life(SPAN("x"), &from, &until));
}

/* An OCSP response about a certificate. */
static struct span response_about(const struct cert *c, int status, long until)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), c->x509, ca.x509);
    ASN1_TIME *now = X509_gmtime_adj(NULL, -2 * DAY), *then = X509_gmtime_adj(NULL, until);
    OCSP_RESPONSE *response;
    unsigned char *der = NULL;
    char *copy;
    int len;

    OCSP_basic_add1_status(basic, id, status, 0, now, now, then);
    assert_int_equal(OCSP_basic_sign(basic, ca.x509, ca.key, EVP_sha256(), NULL, 0), 1);
    response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    len = i2d_OCSP_RESPONSE(response, &der);
    assert_true(len > 0);
    copy = malloc((size_t)len);
    memcpy(copy, der, (size_t)len);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    ASN1_TIME_free(now);
    ASN1_TIME_free(then);
    return span_of(copy, (size_t)len);
}

/* Length of the response that a client gets that asks for one. */
static long stapled(struct span response)
{
    struct tls_pair pairs[] = { { rsa.pem, rsa.key_pem, { NULL, 0 } }, { ecdsa.pem, ecdsa.key_pem, response } };
    struct tls_context *server = pair_server(NULL, (struct tls_server_settings){ .pairs = pairs, .pair_count = 2 });
    struct tls_context *client = pair_client(ca.pem, (struct tls_client_settings){ 0 });
    struct tls_pair_of_ends p;
    const unsigned char *at;
    long len;

    SSL_CTX_set_tlsext_status_type(client->ctx, TLSEXT_STATUSTYPE_ocsp);
    pair_open(&p);
    pair_shake(&p, client, server, "a.example");
    assert_int_equal(p.client.progress, TLS_DONE);
    len = SSL_get_tlsext_status_ocsp_resp(p.client.stream.tls->ssl, &at);
    if (len > 0)
        assert_memory_equal(at, response.at, response.len);
    pair_close(&p);
    tls_context_unref(server);
    tls_context_unref(client);
    return len;
}

static void test_staples(void **state)
{
    struct span good = response_about(&ecdsa, V_OCSP_CERTSTATUS_GOOD, DAY),
                old = response_about(&ecdsa, V_OCSP_CERTSTATUS_GOOD, -DAY);
    struct span other = response_about(&rsa, V_OCSP_CERTSTATUS_GOOD, DAY),
                bad = response_about(&ecdsa, V_OCSP_CERTSTATUS_UNKNOWN, DAY);
    struct tls_pair pair = { ecdsa.pem, ecdsa.key_pem, other };
    struct tls_server_settings settings = { .pairs = &pair, .pair_count = 1, .min_version = 0x0303, .keylog = -1 };
    char error[TLS_ERROR];

    (void)state;
    assert_int_equal(stapled(good), good.len);
    assert_int_equal(stapled(old), -1); /* given no longer */
    expect_error(tls_server_new(&settings, error), error, "the OCSP response is about another certificate");
    pair.ocsp = bad;
    expect_error(tls_server_new(&settings, error), error, "the OCSP response does not say that the certificate is good");
    pair.ocsp = ecdsa.pem;
    expect_error(tls_server_new(&settings, error), error, "no successful OCSP response (DER)");
    free((char *)good.at);
    free((char *)old.at);
    free((char *)other.at);
    free((char *)bad.at);
}

/* A leaf as the minter would make it, for this key. */
static struct span mint(struct span public_key)
{
    const unsigned char *at = (const unsigned char *)public_key.at;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)public_key.len);
    struct cert c = cert_make((struct cert_spec){ .cn = "a.example", .names = "DNS:a.example", .issuer = &ca });
    unsigned char *der = NULL;
    char *copy;
    int len;

    assert_non_null(key);
    assert_int_equal(X509_set_pubkey(c.x509, key), 1);
    assert_true(X509_sign(c.x509, ca.key, EVP_sha256()) > 0);
    len = i2d_X509(c.x509, &der);
    copy = malloc((size_t)len);
    memcpy(copy, der, (size_t)len);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    cert_free(&c);
    return span_of(copy, (size_t)len);
}

static void test_leaves(void **state)
{
    char error[TLS_ERROR];
    struct tls_context *inspect = tls_inspect_new(-1, error), *client = pair_client(ca.pem, (struct tls_client_settings){ 0 });
    struct tls_context *another = tls_inspect_new(-1, error);
    struct span der = mint(tls_inspect_public_key(inspect));
    struct tls_leaf *leaf = tls_leaf_new(inspect, der, ca.pem);
    struct tls_peer peer = { .name = SPAN("a.example") };

    (void)state;
    assert_non_null(leaf);
    assert_null(tls_leaf_new(another, der, ca.pem));
    assert_null(tls_leaf_new(inspect, span_of(der.at, der.len - 1), ca.pem));
    assert_null(tls_leaf_new(inspect, der, SPAN("")));
    for (int i = 0; i < 2; i++) {
        struct tls_facts facts = { 0 };
        struct tls_pair_of_ends p;

        pair_open(&p);
        pair_shake_as(&p, client, inspect, &peer, leaf);
        assert_int_equal(p.client.progress, TLS_DONE);
        stream_tls_facts(&p.client.stream, &facts);
        assert_string_equal(facts.subject, "CN=a.example");
        assert_false(facts.resumed);
        if (i == 1) /* the stream keeps what it needs */
            tls_leaf_unref(leaf);
        pair_close(&p);
    }
    tls_context_unref(inspect);
    tls_context_unref(another);
    tls_context_unref(client);
    free((char *)der.at);
}

static void test_keylog(void **state)
{
    struct tls_pair pair = { ecdsa.pem, ecdsa.key_pem, { NULL, 0 } };
    struct tls_server_settings settings = { .pairs = &pair, .pair_count = 1, .min_version = 0x0304 };
    struct tls_context *client = pair_client(ca.pem, (struct tls_client_settings){ 0 }), *server;
    char error[TLS_ERROR], text[4096];
    struct tls_pair_of_ends p;
    int fds[2];
    ssize_t n;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    settings.keylog = fds[1];
    server = tls_server_new(&settings, error);
    pair_open(&p);
    pair_shake(&p, client, server, "a.example");
    n = read(fds[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "CLIENT_TRAFFIC_SECRET_0 "));
    assert_int_equal(text[n - 1], '\n');
    pair_close(&p);
    tls_context_unref(server);
    tls_context_unref(client);
    close(fds[0]);
    close(fds[1]);
}

/* Keys lie in the secure heap. */
static void test_secure_heap(void **state)
{
    size_t before = CRYPTO_secure_used();
    struct tls_context *server = pair_server(&rsa, (struct tls_server_settings){ 0 });

    (void)state;
    assert_true(CRYPTO_secure_malloc_initialized());
    assert_true(CRYPTO_secure_used() > before);
    tls_context_unref(server);
    assert_int_equal(CRYPTO_secure_used(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),  cmocka_unit_test(test_trust),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_life),   cmocka_unit_test(test_staples),     cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_keylog), cmocka_unit_test(test_secure_heap),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
