/* SPDX-License-Identifier: ISC */
/* Judging addresses: every one must pass, none may be ours, and `explain` sees each step. */
#include "session/judge.h"

#include "policy_setting.h"

#define LISTENER(name, address) "  { name = \"" name "\"; mode = \"explicit\"; address = \"" address "\"; from = [ \"inside\" ]; }"

static const char config[] =
    "zones = ( { name = \"inside\"; networks = [ \"10.0.0.0/8\", \"fd00::/8\", \"127.0.0.0/8\", \"::1\" ]; },\n"
    "          { name = \"outside\"; networks = [ \"0.0.0.0/0\", \"::/0\" ]; } );\n"
    "listeners = ( \n" LISTENER("proxy", "10.0.0.1:3128") ",\n" LISTENER("any4", "0.0.0.0:4128") ",\n" LISTENER(
        "any6", "[::]:6128") ",\n"
                             "  { name = \"app\"; mode = \"reverse\"; address = \"10.0.0.1:8080\"; upstreams = [ "
                             "\"192.168.9.9:80\" ]; } );\n"
                             "policies = ( \n"
                             "  { name = \"no-hosts\"; networks = [ \"198.18.5.0/24\", \"93.184.0.0/16\" ]; action = \"deny\"; },\n"
                             "  { name = \"service\"; listeners = [ \"app\" ]; action = \"allow\"; },\n"
                             "  { name = \"first\"; from = \"inside\"; to = \"outside\"; networks = [ \"8.8.0.0/16\" ]; action = "
                             "\"allow\"; },\n"
                             "  { name = \"web\"; from = \"inside\"; to = \"outside\"; hosts = [ \"web.example\" ]; action = "
                             "\"allow\"; },\n"
                             "  { name = \"home\"; from = \"inside\"; to = [ \"inside\", \"self\" ]; hosts = [ \"home.example\" ]; "
                             "action = "
                             "\"allow\"; } );\n";

enum { PROXY, ANY4, ANY6, APP }; /* listeners */
enum { INSIDE, OUTSIDE };        /* zones */

static struct generation generation;
static struct addr own[2];
static struct judge_context context = { &generation, NULL, own, 2 };

static int set_up(void **state)
{
    struct setting made = compile(config, NULL);

    (void)state;
    generation.conf = made.conf;
    generation.rules = made.rules;
    own[0] = address("10.0.0.1", 0);
    own[1] = address("fd00::1", 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    discard(&(struct setting){ generation.conf, generation.rules });
    return 0;
}

/* As far as a request for http://HOST:PORT/ by a client inside comes before its name is resolved. */
static enum reason begin_at(struct judgement *j, int listener, const char *host, uint16_t port)
{
    struct addr client = address("10.1.1.1", 40000);

    judge_init(j, listener, &client, INSIDE);
    if (!host_parse(&j->host, span_str(host)))
        fail_msg("%s", host);
    j->port = port;
    j->facts.known |= KNOWN_PROTOCOL;
    j->facts.protocol = CONF_HTTP;
    return judge_target(&context, j);
}

static void begin(struct judgement *j, const char *host, uint16_t port)
{
    assert_int_equal(begin_at(j, PROXY, host, port), R_NONE);
}

static enum reason judge(struct judgement *j, const char *const *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        j->addresses[i] = address(addresses[i], j->port);
    j->address_count = count;
    return judge_addresses(&context, j, true);
}

static enum reason judge_one(struct judgement *j, const char *at)
{
    return judge(j, &at, 1);
}

static void test_target(void **state)
{
    struct judgement j;

    (void)state;
    begin(&j, "web.example", 80);
    assert_int_equal(j.stage, STAGE_TARGET);
    assert_int_equal(j.trail_count, 2);
    assert_int_equal(j.trail[0].stage, STAGE_FLOW);
    assert_true(j.verdict.remembered); /* the address is not known yet */
    assert_ptr_equal(j.facts.host, &j.host);
    begin(&j, "other.example", 80); /* "first" could still allow it */
    assert_int_equal(begin_at(&j, ANY4, "web.example", 80), R_NONE);
    assert_int_equal(begin_at(&j, APP, "web.example", 80), R_NONE);
}

/* A client that no policy could serve is told before any name is looked at. */
static void test_flow_is_judged_first(void **state)
{
    struct judgement j;
    struct addr client = address("8.8.4.4", 1);

    (void)state;
    judge_init(&j, PROXY, &client, OUTSIDE);
    assert_true(host_parse(&j.host, SPAN("web.example")));
    j.port = 80;
    assert_int_not_equal(judge_target(&context, &j), R_NONE);
    assert_int_equal(j.stage, STAGE_FLOW);
    assert_int_equal(j.trail_count, 1);
    judge_init(&j, PROXY, &client, ZONE_NONE);
    assert_int_equal(judge_target(&context, &j), R_ZONE_UNKNOWN);
}

static void test_each_has_its_policy(void **state)
{
    static const char *const two[] = { "9.9.9.9", "8.8.8.8" };
    struct judgement j;

    (void)state;
    begin(&j, "web.example", 80);
    assert_int_equal(judge(&j, two, 2), R_NONE);
    assert_string_equal(generation.conf->policies[j.policies[0]].name, "web");
    assert_string_equal(generation.conf->policies[j.policies[1]].name, "first");
    assert_int_equal(j.zones[0], OUTSIDE);
    assert_int_equal(j.verdict.policy, j.policies[0]); /* the facts are those of the first one */
    assert_true(addr_eq(&j.facts.server, &j.addresses[0]));
    judge_choose(&j, 1); /* the one that was connected */
    assert_int_equal(j.verdict.policy, j.policies[1]);
    assert_true(addr_eq(&j.facts.server, &j.addresses[1]));
    assert_int_equal(j.facts.zone_out, OUTSIDE);
}

/* One bad address among good ones, wherever it stands, and all are refused. */
static void test_every_address_must_pass(void **state)
{
    static const struct {
        const char *bad;
        enum reason why;
    } rows[] = {
        { "192.168.1.1", R_ADDRESS_PRIVATE }, /* special-purpose, in no zone */
        { "169.254.169.254", R_ADDRESS_PRIVATE },
        { "::ffff:192.168.1.1", R_ADDRESS_PRIVATE },
        { "2002:c0a8:101::1", R_ADDRESS_PRIVATE },  /* 6to4 of 192.168.1.1 */
        { "64:ff9b::c0a8:101", R_ADDRESS_PRIVATE }, /* NAT64 */
        { "0.0.0.0", R_ADDRESS_PRIVATE },
        { "224.0.0.1", R_ADDRESS_PRIVATE },
        { "10.2.2.2", R_NO_POLICY }, /* in a zone that web.example does not lead to */
        { "127.0.0.1", R_NO_POLICY },
        { "93.184.216.34", R_POLICY_DENIED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t place = 0; place < 3; place++) {
            const char *addresses[3] = { "9.9.9.9", "1.1.1.1", "2606:4700::1111" };
            struct judgement j;
            enum reason why;

            addresses[place] = rows[i].bad;
            begin(&j, "web.example", 80);
            why = judge(&j, addresses, 3);
            if (why != rows[i].why)
                fail_msg("%s at %zu: %s", rows[i].bad, place, reason_name(why));
            assert_true(addr_same_ip(&j.facts.server, &j.addresses[place])); /* `explain` names the one that did not pass */
            assert_int_equal(j.policies[place], -1);
        }
    }
}

static void test_zone_with_networks_inside(void **state)
{
    struct judgement j;

    (void)state;
    begin(&j, "home.example", 80);
    assert_int_equal(judge_one(&j, "10.2.2.2"), R_NONE);
    assert_int_equal(j.zones[0], INSIDE);
    begin(&j, "home.example", 80);
    assert_int_equal(judge_one(&j, "fd00::99"), R_NONE);
    begin(&j, "home.example", 80);
    assert_int_equal(judge_one(&j, "9.9.9.9"), R_NO_POLICY);
}

/* A stream to one of our own listeners would come back: allowed or not by the policies, it is a loop. */
static void test_loop(void **state)
{
    static const struct {
        const char *at;
        uint16_t port;
        enum reason why;
    } rows[] = {
        { "10.0.0.1", 3128, R_LOOP },        { "10.0.0.1", 3129, R_NONE }, { "10.0.0.2", 3128, R_NONE },
        { "::ffff:10.0.0.1", 3128, R_LOOP }, { "10.0.0.1", 8080, R_LOOP }, /* the reverse listener is ours, too */
        { "10.0.0.1", 4128, R_LOOP },  /* a wildcard listens on each of the machine's addresses, */
        { "127.0.0.1", 4128, R_LOOP }, /* on all of loopback, */
        { "127.9.9.9", 4128, R_LOOP },       { "10.0.0.2", 4128, R_NONE }, /* and on no other machine's */
        { "fd00::1", 6128, R_LOOP },         { "::1", 6128, R_LOOP },      { "fd00::2", 6128, R_NONE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct judgement j;
        enum reason why;

        begin(&j, "home.example", rows[i].port);
        why = judge_one(&j, rows[i].at);
        if (why != rows[i].why)
            fail_msg("%s:%u: %s", rows[i].at, rows[i].port, reason_name(why));
    }
    for (size_t i = 0; i < 2; i++) { /* nor does it need a policy that would allow it */
        struct judgement j;

        begin(&j, "web.example", 3128 + (uint16_t)i);
        assert_int_equal(judge_one(&j, "10.0.0.1"), i == 0 ? R_LOOP : R_NO_POLICY);
    }
}

/* The upstream of a reverse listener needs no zone and may be private; a loop it may not be. */
static void test_operators_word(void **state)
{
    struct judgement j;

    (void)state;
    assert_int_equal(begin_at(&j, APP, "app.example", 80), R_NONE);
    assert_int_equal(judge_one(&j, "192.168.9.9"), R_ADDRESS_PRIVATE);
    assert_int_equal(begin_at(&j, APP, "app.example", 80), R_NONE);
    j.facts.operators_word = true;
    assert_int_equal(judge_one(&j, "192.168.9.9"), R_NONE);
    assert_string_equal(generation.conf->policies[j.policies[0]].name, "service");
    assert_int_equal(j.zones[0], ZONE_NONE);
    assert_int_equal(begin_at(&j, APP, "app.example", 8080), R_NONE);
    j.facts.operators_word = true;
    assert_int_equal(judge_one(&j, "10.0.0.1"), R_LOOP);
    assert_int_equal(begin_at(&j, APP, "app.example", 80), R_NONE);
    j.facts.operators_word = true;
    assert_int_equal(judge_one(&j, "93.184.216.34"), R_POLICY_DENIED); /* an earlier policy says so */
}

/* The trail is bounded: more addresses than it holds are judged all the same. */
static void test_long_trail(void **state)
{
    const char *addresses[DIAL_ADDRESSES];
    struct judgement j;

    (void)state;
    for (size_t i = 0; i < DIAL_ADDRESSES; i++)
        addresses[i] = "9.9.9.9";
    begin(&j, "web.example", 80);
    assert_int_equal(judge(&j, addresses, DIAL_ADDRESSES), R_NONE);
    assert_int_equal(j.trail_count, JUDGE_TRAIL);
    addresses[DIAL_ADDRESSES - 1] = "192.168.1.1";
    begin(&j, "web.example", 80);
    assert_int_equal(judge(&j, addresses, DIAL_ADDRESSES), R_ADDRESS_PRIVATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target),
        cmocka_unit_test(test_flow_is_judged_first),
        cmocka_unit_test(test_each_has_its_policy),
        cmocka_unit_test(test_every_address_must_pass),
        cmocka_unit_test(test_zone_with_networks_inside),
        cmocka_unit_test(test_loop),
        cmocka_unit_test(test_operators_word),
        cmocka_unit_test(test_long_trail),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
