/* SPDX-License-Identifier: ISC */
/*
 * Sessions by their number. Numbers grow by one, so their low bits are as good as a hash and spread evenly over the buckets. The
 * table doubles when it is full; without memory for that its chains grow instead, and nothing is lost.
 */
#include "session/session.h"

#include <stdlib.h>

#define BUCKETS 1024u

struct numbers {
    struct session **buckets;
    size_t count, mask;
};

struct numbers *numbers_new(void)
{
    struct numbers *n = calloc(1, sizeof(*n));

    if (n == NULL || (n->buckets = calloc(BUCKETS, sizeof(*n->buckets))) == NULL) {
        free(n);
        return NULL;
    }
    n->mask = BUCKETS - 1;
    return n;
}

void numbers_free(struct numbers *n)
{
    if (n != NULL)
        free(n->buckets);
    free(n);
}

static void put(struct session **buckets, size_t mask, struct session *s)
{
    struct session **bucket = &buckets[s->number & mask];

    s->numbered = *bucket;
    *bucket = s;
}

static void grow(struct numbers *n)
{
    size_t mask = 2 * n->mask + 1;
    struct session **larger = calloc(mask + 1, sizeof(*larger));

    if (larger == NULL)
        return;
    for (size_t i = 0; i <= n->mask; i++)
        for (struct session *s = n->buckets[i], *next; s != NULL; s = next) {
            next = s->numbered;
            put(larger, mask, s);
        }
    free(n->buckets);
    n->buckets = larger;
    n->mask = mask;
}

void numbers_add(struct numbers *n, struct session *s)
{
    if (n->count > n->mask)
        grow(n);
    put(n->buckets, n->mask, s);
    n->count++;
}

void numbers_remove(struct numbers *n, struct session *s)
{
    struct session **link = &n->buckets[s->number & n->mask];

    while (*link != s)
        link = &(*link)->numbered;
    *link = s->numbered;
    n->count--;
}

struct session *numbers_some(const struct numbers *n, size_t *hand)
{
    return n->buckets[(*hand)++ & n->mask];
}

struct session *numbers_find(const struct numbers *n, uint64_t number)
{
    struct session *s = n->buckets[number & n->mask];

    while (s != NULL && s->number != number)
        s = s->numbered;
    return s;
}
