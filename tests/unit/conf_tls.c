/* SPDX-License-Identifier: ISC */
/* The keys of TLS: what they may hold, what they mean together, what is odd, and that files are entered once. */
#include "conf_said.h"

#include "conf/conf_keys.h"

#define SITE(text) LISTENER("mode = \"reverse\"; address = \"127.0.0.1:1\"; upstreams = \"a.example:80\"; tls = { " text " };")
#define OWN "certificate = \"/c\"; key = \"/k\";"
#define CA "tls = { inspect_certificate = \"/ca\"; inspect_key = \"/cakey\"; };"
#define INSPECT(text) CA POLICY("from = \"in\"; tls = \"inspect\"; " text)
#define UPSTREAM(text) INSPECT("upstream_tls = { " text " };")
#define PIN "sha256/MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

static void listeners(void **state)
{
    static const struct said cases[] = {
        { SITE(OWN), "" },
        { SITE(OWN "ocsp = \"/o\"; unknown_name = \"first\"; profile = \"compatible\"; min_version = \"1.2\"; tickets = false;"),
          "" },
        { SITE(OWN "client_certificates = \"required\"; ca = \"/a\"; crl = \"/r\"; min_version = \"1.3\";"), "" },
        { SITE("certificates = ({ certificate = \"/c\"; key = \"/k\"; }, { certificate = \"/d\"; key = \"/k\"; ocsp = \"/o\"; });"),
          "" },
        { SITE(""), "f:1: listeners.l.tls: needs certificate and key, or certificates\n" },
        { SITE("certificates = ( );"), "f:1: listeners.l.tls: needs certificate and key, or certificates\n" },
        { SITE("\ncertificate = \"/c\";"), "f:2: listeners.l.tls.certificate: needs its key\n" },
        { SITE("key = \"/k\";"), "f:1: listeners.l.tls.key: needs its certificate\n" },
        { SITE("ocsp = \"/k\";"), "f:1: listeners.l.tls.ocsp: needs certificate and key\n" },
        { SITE("certificate = \"c\"; key = \"/k\";"), "f:1: listeners.l.tls.certificate: expected an absolute path\n" },
        { SITE(OWN "certificates = ({ certificate = \"/c\"; key = \"/k\"; });"),
          "f:1: listeners.l.tls.certificates: stands beside certificate, key or ocsp; put them into the list\n" },
        { SITE("certificates = ({ key = \"/k\"; });"), "f:1: listeners.l.tls.certificates[0].certificate: is required\n" },
        { SITE("certificates = ({ certificate = \"/c\"; key = \"/k\"; }, { certificate = \"/c\"; key = \"/k\"; });"),
          "W f:1: listeners.l.tls.certificates: has a certificate twice\n" },
        { SITE(OWN "client_certificates = \"optional\";"),
          "f:1: listeners.l.tls.client_certificates: needs ca: whose certificates are good\n" },
        { SITE(OWN "ca = \"/a\"; crl = \"/r\";"), "W f:1: listeners.l.tls.ca: means nothing: client_certificates is \"none\"\n"
                                                  "W f:1: listeners.l.tls.crl: means nothing: client_certificates is \"none\"\n" },
        { SITE(OWN "profile = \"compatible\"; min_version = \"1.3\";"),
          "W f:1: listeners.l.tls.profile: means nothing: it is about TLS 1.2, which min_version rules out\n" },
        { SITE(OWN "min_version = \"1.1\";"),
          "f:1: listeners.l.tls.min_version: \"1.1\" is none of \"1.2\", \"1.3\"; did you mean \"1.2\"?\n" },
        { SITE(OWN "min_version = 1.2;"), "f:1: listeners.l.tls.min_version: expected a string\n" },
        { SITE(OWN "profile = \"old\";"), "f:1: listeners.l.tls.profile: \"old\" is none of \"modern\", \"compatible\"\n" },
        { SITE(OWN "unknown_name = \"serve\";"),
          "f:1: listeners.l.tls.unknown_name: \"serve\" is none of \"refuse\", \"first\"\n" },
        { SITE(OWN "verify = \"none\";"), "f:1: listeners.l.tls.verify: unknown key\n" },
        { SITE(OWN "cert = \"/c\";"), "f:1: listeners.l.tls.cert: unknown key; did you mean \"certificate\"?\n" },
        { EXPLICIT("tls = { " OWN " };"), "" },
        { LISTENER("mode = \"transparent\"; address = \"0.0.0.0:1\"; intercept = \"tproxy\"; ports = 443; tls = { " OWN
                   " };") "packet_filter = { backend = \"nftables\"; };",
          "f:1: listeners.l.tls: a transparent listener ends no TLS; policies with tls = \"inspect\" look into what it intercepts\n"
          "W f:1: packet_filter: no policy allows tcp to \"self\": ssh to this machine will be cut off\n" },
        { LISTENER("mode = \"explicit\"; address = \"0.0.0.0:1\"; tls = { " OWN " };"),
          "f:1: listeners.l.from: is required: without it 0.0.0.0:1 would be a proxy that is open to everybody\n" },
    };

    (void)state;
    CHECK(cases);
}

static void inspection(void **state)
{
    static const struct said cases[] = {
        { INSPECT(""), "" },
        { INSPECT("protocols = [ \"http\", \"websocket\" ]; sni = \"optional\"; ech = \"deny\"; paths = \"/a*\";"), "" },
        { INSPECT("protocols = [ \"websocket\", \"tunnel\" ];"), "" },
        { INSPECT("protocols = [ \"http\", \"tls\" ];"),
          "f:1: policies.p.protocols: \"tls\" would pass unread what this policy inspects: leave it out\n" },
        { INSPECT("protocols = \"tunnel\";"),
          "f:1: policies.p.tls: \"inspect\" needs http or websocket in protocols: nothing else is read\n" },
        { POLICY("from = \"in\"; tls = \"inspect\";"),
          "f:1: policies.p.tls: \"inspect\" needs tls.inspect_certificate and tls.inspect_key at the top level\n" },
        { POLICY("from = \"in\"; tls = \"look\";"), "f:1: policies.p.tls: \"look\" is none of \"passthrough\", \"inspect\"\n" },
        { INSPECT("listeners = \"site\";"), "W f:1: policies.p.tls: means nothing: reverse listeners end TLS themselves\n" },
        { CA POLICIES("{ name = \"p\"; from = \"in\"; tls = \"inspect\"; action = \"deny\"; }"),
          "W f:1: policies.p.tls: means nothing: only a policy that allows inspects\n"
          "W f:1: tls.inspect_certificate: means nothing: no policy has tls = \"inspect\"\n" },
        { "tls = { inspect_certificate = \"/ca\"; };" POLICY("from = \"in\"; tls = \"inspect\";"),
          "f:1: tls.inspect_certificate: needs its key\n" },
        { "tls = { inspect_key = \"/ca\"; };" POLICY("from = \"in\";"), "f:1: tls.inspect_key: needs its certificate\n" },
        { UPSTREAM("certificate = \"/c\"; key = \"/cakey\";"),
          "f:1: tls.inspect_key: is also the key of a listener or policy: the CA's key must be its alone\n" },
        { "tls = { keylog = \"/log\"; };" POLICY("from = \"in\";"),
          "W f:1: tls.keylog: the secrets of ALL TLS sessions are written to a file: whoever has it can read them\n" },
        { "tls = { ticket_seconds = 0; };" POLICY("from = \"in\";"),
          "f:1: tls.ticket_seconds: expected seconds, from 0.001 to 86400\n" },
        { POLICY("from = \"in\"; protocols = \"http\"; sni = \"optional\"; ech = \"deny\";"),
          "W f:1: policies.p.sni: is never looked at: this policy lets no TLS pass\n"
          "W f:1: policies.p.ech: is never looked at: this policy lets no TLS pass\n" },
        { POLICY("from = \"in\"; protocols = \"tunnel\"; sni = \"optional\"; ech = \"deny\";"), "" },
    };

    (void)state;
    CHECK(cases);
}

static void conditions(void **state)
{
    static const char ja4[] = "f:1: policies.p.tls_fingerprints: \"%s\" is no JA4 fingerprint; expected "
                              "\"t13d1516h2_8daaf6152771_e5627efa2ab1\" or \"t13d*\"\n";
    static const char *const bad[] = { "T13d*", "t13d1516h2_8daaf6152771_e5627efa2ab", "t13d1516h2_8daaf6152771_e5627efa2ab12",
                                       "t13 *", "t13d1516h2_8daaf6152771_e5627efa2ab12*" };
    static const struct said cases[] = {
        { POLICY("tls_fingerprints = [ \"t13d1516h2_8daaf6152771_e5627efa2ab1\", \"t13d*\", \"*\" ];"), "" },
        { POLICY("tls_fingerprints = \"t13*\"; protocols = \"http\";"),
          "W f:1: policies.p.tls_fingerprints: can never be true: no listener of this policy ends TLS, and it is not about TLS\n" },
        { POLICY("client_certificates = \"DNS:*\";"),
          "W f:1: policies.p.client_certificates: can never be true: no listener of this policy asks clients for certificates\n" },
        { POLICY("client_certificates = [ ];"),
          "f:1: policies.p.client_certificates: the list is empty; leave the key out if any will do\n" },
        { ZONES "listeners = ({ name = \"l\"; mode = \"explicit\"; address = \"127.0.0.1:1\"; tls = { " OWN
                " ca = \"/a\"; client_certificates = \"optional\"; }; }); policies = ({ name = \"p\"; action = \"allow\"; "
                "client_certificates = [ \"DNS:*\", \"CN=a,O=b\" ]; tls_fingerprints = \"t*\"; protocols = \"http\"; });",
          "" },
        { "packet_filter = { backend = \"nftables\"; };" POLICY(
              "to = \"self\"; ports = 22; protocols = \"tcp\"; tls_fingerprints = \"t*\"; client_certificates = \"DNS:a\";"),
          "W f:1: packet_filter: no policy allows tcp to \"self\": ssh to this machine will be cut off\n"
          "W f:1: policies.p.tls_fingerprints: can never be true: of packets no ClientHello is looked at\n"
          "W f:1: policies.p.client_certificates: can never be true: packets come by no listener\n" },
    };
    char text[1024], want[256];

    (void)state;
    CHECK(cases);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *all;

        snprintf(text, sizeof(text), POLICY("tls_fingerprints = \"%s\";"), bad[i]);
        snprintf(want, sizeof(want), ja4, bad[i]);
        all = all_said(span_str(text));
        assert_string_equal(all, want);
        free(all);
    }
}

static void upstreams(void **state)
{
    static const char no_pin[] = " is no pin; expected \"sha256/\" and the Base64 of 32 bytes\n";
    static const char unused[] =
        "W f:1: policies.p.upstream_tls: is never looked at: this policy neither inspects nor has upstreams "
        "with \"https://\"\n";
    static const struct said cases[] = {
        { UPSTREAM("trust = \"/t\"; crl = \"/r\"; verify = true; pin = \"" PIN "\"; certificate = \"/c\"; key = \"/k\"; "
                   "min_version = \"1.3\"; server_name = \"A.Example\";"),
          "" },
        { UPSTREAM("certificate = \"/c\";"), "f:1: policies.p.upstream_tls.certificate: needs its key\n" },
        { UPSTREAM("server_name = \"192.0.2.1\";"),
          "f:1: policies.p.upstream_tls.server_name: \"192.0.2.1\" is no name of a host; expected \"x.example\"\n" },
        { UPSTREAM("server_name = \"a b\";"),
          "f:1: policies.p.upstream_tls.server_name: \"a b\" is no name of a host; expected \"x.example\"\n" },
        { UPSTREAM("verify = false;"), "W f:1: policies.p.upstream_tls.verify: servers are NOT verified: whoever is on the way can "
                                       "read and change everything\n" },
        { UPSTREAM("verify = false; pin = \"" PIN "\"; trust = \"/t\"; crl = \"/r\";"),
          "W f:1: policies.p.upstream_tls.verify: certificates of servers are NOT verified, only their public keys (pin)\n"
          "W f:1: policies.p.upstream_tls.trust: means nothing: verify is false\n"
          "W f:1: policies.p.upstream_tls.crl: means nothing: verify is false\n" },
        { POLICY("from = \"in\"; upstream_tls = { };"), unused },
        { POLICIES("{ name = \"p\"; from = \"in\"; action = \"deny\"; upstream_tls = { }; }"), unused },
        { ZONES "listeners = ({ name = \"l\"; mode = \"reverse\"; address = \"127.0.0.1:1\"; upstreams = [ \"a:80\", "
                "\"https://b:443\" ]; }); policies = ({ name = \"p\"; from = \"in\"; action = \"allow\"; upstream_tls = { }; });",
          "" },
    };
    static const char *const bad[] = { "sha256/",
                                       "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
                                       "sha256/MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWZ=", /* bits that mean nothing */
                                       "sha256/MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQ==", /* 31 bytes */
                                       "sha256/MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWZn", /* 33 */
                                       "sha256/MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
                                       "sha1/" PIN,
                                       "sha256/MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNk-WY=" };
    char text[1024], want[256];

    (void)state;
    CHECK(cases);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *all;

        snprintf(text, sizeof(text), UPSTREAM("pin = \"%s\";"), bad[i]);
        snprintf(want, sizeof(want), "f:1: policies.p.upstream_tls.pin: \"%s\"%s", bad[i], no_pin);
        all = all_said(span_str(text));
        assert_string_equal(all, want);
        free(all);
    }
}

static struct conf *parsed(const char *text)
{
    struct conf_messages messages;
    struct conf *conf = conf_parse("f", span_str(text), &messages);

    if (messages.error_count > 0)
        print_error("%s\n", messages.errors[0]);
    assert_non_null(conf);
    conf_messages_fini(&messages);
    return conf;
}

/* What is under a listener in the snapshot, whichever way it was written; and files once each a kind. */
static void snapshot(void **state)
{
    struct conf *conf =
        parsed(CA ZONES "listeners = ({ name = \"l\"; mode = \"explicit\"; address = \"127.0.0.1:1\"; tls = { " OWN
                        " }; }, { name = \"m\"; mode = \"explicit\"; address = \"127.0.0.1:2\"; tls = {\n certificates = ({ "
                        "certificate = \"/c\"; key = \"/k\"; }, { certificate = \"/d\"; key = \"/c\"; }); }; });"
                        "policies = ({ name = \"p\"; from = \"in\"; tls = \"inspect\"; action = \"allow\"; "
                        "upstream_tls = { pin = \"" PIN "\"; server_name = \"A.Example.\"; }; });");
    const struct conf_listener_tls *l = &conf->listeners[0].tls, *m = &conf->listeners[1].tls;
    const struct conf_policy *p = &conf->policies[0];

    (void)state;
    assert_int_equal(l->pair_count, 1);
    assert_int_equal(l->pairs[0].line, 1);
    assert_int_equal(l->min_version, 0x0303);
    assert_true(l->tickets);
    assert_int_equal(m->pair_count, 2);
    assert_int_equal(m->pairs[0].line, 2);
    assert_int_equal(m->pairs[0].certificate, l->pairs[0].certificate);
    assert_int_equal(m->pairs[0].key, l->pairs[0].key);
    assert_int_equal(m->pairs[0].ocsp, -1);
    assert_int_not_equal(m->pairs[1].key, l->pairs[0].certificate); /* the same path, of another kind */
    assert_int_equal(conf->tls_file_count, 7);                      /* /c /k /d /c as a key, the system's trust, /ca /cakey */
    assert_string_equal(conf->tls_files[l->pairs[0].key].path, "/k");
    assert_string_equal(conf->tls_files[l->pairs[0].key].key, "listeners.l.tls.key");
    assert_int_equal(conf->tls_files[l->pairs[0].key].kind, TLS_FILE_KEY);
    assert_false(conf->tls_files[l->pairs[0].key].of_minter);
    assert_true(conf->tls_files[conf->tls.inspect_key].of_minter);
    assert_true(conf->tls_files[conf->tls.trust].optional);
    assert_int_equal(p->protocols, CONF_HTTP | CONF_WEBSOCKET); /* and not TLS, which is looked into */
    assert_string_equal(p->upstream_tls.server_name, "a.example");
    assert_memory_equal(p->upstream_tls.pins[0], "0123456789abcdef0123456789abcdef", 32);
    assert_true(p->upstream_tls.verify);
    assert_int_equal(p->upstream_tls.trust, -1);
    conf_free(conf);
}

/* The system's bundle is asked for only if somebody is to be verified by it. */
static void system_trust(void **state)
{
    static const struct {
        const char *text;
        bool asked;
    } cases[] = {
        { POLICY("from = \"in\";"), false },
        { INSPECT(""), true },
        { UPSTREAM("verify = false;"), false },
        { UPSTREAM("trust = \"/t\";"), false },
        { ZONES "listeners = ({ name = \"l\"; mode = \"reverse\"; address = \"127.0.0.1:1\"; upstreams = \"https://b:443\"; });"
                "policies = ({ name = \"p\"; from = \"in\"; action = \"allow\"; });",
          true },
        { "tls = { trust = \"/t\"; inspect_certificate = \"/ca\"; inspect_key = \"/cakey\"; };" POLICY(
              "from = \"in\"; tls = \"inspect\";"),
          false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf *conf = parsed(cases[i].text);
        bool asked = false;

        for (size_t k = 0; k < conf->tls_file_count; k++)
            asked |= conf->tls_files[k].optional;
        assert_int_equal(asked, cases[i].asked);
        conf_free(conf);
    }
}

/* Who is hidden by whom: TLS is decided by the first that lets it pass or looks into it. */
static void reach(void **state)
{
    static const char blind[] = "W f:1: policies.b: inspects nothing: TLS that it matches is decided by \"a\" in line 1\n";
    static const char dead[] = "W f:1: policies.b: can never decide: all that it matches is decided by \"a\" in line 1\n";
    static const struct said cases[] = {
        { CA POLICIES("{ name = \"a\"; from = \"in\"; tls = \"inspect\"; action = \"allow\"; },"
                      "{ name = \"b\"; from = \"in\"; protocols = \"tls\"; action = \"allow\"; }"),
          dead },
        { CA POLICIES("{ name = \"a\"; from = \"in\"; action = \"allow\"; },"
                      "{ name = \"b\"; from = \"in\"; tls = \"inspect\"; action = \"allow\"; }"),
          dead },
        { CA POLICIES("{ name = \"a\"; from = \"in\"; protocols = \"http\"; action = \"allow\"; },"
                      "{ name = \"b\"; from = \"in\"; protocols = \"http\"; tls = \"inspect\"; action = \"allow\"; }"),
          "" },
        { CA POLICIES("{ name = \"a\"; from = \"in\"; protocols = \"tls\"; action = \"allow\"; },"
                      "{ name = \"b\"; from = \"in\"; hosts = \"x.y\"; tls = \"inspect\"; action = \"allow\"; }"),
          blind },
        { CA POLICIES("{ name = \"a\"; from = \"in\"; protocols = \"tls\"; action = \"deny\"; },"
                      "{ name = \"b\"; from = \"in\"; tls = \"inspect\"; action = \"allow\"; }"),
          blind },
        { CA POLICIES("{ name = \"a\"; from = \"in\"; hosts = \"x.y\"; protocols = \"tls\"; action = \"allow\"; },"
                      "{ name = \"b\"; from = \"in\"; tls = \"inspect\"; action = \"allow\"; }"),
          "" },
        { CA POLICIES("{ name = \"a\"; from = \"in\"; protocols = \"http\"; tls = \"inspect\"; action = \"allow\"; },"
                      "{ name = \"b\"; from = \"in\"; protocols = \"websocket\"; tls = \"inspect\"; action = \"allow\"; }"),
          "" },
        { POLICIES("{ name = \"a\"; from = \"in\"; tls_fingerprints = \"t13*\"; action = \"deny\"; },"
                   "{ name = \"b\"; from = \"in\"; tls_fingerprints = [ \"t13d*\", \"t13i*\" ]; action = \"allow\"; }"),
          dead },
        { POLICIES("{ name = \"a\"; from = \"in\"; tls_fingerprints = \"t13*\"; action = \"deny\"; },"
                   "{ name = \"b\"; from = \"in\"; tls_fingerprints = \"t1*\"; action = \"allow\"; }"),
          "" },
    };

    (void)state;
    CHECK(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listeners), cmocka_unit_test(inspection),   cmocka_unit_test(conditions), cmocka_unit_test(upstreams),
        cmocka_unit_test(snapshot),  cmocka_unit_test(system_trust), cmocka_unit_test(reach),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
