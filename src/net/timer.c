/* SPDX-License-Identifier: ISC */
/*
 * A hashed timer wheel: SLOTS lists, SLOT_MS each. A timer lies in the slot of its deadline, or in the farthest one if that is more
 * than a turn away; when its slot comes up it fires if its deadline is over, and is put away again otherwise. That second case is
 * the point: keep-alive and idle deadlines are pushed into the future with every byte, and cost nothing until their first slot is
 * reached.
 */
#include "net/timer.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS 1024u
#define SLOT_MS 50u

struct wheel {
    struct timer *slots[SLOTS];
    uint64_t used[SLOTS / 64]; /* a bit for each slot that a timer was put into since it came up */
    uint64_t at;               /* the last slot number that was run; 0: never */
    size_t armed;
};

struct wheel *wheel_new(void)
{
    return calloc(1, sizeof(struct wheel));
}

void wheel_free(struct wheel *w)
{
    free(w);
}

void timer_init(struct timer *t, void (*fn)(void *arg), void *arg)
{
    memset(t, 0, sizeof(*t));
    t->fn = fn;
    t->arg = arg;
}

static void unlink_timer(struct wheel *w, struct timer *t)
{
    if (t->link == NULL)
        return;
    *t->link = t->next;
    if (t->next != NULL)
        t->next->link = t->link;
    t->link = NULL;
    w->armed--;
}

static void link_timer(struct wheel *w, struct timer *t)
{
    uint64_t slot = t->deadline / SLOT_MS + 1;
    struct timer **head;

    if (slot <= w->at)
        slot = w->at + 1;
    if (w->at > 0 && slot >= w->at + SLOTS)
        slot = w->at + SLOTS - 1;
    t->slot_time = slot * SLOT_MS;
    head = &w->slots[slot % SLOTS];
    w->used[slot % SLOTS / 64] |= 1ull << slot % 64;
    t->next = *head;
    if (t->next != NULL)
        t->next->link = &t->next;
    t->link = head;
    *head = t;
    w->armed++;
}

void timer_set(struct wheel *w, struct timer *t, uint64_t deadline)
{
    t->deadline = deadline;
    if (t->link != NULL && t->slot_time <= deadline + SLOT_MS)
        return; /* it will be looked at in time: that is up to a tick after its slot comes up */
    unlink_timer(w, t);
    link_timer(w, t);
}

void timer_clear(struct wheel *w, struct timer *t)
{
    unlink_timer(w, t);
    t->deadline = 0;
}

static void run_slot(struct wheel *w, uint64_t number, uint64_t now)
{
    struct timer **slot = &w->slots[number % SLOTS], *due = *slot;

    /* The list is taken out first: timers that a function sets go to later slots, and one that it clears unlinks itself from here.
     */
    *slot = NULL;
    w->used[number % SLOTS / 64] &= ~(1ull << number % 64);
    if (due != NULL)
        due->link = &due;
    while (due != NULL) {
        struct timer *t = due;

        unlink_timer(w, t);
        if (t->deadline > now) {
            link_timer(w, t);
            continue;
        }
        t->deadline = 0;
        t->fn(t->arg);
    }
}

void wheel_run(struct wheel *w, uint64_t now)
{
    uint64_t target = now / SLOT_MS;

    if (w->at == 0 || target - w->at > SLOTS)
        w->at = target > SLOTS ? target - SLOTS : 0;
    while (w->at < target) {
        w->at++;
        run_slot(w, w->at, now);
    }
}

/* How many slots until one that was put to use comes up. */
static unsigned slots_ahead(const struct wheel *w)
{
    unsigned ahead = 1;

    while (ahead < SLOTS) {
        unsigned slot = (unsigned)((w->at + ahead) % SLOTS);
        uint64_t used = w->used[slot / 64] >> slot % 64;

        if (used != 0)
            return ahead + (unsigned)__builtin_ctzll(used);
        ahead += 64 - slot % 64;
    }
    return SLOTS;
}

int wheel_pause(const struct wheel *w, uint64_t now)
{
    uint64_t up;

    if (w->armed == 0)
        return -1;
    if (w->at == 0)
        return 0;
    up = (w->at + slots_ahead(w)) * SLOT_MS;
    return up > now ? (int)(up - now) : 0;
}
