/* SPDX-License-Identifier: ISC */
/* The kernel's part of a dry run: ends, zones, verdict, NAT. And the heads that questions become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "session/explain_head.h"
#include "session/explain_packet.h"

#include <stdlib.h>
#include <string.h>

static const char text[] =
    "zones = ({ name = \"inside\"; interfaces = [ \"lan0\" ]; networks = [ \"10.77.1.0/24\" ]; },"
    " { name = \"outside\"; networks = [ \"10.77.2.0/24\", \"0.0.0.0/0\" ]; });\n"
    "listeners = ({ name = \"web\"; mode = \"transparent\"; address = \"0.0.0.0:3129\"; intercept = \"tproxy\"; ports = 80; "
    "from = \"inside\"; }, { name = \"proxy\"; mode = \"explicit\"; address = \"0.0.0.0:3128\"; from = \"inside\"; });\n"
    "policies = ({ name = \"dns\"; from = \"inside\"; to = \"outside\"; ports = 53; protocols = \"udp\"; action = \"allow\"; },"
    " { name = \"ssh\"; from = \"inside\"; to = \"self\"; ports = 22; protocols = \"tcp\"; action = \"allow\"; });\n"
    "packet_filter = { backend = \"nftables\"; masquerade = [ \"outside\" ];"
    " forwards = ({ from = \"outside\"; protocol = \"tcp\"; port = 2222; to = \"10.77.1.5:22\"; }); };\n";

static struct generation g;
static struct addr own[2];
static struct route *route;
static struct judge_context context;

static void test_packets(void **state)
{
    static const struct {
        unsigned protocol;
        const char *from, *interface, *to;
        enum packet_fate fate;
        const char *policy, *zone_in, *zone_out;
        bool local, masquerade, own;
    } cases[] = {
        { CONF_UDP, "10.77.1.9", "lan0", "10.77.2.9:53", PACKET_FORWARD, "dns", "inside", "outside", false, true, false },
        { CONF_UDP, "10.77.1.9", "wan0", "10.77.2.9:53", PACKET_DROP, NULL, "", "outside", false, false, false },
        { CONF_UDP, "10.77.1.9", "lan0", "10.77.2.9:54", PACKET_DROP, NULL, "inside", "outside", false, false, false },
        { CONF_UDP, "10.77.1.9", "lan0", "10.77.2.9:80", PACKET_REJECT, NULL, "inside", "outside", false, false, false },
        { CONF_TCP, "10.77.1.9", "lan0", "10.77.2.9:80", PACKET_INTERCEPT, NULL, "inside", "outside", false, false, false },
        { CONF_TCP, "10.77.1.9", "lan0", "10.77.1.1:80", PACKET_DROP, NULL, "inside", "self", true, false, false },
        { CONF_TCP, "10.77.1.9", "lan0", "10.77.1.1:22", PACKET_INPUT, "ssh", "inside", "self", true, false, false },
        { CONF_TCP, "10.77.1.9", "lan0", "10.77.1.1:3128", PACKET_LISTENER, NULL, "inside", "self", true, false, false },
        { CONF_TCP, "10.77.2.9", "wan0", "10.77.2.1:2222", PACKET_TRANSLATE, NULL, "outside", "self", true, false, false },
        { CONF_TCP, "10.77.2.1", NULL, "10.77.2.9:80", PACKET_FORWARD, NULL, "self", "outside", false, false, true },
        { CONF_TCP, "127.0.0.1", NULL, "10.77.1.1:99", PACKET_INPUT, NULL, "", "self", true, false, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct explain_packet p;
        struct addr from, to;
        int policy;

        assert_true(addr_parse(&from, span_str(cases[i].from), 0) && addr_parse_port(&to, span_str(cases[i].to)));
        explain_packet(&context, route, cases[i].protocol, &from, &to, cases[i].interface, &p);
        policy = p.verdict.policy;
        if (!p.asked || p.verdict.fate != cases[i].fate || p.packet.local != cases[i].local ||
            p.masquerade != cases[i].masquerade || p.own != cases[i].own || (policy < 0) != (cases[i].policy == NULL) ||
            (policy >= 0 && strcmp(g.conf->policies[policy].name, cases[i].policy) != 0) ||
            strcmp(zones_name(g.conf, p.packet.zone_in), cases[i].zone_in) != 0 ||
            strcmp(zones_name(g.conf, p.packet.zone_out), cases[i].zone_out) != 0)
            fail_msg("%s to %s: %s, policy %d, %s to %s", cases[i].from, cases[i].to, packet_fate_name(p.verdict.fate), policy,
                     zones_name(g.conf, p.packet.zone_in), zones_name(g.conf, p.packet.zone_out));
        assert_int_equal(p.near_count > 0, p.verdict.fate == PACKET_DROP || p.verdict.fate == PACKET_REJECT);
    }
}

static void test_where_a_listener_is(void **state)
{
    struct addr to = explain_packet_to(&context, &g.conf->listeners[1]);
    struct conf_listener bound = g.conf->listeners[1];
    char shown[ADDR_TEXT];

    (void)state;
    assert_string_equal(addr_port_text(&to, shown), "10.77.1.1:3128");
    assert_true(addr_parse_port(&bound.address, SPAN("10.77.2.1:80")));
    to = explain_packet_to(&context, &bound);
    assert_string_equal(addr_port_text(&to, shown), "10.77.2.1:80");
}

static void test_heads(void **state)
{
    static const struct {
        const char *method, *url, *headers;
        enum mode mode;
        const char *head;
    } cases[] = {
        { "GET", "http://x/a?b", "", MODE_EXPLICIT, "GET http://x/a?b HTTP/1.1\r\nHost: x\r\n\r\n" },
        { "GET", "http://x/a?b", "", MODE_TRANSPARENT, "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n" },
        { "GET", "http://x:81", "", MODE_REVERSE, "GET / HTTP/1.1\r\nHost: x:81\r\n\r\n" },
        { "GET", "http://x/", "Host: y\r\n", MODE_TRANSPARENT, "GET / HTTP/1.1\r\nHost: y\r\n\r\n" },
        { "GET", "https://x/a", "", MODE_EXPLICIT, "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n" },
        { "GET", "wss://x:8443/a", "", MODE_EXPLICIT, "CONNECT x:8443 HTTP/1.1\r\nHost: x:8443\r\n\r\n" },
        { "GET", "https://[::1]/a", "", MODE_EXPLICIT, "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n" },
        { "CONNECT", "x:22", "", MODE_EXPLICIT, "CONNECT x:22 HTTP/1.1\r\nHost: x:22\r\n\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct explain_query query = { .method = span_str(cases[i].method),
                                       .url = span_str(cases[i].url),
                                       .headers = span_str(cases[i].headers) };
        struct explain_url url;
        char buffer[512] = "";
        struct text head;

        explain_url_read(&url, &query);
        text_init(&head, buffer, sizeof(buffer));
        explain_head_write(&url, &query, cases[i].mode, &head);
        assert_false(head.overflow);
        buffer[head.len] = '\0';
        assert_string_equal(buffer, cases[i].head);
    }
}

static void test_targets(void **state)
{
    static const struct {
        const char *url, *host; /* NULL: there is none */
        unsigned port;
    } cases[] = {
        { "http://x/a", "x", 80 },
        { "https://x", "x", 443 },
        { "wss://x:1/", "x", 1 },
        { "ws://[::1]/", "::1", 80 },
        { "http://10.1:80/", "10.0.0.1", 80 },
        { "http:///", NULL, 0 },
        { "http://x:0/", NULL, 0 },
        { "http://a@b/", NULL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct explain_query query = { .method = SPAN("GET"), .url = span_str(cases[i].url) };
        struct explain_url url;
        struct host host;
        uint16_t port;
        bool found;

        explain_url_read(&url, &query);
        found = explain_url_target(&url, &host, &port);
        if (found != (cases[i].host != NULL) || (found && (strcmp(host.name, cases[i].host) != 0 || port != cases[i].port)))
            fail_msg("%s", cases[i].url);
    }
}

static int setup(void **state)
{
    struct conf_messages messages;

    (void)state;
    g.conf = conf_parse("postern.conf", span_str(text), &messages);
    if (g.conf == NULL)
        fail_msg("%s", messages.errors[0]);
    conf_messages_fini(&messages);
    g.files = calloc(g.conf->policy_count, sizeof(*g.files));
    g.rules = rules_new(g.conf, g.files);
    route = route_open();
    context = (struct judge_context){ .generation = &g, .own = own, .own_count = 2 };
    return g.files != NULL && g.rules != NULL && route != NULL && addr_parse(&own[0], SPAN("10.77.1.1"), 0) &&
                   addr_parse(&own[1], SPAN("10.77.2.1"), 0)
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    rules_free(g.rules);
    free(g.files);
    conf_free(g.conf);
    route_close(route);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_packets), cmocka_unit_test(test_where_a_listener_is),
                                        cmocka_unit_test(test_heads), cmocka_unit_test(test_targets) };

    return cmocka_run_group_tests(tests, setup, teardown);
}
