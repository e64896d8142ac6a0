/* SPDX-License-Identifier: ISC */
/*
 * The machine's own addresses: zone self is made of them, and a listener that is bound to all of them is met on each. They are read
 * with each generation and soon after the kernel said that addresses or routes changed: a storm of changes is one reading. A list
 * that cannot be read leaves the one of the last time in force: an address that went away and is still taken for ours is denied
 * more, not less.
 */
#include "session/state.h"

#include "base/clock.h"

#include <stdlib.h>

#define SETTLE_MS 50

static void on_settled(void *arg)
{
    own_read(arg);
}

static void on_change(void *arg, unsigned what)
{
    struct engine *e = arg;

    (void)what;

    if (route_watch_read(e->route) && e->generation != NULL)
        timer_set(loop_wheel(e->loop), &e->own_timer, clock_ms() + SETTLE_MS);
}

bool own_watch(struct engine *e)
{
    timer_init(&e->own_timer, on_settled, e);
    e->own_source = (struct loop_source){ .fn = on_change, .arg = e, .fd = -1 };
    return loop_add(e->loop, &e->own_source, route_watch_fd(e->route), LOOP_READ);
}

void own_free(struct engine *e)
{
    timer_clear(loop_wheel(e->loop), &e->own_timer);
    loop_remove(e->loop, &e->own_source);
    free(e->own);
}

struct list {
    struct addr *items;
    size_t count, room;
    bool failed;
};

static void append(void *arg, const struct addr *own)
{
    struct list *l = arg;

    if (l->count == l->room) {
        size_t room = 2 * l->room + 16;
        struct addr *more = realloc(l->items, room * sizeof(*more));

        if (more == NULL) {
            l->failed = true;
            return;
        }
        l->items = more;
        l->room = room;
    }
    l->items[l->count++] = *own;
}

void own_read(struct engine *e)
{
    struct list l = { 0 };

    if (!route_each_own(e->route, append, &l) || l.failed) {
        log_error("this machine's addresses could not be read");
        free(l.items);
        return;
    }
    free(e->own);
    e->own = l.items;
    e->own_count = l.count;
}
