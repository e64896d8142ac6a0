/* SPDX-License-Identifier: ISC */
/* Contexts of a generation: which certificate for which name, what is shared, what is taken over, what is complained of. */
#include "session/secure.h"

#include "base/clock.h"
#include "net/tls_context.h"
#include "net_tls_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define FILES 24
#define ZONES "zones = ({ name = \"in\"; networks = \"10.0.0.0/8\"; });"
#define PAIR(name) "{ certificate = \"/" name ".pem\"; key = \"/" name ".key\"; }"
#define SITE(text)                                                                                                                 \
    "{ name = \"site\"; mode = \"reverse\"; address = \"127.0.0.1:1\"; upstreams = \"https://a:1\"; tls = { " text " }; }"
#define CONF(text) ZONES "listeners = (" SITE(text) "); policies = ({ name = \"p\"; from = \"in\"; action = \"allow\"; });"

/* The "disk": names and contents. */
static struct {
    const char *name;
    struct span text;
} disk[FILES];
static size_t on_disk;
static char said[4096];
static struct tls_tickets *tickets;

static void put(const char *name, struct span text)
{
    for (size_t i = 0; i < on_disk; i++)
        if (strcmp(disk[i].name, name) == 0) {
            disk[i].text = text;
            return;
        }
    assert_true(on_disk < FILES);
    disk[on_disk].name = name;
    disk[on_disk++].text = text;
}

static struct span get(const char *path)
{
    for (size_t i = 0; i < on_disk; i++)
        if (strcmp(disk[i].name, path + 1) == 0)
            return disk[i].text;
    return span_of(NULL, 0);
}

static void say(const char *what, unsigned line, const char *key, const char *text)
{
    size_t len = strlen(said);

    snprintf(said + len, sizeof(said) - len, "%s %u %s: %s\n", what, line, key, text);
}

static void complain(void *arg, unsigned line, const char *key, const char *text)
{
    (void)arg;
    say("E", line, key, text);
}

static void warn(void *arg, unsigned line, const char *key, const char *text)
{
    (void)arg;
    say("W", line, key, text);
}

struct made {
    struct conf *conf;
    struct secure *secure;
};

static struct made make(const char *text, const struct secure *before)
{
    struct conf_messages messages;
    struct made m;
    struct span files[FILES];

    m.conf = conf_parse("f", span_str(text), &messages);
    if (messages.error_count > 0)
        print_error("%s\n%s\n", messages.errors[0], text);
    assert_non_null(m.conf);
    conf_messages_fini(&messages);
    for (size_t i = 0; i < m.conf->tls_file_count; i++)
        files[i] = m.conf->tls_files[i].of_minter ? span_of(NULL, 0) : get(m.conf->tls_files[i].path);
    said[0] = '\0';
    m.secure = secure_new(&(struct secure_inputs){
        .conf = m.conf, .files = files, .tickets = tickets, .keylog = -1, .before = before, .complain = complain, .warn = warn });
    return m;
}

static void discard(struct made *m)
{
    secure_free(m->secure);
    conf_free(m->conf);
}

static struct tls_context *site(const struct made *m, const char *name)
{
    struct host host;

    if (name == NULL)
        return secure_site(m->secure, 0, NULL);
    assert_true(host_parse(&host, span_str(name)));
    return secure_site(m->secure, 0, &host);
}

static struct cert ca, ec, rsa, wild, other;

static void put_cert(const char *pem, const char *key, const struct cert *c)
{
    put(pem, c->pem);
    put(key, c->key_pem);
}

static void test_names(void **state)
{
    struct made m = make(CONF("certificates = (" PAIR("ec") "," PAIR("wild") ");"), NULL);

    (void)state;
    assert_string_equal(said, "");
    assert_non_null(m.secure);
    assert_non_null(site(&m, "www.a.x"));
    assert_ptr_equal(site(&m, "www.a.x"), site(&m, "WWW.A.X"));
    assert_non_null(site(&m, "any.b.x"));
    assert_ptr_equal(site(&m, "any.b.x"), site(&m, "else.b.x"));
    assert_ptr_not_equal(site(&m, "any.b.x"), site(&m, "www.a.x"));
    assert_null(site(&m, "b.x"));
    assert_null(site(&m, "two.any.b.x"));
    assert_null(site(&m, "a.x"));
    assert_null(site(&m, "x"));
    assert_null(site(&m, "192.0.2.1"));
    assert_null(site(&m, NULL));
    assert_null(secure_site(m.secure, 1, NULL));
    assert_null(secure_site(m.secure, -1, NULL));
    discard(&m);
}

static void test_unknown_names(void **state)
{
    struct made m = make(CONF("certificates = (" PAIR("ec") "," PAIR("wild") "); unknown_name = \"first\";"), NULL);

    (void)state;
    assert_non_null(site(&m, NULL));
    assert_ptr_equal(site(&m, NULL), site(&m, "www.a.x"));
    assert_ptr_equal(site(&m, "nobody"), site(&m, "www.a.x"));
    assert_ptr_not_equal(site(&m, "any.b.x"), site(&m, "www.a.x"));
    discard(&m);
}

/* One for each kind of key serves a name; also if one of them does by a wildcard. */
static void test_kinds_side_by_side(void **state)
{
    struct made both = make(CONF("certificates = (" PAIR("ec") "," PAIR("rsa") "," PAIR("wild") ");"), NULL);
    struct made one = make(CONF("certificates = (" PAIR("ec") "," PAIR("wild") ");"), both.secure);

    (void)state;
    assert_string_equal(said, "");
    assert_ptr_not_equal(site(&both, "www.a.x"), site(&one, "www.a.x"));
    assert_ptr_equal(site(&both, "any.b.x"), site(&one, "any.b.x")); /* taken over */
    assert_non_null(site(&both, "in.b.x"));
    assert_ptr_not_equal(site(&both, "in.b.x"), site(&both, "any.b.x"));
    discard(&one);
    one = make(CONF("certificates = (" PAIR("ec") "," PAIR("rsa") ");"), both.secure);
    assert_ptr_equal(site(&both, "www.a.x"), site(&one, "www.a.x"));
    assert_ptr_not_equal(site(&both, "in.b.x"), site(&one, "in.b.x")); /* ECDSA by the wildcard, RSA by its name; RSA alone */
    discard(&one);
    discard(&both);
}

/* The first certificate of a kind is the one for a name. */
static void test_the_first_wins(void **state)
{
    struct made m = make(CONF("certificates = (" PAIR("ec") "," PAIR("other") ");"), NULL);
    struct made n = make(CONF("certificates = (" PAIR("ec") ");"), m.secure);

    (void)state;
    assert_ptr_equal(site(&m, "www.a.x"), site(&n, "www.a.x"));
    assert_ptr_not_equal(site(&m, "only.other"), site(&m, "www.a.x"));
    discard(&n);
    discard(&m);
}

/* What did not change stays, what changed is new; the old generation keeps its own. */
static void test_taken_over(void **state)
{
    static const char text[] = CONF("certificates = (" PAIR("ec") "," PAIR("wild") ");") "tls = { trust = \"/ca.pem\"; };";
    struct cert again = cert_make((struct cert_spec){ .cn = "ec", .names = "DNS:www.a.x", .issuer = &ca });
    struct made m = make(text, NULL), n;

    (void)state;
    put_cert("ec.pem", "ec.key", &again);
    n = make(text, m.secure);
    assert_non_null(secure_upstream(m.secure, 0));
    assert_ptr_equal(secure_upstream(m.secure, 0), secure_upstream(n.secure, 0));
    assert_ptr_equal(site(&m, "any.b.x"), site(&n, "any.b.x"));
    assert_ptr_not_equal(site(&m, "www.a.x"), site(&n, "www.a.x"));
    discard(&m);
    put_cert("ec.pem", "ec.key", &ec);
    m = make(text, n.secure);
    discard(&n);
    assert_non_null(site(&m, "any.b.x"));
    discard(&m);
    cert_free(&again);
}

/* One connection; was it resumed? */
static bool resumes(struct tls_context *client, const struct made *m)
{
    struct tls_pair_of_ends p;
    struct tls_facts facts = { 0 };
    char text[8];

    pair_open(&p);
    pair_shake(&p, client, site(m, "www.a.x"), "www.a.x");
    assert_int_equal(p.client.progress, TLS_DONE);
    pair_say(&p.server, "x");
    assert_string_equal(pair_hear(&p, &p.client, text, sizeof(text)), "x");
    stream_tls_facts(&p.client.stream, &facts);
    pair_close(&p);
    return facts.resumed;
}

/* A session with a suite that is no longer wanted is not resumed. */
static void test_a_stricter_profile(void **state)
{
    static const char old[] = CONF("certificates = (" PAIR("ec") "); profile = \"compatible\";");
    static const char new[] = CONF("certificates = (" PAIR("ec") "); profile = \"modern\";");
    struct tls_context *client = pair_client(ca.pem, (struct tls_client_settings){ 0 });
    struct made m, n;

    (void)state;
    tickets = tls_tickets_new();
    tls_tickets_set(tickets, &(struct tls_ticket_key){ .name = "one" }, 1);
    SSL_CTX_set_max_proto_version(client->ctx, TLS1_2_VERSION);
    m = make(old, NULL);
    n = make(new, m.secure);
    assert_false(resumes(client, &m));
    assert_true(resumes(client, &m));
    assert_false(resumes(client, &n));
    assert_true(resumes(client, &n));
    discard(&m);
    discard(&n);
    tls_context_unref(client);
    tls_tickets_free(tickets);
    tickets = NULL;
}

static void test_upstreams_and_inspection(void **state)
{
    static const char text[] =
        ZONES "listeners = ({ name = \"l\"; mode = \"explicit\"; address = \"127.0.0.1:1\"; });"
              "tls = { inspect_certificate = \"/ca.pem\"; inspect_key = \"/ca.key\"; trust = \"/ca.pem\"; };"
              "policies = ({ name = \"deny\"; from = \"in\"; ports = 1; action = \"deny\"; },"
              "{ name = \"plain\"; from = \"in\"; ports = 2; protocols = \"tls\"; action = \"allow\"; },"
              "{ name = \"a\"; from = \"in\"; ports = 3; tls = \"inspect\"; action = \"allow\"; },"
              "{ name = \"b\"; from = \"in\"; ports = 4; tls = \"inspect\"; action = \"allow\"; },"
              "{ name = \"c\"; from = \"in\"; ports = 5; tls = \"inspect\"; action = \"allow\"; upstream_tls = { min_version = "
              "\"1.3\"; }; },"
              "{ name = \"d\"; from = \"in\"; ports = 6; tls = \"inspect\"; action = \"allow\"; upstream_tls = { certificate = "
              "\"/ec.pem\"; key = \"/ec.key\"; }; });";
    struct made m = make(text, NULL), n = make(text, m.secure);

    (void)state;
    assert_string_equal(said, "W 1 tls.inspect_certificate: the certificate expires in 1 day\n");
    assert_non_null(m.secure);
    assert_null(secure_upstream(m.secure, 0));
    assert_null(secure_upstream(m.secure, 1));
    assert_non_null(secure_upstream(m.secure, 2));
    assert_ptr_equal(secure_upstream(m.secure, 2), secure_upstream(m.secure, 3));
    assert_ptr_not_equal(secure_upstream(m.secure, 2), secure_upstream(m.secure, 4));
    assert_ptr_not_equal(secure_upstream(m.secure, 2), secure_upstream(m.secure, 5));
    assert_null(secure_upstream(m.secure, 6));
    assert_null(secure_upstream(m.secure, -1));
    assert_non_null(secure_inspect(m.secure));
    assert_ptr_equal(secure_inspect(m.secure), secure_inspect(n.secure));
    assert_true(span_eq(secure_inspect_chain(m.secure), ca.pem));
    discard(&n);
    put("ca.pem", other.pem); /* leaves under the old CA are of no use: another context */
    n = make(text, m.secure);
    assert_non_null(secure_inspect(n.secure));
    assert_ptr_not_equal(secure_inspect(m.secure), secure_inspect(n.secure));
    put("ca.pem", ca.pem);
    discard(&n);
    discard(&m);
}

static void check_said(const char *text, const char *want)
{
    struct made m = make(text, NULL);

    if (strstr(said, want) == NULL)
        print_error("of: %s\nsaid: %s\n", text, said);
    assert_non_null(strstr(said, want));
    assert_int_equal(m.secure == NULL, strstr(said, "E ") != NULL);
    discard(&m);
}

static void test_what_is_complained_of(void **state)
{
    struct cert old = cert_make((struct cert_spec){ .cn = "o", .names = "DNS:o", .issuer = &ca, .from = -9 * DAY, .until = -DAY });
    struct cert soon =
        cert_make((struct cert_spec){ .cn = "s", .names = "DNS:s", .issuer = &ca, .from = -DAY, .until = 3 * DAY + 60 });
    struct cert early = cert_make((struct cert_spec){ .cn = "e", .names = "DNS:e", .issuer = &ca, .from = DAY, .until = 9 * DAY });
    struct cert bare = cert_make((struct cert_spec){ .cn = "bare", .issuer = &ca });
    struct cert address = cert_make((struct cert_spec){ .cn = "ip", .names = "IP:192.0.2.1", .issuer = &ca });

    (void)state;
    put_cert("old.pem", "old.key", &old);
    put_cert("soon.pem", "soon.key", &soon);
    put_cert("early.pem", "early.key", &early);
    put_cert("bare.pem", "bare.key", &bare);
    put_cert("address.pem", "address.key", &address);
    put("junk.pem", SPAN("nothing at all\n"));
    check_said(CONF("certificate = \"/ec.pem\";\nkey = \"/rsa.key\";"), "E 2 listeners.site.tls.key: ");
    check_said(CONF("certificate = \"/ec.pem\"; key = \"/junk.pem\";"), "E 1 listeners.site.tls.key: ");
    check_said(CONF("\ncertificate = \"/junk.pem\"; key = \"/ec.key\";"), "E 2 listeners.site.tls.certificate: ");
    check_said(CONF("certificates = (" PAIR("ec") "," PAIR("bare") ");"), "E 1 listeners.site.tls.certificates[1].certificate: ");
    check_said(CONF("certificate = \"/address.pem\"; key = \"/address.key\";"),
               "E 1 listeners.site.tls.certificate: names no host");
    check_said(CONF("certificate = \"/address.pem\"; key = \"/address.key\"; unknown_name = \"first\";"), "");
    check_said(CONF("certificate = \"/ec.pem\"; key = \"/ec.key\"; client_certificates = \"required\";\nca = \"/junk.pem\";"),
               "E 2 listeners.site.tls.ca: ");
    check_said(CONF("certificate = \"/ec.pem\"; key = \"/ec.key\"; client_certificates = \"required\"; ca = \"/ca.pem\";\ncrl = "
                    "\"/junk.pem\";"),
               "E 2 listeners.site.tls.crl: ");
    check_said(CONF("certificate = \"/ec.pem\"; key = \"/ec.key\";\nocsp = \"/junk.pem\";"), "E 2 listeners.site.tls.ocsp: ");
    check_said(CONF("certificate = \"/ec.pem\"; key = \"/ec.key\";") "tls = { trust = \"/ca.pem\";\ncrl = \"/junk.pem\"; };",
               "E 2 tls.crl: ");
    check_said(CONF("certificate = \"/ec.pem\"; key = \"/ec.key\";") "\ntls = { trust = \"/junk.pem\"; };", "E 2 tls.trust: ");
    check_said(CONF("certificate = \"/soon.pem\"; key = \"/soon.key\";"),
               "W 1 listeners.site.tls.certificate: the certificate expires in 3 days\n");
    check_said(CONF("certificate = \"/old.pem\"; key = \"/old.key\";"),
               "W 1 listeners.site.tls.certificate: the certificate has expired: put a new one in its place and reload\n");
    check_said(CONF("certificate = \"/early.pem\"; key = \"/early.key\";"),
               "W 1 listeners.site.tls.certificate: the certificate is not valid yet: look at the clock of this machine\n");
    cert_free(&old);
    cert_free(&soon);
    cert_free(&early);
    cert_free(&bare);
    cert_free(&address);
}

/* The name of a certificate in several places is worth one warning. */
static void test_warnings_come_once(void **state)
{
    struct cert soon = cert_make((struct cert_spec){ .cn = "s", .names = "DNS:s", .issuer = &ca, .from = -DAY, .until = 60 });
    struct made m;
    const char *first;

    (void)state;
    put_cert("soon.pem", "soon.key", &soon);
    m = make(
        ZONES "listeners = (" SITE(
            "certificate = \"/soon.pem\"; key = \"/soon.key\";") ","
                                                                 "{ name = \"two\"; mode = \"explicit\"; address = "
                                                                 "\"127.0.0.1:2\"; tls = { certificate = \"/soon.pem\"; "
                                                                 "key = \"/soon.key\"; }; }); policies = ({ name = \"p\"; from = "
                                                                 "\"in\"; action = \"allow\"; });",
        NULL);
    first = strstr(said, "expires within a day");
    assert_non_null(first);
    assert_null(strstr(first + 1, "expires"));
    discard(&m);
    cert_free(&soon);
}

static int setup(void **state)
{
    (void)state;
    if (!tls_start())
        return -1;
    clock_tick();
    ca = cert_make_ca("ca");
    other = cert_make((struct cert_spec){ .cn = "other", .names = "DNS:www.a.x,DNS:only.other", .issuer = &ca });
    ec = cert_make(
        (struct cert_spec){ .cn = "ec", .names = "DNS:www.a.x,IP:192.0.2.1", .issuer = &ca, .from = -DAY, .until = 90 * DAY });
    rsa = cert_make((struct cert_spec){
        .cn = "rsa", .names = "DNS:www.a.x,DNS:in.b.x", .issuer = &ca, .rsa_bits = 2048, .from = -DAY, .until = 90 * DAY });
    wild = cert_make((struct cert_spec){ .cn = "w", .names = "DNS:*.b.x", .issuer = &ca, .from = -DAY, .until = 90 * DAY });
    put_cert("ca.pem", "ca.key", &ca);
    put_cert("ec.pem", "ec.key", &ec);
    put_cert("rsa.pem", "rsa.key", &rsa);
    put_cert("wild.pem", "wild.key", &wild);
    put_cert("other.pem", "other.key", &other);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cert_free(&ca);
    cert_free(&ec);
    cert_free(&rsa);
    cert_free(&wild);
    cert_free(&other);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_kinds_side_by_side),
        cmocka_unit_test(test_the_first_wins),
        cmocka_unit_test(test_taken_over),
        cmocka_unit_test(test_a_stricter_profile),
        cmocka_unit_test(test_upstreams_and_inspection),
        cmocka_unit_test(test_what_is_complained_of),
        cmocka_unit_test(test_warnings_come_once),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
