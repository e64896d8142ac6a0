/* SPDX-License-Identifier: ISC */
/*
 * Match rules: a pattern, a newline and a message. Whatever the pattern, if it compiles then its search ends, and an allowing and a
 * denying rule with it agree: of a message that is found or not exactly one of two orders denies. A search that takes about as long
 * as it may is given up one time and ends another: then all that holds is that what was given up is denied.
 */
#include "policy/ws_match.h"

#include "base/regex.h"
#include "proto/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct ws_verdict judge_once(const struct ws_match *m, bool text, struct span message)
{
    struct ws_verdict v = ws_match_judge(m, UP, text, message);

    must(!v.gave_up || v.rule >= 0);
    return v;
}

static struct ws_verdict judge(char *pattern, bool allow, bool text, struct span message)
{
    struct conf_ws_match rules[] = {
        { .name = "a", .of_client = true, .pattern = pattern, .allow = allow },
        { .name = "b", .of_client = true, .json = true, .json_depth = 0, .json_bytes = 1 }, /* denies all but a digit */
    };
    const struct conf_websocket websocket = { .matches = rules, .match_count = 2 };
    struct ws_match *m = ws_match_new(&websocket);
    struct ws_verdict first, second;

    must(m != NULL && ws_match_asks(m, UP) && !ws_match_asks(m, DOWN));
    first = judge_once(m, text, message);
    second = judge_once(m, text, message);
    must(first.gave_up || second.gave_up || first.rule == second.rule);
    must(ws_match_judge(m, DOWN, text, message).rule == -1);
    ws_match_free(m);
    return first;
}

static bool is_digit(struct span message)
{
    return message.len == 1 && message.at[0] >= '0' && message.at[0] <= '9';
}

static void check(char *pattern, struct span message)
{
    struct ws_verdict allowed = judge(pattern, true, true, message), denied = judge(pattern, false, true, message);
    struct ws_verdict binary = judge(pattern, false, false, message);

    must(binary.gave_up || binary.rule == 1);
    if (utf8_feed(0, message) != 0)
        must(allowed.rule == 0 && denied.rule == 0);
    if (allowed.gave_up || denied.gave_up)
        return;
    if (denied.rule == 0) /* found */
        must(allowed.rule == -1);
    else
        must(allowed.rule == denied.rule && denied.rule == (is_digit(message) ? -1 : 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = memchr(data, '\n', size);
    char pattern[256], error[128];
    struct regex *r;

    if (newline == NULL || newline - data >= (long)sizeof(pattern))
        return 0;
    memcpy(pattern, data, (size_t)(newline - data));
    pattern[newline - data] = '\0';
    r = regex_new(pattern, error, sizeof(error));
    must((r == NULL) == (error[0] != '\0'));
    if (r != NULL)
        check(pattern, span_of((const char *)newline + 1, size - (size_t)(newline - data) - 1));
    regex_free(r);
    return 0;
}
