/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_REGEX_H
#define POSTERN_BASE_REGEX_H

#include "base/span.h"

/*
 * Regular expressions (PCRE2, UTF-8, JIT where the system lets us). A search is bounded: a million tries at one position, a depth
 * of 100,000, 16 MiB of memory, which are given back; and by the processor time that its caller gives.
 * The only place that knows PCRE2. \C and settings at the front like (*CRLF) are refused, callouts do nothing.
 */
struct regex;

/* From now on in this process no machine code is made of patterns: for processes that may not map what can be executed. */
void regex_interpret_only(void);

/* NULL: `error` of `size` bytes says why, with the offset in the pattern. */
MUST_CHECK struct regex *regex_new(const char *pattern, char *error, size_t size);
void regex_free(struct regex *r);

/* A text, and the time that all searches in it may take together. */
struct regex_text {
    struct span bytes;
    uint64_t began; /* clock_cpu_ns(), before the first search */
    uint64_t real;  /* clock_real_ns(), not before that */
    uint64_t ns;    /* that may pass from then on */
    bool is_utf8;   /* it was found to be */
};
struct regex_text regex_text(struct span bytes, uint64_t ns);
/* Is its time over? */
bool regex_late(const struct regex_text *text);

enum regex_result { REGEX_NONE, REGEX_FOUND, REGEX_LIMIT /* too much work, no memory, or not UTF-8: nobody knows */ };
/* Is the pattern found anywhere in `text`? Not from two threads at once. */
MUST_CHECK enum regex_result regex_find(struct regex *r, struct regex_text *text);

#endif
