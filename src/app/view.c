/* SPDX-License-Identifier: ISC */
/*
 * Looking at all shards as at one table.
 */
#include "app/view.h"

#include <string.h>

static bool next_number(struct span *text, uint64_t max, uint64_t *out)
{
    const char *dash = text->len > 0 ? memchr(text->at, '-', text->len) : NULL;
    size_t len = dash != NULL ? (size_t)(dash - text->at) : text->len;
    bool good = span_u64(span_of(text->at, len), max, out);

    *text = span_skip(*text, dash != NULL ? len + 1 : len);
    return good;
}

bool stream_id_parse(struct stream_id *out, struct span text, unsigned writers)
{
    uint64_t worker, number, exchange = 0;

    if (text.len == 0 || text.at[text.len - 1] == '-')
        return false;
    if (!next_number(&text, WRITERS_MAX, &worker) || worker >= writers || !next_number(&text, INT64_MAX, &number))
        return false;
    if (text.len > 0 && (!next_number(&text, UINT32_MAX, &exchange) || text.len > 0))
        return false;
    *out = (struct stream_id){ (unsigned)worker, number, (uint32_t)exchange };
    return true;
}

/* The shards' own count of lines that found no room is in the rings, where the writer cannot forget it. */
static uint64_t log_dropped(const struct view *v)
{
    uint64_t sum = v->log_stats != NULL ? atomic_load_explicit(&v->log_stats->lost, memory_order_relaxed) : 0;

    for (unsigned i = 0; i < v->writers; i++)
        sum += v->rings[i].shared != NULL ? ring_dropped(&v->rings[i]) : 0;
    return sum;
}

uint64_t view_count(const struct view *v, enum counter c)
{
    uint64_t sum = 0;

    if (c == COUNT_LOG_DROPPED)
        return log_dropped(v);
    for (unsigned i = 0; i < v->writers; i++)
        sum += count_read(v->shards[i], c);
    return sum;
}

uint64_t view_reason(const struct view *v, enum reason r)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < v->writers; i++)
        sum += count_reason_read(v->shards[i], r);
    return sum;
}

unsigned view_tables(const struct view *v)
{
    return v->writers + v->old.writers;
}

const struct shard *view_table(const struct view *v, unsigned table)
{
    return table < v->writers ? v->shards[table] : v->old.shards[table - v->writers];
}

uint32_t view_rows_high(const struct view *v, unsigned table)
{
    uint64_t high = count_read(view_table(v, table), COUNT_ROWS_HIGH);
    uint32_t rows = table < v->writers ? v->rows : v->old.rows;

    return high < rows ? (uint32_t)high : rows;
}

bool view_row_read(const struct view *v, unsigned table, uint32_t index, struct row *out, struct tls_facts *tls)
{
    if (!row_read(view_table(v, table), index, out, tls))
        return false;
    if (table >= v->writers)
        out->state = ROW_DRAINING;
    return true;
}

const char *view_file(const struct view *v)
{
    return v->generation != NULL ? v->generation->conf->file : NULL;
}

bool view_has_filter(const struct view *v)
{
    return v->generation != NULL && v->generation->conf->packet_filter.line != 0;
}

bool view_has_minter(const struct view *v)
{
    return v->generation != NULL && v->generation->conf->tls.inspect_key >= 0;
}

struct health_facts view_upstream(const struct view *v, const struct conf_listener *listener, const struct conf_upstream *upstream)
{
    uint64_t key = health_key(listener->name, upstream->host, upstream->port, upstream->tls);

    return v->health != NULL ? health_read(v->health, key) : (struct health_facts){ 0 };
}

bool view_healthy(const struct view *v)
{
    if (view_has_filter(v) && (v->status.filter == 0 || !v->status.filter_ready))
        return false;
    if (view_has_minter(v) && (v->status.minter == 0 || !v->status.minter_ready))
        return false;
    for (unsigned i = 0; i < v->workers; i++)
        if (v->status.workers[i].pid == 0 || !v->status.workers[i].ready)
            return false;
    return !v->status.draining;
}

static bool find_row_in(const struct view *v, unsigned table, const struct stream_id *id, struct row *out, struct tls_facts *tls)
{
    for (uint32_t i = 0; i < view_rows_high(v, table); i++)
        if (view_row_read(v, table, i, out, tls) && out->number == id->number)
            return id->exchange == 0 || id->exchange == out->exchanges;
    return false;
}

const struct shard *view_find_row(const struct view *v, const struct stream_id *id, struct row *out, struct tls_facts *tls)
{
    if (id->worker < v->writers && find_row_in(v, id->worker, id, out, tls))
        return v->shards[id->worker];
    if (id->worker < v->old.writers && find_row_in(v, v->writers + id->worker, id, out, tls))
        return v->old.shards[id->worker];
    return NULL;
}

static bool find_record_in(const struct shard *shard, const struct stream_id *id, struct record *out)
{
    uint64_t newest = count_read(shard, COUNT_ENDED), oldest = newest > TABLE_ENDED ? newest - TABLE_ENDED : 0;

    for (uint64_t sequence = newest; sequence > oldest; sequence--)
        if (ended_read(shard, sequence, out) && out->row.number == id->number &&
            (id->exchange == 0 || id->exchange == out->exchange))
            return true;
    return false;
}

const struct shard *view_find_record(const struct view *v, const struct stream_id *id, struct record *out)
{
    if (id->worker < v->writers && find_record_in(v->shards[id->worker], id, out))
        return v->shards[id->worker];
    if (id->worker < v->old.writers && find_record_in(v->old.shards[id->worker], id, out))
        return v->old.shards[id->worker];
    return NULL;
}
