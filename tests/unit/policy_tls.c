/* SPDX-License-Identifier: ISC */
/* The judge and TLS: what passes unread, what is looked into, fingerprints, certificates of clients. */
#include "policy/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define JA4 "t13d1516h2_8daaf6152771_e5627efa2ab1"
#define TOP                                                                                                                        \
    "zones = ({ name = \"in\"; networks = \"10.0.0.0/8\"; }, { name = \"out\"; networks = \"0.0.0.0/0\"; });"                      \
    "listeners = ({ name = \"proxy\"; mode = \"explicit\"; address = \"127.0.0.1:3128\"; tls = { certificate = \"/c\"; "           \
    "key = \"/k\"; client_certificates = \"optional\"; ca = \"/a\"; }; });"                                                        \
    "tls = { inspect_certificate = \"/ca\"; inspect_key = \"/key\"; };"
#define POLICIES(text) TOP "policies = (" text ");"

struct setting {
    struct conf *conf;
    struct rules *rules;
};

static struct setting compile(const char *text)
{
    struct conf_messages messages;
    struct setting s = { conf_parse("f", span_str(text), &messages), NULL };

    if (messages.error_count > 0)
        print_error("%s\n", messages.errors[0]);
    assert_non_null(s.conf);
    conf_messages_fini(&messages);
    s.rules = rules_new(s.conf, NULL);
    assert_non_null(s.rules);
    return s;
}

static void discard(struct setting *s)
{
    rules_free(s->rules);
    conf_free(s->conf);
}

static struct host the_host;

/* A flow whose target and server are known. */
static struct facts reached(const char *host)
{
    struct facts f = { .known = KNOWN_FLOW | KNOWN_TARGET | KNOWN_ADDRESS, .port = 443, .zone_out = 1, .host = &the_host };

    assert_true(addr_parse(&f.client, SPAN("10.0.0.1"), 0));
    assert_true(addr_parse(&f.server, SPAN("192.0.2.1"), 0));
    assert_true(host_parse(&the_host, span_str(host)));
    return f;
}

static struct facts turned_out(const char *host, unsigned protocol)
{
    struct facts f = reached(host);

    f.known |= KNOWN_PROTOCOL | KNOWN_HELLO;
    f.protocol = protocol;
    if (protocol == CONF_TLS)
        f.ja4 = SPAN(JA4);
    return f;
}

static struct facts asked(const char *host, const char *path)
{
    struct facts f = turned_out(host, CONF_HTTP);

    f.known |= KNOWN_REQUEST;
    f.method = SPAN("GET");
    f.path = span_str(path);
    f.ja4 = SPAN(JA4);
    return f;
}

/* -1: denied; else the policy that grants. */
static int granted(const struct setting *s, const struct facts *f, bool last)
{
    struct verdict v = rules_judge(s->rules, f, last);

    return v.granted ? v.policy : -1;
}

static void check_remembered(const struct setting *s, const struct facts *f, int policy)
{
    for (int last = 0; last < 2; last++) {
        struct verdict v = rules_judge(s->rules, f, last);

        assert_true(v.granted && v.remembered);
        assert_int_equal(v.policy, policy);
        assert_true(s->conf->policies[v.policy].inspect);
    }
}

/* What is asked of requests is not known of TLS: whoever asks it looks into it first. */
static void test_inspection_is_remembered(void **state)
{
    struct setting s =
        compile(POLICIES("{ name = \"no\"; from = \"in\"; paths = \"/secret*\"; protocols = \"http\"; action = \"deny\"; },"
                         "{ name = \"api\"; from = \"in\"; hosts = \"api.x\"; methods = \"GET\"; paths = \"/v1/*\"; "
                         "tls = \"inspect\"; protocols = \"http\"; action = \"allow\"; },"
                         "{ name = \"rest\"; from = \"in\"; hosts = \"rest.x\"; tls = \"inspect\"; action = \"allow\"; }"));
    struct facts f = turned_out("api.x", CONF_TLS);

    (void)state;
    check_remembered(&s, &f, 1);
    f = turned_out("rest.x", CONF_TLS);
    check_remembered(&s, &f, 2);
    f = turned_out("other.x", CONF_TLS);
    assert_int_equal(granted(&s, &f, true), -1);
    f = asked("api.x", "/v1/a");
    assert_int_equal(granted(&s, &f, true), 1);
    f = asked("api.x", "/v2");
    assert_int_equal(granted(&s, &f, true), -1);
    f = asked("rest.x", "/secret/1");
    assert_int_equal(granted(&s, &f, true), -1);
    f = asked("rest.x", "/");
    assert_int_equal(granted(&s, &f, true), 2);
    discard(&s);
}

/* A request that asked for the tunnel is not one that is inside. */
static void test_a_request_is_not_that_of_what_is_inside(void **state)
{
    struct setting s = compile(POLICIES("{ name = \"a\"; from = \"in\"; methods = \"GET\"; headers = \"X\"; paths = \"/a\"; "
                                        "tls = \"inspect\"; action = \"allow\"; }"));
    struct facts f = turned_out("a.x", CONF_TLS);

    (void)state;
    f.known |= KNOWN_REQUEST;
    f.method = SPAN("CONNECT");
    check_remembered(&s, &f, 0);
    discard(&s);
}

/* The first that fits decides whether TLS is passed on or looked into. */
static void test_order(void **state)
{
    struct setting s =
        compile(POLICIES("{ name = \"bank\"; hosts = \"bank.x\"; protocols = \"tls\"; action = \"allow\"; },"
                         "{ name = \"bad\"; hosts = \"bad.x\"; action = \"deny\"; },"
                         "{ name = \"look\"; from = \"in\"; tls = \"inspect\"; action = \"allow\"; },"
                         "{ name = \"pass\"; from = \"in\"; ports = 443; protocols = \"tls\"; action = \"allow\"; }"));
    struct facts f = turned_out("bank.x", CONF_TLS);
    struct verdict v = rules_judge(s.rules, &f, true);

    (void)state;
    assert_true(v.granted && !v.remembered && v.policy == 0 && !s.conf->policies[0].inspect);
    f = turned_out("bad.x", CONF_TLS);
    assert_int_equal(granted(&s, &f, true), -1);
    f = turned_out("any.x", CONF_TLS);
    check_remembered(&s, &f, 2); /* and not passed on by the last */
    f = turned_out("any.x", CONF_TUNNEL);
    assert_int_equal(granted(&s, &f, true), -1);
    discard(&s);
}

/* Only what allows looks into TLS; and before it is known what flows, TLS is one of the things that it may be. */
static void test_denials_and_early_stages(void **state)
{
    struct setting s =
        compile(POLICIES("{ name = \"no\"; hosts = \"a.x\"; tls = \"inspect\"; action = \"deny\"; },"
                         "{ name = \"yes\"; hosts = \"b.x\"; protocols = \"websocket\"; paths = \"/ws\"; tls = \"inspect\"; "
                         "action = \"allow\"; }"));
    struct facts f = reached("b.x");

    (void)state;
    assert_int_equal(granted(&s, &f, false), 1);
    f = reached("a.x");
    assert_int_equal(granted(&s, &f, false), -1);
    f = turned_out("a.x", CONF_TLS);
    assert_int_equal(rules_judge(s.rules, &f, true).policy, -1); /* its protocols are http and websocket: nobody decides */
    f = turned_out("b.x", CONF_TLS);
    check_remembered(&s, &f, 1);
    discard(&s);
}

static void test_fingerprints(void **state)
{
    struct setting s = compile(POLICIES("{ name = \"bot\"; tls_fingerprints = [ \"t12*\", \"" JA4 "\" ]; action = \"deny\"; },"
                                        "{ name = \"new\"; tls_fingerprints = \"t13d*\"; from = \"in\"; action = \"allow\"; }"));
    struct facts f = turned_out("a.x", CONF_TLS);
    struct rules_near near[2];

    (void)state;
    assert_int_equal(rules_judge(s.rules, &f, true).policy, 0);
    f.ja4 = SPAN("t13d0101h2_aaaaaaaaaaaa_bbbbbbbbbbbb");
    assert_int_equal(granted(&s, &f, true), 1);
    f.ja4 = SPAN("t13i0101h2_aaaaaaaaaaaa_bbbbbbbbbbbb");
    assert_int_equal(granted(&s, &f, true), -1);
    f = turned_out("a.x", CONF_HTTP); /* no TLS */
    assert_int_equal(granted(&s, &f, true), -1);
    assert_int_equal(rules_near(s.rules, &f, true, near, 2), 1);
    assert_int_equal(near[0].condition, COND_TLS_FINGERPRINTS);
    assert_string_equal(condition_name(near[0].condition), "tls_fingerprints");
    f.known &= ~(unsigned)KNOWN_HELLO; /* it may come */
    assert_true(rules_judge(s.rules, &f, false).remembered);
    assert_int_equal(granted(&s, &f, true), -1);
    discard(&s);
}

static void test_client_certificates(void **state)
{
    static const struct client_certificate alice = { .subject = { "CN=alice,O=Example", 18 },
                                                     .names = { { "email:alice@x", 13 }, { "DNS:A.x", 7 } },
                                                     .name_count = 2 };
    static const struct client_certificate bob = { .subject = { "CN=bob,O=Example", 16 } };
    static const struct client_certificate nobody = { .name_count = 0 };
    struct setting s = compile(
        POLICIES("{ name = \"b\"; client_certificates = \"CN=bob,*\"; action = \"deny\"; },"
                 "{ name = \"a\"; client_certificates = [ \"email:*@x\", \"*O=Example\" ]; from = \"in\"; action = \"allow\"; }"));
    struct facts f = asked("a.x", "/");
    struct rules_near near[2];

    (void)state;
    assert_int_equal(granted(&s, &f, true), -1);
    assert_int_equal(rules_near(s.rules, &f, true, near, 2), 1);
    assert_string_equal(condition_name(near[0].condition), "client_certificates");
    f.certificate = &nobody;
    assert_int_equal(granted(&s, &f, true), -1);
    f.certificate = &alice;
    assert_int_equal(granted(&s, &f, true), 1);
    discard(&s);
    s = compile(POLICIES("{ name = \"a\"; client_certificates = \"DNS:a.X\"; from = \"in\"; action = \"allow\"; }"));
    assert_int_equal(granted(&s, &f, true), 0);
    f.certificate = &bob;
    assert_int_equal(granted(&s, &f, true), -1);
    discard(&s);
    s = compile(POLICIES("{ name = \"b\"; client_certificates = \"CN=bob,*\"; action = \"deny\"; }"));
    assert_int_equal(rules_judge(s.rules, &f, true).policy, 0);
    discard(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inspection_is_remembered),
        cmocka_unit_test(test_a_request_is_not_that_of_what_is_inside),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_denials_and_early_stages),
        cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_client_certificates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
