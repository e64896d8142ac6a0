/* SPDX-License-Identifier: ISC */
/* What conf_parse() says of keys that do not go together: listeners, the open proxy guard, policies that hide one another. */
#include "conf_said.h"

#define REVERSE(text) LISTENER("mode = \"reverse\"; address = \"127.0.0.1:1\"; upstreams = \"127.0.0.1:2\"; " text)
#define BAD_PATH                                                                                                                   \
    "f:1: listeners.l.health.path: is no path: it begins with \"/\" and has no space, no \"#\", and nothing that is not ASCII\n"

static void listeners(void **state)
{
    static const char no_address[] =
        "f:1: listeners.l.address: expected an address and a port, \"127.0.0.1:3128\" or \"[::1]:3128\"\n";
    static const struct said cases[] = {
        { EXPLICIT(""), "" },
        { EXPLICIT("from = [ \"in\", \"out\" ]; via = \"a-b\"; forwarded = \"append\";"), "" },
        { EXPLICIT("via = \"off\";"), "" },
        { EXPLICIT("via = \"a b\";"), "f:1: listeners.l.via: expected \"off\" or a token of at most 63 bytes\n" },
        { EXPLICIT("via = \"123456789012345678901234567890123456789012345678901234567890123\";"), "" },
        { EXPLICIT("via = \"1234567890123456789012345678901234567890123456789012345678901234\";"),
          "f:1: listeners.l.via: expected \"off\" or a token of at most 63 bytes\n" },
        { EXPLICIT("\nupstreams = \"a:1\";"),
          "f:2: listeners.l.upstreams: only a reverse listener has upstreams; clients of an explicit one name the server\n" },
        { EXPLICIT("\nhealth = { };"), "f:2: listeners.l.health: only a reverse listener has upstreams to check\n" },
        { REVERSE("health = { };"), "" },
        { REVERSE("health = { path = \"/a?b=c\"; status = 204; };"), "" },
        { REVERSE("health = { path = \"a\"; };"), BAD_PATH },
        { REVERSE("health = { path = \"/a b\"; };"), BAD_PATH },
        { REVERSE("health = { path = \"/a#b\"; };"), BAD_PATH },
        { REVERSE("health = { path = \"/\303\251\"; };"), BAD_PATH },
        { REVERSE("health = { status = 200; };"), "f:1: listeners.l.health.status: needs \"path\": nothing is asked\n" },
        { EXPLICIT("tls = { };"), "f:1: listeners.l.tls: needs certificate and key, or certificates\n" },
        { LISTENER(""), "f:1: listeners.l.mode: is required\nf:1: listeners.l.address: is required\n" },
        { LISTENER("mode = \"explicit\"; address = \"127.0.0.1\";"), no_address },
        { LISTENER("mode = \"explicit\"; address = \"127.0.0.1:0\";"), no_address },
        { LISTENER("mode = \"explicit\"; address = \"127.0.0.1:65536\";"), no_address },
        { LISTENER("mode = \"explicit\"; address = \"::1:80\";"), no_address },
        { LISTENER("mode = \"explicit\"; address = \"localhost:80\";"), no_address },
        { LISTENER("mode = \"explicit\"; address = \"[::1]:65535\";"), "" },
        { LISTENER("mode = \"explicit\"; address = \"127.255.255.255:1\";"), "" },
        /* The open proxy guard. */
        { LISTENER("mode = \"explicit\"; address = \"0.0.0.0:1\";"),
          "f:1: listeners.l.from: is required: without it 0.0.0.0:1 would be a proxy that is open to everybody\n" },
        { LISTENER("mode = \"explicit\"; address = \"[::]:1\";"),
          "f:1: listeners.l.from: is required: without it [::]:1 would be a proxy that is open to everybody\n" },
        { LISTENER("mode = \"explicit\"; address = \"10.0.0.1:1\";"),
          "f:1: listeners.l.from: is required: without it 10.0.0.1:1 would be a proxy that is open to everybody\n" },
        { LISTENER("mode = \"explicit\"; address = \"10.0.0.1:1\"; from = \"in\";"), "" },
        { LISTENER("mode = \"explicit\"; address = \"[::ffff:127.0.0.1]:1\";"), "" },
        { LISTENER("mode = \"reverse\"; address = \"0.0.0.0:1\"; upstreams = \"a:1\";"), "" },
        { LISTENER("mode = \"reverse\"; address = \"0.0.0.0:1\";"),
          "f:1: listeners.l.upstreams: is required: a reverse listener stands for its upstreams\n" },
    };

    (void)state;
    CHECK(cases);
}

/* Two listeners and the admin address; which pairs clash? */
static void clashes(void **state)
{
    static const struct {
        const char *one, *two;
        bool clash;
    } cases[] = {
        { "127.0.0.1:1", "127.0.0.1:1", true },
        { "127.0.0.1:1", "127.0.0.1:2", false },
        { "127.0.0.1:1", "127.0.0.2:1", false },
        { "0.0.0.0:1", "127.0.0.1:1", true },
        { "127.0.0.1:1", "0.0.0.0:1", true },
        { "0.0.0.0:1", "127.0.0.1:2", false },
        { "[::]:1", "127.0.0.1:1", false },
        { "[::]:1", "[::1]:1", true },
        { "[::]:1", "0.0.0.0:1", false },
        { "[::1]:1", "[0:0:0:0::1]:1", true },
        { "[::ffff:127.0.0.1]:1", "127.0.0.1:1", true },
    };
    char text[1024], want[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct addr two;
        char shown[ADDR_TEXT];
        struct said one = { text, want };

        assert_true(addr_parse_port(&two, span_str(cases[i].two)));
        addr_port_text(&two, shown);
        snprintf(text, sizeof(text),
                 LISTENERS("{ name = \"a\"; mode = \"reverse\"; address = \"%s\"; upstreams = \"a:1\"; },\n"
                           "{ name = \"b\"; mode = \"reverse\"; upstreams = \"a:1\";\naddress = \"%s\"; }"),
                 cases[i].one, cases[i].two);
        snprintf(want, sizeof(want), "f:3: listeners.b.address: %s is taken by listener \"a\", line 1\n", shown);
        if (!cases[i].clash)
            want[0] = '\0';
        check(&one, 1);
        snprintf(text, sizeof(text),
                 "admin = { address = \"%s\"; };\n" LISTENERS(
                     "{ name = \"b\"; mode = \"reverse\"; upstreams = \"a:1\";\naddress = \"%s\"; }"),
                 cases[i].one, cases[i].two);
        snprintf(want, sizeof(want), "f:3: listeners.b.address: %s is taken by admin.address\n", shown);
        if (!cases[i].clash)
            want[0] = '\0';
        if (strncmp(cases[i].one, "127", 3) == 0 || strcmp(cases[i].one, "[::1]:1") == 0)
            check(&one, 1); /* others also warn of the address */
    }
}

static void odd_policies(void **state)
{
    static const char blind[] = "can never be seen: the protocols of this policy have no requests that are read\n";
    static const struct said cases[] = {
        { POLICY(""), "W f:1: policies.p.action: this policy has no condition: it allows every client everything\n" },
        { POLICIES("{ name = \"p\"; action = \"deny\"; }"), "" },
        { POLICY("paths = \"/\"; protocols = [ \"tls\", \"websocket\" ];"), "" },
        { POLICY("from = \"in\"; websocket = { }; protocols = [ \"http\" ];"),
          "W f:1: policies.p.websocket: is never looked at: this policy allows no WebSocket\n" },
        { POLICIES("{ name = \"p\"; action = \"deny\"; websocket = { subprotocols = \"a\"; }; }"),
          "W f:1: policies.p.websocket: is never looked at: this policy allows no WebSocket\n" },
        { POLICY("from = \"in\"; websocket = { origin_required = false; };"),
          "W f:1: policies.p.websocket.origin_required: means nothing without origins\n" },
        { POLICY("from = \"in\"; upstream_reuse = \"shared\"; protocols = \"tls\";"),
          "W f:1: policies.p.upstream_reuse: is never looked at: this policy allows no requests\n" },
        { POLICY("listeners = \"site\";\nto = \"out\";"),
          "W f:2: policies.p.to: is always true: upstreams of reverse listeners are exempt\n" },
        { POLICY("listeners = [ \"site\", \"proxy\" ]; to = \"out\";"), "" },
        { LISTENERS("{ name = \"l\"; mode = \"explicit\"; address = \"127.0.0.1:1\"; from = \"out\"; }"),
          "W f:1: policies.p.from: can never be true: no listener of this policy takes clients from these zones\n" },
        { LISTENERS("{ name = \"l\"; mode = \"explicit\"; address = \"127.0.0.1:1\"; from = [ \"out\", \"in\" ]; }"), "" },
    };
    char want[512];
    const struct said no_requests = {
        POLICY("methods = \"GET\"; paths = \"/\"; headers = \"A\"; protocols = [ \"tls\", \"tunnel\" ];"), want
    };

    (void)state;
    CHECK(cases);
    snprintf(want, sizeof(want), "W f:1: policies.p.methods: %sW f:1: policies.p.paths: %sW f:1: policies.p.headers: %s", blind,
             blind, blind);
    check(&no_requests, 1);
}

/* Two policies: does the first hide the second? */
static void reach(void **state)
{
    static const struct {
        const char *first, *second;
        bool hides;
    } cases[] = {
        { "", "", true },
        { "", "hosts = \"a\"; ports = 80;", true },
        { "", "protocols = \"tunnel\";", false },
        { "protocols = [ \"http\", \"websocket\", \"tls\", \"tunnel\" ];", "", true },
        { "protocols = \"http\";", "protocols = \"http\";", true },
        { "protocols = \"http\";", "", false },
        { "hosts = \"a\";", "hosts = \"a\";", true },
        { "hosts = \"a\";", "", false },
        { "hosts = \"a\";", "ports = 80;", false },
        { "hosts = \"a\";", "hosts = \"a\"; ports = 80;", true },
        { "hosts = \"a\"; ports = 80;", "hosts = \"a\";", false },
        { "hosts = [ \"a\", \"b\" ];", "hosts = \"B.\";", true },
        { "hosts = \"a\";", "hosts = [ \"a\", \"b\" ];", false },
        { "hosts = \"*.x\";", "hosts = \"a.x\";", true },
        { "hosts = \"*.x\";", "hosts = [ \"*.a.x\", \"b.c.x\" ];", true },
        { "hosts = \"*.x\";", "hosts = \"x\";", false },
        { "hosts = \"*.x\";", "hosts = \"ax\";", false },
        { "hosts = \"*.a.x\";", "hosts = \"*.x\";", false },
        { "hosts = \"a.x\";", "hosts = \"*.x\";", false },
        { "hosts = \"1.2.3.4\";", "hosts = \"1.2.3.4\";", true },
        { "hosts = \"::1\";", "hosts = \"[0::1]\";", true },
        { "hosts_file = \"/a\";", "hosts_file = \"/a\";", true },
        { "hosts_file = \"/a\";", "hosts_file = \"/b\";", false },
        { "from = \"in\";", "from = \"in\";", true },
        { "from = [ \"in\", \"out\" ];", "from = \"out\";", true },
        { "from = \"in\";", "from = [ \"in\", \"out\" ];", false },
        { "from = \"in\";", "to = \"in\";", false },
        { "to = \"out\";", "to = \"out\"; from = \"in\";", true },
        { "listeners = \"proxy\";", "listeners = \"proxy\";", true },
        { "listeners = \"proxy\";", "listeners = \"site\";", false },
        { "clients = \"10.0.0.0/8\";", "clients = [ \"10.1.0.0/16\", \"10.2.3.4\" ];", true },
        { "clients = \"10.1.0.0/16\";", "clients = \"10.0.0.0/8\";", false },
        { "clients = \"0.0.0.0/0\";", "clients = \"::1\";", false },
        { "networks = \"::/0\";", "networks = \"fd00::/8\";", true },
        { "networks = \"::/0\";", "clients = \"fd00::/8\";", false },
        { "ports = \"80-90\";", "ports = [ 80, 90 ];", true },
        { "ports = \"80-90\";", "ports = [ 80, 91 ];", false },
        { "ports = \"80-90\";", "ports = \"79-90\";", false },
        { "methods = [ \"GET\", \"PUT\" ];", "methods = \"PUT\";", true },
        { "methods = \"GET\";", "methods = \"HEAD\";", false },
        { "paths = \"/a/*\";", "paths = \"/a/b\";", true },
        { "paths = \"/a/*\";", "paths = [ \"/a/b*\", \"/a/*c*\" ];", true },
        { "paths = \"/a/*c\";", "paths = \"/a/*\";", false },
        { "paths = \"/a/*c\";", "paths = \"/a/bc*c\";", true },
        { "paths = \"/a\";", "paths = \"/a*\";", false },
        { "paths = \"*\";", "paths = \"/*\";", true },
        { "paths = \"/a*b*c\";", "paths = \"/abbcbc\";", true },
        { "paths = \"/a*b*c\";", "paths = \"/abbcbcd\";", false },
        { "headers = \"A\";", "headers = \"a\";", true },
        { "headers = \"A\";", "headers = [ \"B\", \"a\" ];", true },
        { "headers = [ \"A\", \"B\" ];", "headers = \"A\";", false },
        { "headers = \"A: x\";", "headers = \"A: x\";", true },
        { "headers = \"A: x\";", "headers = \"A: X\";", false },
        { "headers = \"A: x\";", "headers = \"A\";", false },
    };
    char text[2048];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *all;

        snprintf(text, sizeof(text), POLICIES("{ name = \"p\"; action = \"deny\"; %s },\n{ name = \"q\"; action = \"deny\"; %s }"),
                 cases[i].first, cases[i].second);
        all = all_said(span_str(text));
        if ((strstr(all, "can never decide") != NULL) != cases[i].hides)
            print_error("%s -> %s\n", cases[i].first, cases[i].second);
        if (cases[i].hides)
            assert_string_equal(all, "W f:2: policies.q: can never decide: all that it matches is decided by \"p\" in line 1\n");
        else
            assert_null(strstr(all, "can never decide"));
        free(all);
    }
}

/* A policy with an error hides nothing, and is not reported as hidden. */
static void reach_passes_over_errors(void **state)
{
    static const struct said cases[] = {
        { POLICIES("{ name = \"p\"; action = \"deny\"; hosts = \"a b\"; },\n{ name = \"q\"; action = \"deny\"; }"),
          "f:1: policies.p.hosts: \"a b\" is no name of a host; expected \"x.example\", \"*.x.example\" or an address\n" },
        { POLICIES("{ name = \"p\"; action = \"deny\"; },\n{ name = \"q\"; action = \"deny\"; ports = 0; }"),
          "f:2: policies.q.ports: item 1 is no port; expected 1 to 65535 or \"8000-8100\"\n" },
    };

    (void)state;
    CHECK(cases);
}

/* Builds a configuration with this many policies that differ by host. */
static char *many_policies(size_t count)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    fputs(PRELUDE "policies = (", out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s\n{ name = \"p%zu\"; from = \"in\"; to = \"out\"; hosts = \"h%zu.example\"; action = \"allow\"; }",
                i ? "," : "", i, i);
    fputs(");", out);
    fclose(out);
    return text;
}

static void many(void **state)
{
    char *text = many_policies(10000), *all = all_said(span_str(text));

    (void)state;
    assert_string_equal(all, "");
    free(all);
    free(text);
    text = many_policies(10001);
    all = all_said(span_str(text));
    assert_non_null(strstr(all, "f:1: policies: expected a list of at most 10000 groups"));
    free(all);
    free(text);
}

/* The search for hidden policies is bounded: two policies with the same ports, in opposite order, cost count * count / 2
 * comparisons. */
static char *two_long_policies(unsigned count)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    fputs(PRELUDE "policies = ({ name = \"p\"; action = \"deny\"; ports = [ 1", out);
    for (unsigned i = 2; i <= count; i++)
        fprintf(out, ",%u", i);
    fprintf(out, " ]; },\n{ name = \"q\"; action = \"deny\"; ports = [ %u", count);
    for (unsigned i = count - 1; i > 0; i--)
        fprintf(out, ",%u", i);
    fputs(" ]; });", out);
    fclose(out);
    return text;
}

static void bounded(void **state)
{
    char *text = two_long_policies(10000), *all = all_said(span_str(text));

    (void)state;
    assert_string_equal(all, "W f:2: policies.q: can never decide: all that it matches is decided by \"p\" in line 1\n");
    free(all);
    free(text);
    text = two_long_policies(12000);
    all = all_said(span_str(text));
    assert_string_equal(all, "W f:2: policies.q: from here on it was not checked whether earlier policies hide later ones\n");
    free(all);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listeners),
        cmocka_unit_test(clashes),
        cmocka_unit_test(odd_policies),
        cmocka_unit_test(reach),
        cmocka_unit_test(reach_passes_over_errors),
        cmocka_unit_test(many),
        cmocka_unit_test(bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
