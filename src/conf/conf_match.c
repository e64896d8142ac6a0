/* SPDX-License-Identifier: ISC */
/*
 * Rules about the content of messages, against the rest of their group and against one another. They need messages that are held,
 * so message_bytes has to bound what is held, and messages that can be read, so compression cannot just pass. A rule that can never
 * be asked, or that changes nothing, is a warning: it looks like protection and is none.
 */
#include "conf/conf_check.h"

#include <stdio.h>
#include <string.h>

#define PATH 160
#define HELD_MAX (64ull << 20) /* bytes of a message that is held until it is judged */

/* One rule under the eye; NULL: all of them. */
struct eye {
    const struct conf_websocket *ws;
    const struct conf_ws_match *match;
    const char *policy;
    const struct conf_node *node; /* of the rule, or of the group */
    struct conf_report *report;
};

/* "policies.p.websocket.match.r.json.bytes"; `path` holds PATH bytes and is returned. */
static const char *make_path(const struct eye *e, const char *key, char *path)
{
    const char *rule = e->match != NULL ? e->match->name : "";

    snprintf(path, PATH, "policies.%s.websocket%s%s%s%s", e->policy, rule[0] ? ".match." : "", rule, key[0] ? "." : "", key);
    return path;
}

static void fail(const struct eye *e, const char *key, const char *message)
{
    char path[PATH];

    conf_report_error(e->report, conf_member_line(e->node, key), make_path(e, key, path), "%s", message);
}

static void warn(const struct eye *e, const char *key, const char *message)
{
    char path[PATH];

    conf_report_warning(e->report, conf_member_line(e->node, key), make_path(e, key, path), "%s", message);
}

static bool is_of(const struct conf_ws_match *match, enum direction d)
{
    return d == UP ? match->of_client : match->of_server;
}

/* Messages of these kinds that the rule is asked about, of both sides together. */
static unsigned asked_opcodes(const struct eye *e)
{
    unsigned opcodes = 0;

    for (enum direction d = UP; d < DIRECTIONS; d++)
        if (is_of(e->match, d) && e->ws->sides[d].send)
            opcodes |= e->ws->sides[d].opcodes;
    return opcodes;
}

static void check_sense(const struct eye *e)
{
    const struct conf_ws_match *match = e->match;

    if ((match->pattern != NULL) == match->json)
        fail(e, "", match->json ? "has both pattern and json; make it two rules" : "needs either pattern or json");
    if (match->json && match->allow)
        fail(e, "action", "a json rule can only deny: what it does not deny goes on to the next rule");
}

static void check_asked(const struct eye *e)
{
    unsigned opcodes = asked_opcodes(e);

    if (opcodes == 0)
        warn(e, "from", "is never asked: this side may not send messages");
    else if (e->match->pattern != NULL && !(opcodes & CONF_TEXT))
        warn(e, "pattern", "is never asked: opcodes allow no text messages");
    else if (e->match->json && !(opcodes & CONF_TEXT))
        warn(e, "json", "denies every message: opcodes allow only binary ones, which are not JSON");
}

/* Does member `outer` have to be there if `inner` is? */
static bool contains(const char *outer, const char *inner)
{
    size_t len = strlen(outer);

    return strncmp(outer, inner, len) == 0 && (inner[len] == '\0' || inner[len] == '.');
}

static void check_members(const struct eye *e)
{
    const struct conf_strings *required = &e->match->required, *forbidden = &e->match->forbidden;
    char path[PATH];

    make_path(e, "json.forbidden", path);
    for (size_t i = 0; i < forbidden->count; i++)
        for (size_t k = 0; k < required->count; k++)
            if (contains(forbidden->items[i], required->items[k]))
                conf_report_error(e->report, conf_member_line(conf_node_member(e->node, "json"), "forbidden"), path,
                                  "\"%.80s\" is forbidden and \"%.80s\" is required: no message is both", forbidden->items[i],
                                  required->items[k]);
}

static void check_json_bytes(const struct eye *e)
{
    uint64_t most = 0;
    char path[PATH];

    for (enum direction d = UP; d < DIRECTIONS; d++)
        if (is_of(e->match, d) && e->ws->sides[d].message_bytes > most)
            most = e->ws->sides[d].message_bytes;
    if (e->match->json_bytes > most && most > 0)
        conf_report_warning(e->report, conf_member_line(conf_node_member(e->node, "json"), "bytes"),
                            make_path(e, "json.bytes", path), "is never reached: it is more than message_bytes");
}

/* Of two rules with the same pattern about the same side the first decides. */
static void check_hidden(const struct eye *e)
{
    const struct conf_ws_match *match = e->match;

    for (const struct conf_ws_match *other = e->ws->matches; match->pattern != NULL && other < match; other++) {
        if (other->pattern == NULL || strcmp(other->pattern, match->pattern) != 0)
            continue;
        if (other->of_client < match->of_client || other->of_server < match->of_server)
            continue;
        warn(e, "pattern", "is never asked: an earlier rule has the same pattern");
        return;
    }
}

/* What no rule fits is allowed. */
static void check_allowance(const struct eye *e)
{
    const struct conf_ws_match *end = e->ws->matches + e->ws->match_count;

    if (!e->match->allow || e->match->json)
        return;
    for (const struct conf_ws_match *other = e->match + 1; other < end; other++)
        for (enum direction d = UP; d < DIRECTIONS; d++)
            if (!other->allow && is_of(other, d) && is_of(e->match, d))
                return;
    warn(e, "action", "changes nothing: no rule behind it denies, and what no rule fits is allowed");
}

static void check_twins(const struct eye *e)
{
    char path[PATH];

    for (const struct conf_ws_match *other = e->ws->matches; other < e->match; other++)
        if (strcmp(other->name, e->match->name) == 0)
            conf_report_error(e->report, conf_member_line(e->node, "name"), make_path(e, "name", path),
                              "the name \"%s\" is already used in line %u", other->name, other->line);
}

static bool is_held(const struct conf_websocket *ws, enum direction d)
{
    for (size_t i = 0; i < ws->match_count; i++)
        if (is_of(&ws->matches[i], d))
            return true;
    return false;
}

/* Messages are held up to message_bytes, twice: as they came, and what they say. */
static void check_holding(const struct eye *group, uint64_t room)
{
    uint64_t most = 0;

    for (enum direction d = UP; d < DIRECTIONS; d++) {
        uint64_t bytes = group->ws->sides[d].message_bytes;

        if (!is_held(group->ws, d))
            continue;
        if (bytes == 0 || bytes > HELD_MAX) {
            fail(group, "match", "needs message_bytes from 1 to 67108864: each message is held until it is judged");
            return;
        }
        most = bytes > most ? bytes : most;
    }
    if (most * 2 > room)
        warn(group, "match", "limits.held_bytes has no room for a message of message_bytes as it came and as it reads");
}

void conf_check_matches(const struct conf *conf, const struct conf_policy *policy, const struct conf_node *node,
                        struct conf_report *report)
{
    const struct conf_websocket *ws = &policy->websocket;
    const struct conf_node *list = conf_node_member(node, "match");
    struct eye group = { ws, NULL, policy->name, node, report };

    check_holding(&group, conf->limits.held_bytes);
    if (ws->match_count > 0 && ws->deflate == DEFLATE_PASS)
        fail(&group, "match", "reads messages, which deflate = \"pass\" leaves unread");
    for (size_t i = 0; i < ws->match_count; i++) {
        struct eye e = { ws, &ws->matches[i], policy->name, conf_node_at(list, i), report };

        check_twins(&e);
        check_sense(&e);
        check_asked(&e);
        check_members(&e);
        check_json_bytes(&e);
        check_hidden(&e);
        check_allowance(&e);
    }
}
