/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_INSPECTED_H
#define POSTERN_BASE_INSPECTED_H

#include "base/hash.h"
#include "base/row.h"

/*
 * Names whose minted certificates clients were shown: how often, and how often a client refused. In shared memory, part of a shard
 * (base/table.h): one writer, any number of readers. The least recently used of TABLE_INSPECTED names is forgotten first.
 */
#define TABLE_INSPECTED 512
struct inspected {
    uint64_t shown, refused;
    uint64_t last_us, last_refused_us; /* wall time */
    struct addr last_client;           /* that refused */
    char name[ROW_HOST];               /* "": empty place */
};

struct inspected_place;

struct inspected_names {
    struct inspected_place *shared;
    /* The writer's own: where a name is, without a look at each (0: empty), and which was used before which. */
    struct hash_key key;
    uint64_t hashes[TABLE_INSPECTED], turns[TABLE_INSPECTED], turn;
};

/* Bytes of shared memory. */
size_t inspected_bytes(void);
/* Writer: finds its way about what an earlier writer left in `shared`. */
void inspected_adopt(struct inspected_names *n);
/* Writer: one more handshake with a leaf for this name; `refused`: the client did not accept it. */
void inspected_put(struct inspected_names *n, struct span name, const struct addr *client, bool refused);
/* Any: place `index` of TABLE_INSPECTED; false if it is empty or would not hold still. */
bool inspected_get(const struct inspected_names *n, uint32_t index, struct inspected *out);

#endif
