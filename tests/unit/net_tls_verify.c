/* SPDX-License-Identifier: ISC */
/* Who a server must be, and who a client must be: each way in which a certificate can be no good, in both versions of TLS. */
#include "net/tls_end.h"
#include "net_tls_pair.h"

#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct cert ca, other_ca, sub_ca, constrained_ca;

static int set_up(void **state)
{
    (void)state;
    if (!tls_start())
        return -1;
    ca = cert_make_ca("Test CA");
    other_ca = cert_make_ca("Other CA");
    sub_ca = cert_make((struct cert_spec){ .cn = "Sub CA", .ca = "critical,CA:TRUE", .issuer = &ca });
    constrained_ca = cert_make((struct cert_spec){
        .cn = "Constrained CA", .ca = "critical,CA:TRUE", .issuer = &ca, .constraints = "critical,permitted;DNS:inside.example" });
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cert_free(&ca);
    cert_free(&other_ca);
    cert_free(&sub_ca);
    cert_free(&constrained_ca);
    return 0;
}

static const struct span nul_name = { "a.example\0.evil.example", 23 };

/* A server that is not good by anybody's level: what Postern says of it must not depend on what it would load itself. */
static struct tls_context *careless_server(const struct cert *c, const struct cert *issuer)
{
    char error[TLS_ERROR];
    struct tls_context *context = tls_context_new(TLS_server_method(), TLS1_2_VERSION, -1, error);

    assert_non_null(context);
    context->server = true;
    SSL_CTX_set_security_level(context->ctx, 0);
    assert_int_equal(SSL_CTX_use_certificate(context->ctx, c->x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context->ctx, c->key), 1);
    if (issuer != NULL)
        assert_int_equal(SSL_CTX_add1_chain_cert(context->ctx, issuer->x509), 1);
    return context;
}

/* One handshake with this server; 0: it is good, else what verification said. */
static int verdict_with(struct tls_context *client, struct tls_context *server, const struct tls_peer *peer, int version)
{
    struct tls_facts facts = { 0 };
    struct tls_pair_of_ends p;
    bool done;

    SSL_CTX_set_max_proto_version(server->ctx, version);
    pair_open(&p);
    pair_shake_as(&p, client, server, peer, NULL);
    stream_tls_facts(&p.client.stream, &facts);
    done = p.client.progress == TLS_DONE;
    assert_int_equal(done, facts.verify == 0);
    if (!done) {
        assert_int_equal(stream_failure(&p.client.stream), TLS_FAILED_CERTIFICATE);
        assert_int_equal(p.server.progress, TLS_FAILED); /* our alert came */
        assert_true(stream_failure(&p.server.stream) == TLS_FAILED_REFUSED || stream_failure(&p.server.stream) == TLS_FAILED_ALERT);
    }
    pair_close(&p);
    return facts.verify;
}

static int verdict(struct span trust, struct span crl, const struct cert *c, const struct cert *issuer, const struct tls_peer *peer)
{
    struct tls_context *client = pair_client(trust, (struct tls_client_settings){ .crl = crl });
    struct tls_context *server = careless_server(c, issuer);
    int old = verdict_with(client, server, peer, TLS1_2_VERSION), new = verdict_with(client, server, peer, TLS1_3_VERSION);

    assert_int_equal(old, new);
    tls_context_unref(client);
    tls_context_unref(server);
    return new;
}

/* What names in a certificate mean for the name that was asked for; NULL asks for the address 127.0.0.1. */
static void test_names(void **state)
{
    static const struct {
        const char *names, *asked;
        bool good;
    } rows[] = {
        { "DNS:a.example", "a.example", true },
        { "DNS:A.Example", "a.example", true },
        { "DNS:b.example", "a.example", false },
        { "DNS:b.example,DNS:a.example", "a.example", true },
        { "DNS:*.example.org", "a.example.org", true },
        { "DNS:*.example.org", "example.org", false },
        { "DNS:*.example.org", "a.b.example.org", false },
        { "DNS:*.example", "a.example", false },
        { "DNS:*", "example", false },
        { "DNS:*.*.example.org", "a.b.example.org", false },
        { "DNS:a*.example.org", "ab.example.org", false },
        { "DNS:*a.example.org", "ba.example.org", false },
        { "DNS:x.*.example.org", "x.y.example.org", false },
        { "DNS:xn--*.example.org", "xn--a.example.org", false },
        { "email:root@a.example", "a.example", false },
        { "email:a.example", "a.example", false },
        { "URI:https://a.example/", "a.example", false },
        { "IP:127.0.0.1", NULL, true },
        { "IP:127.0.0.2", NULL, false },
        { "DNS:127.0.0.1", NULL, false },
        { "IP:127.0.0.1", "a.example", false },
        { NULL, "a.example", false }, /* the common name alone */
        { "email:root@a.example", "a.example", false },
    };
    struct addr at = loopback("127.0.0.1", 443);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct cert c = cert_make((struct cert_spec){ .cn = "a.example", .names = rows[i].names, .issuer = &ca });
        struct tls_peer peer = { .name = span_str(rows[i].asked), .address = &at };
        int verify = verdict(ca.pem, span_of(NULL, 0), &c, NULL, &peer);

        if ((verify == 0) != rows[i].good)
            fail_msg("row %zu: %s", i, tls_verify_text(verify));
        if (!rows[i].good)
            assert_string_equal(tls_verify_text(verify), "the certificate is for another name");
        cert_free(&c);
    }
}

static void test_nul_in_a_name(void **state)
{
    struct cert c = cert_make((struct cert_spec){ .cn = "a.example", .raw_dns = nul_name, .issuer = &ca });
    struct tls_peer peer = { .name = SPAN("a.example") };

    (void)state;
    assert_int_equal(verdict(ca.pem, span_of(NULL, 0), &c, NULL, &peer), X509_V_ERR_HOSTNAME_MISMATCH);
    cert_free(&c);
}

/* Names that nobody may be asked for. */
static void test_names_of_peers(void **state)
{
    struct tls_context *client = pair_client(ca.pem, (struct tls_client_settings){ 0 });
    const struct span names[] = { { "", 0 }, { ".example", 8 }, nul_name };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct tls_pair_of_ends p;

        pair_open(&p);
        assert_false(stream_secure_client(&p.client.stream, client, &(struct tls_peer){ .name = names[i] }));
        assert_false(stream_is_secure(&p.client.stream));
        pair_close(&p);
    }
    tls_context_unref(client);
}

static void expect(int verify, const struct cert_spec *spec, const struct cert *issuer, struct span trust)
{
    struct cert c = cert_make(*spec);
    struct tls_peer peer = { .name = SPAN("a.example") };
    int got = verdict(trust, span_of(NULL, 0), &c, issuer, &peer);

    if (got != verify)
        fail_msg("%s instead of %s", tls_verify_text(got), tls_verify_text(verify));
    cert_free(&c);
}

static void test_chains(void **state)
{
    struct cert_spec spec = { .cn = "x", .names = "DNS:a.example", .issuer = &ca };

    (void)state;
    expect(0, &spec, NULL, ca.pem);
    expect(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, &spec, NULL, other_ca.pem);
    spec.issuer = &sub_ca;
    expect(0, &spec, &sub_ca, ca.pem);
    expect(0, &spec, NULL, sub_ca.pem); /* what is listed is trusted, a root or not */
    expect(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, &spec, NULL, ca.pem);
    spec.issuer = NULL;
    expect(X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, &spec, NULL, ca.pem);
    spec.issuer = &constrained_ca;
    expect(X509_V_ERR_PERMITTED_VIOLATION, &spec, &constrained_ca, ca.pem);
    spec.issuer = &ca;
    spec.usage = "clientAuth";
    expect(X509_V_ERR_INVALID_PURPOSE, &spec, NULL, ca.pem);
    spec.usage = NULL;
    spec.from = -2 * DAY;
    spec.until = -DAY;
    expect(X509_V_ERR_CERT_HAS_EXPIRED, &spec, NULL, ca.pem);
    spec.from = DAY;
    spec.until = 2 * DAY;
    expect(X509_V_ERR_CERT_NOT_YET_VALID, &spec, NULL, ca.pem);
    spec.from = spec.until = 0;
    spec.rsa_bits = 1024;
    expect(X509_V_ERR_EE_KEY_TOO_SMALL, &spec, NULL, ca.pem);
    spec.rsa_bits = 2048;
    spec.digest = EVP_sha1();
    expect(X509_V_ERR_CA_MD_TOO_WEAK, &spec, NULL, ca.pem);
}

/* A leaf that signs leaves. */
static void test_issuer_that_is_no_ca(void **state)
{
    struct cert leaf = cert_make((struct cert_spec){ .cn = "leaf", .names = "DNS:b.example", .issuer = &ca });
    struct cert_spec spec = { .cn = "x", .names = "DNS:a.example", .issuer = &leaf };

    (void)state;
    expect(X509_V_ERR_INVALID_CA, &spec, &leaf, ca.pem);
    cert_free(&leaf);
}

static void test_revoked(void **state)
{
    struct cert c = cert_make((struct cert_spec){ .cn = "x", .names = "DNS:a.example", .issuer = &sub_ca });
    struct span none = certs_crl(&ca, NULL), sub_none = certs_crl(&sub_ca, NULL), sub_revoked = certs_crl(&ca, sub_ca.x509);
    struct span revoked = certs_crl(&sub_ca, c.x509);
    struct span good = certs_join(none, sub_none), bad = certs_join(none, revoked), worse = certs_join(sub_revoked, sub_none);
    struct tls_peer peer = { .name = SPAN("a.example") };

    (void)state;
    assert_int_equal(verdict(ca.pem, good, &c, &sub_ca, &peer), 0);
    assert_int_equal(verdict(ca.pem, bad, &c, &sub_ca, &peer), X509_V_ERR_CERT_REVOKED);
    assert_int_equal(verdict(ca.pem, worse, &c, &sub_ca, &peer), X509_V_ERR_CERT_REVOKED);
    assert_int_equal(verdict(ca.pem, none, &c, &sub_ca, &peer), X509_V_ERR_UNABLE_TO_GET_CRL); /* every link has one */
    free((char *)none.at);
    free((char *)sub_none.at);
    free((char *)sub_revoked.at);
    free((char *)revoked.at);
    free((char *)good.at);
    free((char *)bad.at);
    free((char *)worse.at);
    cert_free(&c);
}

static void pin_of(const struct cert *c, uint8_t out[32])
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(c->key, &der);

    assert_true(len > 0);
    SHA256(der, (size_t)len, out);
    OPENSSL_free(der);
}

static int pinned(const struct cert *pin, struct span trust, const struct cert *c, const struct cert *issuer)
{
    uint8_t pins[2][32] = { { 1 } };
    struct tls_context *server = careless_server(c, issuer), *client;
    int got;

    pin_of(pin, pins[1]);
    client = pair_client(trust, (struct tls_client_settings){ .pins = (const uint8_t(*)[32])pins, .pin_count = 2 });
    got = verdict_with(client, server, &(struct tls_peer){ .name = SPAN("a.example") }, TLS1_3_VERSION);
    tls_context_unref(server);
    tls_context_unref(client);
    return got;
}

static void test_pins(void **state)
{
    struct cert c = cert_make((struct cert_spec){ .cn = "x", .names = "DNS:a.example", .issuer = &sub_ca });
    struct cert expired =
        cert_make((struct cert_spec){ .cn = "x", .from = -2 * DAY, .until = -DAY, .names = "DNS:a.example", .issuer = &ca });
    struct span nobody = { NULL, 0 };

    (void)state;
    assert_int_equal(pinned(&c, ca.pem, &c, &sub_ca), 0);
    assert_int_equal(pinned(&sub_ca, ca.pem, &c, &sub_ca), 0);
    assert_int_equal(pinned(&ca, ca.pem, &c, &sub_ca), 0); /* the root, which the server did not send */
    assert_int_equal(pinned(&other_ca, ca.pem, &c, &sub_ca), TLS_VERIFY_PIN);
    assert_int_equal(pinned(&other_ca, ca.pem, &c, &other_ca), X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    assert_int_equal(pinned(&expired, ca.pem, &expired, NULL), X509_V_ERR_CERT_HAS_EXPIRED); /* a pin is no excuse */
    assert_int_equal(pinned(&expired, nobody, &expired, NULL), 0);                           /* not verified, but pinned */
    assert_int_equal(pinned(&other_ca, nobody, &c, NULL), TLS_VERIFY_PIN);
    assert_int_equal(pinned(&other_ca, nobody, &c, &other_ca), TLS_VERIFY_PIN); /* anybody can send a certificate along */
    cert_free(&c);
    cert_free(&expired);
}

static void test_unverified(void **state)
{
    struct cert c = cert_make((struct cert_spec){ .cn = "x", .names = "DNS:b.example", .from = -2 * DAY, .until = -DAY });
    struct tls_context *client = pair_client(span_of(NULL, 0), (struct tls_client_settings){ 0 }),
                       *server = careless_server(&c, NULL);
    struct tls_facts facts = { 0 };
    struct tls_pair_of_ends p;

    (void)state;
    pair_open(&p);
    pair_shake(&p, client, server, "a.example");
    assert_int_equal(p.client.progress, TLS_DONE);
    stream_tls_facts(&p.client.stream, &facts);
    assert_true(facts.unverified);
    assert_string_equal(facts.subject, "CN=x");
    pair_close(&p);
    tls_context_unref(server);
    tls_context_unref(client);
    cert_free(&c);
}

/* Certificates of clients. */

struct client_case {
    enum tls_verify verify;
    const struct cert *own; /* the client's; NULL: none */
    bool good;
    enum tls_failure server, client;
    int code;
};

/* TLS 1.3: the client is done before the server has seen its certificate, and hears of it later. */
static void expect_client(const struct tls_server_settings *settings, const struct cert *own_server, const struct client_case *row,
                          int version)
{
    struct tls_pair pair = { row->own ? row->own->pem : span_of(NULL, 0),
                             row->own ? row->own->key_pem : span_of(NULL, 0),
                             { NULL, 0 } };
    struct tls_context *server = pair_server(own_server, *settings);
    struct tls_context *client = pair_client(ca.pem, (struct tls_client_settings){ .pair = pair });
    struct tls_facts facts = { 0 };
    struct tls_pair_of_ends p;
    char text[16];

    SSL_CTX_set_max_proto_version(server->ctx, version);
    pair_open(&p);
    pair_shake(&p, client, server, "a.example");
    assert_int_equal(p.server.progress, row->good ? TLS_DONE : TLS_FAILED);
    assert_int_equal(stream_failure(&p.server.stream), row->server);
    stream_tls_facts(&p.server.stream, &facts);
    assert_int_equal(facts.verify, row->code);
    if (row->good && row->own != NULL && row->verify != TLS_VERIFY_NONE)
        assert_string_equal(facts.subject, "CN=a client");
    pair_hear(&p, &p.client, text, sizeof(text));
    assert_int_equal(stream_failure(&p.client.stream), row->client);
    assert_int_equal(p.client.stream.failed || p.client.progress == TLS_FAILED, !row->good);
    pair_close(&p);
    tls_context_unref(server);
    tls_context_unref(client);
}

static void test_clients(void **state)
{
    struct cert own_server = cert_make((struct cert_spec){ .cn = "x", .names = "DNS:a.example", .issuer = &ca });
    struct cert good =
        cert_make((struct cert_spec){ .cn = "a client", .names = "email:a@x.example", .issuer = &ca, .usage = "clientAuth" });
    struct cert revoked = cert_make((struct cert_spec){ .cn = "a client", .issuer = &ca });
    struct cert stranger = cert_make((struct cert_spec){ .cn = "a client", .issuer = &other_ca });
    struct cert no_client = cert_make((struct cert_spec){ .cn = "a client", .issuer = &ca, .usage = "serverAuth" });
    struct cert expired = cert_make((struct cert_spec){ .cn = "a client", .issuer = &ca, .from = -2 * DAY, .until = -DAY });
    struct span crl = certs_crl(&ca, revoked.x509);
    const struct client_case rows[] = {
        { TLS_VERIFY_NONE, &stranger, true, TLS_FAILED_NOT, TLS_FAILED_NOT, 0 },
        { TLS_VERIFY_OPTIONAL, NULL, true, TLS_FAILED_NOT, TLS_FAILED_NOT, 0 },
        { TLS_VERIFY_OPTIONAL, &good, true, TLS_FAILED_NOT, TLS_FAILED_NOT, 0 },
        { TLS_VERIFY_OPTIONAL, &revoked, false, TLS_FAILED_CERTIFICATE, TLS_FAILED_REFUSED, X509_V_ERR_CERT_REVOKED },
        { TLS_VERIFY_REQUIRED, &good, true, TLS_FAILED_NOT, TLS_FAILED_NOT, 0 },
        { TLS_VERIFY_REQUIRED, NULL, false, TLS_FAILED_CERTIFICATE, TLS_FAILED_WANTED, TLS_VERIFY_ABSENT },
        { TLS_VERIFY_REQUIRED, &stranger, false, TLS_FAILED_CERTIFICATE, TLS_FAILED_REFUSED,
          X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY },
        { TLS_VERIFY_REQUIRED, &no_client, false, TLS_FAILED_CERTIFICATE, TLS_FAILED_REFUSED, X509_V_ERR_INVALID_PURPOSE },
        { TLS_VERIFY_REQUIRED, &expired, false, TLS_FAILED_CERTIFICATE, TLS_FAILED_REFUSED, X509_V_ERR_CERT_HAS_EXPIRED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct tls_server_settings settings = { .verify = rows[i].verify, .ca = ca.pem, .crl = crl };

        expect_client(&settings, &own_server, &rows[i], TLS1_2_VERSION);
        expect_client(&settings, &own_server, &rows[i], TLS1_3_VERSION);
    }
    cert_free(&own_server);
    cert_free(&good);
    cert_free(&revoked);
    cert_free(&stranger);
    cert_free(&no_client);
    cert_free(&expired);
    free((char *)crl.at);
}

/* A server that asks for this, of a stream whose handshake was with another. */
static bool fits(const struct stream *s, enum tls_verify verify, struct span trust, struct span crl)
{
    struct cert c = cert_make((struct cert_spec){ .cn = "x", .names = "DNS:a.example", .issuer = &ca });
    struct tls_context *other = pair_server(&c, (struct tls_server_settings){ .verify = verify, .ca = trust, .crl = crl });
    bool good = stream_peer_fits(s, other);

    tls_context_unref(other);
    cert_free(&c);
    return good;
}

static void check_fits(const struct cert *mine, bool required, bool here, bool revoked, bool elsewhere)
{
    struct cert c = cert_make((struct cert_spec){ .cn = "x", .names = "DNS:a.example", .issuer = &ca });
    struct tls_context *asking = pair_server(&c, (struct tls_server_settings){ .verify = TLS_VERIFY_OPTIONAL, .ca = ca.pem });
    struct tls_pair pair = { mine ? mine->pem : span_of(NULL, 0), mine ? mine->key_pem : span_of(NULL, 0), { NULL, 0 } };
    struct tls_context *client = pair_client(ca.pem, (struct tls_client_settings){ .pair = pair });
    struct span none = certs_crl(&ca, NULL), crl = certs_crl(&ca, mine ? mine->x509 : c.x509);
    struct tls_pair_of_ends p;

    pair_open(&p);
    pair_shake(&p, client, asking, "a.example");
    assert_int_equal(p.server.progress, TLS_DONE);
    assert_true(fits(&p.server.stream, TLS_VERIFY_NONE, span_of(NULL, 0), span_of(NULL, 0)));
    assert_int_equal(fits(&p.server.stream, TLS_VERIFY_REQUIRED, ca.pem, span_of(NULL, 0)), required);
    assert_int_equal(fits(&p.server.stream, TLS_VERIFY_OPTIONAL, ca.pem, none), here);
    assert_int_equal(fits(&p.server.stream, TLS_VERIFY_OPTIONAL, ca.pem, crl), revoked);
    assert_int_equal(fits(&p.server.stream, TLS_VERIFY_OPTIONAL, other_ca.pem, span_of(NULL, 0)), elsewhere);
    pair_close(&p);
    tls_context_unref(asking);
    tls_context_unref(client);
    free((char *)none.at);
    free((char *)crl.at);
    cert_free(&c);
}

static void test_clients_verified_anew(void **state)
{
    struct cert mine = cert_make((struct cert_spec){ .cn = "a client", .issuer = &ca, .usage = "clientAuth" });

    (void)state;
    check_fits(&mine, true, true, false, false);
    check_fits(NULL, false, true, true, true);
    cert_free(&mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_nul_in_a_name),
        cmocka_unit_test(test_names_of_peers),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_issuer_that_is_no_ca),
        cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_unverified),
        cmocka_unit_test(test_clients),
        cmocka_unit_test(test_clients_verified_anew),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
