/* SPDX-License-Identifier: ISC */
/* SipHash-1-3 against values that other implementations give, and what a table needs of it. */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Input is 0, 1, 2, ... The first from the reference tests of Rust's standard library; the others as CPython 3.11 computes them. */
static void test_vectors(void **state)
{
    static const struct {
        struct hash_key key;
        size_t len;
        uint64_t hash;
    } vectors[] = {
        { { 0x0706050403020100, 0x0f0e0d0c0b0a0908 }, 0, 0xabac0158050fc4dc },
        { { 0x0706050403020100, 0 }, 0, 0xf46d3bfe2ea281dc },
        { { 0x0706050403020100, 0 }, 7, 0x3dd20bc6123b60e0 },
        { { 0x0706050403020100, 0 }, 8, 0x5124317f8cfc24cb },
        { { 0x0706050403020100, 0 }, 63, 0x9c56dbe0649233f3 },
        { { 0, 0 }, 1, 0x68a914128e01e473 },
        { { 0, 0 }, 7, 0x2f098ab0c751325a },
        { { 0, 0 }, 8, 0xead411e67ebe2eea },
        { { 0, 0 }, 9, 0x75927f9d95124362 },
        { { 0, 0 }, 15, 0xf30eb725bb91c9ea },
        { { 0, 0 }, 16, 0x8972188433a5c5b7 },
        { { 0, 0 }, 63, 0x385d3e39e5f37359 },
    };
    unsigned char data[64];

    (void)state;
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        assert_int_equal(hash_bytes(&vectors[i].key, data, vectors[i].len), vectors[i].hash);
}

static void test_every_bit_counts(void **state)
{
    struct hash_key key;
    unsigned char data[40] = { 0 };
    uint64_t plain;

    (void)state;
    hash_key_random(&key);
    plain = hash_bytes(&key, data, sizeof(data));
    for (unsigned bit = 0; bit < 8 * sizeof(data); bit++) {
        data[bit / 8] ^= (unsigned char)(1u << (bit % 8));
        assert_int_not_equal(hash_bytes(&key, data, sizeof(data)), plain);
        data[bit / 8] = 0;
    }
    for (size_t len = 0; len < sizeof(data); len++)
        assert_int_not_equal(hash_bytes(&key, data, len), plain);
}

static void test_keys(void **state)
{
    struct hash_key a, b;

    (void)state;
    hash_key_random(&a);
    hash_key_random(&b);
    assert_memory_not_equal(&a, &b, sizeof(a));
    assert_int_not_equal(hash_bytes(&a, "x", 1), hash_bytes(&b, "x", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_vectors), cmocka_unit_test(test_every_bit_counts),
                                        cmocka_unit_test(test_keys) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
