/* SPDX-License-Identifier: ISC */
/*
 * Leaves of inspected names. An entry is a question to the minter first (in `open`, with those who wait for it) and then the leaf
 * that came (in `kept`, the least recently used of which goes when there are too many); both are found by the same key, so whoever
 * comes second waits with the first. A leaf belongs to the key of one context: a new generation has a new one, and its leaves are
 * asked for anew.
 *
 * Asking costs the minter a signature, so clients are limited. Their counters are slots that are chosen by a keyed hash of the
 * address: two clients may share one, which limits them together and lets nobody ask for more.
 */
#include "session/leaves.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "policy/generation.h"
#include "session/engine.h"
#include "session/secure.h"
#include "session/state.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 2048
#define CLIENT_SLOTS 4096
#define NEW_EVERY_US (1000000 / LEAVES_CLIENT_NEW)
#define NEW_SAVED_US 4000000
#define FAILING_KEPT_MS 3600000u /* such leaves live a day */
#define KEPT_MS (7 * 24 * 3600000u)

struct client {
    uint64_t next_us; /* when the saved-up questions would all be there again */
    uint32_t open;
};

struct entry {
    struct entry *next;          /* in its bucket */
    struct entry *older, *newer; /* in its queue */
    struct tls_context *context; /* a reference */
    struct host name;
    int64_t from, until;
    bool failing;
    struct tls_leaf *leaf; /* a reference; NULL: asked for */
    uint64_t stale_ms;     /* from then on it is not used any more */
    /* while it is asked for */
    uint64_t request;
    struct generation *generation; /* a reference: whose chain the leaf gets */
    struct client *client;
    struct leaf_wait *waits;
};

struct queue {
    struct entry *oldest, *newest;
    size_t count;
};

struct leaves {
    struct engine_minter minter;
    uint64_t last_request;
    struct hash_key key;
    struct queue open, kept;
    struct entry *buckets[BUCKETS];
    struct client clients[CLIENT_SLOTS];
};

struct leaves *leaves_new(const struct engine_minter *minter)
{
    struct leaves *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return NULL;
    l->minter = *minter;
    hash_key_random(&l->key);
    return l;
}

static void queue_add(struct queue *q, struct entry *e)
{
    e->older = q->newest;
    e->newer = NULL;
    *(q->newest != NULL ? &q->newest->newer : &q->oldest) = e;
    q->newest = e;
    q->count++;
}

static void queue_remove(struct queue *q, struct entry *e)
{
    *(e->older != NULL ? &e->older->newer : &q->oldest) = e->newer;
    *(e->newer != NULL ? &e->newer->older : &q->newest) = e->older;
    q->count--;
}

static struct entry **bucket(struct leaves *l, const struct host *name)
{
    return &l->buckets[hash_bytes(&l->key, name->name, name->len) % BUCKETS];
}

static struct client *client_of(struct leaves *l, const struct addr *a)
{
    char text[ADDR_TEXT];

    addr_text(a, text);
    return &l->clients[hash_bytes(&l->key, text, strlen(text)) % CLIENT_SLOTS];
}

/* Out of everything, and gone. Nobody may wait for it. */
static void discard(struct leaves *l, struct entry *e)
{
    struct entry **at = bucket(l, &e->name);

    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    queue_remove(e->leaf != NULL ? &l->kept : &l->open, e);
    if (e->client != NULL)
        e->client->open--;
    tls_context_unref(e->context);
    tls_leaf_unref(e->leaf);
    generation_unref(e->generation);
    free(e);
}

void leaves_free(struct leaves *l)
{
    if (l == NULL)
        return;
    while (l->open.oldest != NULL)
        discard(l, l->open.oldest);
    while (l->kept.oldest != NULL)
        discard(l, l->kept.oldest);
    free(l);
}

/* A failing server's leaf does not depend on when its certificate is valid. */
static int64_t from_of(const struct leaf_wanted *w)
{
    return w->failing ? 0 : w->from;
}

static int64_t until_of(const struct leaf_wanted *w)
{
    return w->failing ? 0 : w->until;
}

static struct entry *find(struct leaves *l, const struct leaf_wanted *w, const struct tls_context *context)
{
    struct entry *e = *bucket(l, &w->name);

    while (e != NULL && !(e->context == context && e->failing == w->failing && e->from == from_of(w) && e->until == until_of(w) &&
                          host_eq(&e->name, &w->name)))
        e = e->next;
    if (e == NULL || e->leaf == NULL || clock_ms() < e->stale_ms)
        return e;
    discard(l, e);
    return NULL;
}

static bool may_ask(struct leaves *l, const struct leaf_wanted *w, struct client *c)
{
    uint64_t now = clock_us();
    char text[ADDR_TEXT];

    if (l->minter.leaf_wanted == NULL || l->open.count >= LEAVES_OPEN) {
        log_remote("no leaf for %s: %s", w->name.name,
                   l->minter.leaf_wanted == NULL ? "there is no minter" : "too many are asked for");
        return false;
    }
    if (c->open >= LEAVES_CLIENT_OPEN || (c->next_us > now && c->next_us - now > NEW_SAVED_US - NEW_EVERY_US)) {
        log_remote("no leaf for %s: %s asks for too many names", w->name.name, addr_text(w->client, text));
        return false;
    }
    c->next_us = (c->next_us > now ? c->next_us : now) + NEW_EVERY_US;
    return true;
}

static bool send_question(struct leaves *l, const struct entry *e)
{
    struct engine_leaf_request r = { .request = e->request, .from = e->from, .until = e->until, .failing = e->failing };
    struct span key = tls_inspect_public_key(e->context);

    if (key.len > sizeof(r.public_key) || e->name.len >= sizeof(r.name))
        return false;
    memcpy(r.name, e->name.name, e->name.len);
    memcpy(r.public_key, key.at, key.len);
    r.key_len = (uint16_t)key.len;
    return l->minter.leaf_wanted(l->minter.arg, &r);
}

static struct entry *ask(struct leaves *l, const struct leaf_wanted *w, struct tls_context *context)
{
    struct client *c = client_of(l, w->client);
    struct entry *e = may_ask(l, w, c) ? calloc(1, sizeof(*e)) : NULL;

    if (e == NULL)
        return NULL;
    e->context = tls_context_ref(context);
    e->generation = generation_ref(w->generation);
    e->name = w->name;
    e->failing = w->failing;
    e->from = from_of(w);
    e->until = until_of(w);
    e->request = ++l->last_request;
    e->client = c;
    c->open++;
    e->next = *bucket(l, &e->name);
    *bucket(l, &e->name) = e;
    queue_add(&l->open, e);
    if (send_question(l, e))
        return e;
    log_remote("no leaf for %s: the minter cannot be asked", w->name.name);
    discard(l, e);
    return NULL;
}

static void wait_for(struct entry *e, struct leaf_wait *wait)
{
    wait->next = e->waits;
    wait->link = &e->waits;
    if (wait->next != NULL)
        wait->next->link = &wait->next;
    e->waits = wait;
}

enum reason leaves_ask(struct leaves *l, struct leaf_wait *wait, const struct leaf_wanted *wanted, struct tls_leaf **leaf)
{
    struct tls_context *context = wanted->generation->secure != NULL ? secure_inspect(wanted->generation->secure) : NULL;
    struct entry *e = context != NULL ? find(l, wanted, context) : NULL;

    if (e == NULL && context != NULL)
        e = ask(l, wanted, context);
    if (e == NULL)
        return R_MINT_FAILED;
    if (e->leaf == NULL) {
        wait_for(e, wait);
        return R_COUNT;
    }
    queue_remove(&l->kept, e);
    queue_add(&l->kept, e);
    *leaf = tls_leaf_ref(e->leaf);
    return R_NONE;
}

void leaves_cancel(struct leaf_wait *wait)
{
    if (wait->link == NULL)
        return;
    *wait->link = wait->next;
    if (wait->next != NULL)
        wait->next->link = wait->link;
    wait->link = NULL;
}

/* Each may cancel others, and ask again. */
static void tell(struct leaf_wait *waits, struct tls_leaf *leaf)
{
    if (waits != NULL)
        waits->link = &waits;
    while (waits != NULL) {
        struct leaf_wait *w = waits;

        leaves_cancel(w);
        w->done(w->arg, leaf != NULL ? tls_leaf_ref(leaf) : NULL);
    }
}

/* For how long it may be shown to clients, from now on. */
static uint64_t life_ms(const struct entry *e)
{
    int64_t left = e->until - (int64_t)(clock_wall_us() / 1000000);

    if (e->failing)
        return FAILING_KEPT_MS;
    if (left <= 0)
        return 0;
    return left < KEPT_MS / 1000 ? (uint64_t)left * 1000 : KEPT_MS;
}

/* The question is answered: it is a kept leaf from now on. */
static void keep(struct leaves *l, struct entry *e, struct tls_leaf *leaf)
{
    queue_remove(&l->open, e);
    e->client->open--;
    e->client = NULL;
    generation_unref(e->generation);
    e->generation = NULL;
    e->leaf = leaf;
    e->stale_ms = clock_ms() + life_ms(e);
    queue_add(&l->kept, e);
    if (l->kept.count > LEAVES_KEPT)
        discard(l, l->kept.oldest);
}

/* `leaf` is the entry's from now on; NULL: it was refused. */
static void answered(struct leaves *l, struct entry *e, struct tls_leaf *leaf)
{
    struct leaf_wait *waits = e->waits;

    e->waits = NULL;
    if (leaf == NULL) {
        discard(l, e);
        tell(waits, NULL);
        return;
    }
    (void)tls_leaf_ref(leaf); /* who is told may make it be thrown away */
    keep(l, e, leaf);
    tell(waits, leaf);
    tls_leaf_unref(leaf);
}

void leaves_answer(struct leaves *l, uint64_t request, struct span der)
{
    struct entry *e = l->open.oldest;
    struct tls_leaf *leaf = NULL;

    while (e != NULL && e->request != request)
        e = e->newer;
    if (e == NULL)
        return;
    if (der.len == 0)
        log_remote("no leaf for %s: the minter refused", e->name.name);
    else if ((leaf = tls_leaf_new(e->context, der, secure_inspect_chain(e->generation->secure))) == NULL)
        log_remote("no leaf for %s: what the minter made does not fit", e->name.name);
    answered(l, e, leaf);
}

void leaves_lost(struct leaves *l)
{
    uint64_t last = l->last_request; /* who is told may ask again */

    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): answered() takes it out of the list of open ones */
    while (l->open.oldest != NULL && l->open.oldest->request <= last)
        answered(l, l->open.oldest, NULL);
}

void leaves_renew(struct leaves *l, const struct generation *g)
{
    const struct tls_context *context = g->secure != NULL ? secure_inspect(g->secure) : NULL;

    for (struct entry *e = l->kept.oldest, *newer; e != NULL; e = newer) {
        newer = e->newer;
        if (e->context != context)
            discard(l, e);
    }
}

void engine_leaf(struct engine *e, uint64_t request, struct span der)
{
    leaves_answer(e->leaves, request, der);
}

void engine_leaves_lost(struct engine *e)
{
    leaves_lost(e->leaves);
}
