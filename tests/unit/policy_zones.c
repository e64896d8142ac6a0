/* SPDX-License-Identifier: ISC */
/* Zones: interfaces, networks, the first that fits, and special-purpose addresses. */
#include "policy/zones.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MOST 4

/* One zone: interfaces and networks, each a list that ends with NULL. */
struct plan {
    const char *interfaces[MOST], *networks[MOST];
};

/* A configuration that borrows everything from static memory. */
static struct conf *build(const struct plan *plans, size_t count)
{
    static struct conf conf;
    static struct conf_zone zones[MOST];
    static struct network networks[MOST][MOST];
    static char *interfaces[MOST][MOST];

    conf = (struct conf){ .zones = zones, .zone_count = count };
    for (size_t i = 0; i < count; i++) {
        zones[i] = (struct conf_zone){ .interfaces.items = interfaces[i], .networks.items = networks[i] };
        for (const char *const *name = plans[i].interfaces; *name; name++)
            interfaces[i][zones[i].interfaces.count++] = (char *)(uintptr_t)*name;
        for (const char *const *text = plans[i].networks; *text; text++)
            assert_true(network_parse(&networks[i][zones[i].networks.count++], span_str(*text)));
    }
    return &conf;
}

static int find(const struct conf *conf, const char *text, const char *interface)
{
    struct zones *zones = zones_new(conf);
    struct addr a;
    int found;

    if (!addr_parse(&a, span_str(text), 80))
        fail_msg("%s", text);
    assert_non_null(zones);
    found = zones_find(zones, &a, interface);
    zones_free(zones);
    return found;
}

static void test_first_that_fits(void **state)
{
    static const struct plan plans[] = {
        { { "lan0", "lan1" }, { "10.77.1.0/24", "fd77:1::/64" } },
        { { NULL }, { "10.77.0.0/16" } },
        { { "wan0" }, { NULL } },
        { { NULL }, { "0.0.0.0/0", "::/0" } },
    };
    struct conf *conf = build(plans, 4);

    (void)state;
    assert_true(zones_need_interfaces(conf));
    assert_int_equal(find(conf, "10.77.1.9", "lan0"), 0);
    assert_int_equal(find(conf, "fd77:1::9", "lan1"), 0);
    assert_int_equal(find(conf, "10.77.1.9", "lan2"), 1);
    assert_int_equal(find(conf, "10.77.1.9", ""), 1);
    assert_int_equal(find(conf, "10.78.1.9", "lan0"), ZONE_NONE);
    assert_int_equal(find(conf, "fd77:2::9", "lan0"), ZONE_NONE);
    assert_int_equal(find(conf, "8.8.8.8", "wan0"), 2);
    assert_int_equal(find(conf, "8.8.8.8", "wan"), 3);
    assert_int_equal(find(conf, "8.8.8.8", ""), 3);
    assert_int_equal(find(conf, "2606:4700::1", "wan0"), 2);
    struct zones *zones = zones_new(conf);

    assert_non_null(zones);
    assert_int_equal(zones_find(zones, &(struct addr){ .family = 0 }, "wan0"), ZONE_NONE);
    zones_free(zones);
}

/* 0.0.0.0/0, an interface alone, or a network wider than the block never name a special-purpose address. */
static void test_special_addresses(void **state)
{
    static const char *const special[] = { "127.0.0.1",
                                           "10.0.0.1",
                                           "169.254.169.254",
                                           "224.0.0.1",
                                           "255.255.255.255",
                                           "0.0.0.0",
                                           "100.64.0.1",
                                           "::1",
                                           "::",
                                           "fe80::1",
                                           "fd00:ec2::254",
                                           "ff02::1",
                                           "::127.0.0.1",
                                           "::ffff:10.0.0.1",
                                           "2002:7f00:1::",
                                           "64:ff9b::a9fe:a9fe",
                                           "2001:0:4136:e378:8000:63bf:80ff:fffe" };
    static const struct plan wide[] = { { { NULL }, { "0.0.0.0/0", "::/0" } },
                                        { { "wan0" }, { NULL } },
                                        { { NULL }, { "8.0.0.0/5", "fc00::/6", "::/8" } } };
    struct conf *conf = build(wide, 3);

    (void)state;
    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
        if (find(conf, special[i], "wan0") != ZONE_NONE)
            fail_msg("%s", special[i]);
    assert_int_equal(find(conf, "8.8.8.8", "wan0"), 0);
}

static void test_named_special_addresses(void **state)
{
    static const struct plan plans[] = {
        { { NULL }, { "0.0.0.0/0", "127.0.0.0/8", "10.77.1.0/24" } }, /* the block itself, and a part of one */
        { { NULL }, { "fd00::/8", "64:ff9b::/96", "224.0.0.0/3" } },
        { { NULL }, { "2002:7f00::/24" } },
    };
    struct conf *conf = build(plans, 3);

    (void)state;
    assert_false(zones_need_interfaces(conf));
    assert_int_equal(find(conf, "127.0.0.1", ""), 0);
    assert_int_equal(find(conf, "::ffff:127.0.0.1", ""), 0);
    assert_int_equal(find(conf, "10.77.1.200", ""), 0);
    assert_int_equal(find(conf, "10.77.2.1", ""), ZONE_NONE);
    assert_int_equal(find(conf, "fd12::1", ""), 1);
    assert_int_equal(find(conf, "fc12::1", ""), ZONE_NONE);
    assert_int_equal(find(conf, "64:ff9b::10.0.0.1", ""), 1);
    assert_int_equal(find(conf, "224.0.0.1", ""), ZONE_NONE); /* 224.0.0.0/3 is wider than either block in it */
    assert_int_equal(find(conf, "240.0.0.1", ""), ZONE_NONE);
    assert_int_equal(find(conf, "2002:7f00:1::", ""), 2);
    assert_int_equal(find(conf, "2002:a00:1::", ""), ZONE_NONE);
}

static void test_no_zones(void **state)
{
    (void)state;
    assert_int_equal(find(build(NULL, 0), "8.8.8.8", "wan0"), ZONE_NONE);
    assert_false(zones_need_interfaces(build(NULL, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_first_that_fits), cmocka_unit_test(test_special_addresses),
                                        cmocka_unit_test(test_named_special_addresses), cmocka_unit_test(test_no_zones) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
