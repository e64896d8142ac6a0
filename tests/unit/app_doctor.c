/* SPDX-License-Identifier: ISC */
/* The doctor's checks that need neither privilege nor packet filter: zones and interfaces, and the form of what is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/filter_doctor.h"

#include <stdlib.h>
#include <string.h>

static struct doctor d;
static struct generation g;

static void fini(void)
{
    json_decref(d.checks);
    rules_free(g.rules);
    conf_free(g.conf);
    free(g.files);
    memset(&g, 0, sizeof(g));
    d.checks = NULL;
}

/* A doctor of this configuration, on a machine with 10.77.1.1/24 on `interface`. */
static void init(const char *zones, const char *interface)
{
    struct conf_messages messages;
    char text[1024];

    snprintf(text, sizeof(text),
             "zones = (%s); listeners = ({ name = \"p\"; mode = \"explicit\"; address = \"127.0.0.1:3128\"; });"
             "policies = ({ name = \"a\"; ports = 80; action = \"allow\"; });",
             zones);
    g.conf = conf_parse("postern.conf", span_str(text), &messages);
    if (g.conf == NULL)
        fail_msg("%s", messages.errors[0]);
    conf_messages_fini(&messages);
    g.files = calloc(1, sizeof(*g.files));
    g.rules = rules_new(g.conf, g.files);
    assert_non_null(g.rules);
    doctor_init(&d, NULL, &g);
    d.own_count = 1;
    d.own[0].bits = 24;
    snprintf(d.own[0].interface, sizeof(d.own[0].interface), "%s", interface);
    assert_true(addr_parse(&d.own[0].address, SPAN("10.77.1.1"), 0));
}

static const json_t *only_check(void)
{
    assert_int_equal(json_array_size(d.checks), 1);
    return json_array_get(d.checks, 0);
}

/* What the check finds, or NULL: all is well. */
static void test_zones(void **state)
{
    static const struct {
        const char *zones, *finding, *mend;
    } cases[] = {
        { "{ name = \"in\"; networks = [ \"10.77.1.0/24\" ]; }, { name = \"out\"; networks = [ \"0.0.0.0/0\" ]; }", NULL, NULL },
        { "{ name = \"in\"; interfaces = [ \"lan0\" ]; networks = [ \"10.0.0.0/8\" ]; }", NULL, NULL },
        { "{ name = \"all\"; networks = [ \"10.0.0.0/8\" ]; }, { name = \"in\"; networks = [ \"10.77.1.0/24\" ]; }", "in",
          "before" },
        { "{ name = \"in\"; interfaces = [ \"lan0\" ]; }", "10.77.1.0/24 on lan0",
          "add to networks of zone in: \"0.0.0.0/0\", \"::/0\", \"10.77.1.0/24\"" },
        { "{ name = \"in\"; interfaces = [ \"lan0\" ]; networks = [ \"10.77.2.0/24\" ]; }", "10.77.1.0/24 on lan0",
          "10.77.1.0/24" },
        { "{ name = \"in\"; interfaces = [ \"lan1\" ]; }", NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *finding, *mend;
        const json_t *check;

        init(cases[i].zones, "lan0");
        doctor_zones(&d);
        check = only_check();
        finding = json_string_value(json_object_get(check, "finding"));
        mend = json_string_value(json_object_get(check, "mend"));
        if (json_is_true(json_object_get(check, "ok")) != (cases[i].finding == NULL))
            fail_msg("%s: %s", cases[i].zones, finding);
        assert_int_equal(mend == NULL, cases[i].mend == NULL);
        if (cases[i].finding != NULL && (strstr(finding, cases[i].finding) == NULL || strstr(mend, cases[i].mend) == NULL))
            fail_msg("%s: %s; %s", cases[i].zones, finding, mend);
        fini();
    }
}

static void test_interfaces(void **state)
{
    (void)state;
    init("{ name = \"in\"; interfaces = [ \"lo\" ]; networks = [ \"127.0.0.0/8\" ]; }", "lo");
    doctor_interfaces(&d);
    assert_true(json_is_true(json_object_get(only_check(), "ok")));
    fini();
    init("{ name = \"in\"; interfaces = [ \"lo\", \"nosuch0\" ]; }", "lo");
    doctor_interfaces(&d);
    assert_true(json_is_false(json_object_get(only_check(), "ok")));
    assert_string_equal(json_string_value(json_object_get(only_check(), "finding")), "nosuch0 of zone in");
    assert_non_null(json_object_get(only_check(), "mend"));
    fini();
}

static void test_what_is_well_needs_no_mend(void **state)
{
    (void)state;
    init("{ name = \"in\"; networks = [ \"127.0.0.0/8\" ]; }", "lo");
    doctor_check(&d, "a", true, "fine", "do this", "tried");
    doctor_check(&d, "b", false, "bad", "do this", NULL);
    assert_null(json_object_get(json_array_get(d.checks, 0), "mend"));
    assert_string_equal(json_string_value(json_object_get(json_array_get(d.checks, 0), "canary")), "tried");
    assert_string_equal(json_string_value(json_object_get(json_array_get(d.checks, 1), "mend")), "do this");
    assert_null(json_object_get(json_array_get(d.checks, 1), "canary"));
    fini();
}

static void test_sysctl(void **state)
{
    (void)state;
    assert_true(doctor_sysctl("net/ipv4/ip_forward") >= 0);
    assert_int_equal(doctor_sysctl("net/ipv4/no_such_thing"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_zones), cmocka_unit_test(test_interfaces),
                                        cmocka_unit_test(test_what_is_well_needs_no_mend), cmocka_unit_test(test_sysctl) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
