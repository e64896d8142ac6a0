/* SPDX-License-Identifier: ISC */
/*
 * What is wrong or odd about the websocket group of a policy. An error is what could not be done: rules about content need messages
 * that are held up to a bound and can be read. A warning is what does nothing, or more than was meant.
 *
 * Everything is asked of the values and not of what the file spells out, so that the printed form of a configuration gets the same
 * remarks; only lines come from the file.
 */
#include "conf/conf_check.h"

#include <stdio.h>
#include <string.h>

#define PATH 160
#define BURST 1000 /* default, ms */
#define RATIO 100  /* default of inflate_ratio */

/* One group under the eye. */
struct eye {
    const struct conf_websocket *ws;
    const char *policy;
    const struct conf_node *node;
    struct conf_report *report;
};

static const char *const side_names[DIRECTIONS] = { [UP] = "client", [DOWN] = "server" };

/* `key` of the group; "": the group itself. */
static void warn(const struct eye *e, const char *key, const char *message)
{
    char path[PATH];

    snprintf(path, sizeof(path), "policies.%s.websocket%s%s", e->policy, key[0] ? "." : "", key);
    conf_report_warning(e->report, conf_member_line(e->node, key), path, "%s", message);
}

static void warn_side(const struct eye *e, enum direction d, const char *key, const char *message)
{
    const struct conf_node *group = conf_node_member(e->node, side_names[d]);
    char path[PATH];

    snprintf(path, sizeof(path), "policies.%s.websocket.%s.%s", e->policy, side_names[d], key);
    conf_report_warning(e->report, conf_member_line(group != NULL ? group : e->node, key), path, "%s", message);
}

static void check_handshake(const struct eye *e)
{
    const struct conf_websocket *ws = e->ws;

    if (!ws->origin_required && ws->origins.count == 0)
        warn(e, "origin_required", "means nothing without origins");
    if (ws->deflate != DEFLATE_INSPECT && ws->inflate_ratio != RATIO)
        warn(e, "inflate_ratio", "means nothing unless deflate is \"inspect\"");
    if (ws->streams > 0 && ws->streams_per_client > ws->streams)
        warn(e, "streams_per_client", "is never reached: it is more than streams");
}

static void check_times(const struct eye *e)
{
    const struct conf_websocket *ws = e->ws;

    if (ws->age > 0 && ws->idle >= ws->age)
        warn(e, "idle", "is never reached: it is not less than age");
    if (ws->age > 0 && ws->ping_interval >= ws->age)
        warn(e, "ping_interval", "is never reached: it is not less than age");
}

static void check_rates(const struct eye *e, enum direction d)
{
    const struct conf_ws_side *side = &e->ws->sides[d];

    if (side->burst != BURST && side->messages_per_second == 0 && side->bytes_per_second == 0)
        warn_side(e, d, "burst", "means nothing without messages_per_second or bytes_per_second");
    if (side->message_bytes > 0 && side->frame_bytes > side->message_bytes)
        warn_side(e, d, "frame_bytes", "is never reached: it is more than message_bytes");
}

/* Bounds on what may not be said at all. */
static void check_silence(const struct eye *e, enum direction d)
{
    const struct conf_websocket *ws = e->ws;
    static const char never[] = "is never looked at: this side may not send messages";

    if (ws->sides[d].send)
        return;
    if (ws->sides[d].messages_per_second > 0)
        warn_side(e, d, "messages_per_second", never);
    if (ws->sides[d].bytes_per_second > 0)
        warn_side(e, d, "bytes_per_second", never);
    if (d != DOWN)
        return;
    if (!ws->server_first)
        warn_side(e, d, "first", never);
    if (ws->messages_per_client_message > 0)
        warn_side(e, d, "messages_per_client_message", never);
    if (ws->bytes_per_client_byte > 0)
        warn_side(e, d, "bytes_per_client_byte", never);
    if (ws->quiet_after > 0)
        warn_side(e, d, "quiet_after", never);
}

/* A server that waits for a client that may say nothing. */
static void check_deadlock(const struct eye *e)
{
    const struct conf_websocket *ws = e->ws;

    if (!ws->sides[UP].send && !ws->sides[DOWN].send)
        warn(e, "", "neither side may send messages");
    else if (!ws->sides[UP].send && !ws->server_first)
        warn_side(e, DOWN, "first", "neither side may send messages: the client may not, and the server may not before it");
}

/* What a message of the client would begin anew, and none ever comes. */
static void check_pushes(const struct eye *e)
{
    const struct conf_websocket *ws = e->ws;
    static const char whole[] = "is for the whole stream: the client may not send messages";

    if (ws->sides[UP].send || !ws->sides[DOWN].send || !ws->server_first)
        return;
    if (ws->messages_per_client_message > 0)
        warn_side(e, DOWN, "messages_per_client_message", whole);
    if (ws->bytes_per_client_byte > 0)
        warn_side(e, DOWN, "bytes_per_client_byte", whole);
    if (ws->quiet_after > 0)
        warn_side(e, DOWN, "quiet_after", whole);
}

static void check_tunnels(const struct eye *e)
{
    const struct conf_websocket *ws = e->ws;
    unsigned opcodes = ws->sides[UP].opcodes | ws->sides[DOWN].opcodes;
    char path[PATH];

    if (ws->tunnels)
        return;
    snprintf(path, sizeof(path), "policies.%s.websocket.tunnels", e->policy);
    if (ws->deflate == DEFLATE_PASS)
        conf_report_error(e->report, conf_member_line(e->node, "tunnels"), path,
                          "reads messages, which deflate = \"pass\" leaves unread");
    if (!(opcodes & CONF_BINARY))
        warn(e, "tunnels", "means nothing: no binary messages are allowed");
}

void conf_check_websocket(const struct conf *conf, const struct conf_policy *policy, const struct conf_node *node,
                          struct conf_report *report)
{
    struct eye e = { &policy->websocket, policy->name, node, report };

    check_handshake(&e);
    for (enum direction d = UP; d < DIRECTIONS; d++) {
        check_rates(&e, d);
        check_silence(&e, d);
    }
    check_times(&e);
    check_deadlock(&e);
    check_pushes(&e);
    check_tunnels(&e);
    conf_check_matches(conf, policy, node, report);
}
