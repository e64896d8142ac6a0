/* SPDX-License-Identifier: ISC */
/*
 * The judge against the words of the design, taken literally: each policy by itself, each condition true, false or unknown, lists
 * searched from end to end. Random policies, random facts, the same ones every time. A protocol that is not known yet is tried with
 * all that a flow can turn out to be (policy/rules.h).
 */
#include "policy/rules.h"
#include "proto/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum truth { NO, YES, UNKNOWN };
enum { POLICIES = 130, ZONES = 3, LISTENERS = 2, ITEMS = 3, ROUNDS = 60, QUESTIONS = 400 };

static char *zone_names[] = { (char[]){ "za" }, (char[]){ "zb" }, (char[]){ "zc" } };
static char *listener_names[] = { (char[]){ "la" }, (char[]){ "lb" } };
static char *host_items[] = { (char[]){ "x" },       (char[]){ "*.x" },       (char[]){ "a.x" },         (char[]){ "*.a.x" },
                              (char[]){ "y.b.a.x" }, (char[]){ "192.0.2.1" }, (char[]){ "2001:db8::1" }, (char[]){ "*.b.a.x" } };
static const char *const hosts[] = { "x",   "a.x", "b.a.x",     "y.b.a.x",       "z.y.b.a.x",
                                     "q.x", "qx",  "192.0.2.1", "[2001:db8::1]", "192.0.2.2" };
static char *method_items[] = { (char[]){ "GET" }, (char[]){ "POST" }, (char[]){ "PUT" } };
static char *path_items[] = { (char[]){ "/a*" }, (char[]){ "*b" }, (char[]){ "/" } };
static char *print_items[] = { (char[]){ "t13d*" }, (char[]){ "t12d0101h2_aaaaaaaaaaaa_bbbbbbbbbbbb" }, (char[]){ "*_b*" } };
static const char *const prints[] = { "", "t13d1516h2_8daaf6152771_e5627efa2ab1", "t12d0101h2_aaaaaaaaaaaa_bbbbbbbbbbbb" };
static char *certificate_items[] = { (char[]){ "DNS:a.x" }, (char[]){ "CN=*" }, (char[]){ "email:*@x" } };
static const struct client_certificate certificates[] = {
    { .subject = { "CN=a", 4 } },
    { .subject = { "O=b", 3 }, .names = { { "DNS:b.x", 7 }, { "DNS:a.x", 7 } }, .name_count = 2 },
    { .names = { { "email:u@x", 9 } }, .name_count = 1 },
};
static const char *const paths[] = { "/", "/a", "/ab", "/b", "/c", "//a", "/c//b" };
static const char *const networks[] = { "0.0.0.0/0", "10.0.0.0/8",    "10.1.0.0/16",    "10.1.2.3",
                                        "::/0",      "2001:db8::/32", "2001:db8:1::/48" };
static const char *const addresses[] = { "10.1.2.3",      "10.1.2.4",      "10.2.0.0",      "11.0.0.1",
                                         "2001:db8:1::5", "2001:db8:2::5", "2002:808:808::" };

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static struct conf_policy policies[POLICIES];
static struct conf_zone zones[ZONES];
static struct conf_listener listeners[LISTENERS];
static struct conf conf = {
    .policies = policies, .zones = zones, .zone_count = ZONES, .listeners = listeners, .listener_count = LISTENERS
};

/* Storage of the lists of each policy. */
static struct lists {
    char *from[ITEMS], *to[ITEMS], *listeners[ITEMS], *hosts[ITEMS], *methods[ITEMS], *paths[ITEMS], *prints[ITEMS],
        *certificates[ITEMS];
    struct network clients[ITEMS], networks[ITEMS];
    struct conf_port_range ports[ITEMS];
} lists[POLICIES];

static unsigned dice(unsigned sides)
{
    return (unsigned)rand() % sides;
}

static struct conf_strings some_strings(char **room, char **items, size_t count)
{
    struct conf_strings list = { dice(3) == 0 ? 1 + dice(ITEMS) : 0, room };

    for (size_t i = 0; i < list.count; i++)
        room[i] = items[dice((unsigned)count)];
    return list;
}

static struct conf_networks some_networks(struct network *room)
{
    struct conf_networks list = { dice(4) == 0 ? 1 + dice(ITEMS) : 0, room };

    for (size_t i = 0; i < list.count; i++)
        assert_true(network_parse(&room[i], span_str(networks[dice(COUNT(networks))])));
    return list;
}

static struct conf_ports some_ports(struct conf_port_range *room)
{
    struct conf_ports list = { dice(3) == 0 ? 1 + dice(ITEMS) : 0, room };

    for (size_t i = 0; i < list.count; i++) {
        uint16_t first = (uint16_t)(1 + dice(6));

        room[i] = (struct conf_port_range){ first, (uint16_t)(first + dice(3)) };
    }
    return list;
}

static void make_policies(void)
{
    conf.policy_count = 1 + dice(POLICIES);
    for (size_t i = 0; i < conf.policy_count; i++)
        policies[i] = (struct conf_policy){
            .action = (enum conf_action)dice(3),
            .from = some_strings(lists[i].from, zone_names, ZONES),
            .to = some_strings(lists[i].to, zone_names, ZONES),
            .listeners = some_strings(lists[i].listeners, listener_names, LISTENERS),
            .clients = some_networks(lists[i].clients),
            .networks = some_networks(lists[i].networks),
            .hosts = some_strings(lists[i].hosts, host_items, COUNT(host_items)),
            .ports = some_ports(lists[i].ports),
            .methods = some_strings(lists[i].methods, method_items, COUNT(method_items)),
            .paths = some_strings(lists[i].paths, path_items, COUNT(path_items)),
            .tls_fingerprints = some_strings(lists[i].prints, print_items, COUNT(print_items)),
            .client_certificates = some_strings(lists[i].certificates, certificate_items, COUNT(certificate_items)),
            .inspect = dice(3) == 0,
            .protocols = 1 + dice(15),
            .protocols_given = dice(2) == 0,
        };
}

static struct host the_host;

static struct addr some_address(void)
{
    struct addr a;

    assert_true(addr_parse(&a, span_str(addresses[dice(COUNT(addresses))]), 0));
    return a;
}

static struct facts make_facts(void)
{
    static const unsigned known[] = { KNOWN_FLOW,
                                      KNOWN_FLOW | KNOWN_TARGET,
                                      KNOWN_FLOW | KNOWN_TARGET | KNOWN_ADDRESS,
                                      KNOWN_FLOW | KNOWN_TARGET | KNOWN_PROTOCOL | KNOWN_REQUEST,
                                      31,
                                      63,
                                      KNOWN_FLOW | KNOWN_PROTOCOL,
                                      KNOWN_FLOW | KNOWN_TARGET | KNOWN_ADDRESS | KNOWN_PROTOCOL | KNOWN_HELLO };

    assert_true(host_parse(&the_host, span_str(hosts[dice(COUNT(hosts))])));
    return (struct facts){ .known = known[dice(COUNT(known))],
                           .listener = (int)dice(LISTENERS),
                           .zone_in = (int)dice(ZONES),
                           .client = some_address(),
                           .certificate = dice(3) == 0 ? NULL : &certificates[dice(COUNT(certificates))],
                           .ja4 = span_str(prints[dice(COUNT(prints))]),
                           .host = dice(8) == 0 ? NULL : &the_host,
                           .port = (uint16_t)dice(10),
                           .server = some_address(),
                           .zone_out = (int)dice(ZONES),
                           .operators_word = dice(5) == 0,
                           .protocol = 1u << dice(4),
                           .method = span_str(dice(4) == 0 ? "HEAD" : method_items[dice(COUNT(method_items))]),
                           .path = span_str(paths[dice(COUNT(paths))]) };
}

static bool lists_name(const struct conf_strings *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], name) == 0)
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

static bool host_item_fits(const char *item, const struct host *host)
{
    size_t len = strlen(item), host_len = host->len;
    struct addr ip;

    if (addr_parse(&ip, span_str(item), 0))
        return host->ip.family != 0 && addr_same_ip(&ip, &host->ip);
    if (host->ip.family != 0)
        return false;
    if (item[0] != '*')
        return strcmp(item, host->name) == 0;
    return host_len > len - 1 && strcmp(host->name + host_len - (len - 1), item + 1) == 0;
}

static bool lists_host(const struct conf_strings *list, const struct host *host)
{
    for (size_t i = 0; host != NULL && i < list->count; i++)
        if (host_item_fits(list->items[i], host))
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

static bool lists_path(const struct conf_strings *list, struct span path)
{
    for (size_t i = 0; i < list->count; i++)
        if (target_path_fits(path, span_str(list->items[i])))
            return true;
    return false;
}

/* Of a path with empty segments both readings count: one of them to deny, both to allow. */
static bool fits_path(const struct conf_policy *p, struct span path)
{
    bool plain = lists_path(&p->paths, path), merged = false;

    for (size_t i = 0; i < p->paths.count; i++)
        merged = merged || target_path_fits_merged(path, span_str(p->paths.items[i]));
    return p->action == ACTION_ALLOW ? plain && merged : plain || merged;
}

static bool lists_certificate(const struct conf_strings *list, const struct client_certificate *c)
{
    bool fits = c != NULL && c->subject.len > 0 && lists_path(list, c->subject);

    for (size_t i = 0; c != NULL && i < c->name_count; i++)
        fits = fits || lists_path(list, c->names[i]);
    return fits;
}

/* A policy that allows and inspects looks into TLS: what is asked of requests is not known there, ever. */
static bool looks_into(const struct conf_policy *p, unsigned protocols)
{
    return p->inspect && p->action == ACTION_ALLOW && (protocols & (CONF_HTTP | CONF_WEBSOCKET));
}

/* A condition that is there, over facts that are known or not. */
static enum truth truth_of(const struct facts *f, unsigned needs, bool last, bool fits)
{
    if (f->known & needs)
        return fits ? YES : NO;
    return last ? NO : UNKNOWN;
}

/* All conditions of a policy together. */
static enum truth ask(const struct conf_policy *p, const struct facts *facts, bool last)
{
    struct facts known = *facts, *f = &known;
    bool tls = (f->known & KNOWN_PROTOCOL) && f->protocol == CONF_TLS;
    unsigned protocols = p->protocols_given ? p->protocols : CONF_HTTP | CONF_WEBSOCKET | CONF_TLS;
    char method[16];
    bool into = tls && looks_into(p, protocols), unknown = into;

    if (tls)
        f->known &= ~(unsigned)KNOWN_REQUEST;
    if (p->inspect)
        protocols = looks_into(p, protocols) ? protocols | CONF_TLS : protocols & ~(unsigned)CONF_TLS;
    assert_true(span_cstr(f->method, method, sizeof(method)));
    const enum truth all[] = {
        p->listeners.count == 0 ? YES : truth_of(f, KNOWN_FLOW, last, lists_name(&p->listeners, listener_names[f->listener])),
        p->from.count == 0 ? YES : truth_of(f, KNOWN_FLOW, last, lists_name(&p->from, zone_names[f->zone_in])),
        p->clients.count == 0 ? YES : truth_of(f, KNOWN_FLOW, last, lists_address(&p->clients, &f->client)),
        p->hosts.count == 0 ? YES : truth_of(f, KNOWN_TARGET, last, lists_host(&p->hosts, f->host)),
        p->ports.count == 0 ? YES : truth_of(f, KNOWN_TARGET, last, lists_port(&p->ports, f->port)),
        p->to.count == 0 || f->operators_word ? YES : truth_of(f, KNOWN_ADDRESS, last, lists_name(&p->to, zone_names[f->zone_out])),
        p->networks.count == 0 ? YES : truth_of(f, KNOWN_ADDRESS, last, lists_address(&p->networks, &f->server)),
        truth_of(f, KNOWN_PROTOCOL, last, protocols & f->protocol),
        p->methods.count == 0 ? YES : truth_of(f, KNOWN_REQUEST, last && !into, lists_name(&p->methods, method)),
        p->paths.count == 0 ? YES : truth_of(f, KNOWN_REQUEST, last && !into, fits_path(p, f->path)),
        p->tls_fingerprints.count == 0 ? YES
                                       : truth_of(f, KNOWN_HELLO, last, f->ja4.len > 0 && lists_path(&p->tls_fingerprints, f->ja4)),
        p->client_certificates.count == 0
            ? YES
            : truth_of(f, KNOWN_FLOW, last, lists_certificate(&p->client_certificates, f->certificate)),
    };

    for (size_t i = 0; i < COUNT(all); i++) {
        if (all[i] == NO)
            return NO;
        unknown = unknown || all[i] == UNKNOWN;
    }
    return unknown ? UNKNOWN : YES;
}

/* The walk of the design, word by word. Returns the policy that grants or denies; -1: none. */
static int walk(const struct facts *f, bool last, bool *granted, bool *remembered)
{
    int first_remembered = -1, decided = -1;

    for (size_t i = 0; i < conf.policy_count && decided < 0; i++) {
        enum truth truth = ask(&policies[i], f, last);

        if (truth == YES)
            decided = (int)i;
        else if (truth == UNKNOWN && policies[i].action == ACTION_ALLOW && first_remembered < 0)
            first_remembered = (int)i;
    }
    *remembered = first_remembered >= 0;
    *granted = *remembered || (decided >= 0 && policies[decided].action == ACTION_ALLOW);
    return *remembered ? first_remembered : decided;
}

static int expected(struct facts f, bool last, bool *granted, bool *remembered)
{
    int best = -1;

    if (last || (f.known & KNOWN_PROTOCOL))
        return walk(&f, last, granted, remembered);
    *granted = false;
    f.known |= KNOWN_PROTOCOL;
    for (f.protocol = CONF_HTTP; f.protocol <= CONF_TUNNEL; f.protocol <<= 1) {
        bool this_granted, ignored;
        int policy = walk(&f, false, &this_granted, &ignored);

        if ((this_granted && !*granted) || (this_granted == *granted && policy >= 0 && (best < 0 || policy < best)))
            best = policy;
        *granted = *granted || this_granted;
    }
    *remembered = *granted;
    return best;
}

/* Near misses agree with the oracle about which policies are false. */
static void check_near(const struct rules *rules, const struct facts *f, bool last)
{
    static struct rules_near near[POLICIES];
    size_t count = rules_near(rules, f, last, near, POLICIES), wanted = 0;

    for (size_t i = 0; i < conf.policy_count; i++)
        wanted += policies[i].action == ACTION_ALLOW && ask(&policies[i], f, last) == NO;
    assert_int_equal(count, wanted);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ask(&policies[near[i].policy], f, last), NO);
        assert_int_equal(near[i].false_count, __builtin_popcount(near[i].false_set));
        assert_int_equal(near[i].condition, __builtin_ctz(near[i].false_set));
        assert_true(i == 0 || near[i - 1].false_count <= near[i].false_count);
    }
}

static void test_against_oracle(void **state)
{
    size_t outcomes[3] = { 0 };

    (void)state;
    srand(7);
    for (size_t i = 0; i < ZONES; i++)
        strcpy(zones[i].name, zone_names[i]);
    for (size_t i = 0; i < LISTENERS; i++)
        strcpy(listeners[i].name, listener_names[i]);
    for (int round = 0; round < ROUNDS; round++) {
        struct rules *rules;

        make_policies();
        rules = rules_new(&conf, NULL);
        assert_non_null(rules);
        for (int i = 0; i < QUESTIONS; i++) {
            struct facts f = make_facts();
            bool last = dice(2) == 0, granted, remembered;
            struct verdict v = rules_judge(rules, &f, last);
            int policy = expected(f, last, &granted, &remembered);

            assert_int_equal(v.policy, policy);
            assert_int_equal(v.granted, granted);
            assert_int_equal(v.remembered, granted && remembered);
            assert_int_equal(v.drop, !granted && policy >= 0 && policies[policy].action == ACTION_DROP);
            assert_int_equal(v.reason, granted ? R_NONE : policy >= 0 ? R_POLICY_DENIED : R_NO_POLICY);
            outcomes[v.granted ? 1 + v.remembered : 0]++;
            if (i % 20 == 0)
                check_near(rules, &f, last);
        }
        rules_free(rules);
    }
    for (size_t i = 0; i < 3; i++) /* the questions are worth asking */
        assert_true(outcomes[i] > ROUNDS * QUESTIONS / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_against_oracle) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
