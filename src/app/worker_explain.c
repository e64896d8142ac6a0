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

/* "tcp://ADDR:PORT", "udp://ADDR:PORT" and "icmp://ADDR" are flows and no requests. */
static const char *read_flow(struct explain_query *q)
{
    static const struct {
        const char *scheme;
        unsigned protocol;
    } flows[] = { { "tcp://", CONF_TCP }, { "udp://", CONF_UDP }, { "icmp://", CONF_ICMP } };

    for (size_t i = 0; i < sizeof(flows) / sizeof(flows[0]); i++) {
        size_t len = strlen(flows[i].scheme);
        struct host host;
        uint16_t port;

        if (q->url.len < len || !span_ieq(span_of(q->url.at, len), span_str(flows[i].scheme)))
            continue;
        if (!host_parse_authority(&host, &port, span_skip(q->url, len)) || host.ip.family == 0)
            return "a flow goes to an address: tcp://ADDR:PORT, udp://ADDR:PORT, icmp://ADDR";
        if ((port == 0) != (flows[i].protocol == CONF_ICMP))
            return "tcp and udp need a port, icmp has none";
        q->flow = flows[i].protocol;
        q->address = host.ip;
        q->address.port = port;
    }
    return NULL;
}

const char *explain_read(struct explain_question *q, const json_t *object)
{
    struct span from = text_at(object, "from"), address = text_at(object, "address");
    const char *fault;

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
    fault = read_flow(&q->query);
    if (fault == NULL && span_eq(q->query.method, SPAN("-")) && q->query.flow == 0)
        fault = "a request has a method";
    return fault != NULL ? fault : read_headers(q, json_object_get(object, "headers"));
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

static const struct conf_listener *listener_of(const struct explain_answer *a, int index)
{
    const struct conf *conf = a->generation->conf;

    return index >= 0 && (size_t)index < conf->listener_count ? &conf->listeners[index] : NULL;
}

static void put_near(json_t *object, const struct explain_answer *a, const struct rules_near *near, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, near_object(a, &near[i]));
    (void)json_object_set_new(object, "near", list);
}

/* Who gets the packet, if the kernel does not deal with it alone. */
static void put_taker(json_t *object, const struct explain_answer *a)
{
    const struct packet_verdict *verdict = &a->packet.verdict;
    const struct conf_listener *listener = listener_of(a, verdict->listener);
    const struct conf_policy *policy = policy_of(a, verdict->policy);
    char to[ADDR_TEXT];

    put_text(object, "fate", a->packet.own ? "output" : packet_fate_name(verdict->fate));
    if (verdict->fate == PACKET_LISTENER && listener == NULL)
        put_text(object, "listener", "admin");
    if (listener != NULL)
        put_text(object, "listener", listener->name);
    if (verdict->fate == PACKET_INTERCEPT && listener != NULL)
        put_text(object, "intercept", listener->intercept == INTERCEPT_TPROXY ? "tproxy" : "redirect");
    put_text(object, "policy", policy != NULL ? policy->name : NULL);
    if (verdict->reason != R_NONE)
        put_text(object, "reason", reason_name(verdict->reason));
    put_bool(object, "twin", verdict->twin);
    if (verdict->forward >= 0)
        put_text(object, "forward", addr_port_text(&a->generation->conf->packet_filter.forwards[verdict->forward].to, to));
}

/* Pings have no port. */
static void put_server(json_t *object, const char *key, const struct addr *server)
{
    char text[ADDR_TEXT];

    if (server->port != 0)
        put_addr(object, key, server);
    else
        put_text(object, key, addr_text(server, text));
}

/* Facts that only the kernel has (the block set, routing by source) are added by control, which asks the filter process. */
static json_t *packet_object(const struct explain_answer *a)
{
    const struct explain_packet *p = &a->packet;
    const struct conf *conf = a->generation->conf;
    json_t *object = json_object();
    char address[ADDR_TEXT];

    put_text(object, "protocol", protocol_word(p->packet.protocol));
    put_text(object, "client", addr_text(&p->packet.client, address));
    put_text(object, "interface_in", p->interface_in);
    put_text(object, "zone_in", zones_name(conf, p->packet.zone_in));
    put_taker(object, a);
    if (!addr_is_any(&p->packet.server)) { /* else it is not known where it goes */
        put_server(object, "destination", &p->packet.server);
        put_bool(object, "local", p->packet.local);
        if (!p->packet.local || p->verdict.fate == PACKET_TRANSLATE)
            put_text(object, "interface_out", p->interface_out);
        put_text(object, "zone_out", zones_name(conf, p->packet.zone_out));
        if (p->no_route)
            put_text(object, "route_error", "the kernel has no route there");
    }
    put_bool(object, "masquerade", p->masquerade);
    put_text(object, "conntrack", "new");
    put_near(object, a, p->near, p->near_count);
    return object;
}

static void put_facts(json_t *object, const struct explain_answer *a)
{
    const struct conf_listener *listener = listener_of(a, a->listener);

    put_text(object, "listener", listener != NULL ? listener->name : NULL);
    put_text(object, "zone_in", zones_name(a->generation->conf, a->zone_in));
    put_text(object, "zone_out", zones_name(a->generation->conf, a->zone_out));
    put_text(object, "protocol", protocol_word(a->protocol));
    put_text(object, "host", a->host.name);
    put_count(object, "port", a->port);
    put_server(object, "server", &a->server);
    put_text(object, "path", a->path);
    put_text(object, "tls", a->tls == EXPLAIN_TLS_NONE ? NULL : a->tls == EXPLAIN_TLS_INSPECTED ? "inspected" : "unread");
    if (a->address_unknown)
        put_text(object, "note", "the name was not resolved: what depends on the address was not judged (--resolve or --address)");
}

static void put_caps(json_t *object, const struct explain_answer *a, const struct conf_policy *policy)
{
    const struct conf_websocket *ws = &policy->websocket;
    json_t *caps = json_object();

    if (ws->streams != 0) {
        put_number(caps, "streams", ws->streams);
        put_number(caps, "open", a->caps.open);
    }
    if (ws->streams_per_client != 0) {
        put_number(caps, "streams_per_client", ws->streams_per_client);
        put_number(caps, "open_of_client", a->caps.of_client);
    }
    (void)json_object_set_new(object, "caps", caps);
}

/* What passes without a policy. */
static const char *unasked(const struct explain_answer *a)
{
    const struct explain_packet *p = &a->packet;

    if (!p->asked || a->reason != R_NONE || a->verdict.policy >= 0)
        return NULL;
    if (p->own)
        return "This machine sends it: that always passes.";
    if (p->verdict.fate == PACKET_TRANSLATE)
        return "A port forward lets this through.";
    return p->verdict.fate == PACKET_INPUT ? "It never leaves this machine: that always passes." : NULL;
}

json_t *explain_write(const struct explain_answer *a)
{
    json_t *object = json_object(), *steps;
    const struct conf_policy *policy;

    if (a->error != NULL) {
        put_text(object, "error", a->error);
        return object;
    }
    policy = policy_of(a, a->verdict.policy);
    put_verdict(object, a->reason);
    put_text(object, "sentence", unasked(a));
    if (policy != NULL)
        put_policy(object, "policy", policy->name, a->generation->conf->file, policy->line);
    if (policy != NULL && a->counted)
        put_caps(object, a, policy);
    put_facts(object, a);
    if (a->packet.asked)
        (void)json_object_set_new(object, "packet", packet_object(a));
    steps = json_array();
    for (size_t i = 0; i < a->step_count; i++)
        (void)json_array_append_new(steps, step_object(a, &a->steps[i]));
    (void)json_object_set_new(object, "stages", steps);
    put_near(object, a, a->near, a->near_count);
    put_number(object, "generation", a->generation->number);
    return object;
}
