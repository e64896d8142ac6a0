/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_REGEX_H
#define POSTERN_BASE_REGEX_H

#include "base/span.h"

/*
 * Regular expressions (PCRE2, UTF-8, JIT where the system lets us). A search is bounded: a million tries at one position, a depth
 * of 100,000, 16 MiB of memory, which are given back; and all in all 0.05 s of processor time and 0.1 s more for each MiB of text.
 * The only place that knows PCRE2. \C and settings at the front like (*CRLF) are refused, callouts do nothing.
 */
struct regex;

/* NULL: `error` of `size` bytes says why, with the offset in the pattern. */
MUST_CHECK struct regex *regex_new(const char *pattern, char *error, size_t size);
void regex_free(struct regex *r);

enum regex_result { REGEX_NONE, REGEX_FOUND, REGEX_LIMIT /* too much work, no memory, or not UTF-8: nobody knows */ };
/* Is the pattern found anywhere in `text`? Not from two threads at once. */
MUST_CHECK enum regex_result regex_find(struct regex *r, struct span text);

#endif
