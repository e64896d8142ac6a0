/* SPDX-License-Identifier: ISC */
/*
 * The way of a configuration: text -> scan -> tree -> snapshot -> cross-checks. The snapshot is handed out only if nothing was
 * wrong with it; messages are handed out in any case. Whoever holds it may not change it: workers and control share the code
 * and the text, and each has a snapshot of its own that must mean the same.
 */
#include "conf/conf_check.h"
#include "conf/conf_read.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

extern const char conf_default[];
extern const size_t conf_default_size;

static struct conf *conf_new(const char *file, struct conf_report *report)
{
    struct conf *conf = calloc(1, sizeof(*conf));

    if (conf != NULL && (conf->file = strdup(file)) != NULL)
        return conf;
    report->no_memory = true;
    free(conf);
    return NULL;
}

static void note_lines(struct conf_lines *lines, const struct conf_node *root)
{
    *lines = (struct conf_lines){
        .user = conf_member_line(root, "user"),
        .sandbox = conf_member_line(root, "sandbox"),
        .runtime_dir = conf_member_line(root, "runtime_dir"),
        .log_access = conf_member_line(conf_node_member(root, "log"), "access"),
        .admin = conf_member_line(conf_node_member(root, "admin"), "address"),
        .resolver_hosts = conf_member_line(conf_node_member(root, "resolver"), "hosts"),
        .keylog = conf_member_line(conf_node_member(root, "tls"), "keylog"),
    };
}

struct conf *conf_parse(const char *file, struct span text, struct conf_messages *messages)
{
    struct conf_report report = { .file = file };
    struct conf_file *tree = conf_file_open(text, &report);
    struct conf *conf = tree ? conf_new(file, &report) : NULL;

    if (conf != NULL) {
        conf_read(conf, conf_file_root(tree), &report);
        note_lines(&conf->lines, conf_file_root(tree));
        if (!report.no_memory)
            conf_check(conf, conf_file_root(tree), &report);
    }
    conf_file_close(tree);
    conf_report_finish(&report, messages);
    if (messages->error_count == 0)
        return conf;
    conf_free(conf);
    return NULL;
}

static void free_strings(struct conf_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->items[i]);
    free(strings->items);
}

static void free_zone(struct conf_zone *zone)
{
    free_strings(&zone->interfaces);
    free(zone->networks.items);
}

static void free_listener(struct conf_listener *listener)
{
    free_strings(&listener->from);
    free(listener->upstreams);
    free(listener->health.path);
    free(listener->ports.items);
    free(listener->tls.pairs);
}

bool conf_watches_upstreams(const struct conf_listener *listener)
{
    return listener->mode == MODE_REVERSE && (listener->upstream_count > 1 || listener->health.line != 0);
}

char *conf_upstream_text(const struct conf_upstream *upstream, char out[UPSTREAM_TEXT])
{
    bool brackets = strchr(upstream->host, ':') != NULL;

    snprintf(out, UPSTREAM_TEXT, "%s%s%s%s:%u", upstream->tls ? "https://" : "", brackets ? "[" : "", upstream->host,
             brackets ? "]" : "", upstream->port);
    return out;
}

static void free_websocket(struct conf_websocket *websocket)
{
    free_strings(&websocket->origins);
    free_strings(&websocket->subprotocols);
    for (size_t i = 0; i < websocket->match_count; i++) {
        free(websocket->matches[i].pattern);
        free_strings(&websocket->matches[i].required);
        free_strings(&websocket->matches[i].forbidden);
    }
    free(websocket->matches);
}

static void free_policy(struct conf_policy *policy)
{
    free_strings(&policy->from);
    free_strings(&policy->to);
    free_strings(&policy->listeners);
    free(policy->clients.items);
    free(policy->networks.items);
    free_strings(&policy->hosts);
    free(policy->hosts_file);
    free(policy->ports.items);
    free_strings(&policy->methods);
    free_strings(&policy->paths);
    for (size_t i = 0; i < policy->header_count; i++) {
        free(policy->headers[i].name);
        free(policy->headers[i].pattern);
    }
    free(policy->headers);
    free_websocket(&policy->websocket);
    free_strings(&policy->tls_fingerprints);
    free_strings(&policy->client_certificates);
    free(policy->upstream_tls.server_name);
    free(policy->upstream_tls.pins);
}

static void free_filter(struct conf_packet_filter *filter)
{
    free_strings(&filter->masquerade);
    free_strings(&filter->helpers);
    for (size_t i = 0; i < filter->forward_count; i++)
        free_strings(&filter->forwards[i].from);
    free(filter->forwards);
}

static void free_tls(struct conf *conf)
{
    for (size_t i = 0; i < conf->tls_file_count; i++) {
        free(conf->tls_files[i].path);
        free(conf->tls_files[i].key);
    }
    free(conf->tls_files);
    free(conf->tls.keylog);
}

bool conf_blame(const struct conf *conf, unsigned line, const char *key, char *error, size_t size)
{
    char *why = strdup(error);

    if (why != NULL)
        snprintf(error, size, "%s:%u: %s: %s", conf->file, line, key, why);
    free(why);
    return false;
}

void conf_free(struct conf *conf)
{
    if (conf == NULL)
        return;
    for (size_t i = 0; i < conf->zone_count; i++)
        free_zone(&conf->zones[i]);
    for (size_t i = 0; i < conf->listener_count; i++)
        free_listener(&conf->listeners[i]);
    for (size_t i = 0; i < conf->policy_count; i++)
        free_policy(&conf->policies[i]);
    free_filter(&conf->packet_filter);
    free_tls(conf);
    free(conf->zones);
    free(conf->listeners);
    free(conf->policies);
    free(conf->file);
    free(conf->user);
    free(conf->runtime_dir);
    free(conf->log_access);
    free(conf->resolver_servers);
    free(conf->resolver_hosts);
    free(conf);
}

bool conf_preserves_addresses(const struct conf *conf)
{
    for (size_t i = 0; i < conf->listener_count; i++)
        if (conf->listeners[i].preserve_client_address)
            return true;
    return false;
}

struct span conf_default_text(void)
{
    return span_of(conf_default, conf_default_size);
}
