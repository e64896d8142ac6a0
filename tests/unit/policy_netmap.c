/* SPDX-License-Identifier: ISC */
/* Networks and sets of policies, against lists searched from end to end. */
#include "policy/netmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MEMBERS = 150, NETWORKS = 1500, QUESTIONS = 3000 };

static unsigned dice(unsigned sides)
{
    return (unsigned)rand() % sides;
}

/* Few different bytes, so that networks lie in one another and addresses in networks. */
static struct addr some_address(void)
{
    struct addr a = { .family = dice(2) ? AF_INET : AF_INET6 };

    for (size_t i = 0; i < (a.family == AF_INET ? 4 : 16); i++)
        a.ip[i] = (uint8_t)(dice(3) == 0 ? 0x80 >> dice(8) : 0);
    return a;
}

static struct network some_network(void)
{
    struct network n = { .base = some_address() };
    unsigned most = n.base.family == AF_INET ? 32 : 128;

    n.bits = (uint8_t)dice(most + 1);
    for (unsigned bit = n.bits; bit < most; bit++)
        n.base.ip[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
    return n;
}

static void test_against_list(void **state)
{
    static struct netmap_item items[NETWORKS], list[NETWORKS];
    struct sets *sets = sets_new(MEMBERS);
    uint64_t base[(MEMBERS + 63) / 64] = { 0 }, wanted[(MEMBERS + 63) / 64];
    struct netmap map;

    (void)state;
    srand(3);
    bits_add(base, 7);
    for (size_t i = 0; i < NETWORKS; i++)
        items[i] = (struct netmap_item){ some_network(), dice(MEMBERS) };
    memcpy(list, items, sizeof(items));
    assert_true(netmap_build(&map, items, NETWORKS, sets, sets_intern(sets, base)));
    for (int q = 0; q < QUESTIONS; q++) {
        struct addr a = some_address();

        memcpy(wanted, base, sizeof(base));
        for (size_t i = 0; i < NETWORKS; i++)
            if (network_has(&list[i].network, &a))
                bits_add(wanted, list[i].member);
        assert_memory_equal(sets_at(sets, netmap_find(&map, &a)), wanted, sizeof(wanted));
    }
    netmap_fini(&map);
    sets_free(sets);
}

static void test_empty(void **state)
{
    struct sets *sets = sets_new(1);
    struct addr a = { .family = AF_INET }, none = { .family = 0 };
    uint64_t all = 1;
    struct netmap map;
    uint32_t base = sets_intern(sets, &all);

    (void)state;
    assert_true(netmap_build(&map, NULL, 0, sets, base));
    assert_int_equal(netmap_find(&map, &a), base);
    assert_int_equal(netmap_find(&map, &none), base);
    netmap_fini(&map);
    sets_free(sets);
}

static void test_ends_of_the_world(void **state)
{
    static const char *const texts[] = { "0.0.0.0",     "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                                         "128.0.0.0/1", "8000::/1" };
    struct netmap_item items[6];
    struct sets *sets = sets_new(6);
    struct netmap map;
    struct addr a;

    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        assert_true(network_parse(&items[i].network, span_str(texts[i])));
        items[i].member = i;
    }
    assert_true(netmap_build(&map, items, 6, sets, 0));
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(addr_parse(&a, span_str(texts[i]), 0));
        assert_int_equal(*sets_at(sets, netmap_find(&map, &a)), 1u << i | (i == 1 ? 1u << 4 : 0) | (i == 3 ? 1u << 5 : 0));
        a.ip[3] ^= 1;
        assert_int_equal(*sets_at(sets, netmap_find(&map, &a)), (i == 1 ? 1u << 4 : 0) | (i == 3 ? 1u << 5 : 0));
    }
    netmap_fini(&map);
    sets_free(sets);
}

static void test_sets(void **state)
{
    enum { DIFFERENT = 1000 };
    struct sets *sets = sets_new(DIFFERENT);
    size_t words = sets_words(sets);
    uint64_t *bits = calloc(words, sizeof(*bits));
    uint32_t numbers[DIFFERENT];

    (void)state;
    assert_int_equal(sets_intern(sets, bits), 0);
    for (size_t i = 0; i < DIFFERENT; i++) {
        bits_add(bits, i);
        numbers[i] = sets_intern(sets, bits);
        assert_int_not_equal(numbers[i], 0);
        assert_int_equal(sets_intern(sets, bits), numbers[i]);
    }
    for (size_t i = 0; i < DIFFERENT; i++) {
        const uint64_t *at = sets_at(sets, numbers[i]);

        assert_true(bits_has(at, 0) && bits_has(at, i));
        assert_true(i + 1 == DIFFERENT || !bits_has(at, i + 1));
    }
    assert_false(sets_failed(sets));
    free(bits);
    sets_free(sets);
    sets_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_against_list), cmocka_unit_test(test_empty),
                                        cmocka_unit_test(test_ends_of_the_world), cmocka_unit_test(test_sets) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
