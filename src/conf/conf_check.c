/* SPDX-License-Identifier: ISC */
/*
 * Cross-checks: limits that depend on one another, listeners that claim the same address, what each mode needs, and the open
 * proxy guard: an explicit proxy that others than this machine can reach must say from where (`from`), or it is refused. What
 * the packet filter needs is in conf_filter.c.
 */
#include "conf/conf_check.h"

#include "conf/conf_keys.h"

#include <stdio.h>
#include <string.h>

#define PATH 80

unsigned conf_member_line(const struct conf_node *group, const char *name)
{
    const struct conf_node *member = group ? conf_node_member(group, name) : NULL;

    if (member != NULL)
        return conf_node_line(member);
    return group != NULL && conf_node_line(group) > 0 ? conf_node_line(group) : 1;
}

#define LEAST_MEMORY 16777216 /* below it nothing could be served */

static void check_limits(const struct conf *conf, const struct conf_node *root, struct conf_report *report)
{
    const struct conf_node *limits = conf_node_member(root, "limits");

    if (conf->limits.uri_bytes > conf->limits.header_bytes)
        conf_report_error(report, conf_member_line(limits, "uri_bytes"), "limits.uri_bytes",
                          "%u is more than limits.header_bytes, %u", conf->limits.uri_bytes, conf->limits.header_bytes);
    if (conf->limits.memory != 0 && conf->limits.memory < LEAST_MEMORY)
        conf_report_error(report, conf_member_line(limits, "memory"), "limits.memory", "must be 0, or %d at least", LEAST_MEMORY);
}

/* "listeners.web.ports"; `path` holds PATH bytes and is returned. */
static const char *listener_path(char *path, const struct conf_listener *l, const char *key)
{
    snprintf(path, PATH, "listeners.%s.%s", l->name, key);
    return path;
}

static void check_mode(const struct conf_listener *l, const struct conf_node *node, struct conf_report *report)
{
    char path[PATH], address[ADDR_TEXT];

    if (l->mode == MODE_REVERSE && l->upstream_count == 0) {
        listener_path(path, l, "upstreams");
        conf_report_error(report, l->line, path, "is required: a reverse listener stands for its upstreams");
    }
    if (l->mode != MODE_REVERSE && l->upstream_count > 0) {
        listener_path(path, l, "upstreams");
        conf_report_error(report, conf_member_line(node, "upstreams"), path,
                          "only a reverse listener has upstreams; clients of %s one name the server",
                          l->mode == MODE_EXPLICIT ? "an explicit" : "a transparent");
    }
    if (l->mode == MODE_EXPLICIT && !addr_is_loopback(&l->address) && l->from.count == 0) {
        listener_path(path, l, "from");
        conf_report_error(report, l->line, path, "is required: without it %s would be a proxy that is open to everybody",
                          addr_port_text(&l->address, address));
    }
}

static bool is_path(const char *path)
{
    for (const char *at = path; *at != '\0'; at++)
        if (*at <= ' ' || *at > '~' || *at == '#')
            return false;
    return path[0] == '/';
}

static void check_health(const struct conf_listener *l, const struct conf_node *node, struct conf_report *report)
{
    char path[PATH];

    if (l->health.line == 0)
        return;
    if (l->mode != MODE_REVERSE)
        conf_report_error(report, conf_member_line(node, "health"), listener_path(path, l, "health"),
                          "only a reverse listener has upstreams to check");
    if (l->health.path != NULL && !is_path(l->health.path))
        conf_report_error(report, l->health.line, listener_path(path, l, "health.path"),
                          "is no path: it begins with \"/\" and has no space, no \"#\", and nothing that is not ASCII");
    if (l->health.path == NULL && l->health.status != 0)
        conf_report_error(report, l->health.line, listener_path(path, l, "health.status"), "needs \"path\": nothing is asked");
}

/* Keys that transparent listeners alone have. */
static void check_foreign_keys(const struct conf_listener *l, const struct conf_node *node, struct conf_report *report)
{
    char path[PATH];

    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];

        if (key->in == IN_LISTENER && key->transparent && conf_node_member(node, key->name) != NULL)
            conf_report_error(report, conf_member_line(node, key->name), listener_path(path, l, key->name),
                              "only a transparent listener has it");
    }
}

static void check_interception(const struct conf_listener *l, const struct conf_node *node, struct conf_report *report)
{
    char path[PATH];

    if (conf_node_member(node, "intercept") == NULL)
        conf_report_error(report, l->line, listener_path(path, l, "intercept"),
                          "is required: how the kernel hands flows over, \"tproxy\" or \"redirect\"");
    else if (l->intercept == INTERCEPT_REDIRECT && addr_is_loopback(&l->address))
        conf_report_error(report, conf_member_line(node, "address"), listener_path(path, l, "address"),
                          "redirected packets arrive at the address of their interface, never at a loopback address");
    if (conf_node_member(node, "ports") == NULL)
        conf_report_error(report, l->line, listener_path(path, l, "ports"), "is required: the ports that are intercepted");
    if (l->host_check == HOST_CHECK_OFF)
        conf_report_warning(report, conf_member_line(node, "host_check"), listener_path(path, l, "host_check"),
                            "Host and SNI are only the client's word: it can name one server and dial another");
}

/* Who sends packets to a transparent listener, and opens sockets with the addresses of clients? */
static void check_kernel(const struct conf *conf, const struct conf_listener *l, const struct conf_node *node,
                         struct conf_report *report)
{
    char path[PATH];

    if (conf->packet_filter.line != 0)
        return;
    conf_report_warning(report, conf_member_line(node, "mode"), listener_path(path, l, "mode"),
                        "without packet_filter no packet gets here unless rules of your own send it");
    if (l->preserve_client_address)
        conf_report_error(report, conf_member_line(node, "preserve_client_address"),
                          listener_path(path, l, "preserve_client_address"), "needs packet_filter");
}

/* Would the second bind(2) fail? */
static bool clash(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && a->port == b->port && (addr_same_ip(a, b) || addr_is_any(a) || addr_is_any(b));
}

static void check_clashes(const struct conf *conf, size_t index, const struct conf_node *node, struct conf_report *report)
{
    const struct conf_listener *l = &conf->listeners[index];
    char path[PATH], address[ADDR_TEXT];

    listener_path(path, l, "address");
    for (size_t i = 0; i < index; i++)
        if (conf->listeners[i].line != 0 && clash(&conf->listeners[i].address, &l->address))
            conf_report_error(report, conf_member_line(node, "address"), path, "%s is taken by listener \"%s\", line %u",
                              addr_port_text(&l->address, address), conf->listeners[i].name, conf->listeners[i].line);
    if (clash(&conf->admin, &l->address))
        conf_report_error(report, conf_member_line(node, "address"), path, "%s is taken by admin.address",
                          addr_port_text(&l->address, address));
}

static void check_listener(const struct conf *conf, const struct conf_listener *l, const struct conf_node *node,
                           struct conf_report *report)
{
    check_mode(l, node, report);
    check_health(l, node, report);
    if (l->mode != MODE_TRANSPARENT) {
        check_foreign_keys(l, node, report);
        return;
    }
    check_interception(l, node, report);
    check_kernel(conf, l, node, report);
}

static void check_listeners(const struct conf *conf, const struct conf_node *list, struct conf_report *report)
{
    for (size_t i = 0; i < conf->listener_count; i++) {
        if (conf->listeners[i].line == 0)
            continue;
        check_listener(conf, &conf->listeners[i], conf_node_at(list, i), report);
        check_clashes(conf, i, conf_node_at(list, i), report);
    }
}

/* Allowed, but hardly what was meant. */
static void check_emptiness(const struct conf *conf, const struct conf_node *root, struct conf_report *report)
{
    if (conf->zone_count == 0)
        conf_report_warning(report, conf_member_line(root, "zones"), "zones", "there are none: every client is denied");
    if (conf->listener_count == 0 && conf->packet_filter.line == 0)
        conf_report_warning(report, conf_member_line(root, "listeners"), "listeners", "there are none: no client can connect");
    if (conf->policy_count == 0)
        conf_report_warning(report, conf_member_line(root, "policies"), "policies", "there are none: everything is denied");
    if (conf->admin.family != 0 && !addr_is_loopback(&conf->admin))
        conf_report_warning(report, conf_member_line(conf_node_member(root, "admin"), "address"), "admin.address",
                            "whoever reaches this address reads the metrics");
}

void conf_check(const struct conf *conf, const struct conf_node *root, struct conf_report *report)
{
    check_limits(conf, root, report);
    check_listeners(conf, conf_node_member(root, "listeners"), report);
    check_emptiness(conf, root, report);
    conf_check_filter(conf, root, report);
    conf_check_tls(conf, root, report);
    conf_check_policies(conf, conf_node_member(root, "policies"), report);
    conf_check_reach(conf, report);
}
