/* SPDX-License-Identifier: ISC */
/*
 * The flat table of strings behind host sets and method lists. Slots hold the offset of a string and half of its hash, so that a
 * miss seldom looks at a string at all, and eight of them lie in a cache line; at most two of three slots are used. Strings are a
 * length byte and the bytes. The hash is keyed with a random key from the header: what is looked up comes from the network.
 *
 * Memory may come from another process. names_check() looks at the header once; after that an offset is believed only if what it
 * points to lies inside, and no walk is longer than the table.
 */
#include "policy/names.h"

#include "base/hash.h"

#include <string.h>

#define MAGIC 0x32656d616e74736full
#define SLOTS_LEAST 8

struct slot {
    uint32_t offset; /* 0: empty */
    uint32_t tag;
};

struct header {
    uint64_t magic;
    struct hash_key key;
    uint32_t slots, count, used;
    uint64_t size;
    uint64_t lengths[(NAMES_LONGEST + 1) / 64]; /* that strings have, a bit each: others need not be looked for */
    struct slot slot[];
};

static size_t slots_for(size_t count)
{
    size_t slots = count + count / 2 + 1;

    return slots < SLOTS_LEAST ? SLOTS_LEAST : slots;
}

size_t names_size(size_t count, size_t bytes)
{
    size_t size;

    if (count > UINT32_MAX / 16 || bytes > UINT32_MAX)
        return 0;
    size = sizeof(struct header) + slots_for(count) * sizeof(struct slot) + count + bytes;
    return size <= UINT32_MAX ? size : 0;
}

void names_init(void *memory, size_t size, size_t count)
{
    struct header *h = memory;

    h->magic = MAGIC;
    h->size = size;
    h->slots = (uint32_t)slots_for(count);
    h->used = (uint32_t)(sizeof(*h) + h->slots * sizeof(struct slot));
    hash_key_random(&h->key);
}

bool names_check(const void *memory, size_t size)
{
    const struct header *h = memory;

    return memory != NULL && size >= sizeof(*h) && h->magic == MAGIC && h->size == size && h->slots >= SLOTS_LEAST &&
           h->slots <= (size - sizeof(*h)) / sizeof(struct slot);
}

static struct span string_at(const struct header *h, size_t size, uint32_t offset)
{
    const unsigned char *at = (const unsigned char *)h + offset;

    if (offset == 0 || offset >= size || *at > size - offset - 1)
        return span_of(NULL, 0);
    return span_of((const char *)at + 1, *at);
}

/* Where the search for a hash begins: its lower half says how far into the table, its upper half is the tag. */
static uint32_t first_slot(const struct header *h, uint64_t hash)
{
    return (uint32_t)((hash & UINT32_MAX) * h->slots >> 32);
}

/* The slot of `name`, or the empty one where it belongs; NAMES_NONE if the table is full of others. */
static uint32_t probe(const struct header *h, size_t size, struct span name, uint64_t hash)
{
    uint32_t at = first_slot(h, hash), tag = (uint32_t)(hash >> 32);

    for (uint32_t steps = 0; steps < h->slots; steps++) {
        const struct slot *slot = &h->slot[at];

        if (slot->offset == 0 || (slot->tag == tag && span_eq(string_at(h, size, slot->offset), name)))
            return at;
        at = at + 1 < h->slots ? at + 1 : 0;
    }
    return NAMES_NONE;
}

uint64_t names_hash(const void *memory, struct span name)
{
    const struct header *h = memory;
    uint64_t hash = hash_bytes(&h->key, name.at, name.len);

    __builtin_prefetch(&h->slot[first_slot(h, hash)], 1);
    return hash;
}

uint32_t names_add(void *memory, struct span name)
{
    return names_add_hashed(memory, name, names_hash(memory, name));
}

uint32_t names_add_hashed(void *memory, struct span name, uint64_t hash)
{
    struct header *h = memory;
    char *to = (char *)memory + h->used;
    uint32_t at;

    if (name.len == 0 || name.len > NAMES_LONGEST)
        return NAMES_NONE;
    at = probe(h, h->size, name, hash);
    if (at == NAMES_NONE || h->slot[at].offset != 0)
        return at;
    if (h->count >= h->slots * 2ull / 3 || name.len + 1 > h->size - h->used)
        return NAMES_NONE;
    *to = (char)name.len;
    memcpy(to + 1, name.at, name.len);
    h->slot[at] = (struct slot){ h->used, (uint32_t)(hash >> 32) };
    h->used += (uint32_t)name.len + 1;
    h->count++;
    h->lengths[name.len / 64] |= 1ull << name.len % 64;
    return at;
}

uint32_t names_find(const void *memory, size_t size, struct span name)
{
    const struct header *h = memory;
    uint32_t at;

    if (name.len > NAMES_LONGEST || !(h->lengths[name.len / 64] >> name.len % 64 & 1))
        return NAMES_NONE;
    at = probe(h, size, name, hash_bytes(&h->key, name.at, name.len));
    return at == NAMES_NONE || h->slot[at].offset == 0 ? NAMES_NONE : at;
}

struct span names_at(const void *memory, size_t size, uint32_t number)
{
    const struct header *h = memory;

    return number < h->slots ? string_at(h, size, h->slot[number].offset) : span_of(NULL, 0);
}

uint32_t names_slots(const void *memory)
{
    return ((const struct header *)memory)->slots;
}

size_t names_count(const void *memory)
{
    return ((const struct header *)memory)->count;
}
