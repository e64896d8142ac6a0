/* SPDX-License-Identifier: ISC */
/*
 * Dry runs, translated. The worker decides them on its own generation with the code that decides live; here the operator's question
 * becomes what the engine takes, and its answer becomes what the operator reads. Header lines are checked for line ends, so that a
 * question cannot hold another one.
 */
#include "app/worker_explain.h"

#include "app/json_put.h"

#include <stdio.h>
#include <string.h>

static const char *add_header(struct explain_question *q, size_t *used, const json_t *line)
{
    const char *text = json_string_value(line);
    int put;

    if (text == NULL || strlen(text) != json_string_length(line) || strpbrk(text, "\r\n") != NULL || strchr(text, ':') == NULL)
        return "a header is not of the form \"Name: value\"";
    put = snprintf(q->headers + *used, sizeof(q->headers) - *used, "%s\r\n", text);
    if (put < 0 || (size_t)put >= sizeof(q->headers) - *used)
        return "the headers are too long";
    *used += (size_t)put;
    return NULL;
}

static const char *read_headers(struct explain_question *q, const json_t *lines)
{
    const char *fault = NULL;
    size_t used = 0;

    for (size_t i = 0; i < json_array_size(lines) && fault == NULL; i++)
        fault = add_header(q, &used, json_array_get(lines, i));
    q->query.headers = span_of(q->headers, used);
    return fault;
}

const char *explain_read(struct explain_question *q, const json_t *object)
{
    struct span from = text_at(object, "from"), address = text_at(object, "address");

    memset(&q->query, 0, sizeof(q->query));
    q->query.listener = json_string_value(json_object_get(object, "listener"));
    q->query.interface = json_string_value(json_object_get(object, "interface"));
    q->query.resolve = json_is_true(json_object_get(object, "resolve"));
    q->query.method = text_at(object, "method");
    q->query.url = text_at(object, "url");
    if (json_object_get(object, "at") != NULL)
        return "this version has no condition of time: \"at\" cannot be asked";
    if (q->query.method.len == 0 || q->query.url.len == 0)
        return "a method and a URL are needed";
    if (!addr_parse(&q->query.from, from, 0))
        return "\"from\" is not an IP address";
    if (address.len > 0 && !addr_parse(&q->query.address, address, 0))
        return "\"address\" is not an IP address";
    return read_headers(q, json_object_get(object, "headers"));
}

static const char *protocol_word(unsigned bit)
{
    static const char *const words[] = { "http", "websocket", "tls", "tunnel", "tcp", "udp", "icmp" };

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (bit == 1u << i)
            return words[i];
    return "";
}

static const struct conf_policy *policy_of(const struct explain_answer *a, int index)
{
    const struct conf *conf = a->generation->conf;

    return index >= 0 && (size_t)index < conf->policy_count ? &conf->policies[index] : NULL;
}

static json_t *step_object(const struct explain_answer *a, const struct explain_step *step)
{
    const struct conf_policy *policy = policy_of(a, step->verdict.policy);
    json_t *object = json_object();

    put_text(object, "stage", stage_name(step->stage));
    put_text(object, "verdict", !step->verdict.granted ? "denied" : step->verdict.remembered ? "possible" : "allowed");
    put_text(object, "policy", policy != NULL ? policy->name : NULL);
    if (!step->verdict.granted)
        put_text(object, "reason", reason_name(step->verdict.reason));
    return object;
}

static json_t *near_object(const struct explain_answer *a, const struct rules_near *near)
{
    const struct conf_policy *policy = policy_of(a, near->policy);
    json_t *object = json_object(), *conditions = json_array();

    put_text(object, "name", policy != NULL ? policy->name : NULL);
    put_text(object, "file", a->generation->conf->file);
    put_count(object, "line", policy != NULL ? policy->line : 0);
    for (unsigned c = 0; c < COND_COUNT; c++)
        if ((near->false_set & (1u << c)) != 0)
            (void)json_array_append_new(conditions, json_string(condition_name((enum condition)c)));
    (void)json_object_set_new(object, "did_not_fit", conditions);
    return object;
}

static void put_index_name(json_t *object, const char *key, int index, size_t count, const char *name)
{
    if (index >= 0 && (size_t)index < count)
        put_text(object, key, name);
}

static void put_facts(json_t *object, const struct explain_answer *a)
{
    const struct conf *conf = a->generation->conf;

    put_index_name(object, "listener", a->listener, conf->listener_count, conf->listeners[a->listener > 0 ? a->listener : 0].name);
    put_index_name(object, "zone_in", a->zone_in, conf->zone_count, conf->zones[a->zone_in > 0 ? a->zone_in : 0].name);
    put_index_name(object, "zone_out", a->zone_out, conf->zone_count, conf->zones[a->zone_out > 0 ? a->zone_out : 0].name);
    put_text(object, "protocol", protocol_word(a->protocol));
    put_text(object, "host", a->host.name);
    put_count(object, "port", a->port);
    put_addr(object, "server", &a->server);
    put_text(object, "path", a->path);
    if (a->address_unknown)
        put_text(object, "note", "the name was not resolved: what depends on the address was not judged (--resolve or --address)");
}

json_t *explain_write(const struct explain_answer *a)
{
    const struct conf_policy *policy;
    json_t *object = json_object(), *steps = json_array(), *near = json_array();

    if (a->error != NULL) {
        put_text(object, "error", a->error);
        json_decref(steps);
        json_decref(near);
        return object;
    }
    policy = policy_of(a, a->verdict.policy);
    put_verdict(object, a->reason);
    if (policy != NULL)
        put_policy(object, "policy", policy->name, a->generation->conf->file, policy->line);
    put_facts(object, a);
    for (size_t i = 0; i < a->step_count; i++)
        (void)json_array_append_new(steps, step_object(a, &a->steps[i]));
    for (size_t i = 0; i < a->near_count; i++)
        (void)json_array_append_new(near, near_object(a, &a->near[i]));
    (void)json_object_set_new(object, "stages", steps);
    (void)json_object_set_new(object, "near", near);
    put_number(object, "generation", a->generation->number);
    return object;
}
