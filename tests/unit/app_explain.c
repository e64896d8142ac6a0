/* SPDX-License-Identifier: ISC */
/* Dry runs: what a question may be, how an answer about the first packet looks, and what the filter process adds to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/explain_join.h"
#include "app/worker_explain.h"

#include <stdlib.h>
#include <string.h>

static struct explain_question question;

static const char *read_url(const char *method, const char *url)
{
    json_t *object = json_pack("{s:s,s:s,s:s}", "from", "10.77.1.9", "method", method, "url", url);
    const char *fault = explain_read(&question, object);

    json_decref(object);
    return fault;
}

static void test_flows(void **state)
{
    static const struct {
        const char *method, *url;
        bool good;
        unsigned flow;
        const char *to;
    } cases[] = {
        { "-", "tcp://192.0.2.1:22", true, CONF_TCP, "192.0.2.1:22" },
        { "-", "UDP://[2001:db8::1]:53", true, CONF_UDP, "[2001:db8::1]:53" },
        { "GET", "udp://192.0.2.1:65535", true, CONF_UDP, "192.0.2.1:65535" },
        { "-", "icmp://192.0.2.1", true, CONF_ICMP, "192.0.2.1:0" },
        { "-", "icmp://[2001:db8::1]", true, CONF_ICMP, "[2001:db8::1]:0" },
        { "-", "tcp://192.0.2.1", false, 0, NULL },
        { "-", "tcp://192.0.2.1:0", false, 0, NULL },
        { "-", "tcp://192.0.2.1:65536", false, 0, NULL },
        { "-", "tcp://ssh.example:22", false, 0, NULL },
        { "-", "tcp://", false, 0, NULL },
        { "-", "icmp://192.0.2.1:8", false, 0, NULL },
        { "-", "tcp://192.0.2.1:22/x", false, 0, NULL },
        { "-", "http://example.com/", false, 0, NULL },
        { "-", "sctp://192.0.2.1:22", false, 0, NULL },
        { "GET", "http://example.com/", true, 0, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *fault = read_url(cases[i].method, cases[i].url);
        char text[ADDR_TEXT];

        if ((fault == NULL) != cases[i].good)
            fail_msg("%s: %s", cases[i].url, fault != NULL ? fault : "accepted");
        if (fault != NULL)
            continue;
        assert_int_equal(question.query.flow, cases[i].flow);
        if (cases[i].to != NULL)
            assert_string_equal(addr_port_text(&question.query.address, text), cases[i].to);
    }
}

static const char text[] = "zones = ({ name = \"inside\"; networks = [ \"10.77.1.0/24\" ]; }, { name = \"outside\"; networks = "
                           "[ \"198.51.100.0/24\" ]; });\n"
                           "listeners = ({ name = \"web\"; mode = \"transparent\"; address = \"0.0.0.0:3129\"; intercept = "
                           "\"redirect\"; ports = 80; from = \"inside\"; });\n"
                           "policies = ({ name = \"dns\"; from = \"inside\"; to = \"outside\"; ports = 53; protocols = "
                           "\"udp\"; action = \"allow\"; });\n"
                           "packet_filter = { backend = \"nftables\"; masquerade = [ \"outside\" ]; };\n";

static struct generation *generation_of(const char *configuration)
{
    struct conf_messages messages;
    struct generation *g = calloc(1, sizeof(*g));

    assert_non_null(g);
    g->refs = 1;
    g->number = 7;
    g->conf = conf_parse("postern.conf", span_str(configuration), &messages);
    if (g->conf == NULL)
        fail_msg("%s", messages.errors[0]);
    conf_messages_fini(&messages);
    g->files = calloc(g->conf->policy_count + 1, sizeof(*g->files));
    assert_non_null(g->files);
    g->rules = rules_new(g->conf, g->files);
    assert_non_null(g->rules);
    return g;
}

static json_t *packet_answer(const struct generation *g, struct packet_verdict verdict, bool masquerade)
{
    struct explain_answer a = { .generation = (struct generation *)g, .reason = verdict.reason, .listener = -1, .zone_out = 1 };
    struct explain_packet *p = &a.packet;

    a.verdict.policy = verdict.policy;
    p->asked = true;
    p->verdict = verdict;
    p->masquerade = masquerade;
    p->packet.protocol = CONF_UDP;
    p->packet.zone_out = 1;
    assert_true(addr_parse_port(&p->packet.client, SPAN("10.77.1.9:40000")));
    assert_true(addr_parse_port(&p->packet.server, SPAN("198.51.100.9:53")));
    strcpy(p->interface_in, "lan0");
    strcpy(p->interface_out, "wan0");
    return explain_write(&a);
}

static void assert_text(const json_t *object, const char *key, const char *expected)
{
    const char *found = json_string_value(json_object_get(object, key));

    if (expected == NULL)
        assert_null(found);
    else if (found == NULL || strcmp(found, expected) != 0)
        fail_msg("%s is %s and not %s", key, found != NULL ? found : "absent", expected);
}

static void test_packet(void **state)
{
    struct generation *g = generation_of(text);
    json_t *answer = packet_answer(g, (struct packet_verdict){ PACKET_FORWARD, 0, -1, -1, false, R_NONE }, true), *packet;

    (void)state;
    packet = json_object_get(answer, "packet");
    assert_text(answer, "verdict", "allowed");
    assert_text(json_object_get(answer, "policy"), "name", "dns");
    assert_text(packet, "protocol", "udp");
    assert_text(packet, "interface_in", "lan0");
    assert_text(packet, "zone_in", "inside");
    assert_text(packet, "fate", "forward");
    assert_text(packet, "policy", "dns");
    assert_text(packet, "destination", "198.51.100.9:53");
    assert_text(packet, "interface_out", "wan0");
    assert_text(packet, "zone_out", "outside");
    assert_text(packet, "conntrack", "new");
    assert_true(json_is_true(json_object_get(packet, "masquerade")));
    assert_true(json_is_false(json_object_get(packet, "local")));
    assert_null(json_object_get(packet, "blocked"));
    json_decref(answer);
    answer = packet_answer(g, (struct packet_verdict){ PACKET_REJECT, -1, -1, -1, true, R_NO_POLICY }, false);
    packet = json_object_get(answer, "packet");
    assert_text(answer, "reason", "no-policy");
    assert_true(json_is_true(json_object_get(packet, "twin")));
    assert_text(packet, "policy", NULL);
    json_decref(answer);
    answer = packet_answer(g, (struct packet_verdict){ PACKET_INTERCEPT, -1, 0, -1, false, R_NONE }, false);
    packet = json_object_get(answer, "packet");
    assert_text(packet, "listener", "web");
    assert_text(packet, "intercept", "redirect");
    json_decref(answer);
    generation_unref(g);
}

/* fate, what the filter process said; then: verdict, reason, fate */
static void test_join(void **state)
{
    static const struct {
        enum packet_fate fate;
        const char *route, *verdict, *reason, *becomes;
    } cases[] = {
        { PACKET_FORWARD, "{\"blocked\":false,\"local\":false,\"interface\":\"wan0\"}", "allowed", "ok", "forward" },
        { PACKET_FORWARD, "{\"blocked\":true}", "denied", "blocked", "drop" },
        { PACKET_FORWARD, "{\"blocked\":false,\"local\":false,\"route_error\":\"no way\"}", "denied", "no-route", "drop" },
        { PACKET_FORWARD, "{\"blocked\":false,\"local\":true,\"interface\":\"lo\"}", "denied", "no-route", "forward" },
        { PACKET_INPUT, "{\"blocked\":false,\"local\":true,\"interface\":\"lo\"}", "allowed", "ok", "input" },
        { PACKET_DROP, "{\"blocked\":false,\"local\":false,\"route_error\":\"no way\"}", "denied", "no-policy", "drop" },
        { PACKET_DROP, "{\"blocked\":true}", "denied", "blocked", "drop" },
        { PACKET_FORWARD, "{\"error\":\"not ready\"}", "allowed", "ok", "forward" },
        { PACKET_FORWARD, NULL, "allowed", "ok", "forward" },
    };
    struct generation *g = generation_of(text);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum reason why = cases[i].fate == PACKET_DROP ? R_NO_POLICY : R_NONE;
        json_t *answer = packet_answer(g, (struct packet_verdict){ cases[i].fate, -1, -1, -1, false, why }, false);
        json_t *route = cases[i].route != NULL ? json_loads(cases[i].route, 0, NULL) : NULL;
        const json_t *packet = json_object_get(answer, "packet");

        explain_join(answer, route);
        assert_text(answer, "verdict", cases[i].verdict);
        assert_text(answer, "reason", cases[i].reason);
        assert_text(packet, "fate", cases[i].becomes);
        if (json_object_get(route, "blocked") == NULL)
            assert_int_equal(json_array_size(json_object_get(packet, "notes")), 1);
        json_decref(route);
        json_decref(answer);
    }
    generation_unref(g);
}

static void test_what_is_asked(void **state)
{
    struct generation *g = generation_of(text);
    json_t *answer = packet_answer(g, (struct packet_verdict){ PACKET_FORWARD, 0, -1, -1, false, R_NONE }, true);
    json_t *asked = explain_join_question(answer), *plain = json_pack("{s:s}", "verdict", "allowed");

    (void)state;
    assert_text(asked, "command", "route");
    assert_text(asked, "from", "10.77.1.9");
    assert_text(asked, "to", "198.51.100.9:53");
    assert_text(asked, "interface", "lan0");
    assert_null(explain_join_question(plain));
    assert_null(explain_join_question(NULL));
    json_decref(plain);
    json_decref(asked);
    json_decref(answer);
    generation_unref(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_flows), cmocka_unit_test(test_packet), cmocka_unit_test(test_join),
                                        cmocka_unit_test(test_what_is_asked) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
