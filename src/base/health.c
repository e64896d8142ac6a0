/* SPDX-License-Identifier: ISC */
/*
 * The health of upstreams in shared memory. Each word is one atomic: readers may see a change half done, and at worst send one
 * request more, or fewer, than they had to. What must happen once, the count of a failure and the one try after it, is decided by
 * an exchange of the word that says when.
 */
#include "base/health.h"

#include "base/clock.h"
#include "base/hash.h"

#include <string.h>

#define RELAXED memory_order_relaxed
#define GET(slot, word) atomic_load_explicit(&(slot)->word, RELAXED)
#define SET(slot, word, value) atomic_store_explicit(&(slot)->word, value, RELAXED)
#define ADD(slot, word) atomic_fetch_add_explicit(&(slot)->word, 1, RELAXED)

const char *health_state_name(enum health_state v)
{
    static const char *const names[HEALTH_STATES] = { "up", "doubtful", "down" };

    return (unsigned)v < HEALTH_STATES ? names[v] : "?";
}

/* All names are the operator's: nobody can look for two that are alike. */
uint64_t health_key(const char *listener, const char *host, uint16_t port, bool tls)
{
    static const struct hash_key key = { 0x706f737465726e, 0x6865616c7468 };
    uint64_t parts[3] = { hash_bytes(&key, listener, strlen(listener)), hash_bytes(&key, host, strlen(host)), port * 2u + tls };
    uint64_t hash = hash_bytes(&key, parts, sizeof(parts));

    return hash != 0 ? hash : 1;
}

/* HEALTH_SLOTS: it has none. */
static size_t place_of(const struct health *h, uint64_t key)
{
    size_t i = 0;

    while (i < HEALTH_SLOTS && GET(&h->slots[i], key) != key)
        i++;
    return i;
}

static struct health_slot *find(struct health *h, uint64_t key)
{
    size_t i = place_of(h, key);

    return i < HEALTH_SLOTS ? &h->slots[i] : NULL;
}

struct health_slot *health_find(struct health *h, uint64_t key, bool make)
{
    struct health_slot *slot = find(h, key);

    for (size_t i = 0; slot == NULL && make && i < HEALTH_SLOTS; i++) {
        uint64_t none = 0;

        if (atomic_compare_exchange_strong(&h->slots[i].key, &none, key) || none == key)
            slot = find(h, key); /* two that take one at once: the first is the slot of both */
    }
    return slot;
}

static void clear(struct health_slot *slot)
{
    SET(slot, struck, 0);
    SET(slot, until, 0);
    SET(slot, strikes, 0);
    SET(slot, refused, 0);
    SET(slot, checked, 0);
    SET(slot, streak, 0);
    SET(slot, since_us, 0);
    SET(slot, failures, 0);
    SET(slot, checks, 0);
    SET(slot, check_failures, 0);
    SET(slot, key, 0);
}

static bool is_among(uint64_t key, const uint64_t *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (keys[i] == key)
            return true;
    return false;
}

void health_retain(struct health *h, const uint64_t *keys, size_t count)
{
    for (size_t i = 0; i < HEALTH_SLOTS; i++) {
        uint64_t key = GET(&h->slots[i], key);

        if (key != 0 && !is_among(key, keys, count))
            clear(&h->slots[i]);
    }
}

/* Of failures of traffic, whatever checks say. */
static enum health_state struck_state(const struct health_slot *slot)
{
    if (GET(slot, strikes) == 0)
        return HEALTH_UP;
    return GET(slot, refused) ? HEALTH_DOWN : HEALTH_DOUBTFUL;
}

enum health_state health_state(const struct health_slot *slot)
{
    return GET(slot, checked) ? HEALTH_DOWN : struck_state(slot);
}

struct health_facts health_read(const struct health *h, uint64_t key)
{
    size_t i = place_of(h, key);
    const struct health_slot *slot = &h->slots[i < HEALTH_SLOTS ? i : 0];

    if (i == HEALTH_SLOTS)
        return (struct health_facts){ 0 };
    return (struct health_facts){ .state = health_state(slot),
                                  .since_us = GET(slot, since_us),
                                  .failures = GET(slot, failures),
                                  .checks = GET(slot, checks),
                                  .check_failures = GET(slot, check_failures) };
}

/* Was it another state before? Then it is a change, of now. */
static bool note(struct health_slot *slot, enum health_state before)
{
    if (health_state(slot) == before)
        return false;
    SET(slot, since_us, clock_wall_us());
    return true;
}

enum health_state health_ask(struct health_slot *slot, uint64_t now, uint64_t hold)
{
    enum health_state state = health_state(slot);
    uint64_t until = GET(slot, until);

    if (state == HEALTH_UP || GET(slot, checked) || now < until)
        return state;
    return atomic_compare_exchange_strong(&slot->until, &until, now + hold) ? HEALTH_UP : state;
}

/* What was found out meanwhile, by whomever, has another time. */
void health_untried(struct health_slot *slot, uint64_t until)
{
    atomic_compare_exchange_strong(&slot->until, &until, 0);
}

static uint64_t pause_after(uint32_t strikes)
{
    uint64_t ms = HEALTH_FIRST_MS;

    for (uint32_t i = 1; i < strikes && ms < HEALTH_MOST_MS; i++)
        ms *= 2;
    return ms;
}

/* Requests that were under way together fail together: that is one failure. */
bool health_failed(struct health_slot *slot, uint64_t now, bool refused)
{
    enum health_state before = health_state(slot);
    uint32_t strikes = GET(slot, strikes);
    uint64_t struck = GET(slot, struck);

    ADD(slot, failures);
    if (refused)
        SET(slot, refused, 1);
    if (strikes > 0 && now < struck + pause_after(strikes))
        return note(slot, before);
    if (!atomic_compare_exchange_strong(&slot->struck, &struck, now))
        return false; /* somebody else counts it */
    SET(slot, until, now + pause_after(strikes + 1));
    SET(slot, strikes, strikes + 1);
    return note(slot, before);
}

bool health_reached(struct health_slot *slot)
{
    enum health_state before = health_state(slot);

    if (GET(slot, refused) == 0)
        return false;
    SET(slot, refused, 0);
    return note(slot, before);
}

static void forgive(struct health_slot *slot)
{
    SET(slot, strikes, 0);
    SET(slot, refused, 0);
    SET(slot, until, 0);
}

bool health_worked(struct health_slot *slot)
{
    enum health_state before = health_state(slot);

    if (GET(slot, strikes) == 0)
        return false;
    forgive(slot);
    return note(slot, before);
}

bool health_checked(struct health_slot *slot, bool good, uint32_t rise, uint32_t fall)
{
    enum health_state before = health_state(slot);
    int32_t streak = GET(slot, streak);

    ADD(slot, checks);
    if (!good)
        ADD(slot, check_failures);
    if (good)
        streak = streak > 0 ? streak + (streak < INT32_MAX) : 1;
    else
        streak = streak < 0 ? streak - (streak > INT32_MIN) : -1;
    SET(slot, streak, streak);
    if (good && streak >= (int32_t)rise) {
        SET(slot, checked, 0);
        forgive(slot);
    } else if (!good && streak <= -(int32_t)fall) {
        SET(slot, checked, 1);
    }
    return note(slot, before);
}
