/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_EXPLAIN_JOIN_H
#define POSTERN_APP_EXPLAIN_JOIN_H

#include <jansson.h>

/*
 * A worker's answer to a dry run, and what only the filter process knows of it: is the client blocked, and how would the kernel
 * route its packet?
 */

/* What to ask the filter process; NULL: nothing. The caller owns it. */
json_t *explain_join_question(const json_t *answer);
/*
 * Adds what it said to `answer`, and denies what the kernel would not let through. `route` NULL, or with "error": it could not be
 * asked; the answer then says that this is not known.
 */
void explain_join(json_t *answer, const json_t *route);

#endif
