/* SPDX-License-Identifier: ISC */
/*
 * SipHash with one compression and three finalisation rounds (Aumasson and Bernstein; the variant that Rust and Ruby use for
 * tables). Tables that hold names or addresses that a remote chose are keyed with it.
 */
#include "base/hash.h"

#include "base/log.h"

#include <string.h>
#include <sys/random.h>

static uint64_t rotl(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void round_once(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t len)
{
    uint64_t v[4] = { key->k0 ^ 0x736f6d6570736575ull, key->k1 ^ 0x646f72616e646f6dull, key->k0 ^ 0x6c7967656e657261ull,
                      key->k1 ^ 0x7465646279746573ull };
    const uint8_t *in = data;
    uint64_t word, last = (uint64_t)len << 56;
    size_t left = len;

    for (; left >= 8; left -= 8, in += 8) {
        memcpy(&word, in, 8);
        v[3] ^= word;
        round_once(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < left; i++)
        last |= (uint64_t)in[i] << (8 * i);
    v[3] ^= last;
    round_once(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        round_once(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void hash_key_random(struct hash_key *key)
{
    if (getrandom(key, sizeof(*key), 0) != (ssize_t)sizeof(*key))
        fatal("getrandom gave no key");
}
