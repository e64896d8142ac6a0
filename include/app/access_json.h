/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_ACCESS_JSON_H
#define POSTERN_APP_ACCESS_JSON_H

#include "base/table.h"

#define ACCESS_LINE 4096 /* the longest line, with its LF: a pipe takes it whole (PIPE_BUF) */

/*
 * One line of the access log (design.md section 8) with its LF: `record` as a worker put it into its ring, with names from that
 * worker's `shard`. Believes nothing of the record but its size. Returns the length, or 0 if there is no memory for it.
 */
size_t access_line(const struct record *record, const struct shard *shard, char out[ACCESS_LINE]);

#endif
