/* SPDX-License-Identifier: ISC */
/*
 * Long answers. The table may hold a hundred thousand rows; the answer is made as fast as its reader takes it, so that control
 * never holds more than a piece of it and a slow reader costs nothing. Rows come and go while it is written: it is a view, not a
 * snapshot.
 */
#include "app/listing.h"

#include "app/json_put.h"
#include "app/row_json.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

void listing_init(struct listing *l, const struct view *v, const struct filters *filters)
{
    memset(l, 0, sizeof(*l));
    l->filters = *filters;
    l->begun_us = v->now_us;
    for (unsigned i = 0; i < v->writers; i++)
        l->ended[i] = count_read(v->shards[i], COUNT_ENDED);
    for (unsigned i = 0; i < v->old.writers; i++)
        l->ended_old[i] = count_read(v->old.shards[i], COUNT_ENDED);
}

void listing_next(struct listing *l, const struct view *v)
{
    l->changes = true;
    l->in_ended = l->open = false;
    l->worker = l->row = 0;
    l->count = 0;
    l->since_us = l->begun_us;
    l->begun_us = v->now_us;
}

static void add_text(struct evbuffer *out, const char *text)
{
    (void)evbuffer_add(out, text, strlen(text));
}

static void add_object(struct listing *l, struct evbuffer *out, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);

    if (text != NULL) {
        if (l->count++ > 0)
            add_text(out, ",");
        add_text(out, text);
    }
    free(text);
    json_decref(object);
}

static bool is_wanted(const struct listing *l, const struct row *row)
{
    return !l->changes || row->opened_us >= l->since_us || row->last_us[UP] >= l->since_us || row->last_us[DOWN] >= l->since_us;
}

static bool is_full(struct evbuffer *out)
{
    return evbuffer_get_length(out) >= LISTING_PIECE;
}

/* true: all rows are written. */
static bool fill_rows(struct listing *l, const struct view *v, struct evbuffer *out)
{
    struct tls_facts tls[DIRECTIONS];
    struct row row;

    for (; l->worker < view_tables(v); l->worker++, l->row = 0)
        while (l->row < view_rows_high(v, l->worker)) {
            const struct shard *shard = view_table(v, l->worker);

            if (is_full(out))
                return false;
            if (view_row_read(v, l->worker, l->row++, &row, tls) && is_wanted(l, &row) &&
                filters_fit(&l->filters, &row, tls, shard))
                add_object(l, out, row_object(&row, tls, shard, view_file(v)));
        }
    return true;
}

/* true: all that ended is written. What the ring has already forgotten is passed over. */
static bool fill_ended(struct listing *l, const struct view *v, struct evbuffer *out)
{
    struct record record;

    for (; l->worker < view_tables(v); l->worker++) {
        const struct shard *shard = view_table(v, l->worker);
        uint64_t newest = count_read(shard, COUNT_ENDED);
        uint64_t *at = l->worker < v->writers ? &l->ended[l->worker] : &l->ended_old[l->worker - v->writers];

        if (newest - *at > TABLE_ENDED)
            *at = newest - TABLE_ENDED;
        while (*at < newest) {
            if (is_full(out))
                return false;
            if (ended_read(shard, ++*at, &record) && filters_fit(&l->filters, &record.row, record.tls, shard))
                add_object(l, out, record_object(&record, shard, view_file(v)));
        }
    }
    return true;
}

static void begin_line(struct listing *l, struct evbuffer *out)
{
    char time[TIME_TEXT];

    (void)evbuffer_add_printf(out, "{\"time\":\"%s\",\"changes\":%s,\"sessions\":[", time_text(l->begun_us, time),
                              l->changes ? "true" : "false");
    l->open = true;
}

bool listing_fill(struct listing *l, const struct view *v, struct evbuffer *out)
{
    if (!l->open)
        begin_line(l, out);
    if (!l->in_ended) {
        if (!fill_rows(l, v, out))
            return false;
        (void)evbuffer_add_printf(out, "],\"count\":%llu,\"ended\":[", (unsigned long long)l->count);
        l->in_ended = true;
        l->worker = 0;
        l->count = 0;
    }
    if (l->changes && !fill_ended(l, v, out))
        return false;
    add_text(out, "]}\n");
    l->open = false;
    return true;
}
