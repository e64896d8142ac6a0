/* SPDX-License-Identifier: ISC */
#include "app/filter_blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct network network(const char *text)
{
    struct network n;

    if (!network_parse(&n, span_str(text)))
        abort();
    return n;
}

static struct addr address(const char *text)
{
    struct addr a;

    if (!addr_parse(&a, span_str(text), 0))
        abort();
    return a;
}

static struct blocks *some_blocks(void)
{
    struct blocks *b = blocks_new();

    assert_non_null(b);
    return b;
}

static struct hostile *some_hostile(void)
{
    struct hostile *h = hostile_new();

    assert_non_null(h);
    return h;
}

static void add(struct blocks *b, const char *text, uint64_t until_ms)
{
    struct network n = network(text);

    assert_true(blocks_add(b, &n, until_ms, "test"));
}

static bool has(const struct blocks *b, const char *text, uint64_t now_ms)
{
    struct addr a = address(text);

    return blocks_has(b, &a, now_ms);
}

static void test_a_block_holds_its_network_until_it_ends(void **state)
{
    struct blocks *b = some_blocks();

    (void)state;
    add(b, "192.0.2.0/30", 5000);
    add(b, "2001:db8:1::/64", 6000);
    assert_true(has(b, "192.0.2.3", 4999));
    assert_false(has(b, "192.0.2.4", 4999));
    assert_false(has(b, "192.0.2.3", 5000));
    assert_true(has(b, "2001:db8:1::ffff", 5999));
    assert_false(has(b, "2001:db8:1:1::", 5999));
    assert_int_equal(blocks_expire(b, 4999), 2);
    assert_int_equal(blocks_expire(b, 5000), 1);
    assert_int_equal(blocks_expire(b, 6000), 0);
    blocks_free(b);
}

static void test_adding_again_prolongs(void **state)
{
    struct blocks *b = some_blocks();
    struct network n = network("192.0.2.1");

    (void)state;
    add(b, "192.0.2.1", 5000);
    assert_true(blocks_add(b, &n, 9000, "operator"));
    assert_int_equal(blocks_count(b), 1);
    assert_int_equal(blocks_at(b, 0)->until_ms, 9000);
    assert_string_equal(blocks_at(b, 0)->why, "operator");
    blocks_free(b);
}

static void test_one_is_removed_and_the_others_stay(void **state)
{
    struct blocks *b = some_blocks();
    struct network middle = network("192.0.2.2"), wider = network("192.0.2.2/31");

    (void)state;
    add(b, "192.0.2.1", 5000);
    add(b, "192.0.2.2", 5000);
    add(b, "192.0.2.3", 5000);
    assert_false(blocks_remove(b, &wider));
    assert_true(blocks_remove(b, &middle));
    assert_false(blocks_remove(b, &middle));
    assert_true(has(b, "192.0.2.1", 0));
    assert_false(has(b, "192.0.2.2", 0));
    assert_true(has(b, "192.0.2.3", 0));
    blocks_free(b);
}

static void test_the_list_is_bounded(void **state)
{
    struct blocks *b = some_blocks();
    struct network n = network("198.18.0.0/32");

    (void)state;
    for (unsigned i = 0; i < BLOCKS_MAX; i++) {
        n.base.ip[2] = (uint8_t)(i >> 8);
        n.base.ip[3] = (uint8_t)i;
        assert_true(blocks_add(b, &n, 1000, "x"));
    }
    assert_true(blocks_add(b, &n, 2000, "x")); /* prolongs */
    n.base.ip[1] = 19;
    assert_false(blocks_add(b, &n, 1000, "x"));
    assert_int_equal(blocks_expire(b, 1000), 1);
    assert_true(blocks_add(b, &n, 3000, "x"));
    blocks_free(b);
}

static void test_what_is_left_is_rounded_up(void **state)
{
    struct blocks *b = some_blocks();
    struct ruleset_block *list;
    size_t count;

    (void)state;
    add(b, "192.0.2.1", 1000);
    add(b, "192.0.2.2", 2001);
    add(b, "192.0.2.3", 3000);
    list = blocks_list(b, 1000, &count);
    assert_non_null(list);
    assert_int_equal(count, 2);
    assert_int_equal(list[0].seconds, 2);
    assert_int_equal(list[1].seconds, 2);
    assert_int_equal(list[0].network.base.ip[3], 2);
    free(list);
    blocks_free(b);
}

static void test_a_client_is_an_address_or_a_64(void **state)
{
    struct addr v4 = address("192.0.2.9"), v6 = address("2001:db8:1:2:3:4:5:6");
    struct network n4 = block_network(&v4), n6 = block_network(&v6), expected = network("2001:db8:1:2::/64");

    (void)state;
    assert_int_equal(n4.bits, 32);
    assert_true(addr_same_ip(&n4.base, &v4));
    assert_int_equal(n6.bits, 64);
    assert_true(addr_same_ip(&n6.base, &expected.base));
}

static void test_events_count_for_a_minute_and_no_longer(void **state)
{
    struct hostile *h = some_hostile();
    struct addr a = address("192.0.2.1");

    (void)state;
    assert_int_equal(hostile_count(h, &a, 0), 1);
    assert_int_equal(hostile_count(h, &a, 30000), 2);
    assert_int_equal(hostile_count(h, &a, 54999), 3);
    assert_int_equal(hostile_count(h, &a, 60000), 3); /* the first is gone */
    assert_int_equal(hostile_count(h, &a, 90000), 3); /* and the second */
    assert_int_equal(hostile_count(h, &a, 10000000), 1);
    hostile_free(h);
}

static void test_a_burst_counts_whole(void **state)
{
    struct hostile *h = some_hostile();
    struct addr a = address("192.0.2.1");

    (void)state;
    for (unsigned i = 1; i <= 1000; i++)
        assert_int_equal(hostile_count(h, &a, 123456 + i), i);
    assert_int_equal(hostile_count(h, &a, 123456 + 54000), 1001);
    assert_int_equal(hostile_count(h, &a, 123456 + 66000), 2);
    hostile_free(h);
}

static void test_clients_are_counted_apart(void **state)
{
    struct hostile *h = some_hostile();
    struct addr a = address("192.0.2.1"), b = address("192.0.2.2"), c = address("2001:db8::1"), same = address("2001:db8::ffff"),
                other = address("2001:db8:0:1::1");

    (void)state;
    a.port = 1000;
    assert_int_equal(hostile_count(h, &a, 1000), 1);
    a.port = 2000;
    assert_int_equal(hostile_count(h, &a, 1000), 2);
    assert_int_equal(hostile_count(h, &b, 1000), 1);
    assert_int_equal(hostile_count(h, &c, 1000), 1);
    assert_int_equal(hostile_count(h, &same, 1000), 2);
    assert_int_equal(hostile_count(h, &other, 1000), 1);
    hostile_forget(h, &a);
    assert_int_equal(hostile_count(h, &a, 1000), 1);
    assert_int_equal(hostile_count(h, &b, 1000), 2);
    hostile_free(h);
}

/* Whoever sends from ever new addresses must not make the table forget a loud one. */
static void test_a_loud_client_is_not_covered_by_quiet_ones(void **state)
{
    struct hostile *h = some_hostile();
    struct addr loud = address("192.0.2.1"), quiet = address("198.18.0.0");

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        (void)hostile_count(h, &loud, 1000);
    for (unsigned i = 0; i < 4 * HOSTILE_MAX; i++) {
        quiet.ip[1] = (uint8_t)(18 + (i >> 16));
        quiet.ip[2] = (uint8_t)(i >> 8);
        quiet.ip[3] = (uint8_t)i;
        assert_int_equal(hostile_count(h, &quiet, 1000), 1);
    }
    assert_int_equal(hostile_count(h, &loud, 1000), 11);
    hostile_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_block_holds_its_network_until_it_ends),
        cmocka_unit_test(test_adding_again_prolongs),
        cmocka_unit_test(test_one_is_removed_and_the_others_stay),
        cmocka_unit_test(test_the_list_is_bounded),
        cmocka_unit_test(test_what_is_left_is_rounded_up),
        cmocka_unit_test(test_a_client_is_an_address_or_a_64),
        cmocka_unit_test(test_events_count_for_a_minute_and_no_longer),
        cmocka_unit_test(test_a_burst_counts_whole),
        cmocka_unit_test(test_clients_are_counted_apart),
        cmocka_unit_test(test_a_loud_client_is_not_covered_by_quiet_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
