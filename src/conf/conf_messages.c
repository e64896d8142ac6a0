/* SPDX-License-Identifier: ISC */
/*
 * What there is to say about a configuration. Readers and checks add remarks in the order in which they find them; at the end
 * they are sorted by line and split into errors and warnings, each a whole line of text. Nothing is printed here and nothing
 * ends the process.
 *
 * Lack of memory must not turn a bad configuration into a good one: it is kept as a flag, and the flag becomes an error whose
 * text is static, because there may be no memory for any other.
 */
#include "conf/conf_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct conf_remark {
    unsigned line;
    size_t order;
    bool warning;
    char *text;
};

static char no_memory_text[] = "not enough memory to read the configuration";
static char *no_memory_errors[] = { no_memory_text };

/* malloc'd "file:line: key: message", or NULL. */
static char *compose(const struct conf_report *report, unsigned line, const char *key, const char *format, va_list args)
{
    char *message, *whole = NULL;

    if (vasprintf(&message, format, args) < 0)
        return NULL;
    if (asprintf(&whole, "%s:%u: %s%s%s", report->file, line, key ? key : "", key ? ": " : "", message) < 0)
        whole = NULL;
    free(message);
    return whole;
}

static bool make_room(struct conf_report *report)
{
    size_t room = report->room ? 2 * report->room : 16;
    struct conf_remark *more;

    if (report->count < report->room)
        return true;
    more = realloc(report->remarks, room * sizeof(*more));
    if (more == NULL)
        return false;
    report->remarks = more;
    report->room = room;
    return true;
}

static void add(struct conf_report *report, bool warning, unsigned line, char *text)
{
    if (text == NULL || !make_room(report)) {
        report->no_memory = true;
        free(text);
        return;
    }
    report->remarks[report->count] = (struct conf_remark){ line, report->count, warning, text };
    report->count++;
    report->errors += !warning;
}

void conf_report_error(struct conf_report *report, unsigned line, const char *key, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add(report, false, line, compose(report, line, key, format, args));
    va_end(args);
}

void conf_report_warning(struct conf_report *report, unsigned line, const char *key, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add(report, true, line, compose(report, line, key, format, args));
    va_end(args);
}

static int by_line(const void *a, const void *b)
{
    const struct conf_remark *x = a, *y = b;

    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void drop_remarks(struct conf_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        free(report->remarks[i].text);
    free(report->remarks);
    *report = (struct conf_report){ .file = report->file, .no_memory = report->no_memory };
}

void conf_report_finish(struct conf_report *report, struct conf_messages *out)
{
    conf_messages_init(out);
    out->errors = calloc(report->count + 1, sizeof(char *));
    out->warnings = calloc(report->count + 1, sizeof(char *));
    if (report->no_memory || out->errors == NULL || out->warnings == NULL) {
        report->no_memory = true;
        drop_remarks(report);
        free(out->errors);
        free(out->warnings);
        *out = (struct conf_messages){ .error_count = 1, .errors = no_memory_errors };
        return;
    }
    if (report->count > 0)
        qsort(report->remarks, report->count, sizeof(*report->remarks), by_line);
    for (size_t i = 0; i < report->count; i++) {
        if (report->remarks[i].warning)
            out->warnings[out->warning_count++] = report->remarks[i].text;
        else
            out->errors[out->error_count++] = report->remarks[i].text;
    }
    report->count = 0;
    drop_remarks(report);
}

void conf_messages_init(struct conf_messages *messages)
{
    *messages = (struct conf_messages){ 0 };
}

void conf_messages_fini(struct conf_messages *messages)
{
    if (messages->errors != no_memory_errors) {
        for (size_t i = 0; i < messages->error_count; i++)
            free(messages->errors[i]);
        free(messages->errors);
    }
    for (size_t i = 0; i < messages->warning_count; i++)
        free(messages->warnings[i]);
    free(messages->warnings);
    conf_messages_init(messages);
}
