/* SPDX-License-Identifier: ISC */
/*
 * Intercepted flows without a session, as the dry run asks too: what Host and the address that was dialled say together, under each
 * host_check; and the zone self. What is resolved is given by the tables.
 */
#include "session/examine.h"

#include "policy_setting.h"

#define LISTENER(check, port)                                                                                                      \
    "  { name = \"" check "\"; mode = \"transparent\"; address = \"10.0.0.1:" port "\"; intercept = \"tproxy\"; ports = [ 80 ]; "  \
    "host_check = \"" check "\"; from = [ \"inside\" ]; }"

static const char config[] =
    "packet_filter = { backend = \"nftables\"; };\n"
    "zones = ( { name = \"inside\"; networks = [ \"10.0.0.0/8\", \"fd00::/8\", \"127.0.0.0/8\" ]; },\n"
    "          { name = \"outside\"; networks = [ \"0.0.0.0/0\", \"::/0\" ]; } );\n"
    "listeners = ( \n" LISTENER("strict", "3129") ",\n" LISTENER("resolve", "3130") ",\n" LISTENER(
        "off", "3131") " );\n"
                       "policies = ( \n"
                       "  { name = \"own\"; from = \"inside\"; to = \"self\"; hosts = [ \"own.example\" ]; action = \"allow\"; },\n"
                       "  { name = \"web\"; from = \"inside\"; to = \"outside\"; hosts = [ \"web.example\", \"9.9.9.9\", "
                       "\"2606:4700::1111\" ]; action = \"allow\"; },\n"
                       "  { name = \"few\"; from = \"inside\"; to = \"outside\"; hosts = [ \"few.example\" ]; networks = [ "
                       "\"8.8.8.0/24\" ]; action = \"allow\"; } );\n";

enum { STRICT, RESOLVE, OFF, CHECKS };
enum { INSIDE, OUTSIDE };

static struct generation generation;
static struct addr own[3];
static struct judge_context context = { &generation, NULL, own, 3 };

static int set_up(void **state)
{
    struct setting made = compile(config, NULL);

    (void)state;
    generation.conf = made.conf;
    generation.rules = made.rules;
    own[0] = address("10.0.0.1", 0);
    own[1] = address("127.0.0.1", 0);
    own[2] = address("198.51.100.7", 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    discard(&(struct setting){ generation.conf, generation.rules });
    return 0;
}

/* A request as far as its head alone tells. `original` "": nothing is known of it. */
static enum reason examine(struct judgement *j, int check, const char *head_text, const char *original)
{
    static const struct h1_limits limits = { 4096, 50, 1024 };
    static struct h1_head head;
    static char scratch[8192];
    static struct host_memo hosts;
    struct addr client = address("10.1.1.1", 40000), dialled = { 0 };
    struct examine question = { .generation = &generation,
                                .listener = &generation.conf->listeners[check],
                                .original = &dialled,
                                .hosts = &hosts,
                                .scratch = scratch };
    struct target target;
    struct ws_offer offer;

    if (original[0] != '\0')
        dialled = address(original, 80);
    judge_init(j, check, &client, INSIDE);
    if (h1_parse(&head, H1_REQUEST, span_str(head_text), &limits, NULL) != R_NONE)
        fail_msg("%s", head_text);
    return examine_request(&question, &head, &target, j, &offer);
}

/* Host, and what is resolved for each check; NULL: refused with this reason. */
static void test_what_the_head_tells(void **state)
{
    static const struct {
        const char *head, *original;
        enum reason why[CHECKS];
        const char *dial[CHECKS];
    } rows[] = {
        { "GET / HTTP/1.1\r\nHost: web.example\r\n\r\n",
          "9.9.9.9",
          { R_NONE, R_NONE, R_NONE },
          { "web.example", "web.example", "9.9.9.9" } },
        { "GET / HTTP/1.1\r\nHost: web.example:80\r\n\r\n",
          "9.9.9.9",
          { R_NONE, R_NONE, R_NONE },
          { "web.example", "web.example", "9.9.9.9" } },
        { "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n",
          "9.9.9.9",
          { R_NONE, R_NONE, R_NONE },
          { "web.example", "web.example", "9.9.9.9" } },
        { "GET / HTTP/1.1\r\nHost: 9.9.9.9\r\n\r\n", "9.9.9.9", { R_NONE, R_NONE, R_NONE }, { "9.9.9.9", "9.9.9.9", "9.9.9.9" } },
        { "GET / HTTP/1.1\r\nHost: 0x9090909\r\n\r\n", "9.9.9.9", { R_NONE, R_NONE, R_NONE }, { "9.9.9.9", "9.9.9.9", "9.9.9.9" } },
        { "GET / HTTP/1.1\r\nHost: [2606:4700::1111]\r\n\r\n",
          "2606:4700::1111",
          { R_NONE, R_NONE, R_NONE },
          { "2606:4700::1111", "2606:4700::1111", "2606:4700::1111" } },
        { "GET / HTTP/1.1\r\nHost: [::ffff:9.9.9.9]\r\n\r\n",
          "9.9.9.9",
          { R_NONE, R_NONE, R_NONE },
          { "9.9.9.9", "9.9.9.9", "9.9.9.9" } },
        { "GET / HTTP/1.0\r\n\r\n", "9.9.9.9", { R_NONE, R_NONE, R_NONE }, { "9.9.9.9", "9.9.9.9", "9.9.9.9" } },
        { "GET / HTTP/1.1\r\nHost: 9.9.9.8\r\n\r\n",
          "9.9.9.9",
          { R_HOST_MISMATCH, R_HOST_MISMATCH, R_NONE },
          { NULL, NULL, "9.9.9.9" } },
        { "GET / HTTP/1.1\r\nHost: web.example:8080\r\n\r\n",
          "9.9.9.9",
          { R_HOST_MISMATCH, R_HOST_MISMATCH, R_HOST_MISMATCH },
          { NULL } },
        { "GET http://other.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n",
          "9.9.9.9",
          { R_HOST_MISMATCH, R_HOST_MISMATCH, R_HOST_MISMATCH },
          { NULL } },
        { "CONNECT web.example:80 HTTP/1.1\r\nHost: web.example\r\n\r\n",
          "9.9.9.9",
          { R_TARGET_MALFORMED, R_TARGET_MALFORMED, R_TARGET_MALFORMED },
          { NULL } },
        { "GET / HTTP/1.1\r\nHost: web.example\r\n\r\n",
          "",
          { R_NO_ORIGINAL_DESTINATION, R_NO_ORIGINAL_DESTINATION, R_NO_ORIGINAL_DESTINATION },
          { NULL } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int check = 0; check < CHECKS; check++) {
            struct judgement j;
            enum reason why = examine(&j, check, rows[i].head, rows[i].original);

            if (why != rows[i].why[check])
                fail_msg("row %zu, check %d: %s", i, check, reason_name(why));
            if (why == R_NONE && !span_eq(host_span(&j.dial), span_str(rows[i].dial[check])))
                fail_msg("row %zu, check %d: %.*s is resolved", i, check, (int)j.dial.len, j.dial.name);
            assert_true(why != R_NONE || j.port == 80);
        }
}

static enum reason begin(struct judgement *j, int check, const char *host, const char *original)
{
    char head[256];
    enum reason why;

    snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host);
    why = examine(j, check, head, original);
    return why == R_NONE ? judge_target(&context, j) : why;
}

/* The name resolved to these; which are dialled? */
static void test_what_is_dialled(void **state)
{
    static const struct {
        int check;
        const char *original, *resolved[3];
        enum reason why;
        const char *dialled[3];
    } rows[] = {
        { STRICT, "9.9.9.9", { "1.1.1.1", "9.9.9.9", "2.2.2.2" }, R_NONE, { "9.9.9.9" } },
        { STRICT, "9.9.9.9", { "192.168.1.1", "9.9.9.9" }, R_NONE, { "9.9.9.9" } }, /* the others are nobody's business */
        { STRICT, "9.9.9.9", { "1.1.1.1", "2.2.2.2" }, R_HOST_MISMATCH, { NULL } },
        { STRICT, "2606:4700::1111", { "2606:4700::1111" }, R_NONE, { "2606:4700::1111" } },
        { STRICT, "2606:4700::1111", { "9.9.9.9" }, R_HOST_MISMATCH, { NULL } },
        { RESOLVE, "9.9.9.9", { "1.1.1.1", "2.2.2.2" }, R_NONE, { "1.1.1.1", "2.2.2.2" } },
        { RESOLVE, "9.9.9.9", { "1.1.1.1", "192.168.1.1" }, R_ADDRESS_PRIVATE, { NULL } },
        { OFF, "9.9.9.9", { "9.9.9.9" }, R_NONE, { "9.9.9.9" } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct judgement j;
        enum reason why;
        size_t count = 0;

        assert_int_equal(begin(&j, rows[i].check, "web.example", rows[i].original), R_NONE);
        for (; count < 3 && rows[i].resolved[count] != NULL; count++)
            j.addresses[count] = address(rows[i].resolved[count], j.port);
        j.address_count = count;
        why = judge_addresses(&context, &j, true);
        if (why != rows[i].why)
            fail_msg("row %zu: %s", i, reason_name(why));
        for (size_t k = 0; why == R_NONE && k < j.address_count; k++) {
            struct addr expected = address(rows[i].dialled[k], 80);

            assert_true(addr_eq(&j.addresses[k], &expected));
        }
    }
}

/* Where it is settled which address is dialled, no name is resolved that may not be dialled there. */
static void test_before_the_look_up(void **state)
{
    struct judgement j;

    (void)state;
    assert_int_equal(begin(&j, STRICT, "few.example", "8.8.8.8"), R_NONE);
    assert_int_equal(j.address_count, 0);
    assert_int_equal(j.trail_count, 2); /* flow, target: what was asked early is asked again */
    assert_false(j.facts.known & KNOWN_ADDRESS);
    assert_int_equal(begin(&j, STRICT, "few.example", "9.9.9.9"), R_NO_POLICY);
    assert_int_equal(j.stage, STAGE_ADDRESS);
    assert_int_equal(begin(&j, STRICT, "web.example", "192.168.1.1"), R_ADDRESS_PRIVATE);
    assert_int_equal(begin(&j, RESOLVE, "few.example", "9.9.9.9"), R_NONE); /* the name may mean another address */
    assert_int_equal(begin(&j, STRICT, "other.example", "9.9.9.9"), R_NO_POLICY);
    assert_int_equal(j.stage, STAGE_TARGET);
}

/* This machine's own addresses are zone self, whatever zone their network is; its loopback addresses are not. */
static void test_zone_self(void **state)
{
    static const struct {
        const char *at;
        int zone; /* -2: self */
    } rows[] = { { "10.0.0.1", -2 },      { "198.51.100.7", -2 }, { "::ffff:10.0.0.1", -2 },   { "10.0.0.2", INSIDE },
                 { "127.0.0.1", INSIDE }, { "9.9.9.9", OUTSIDE }, { "192.168.1.1", ZONE_NONE } };
    struct judgement j;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct addr a = address(rows[i].at, 80);
        int expected = rows[i].zone == -2 ? zones_self(generation.conf) : rows[i].zone;

        if (judge_zone(&context, &a, "") != expected)
            fail_msg("%s is in zone %d", rows[i].at, judge_zone(&context, &a, ""));
    }
    assert_int_equal(begin(&j, STRICT, "own.example", "10.0.0.1"), R_NONE);
    j.addresses[0] = address("10.0.0.1", 80);
    j.address_count = 1;
    assert_int_equal(judge_addresses(&context, &j, true), R_NONE);
    assert_string_equal(generation.conf->policies[j.verdict.policy].name, "own");
    assert_int_equal(begin(&j, STRICT, "web.example", "10.0.0.1"), R_NO_POLICY);
    assert_int_equal(begin(&j, STRICT, "own.example", "10.0.0.2"), R_NO_POLICY);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_the_head_tells), cmocka_unit_test(test_what_is_dialled),
                                        cmocka_unit_test(test_before_the_look_up), cmocka_unit_test(test_zone_self) };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
