/* SPDX-License-Identifier: ISC */
/*
 * The packet filter's verdict: tables of what becomes of a packet, and random packets against the words of policy/packet.h taken
 * literally, with lists searched from end to end.
 */
#include "policy/packet.h"

#include "policy_setting.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const char basic[] =
    "zones = ( { name = \"inside\"; networks = [ \"10.0.0.0/8\", \"fd00::/8\" ]; }, { name = \"outside\"; networks = [ "
    "\"0.0.0.0/0\", "
    "\"::/0\" ]; } );"
    "listeners = ( { name = \"proxy\"; mode = \"explicit\"; address = \"10.0.0.1:3128\"; from = [ \"inside\" ]; },"
    "  { name = \"chat\"; mode = \"reverse\"; address = \"0.0.0.0:8443\"; upstreams = [ \"127.0.0.1:9000\" ]; },"
    "  { name = \"catch\"; mode = \"transparent\"; address = \"0.0.0.0:3129\"; intercept = \"tproxy\"; ports = [ 80, 443 ];"
    "    from = [ \"inside\" ]; },"
    "  { name = \"catch6\"; mode = \"transparent\"; address = \"[::]:3129\"; intercept = \"redirect\"; ports = [ 80 ]; from = [ "
    "\"inside\" ]; "
    "} );"
    "policies = ( { name = \"web\"; from = \"inside\"; ports = [ 80, 443 ]; action = \"allow\"; },"
    "  { name = \"deny\"; protocols = [ \"tcp\", \"udp\" ]; ports = [ 25 ]; action = \"deny\"; },"
    "  { name = \"drop\"; protocols = [ \"udp\" ]; networks = [ \"9.9.9.9\" ]; action = \"drop\"; },"
    "  { name = \"all-udp\"; from = \"inside\"; to = \"outside\"; protocols = [ \"udp\", \"icmp\" ]; action = \"allow\"; },"
    "  { name = \"quic\"; from = \"inside\"; to = \"outside\"; protocols = [ \"udp\" ]; ports = [ 443 ]; networks = [ "
    "\"8.8.8.0/24\" ];"
    "    action = \"allow\"; },"
    "  { name = \"host\"; from = \"inside\"; protocols = [ \"tcp\", \"http\" ]; hosts = [ \"9.1.1.1\", \"a.example\", "
    "\"[2600::1]\" ];"
    "    action = \"allow\"; },"
    "  { name = \"name\"; protocols = [ \"tcp\", \"http\" ]; hosts = [ \"a.example\" ]; action = \"allow\"; },"
    "  { name = \"method\"; protocols = [ \"tcp\", \"http\" ]; methods = [ \"GET\" ]; action = \"allow\"; },"
    "  { name = \"ssh\"; from = \"inside\"; to = \"self\"; protocols = [ \"tcp\" ]; ports = [ 22 ]; action = \"allow\"; } );"
    "admin = { address = \"10.0.0.1:9128\"; };"
    "packet_filter = { backend = \"nftables\"; forwards = ( { from = \"outside\"; protocol = \"tcp\"; port = 2222; to = "
    "\"10.0.0.5:22\"; } "
    "); };";

enum { NONE = ZONE_NONE, INSIDE = 0, OUTSIDE, SELF };

static const struct basic_case {
    unsigned protocol;
    int zone_in;
    const char *client;
    int zone_out;
    const char *server;
    uint16_t port;
    enum packet_fate fate;
    const char *who; /* policy or listener */
    enum reason reason;
    bool twin;
} basic_cases[] = {
    { CONF_TCP, INSIDE, "10.0.0.5", OUTSIDE, "9.8.8.8", 80, PACKET_INTERCEPT, "catch", R_NONE, false },
    { CONF_TCP, INSIDE, "fd00::5", OUTSIDE, "2600::8", 80, PACKET_INTERCEPT, "catch6", R_NONE, false },
    { CONF_TCP, INSIDE, "fd00::5", OUTSIDE, "2600::8", 443, PACKET_DROP, "", R_NO_POLICY, false }, /* IPv6 is the other's */
    { CONF_TCP, INSIDE, "10.0.0.5", NONE, "127.0.0.1", 80, PACKET_INTERCEPT, "catch", R_NONE, false },
    { CONF_TCP, OUTSIDE, "9.9.9.9", INSIDE, "10.0.0.5", 80, PACKET_DROP, "", R_NO_POLICY, false }, /* not its `from` */
    { CONF_TCP, NONE, "127.0.0.7", OUTSIDE, "9.8.8.8", 80, PACKET_DROP, "", R_ZONE_UNKNOWN, false },
    { CONF_TCP, INSIDE, "10.0.0.5", SELF, "10.0.0.1", 80, PACKET_DROP, "", R_NO_POLICY, false }, /* never to this machine */
    { CONF_TCP, OUTSIDE, "9.9.9.9", SELF, "9.0.0.1", 2222, PACKET_TRANSLATE, "", R_NONE, false },
    { CONF_TCP, OUTSIDE, "127.0.0.9", SELF, "9.0.0.1", 2222, PACKET_INPUT, "", R_NONE, false }, /* over lo, where none is */
    { CONF_UDP, OUTSIDE, "9.9.9.9", SELF, "9.0.0.1", 2222, PACKET_DROP, "", R_NO_POLICY, false },
    { CONF_TCP, INSIDE, "10.0.0.5", SELF, "9.0.0.1", 2222, PACKET_DROP, "", R_NO_POLICY, false },
    { CONF_TCP, OUTSIDE, "2600::9", SELF, "2600::1", 2222, PACKET_DROP, "", R_NO_POLICY, false }, /* to IPv4 only */
    { CONF_TCP, OUTSIDE, "9.9.9.9", INSIDE, "10.0.0.5", 2222, PACKET_DROP, "", R_NO_POLICY, false },
    { CONF_TCP, INSIDE, "10.0.0.5", SELF, "10.0.0.1", 3128, PACKET_LISTENER, "proxy", R_NONE, false },
    { CONF_TCP, OUTSIDE, "9.9.9.9", SELF, "10.0.0.1", 3128, PACKET_DROP, "", R_NO_POLICY, false },
    { CONF_TCP, INSIDE, "10.0.0.5", SELF, "10.0.0.2", 3128, PACKET_DROP, "", R_NO_POLICY, false },
    { CONF_TCP, OUTSIDE, "9.9.9.9", SELF, "9.0.0.1", 8443, PACKET_LISTENER, "chat", R_NONE, false },
    { CONF_TCP, NONE, "9.9.9.9", SELF, "9.0.0.1", 8443, PACKET_LISTENER, "chat", R_NONE, false }, /* the worker judges */
    { CONF_TCP, OUTSIDE, "2600::9", SELF, "2600::1", 8443, PACKET_DROP, "", R_NO_POLICY, false },
    { CONF_UDP, OUTSIDE, "9.9.9.9", SELF, "9.0.0.1", 8443, PACKET_DROP, "", R_NO_POLICY, false },
    { CONF_TCP, INSIDE, "10.0.0.5", SELF, "10.0.0.1", 3129, PACKET_DROP, "", R_NO_POLICY, false }, /* only what was intercepted */
    { CONF_TCP, OUTSIDE, "9.9.9.9", SELF, "10.0.0.1", 9128, PACKET_DROP, "", R_NO_POLICY, false }, /* admin needs a policy */
    { CONF_TCP, INSIDE, "10.0.0.5", SELF, "9.1.1.1", 23, PACKET_DROP, "", R_NO_POLICY, false },    /* "host" does not name self */
    { CONF_TCP, INSIDE, "10.0.0.5", OUTSIDE, "9.1.1.1", 23, PACKET_FORWARD, "host", R_NONE, false },
    { CONF_TCP, INSIDE, "10.0.0.5", SELF, "10.0.0.1", 25, PACKET_REJECT, "deny", R_POLICY_DENIED, false }, /* who denies all */
    { CONF_TCP, INSIDE, "10.0.0.5", SELF, "10.0.0.1", 22, PACKET_INPUT, "ssh", R_NONE, false },
    { CONF_TCP, OUTSIDE, "9.9.9.9", SELF, "10.0.0.1", 22, PACKET_DROP, "", R_NO_POLICY, false },
    { CONF_TCP, INSIDE, "10.0.0.5", OUTSIDE, "9.8.8.8", 22, PACKET_DROP, "", R_NO_POLICY, false },
    { CONF_TCP, SELF, "10.0.0.1", SELF, "10.0.0.1", 5, PACKET_INPUT, "", R_NONE, false }, /* over lo */
    { CONF_TCP, NONE, "127.0.0.1", SELF, "127.0.0.1", 5, PACKET_INPUT, "", R_NONE, false },
    { CONF_TCP, INSIDE, "10.0.0.5", OUTSIDE, "9.8.8.8", 25, PACKET_REJECT, "deny", R_POLICY_DENIED, false },
    { CONF_TCP, INSIDE, "10.0.0.5", SELF, "10.0.0.1", 25, PACKET_REJECT, "deny", R_POLICY_DENIED, false }, /* any zone, self too */
    { CONF_UDP, INSIDE, "10.0.0.5", OUTSIDE, "9.9.9.9", 1, PACKET_DROP, "drop", R_POLICY_DENIED, false },
    { CONF_UDP, INSIDE, "10.0.0.5", OUTSIDE, "9.8.8.8", 53, PACKET_FORWARD, "all-udp", R_NONE, false },
    { CONF_ICMP, INSIDE, "10.0.0.5", OUTSIDE, "9.8.8.8", 0, PACKET_FORWARD, "all-udp", R_NONE, false },
    { CONF_ICMP, OUTSIDE, "9.8.8.8", INSIDE, "10.0.0.5", 0, PACKET_DROP, "", R_NO_POLICY, false },
    { CONF_UDP, INSIDE, "10.0.0.5", OUTSIDE, "9.8.8.8", 443, PACKET_REJECT, "", R_NO_POLICY, true },
    { CONF_UDP, INSIDE, "10.0.0.5", OUTSIDE, "8.8.8.8", 443, PACKET_FORWARD, "quic", R_NONE, false },
    { CONF_UDP, INSIDE, "10.0.0.5", OUTSIDE, "9.9.9.9", 443, PACKET_DROP, "drop", R_POLICY_DENIED, false },
    { CONF_UDP, INSIDE, "fd00::5", OUTSIDE, "2600::8", 443, PACKET_FORWARD, "all-udp", R_NONE, false }, /* nobody intercepts it */
    { CONF_UDP, INSIDE, "10.0.0.5", NONE, "169.254.169.254", 443, PACKET_DROP, "", R_ADDRESS_PRIVATE, false },
    { CONF_TCP, INSIDE, "10.0.0.5", OUTSIDE, "9.1.1.1", 99, PACKET_FORWARD, "host", R_NONE, false },
    { CONF_TCP, INSIDE, "fd00::5", OUTSIDE, "2600::1", 99, PACKET_FORWARD, "host", R_NONE, false },
    { CONF_TCP, INSIDE, "10.0.0.5", OUTSIDE, "9.1.1.2", 99, PACKET_DROP, "", R_NO_POLICY, false },
};

static void test_fates(void **state)
{
    struct setting s = compile(basic, NULL);

    (void)state;
    for (size_t i = 0; i < COUNT(basic_cases); i++) {
        const struct basic_case *c = &basic_cases[i];
        struct packet p = { c->protocol, address(c->client, 40000), address(c->server, c->port), c->zone_in,
                            c->zone_out, c->zone_out == SELF };
        struct packet_verdict v = packet_judge(s.rules, &p);
        const char *who = v.policy >= 0     ? s.conf->policies[v.policy].name
                          : v.listener >= 0 ? s.conf->listeners[v.listener].name
                                            : "";

        if (v.fate != c->fate || v.reason != c->reason || v.twin != c->twin || strcmp(who, c->who) != 0)
            fail_msg("case %zu: %s %s by \"%s\"%s", i, packet_fate_name(v.fate), reason_name(v.reason), who, v.twin ? " twin" : "");
        assert_int_equal(v.forward, v.fate == PACKET_TRANSLATE ? 0 : -1);
    }
    discard(&s);
}

/* A proxied stream is never judged as tcp, udp or icmp, nor a packet as http. */
static void test_worlds_apart(void **state)
{
    struct setting s =
        compile("zones = ( { name = \"a\"; networks = [ \"0.0.0.0/0\" ]; } );"
                "listeners = ( { name = \"l\"; mode = \"explicit\"; address = \"127.0.0.1:1\"; } );"
                "policies = ( { name = \"kernel\"; protocols = [ \"tcp\", \"udp\", \"icmp\" ]; action = \"allow\"; },"
                "  { name = \"proxied\"; protocols = [ \"http\" ]; ports = [ 80 ]; action = \"allow\"; } );"
                "packet_filter = { backend = \"nftables\"; };",
                NULL);
    struct facts f = { .known = KNOWN_FLOW | KNOWN_TARGET | KNOWN_ADDRESS | KNOWN_PROTOCOL,
                       .client = address("9.9.9.9", 1),
                       .server = address("9.9.9.8", 80),
                       .port = 80 };
    struct network literal;

    (void)state;
    for (f.protocol = CONF_HTTP; f.protocol <= CONF_ICMP; f.protocol <<= 1) {
        bool kernel = f.protocol >= CONF_TCP;

        f.listener = 0;
        assert_int_equal(rules_judge(s.rules, &f, true).policy, f.protocol == CONF_HTTP ? 1 : -1);
        f.listener = -1;
        assert_int_equal(rules_judge(s.rules, &f, true).policy, kernel ? 0 : -1);
    }
    f.known = KNOWN_FLOW; /* its protocol may yet be any of its world */
    assert_int_equal(rules_judge(s.rules, &f, false).policy, 0);
    f.listener = 0;
    assert_int_equal(rules_judge(s.rules, &f, false).policy, 1);
    assert_int_equal(rules_judge(s.rules, &f, true).policy, -1);
    assert_true(packet_policy_fits(&s.conf->policies[0], CONF_ICMP));
    assert_false(packet_policy_fits(&s.conf->policies[1], CONF_TCP));
    assert_true(rules_host_is_literal(SPAN("[::1]"), &literal) && literal.bits == 128);
    assert_false(rules_host_is_literal(SPAN("a.example"), &literal));
    discard(&s);
}

static void test_self_and_listeners(void **state)
{
    struct setting s = compile(basic, NULL);

    (void)state;
    assert_true(rules_admit(s.rules, 0, INSIDE));
    assert_false(rules_admit(s.rules, 0, OUTSIDE));
    assert_false(rules_admit(s.rules, 0, SELF));
    assert_true(rules_admit(s.rules, 1, SELF));
    assert_false(rules_admit(s.rules, 1, SELF + 1));
    assert_false(rules_admit(s.rules, 1, ZONE_NONE));
    assert_false(rules_admit(s.rules, -1, INSIDE));
    assert_false(rules_admit(s.rules, 4, INSIDE));
    discard(&s);
}

static void test_near(void **state)
{
    struct setting s = compile(basic, NULL);
    struct packet p = { CONF_UDP, address("10.0.0.5", 1), address("9.8.8.8", 443), INSIDE, OUTSIDE, false };
    struct rules_near near[9];
    struct host host;
    struct facts f;
    size_t count;

    (void)state;
    packet_facts(&p, &host, &f);
    assert_string_equal(host.name, "9.8.8.8");
    f.twin = true;
    count = rules_near(s.rules, &f, true, near, COUNT(near));
    assert_int_equal(count, 7); /* all that allow */
    assert_string_equal(s.conf->policies[near[0].policy].name, "web");
    assert_int_equal(near[0].false_set, 1 << COND_PROTOCOLS);
    assert_string_equal(s.conf->policies[near[1].policy].name, "all-udp");
    assert_int_equal(near[1].false_set, 1 << COND_PORTS);
    assert_string_equal(s.conf->policies[near[2].policy].name, "quic");
    assert_int_equal(near[2].false_set, 1 << COND_NETWORKS);
    discard(&s);
}

/* The oracle: the story in packet.h. Zone names are compared, lists searched, policies asked in order. */
static bool lists_name(const struct conf_strings *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], name) == 0)
            return true;
    return false;
}

static bool lists_port(const struct conf_ports *list, uint16_t port)
{
    for (size_t i = 0; i < list->count; i++)
        if (port >= list->items[i].first && port <= list->items[i].last)
            return true;
    return false;
}

static bool lists_address(const struct conf_networks *list, const struct addr *a)
{
    for (size_t i = 0; i < list->count; i++)
        if (network_has(&list->items[i], a))
            return true;
    return false;
}

static bool lists_literal(const struct conf_strings *list, const struct addr *a)
{
    char text[ADDR_TEXT];

    return lists_name(list, addr_text(a, text));
}

static bool is_true(const struct conf_policy *p, const struct packet *k, const char *in, const char *out)
{
    if (!p->protocols_given || !(p->protocols & k->protocol) || p->listeners.count > 0 || p->methods.count > 0 ||
        p->paths.count > 0)
        return false;
    if (p->to.count == 0 && k->local && p->action == ACTION_ALLOW)
        return false;
    if ((p->from.count > 0 && !lists_name(&p->from, in)) || (p->to.count > 0 && !lists_name(&p->to, out)))
        return false;
    if ((p->clients.count > 0 && !lists_address(&p->clients, &k->client)) ||
        (p->networks.count > 0 && !lists_address(&p->networks, &k->server)))
        return false;
    if (p->ports.count > 0 && (k->protocol == CONF_ICMP || !lists_port(&p->ports, k->server.port)))
        return false;
    return p->hosts.count == 0 || lists_literal(&p->hosts, &k->server);
}

static int intercepted_by(const struct conf *conf, const struct packet *k, const char *in)
{
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *l = &conf->listeners[i];

        if (l->mode == MODE_TRANSPARENT && l->address.family == k->server.family && lists_port(&l->ports, k->server.port) &&
            lists_name(&l->from, in))
            return (int)i;
    }
    return -1;
}

static struct packet_verdict by_policies(const struct conf *conf, const struct packet *k, const char *in, const char *out)
{
    bool twin = !k->local && k->protocol == CONF_UDP && intercepted_by(conf, k, in) >= 0;

    for (size_t i = 0; i < conf->policy_count; i++) {
        const struct conf_policy *p = &conf->policies[i];

        if (!is_true(p, k, in, out) || (twin && p->action == ACTION_ALLOW && p->ports.count == 0))
            continue;
        return (struct packet_verdict){ p->action == ACTION_DENY   ? PACKET_REJECT
                                        : p->action == ACTION_DROP ? PACKET_DROP
                                        : k->local                 ? PACKET_INPUT
                                                                   : PACKET_FORWARD,
                                        (int)i,
                                        -1,
                                        -1,
                                        false,
                                        p->action == ACTION_ALLOW ? R_NONE : R_POLICY_DENIED };
    }
    return (struct packet_verdict){ twin ? PACKET_REJECT : PACKET_DROP, -1, -1, -1, twin, R_NO_POLICY };
}

static struct packet_verdict expected(const struct conf *conf, const struct packet *k)
{
    const char *in = k->zone_in < 0 ? NULL : zones_name(conf, k->zone_in),
               *out = k->zone_out < 0 ? NULL : zones_name(conf, k->zone_out);
    struct packet_verdict v = { PACKET_DROP, -1, -1, -1, false, R_NONE };
    struct network block;
    int listener;

    if (!k->local && in != NULL && k->protocol == CONF_TCP && (listener = intercepted_by(conf, k, in)) >= 0) {
        v.fate = PACKET_INTERCEPT;
        v.listener = listener;
        return v;
    }
    for (size_t i = 0; k->local && in != NULL && i < conf->packet_filter.forward_count; i++) {
        const struct conf_forward *f = &conf->packet_filter.forwards[i];

        if (f->protocol == k->protocol && f->port == k->server.port && f->to.family == k->server.family &&
            lists_name(&f->from, in)) {
            v.fate = PACKET_TRANSLATE;
            v.forward = (int)i;
            return v;
        }
    }
    for (size_t i = 0; k->local && k->protocol == CONF_TCP && i < conf->listener_count; i++) {
        const struct conf_listener *l = &conf->listeners[i];

        if (l->mode == MODE_TRANSPARENT || l->address.family != k->server.family || l->address.port != k->server.port)
            continue;
        if ((addr_is_any(&l->address) || addr_same_ip(&l->address, &k->server)) &&
            (l->from.count == 0 || (in != NULL && lists_name(&l->from, in)))) {
            v.fate = PACKET_LISTENER;
            v.listener = (int)i;
            return v;
        }
    }
    if (in == NULL || out == NULL) {
        v.reason = in != NULL && addr_special(&k->server, &block) ? R_ADDRESS_PRIVATE : R_ZONE_UNKNOWN;
        return v;
    }
    return by_policies(conf, k, in, out);
}

static unsigned dice(unsigned sides)
{
    return (unsigned)rand() % sides;
}

static char the_text[1 << 16];

static void put(const char *piece)
{
    assert_true(strlen(the_text) + strlen(piece) + 1 < sizeof(the_text));
    strcat(the_text, piece);
}

/* key = [ some of the items ]; or nothing, but for `always`. */
static void put_list(const char *key, const char *const *items, unsigned count, unsigned one_in)
{
    if (dice(one_in) != 0)
        return;
    put(key);
    put(" = [ ");
    for (unsigned n = 1 + dice(3); n > 0; n--) {
        put("\"");
        put(items[dice(count)]);
        put(n > 1 ? "\", " : "\" ]; ");
    }
}

static const char *const zones[] = { "za", "zb", "zc", "self" };
static const char *const ports[] = { "1", "2-4", "3", "5", "4-6", "7" };
static const char *const networks[] = { "10.0.0.0/8", "10.1.0.0/16", "9.0.0.0/8", "9.9.9.9",
                                        "2600::/16",  "fd00::/8",    "0.0.0.0/0", "::/0" };
static const char *const addresses[] = { "10.1.2.3", "10.2.2.3", "9.9.9.9", "9.8.8.8", "2600::1", "fd00::1", "127.1.2.3" };
static const char *const hosts[] = { "10.1.2.3", "9.9.9.9", "2600::1", "fd00::1", "a.example" };
static const char *const methods[] = { "GET" };
static const char *const protocols[] = { "tcp", "udp", "icmp", "tcp", "udp", "http" };
static const char *const actions[] = { "allow", "deny", "drop", "allow" };

static void put_listeners(void)
{
    static const char *const heads[] = { "mode = \"explicit\"; address = \"10.1.2.3:1\"; ",
                                         "mode = \"reverse\"; upstreams = [ \"127.0.0.1:9\" ]; address = \"0.0.0.0:2\"; ",
                                         "mode = \"reverse\"; upstreams = [ \"127.0.0.1:9\" ]; address = \"[::]:3\"; ",
                                         "mode = \"transparent\"; intercept = \"tproxy\"; address = \"0.0.0.0:100\"; ",
                                         "mode = \"transparent\"; intercept = \"redirect\"; address = \"[::]:101\"; ",
                                         "mode = \"transparent\"; intercept = \"redirect\"; address = \"0.0.0.0:102\"; " };
    char name[40];

    put("listeners = (");
    for (unsigned i = 0; i < COUNT(heads); i++) {
        snprintf(name, sizeof(name), "%s{ name = \"l%u\"; ", i == 0 ? "" : ",", i);
        put(name);
        put(heads[i]);
        if (i >= 3)
            put_list("ports", ports, COUNT(ports), 1);
        put_list("from", zones, 3, i >= 3 || i == 0 ? 1 : 2);
        put("}");
    }
    put(");");
}

static void put_policies(void)
{
    unsigned count = 1 + dice(12);
    char name[40];

    put("policies = (");
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "%s{ name = \"p%u\"; ", i == 0 ? "" : ",", i);
        put(name);
        put_list("from", zones, 4, 2);
        put_list("to", zones, 4, 2);
        put_list("ports", ports, COUNT(ports), 2);
        put_list("clients", networks, COUNT(networks), 3);
        put_list("networks", networks, COUNT(networks), 3);
        put_list("hosts", hosts, COUNT(hosts), 6);
        put_list("methods", methods, 1, 9);
        put_list("protocols", protocols, COUNT(protocols), 1);
        snprintf(name, sizeof(name), "action = \"%s\"; }", actions[dice(4)]);
        put(name);
    }
    put(");");
}

static struct setting make(void)
{
    the_text[0] = '\0';
    put("zones = ( { name = \"za\"; }, { name = \"zb\"; }, { name = \"zc\"; } );");
    put_listeners();
    put_policies();
    put("packet_filter = { backend = \"nftables\"; forwards = ( { protocol = \"tcp\"; port = 5; to = \"10.1.2.3:22\"; ");
    put_list("from", zones, 3, 1);
    put("}, { protocol = \"udp\"; port = 6; to = \"[fd00::1]:22\"; ");
    put_list("from", zones, 3, 1);
    put("} ); };");
    return compile(the_text, NULL);
}

static struct packet some_packet(void)
{
    struct packet p = { .protocol = CONF_TCP << dice(3), .zone_in = (int)dice(4) - 1, .zone_out = (int)dice(5) - 1 };

    p.server = address(addresses[dice(COUNT(addresses))], p.protocol == CONF_ICMP ? 0 : (uint16_t)(1 + dice(8)));
    do
        p.client = address(addresses[dice(COUNT(addresses) - 1)], 40000);
    while (p.client.family != p.server.family);
    p.local = p.zone_out == 3;
    return p;
}

static void test_against_oracle(void **state)
{
    size_t fates[PACKET_TRANSLATE + 1] = { 0 }, twins = 0;

    (void)state;
    srand(11);
    for (int round = 0; round < 150; round++) {
        struct setting s = make();

        for (int i = 0; i < 200; i++) {
            struct packet p = some_packet();
            struct packet_verdict v = packet_judge(s.rules, &p), wanted = expected(s.conf, &p);

            if (v.fate != wanted.fate || v.policy != wanted.policy || v.listener != wanted.listener ||
                v.forward != wanted.forward || v.twin != wanted.twin || v.reason != wanted.reason)
                fail_msg("%s by %d for %s by %d: protocol %u, %d to %d, port %u: %s", packet_fate_name(v.fate), v.policy,
                         packet_fate_name(wanted.fate), wanted.policy, p.protocol, p.zone_in, p.zone_out, p.server.port, the_text);
            fates[v.fate]++;
            twins += v.twin;
        }
        discard(&s);
    }
    for (size_t i = 0; i <= PACKET_TRANSLATE; i++) /* the questions are worth asking */
        assert_true(fates[i] > 100);
    assert_true(twins > 100);
}

static void test_marks(void **state)
{
    (void)state;
    assert_int_equal(packet_mark(PACKET_MARK_FORWARDED, 0), 0x53000001);
    assert_int_equal(packet_mark_kind(0x53ab0003), PACKET_MARK_FORWARDED);
    assert_int_equal(packet_mark_index(0x53ab0003), 2);
    assert_int_equal(packet_mark_index(0x51000000), -1);
    assert_string_equal(packet_fate_name(PACKET_TRANSLATE), "translate");
    assert_string_equal(packet_fate_name((enum packet_fate)99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fates), cmocka_unit_test(test_worlds_apart),   cmocka_unit_test(test_self_and_listeners),
        cmocka_unit_test(test_near),  cmocka_unit_test(test_against_oracle), cmocka_unit_test(test_marks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
