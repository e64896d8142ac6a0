/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_REGEX_H
#define POSTERN_BASE_REGEX_H

#include "base/span.h"

/* Regular expressions (PCRE2, UTF-8, JIT where the system lets us), with a bound on the work of one search. The only place that
 * knows PCRE2. */
struct regex;

/* NULL: `error` of `size` bytes says why, with the offset in the pattern. */
MUST_CHECK struct regex *regex_new(const char *pattern, char *error, size_t size);
void regex_free(struct regex *r);

enum regex_result { REGEX_NONE, REGEX_FOUND, REGEX_LIMIT /* too much work, no memory, or not UTF-8: nobody knows */ };
MUST_CHECK enum regex_result regex_find(struct regex *r, struct span text);

#endif
