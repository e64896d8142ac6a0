/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_HASH_H
#define POSTERN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* SipHash-1-3 under a 128-bit key: remote input may be hashed with it without fear of chosen collisions. */
struct hash_key {
    uint64_t k0, k1;
};

uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t len);
/* A key from the kernel (getrandom(2)); ends the process if there is none. */
void hash_key_random(struct hash_key *key);

#endif
