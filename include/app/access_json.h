/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_ACCESS_JSON_H
#define POSTERN_APP_ACCESS_JSON_H

#include "base/table.h"

#define ACCESS_LINE 4096 /* the longest line, with its LF: a pipe takes it whole (PIPE_BUF) */

/*
 * One line of the access log (design.md section 8) with its LF: `record` as it was taken from a worker's ring, with names from that
 * worker's `shard`. Believes nothing of it. Returns the length. The longest that a record can hold fits; a line that does not,
 * after a mistake, is left out as a whole: 0.
 */
size_t access_line(const struct record *record, const struct shard *shard, char out[ACCESS_LINE]);

#endif
