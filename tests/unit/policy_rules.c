/* SPDX-License-Identifier: ISC */
/* The judge: conditions, stages, zones, near misses, and what a policy says of a WebSocket handshake (design.md section 5). */
#include "policy_setting.h"

/* A configuration and what it was compiled to. */
/* Facts, in the order in which they become known. */
static struct facts flow(int listener, int zone_in, const char *client)
{
    return (struct facts){
        .known = KNOWN_FLOW, .listener = listener, .zone_in = zone_in, .client = address(client, 0), .zone_out = ZONE_NONE
    };
}

static struct host the_host;

static void add_target(struct facts *f, const char *host, uint16_t port)
{
    f->known |= KNOWN_TARGET;
    f->host = host ? &the_host : NULL;
    f->port = port;
    if (host != NULL && !host_parse(&the_host, span_str(host)))
        fail_msg("%s", host);
}

static void add_address(struct facts *f, const char *server, int zone_out)
{
    f->known |= KNOWN_ADDRESS;
    f->server = address(server, 0);
    f->zone_out = zone_out;
}

static void add_protocol(struct facts *f, unsigned protocol)
{
    f->known |= KNOWN_PROTOCOL;
    f->protocol = protocol;
}

static struct h1_head the_head;

static void add_request(struct facts *f, const char *method, const char *path)
{
    f->known |= KNOWN_REQUEST;
    f->method = span_str(method);
    f->path = span_str(path);
    f->head = &the_head;
    the_head.field_count = 0;
}

static void add_field(const char *name, const char *value, enum h1_name id)
{
    h1_add(&the_head, (struct h1_field){ .name = span_str(name), .value = span_str(value), .id = id });
}

/* What is expected of a verdict: the policy by its name, and how it came. */
enum outcome { GRANTED, REMEMBERED, DENIED, DROPPED };

static void expect_at(const struct setting *s, const struct facts *f, bool last, enum outcome outcome, const char *policy,
                      enum reason reason, int line)
{
    struct verdict v = rules_judge(s->rules, f, last);
    const char *name = v.policy >= 0 ? s->conf->policies[v.policy].name : "";
    enum outcome got = v.granted ? (v.remembered ? REMEMBERED : GRANTED) : (v.drop ? DROPPED : DENIED);

    if (got != outcome || strcmp(name, policy) != 0 || v.reason != reason)
        fail_msg("line %d: outcome %d, policy '%s', reason %s", line, (int)got, name, reason_name(v.reason));
}

#define EXPECT(s, f, last, outcome, policy, reason) expect_at(s, f, last, outcome, policy, reason, __LINE__)

#define ZONES                                                                                                                      \
    "zones = ( { name = \"inside\"; networks = [ \"10.77.1.0/24\" ]; },"                                                           \
    "          { name = \"lab\"; networks = [ \"10.77.2.0/24\" ]; },"                                                              \
    "          { name = \"outside\"; networks = [ \"0.0.0.0/0\", \"::/0\" ]; } );"
#define LISTENERS                                                                                                                  \
    "listeners = ( { name = \"proxy\"; mode = \"explicit\"; address = \"127.0.0.1:3128\"; },"                                      \
    "              { name = \"second\"; mode = \"explicit\"; address = \"127.0.0.1:3129\"; from = [ \"inside\" ]; },"              \
    "              { name = \"chat\"; mode = \"reverse\"; address = \"127.0.0.1:8080\"; upstreams = [ \"127.0.0.1:9000\" ]; } );"
#define POLICIES(text) ZONES LISTENERS "policies = (" text ");"

enum { INSIDE, LAB, OUTSIDE };
enum { PROXY, SECOND, CHAT };
#define CLIENT "10.77.1.5"
#define SERVER "93.184.216.34"

/* Everything known about an ordinary request. */
static struct facts request(const char *host, uint16_t port, const char *method, const char *path)
{
    struct facts f = flow(PROXY, INSIDE, CLIENT);

    add_target(&f, host, port);
    add_address(&f, SERVER, OUTSIDE);
    add_protocol(&f, CONF_HTTP);
    add_request(&f, method, path);
    return f;
}

static void test_no_policies(void **state)
{
    struct setting s = compile(ZONES LISTENERS, NULL);
    struct facts f = request("a.example", 80, "GET", "/");

    (void)state;
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f = flow(PROXY, INSIDE, CLIENT);
    EXPECT(&s, &f, false, DENIED, "", R_NO_POLICY);
    discard(&s);
}

static void test_first_match_decides(void **state)
{
    struct setting s = compile(POLICIES("{ name = \"not-b\"; hosts = [ \"b.example\" ]; action = \"deny\"; },"
                                        "{ name = \"not-c\"; hosts = [ \"c.example\" ]; action = \"drop\"; },"
                                        "{ name = \"web\"; ports = [ 80 ]; action = \"allow\"; },"
                                        "{ name = \"late\"; hosts = [ \"a.example\" ]; action = \"deny\"; }"),
                               NULL);
    struct facts f = request("a.example", 80, "GET", "/");

    (void)state;
    EXPECT(&s, &f, true, GRANTED, "web", R_NONE);
    f = request("b.example", 80, "GET", "/");
    EXPECT(&s, &f, true, DENIED, "not-b", R_POLICY_DENIED);
    f = request("c.example", 80, "GET", "/");
    EXPECT(&s, &f, true, DROPPED, "not-c", R_POLICY_DENIED);
    f = request("a.example", 81, "GET", "/");
    EXPECT(&s, &f, true, DENIED, "late", R_POLICY_DENIED);
    f = request("d.example", 81, "GET", "/");
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    discard(&s);
}

/* One condition at a time: facts that fit, and facts that do not. */
static void test_hosts(void **state)
{
    static const struct {
        const char *host;
        bool fits;
    } cases[] = {
        { "chat.example", true },
        { "CHAT.example.", true },
        { "a.chat.example", false },
        { "b.wild.example", true },
        { "a.b.wild.example", true },
        { "wild.example", false },
        { "xwild.example", false },
        { "example", false },
        { "both.example", true },
        { "x.both.example", true },
        { "deep.wild.example", true },
        { "192.0.2.7", true },
        { "3221225991", true } /* 192.0.2.7 */,
        { "192.0.2.8", false },
        { "[2001:db8::7]", true },
        { "[2001:DB8:0::7]", true },
        { "[2001:db8::8]", false },
        { "[::ffff:192.0.2.7]", true },
        { "7.2.0.192", false },
    };
    struct setting s =
        compile(POLICIES("{ name = \"p\"; hosts = [ \"chat.example\", \"*.wild.example\", \"both.example\", \"*.both.example\","
                         "\"192.0.2.7\", \"2001:db8::7\" ]; action = \"allow\"; }"),
                NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct facts f = request(cases[i].host, 80, "GET", "/");

        EXPECT(&s, &f, true, cases[i].fits ? GRANTED : DENIED, cases[i].fits ? "p" : "", cases[i].fits ? R_NONE : R_NO_POLICY);
    }
    struct facts f = request(NULL, 80, "GET", "/");

    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY); /* a target without a name */
    discard(&s);
}

/* Names of several policies above one another: each means its own. */
static void test_nested_hosts(void **state)
{
    struct setting s =
        compile(POLICIES("{ name = \"a\"; hosts = [ \"*.x.example\" ]; ports = [ 1 ]; action = \"allow\"; },"
                         "{ name = \"b\"; hosts = [ \"y.x.example\" ]; ports = [ 2 ]; action = \"allow\"; },"
                         "{ name = \"c\"; hosts = [ \"*.y.x.example\" ]; ports = [ 3 ]; action = \"allow\"; },"
                         "{ name = \"d\"; hosts = [ \"z.y.x.example\", \"q.example\" ]; ports = [ 4 ]; action = \"allow\"; }"),
                NULL);
    static const struct {
        const char *host;
        const char *policies; /* that fit, in the order of their ports */
    } cases[] = {
        { "x.example", "" },        { "w.x.example", "a" },      { "y.x.example", "ab" }, { "w.y.x.example", "ac" },
        { "z.y.x.example", "acd" }, { "v.z.y.x.example", "ac" }, { "q.example", "d" },    { "r.q.example", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (uint16_t port = 1; port <= 4; port++) {
            char name[2] = { (char)('a' + port - 1), '\0' };
            struct facts f = request(cases[i].host, port, "GET", "/");
            bool fits = strchr(cases[i].policies, name[0]) != NULL;

            EXPECT(&s, &f, true, fits ? GRANTED : DENIED, fits ? name : "", fits ? R_NONE : R_NO_POLICY);
        }
    discard(&s);
}

static struct hostset make_set(const char *text)
{
    struct hostset set = { NULL, hostset_size(span_str(text)) };
    size_t bad, first;
    void *memory = calloc(1, set.size);

    assert_non_null(memory);
    hostset_compile(span_str(text), memory, set.size, &bad, &first);
    assert_int_equal(bad, 0);
    set.memory = memory;
    return set;
}

static void test_hosts_file(void **state)
{
    struct hostset files[2] = { { NULL, 0 }, make_set("ads.example\n") };
    struct setting s =
        compile(POLICIES("{ name = \"first\"; ports = [ 81 ]; action = \"allow\"; },"
                         "{ name = \"ads\"; hosts_file = \"/x/ads\"; hosts = [ \"*.example\" ]; action = \"allow\"; }"),
                files);
    struct facts f = request("ads.example", 80, "GET", "/");

    (void)state;
    EXPECT(&s, &f, true, GRANTED, "ads", R_NONE);
    f = request("a.b.ads.example", 80, "GET", "/");
    EXPECT(&s, &f, true, GRANTED, "ads", R_NONE);
    f = request("xads.example", 80, "GET", "/");
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f = request("192.0.2.1", 80, "GET", "/");
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f = request(NULL, 80, "GET", "/");
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    discard(&s);
    s = compile(POLICIES("{ name = \"ads\"; hosts_file = \"/x/ads\"; action = \"allow\"; }"), NULL); /* no file: never true */
    f = request("ads.example", 80, "GET", "/");
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    discard(&s);
    free((void *)files[1].memory);
}

static void test_ports(void **state)
{
    static const uint16_t inside[] = { 1, 80, 8000, 8050, 8100, 9000, 65535 },
                          outside[] = { 0, 2, 79, 81, 7999, 8101, 8999, 9001, 65534 };
    struct setting s =
        compile(POLICIES("{ name = \"p\"; ports = [ \"8000-8100\", \"80\", \"8040-8060\", \"1\", \"9000\", \"65535\" ];"
                         " action = \"allow\"; }"),
                NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
        struct facts f = request("a.example", inside[i], "GET", "/");

        EXPECT(&s, &f, true, GRANTED, "p", R_NONE);
    }
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        struct facts f = request("a.example", outside[i], "GET", "/");

        EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    }
    discard(&s);
}

static void test_clients_and_networks(void **state)
{
    struct setting s =
        compile(POLICIES("{ name = \"c\"; clients = [ \"10.77.1.0/28\", \"10.77.1.5\", \"fd00::/8\" ];"
                         "  networks = [ \"93.184.0.0/16\", \"2001:db8::/32\" ]; action = \"allow\"; },"
                         "{ name = \"d\"; clients = [ \"10.77.0.0/16\" ]; networks = [ \"93.184.216.34\" ]; action = \"allow\"; }"),
                NULL);
    struct facts f = request("a.example", 80, "GET", "/");

    (void)state;
    EXPECT(&s, &f, true, GRANTED, "c", R_NONE);
    f.client = address("10.77.1.15", 0);
    EXPECT(&s, &f, true, GRANTED, "c", R_NONE);
    f.client = address("10.77.1.16", 0);
    EXPECT(&s, &f, true, GRANTED, "d", R_NONE);
    f.server = address("93.184.216.35", 0);
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f.client = address("fd12::1", 0);
    EXPECT(&s, &f, true, GRANTED, "c", R_NONE);
    f.server = address("2001:db8:ffff::", 0);
    EXPECT(&s, &f, true, GRANTED, "c", R_NONE);
    f.server = address("2001:db9::", 0);
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f.client = address("fe00::1", 0);
    f.server = address("2001:db8::1", 0);
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    discard(&s);
}

static void test_from_to_listeners(void **state)
{
    struct setting s = compile(
        POLICIES("{ name = \"a\"; from = \"inside\"; to = \"outside\"; protocols = [ \"http\", \"tcp\" ]; action = \"allow\"; },"
                 "{ name = \"b\"; from = [ \"inside\", \"lab\" ]; to = [ \"lab\" ]; listeners = [ \"proxy\" ];"
                 "  action = \"allow\"; }"),
        NULL);
    struct facts f = request("a.example", 80, "GET", "/");

    (void)state;
    EXPECT(&s, &f, true, GRANTED, "a", R_NONE);
    f.zone_in = LAB;
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f.zone_out = LAB;
    EXPECT(&s, &f, true, GRANTED, "b", R_NONE);
    f.listener = CHAT;
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f.listener = -1; /* forwarded by the kernel */
    f.protocol = CONF_TCP;
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f.zone_in = INSIDE;
    f.zone_out = OUTSIDE;
    EXPECT(&s, &f, true, GRANTED, "a", R_NONE);
    discard(&s);
}

/* Whoever allows this machine's own addresses has to name it; whoever denies without `to` denies them too. */
static void test_self(void **state)
{
    struct setting s = compile(POLICIES("{ name = \"a\"; from = \"inside\"; methods = [ \"GET\" ]; action = \"allow\"; },"
                                        "{ name = \"d\"; methods = [ \"PUT\" ]; action = \"deny\"; },"
                                        "{ name = \"s\"; to = \"self\"; methods = [ \"PUT\", \"POST\" ]; action = \"allow\"; }"),
                               NULL);
    struct facts f = request("a.example", 80, "GET", "/");

    (void)state;
    EXPECT(&s, &f, true, GRANTED, "a", R_NONE);
    f.zone_out = zones_self(s.conf);
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f.method = SPAN("PUT");
    EXPECT(&s, &f, true, DENIED, "d", R_POLICY_DENIED);
    f.method = SPAN("POST");
    EXPECT(&s, &f, true, GRANTED, "s", R_NONE);
    f.zone_out = OUTSIDE;
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    discard(&s);
}

static void test_protocols(void **state)
{
    struct setting s = compile(POLICIES("{ name = \"usual\"; ports = [ 80 ]; action = \"allow\"; },"
                                        "{ name = \"ws\"; ports = [ 81 ]; protocols = [ \"websocket\" ]; action = \"allow\"; },"
                                        "{ name = \"dns\"; ports = [ 53 ]; protocols = [ \"tls\" ]; action = \"allow\"; },"
                                        "{ name = \"raw\"; ports = [ 22 ]; protocols = [ \"tunnel\" ]; action = \"allow\"; }"),
                               NULL);
    static const struct {
        uint16_t port;
        unsigned protocols; /* that fit */
        const char *policy;
    } cases[] = {
        { 80, CONF_HTTP | CONF_WEBSOCKET | CONF_TLS, "usual" },
        { 81, CONF_WEBSOCKET, "ws" },
        { 53, CONF_UDP | CONF_TCP, "dns" },
        { 22, CONF_TUNNEL | CONF_ICMP, "raw" },
    };

    (void)state;
    rules_free(s.rules); /* what the kernel forwards belongs to the packet filter, which this text has not */
    s.conf->policies[2].protocols = CONF_UDP | CONF_TCP;
    s.conf->policies[3].protocols = CONF_TUNNEL | CONF_ICMP;
    s.rules = rules_new(s.conf, NULL);
    assert_non_null(s.rules);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (unsigned bit = CONF_HTTP; bit <= CONF_ICMP; bit <<= 1) {
            struct facts f = request("a.example", cases[i].port, "GET", "/");
            bool fits = cases[i].protocols & bit;

            f.protocol = bit;
            f.listener = bit >= CONF_TCP ? -1 : f.listener; /* what a listener took is never tcp, udp or icmp */
            EXPECT(&s, &f, true, fits ? GRANTED : DENIED, fits ? cases[i].policy : "", fits ? R_NONE : R_NO_POLICY);
        }
    struct facts f = request("a.example", 80, "GET", "/");

    f.protocol = 0;
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f.protocol = 1u << 20;
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    discard(&s);
}

static void test_methods_and_paths(void **state)
{
    static const struct {
        const char *method, *path;
        bool fits;
    } cases[] = {
        { "GET", "/a/", true },   { "HEAD", "/a/b", true },   { "GET", "/ws", true },   { "get", "/ws", false },
        { "GETX", "/ws", false }, { "GE", "/ws", false },     { "POST", "/ws", false }, { "GET", "/ws/", false },
        { "GET", "/b", false },   { "GET", "/x/deny", true },
    };
    struct setting s =
        compile(POLICIES("{ name = \"p\"; methods = [ \"GET\", \"HEAD\" ]; paths = [ \"/a/*\", \"/ws\", \"*/deny\" ];"
                         " action = \"allow\"; }"),
                NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct facts f = request("a.example", 80, cases[i].method, cases[i].path);

        EXPECT(&s, &f, true, cases[i].fits ? GRANTED : DENIED, cases[i].fits ? "p" : "", cases[i].fits ? R_NONE : R_NO_POLICY);
    }
    discard(&s);
}

/* Servers that take "//" for "/" must not be a way around a denial, nor into an allowance. */
static void test_empty_segments(void **state)
{
    static const struct {
        const char *path, *policy;
        bool granted;
    } cases[] = {
        { "/private/x", "no", false },     { "//private/x", "no", false }, { "/private//x", "no", false },
        { "///private///x", "no", false }, { "/open/x", "yes", true },     { "/open//x", "yes", true },
        { "//open/x", "", false },         { "/open//", "yes", true },     { "/only", "one", true },
        { "//only", "", false },           { "/raw//x", "raw", false },
    };
    struct setting s = compile(POLICIES("{ name = \"no\"; paths = \"/private/*\"; action = \"deny\"; },"
                                        "{ name = \"raw\"; paths = \"/raw//*\"; action = \"deny\"; },"
                                        "{ name = \"yes\"; paths = \"/open/*\"; action = \"allow\"; },"
                                        "{ name = \"one\"; paths = \"/only\"; action = \"allow\"; }"),
                               NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct facts f = request("a.example", 80, "GET", cases[i].path);

        EXPECT(&s, &f, true, cases[i].granted ? GRANTED : DENIED, cases[i].policy,
               cases[i].granted     ? R_NONE
               : cases[i].policy[0] ? R_POLICY_DENIED
                                    : R_NO_POLICY);
    }
    discard(&s);
}

static void test_headers(void **state)
{
    struct setting s =
        compile(POLICIES("{ name = \"p\"; headers = [ \"X-Team: build*\", \"Authorization\" ]; action = \"allow\"; }"), NULL);
    struct facts f = request("a.example", 80, "GET", "/");

    (void)state;
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    add_field("x-team", "other", H1_OTHER);
    add_field("AUTHORIZATION", "", H1_AUTHORIZATION);
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    add_field("X-TEAM", "build-7", H1_OTHER); /* any field of that name will do */
    EXPECT(&s, &f, true, GRANTED, "p", R_NONE);
    the_head.fields[1].name = SPAN("Authorizatio"); /* one of two is missing */
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f.head = NULL;
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    discard(&s);
}

static void test_zones(void **state)
{
    struct setting s = compile(POLICIES("{ name = \"all\"; protocols = [ \"http\", \"tunnel\" ]; action = \"allow\"; }"), NULL);
    struct facts f = flow(PROXY, ZONE_NONE, "192.0.2.1");

    (void)state;
    EXPECT(&s, &f, false, DENIED, "", R_ZONE_UNKNOWN);
    f = flow(SECOND, INSIDE, CLIENT);
    EXPECT(&s, &f, false, REMEMBERED, "all", R_NONE);
    f.zone_in = LAB; /* the listener is for `inside` */
    EXPECT(&s, &f, false, DENIED, "", R_ZONE_UNKNOWN);
    f.listener = PROXY;
    EXPECT(&s, &f, false, REMEMBERED, "all", R_NONE);
    f.listener = 3;
    EXPECT(&s, &f, false, DENIED, "", R_ZONE_UNKNOWN);
    f.listener = PROXY;
    f.zone_in = zones_self(s.conf); /* behind the last one */
    EXPECT(&s, &f, false, REMEMBERED, "all", R_NONE);
    f.zone_in++;
    EXPECT(&s, &f, false, DENIED, "", R_ZONE_UNKNOWN);
    f = request("a.example", 80, "GET", "/");
    f.zone_out = ZONE_NONE;
    EXPECT(&s, &f, false, DENIED, "", R_ZONE_UNKNOWN);
    f.server = address("169.254.169.254", 0);
    EXPECT(&s, &f, false, DENIED, "", R_ADDRESS_PRIVATE);
    f.server = address("2002:7f00:1::", 0);
    EXPECT(&s, &f, false, DENIED, "", R_ADDRESS_PRIVATE);
    f.operators_word = true;
    EXPECT(&s, &f, false, GRANTED, "all", R_NONE);
    discard(&s);
}

static void test_operators_word(void **state)
{
    struct setting s =
        compile(POLICIES("{ name = \"chat\"; listeners = [ \"chat\" ]; to = \"outside\"; networks = [ \"127.0.0.1\" ];"
                         " ports = [ 9000 ]; hosts = [ \"chat.example\" ]; action = \"allow\"; }"),
                NULL);
    struct facts f = request("chat.example", 9000, "GET", "/");

    (void)state;
    f.listener = CHAT;
    f.server = address("127.0.0.1", 0);
    f.zone_out = ZONE_NONE;
    EXPECT(&s, &f, true, DENIED, "", R_ADDRESS_PRIVATE);
    f.operators_word = true;
    EXPECT(&s, &f, true, GRANTED, "chat", R_NONE);
    f.server = address("127.0.0.2", 0); /* `networks` is still asked */
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    f.known &= ~(unsigned)KNOWN_ADDRESS; /* and unknown before the address is */
    EXPECT(&s, &f, false, REMEMBERED, "chat", R_NONE);
    f.zone_in = ZONE_NONE;
    EXPECT(&s, &f, true, DENIED, "", R_ZONE_UNKNOWN);
    discard(&s);
}

/* One flow through all stages: what is unknown is remembered if it allows, skipped if it denies, and false at the last. */
static void test_stages(void **state)
{
    struct setting s =
        compile(POLICIES("{ name = \"no-uploads\"; hosts = [ \"a.example\" ]; methods = [ \"POST\" ]; action = \"deny\"; },"
                         "{ name = \"docs\"; to = \"outside\"; hosts = [ \"a.example\" ]; paths = [ \"/docs/*\" ];"
                         "  action = \"allow\"; },"
                         "{ name = \"tls\"; hosts = [ \"a.example\" ]; ports = [ 443 ]; protocols = [ \"tls\" ];"
                         "  action = \"allow\"; }"),
                NULL);
    struct facts f = flow(PROXY, INSIDE, CLIENT), g;

    (void)state;
    EXPECT(&s, &f, false, REMEMBERED, "docs", R_NONE);
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    g = f;
    add_target(&g, "b.example", 443);
    EXPECT(&s, &g, false, DENIED, "", R_NO_POLICY); /* not resolved: no policy could allow it */
    add_target(&f, "a.example", 443);
    EXPECT(&s, &f, false, REMEMBERED, "docs", R_NONE);
    add_address(&f, SERVER, LAB);
    EXPECT(&s, &f, false, REMEMBERED, "tls", R_NONE);
    add_address(&f, SERVER, OUTSIDE);
    EXPECT(&s, &f, false, REMEMBERED, "docs", R_NONE);
    g = f;
    add_protocol(&g, CONF_TLS);
    EXPECT(&s, &g, false, REMEMBERED, "docs", R_NONE);
    EXPECT(&s, &g, true, GRANTED, "tls", R_NONE); /* the path inside TLS is never seen */
    add_protocol(&f, CONF_HTTP);
    EXPECT(&s, &f, false, REMEMBERED, "docs", R_NONE);
    add_request(&f, "GET", "/docs/x");
    EXPECT(&s, &f, true, GRANTED, "docs", R_NONE);
    f.method = SPAN("POST");
    EXPECT(&s, &f, true, DENIED, "no-uploads", R_POLICY_DENIED);
    f.method = SPAN("GET");
    f.path = SPAN("/other");
    EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    discard(&s);
}

/* A denied host is denied before it is resolved, unless it could turn out to be something that the denying policy is not about. */
static void test_deny_before_protocol(void **state)
{
    struct setting s =
        compile(POLICIES("{ name = \"bad\"; hosts = [ \"bad.example\" ]; action = \"drop\"; },"
                         "{ name = \"no-tls\"; hosts = [ \"plain.example\" ]; protocols = [ \"tls\" ]; action = \"deny\"; },"
                         "{ name = \"web\"; ports = [ 80 ]; action = \"allow\"; },"
                         "{ name = \"raw\"; ports = [ 22 ]; protocols = [ \"tunnel\" ]; action = \"allow\"; }"),
                NULL);
    struct facts f = flow(PROXY, INSIDE, CLIENT);

    (void)state;
    EXPECT(&s, &f, false, REMEMBERED, "web", R_NONE);
    add_target(&f, "bad.example", 80);
    EXPECT(&s, &f, false, DROPPED, "bad", R_POLICY_DENIED);
    f.port = 22;
    EXPECT(&s, &f, false, REMEMBERED, "raw", R_NONE);
    add_target(&f, "plain.example", 80);
    EXPECT(&s, &f, false, REMEMBERED, "web", R_NONE);
    add_protocol(&f, CONF_TLS);
    EXPECT(&s, &f, false, DENIED, "no-tls", R_POLICY_DENIED);
    discard(&s);
}

static void test_near(void **state)
{
    struct setting s = compile(
        POLICIES("{ name = \"zero\"; hosts = [ \"a.example\" ]; ports = [ 1 ]; methods = [ \"PUT\" ]; action = \"allow\"; },"
                 "{ name = \"one\"; hosts = [ \"a.example\" ]; ports = [ 80 ]; methods = [ \"PUT\" ]; action = \"allow\"; },"
                 "{ name = \"two\"; hosts = [ \"b.example\" ]; paths = [ \"/x\" ]; to = \"lab\"; action = \"allow\"; },"
                 "{ name = \"three\"; paths = [ \"/x\" ]; action = \"allow\"; },"
                 "{ name = \"denies\"; ports = [ 1 ]; action = \"deny\"; },"
                 "{ name = \"hit\"; ports = [ 80 ]; action = \"allow\"; }"),
        NULL);
    struct facts f = request("a.example", 80, "GET", "/");
    struct rules_near near[4];

    (void)state;
    assert_int_equal(rules_near(s.rules, &f, true, near, 4), 4);
    assert_int_equal(near[0].policy, 1);
    assert_int_equal(near[0].condition, COND_METHODS);
    assert_int_equal(near[0].false_count, 1);
    assert_int_equal(near[0].false_set, 1u << COND_METHODS);
    assert_int_equal(near[1].policy, 3);
    assert_int_equal(near[1].condition, COND_PATHS);
    assert_int_equal(near[2].policy, 0);
    assert_int_equal(near[2].condition, COND_PORTS);
    assert_int_equal(near[2].false_count, 2);
    assert_int_equal(near[3].policy, 2);
    assert_int_equal(near[3].false_set, 1u << COND_HOSTS | 1u << COND_TO | 1u << COND_PATHS);
    assert_int_equal(rules_near(s.rules, &f, true, near, 1), 1);
    assert_int_equal(near[0].policy, 1);
    assert_int_equal(rules_near(s.rules, &f, true, near, 0), 0);
    f.known = KNOWN_FLOW | KNOWN_TARGET; /* what is unknown is no miss yet */
    assert_int_equal(rules_near(s.rules, &f, false, near, 4), 2);
    assert_int_equal(near[0].policy, 0);
    assert_int_equal(near[0].condition, COND_PORTS);
    assert_int_equal(near[1].policy, 2);
    assert_int_equal(near[1].condition, COND_HOSTS);
    discard(&s);
}

static void test_websocket(void **state)
{
    static char chat[] = "chat.v1", v2[] = "v2", origin[] = "https://chat.example";
    char *protocols[] = { chat, v2 }, *origins[] = { origin };
    struct conf_policy policy = { .websocket = { .origin_required = true } };
    static const struct {
        const char *offered, *left; /* NULL: denied */
    } cases[] = {
        { "", "" },    { "chat.v1", "chat.v1" }, { "v2, x, chat.v1", "v2,chat.v1" }, { "x,v2", "v2" }, { "Chat.V1", NULL },
        { "x", NULL }, { "x, chat.v", NULL },
    };
    struct ws_offer offer;

    (void)state;
    the_head.field_count = 0;
    strcpy(offer.protocols, "a, b");
    assert_int_equal(rules_websocket(&policy, &the_head, &offer), R_NONE);
    assert_string_equal(offer.protocols, "a, b");
    policy.websocket.subprotocols = (struct conf_strings){ 2, protocols };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        strcpy(offer.protocols, cases[i].offered);
        assert_int_equal(rules_websocket(&policy, &the_head, &offer), cases[i].left ? R_NONE : R_SUBPROTOCOL_DENIED);
        if (cases[i].left != NULL)
            assert_string_equal(offer.protocols, cases[i].left);
    }
    policy.websocket.subprotocols.count = 0;
    policy.websocket.origins = (struct conf_strings){ 1, origins };
    assert_int_equal(rules_websocket(&policy, &the_head, &offer), R_ORIGIN_DENIED);
    policy.websocket.origin_required = false;
    assert_int_equal(rules_websocket(&policy, &the_head, &offer), R_NONE);
    add_field("Origin", "https://Chat.example", H1_ORIGIN);
    assert_int_equal(rules_websocket(&policy, &the_head, &offer), R_NONE);
    the_head.fields[0].value = SPAN("https://chat.example.evil.example");
    assert_int_equal(rules_websocket(&policy, &the_head, &offer), R_ORIGIN_DENIED);
    the_head.fields[0].value = SPAN("null");
    assert_int_equal(rules_websocket(&policy, &the_head, &offer), R_ORIGIN_DENIED);
    the_head.fields[0].value = SPAN("https://chat.example");
    add_field("Origin", "https://chat.example", H1_ORIGIN); /* twice */
    assert_int_equal(rules_websocket(&policy, &the_head, &offer), R_ORIGIN_DENIED);
}

static void test_websocket_deflate(void **state)
{
    static const struct {
        enum conf_deflate deflate;
        enum conf_violation on_violation;
        bool named, on; /* offered */
        enum reason want;
        bool passes, alone;
    } cases[] = {
        { DEFLATE_STRIP, VIOLATION_CLOSE, true, true, R_NONE, false, false },
        { DEFLATE_STRIP, VIOLATION_DROP_MESSAGE, true, true, R_NONE, false, false },
        { DEFLATE_PASS, VIOLATION_DROP_MESSAGE, true, true, R_NONE, true, true },
        { DEFLATE_DENY, VIOLATION_CLOSE, true, true, R_EXTENSION_DENIED, true, false },
        { DEFLATE_DENY, VIOLATION_CLOSE, true, false, R_EXTENSION_DENIED, false, false }, /* with parameters that nobody knows */
        { DEFLATE_DENY, VIOLATION_CLOSE, false, false, R_NONE, false, false },
        { DEFLATE_PASS, VIOLATION_CLOSE, true, true, R_NONE, true, false },
        { DEFLATE_PASS, VIOLATION_CLOSE, true, false, R_NONE, false, false },
        { DEFLATE_INSPECT, VIOLATION_CLOSE, true, true, R_NONE, true, false },
        { DEFLATE_INSPECT, VIOLATION_LOG, true, true, R_NONE, true, false },
        { DEFLATE_INSPECT, VIOLATION_DROP_MESSAGE, true, true, R_NONE, true, true },
    };

    (void)state;
    the_head.field_count = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf_policy policy = { .websocket = { .deflate = cases[i].deflate, .on_violation = cases[i].on_violation } };
        struct ws_offer offer = { .deflate = { .named = cases[i].named, .on = cases[i].on } };

        assert_int_equal(rules_websocket(&policy, &the_head, &offer), cases[i].want);
        assert_int_equal(offer.deflate.on, cases[i].passes);
        assert_int_equal(offer.deflate.alone, cases[i].alone);
    }
}

/* Each of many policies decides what is its own, beyond one word of a set. */
static void test_many_policies(void **state)
{
    enum { COUNT = 200 };
    static char text[COUNT * 160];
    size_t len = (size_t)sprintf(text, "%s", ZONES LISTENERS "policies = (");
    struct setting s;

    (void)state;
    for (unsigned i = 0; i < COUNT; i++)
        len += (size_t)sprintf(text + len,
                               "%s{ name = \"p%u\"; hosts = [ \"*.h%u.example\" ]; ports = [ %u ]; networks = [ \"93.184.0.0/16\","
                               "\"20.%u.0.0/16\" ]; action = \"allow\"; }",
                               i ? "," : "", i, i, 1000 + i, i);
    strcpy(text + len, ");");
    s = compile(text, NULL);
    for (unsigned i = 0; i < COUNT; i++) {
        char host[32], policy[8];
        struct facts f;

        sprintf(host, "www.h%u.example", i);
        sprintf(policy, "p%u", i);
        f = request(host, (uint16_t)(1000 + i), "GET", "/");
        EXPECT(&s, &f, true, GRANTED, policy, R_NONE);
        f.server.ip[0] = 20;
        EXPECT(&s, &f, true, i == 184 ? GRANTED : DENIED, i == 184 ? policy : "", i == 184 ? R_NONE : R_NO_POLICY);
        f.server.ip[1] = (uint8_t)i;
        EXPECT(&s, &f, true, GRANTED, policy, R_NONE);
        f.port++;
        EXPECT(&s, &f, true, DENIED, "", R_NO_POLICY);
    }
    discard(&s);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(stage_name(STAGE_FLOW), "flow");
    assert_string_equal(stage_name(STAGE_UPGRADE), "upgrade");
    assert_string_equal(stage_name(STAGE_COUNT), "?");
    assert_string_equal(condition_name(COND_HOSTS_FILE), "hosts_file");
    assert_string_equal(condition_name(COND_HEADERS), "headers");
    assert_string_equal(condition_name(COND_COUNT), "?");
    rules_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_policies),
        cmocka_unit_test(test_first_match_decides),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_nested_hosts),
        cmocka_unit_test(test_hosts_file),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_clients_and_networks),
        cmocka_unit_test(test_from_to_listeners),
        cmocka_unit_test(test_self),
        cmocka_unit_test(test_protocols),
        cmocka_unit_test(test_methods_and_paths),
        cmocka_unit_test(test_empty_segments),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_zones),
        cmocka_unit_test(test_operators_word),
        cmocka_unit_test(test_stages),
        cmocka_unit_test(test_deny_before_protocol),
        cmocka_unit_test(test_near),
        cmocka_unit_test(test_websocket),
        cmocka_unit_test(test_websocket_deflate),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_many_policies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
