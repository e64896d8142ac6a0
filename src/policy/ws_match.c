/* SPDX-License-Identifier: ISC */
/*
 * What a policy's match rules say of a whole message. Rules are asked in order and the first that fits decides; a message that none
 * fits is allowed. A rule fits by its pattern, or because the message is not the JSON that it wants: such a rule denies whatever
 * its action says. What cannot be judged (a search that ran into its bound, or too many that were slow) is denied by the rule that
 * could not judge it, also when that rule would allow: else a message that is hard to search would go around the rules.
 *
 * A worker is one thread, so searching may write into what was compiled.
 */
#include "policy/ws_match.h"

#include "base/clock.h"
#include "base/regex.h"
#include "proto/json_scan.h"

#include <stdlib.h>

#define NS_BASE 5000000u  /* what any message may take, in ns of processor time */
#define NS_A_BYTE 10u     /* and for each of its bytes */
#define EFFORT_US 100000u /* of a stream: at once, and in a second */
#define NS_FAIR 10000u    /* of that: what a short message may take without being slow */

struct rule {
    const struct conf_ws_match *conf;
    struct regex *regex;        /* NULL: no pattern */
    struct json_wanted *wanted; /* of json: first what is required, then what is forbidden */
    size_t wanted_count;
};

struct ws_match {
    size_t count;
    struct rule rules[];
};

static bool make_wanted(struct rule *rule)
{
    const struct conf_strings *required = &rule->conf->required, *forbidden = &rule->conf->forbidden;
    size_t count = required->count + forbidden->count;

    if (count == 0)
        return true;
    rule->wanted = calloc(count, sizeof(*rule->wanted));
    if (rule->wanted == NULL)
        return false;
    rule->wanted_count = count;
    for (size_t i = 0; i < required->count; i++)
        rule->wanted[i].path = required->items[i];
    for (size_t i = 0; i < forbidden->count; i++)
        rule->wanted[required->count + i].path = forbidden->items[i];
    return true;
}

static bool make_rule(struct rule *rule, const struct conf_ws_match *conf)
{
    char error[128];

    rule->conf = conf;
    if (conf->pattern != NULL) {
        rule->regex = regex_new(conf->pattern, error, sizeof(error));
        if (rule->regex == NULL)
            return false;
    }
    return make_wanted(rule);
}

struct ws_match *ws_match_new(const struct conf_websocket *conf)
{
    struct ws_match *m = calloc(1, sizeof(*m) + conf->match_count * sizeof(m->rules[0]));

    if (m == NULL)
        return NULL;
    m->count = conf->match_count;
    for (size_t i = 0; i < m->count; i++) {
        if (!make_rule(&m->rules[i], &conf->matches[i])) {
            ws_match_free(m);
            return NULL;
        }
    }
    return m;
}

void ws_match_free(struct ws_match *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->count; i++) {
        regex_free(m->rules[i].regex);
        free(m->rules[i].wanted);
    }
    free(m);
}

static bool is_about(const struct rule *rule, enum direction from)
{
    return from == UP ? rule->conf->of_client : rule->conf->of_server;
}

bool ws_match_asks(const struct ws_match *m, enum direction from)
{
    for (size_t i = 0; i < m->count; i++)
        if (is_about(&m->rules[i], from))
            return true;
    return false;
}

static bool is_late(void *message)
{
    return regex_late(message);
}

static bool json_is_right(const struct rule *rule, struct regex_text *text)
{
    struct span message = text->bytes;
    const struct conf_ws_match *conf = rule->conf;

    if (conf->json_bytes > 0 && message.len > conf->json_bytes)
        return false;
    if (!json_scan_until(message, conf->json_depth, rule->wanted, rule->wanted_count, is_late, text))
        return false;
    for (size_t i = 0; i < rule->wanted_count; i++)
        if (rule->wanted[i].found != (i < conf->required.count))
            return false;
    return true;
}

enum verdict { VERDICT_NONE, VERDICT_ALLOW, VERDICT_DENY, VERDICT_UNKNOWN };

static enum verdict ask_pattern(const struct rule *rule, struct regex_text *message)
{
    switch (regex_find(rule->regex, message)) {
    case REGEX_NONE:
        return VERDICT_NONE;
    case REGEX_FOUND:
        return rule->conf->allow ? VERDICT_ALLOW : VERDICT_DENY;
    case REGEX_LIMIT:
        break;
    }
    return VERDICT_UNKNOWN;
}

static enum verdict ask(const struct rule *rule, bool text, struct regex_text *message)
{
    if (regex_late(message))
        return VERDICT_UNKNOWN;
    if (rule->conf->json && (!text || !json_is_right(rule, message)))
        return regex_late(message) ? VERDICT_UNKNOWN : VERDICT_DENY;
    return rule->regex != NULL && text ? ask_pattern(rule, message) : VERDICT_NONE;
}

/* Time that follows from how long the message is, and from the fact that there is one, is nobody's fault. Mostly no more passed. */
static uint64_t past(const struct regex_text *message)
{
    uint64_t fair = NS_FAIR + (uint64_t)message->bytes.len * NS_A_BYTE, used;

    if (clock_real_ns() - message->real <= fair)
        return 0;
    used = clock_cpu_ns() - message->began;
    return used > fair ? (used - fair) / 1000 : 0;
}

struct ws_verdict ws_match_judge(const struct ws_match *m, enum direction from, bool text, struct span message)
{
    struct regex_text searched = regex_text(message, NS_BASE + (uint64_t)message.len * NS_A_BYTE);
    enum verdict verdict = VERDICT_NONE;
    size_t i = 0;

    for (; i < m->count && verdict == VERDICT_NONE; i++)
        if (is_about(&m->rules[i], from))
            verdict = ask(&m->rules[i], text, &searched);
    return (struct ws_verdict){ .rule = verdict == VERDICT_DENY || verdict == VERDICT_UNKNOWN ? (int)i - 1 : -1,
                                .gave_up = verdict == VERDICT_UNKNOWN,
                                .past = past(&searched) };
}

/* It leaks at the rate that it may be filled with. */
bool ws_effort_take(struct ws_effort *e, uint64_t us, uint64_t now)
{
    uint64_t leaked = (now - e->at) * (EFFORT_US / 1000);

    e->us = (e->us > leaked ? e->us - leaked : 0) + us;
    e->at = now;
    return e->us <= EFFORT_US;
}
