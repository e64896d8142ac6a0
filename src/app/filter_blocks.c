/* SPDX-License-Identifier: ISC */
/*
 * The list of blocks, in the order in which they came, and the counts of hostile events. Both are bounded, because clients fill
 * them.
 *
 * A minute is counted in slots of five seconds: twelve of them slide over it, so an event counts for at least 55 and at most 60
 * seconds. The table of clients is a hash with eight places a bucket; when they are taken the client with the fewest events gives
 * way, so that many quiet addresses do not cover a loud one.
 */
#include "app/filter_blocks.h"

#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 12
#define SLOT_MS (HOSTILE_WINDOW_MS / SLOTS)
#define WAYS 8
#define BUCKETS (HOSTILE_MAX / WAYS)

struct blocks {
    size_t count;
    struct block items[BLOCKS_MAX];
};

struct suspect {
    struct addr client; /* masked; family 0: free */
    uint64_t slot;      /* of the newest event: time / SLOT_MS */
    uint32_t counts[SLOTS];
};

struct hostile {
    struct hash_key key;
    struct suspect suspects[BUCKETS][WAYS];
};

struct blocks *blocks_new(void)
{
    return calloc(1, sizeof(struct blocks));
}

void blocks_free(struct blocks *b)
{
    free(b);
}

static bool same_network(const struct network *a, const struct network *b)
{
    return a->bits == b->bits && addr_same_ip(&a->base, &b->base);
}

static struct block *find(struct blocks *b, const struct network *network)
{
    for (size_t i = 0; i < b->count; i++)
        if (same_network(&b->items[i].network, network))
            return &b->items[i];
    return NULL;
}

bool blocks_add(struct blocks *b, const struct network *network, uint64_t until_ms, const char *why)
{
    struct block *block = find(b, network);

    if (block == NULL && b->count == BLOCKS_MAX)
        return false;
    if (block == NULL)
        block = &b->items[b->count++];
    block->network = *network;
    block->until_ms = until_ms;
    snprintf(block->why, sizeof(block->why), "%s", why);
    return true;
}

bool blocks_remove(struct blocks *b, const struct network *network)
{
    struct block *block = find(b, network);

    if (block == NULL)
        return false;
    memmove(block, block + 1, (size_t)(b->items + --b->count - block) * sizeof(*block));
    return true;
}

bool blocks_holds(struct blocks *b, const struct network *network, uint64_t now_ms)
{
    const struct block *block = find(b, network);

    return block != NULL && block->until_ms > now_ms;
}

bool blocks_has(const struct blocks *b, const struct addr *address, uint64_t now_ms)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->items[i].until_ms > now_ms && network_has(&b->items[i].network, address))
            return true;
    return false;
}

size_t blocks_expire(struct blocks *b, uint64_t now_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < b->count; i++)
        if (b->items[i].until_ms > now_ms)
            b->items[kept++] = b->items[i];
    b->count = kept;
    return kept;
}

size_t blocks_count(const struct blocks *b)
{
    return b->count;
}

const struct block *blocks_at(const struct blocks *b, size_t index)
{
    return &b->items[index];
}

struct ruleset_block *blocks_list(const struct blocks *b, uint64_t now_ms, size_t *count)
{
    struct ruleset_block *list = calloc(b->count > 0 ? b->count : 1, sizeof(*list));

    *count = 0;
    for (size_t i = 0; i < b->count && list != NULL; i++) {
        const struct block *block = &b->items[i];

        if (block->until_ms > now_ms)
            list[(*count)++] = (struct ruleset_block){ block->network, (uint32_t)((block->until_ms - now_ms + 999) / 1000) };
    }
    return list;
}

struct network block_network(const struct addr *client)
{
    struct network network = { .base = { .family = client->family }, .bits = client->family == AF_INET ? 32 : 64 };

    memcpy(network.base.ip, client->ip, network.bits / 8);
    return network;
}

struct hostile *hostile_new(void)
{
    struct hostile *h = calloc(1, sizeof(*h));

    if (h != NULL)
        hash_key_random(&h->key);
    return h;
}

void hostile_free(struct hostile *h)
{
    free(h);
}

/* Events that are still in the window at `slot`. */
static uint32_t sum(const struct suspect *s, uint64_t slot)
{
    uint32_t total = 0;

    for (uint64_t age = slot - s->slot; age < SLOTS; age++) {
        uint32_t count = s->counts[(slot - age) % SLOTS];

        total = total + count < total ? UINT32_MAX : total + count;
    }
    return total;
}

/* Slots between the newest event and now are empty. */
static void slide(struct suspect *s, uint64_t slot)
{
    uint64_t steps = slot - s->slot;

    for (uint64_t i = 1; i <= steps && i <= SLOTS; i++)
        s->counts[(s->slot + i) % SLOTS] = 0;
    s->slot = slot;
}

static struct suspect *bucket_of(struct hostile *h, const struct addr *client)
{
    return h->suspects[hash_bytes(&h->key, client->ip, sizeof(client->ip)) % BUCKETS];
}

/* The client's own place, or else a free one, or that of the quietest. */
static struct suspect *place_for(struct suspect *bucket, const struct addr *client, uint64_t slot)
{
    struct suspect *best = &bucket[0];

    for (struct suspect *s = bucket; s < bucket + WAYS; s++)
        if (s->client.family != 0 && addr_same_ip(&s->client, client))
            return s;
    for (struct suspect *s = bucket; s < bucket + WAYS; s++) {
        if (s->client.family == 0)
            return s;
        if (sum(s, slot) < sum(best, slot))
            best = s;
    }
    return best;
}

uint32_t hostile_count(struct hostile *h, const struct addr *client, uint64_t now_ms)
{
    struct network network = block_network(client);
    uint64_t slot = now_ms / SLOT_MS + SLOTS; /* so that no slot before the first minute is negative */
    struct suspect *s = place_for(bucket_of(h, &network.base), &network.base, slot);

    if (s->client.family == 0 || !addr_same_ip(&s->client, &network.base))
        *s = (struct suspect){ .client = network.base, .slot = slot };
    slide(s, slot);
    if (s->counts[slot % SLOTS] < UINT32_MAX)
        s->counts[slot % SLOTS]++;
    return sum(s, slot);
}

void hostile_forget(struct hostile *h, const struct addr *client)
{
    struct network network = block_network(client);
    struct suspect *bucket = bucket_of(h, &network.base);

    for (struct suspect *s = bucket; s < bucket + WAYS; s++)
        if (s->client.family != 0 && addr_same_ip(&s->client, &network.base))
            *s = (struct suspect){ 0 };
}
