/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_TESTS_POLICY_SETTING_H
#define POSTERN_TESTS_POLICY_SETTING_H

/* A configuration as text, read and made into rules; whatever is wrong with it fails the test. */
#include "policy/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct setting {
    struct conf *conf;
    struct rules *rules;
};

/* `files`: what is in each policy's hosts_file; NULL if no policy names one. */
static inline struct setting compile(const char *text, const struct hostset *files)
{
    struct conf_messages messages;
    struct setting s;

    conf_messages_init(&messages);
    s.conf = conf_parse("test.conf", span_str(text), &messages);
    for (size_t i = 0; i < messages.error_count; i++)
        print_error("%s\n", messages.errors[i]);
    assert_non_null(s.conf);
    conf_messages_fini(&messages);
    s.rules = rules_new(s.conf, files);
    assert_non_null(s.rules);
    return s;
}

static inline void discard(struct setting *s)
{
    rules_free(s->rules);
    conf_free(s->conf);
}

static inline struct addr address(const char *text, uint16_t port)
{
    struct addr a;

    if (!addr_parse(&a, span_str(text), port))
        fail_msg("%s", text);
    return a;
}

#endif
