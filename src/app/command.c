/* SPDX-License-Identifier: ISC */
/*
 * The requests of posternctl, read. One table names them; each has a function that takes its arguments from the object and either
 * makes the reply or says what is to be done. Nothing here has a side effect: doing is control_requests.c's.
 */
#include "app/command.h"

#include "app/command_reply.h"
#include "app/json_put.h"

#include <string.h>

#define DENIALS_DEFAULT 20
#define DENIALS_MAX 1000
#define BLOCK_SECONDS_MAX 31536000 /* as packet_filter.block_seconds */

static void reply_error(struct command *c, const char *error)
{
    c->kind = COMMAND_REPLY;
    c->reply = json_pack("{s:s}", "error", error);
}

static bool read_id(struct command *c, const struct view *v, const json_t *object)
{
    struct span text = text_at(object, "id");

    if (stream_id_parse(&c->id, text, v->writers > v->old.writers ? v->writers : v->old.writers))
        return true;
    reply_error(c, stream_id_parse(&c->id, text, WRITERS_MAX) ? "no such session: there is no worker of that number"
                                                              : "an id is W-N or W-N-K: worker, session, request");
    return false;
}

static bool read_filters(struct command *c, const json_t *object)
{
    const json_t *list = json_object_get(object, "filters");
    const char *fault = list == NULL || json_is_array(list) ? NULL : "\"filters\" is a list of texts";

    for (size_t i = 0; i < json_array_size(list) && fault == NULL; i++) {
        const json_t *item = json_array_get(list, i);

        fault = json_is_string(item) ? filters_add(&c->filters, span_of(json_string_value(item), json_string_length(item)))
                                     : "\"filters\" is a list of texts";
    }
    if (fault != NULL)
        reply_error(c, fault);
    return fault == NULL;
}

static void read_status(struct command *c, const struct view *v, json_t *object)
{
    (void)object;
    c->reply = reply_status(v);
}

static void read_sessions(struct command *c, const struct view *v, json_t *object)
{
    (void)v;
    c->kind = COMMAND_SESSIONS;
    (void)read_filters(c, object);
}

static void read_watch(struct command *c, const struct view *v, json_t *object)
{
    (void)v;
    c->kind = COMMAND_WATCH;
    (void)read_filters(c, object);
}

static void read_show(struct command *c, const struct view *v, json_t *object)
{
    if (read_id(c, v, object))
        c->reply = reply_show(v, &c->id);
}

/* Has the posternd before this one this session? */
static bool is_before(const struct view *v, const struct stream_id *id)
{
    struct tls_facts tls[DIRECTIONS];
    struct row row;

    return v->old.writers > 0 && view_find_row(v, id, &row, tls) != NULL && row.state == ROW_DRAINING;
}

static void read_kill(struct command *c, const struct view *v, json_t *object)
{
    c->kind = COMMAND_KILL;
    c->by_id = json_object_get(object, "id") != NULL;
    if (c->by_id && read_id(c, v, object))
        c->before = is_before(v, &c->id);
    else if (!c->by_id && read_filters(c, object) && c->filters.count == 0)
        reply_error(c, "kill needs an id or a filter");
}

static void read_explain(struct command *c, const struct view *v, json_t *object)
{
    if (json_object_get(object, "id") == NULL) {
        c->kind = COMMAND_EXPLAIN;
        c->question = json_incref(object);
    } else if (read_id(c, v, object))
        c->reply = reply_explain(v, &c->id);
}

static void read_denials(struct command *c, const struct view *v, json_t *object)
{
    const json_t *count = json_object_get(object, "count");
    json_int_t wanted = count != NULL ? json_integer_value(count) : DENIALS_DEFAULT;

    if (wanted < 1 || wanted > DENIALS_MAX)
        reply_error(c, "count is a number from 1 to 1000");
    else
        c->reply = reply_denials(v, (unsigned)wanted);
}

static void read_inspected(struct command *c, const struct view *v, json_t *object)
{
    (void)object;
    c->reply = reply_inspected(v);
}

static void read_reload(struct command *c, const struct view *v, json_t *object)
{
    (void)v;
    (void)object;
    c->kind = COMMAND_RELOAD;
}

static void read_upgrade(struct command *c, const struct view *v, json_t *object)
{
    (void)v;
    (void)object;
    c->kind = COMMAND_UPGRADE;
}

static void read_drain(struct command *c, const struct view *v, json_t *object)
{
    (void)v;
    (void)object;
    c->kind = COMMAND_DRAIN;
}

static void read_log(struct command *c, const struct view *v, json_t *object)
{
    (void)v;
    c->kind = COMMAND_LOG;
    if (!log_level_find(text_at(object, "level"), &c->level))
        reply_error(c, "a level is one of error, warn, info, debug");
}

/* What the filter process answers; without a packet filter there is none. */
static bool ask_filter(struct command *c, const struct view *v, json_t *object)
{
    if (!view_has_filter(v)) {
        reply_error(c, "no packet_filter is configured");
        return false;
    }
    c->kind = COMMAND_ASK;
    c->question = json_incref(object);
    return true;
}

static void read_plain(struct command *c, const struct view *v, json_t *object)
{
    (void)ask_filter(c, v, object);
}

static bool read_network(struct command *c, const json_t *object)
{
    struct network network;

    if (network_parse(&network, text_at(object, "address")))
        return true;
    reply_error(c, "\"address\" is neither an address nor a network");
    return false;
}

static void read_block(struct command *c, const struct view *v, json_t *object)
{
    const json_t *seconds = json_object_get(object, "seconds");

    if (seconds != NULL && (json_integer_value(seconds) < 1 || json_integer_value(seconds) > BLOCK_SECONDS_MAX))
        reply_error(c, "\"seconds\" is a number from 1 to 31536000");
    else if (read_network(c, object) && ask_filter(c, v, object) && seconds == NULL)
        (void)json_object_set_new(object, "seconds", json_integer(v->generation->conf->packet_filter.block_seconds));
}

static void read_unblock(struct command *c, const struct view *v, json_t *object)
{
    if (read_network(c, object))
        (void)ask_filter(c, v, object);
}

static const struct {
    const char *name;
    void (*read)(struct command *c, const struct view *v, json_t *object);
} commands[] = {
    { "status", read_status },   { "sessions", read_sessions }, { "watch", read_watch },     { "show", read_show },
    { "kill", read_kill },       { "explain", read_explain },   { "denials", read_denials }, { "reload", read_reload },
    { "drain", read_drain },     { "log", read_log },           { "block", read_block },     { "unblock", read_unblock },
    { "blocks", read_plain },    { "filter", read_plain },      { "doctor", read_plain },    { "inspected", read_inspected },
    { "upgrade", read_upgrade },
};

static void read_object(struct command *c, const struct view *v, json_t *object)
{
    struct span name = text_at(object, "command");

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (span_eq(span_str(commands[i].name), name)) {
            commands[i].read(c, v, object);
            return;
        }
    reply_error(c, "no such command");
}

void command_read(struct command *out, const struct view *view, struct span line)
{
    json_t *object = json_loadb(line.at != NULL ? line.at : "", line.len, JSON_REJECT_DUPLICATES, NULL);

    memset(out, 0, sizeof(*out));
    if (json_is_object(object))
        read_object(out, view, object);
    else {
        reply_error(out, "a request is one JSON object in a line");
        out->hang_up = true;
    }
    json_decref(object);
}

void command_fini(struct command *command)
{
    json_decref(command->reply);
    json_decref(command->question);
    command->reply = command->question = NULL;
}
