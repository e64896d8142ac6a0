/* SPDX-License-Identifier: ISC */
/*
 * Cross-checks: limits that depend on one another, listeners that claim the same address, what each mode needs, and the open
 * proxy guard: an explicit proxy that others than this machine can reach must say from where (`from`), or it is refused.
 */
#include "conf/conf_check.h"

#include <stdio.h>
#include <string.h>

#define PATH 64

unsigned conf_member_line(const struct conf_node *group, const char *name)
{
    const struct conf_node *member = group ? conf_node_member(group, name) : NULL;

    if (member != NULL)
        return conf_node_line(member);
    return group != NULL && conf_node_line(group) > 0 ? conf_node_line(group) : 1;
}

static void check_limits(const struct conf *conf, const struct conf_node *root, struct conf_report *report)
{
    const struct conf_node *limits = conf_node_member(root, "limits");

    if (conf->limits.uri_bytes > conf->limits.header_bytes)
        conf_report_error(report, conf_member_line(limits, "uri_bytes"), "limits.uri_bytes",
                          "%u is more than limits.header_bytes, %u", conf->limits.uri_bytes, conf->limits.header_bytes);
}

static void check_mode(const struct conf_listener *l, const struct conf_node *node, struct conf_report *report)
{
    char path[PATH], address[ADDR_TEXT];

    if (l->mode == MODE_REVERSE && l->upstream_count == 0) {
        snprintf(path, sizeof(path), "listeners.%s.upstreams", l->name);
        conf_report_error(report, l->line, path, "is required: a reverse listener stands for its upstreams");
    }
    if (l->mode == MODE_EXPLICIT && l->upstream_count > 0) {
        snprintf(path, sizeof(path), "listeners.%s.upstreams", l->name);
        conf_report_error(report, conf_member_line(node, "upstreams"), path,
                          "only a reverse listener has upstreams; clients of an explicit one name the server");
    }
    if (l->mode == MODE_EXPLICIT && !addr_is_loopback(&l->address) && l->from.count == 0) {
        snprintf(path, sizeof(path), "listeners.%s.from", l->name);
        conf_report_error(report, l->line, path, "is required: without it %s would be a proxy that is open to everybody",
                          addr_port_text(&l->address, address));
    }
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

    snprintf(path, sizeof(path), "listeners.%s.address", l->name);
    for (size_t i = 0; i < index; i++)
        if (conf->listeners[i].line != 0 && clash(&conf->listeners[i].address, &l->address))
            conf_report_error(report, conf_member_line(node, "address"), path, "%s is taken by listener \"%s\", line %u",
                              addr_port_text(&l->address, address), conf->listeners[i].name, conf->listeners[i].line);
    if (clash(&conf->admin, &l->address))
        conf_report_error(report, conf_member_line(node, "address"), path, "%s is taken by admin.address",
                          addr_port_text(&l->address, address));
}

static void check_listeners(const struct conf *conf, const struct conf_node *list, struct conf_report *report)
{
    for (size_t i = 0; i < conf->listener_count; i++) {
        if (conf->listeners[i].line == 0)
            continue;
        check_mode(&conf->listeners[i], conf_node_at(list, i), report);
        check_clashes(conf, i, conf_node_at(list, i), report);
    }
}

/* Allowed, but hardly what was meant. */
static void check_emptiness(const struct conf *conf, const struct conf_node *root, struct conf_report *report)
{
    if (conf->zone_count == 0)
        conf_report_warning(report, conf_member_line(root, "zones"), "zones", "there are none: every client is denied");
    if (conf->listener_count == 0)
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
    conf_check_policies(conf, conf_node_member(root, "policies"), report);
    conf_check_reach(conf, report);
}
