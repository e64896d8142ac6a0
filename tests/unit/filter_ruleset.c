/* SPDX-License-Identifier: ISC */
/*
 * The compiled ruleset: what stands in it and in which order, zones as sets against zones_find(), and that nft takes it. The latter
 * needs a network namespace of its own, and nft.
 */
#include "filter/ruleset_parts.h"

#include "policy_setting.h"

#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Rules, and the text that they become. */
struct made {
    struct setting from;
    char *text;
};

static const struct ruleset_block *the_blocks;
static size_t the_block_count;
static uid_t the_filter = 4711;

static struct made make(const char *text)
{
    struct made m = { .from = compile(text, NULL) };

    m.text = ruleset_text(&(struct ruleset_input){ .conf = m.from.conf,
                                                   .rules = m.from.rules,
                                                   .workers = 4711,
                                                   .filter = the_filter,
                                                   .blocks = the_blocks,
                                                   .block_count = the_block_count });
    assert_non_null(m.text);
    return m;
}

static void unmake(struct made *m)
{
    free(m->text);
    discard(&m->from);
}

#define ZONES                                                                                                                      \
    "zones = ( { name = \"inside\"; interfaces = [ \"lan0\" ]; networks = [ \"10.77.1.0/24\", \"10.77.1.5\", \"fd77:1::/64\" ]; "  \
    "},"                                                                                                                           \
    "          { name = \"lab\"; networks = [ \"192.168.7.0/24\" ]; },"                                                            \
    "          { name = \"outside\"; interfaces = [ \"wan0\", \"wan1\" ]; } );"
#define LISTENERS                                                                                                                  \
    "listeners = ( { name = \"proxy\"; mode = \"explicit\"; address = \"10.77.1.1:3128\"; from = [ \"inside\" ]; },"               \
    "  { name = \"local\"; mode = \"explicit\"; address = \"127.0.0.1:3128\"; },"                                                  \
    "  { name = \"chat\"; mode = \"reverse\"; address = \"0.0.0.0:8443\"; upstreams = [ \"127.0.0.1:9000\" ]; },"                  \
    "  { name = \"catch\"; mode = \"transparent\"; address = \"0.0.0.0:3129\"; intercept = \"tproxy\"; ports = [ \"80\", "         \
    "\"443\", \"440-450\" ];"                                                                                                      \
    "    from = [ \"inside\" ]; },"                                                                                                \
    "  { name = \"catch6\"; mode = \"transparent\"; address = \"[::]:3129\"; intercept = \"redirect\"; ports = [ 80 ];"            \
    "    from = [ \"inside\", \"lab\" ]; } );"
#define FILTER                                                                                                                     \
    "packet_filter = { backend = \"nftables\"; table = \"postern\"; masquerade = [ \"outside\" ]; helpers = [ \"ftp\" ];"          \
    "  forwards = ( { from = \"outside\"; protocol = \"tcp\"; port = 2222; to = \"10.77.1.5:22\"; } ); };"
#define POLICIES                                                                                                                   \
    "policies = ( { name = \"web\"; from = \"inside\"; to = \"outside\"; ports = [ 80, 443 ]; action = \"allow\"; },"              \
    "  { name = \"dns\"; from = \"inside\"; to = \"outside\"; protocols = [ \"tcp\", \"udp\" ]; ports = [ 53 ]; action = "         \
    "\"allow\"; },"                                                                                                                \
    "  { name = \"no-quic\"; protocols = [ \"udp\" ]; networks = [ \"203.0.113.0/24\", \"8.8.8.0/24\" ]; action = \"drop\"; },"    \
    "  { name = \"refuse\"; from = \"lab\"; protocols = [ \"tcp\", \"udp\", \"icmp\" ]; to = \"outside\"; action = \"deny\"; },"   \
    "  { name = \"host\"; hosts = [ \"192.0.2.9\", \"[2001:db8::9]\", \"a.example\" ]; clients = [ \"10.77.1.0/24\", "             \
    "\"10.0.0.0/8\" ];"                                                                                                            \
    "    protocols = [ \"tcp\" ]; to = \"outside\"; action = \"allow\"; },"                                                        \
    "  { name = \"any-udp\"; from = \"inside\"; to = \"outside\"; protocols = \"udp\"; action = \"allow\"; },"                     \
    "  { name = \"ssh\"; from = \"inside\"; to = \"self\"; protocols = [ \"tcp\", \"icmp\" ]; action = \"allow\"; } );"

/* Do these pieces stand in the text, one behind the other? */
static void expect_order(const char *text, const char *const *pieces)
{
    const char *at = text;

    for (; *pieces != NULL; pieces++) {
        const char *found = strstr(at, *pieces);

        if (found == NULL)
            fail_msg("not there, or too early: %s\nin %s", *pieces, text);
        at = found + strlen(*pieces);
    }
}

static void test_transaction(void **state)
{
    struct made s = make(ZONES LISTENERS POLICIES FILTER);
    struct made again = make(ZONES LISTENERS POLICIES FILTER);
    char *removal = ruleset_removal("postern");

    (void)state;
    assert_true(strncmp(s.text, "add table inet postern\ndelete table inet postern\ntable inet postern {\n", 69) == 0);
    assert_string_equal(s.text + strlen(s.text) - 5, "\t}\n}\n");
    assert_string_equal(s.text, again.text);
    assert_string_equal(removal, "add table inet postern\ndelete table inet postern\n");
    free(removal);
    unmake(&again);
    unmake(&s);
}

/* Nothing of an intercepted flow may be let through because it is established, and so on. */
static void test_order_of_hooks(void **state)
{
    static const char *const forward[] = {
        "chain forward {",
        "policy drop",
        "ct mark & 0xff000000 { 0x50000000, 0x51000000 } counter drop comment \"intercepted\"\n",
        "comment \"invalid\"",
        "comment \"untracked\"",
        "ct state established,related ct mark & 0xff000000 { 0x52000000, 0x53000000 } counter accept",
        "comment \"not-syn\"",
        "comment \"translated\"",
        "counter goto twins comment \"catch\"",
        "jump zones-out",
        "counter drop comment \"no-policy\"\n\t}",
        NULL
    };
    static const char *const input[] = {
        "chain input {",
        "policy drop",
        "iifname \"lo\"",
        "comment \"icmp-errors\"",
        "comment \"neighbours\"",
        "comment \"invalid\"",
        "comment \"untracked\"",
        "comment \"established\"",
        "ct state new ct mark & 0xff00ffff == 0x50000000 counter accept comment \"sockets\"",
        "comment \"not-syn\"",
        "ct mark & 0xff00ffff == 0x50000004 counter accept comment \"catch\"",
        "ip daddr 10.77.1.1 ct mark & 0xff000000 == 0x00000000 tcp dport 3128 ct mark & 0xff00ffff { 0x00000001 }",
        "comment \"proxy\"",
        "meta nfproto ipv4 ct mark & 0xff000000 == 0x00000000 tcp dport 8443 ct mark set ct mark & 0x00ff0000 ct event set destroy "
        "counter accept "
        "comment \"chat\"",

        "jump to-self",
        "counter drop comment \"no-policy-input\"\n\t}",
        NULL
    };
    static const char *const prerouting[] = { "chain raw-prerouting {",
                                              "iifname != \"lo\" ip saddr @blocked4 counter drop comment \"blocked\"",
                                              "iifname != \"lo\" ip6 saddr @blocked6 counter drop comment \"blocked\"",
                                              "chain intercept {",
                                              "tcp dport { 80, 440-450 } ct mark & 0xff00ffff { 0x00000001 }",
                                              "0x50000004 ct event set destroy tproxy ip to :3129 meta mark set",
                                              "0x50000005 ct event set destroy counter accept comment \"catch6\"",
                                              "chain mangle-prerouting {",
                                              "fib saddr type { local, broadcast, anycast, multicast } counter drop",
                                              "socket transparent 1",
                                              "ct direction original ct mark & 0xff00ffff == 0x50000004",
                                              "!= syn fib daddr type != local socket transparent 1 socket wildcard 0 ct mark set",
                                              "jump zones-in",
                                              "ct state established ct direction original meta l4proto != tcp",
                                              "fib daddr type != { local, broadcast, anycast, multicast } counter jump intercept",
                                              "chain nat-prerouting {",
                                              "ct mark & 0xff00ffff == 0x50000005 meta nfproto ipv6",
                                              "redirect to :3129",
                                              "tcp dport 2222 fib daddr type local ct mark & 0xff00ffff { 0x00000003 }",
                                              "0x52000001 counter dnat ip to 10.77.1.5:22",
                                              "ct state new tcp dport 21 ct helper set \"helper-ftp\"",
                                              NULL };
    static const char *const behind[] = {
        "meta skuid 4711 meta l4proto tcp tcp flags & (fin | syn | rst | ack) == syn fib saddr type != local counter drop",
        "meta skuid 4711 ct state new ct mark set ct mark & 0x00ff0000 | 0x51000000 ct event set label counter",
        "comment \"workers\"",
        "ct state new fib saddr type != local ct mark set ct mark & 0x00ff0000 | 0x51000000",
        "ct mark & 0xff000000 == 0x51000000 counter accept comment \"no-helpers\"",
        "ct helper set \"helper-ftp\"",
        "chain zones-masquerade {",
        "@zone-inside-4 counter return",
        "@zone-outside-4 counter masquerade",
        "ct mark & 0xff000000 != 0x51000000 counter jump zones-masquerade",
        NULL
    };
    struct made s = make(ZONES LISTENERS POLICIES FILTER);

    (void)state;
    expect_order(s.text, forward);
    expect_order(s.text, input);
    expect_order(s.text, prerouting);
    expect_order(s.text, behind);
    assert_null(strstr(s.text, "127.0.0.1"));
    unmake(&s);
}

static void test_policies(void **state)
{
    static const char *const outside[] = {
        "chain to-outside {\n\t\tct mark & 0xff00ffff { 0x00000001 } meta l4proto { tcp, udp } th dport { 53 } ct mark set ct mark "
        "& "
        "0x00ff0000 | 0x53000002 counter accept comment \"dns\"\n",
        "\t\tip daddr @networks-no-quic-4 meta l4proto { udp } counter drop comment \"no-quic\"\n",
        "meta l4proto { tcp } counter reject with tcp reset comment \"refuse\"\n",
        "meta l4proto { udp, icmp, ipv6-icmp } counter reject with icmpx admin-prohibited comment \"refuse\"\n",
        "\t\tip saddr @clients-host-4 ip daddr @hosts-host-4 meta l4proto { tcp } ct mark set ct mark & 0x00ff0000 | 0x53000005 "
        "counter "
        "accept comment \"host\"\n",
        "0x53000006 counter accept comment \"any-udp\"\n\t}\n", /* and not for twins */
        "chain twin-outside {",
        "comment \"dns\"",
        "comment \"no-quic\"",
        "comment \"refuse\"\n\t\tcounter reject with icmpx admin-prohibited comment \"twin\"\n\t}\n",
        "chain to-self {",
        "meta l4proto { tcp, icmp, ipv6-icmp } ct mark set ct mark & 0x00ff0000 | 0x54000007 counter accept comment \"ssh\"\n\t}\n",
        "goto to-inside comment \"lab\"", /* the same policies as inside */
        NULL
    };
    struct made s = make(ZONES LISTENERS POLICIES FILTER);

    (void)state;
    expect_order(s.text, outside);
    assert_null(strstr(s.text, "comment \"web\"")); /* workers judge it */
    assert_null(strstr(s.text, "to-lab"));
    assert_null(strstr(s.text, "ip6 daddr @hosts-host-6")); /* its clients have no IPv6 */
    unmake(&s);
}

static void test_without_listeners(void **state)
{
    struct made s = make(ZONES POLICIES "packet_filter = { backend = \"nftables\"; };");

    (void)state;
    assert_null(strstr(s.text, "twin"));
    assert_null(strstr(s.text, "tproxy"));
    assert_null(strstr(s.text, "masquerade"));
    assert_null(strstr(s.text, "ct helper"));
    unmake(&s);
}

static void test_blocks(void **state)
{
    static const char *const texts[] = { "192.0.2.9", "10.1.0.0/16", "10.0.0.0/8", "10.1.2.3", "2001:db8::/32", "192.0.2.10" };
    static const uint32_t seconds[] = { 30, 900, 600, 5, 77, 0 };
    static const char *const wanted[] = { "set blocked4 {",
                                          "flags interval,timeout",
                                          "10.0.0.0/8 timeout 900s,\n\t\t\t192.0.2.9/32 timeout 30s,\n\t\t}",
                                          "set blocked6 {",
                                          "2001:db8::/32 timeout 77s,\n\t\t}",
                                          NULL };
    struct ruleset_block blocks[6];
    struct made s;

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        blocks[i].seconds = seconds[i];
        assert_true(network_parse(&blocks[i].network, span_str(texts[i])));
    }
    the_blocks = blocks;
    the_block_count = 6;
    s = make(ZONES "packet_filter = { backend = \"nftables\"; };");
    the_block_count = 0;
    expect_order(s.text, wanted);
    assert_null(strstr(s.text, "192.0.2.10"));
    unmake(&s);
}

/* The longest names and the widest lists. */
#define LONG(c) c "abcdefghijklmnopqrstuvwxyz-123"
static const char longest[] = "zones = ( { name = \"" LONG(
    "z") "\"; interfaces = [ \"abcdefghijklmno\", \"a,b@c#d'\" ];"
         "            networks = [ \"0.0.0.0/0\", \"::/0\", \"240.0.0.0/4\", \"127.0.0.0/8\", \"ff00::/8\", \"2001::/32\" ]; },"
         "          { name = \"accept\"; } );"
         "listeners = ( { name = \"" LONG(
             "l") "\"; mode = \"transparent\"; address = \"[fd00::1]:65535\"; intercept = \"redirect\";"
                  "                ports = [ \"1-65535\", \"443\" ]; from = [ \"accept\" ]; },"
                  "              { name = \"fwd\"; mode = \"transparent\"; address = \"[fd00::1]:65534\"; intercept = \"tproxy\"; "
                  "ports = [ 1 ];"
                  "                from = [ \"accept\" ]; } );"
                  "policies = ( { name = \"" LONG(
                      "p") "\"; protocols = [ \"tcp\", \"udp\" ]; ports = [ \"1-65535\", \"80-90\", \"85\" ];"
                           "    clients = [ \"0.0.0.0/0\", \"10.0.0.0/8\", \"::/0\" ]; networks = [ \"0.0.0.0/0\", \"::/0\", "
                           "\"::1\" ];"
                           "    hosts = [ \"10.0.0.1\", \"10.0.0.2\", \"::1\" ]; action = \"deny\"; },"
                           "  { name = \"drop\"; from = [ \"self\", \"accept\" ]; to = \"accept\"; protocols = \"icmp\"; action = "
                           "\"drop\"; },"
                           "  { name = \"mine\"; from = \"self\"; protocols = \"icmp\"; action = \"drop\"; } );"
                           "admin = { address = \"10.0.0.1:9128\"; };"
                           "packet_filter = { backend = \"nftables\"; table = \"" LONG(
                               "t") "\"; masquerade = [ \"accept\" ];"
                                    "  helpers = [ \"ftp\", \"tftp\", \"irc\", \"sip\", \"pptp\", \"amanda\", \"sane\" ];"
                                    "  forwards = ( { from = \"accept\"; protocol = \"udp\"; port = 65535; to = \"[fd00::2]:1\"; } "
                                    "); };";

static void put(char *text, size_t size, const char *piece)
{
    assert_true(strlen(text) + strlen(piece) + 1 < size);
    strcat(text, piece);
}

/* Many zones and policies that each name some of them: the text grows with their sum. */
static struct made compile_many(size_t zones)
{
    static char text[1 << 20];
    char piece[200];

    strcpy(text, "zones = (");
    for (size_t i = 0; i < zones; i++) {
        snprintf(piece, sizeof(piece), "%s{ name = \"z%zu\"; networks = [ \"10.%zu.%zu.0/24\" ]; }", i == 0 ? "" : ",", i, i / 250,
                 i % 250);
        put(text, sizeof(text), piece);
    }
    put(text, sizeof(text), "); policies = (");
    for (size_t i = 0; i < 10; i++) {
        snprintf(piece, sizeof(piece), "%s{ name = \"p%zu\"; from = \"z%zu\"; to = [ \"z%zu\", \"z%zu\" ];", i == 0 ? "" : ",", i,
                 i, i * 7, i + 20);
        put(text, sizeof(text), piece);
        put(text, sizeof(text), "protocols = \"tcp\"; ports = 22; action = \"allow\"; }");
    }
    put(text, sizeof(text), "); packet_filter = { backend = \"nftables\"; };");
    return make(text);
}

static void test_many_zones(void **state)
{
    struct made some = compile_many(100), many = compile_many(1000);

    (void)state;
    assert_true(strlen(many.text) < 12 * strlen(some.text));
    unmake(&some);
    unmake(&many);
}

/* As many zones and policies as there may be; most policies are about the same zone, so that zones differ in the last ones only. */
static struct made compile_most(size_t zones, size_t policies)
{
    static char text[4 << 20];
    size_t len = (size_t)snprintf(text, sizeof(text), "zones = (");

    for (size_t i = 0; i < zones; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s{ name = \"z%zu\"; networks = [ \"10.%zu.%zu.0/24\" ]; }",
                                i == 0 ? "" : ",", i, i / 250, i % 250);
    len += (size_t)snprintf(text + len, sizeof(text) - len, "); policies = (");
    for (size_t i = 0; i < policies; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len,
                                "%s{ name = \"p%zu\"; from = \"z%zu\"; to = \"z%zu\"; protocols = \"tcp\"; ports = %zu; action = "
                                "\"allow\"; }",
                                i == 0 ? "" : ",", i, i * 7 % zones, i + zones < policies ? 0 : i % zones, i % 100 + 1);
    len += (size_t)snprintf(text + len, sizeof(text) - len, "); packet_filter = { backend = \"nftables\"; };");
    assert_true(len < sizeof(text));
    return make(text);
}

/* The time grows with policies and with zones, not with policies by pairs of zones. */
static void test_most_policies(void **state)
{
    struct made most = compile_most(1000, 10000);
    clock_t began = clock();
    char *again =
        ruleset_text(&(struct ruleset_input){ .conf = most.from.conf, .rules = most.from.rules, .workers = 4711, .filter = 4711 });

    (void)state;
    assert_true(clock() - began < 3 * CLOCKS_PER_SEC); /* of a build that checks every step of its own */
    assert_string_equal(again, most.text);
    free(again);
    unmake(&most);
}

static struct made compile_networks(size_t networks)
{
    static char text[1 << 20];
    char piece[64];

    strcpy(text, "zones = ( { name = \"wide\"; networks = [ \"0.0.0.0/0\"");
    for (size_t i = 0; i < networks; i++) {
        snprintf(piece, sizeof(piece), ", \"10.%zu.%zu.%zu\"", i / 5000, i / 50 % 100, i % 50 * 2);
        put(text, sizeof(text), piece);
    }
    put(text, sizeof(text), " ]; } ); packet_filter = { backend = \"nftables\"; };");
    return make(text);
}

/* A set back from the text. false: it is not there. */
static bool read_set(const char *text, const char *name, struct address_ranges *out)
{
    char head[80], element[120];
    const char *at, *end;

    snprintf(head, sizeof(head), "\tset %s {\n", name);
    at = strstr(text, head);
    if (at == NULL)
        return false;
    end = strstr(at, "\t\t}\n");
    at = strstr(at, "elements = {\n") + strlen("elements = {\n");
    while (at < end) {
        size_t len = strcspn(at, ",");
        struct network first, last;
        char *dash;

        assert_true(len > 3 && len < sizeof(element));
        snprintf(element, sizeof(element), "%.*s", (int)len - 3, at + 3);
        dash = strchr(element, '-');
        if (dash != NULL)
            *dash = '\0';
        assert_true(network_parse(&first, span_str(element)));
        if (dash == NULL) {
            ranges_add_network(out, &first);
        } else {
            assert_true(network_parse(&last, span_str(dash + 1)));
            ranges_add(out, ranges_number(&first.base), ranges_number(&last.base));
        }
        at += len + 2;
    }
    return true;
}

static unsigned dice(unsigned sides)
{
    return (unsigned)rand() % sides;
}

static const char *const plain_networks[] = {
    "0.0.0.0/0",   "8.0.0.0/7",       "10.0.0.0/8",   "10.1.0.0/16",   "192.0.0.0/8",   "192.168.0.0/16", "192.168.1.0/24",
    "127.0.0.0/8", "169.254.169.254", "172.0.0.0/8",  "128.0.0.0/1",   "224.0.0.0/3",   "::/0",           "2000::/3",
    "2002::/16",   "2002:a00::/24",   "64:ff9b::/96", "64:ff9b::/32",  "fc00::/7",      "fd00:1::/32",    "2001::/16",
    "2001::/32",   "::/64",           "::1",          "2001:db8::/32", "2002:808::/32", "8000::/1",       "64:ff9b::a00:0/104"
};
#define ZONE_COUNT 6

static void make_zones(char *text, size_t size)
{
    char piece[64];

    text[0] = '\0';
    put(text, size, "zones = (");
    for (unsigned i = 0; i < ZONE_COUNT; i++) {
        snprintf(piece, sizeof(piece), "%s{ name = \"z%u\";", i == 0 ? "" : ",", i);
        put(text, size, piece);
        if (dice(3) == 0)
            put(text, size, "interfaces = [ \"lan0\", \"lan1\" ];");
        if (dice(6) != 0) {
            put(text, size, "networks = [ ");
            for (unsigned n = 1 + dice(4); n > 0; n--) {
                snprintf(piece, sizeof(piece), "\"%s\"%s", plain_networks[dice(sizeof(plain_networks) / sizeof(char *))],
                         n > 1 ? ", " : " ];");
                put(text, size, piece);
            }
        }
        put(text, size, "}");
    }
    put(text, size, "); packet_filter = { backend = \"nftables\"; };");
}

/* Near the edges of blocks and networks, or anywhere. */
static struct addr some_address(void)
{
    static const char *const near[] = { "10.1.2.3",
                                        "10.0.0.0",
                                        "9.255.255.255",
                                        "11.0.0.0",
                                        "127.0.0.1",
                                        "169.254.169.254",
                                        "192.168.1.9",
                                        "8.8.8.8",
                                        "224.0.0.1",
                                        "255.255.255.255",
                                        "0.0.0.0",
                                        "223.255.255.255",
                                        "2002:a01::1",
                                        "2002:808::1",
                                        "2002:7f00:1::",
                                        "64:ff9b::a01:203",
                                        "64:ff9b::808:808",
                                        "64:ff9b:1::1",
                                        "fd00:1::1",
                                        "fd00:2::1",
                                        "::1",
                                        "::2",
                                        "::10.0.0.1",
                                        "fe80::1",
                                        "ff02::1",
                                        "2001:db8::1",
                                        "2600::1",
                                        "2003::1",
                                        "64:ff9c::1",
                                        "100::1",
                                        "2002:c0a8:101::5" };
    struct addr a = { .family = dice(2) ? AF_INET : AF_INET6 };

    if (dice(2) == 0) {
        assert_true(addr_parse(&a, span_str(near[dice(sizeof(near) / sizeof(char *))]), 0));
        return a;
    }
    for (size_t i = 0; i < (a.family == AF_INET ? 4 : 16); i++)
        a.ip[i] = (uint8_t)dice(256);
    if (a.family == AF_INET6 && dice(2) == 0)
        memcpy(a.ip, dice(2) ? "\x20\x02" : "\x00\x64", 2);
    return a;
}

struct zone_sets {
    struct address_ranges ranges[ZONE_COUNT][2];
};

/* As the chain zones-in goes. */
static int first_match(const struct conf *conf, const struct zone_sets *sets, const struct addr *a, const char *interface)
{
    for (size_t i = 0; i < conf->zone_count; i++) {
        const struct conf_strings *names = &conf->zones[i].interfaces;
        bool fits = names->count == 0;

        for (size_t k = 0; k < names->count; k++)
            fits = fits || strcmp(names->items[k], interface) == 0;
        if (fits && ranges_have(&sets->ranges[i][a->family == AF_INET6], ranges_number(a)))
            return (int)i;
    }
    return ZONE_NONE;
}

static void check_zones(unsigned questions, size_t *found)
{
    struct zone_sets sets = { 0 };
    char text[4096], name[20];
    struct made s;

    make_zones(text, sizeof(text));
    s = make(text);
    for (unsigned i = 0; i < ZONE_COUNT; i++)
        for (int which = 0; which < 2; which++) {
            snprintf(name, sizeof(name), "zone-z%u-%c", i, which == 0 ? '4' : '6');
            sets.ranges[i][which].failed = !read_set(s.text, name, &sets.ranges[i][which]);
        }
    for (unsigned i = 0; i < questions; i++) {
        const char *interface = dice(2) ? "lan1" : "wan0";
        struct addr a = some_address();
        int zone = zones_find(rules_zones(s.from.rules), &a, interface);
        char shown[ADDR_TEXT];

        if (first_match(s.from.conf, &sets, &a, interface) != zone)
            fail_msg("%s on %s is in %s: %s", addr_text(&a, shown), interface, zones_name(s.from.conf, zone), text);
        *found += zone != ZONE_NONE;
    }
    for (unsigned i = 0; i < ZONE_COUNT; i++)
        for (int which = 0; which < 2; which++)
            ranges_fini(&sets.ranges[i][which]);
    unmake(&s);
}

static void test_first_match(void **state)
{
    size_t found = 0;

    (void)state;
    srand(3);
    for (int round = 0; round < 50; round++)
        check_zones(400, &found);
    assert_in_range(found, 2000, 18000);
}

/* Which Teredo addresses are special-purpose is more than a set can say: networks around them hold none, those inside do. */
static void test_teredo(void **state)
{
    struct made s = make("zones = ( { name = \"all\"; }, { name = \"in\"; networks = [ \"2001::/32\" ]; } ); packet_filter = "
                         "{ backend = \"nftables\"; };");
    struct address_ranges all = { 0 }, in = { 0 };
    struct addr a;

    (void)state;
    assert_true(read_set(s.text, "zone-all-6", &all) && read_set(s.text, "zone-in-6", &in));
    assert_true(addr_parse(&a, SPAN("2001:0:808:808::f7f7:f7f7"), 0));
    assert_false(ranges_have(&all, ranges_number(&a)));
    assert_true(ranges_have(&in, ranges_number(&a)));
    ranges_fini(&all);
    ranges_fini(&in);
    unmake(&s);
}

/* The mapped spelling of IPv4 is no IPv6 address to any zone. */
static void test_mapped(void **state)
{
    struct made s = make("zones = ( { name = \"all\"; networks = [ \"::/0\" ]; } ); packet_filter = { backend = \"nftables\"; };");
    struct address_ranges all = { 0 };

    (void)state;
    assert_true(read_set(s.text, "zone-all-6", &all));
    assert_false(ranges_have(&all, (address_number)0xffff << 32 | 0x08080808));
    assert_true(ranges_have(&all, (address_number)0xfffe << 32 | 0x08080808));
    ranges_fini(&all);
    unmake(&s);
}

/* Runs a command of the shell with `text` as its input, in a network namespace of its own. Returns how it ended; 99: no namespace.
 */
static int run_apart(const char *command, const char *text)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        FILE *pipe;

        if (unshare(CLONE_NEWNET) != 0)
            _exit(99);
        pipe = popen(command, "w");
        if (pipe == NULL || fputs(text, pipe) < 0)
            _exit(98);
        status = pclose(pipe);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 97);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

static void expect_taken(struct made s)
{
    static const char twice[] = "t=$(mktemp) && cat >$t && nft -c -f $t && nft -f $t && a=$(nft list ruleset) && nft -f $t && "
                                "b=$(nft list ruleset); e=$?; rm -f $t; [ $e = 0 ] && [ -n \"$a\" ] && [ \"$a\" = \"$b\" ]";
    int status;

    if (system("command -v nft >/dev/null") != 0) {
        print_message("there is no nft: skipped\n");
        skip();
    }
    status = run_apart(twice, s.text);
    unmake(&s);
    if (status == 99) {
        print_message("no network namespace can be made: skipped\n");
        skip();
    }
    assert_int_equal(status, 0);
}

static void test_nft_takes_it(void **state)
{
    (void)state;
    expect_taken(make(ZONES LISTENERS POLICIES FILTER));
}

/* The examples in etc/ that have a packet filter. */
static void take_example(const char *name)
{
    static char text[1 << 16];
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), SOURCE_DIR "/etc/%s", name);
    file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s", path);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    expect_taken(make(text));
}

static void test_nft_takes_gateway(void **state)
{
    (void)state;
    take_example("gateway.conf");
}

static void test_nft_takes_transparent(void **state)
{
    (void)state;
    take_example("transparent.conf");
}

static void test_nft_takes_longest(void **state)
{
    (void)state;
    expect_taken(make(longest));
}

static void test_nft_takes_networks(void **state)
{
    (void)state;
    expect_taken(compile_networks(10000));
}

static void test_nft_takes_zones(void **state)
{
    (void)state;
    expect_taken(compile_many(1000));
}

static void test_nft_takes_nothing(void **state)
{
    (void)state;
    expect_taken(make("packet_filter = { backend = \"nftables\"; };"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transaction),
        cmocka_unit_test(test_order_of_hooks),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_without_listeners),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_many_zones),
        cmocka_unit_test(test_most_policies),
        cmocka_unit_test(test_first_match),
        cmocka_unit_test(test_teredo),
        cmocka_unit_test(test_mapped),
        cmocka_unit_test(test_nft_takes_it),
        cmocka_unit_test(test_nft_takes_longest),
        cmocka_unit_test(test_nft_takes_networks),
        cmocka_unit_test(test_nft_takes_zones),
        cmocka_unit_test(test_nft_takes_nothing),
        cmocka_unit_test(test_nft_takes_gateway),
        cmocka_unit_test(test_nft_takes_transparent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
