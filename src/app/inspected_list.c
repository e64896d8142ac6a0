/* SPDX-License-Identifier: ISC */
/*
 * The names that were inspected, of all workers together. Clients that refuse a minted certificate do not trust the inspection CA,
 * or expect one certain certificate: the names that they refuse come first, because something has to be done about them.
 */
#include "app/command_reply.h"

#include "app/json_put.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    const struct inspected *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static int refused_first(const void *a, const void *b)
{
    const struct inspected *x = a, *y = b;

    if (x->last_refused_us != y->last_refused_us)
        return x->last_refused_us < y->last_refused_us ? 1 : -1;
    if (x->last_us != y->last_us)
        return x->last_us < y->last_us ? 1 : -1;
    return strcmp(x->name, y->name);
}

static size_t collect(const struct view *v, struct inspected *out)
{
    size_t count = 0;

    for (unsigned worker = 0; worker < v->workers; worker++)
        for (uint32_t i = 0; i < TABLE_INSPECTED; i++)
            count += inspected_read(v->shards[worker], i, &out[count]);
    return count;
}

/* Names that several workers have become one. Returns how many are left. */
static size_t merge(struct inspected *all, size_t count)
{
    size_t kept = 0;

    qsort(all, count, sizeof(*all), by_name);
    for (size_t i = 0; i < count; i++) {
        struct inspected *last = kept > 0 ? &all[kept - 1] : NULL;

        if (last == NULL || strcmp(last->name, all[i].name) != 0) {
            all[kept++] = all[i];
            continue;
        }
        last->shown += all[i].shown;
        last->refused += all[i].refused;
        if (all[i].last_us > last->last_us)
            last->last_us = all[i].last_us;
        if (all[i].last_refused_us > last->last_refused_us) {
            last->last_refused_us = all[i].last_refused_us;
            last->last_client = all[i].last_client;
        }
    }
    return kept;
}

static json_t *name_object(const struct inspected *name)
{
    json_t *object = json_object();

    put_text(object, "name", name->name);
    put_number(object, "shown", name->shown);
    put_number(object, "refused", name->refused);
    put_time(object, "last", name->last_us);
    put_time(object, "last_refused", name->last_refused_us);
    put_addr(object, "last_client", &name->last_client);
    return object;
}

json_t *reply_inspected(const struct view *v)
{
    struct inspected *all = calloc((size_t)v->workers * TABLE_INSPECTED, sizeof(*all));
    json_t *list = json_array();
    size_t count = all != NULL ? merge(all, collect(v, all)) : 0;

    if (count > 1)
        qsort(all, count, sizeof(*all), refused_first);
    for (size_t i = 0; i < count && i < TABLE_INSPECTED; i++)
        (void)json_array_append_new(list, name_object(&all[i]));
    free(all);
    return json_pack("{s:o}", "inspected", list);
}
