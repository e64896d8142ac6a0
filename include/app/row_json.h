/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_ROW_JSON_H
#define POSTERN_APP_ROW_JSON_H

#include "base/table.h"

#include <jansson.h>

/* Rows and ended records as JSON objects for posternctl. `tls`: as row_read() fills it. `file` is the configuration's name. The
 * caller owns the object. */
MUST_CHECK json_t *row_object(const struct row *row, const struct tls_facts *tls, const struct shard *shard, const char *file);
/* The same of a stream that has ended or was denied, with the facts of the record in front. */
MUST_CHECK json_t *record_object(const struct record *record, const struct shard *shard, const char *file);

/* Why this was allowed or denied: verdict, reason, policy, stage, near misses, and the facts that were judged. */
MUST_CHECK json_t *row_explained(const struct row *row, const struct tls_facts *tls, const struct shard *shard, const char *file);
MUST_CHECK json_t *record_explained(const struct record *record, const struct shard *shard, const char *file);

#endif
