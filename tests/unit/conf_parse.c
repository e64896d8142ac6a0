/* SPDX-License-Identifier: ISC */
/* What conf_parse() says of single keys and values, and what they become in the snapshot. */
#include "conf_said.h"

#include "conf/conf_scan.h"
#include "conf/conf_file.h"

static void syntax(void **state)
{
#define DENY "policies = ({ name = \"p\"; from = \"in\"; action = \"deny\"; });\n"
    static const struct said cases[] = {
        { PRELUDE "policies = ({ name = \"p\"; from = \"in\"; action = \"deny\"; }); # no newline", "" },
        { "workers = 1\n\n= 2;", "f:3: syntax error\n" },
        { "workers = 1;\nworkers = 2;", "f:2: duplicate setting name\n" },
        { POLICY("ports = [ 80,\n\"81\" ];"), "f:2: mismatched element type in array\n" },
        { "@include \"/etc/passwd\"\n", "f:1: @include is refused: a configuration is one file\n" },
        { "\n \t@include \"/etc/passwd\"\n", "f:2: @include is refused: a configuration is one file\n" },
        { "user = \"@include\"; # @include\n// @include\n/* @include\n@include \"x\" */ listeners = (\n@",
          "f:5: @include is refused: a configuration is one file\n" },
        { PRELUDE DENY "workers = 2147483648;", "f:2: workers: a number above 2147483647 needs an L behind it: 2147483648L\n"
                                                "f:2: workers: expected a whole number from 0 to 64\n" },
        { PRELUDE DENY "workers = 4294967297;\nlimits = { uri_bytes = 0x100000400;\npipelin = 99999999999; };",
          "f:2: workers: a number above 2147483647 needs an L behind it: 4294967297L\n"
          "f:3: uri_bytes: a number above 2147483647 needs an L behind it: 4294968320L\n"
          "f:4: pipelin: a number above 2147483647 needs an L behind it: 99999999999L\n"
          "f:4: limits.pipelin: unknown key; did you mean \"pipeline\"?\n" },
        { PRELUDE DENY "workers = 9223372036854775808L;", "f:2: workers: the number is too large: more than 9223372036854775807\n"
                                                          "f:2: workers: expected a whole number from 0 to 64\n" },
        { PRELUDE DENY "workers = 0x10000000000000000LL;", "f:2: workers: the number is too large: more than 9223372036854775807\n"
                                                           "f:2: workers: expected a whole number from 0 to 64\n" },
        { PRELUDE DENY "workers = -2147483649;", "f:2: workers: a number above 2147483647 needs an L behind it: 2147483649L\n"
                                                 "f:2: workers: expected a whole number from 0 to 64\n" },
        { "zones = ( );\nlisteners = (\n", "f:2: syntax error\n" },
        { "workers = 1; /* /*/\n/* 1", "f:2: the comment that begins here has no end\n" },
        { "/*/ 4294967297\n", "f:1: the comment that begins here has no end\n" },
        { "\nuser = \"a\n\\\" 4294967297", "f:2: the string that begins here has no end\n" },
        { "user = \"a\\x00b\";", "f:1: a string may not hold \\x00\n" },
        { "user = \"a\\\\\\X00b\";", "f:1: a string may not hold \\x00\n" },
        { PRELUDE "policies = ();\na = ((((((((1))))))));",
          "f:2: a: unknown key\nW f:1: policies: there are none: everything is denied\n" },
        { "a = (((((((((1)))))))));", "f:1: brackets are nested too deeply\n" },
    };
    char *all = all_said(SPAN("user = \"a\0b\";"));

    (void)state;
    assert_string_equal(all, "f:1: the configuration holds a NUL byte\n");
    free(all);
    CHECK(cases);
}

/* At the limits of the scan and one past them. */
static void scan_limits(void **state)
{
    struct conf_report report = { .file = "f" };
    struct conf_messages messages;
    char *text = malloc(CONF_TEXT_MAX + 1);

    (void)state;
    assert_non_null(text);
    memset(text, ' ', CONF_TEXT_MAX + 1);
    assert_true(conf_scan_check(span_of(text, CONF_TEXT_MAX), &report));
    assert_false(conf_scan_check(span_of(text, CONF_TEXT_MAX + 1), &report));
    for (size_t i = 0; i < CONF_GROUP_KEYS + 1; i++)
        memcpy(text + 4 * i, "a=1 ", 4);
    report.errors = 0;
    assert_true(conf_scan_check(span_of(text, (size_t)CONF_GROUP_KEYS * 4), &report));
    assert_false(conf_scan_check(span_of(text, (size_t)CONF_GROUP_KEYS * 4 + 4), &report));
    free(text);
    conf_report_finish(&report, &messages);
    assert_int_equal(messages.error_count, 2);
    assert_string_equal(messages.errors[1], "f:1: too many keys in one group");
    conf_messages_fini(&messages);
}

static void keys_and_types(void **state)
{
    static const struct said cases[] = {
        { POLICY("from = \"in\";") "\nworkrs = 1;", "f:2: workrs: unknown key; did you mean \"workers\"?\n" },
        { POLICY("\nhots = \"a\"; from = \"in\";"), "f:2: policies.p.hots: unknown key; did you mean \"hosts\"?\n" },
        { POLICIES("{ action = \"deny\"; hots = \"a\"; }"),
          "f:1: policies[0].name: is required\nf:1: policies[0].hots: unknown key; did you mean \"hosts\"?\n" },
        { POLICY("from = \"in\";") "\nzzz = 1;", "f:2: zzz: unknown key\n" },
        { POLICY("from = \"in\";") "log = 1;", "f:1: log: expected a group: { key = value; }\n" },
        { POLICY("from = \"in\";") "log = { level = 1; };", "f:1: log.level: expected a string\n" },
        { POLICY("from = \"in\";") "log = { level = \"inf\"; };",
          "f:1: log.level: \"inf\" is none of \"error\", \"warn\", \"info\", \"debug\"; did you mean \"info\"?\n" },
        { POLICY("from = \"in\";") "log = { access = \"access.log\"; };", "f:1: log.access: expected an absolute path\n" },
        { POLICY("from = \"in\";") "log = { access = \"-\"; };", "" },
        { POLICY("from = \"in\";") "workers = \"1\";", "f:1: workers: expected a whole number from 0 to 64\n" },
        { POLICY("from = \"in\";") "user = \"\";", "f:1: user: expected a string that is not empty\n" },
        { POLICY("from = \"in\";") "user = \"a\\nb\";", "f:1: user: a string may not hold control characters\n" },
        { POLICY("from = \"in\";") "user = \"1234567890123456789012345678901\";", "" },
        { POLICY("from = \"in\";") "user = \"12345678901234567890123456789012\";", "f:1: user: longer than 31 bytes\n" },
        { POLICY("from = \"in\";") "admin = { };", "f:1: admin.address: is required\n" },
        { POLICY("from = \"in\";") "admin = { address = \"127.0.0.1\"; };",
          "f:1: admin.address: expected an address and a port, \"127.0.0.1:3128\" or \"[::1]:3128\"\n" },
        { POLICY("from = \"in\";") "admin = { address = \"0.0.0.0:9128\"; };",
          "W f:1: admin.address: whoever reaches this address reads the metrics\n" },
        { POLICY("from = \"in\";") "resolver = { servers = [ \"::1\", \"1.2.3.4:5353\" ]; hosts = \"/h\"; };", "" },
        { POLICY("from = \"in\";") "resolver = { servers = \"localhost\"; };",
          "f:1: resolver.servers: \"localhost\" is no address; expected \"192.0.2.1\" or \"[2001:db8::1]:53\"\n" },
        { POLICY("from = \"in\";") "resolver = { servers = [ \"::1\", \"::2\", \"::3\", \"::4\", \"::5\", \"::6\", \"::7\", "
                                   "\"::8\" ]; };",
          "" },
        { POLICY(
              "from = \"in\";") "resolver = { servers = [ \"::1\", \"::2\", \"::3\", \"::4\", \"::5\", \"::6\", \"::7\", \"::8\","
                                "\"::9\" ]; };",
          "f:1: resolver.servers: the list has more than 8 items\n" },
        { POLICY("from = \"in\";") "limits = { uri_bytes = 32768; };", "" },
        { POLICY("from = \"in\";") "limits = {\nuri_bytes = 32769; };",
          "f:2: limits.uri_bytes: 32769 is more than limits.header_bytes, 32768\n" },
        { POLICY("from = \"in\";") "limits = {\nheader_bytes = 8191; };",
          "f:1: limits.uri_bytes: 8192 is more than limits.header_bytes, 8191\n" },
        { "zones = 1; listeners = \"x\"; policies = { };",
          "f:1: zones: expected a list of at most 1000 groups: ( { ... }, { ... } )\n"
          "f:1: listeners: expected a list of at most 256 groups: ( { ... }, { ... } )\n"
          "f:1: policies: expected a list of at most 10000 groups: ( { ... }, { ... } )\n"
          "W f:1: zones: there are none: every client is denied\n"
          "W f:1: listeners: there are none: no client can connect\n"
          "W f:1: policies: there are none: everything is denied\n" },
        { "", "W f:1: zones: there are none: every client is denied\n"
              "W f:1: listeners: there are none: no client can connect\n"
              "W f:1: policies: there are none: everything is denied\n" },
        { POLICIES("1"), "f:1: policies[0]: expected a group: { name = ...; }\n" },
    };

    (void)state;
    CHECK(cases);
}

static void names(void **state)
{
    static const char bad[] = " is no name: a letter, then at most 30 of a-z, 0-9 and \"-\"\n";
    static const struct {
        const char *name;
        bool good;
    } cases[] = {
        { "a", true },
        { "a-1", true },
        { "a23456789012345678901234567890z", true },
        { "a234567890123456789012345678901z", false },
        { "A", false },
        { "1a", false },
        { "-a", false },
        { "a_b", false },
        { "a.b", false },
        { "\xc3\xa4", false },
    };
    static const struct said twice[] = {
        { POLICIES("{ name = \"a\"; ports = 1; action = \"deny\"; },\n{ name = \"b\"; ports = 2; action = \"deny\"; },\n"
                   "{ name = \"a\"; ports = 3; action = \"deny\"; },\n{ name = \"a\"; ports = 4; action = \"deny\"; }"),
          "f:3: policies: the name \"a\" is already used in line 1\nf:4: policies: the name \"a\" is already used in line 3\n" },
        /* Of different kinds: fine. */
        { "zones = ({ name = \"a\"; }); listeners = ({ name = \"a\"; mode = \"explicit\"; address = \"127.0.0.1:1\"; });"
          "policies = ({ name = \"a\"; from = \"a\"; listeners = \"a\"; action = \"deny\"; });",
          "" },
        { "zones = (\n{ name = \"self\"; }); listeners = ({ name = \"self\"; mode = \"explicit\"; address = \"127.0.0.1:1\"; });"
          "policies = ({ name = \"self\"; ports = 1; action = \"deny\"; });",
          "f:2: zones.self.name: \"self\" is reserved for the gateway itself\n" },
    };
    char text[2048], want[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct said one = { text, want };

        snprintf(text, sizeof(text), POLICIES("{ name = \"%s\"; from = \"in\"; action = \"deny\"; }"), cases[i].name);
        snprintf(want, sizeof(want), "f:1: policies[0].name: \"%s\"%s", cases[i].name, bad);
        if (cases[i].good)
            want[0] = '\0';
        check(&one, 1);
    }
    CHECK(twice);
}

static void references(void **state)
{
    static const struct said cases[] = {
        { POLICY("\nfrom = \"inn\";"), "f:2: policies.p.from: no zone has the name \"inn\"; did you mean \"in\"?\n" },
        { POLICY("to = [ \"in\",\n \"nowhere\" ];"), "f:1: policies.p.to: no zone has the name \"nowhere\"\n" },
        { POLICY("listeners = \"proxi\";"),
          "f:1: policies.p.listeners: no listener has the name \"proxi\"; did you mean \"proxy\"?\n" },
        { POLICY("listeners = \"in\";"), "f:1: policies.p.listeners: no listener has the name \"in\"\n" },
        { POLICY("from = \"self\"; to = [ \"out\", \"self\" ];"), "" },
        { POLICY("to = \"selfs\";"), "f:1: policies.p.to: no zone has the name \"selfs\"; did you mean \"self\"?\n" },
        { POLICY("from = [ ];"), "f:1: policies.p.from: the list is empty; leave the key out if any will do\n" },
        { POLICY("from = [ 1 ];"), "f:1: policies.p.from: expected a string\n" },
        /* What refers to a zone with a bad name is not wrong as well. */
        { "zones = ({ name = \"In\"; }); listeners = (); policies = ({ name = \"p\"; from = \"In\"; action = \"deny\"; });",
          "f:1: zones[0].name: \"In\" is no name: a letter, then at most 30 of a-z, 0-9 and \"-\"\n"
          "W f:1: listeners: there are none: no client can connect\n" },
    };

    (void)state;
    CHECK(cases);
}

static void upstreams(void **state)
{
    static const struct {
        const char *text, *host; /* NULL: refused */
        unsigned port;
    } cases[] = {
        { "Chat.Example.:80", "chat.example", 80 },
        { "127.0.0.1:9000", "127.0.0.1", 9000 },
        { "[::1]:65535", "::1", 65535 },
        { "[::ffff:1.2.3.4]:1", "1.2.3.4", 1 },
        { "b\303\274cher.example:80", "xn--bcher-kva.example", 80 },
        { "a_b:80", "a_b", 80 },
        { "chat.example", NULL, 0 },
        { "chat.example:", NULL, 0 },
        { "chat.example:0", NULL, 0 },
        { "chat.example:65536", NULL, 0 },
        { ":80", NULL, 0 },
        { "127.1:80", NULL, 0 },
        { "0x7f000001:80", NULL, 0 },
        { "127.0.0.1.:80", NULL, 0 },
        { "::1:80", NULL, 0 },
        { "[chat.example]:80", NULL, 0 },
        { "http://chat.example:80", NULL, 0 },
        { "https://chat.example", NULL, 0 },
        { "https://:443", NULL, 0 },
        { "https://https://a:1", NULL, 0 },
        { "HTTPS://chat.example:443", "chat.example", 443 },
        { "https://[::1]:443", "::1", 443 },
        { "chat.example:80/path", NULL, 0 },
        { "*.example:80", NULL, 0 },
    };
    char text[1024];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf_messages messages;
        struct conf *conf;
        struct addr ip;

        snprintf(text, sizeof(text), LISTENER("mode = \"reverse\"; address = \"127.0.0.1:1\"; upstreams = [ \"a:1\", \"%s\" ];"),
                 cases[i].text);
        conf = conf_parse("f", span_str(text), &messages);
        assert_int_equal(conf != NULL, cases[i].host != NULL);
        if (conf != NULL) {
            assert_int_equal(conf->listeners[0].upstream_count, 2);
            assert_string_equal(conf->listeners[0].upstreams[1].host, cases[i].host);
            assert_int_equal(conf->listeners[0].upstreams[1].port, cases[i].port);
            assert_int_equal(addr_parse(&ip, span_str(cases[i].host), cases[i].port),
                             conf->listeners[0].upstreams[1].ip.family != 0);
            assert_true(addr_eq(&conf->listeners[0].upstreams[1].ip, &ip));
            assert_int_equal(conf->listeners[0].upstreams[1].tls, strncasecmp(cases[i].text, "https", 5) == 0);
        }
        conf_free(conf);
        conf_messages_fini(&messages);
    }
}

static void conditions(void **state)
{
    static const struct said cases[] = {
        { POLICY("clients = \"10.77.1.5/24\";"),
          "f:1: policies.p.clients: \"10.77.1.5/24\" has host bits set; did you mean \"10.77.1.0/24\"?\n" },
        { POLICY("clients = \"fd00::1/8\";"),
          "f:1: policies.p.clients: \"fd00::1/8\" has host bits set; did you mean \"fd00::/8\"?\n" },
        { POLICY("networks = [ \"10.0.0.0/33\", \"x\" ];"),
          "f:1: policies.p.networks: \"10.0.0.0/33\" is no network; expected \"10.0.0.0/8\", \"fd00::/8\" or an address\n"
          "f:1: policies.p.networks: \"x\" is no network; expected \"10.0.0.0/8\", \"fd00::/8\" or an address\n" },
        { POLICY("hosts = \"127.1\";"),
          "f:1: policies.p.hosts: \"127.1\" looks like an address but is none in full; expected \"192.0.2.1\"\n" },
        { POLICY("hosts = \"a.*.example\";"),
          "f:1: policies.p.hosts: \"a.*.example\" is no name of a host; expected \"x.example\", \"*.x.example\" or an address\n" },
        { POLICY("hosts = [ \"*\" ];"),
          "f:1: policies.p.hosts: \"*\" is no name of a host; expected \"x.example\", \"*.x.example\" or an address\n" },
        { POLICY("hosts = [ \"*.10.0.0.1\" ];"),
          "f:1: policies.p.hosts: \"*.10.0.0.1\" looks like an address but is none in full; expected \"192.0.2.1\"\n" },
        { POLICY("hosts = [ \"[1.2.3.4]\" ];"),
          "f:1: policies.p.hosts: \"[1.2.3.4]\" is no name of a host; expected \"x.example\", \"*.x.example\" or an address\n" },
        { POLICY("hosts_file = \"hosts.txt\";"), "f:1: policies.p.hosts_file: expected an absolute path\n" },
        { POLICY("ports = 65535;"), "" },
        { POLICY("ports = ( 1, \"2-3\", \"4\", \"5-5\" );"), "" },
        { POLICY("ports = ( 0, 65536, -1, \"3-2\", \"0-1\", \"1-65536\", \"1-\", \"-1\", \"\", \"x\", true, 80.0 );"),
          "f:1: policies.p.ports: item 1 is no port; expected 1 to 65535 or \"8000-8100\"\n"
          "f:1: policies.p.ports: item 2 is no port; expected 1 to 65535 or \"8000-8100\"\n"
          "f:1: policies.p.ports: item 3 is no port; expected 1 to 65535 or \"8000-8100\"\n"
          "f:1: policies.p.ports: item 4 is no port; expected 1 to 65535 or \"8000-8100\"\n"
          "f:1: policies.p.ports: item 5 is no port; expected 1 to 65535 or \"8000-8100\"\n"
          "f:1: policies.p.ports: item 6 is no port; expected 1 to 65535 or \"8000-8100\"\n"
          "f:1: policies.p.ports: item 7 is no port; expected 1 to 65535 or \"8000-8100\"\n"
          "f:1: policies.p.ports: item 8 is no port; expected 1 to 65535 or \"8000-8100\"\n"
          "f:1: policies.p.ports: item 9 is no port; expected 1 to 65535 or \"8000-8100\"\n"
          "f:1: policies.p.ports: item 10 is no port; expected 1 to 65535 or \"8000-8100\"\n"
          "f:1: policies.p.ports: item 11 is no port; expected 1 to 65535 or \"8000-8100\"\n"
          "f:1: policies.p.ports: item 12 is no port; expected 1 to 65535 or \"8000-8100\"\n" },
        { POLICY("methods = [ \"GET\", \"M-SEARCH\" ];"), "" },
        { POLICY("methods = \"get\";"),
          "W f:1: policies.p.methods: methods are case-sensitive: \"get\" is not the method in capitals\n" },
        { POLICY("methods = \"G T\";"), "f:1: policies.p.methods: \"G T\" is no token\n" },
        { POLICY("paths = [ \"/\", \"*.png\" ];"), "" },
        { POLICY("paths = \"ws\";"), "f:1: policies.p.paths: \"ws\" is no path: it begins with neither \"/\" nor \"*\"\n" },
        { POLICY("paths = \"/a?b\";"),
          "W f:1: policies.p.paths: \"/a?b\" can never be seen: a path has no query, no fragment and no dot segments\n" },
        { POLICY("paths = \"/a/..\";"),
          "W f:1: policies.p.paths: \"/a/..\" can never be seen: a path has no query, no fragment and no dot segments\n" },
        { POLICY("headers = [ \"User-Agent: *x*\", \"X-A\" ];"), "" },
        { POLICY("headers = \"User-Agent:\";"),
          "f:1: policies.p.headers: \"User-Agent:\" is no condition on a field; expected \"Name: pattern\" or \"Name\"\n" },
        { POLICY("headers = \"a b: c\";"),
          "f:1: policies.p.headers: \"a b: c\" is no condition on a field; expected \"Name: pattern\" or \"Name\"\n" },
        { POLICY("ports = 1; protocols = \"https\";"),
          "f:1: policies.p.protocols: \"https\" is none of \"http\", \"websocket\", "
          "\"tls\", \"tunnel\", \"tcp\", \"udp\", \"icmp\"; did you mean \"http\"?\n" },
        { POLICY("ports = 1; websocket = { origins = [ \"https://A.example:8443\", \"null\" ]; origin_required = false; };"), "" },
        { POLICY("ports = 1; websocket = { origins = [ \"a.example\", \"https://a.example/\" ]; };"),
          "f:1: policies.p.websocket.origins: \"a.example\" is no origin; expected \"https://chat.example\" or \"null\"\n"
          "f:1: policies.p.websocket.origins: \"https://a.example/\" is no origin; expected \"https://chat.example\" or "
          "\"null\"\n" },
        { POLICY("ports = 1; websocket = { subprotocols = [ \"a b\" ]; origin_required = 1; };"),
          "f:1: policies.p.websocket.origin_required: expected true or false\nf:1: policies.p.websocket.subprotocols: \"a b\" is "
          "no token\n" },
        { POLICIES("{ name = \"p\"; }"), "f:1: policies.p.action: is required\n" },
    };

    (void)state;
    CHECK(cases);
}

static void interfaces(void **state)
{
    static const struct said cases[] = {
        { "listeners = (); policies = (); zones = ({ name = \"a\"; interfaces = \"abcdefghijklmno\"; });",
          "W f:1: listeners: there are none: no client can connect\nW f:1: policies: there are none: everything is denied\n" },
        { "zones = ({ name = \"a\"; interfaces = [ \"abcdefghijklmnop\", \"a/b\", \"lan*\" ]; });",
          "f:1: zones.a.interfaces: \"abcdefghijklmnop\" is no name of an interface\n"
          "f:1: zones.a.interfaces: \"a/b\" is no name of an interface\n"
          "f:1: zones.a.interfaces: \"lan*\" is no name of an interface\n"
          "W f:1: listeners: there are none: no client can connect\nW f:1: policies: there are none: everything is denied\n" },
    };

    (void)state;
    CHECK(cases);
}

/* What the texts come to in the snapshot. */
static void values(void **state)
{
    struct conf_messages messages;
    struct conf *conf =
        conf_parse("f",
                   SPAN(PRELUDE "policies = (\n{ name = \"p\"; from = \"in\"; hosts = [ \"A.Example.\", \"*.B\", \"[::1]\","
                                "\"::FFFF:1.2.3.4\", \"b\303\274cher.example\" ]; ports = ( 80, \"8000-8100\" ); methods = \"GET\";"
                                "headers = [ \"Accept:  *a \", \"X\" ]; action = \"drop\"; upstream_reuse = \"never\"; },"
                                "\n\n{ name = \"q\"; protocols = \"tunnel\"; action = \"allow\"; from = \"in\"; });"
                                "limits = { body_bytes = 4611686018427387904L; }; timeouts = { drain = 0.0015; };"),
                   &messages);
    const struct conf_policy *p;

    (void)state;
    assert_non_null(conf);
    assert_string_equal(conf->file, "f");
    assert_true(conf->limits.body_bytes == 1ull << 62);
    assert_int_equal(conf->timeouts.drain, 2);
    assert_int_equal(conf->listeners[0].forwarded, FORWARDED_NONE);
    assert_int_equal(conf->listeners[1].forwarded, FORWARDED_NONE);
    p = &conf->policies[0];
    assert_int_equal(p->line, 2);
    assert_string_equal(p->hosts.items[0], "a.example");
    assert_string_equal(p->hosts.items[1], "*.b");
    assert_string_equal(p->hosts.items[2], "::1");
    assert_string_equal(p->hosts.items[3], "1.2.3.4");
    assert_string_equal(p->hosts.items[4], "xn--bcher-kva.example");
    assert_int_equal(p->ports.items[0].last, 80);
    assert_int_equal(p->ports.items[1].first, 8000);
    assert_int_equal(p->ports.items[1].last, 8100);
    assert_string_equal(p->headers[0].name, "Accept");
    assert_string_equal(p->headers[0].pattern, "*a");
    assert_null(p->headers[1].pattern);
    assert_int_equal(p->action, ACTION_DROP);
    assert_int_equal(p->upstream_reuse, REUSE_NEVER);
    assert_int_equal(p->protocols, CONF_HTTP | CONF_WEBSOCKET | CONF_TLS);
    assert_false(p->protocols_given);
    assert_int_equal(p->websocket.line, 0);
    assert_true(p->websocket.origin_required);
    assert_int_equal(conf->policies[1].line, 4);
    assert_int_equal(conf->policies[1].protocols, CONF_TUNNEL);
    assert_true(conf->policies[1].protocols_given);
    assert_int_equal(conf->policies[1].upstream_reuse, REUSE_SESSION);
    conf_free(conf);
    conf_messages_fini(&messages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(syntax),     cmocka_unit_test(scan_limits), cmocka_unit_test(keys_and_types),
        cmocka_unit_test(names),      cmocka_unit_test(references),  cmocka_unit_test(upstreams),
        cmocka_unit_test(conditions), cmocka_unit_test(interfaces),  cmocka_unit_test(values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
