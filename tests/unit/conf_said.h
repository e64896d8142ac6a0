/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_TESTS_CONF_SAID_H
#define POSTERN_TESTS_CONF_SAID_H

/*
 * Cases of conf_parse(): a text and the whole of what must be said of it, errors before warnings, one a line. The zones and
 * listeners that most cases need stand in the first line, so that line numbers count from the text under test.
 */
#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct said {
    const char *text, *want;
};

/* Zones "in" and "out"; listeners "proxy" (explicit) and "site" (reverse). */
#define PRELUDE                                                                                                                    \
    "zones = ({ name = \"in\"; networks = \"10.0.0.0/8\"; }, { name = \"out\"; networks = \"0.0.0.0/0\"; });"                      \
    "listeners = ({ name = \"proxy\"; mode = \"explicit\"; address = \"127.0.0.1:3128\"; },"                                       \
    "{ name = \"site\"; mode = \"reverse\"; address = \"127.0.0.1:8080\"; upstreams = \"a.example:80\"; });"
#define POLICIES(text) PRELUDE "policies = (" text ");"
/* One policy with a condition that is under test. */
#define POLICY(text) POLICIES("{ name = \"p\"; action = \"allow\"; " text " }")
#define ZONES "zones = ({ name = \"in\"; }, { name = \"out\"; });"
#define LISTENERS(text) ZONES "listeners = (" text "); policies = ({ name = \"p\"; from = \"in\"; action = \"allow\"; });"
/* One listener with a key that is under test. */
#define LISTENER(text) LISTENERS("{ name = \"l\"; " text " }")
#define EXPLICIT(text) LISTENER("mode = \"explicit\"; address = \"127.0.0.1:1\"; " text)

/* Everything that was said, a line each: freed by the caller. */
static char *all_said(struct span text)
{
    struct conf_messages messages;
    struct conf *conf = conf_parse("f", text, &messages);
    char *all = NULL;
    size_t size;
    FILE *out = open_memstream(&all, &size);

    assert_non_null(out);
    assert_int_equal(conf == NULL, messages.error_count > 0);
    for (size_t i = 0; i < messages.error_count; i++)
        fprintf(out, "%s\n", messages.errors[i]);
    for (size_t i = 0; i < messages.warning_count; i++)
        fprintf(out, "W %s\n", messages.warnings[i]);
    fclose(out);
    conf_free(conf);
    conf_messages_fini(&messages);
    return all;
}

static void check(const struct said *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *all = all_said(span_str(cases[i].text));

        if (strcmp(all, cases[i].want) != 0)
            print_error("of: %s\n", cases[i].text);
        assert_string_equal(all, cases[i].want);
        free(all);
    }
}

#define CHECK(cases) check(cases, sizeof(cases) / sizeof((cases)[0]))

#endif
