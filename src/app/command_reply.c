/* SPDX-License-Identifier: ISC */
/*
 * What posternctl is told: made from the view alone, so that a test can fill a table and read the answers.
 */
#include "app/command_reply.h"

#include "app/json_put.h"
#include "app/row_json.h"
#include "app/sandbox.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *worker_list(const struct view *v)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < v->workers; i++) {
        json_t *worker = json_object();

        put_number(worker, "worker", i);
        put_count(worker, "pid", (uint64_t)v->status.workers[i].pid);
        put_bool(worker, "ready", v->status.workers[i].ready);
        put_number(worker, "restarts", v->status.workers[i].restarts);
        put_number(worker, "sessions", count_read(v->shards[i], COUNT_SESSIONS_OPEN));
        (void)json_array_append_new(list, worker);
    }
    return list;
}

static json_t *listener_list(const struct conf *conf)
{
    json_t *list = json_array();

    for (size_t i = 0; i < conf->listener_count; i++) {
        json_t *listener = json_object();

        put_text(listener, "name", conf->listeners[i].name);
        put_text(listener, "mode", mode_name(conf->listeners[i].mode));
        put_addr(listener, "address", &conf->listeners[i].address);
        (void)json_array_append_new(list, listener);
    }
    return list;
}

static json_t *upstream_object(const struct view *v, const struct conf_listener *listener, const struct conf_upstream *upstream)
{
    struct health_facts facts = view_upstream(v, listener, upstream);
    json_t *object = json_object();
    char text[UPSTREAM_TEXT];

    put_text(object, "listener", listener->name);
    put_text(object, "upstream", conf_upstream_text(upstream, text));
    put_text(object, "state", conf_watches_upstreams(listener) ? health_state_name(facts.state) : "unwatched");
    put_time(object, "since", facts.since_us);
    put_number(object, "failures", facts.failures);
    put_number(object, "checks", facts.checks);
    put_number(object, "check_failures", facts.check_failures);
    return object;
}

static json_t *upstream_list(const struct view *v, const struct conf *conf)
{
    json_t *list = json_array();

    for (size_t i = 0; i < conf->listener_count; i++)
        for (size_t k = 0; k < conf->listeners[i].upstream_count; k++)
            (void)json_array_append_new(list, upstream_object(v, &conf->listeners[i], &conf->listeners[i].upstreams[k]));
    return list;
}

/* What an operator should know though nothing is broken. */
static json_t *note_list(const struct view *v, const struct conf *conf)
{
    json_t *list = json_array();
    char text[256];

    if (v->status.sessions_limit < v->status.sessions_configured) {
        snprintf(text, sizeof(text), "limits.sessions is %llu, but %llu descriptors a process leave room for %llu",
                 (unsigned long long)v->status.sessions_configured, (unsigned long long)v->status.files,
                 (unsigned long long)v->status.sessions_limit);
        (void)json_array_append_new(list, json_string(text));
    }
    for (size_t i = 0; i < conf->policy_count; i++) {
        if (conf->policies[i].upstream_reuse != REUSE_SHARED)
            continue;
        snprintf(text, sizeof(text),
                 "policy %s shares upstream connections between sessions: one client's stream is no longer alone",
                 conf->policies[i].name);
        (void)json_array_append_new(list, json_string(text));
    }
    return list;
}

static json_t *session_counts(const struct view *v)
{
    json_t *sessions = json_object();

    put_number(sessions, "open", view_count(v, COUNT_SESSIONS_OPEN));
    put_number(sessions, "websockets", view_count(v, COUNT_WEBSOCKETS_OPEN));
    put_number(sessions, "opened", view_count(v, COUNT_SESSIONS_OPENED));
    put_number(sessions, "denied", view_count(v, COUNT_DENIED));
    put_number(sessions, "limit", v->status.sessions_limit);
    return sessions;
}

static json_t *memory_state(const struct view *v)
{
    json_t *memory = json_object();

    put_number(memory, "used", v->status.memory_used);
    put_number(memory, "limit", v->status.memory_limit);
    put_text(memory, "state", pressure_name((enum pressure_level)v->status.pressure));
    return memory;
}

/* What the filter process said of itself, in shared memory. */
static json_t *filter_state(const struct view *v)
{
    const struct filter_stats *stats = v->filter_stats;
    json_t *state = json_object();

    put_count(state, "pid", (uint64_t)v->status.filter);
    put_bool(state, "ready", v->status.filter_ready);
    put_number(state, "restarts", v->status.filter_restarts);
    put_text(state, "table", v->generation->conf->packet_filter.table);
    if (stats == NULL)
        return state;
    put_time(state, "committed", atomic_load_explicit(&stats->committed_us, memory_order_relaxed));
    put_number(state, "mended", atomic_load_explicit(&stats->mended, memory_order_relaxed));
    put_number(state, "blocks", atomic_load_explicit(&stats->blocks, memory_order_relaxed));
    return state;
}

static json_t *minter_state(const struct view *v)
{
    json_t *state = json_object();

    put_count(state, "pid", (uint64_t)v->status.minter);
    put_bool(state, "ready", v->status.minter_ready);
    put_number(state, "restarts", v->status.minter_restarts);
    return state;
}

/* The posternd before this one, while it drains. */
static json_t *predecessor_state(const struct view *v)
{
    json_t *state = json_object();
    uint64_t open = 0;

    for (unsigned i = 0; i < v->old.writers; i++)
        open += count_read(v->old.shards[i], COUNT_SESSIONS_OPEN);
    put_number(state, "pid", (uint64_t)v->status.predecessor);
    put_number(state, "sessions", open);
    return state;
}

/* What keeps the processes in: how the monitor was asked for it, and what this system has. */
static json_t *sandbox_state(const struct view *v)
{
    json_t *state = json_object();

    put_text(state, "wanted", sandbox_wanted_name(v->status.sandbox.wanted));
    put_text(state, "users", sandbox_users_name(v->status.sandbox.users));
    put_number(state, "landlock", v->status.sandbox.landlock);
    put_bool(state, "system_calls", v->status.sandbox.calls);
    return state;
}

json_t *reply_status(const struct view *v)
{
    json_t *status = json_object();

    put_text(status, "version", POSTERN_VERSION);
    put_text(status, "state", v->status.draining ? "draining" : view_healthy(v) ? "serving" : "degraded");
    put_number(status, "pid", (uint64_t)v->status.monitor);
    put_count(status, "logger", (uint64_t)v->status.logger);
    put_count(status, "control", (uint64_t)v->status.control);
    put_time(status, "started", v->status.started_us);
    put_number(status, "uptime_s", v->now_us > v->status.started_us ? (v->now_us - v->status.started_us) / 1000000u : 0);
    put_text(status, "configuration", view_file(v));
    put_number(status, "generation", v->status.generation);
    put_text(status, "log_level", log_level_name(v->status.log_level <= LOG_LEVEL_DEBUG ? v->status.log_level : LOG_LEVEL_INFO));
    put_number(status, "log_dropped", view_count(v, COUNT_LOG_DROPPED));
    (void)json_object_set_new(status, "sandbox", sandbox_state(v));
    (void)json_object_set_new(status, "sessions", session_counts(v));
    (void)json_object_set_new(status, "memory", memory_state(v));
    (void)json_object_set_new(status, "workers", worker_list(v));
    if (v->status.predecessor != 0)
        (void)json_object_set_new(status, "draining", predecessor_state(v));
    if (v->generation == NULL)
        return status;
    if (view_has_filter(v))
        (void)json_object_set_new(status, "filter", filter_state(v));
    if (view_has_minter(v))
        (void)json_object_set_new(status, "minter", minter_state(v));
    put_number(status, "policies", v->generation->conf->policy_count);
    (void)json_object_set_new(status, "listeners", listener_list(v->generation->conf));
    (void)json_object_set_new(status, "upstreams", upstream_list(v, v->generation->conf));
    (void)json_object_set_new(status, "notes", note_list(v, v->generation->conf));
    return status;
}

static json_t *not_found(void)
{
    return json_pack("{s:s}", "error", "no such session: it is not open, and not among those remembered");
}

json_t *reply_show(const struct view *v, const struct stream_id *id)
{
    struct tls_facts tls[DIRECTIONS];
    const struct shard *shard;
    struct record record;
    struct row row;

    if ((shard = view_find_row(v, id, &row, tls)) != NULL)
        return json_pack("{s:b,s:o}", "live", 1, "session", row_object(&row, tls, shard, view_file(v)));
    if ((shard = view_find_record(v, id, &record)) != NULL)
        return json_pack("{s:b,s:o}", "live", 0, "session", record_object(&record, shard, view_file(v)));
    return not_found();
}

json_t *reply_explain(const struct view *v, const struct stream_id *id)
{
    struct tls_facts tls[DIRECTIONS];
    const struct shard *shard;
    struct record record;
    struct row row;

    if ((shard = view_find_record(v, id, &record)) != NULL)
        return record_explained(&record, shard, view_file(v));
    if ((shard = view_find_row(v, id, &row, tls)) != NULL)
        return row_explained(&row, tls, shard, view_file(v));
    return not_found();
}

struct denial {
    uint64_t time_us, sequence;
    unsigned worker;
};

static int newest_first(const void *a, const void *b)
{
    const struct denial *x = a, *y = b;

    return x->time_us < y->time_us ? 1 : x->time_us > y->time_us ? -1 : 0;
}

/* The newest denials of one worker, at most `max`. */
static size_t collect(const struct view *v, unsigned worker, struct denial *out, size_t max)
{
    uint64_t newest = count_read(v->shards[worker], COUNT_ENDED), oldest = newest > TABLE_ENDED ? newest - TABLE_ENDED : 0;
    struct record record;
    size_t count = 0;

    for (uint64_t sequence = newest; sequence > oldest && count < max; sequence--)
        if (ended_read(v->shards[worker], sequence, &record) && record.event == RECORD_DENIED)
            out[count++] = (struct denial){ record.time_us, sequence, worker };
    return count;
}

json_t *reply_denials(const struct view *v, unsigned count)
{
    struct denial *all = calloc((size_t)count * v->writers, sizeof(*all));
    json_t *list = json_array();
    struct record record;
    size_t found = 0;

    for (unsigned i = 0; i < v->writers && all != NULL; i++)
        found += collect(v, i, all + found, count);
    if (found > 1)
        qsort(all, found, sizeof(*all), newest_first);
    for (size_t i = 0; i < found && i < count; i++)
        if (ended_read(v->shards[all[i].worker], all[i].sequence, &record))
            (void)json_array_append_new(list, record_explained(&record, v->shards[all[i].worker], view_file(v)));
    free(all);
    return json_pack("{s:o}", "denials", list);
}
