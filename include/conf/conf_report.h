/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_CONF_CONF_REPORT_H
#define POSTERN_CONF_CONF_REPORT_H

#include "conf/conf.h"

/* Errors and warnings while a configuration is read. Lack of memory is noted here too and becomes an error at the end. */
struct conf_report {
    const char *file;
    struct conf_remark *remarks;
    size_t count, room, errors;
    bool no_memory;
};

/*
 * Adds "file:line: key: message"; without a key (NULL) "file:line: message". When there is no memory for it, no_memory is set,
 * and the configuration is refused anyway.
 */
void conf_report_error(struct conf_report *report, unsigned line, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void conf_report_warning(struct conf_report *report, unsigned line, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Moves all, sorted by line, into `out`; then the report is empty. Without memory `out` holds one error that says so. */
void conf_report_finish(struct conf_report *report, struct conf_messages *out);

/* "did you mean": the candidate that is nearest to a misspelt word. */
struct conf_suggestion {
    const char *word;
    const char *best; /* NULL: none is near */
    unsigned distance;
};

void conf_suggestion_init(struct conf_suggestion *s, const char *word);
void conf_suggestion_offer(struct conf_suggestion *s, const char *candidate);
/* `; did you mean "best"?`, or "". `out` holds CONF_SUGGESTION bytes; it is returned. */
#define CONF_SUGGESTION 96
const char *conf_suggestion_text(const struct conf_suggestion *s, char *out);

#endif
