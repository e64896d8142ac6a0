/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_COMMAND_REPLY_H
#define POSTERN_APP_COMMAND_REPLY_H

#include "app/view.h"

#include <jansson.h>

/* Answers that need nothing but the view. The caller owns them; "error" in one says that there was nothing to answer. */
MUST_CHECK json_t *reply_status(const struct view *v);
MUST_CHECK json_t *reply_show(const struct view *v, const struct stream_id *id);
MUST_CHECK json_t *reply_explain(const struct view *v, const struct stream_id *id);
/* The newest `count` denials of all workers, newest first. */
MUST_CHECK json_t *reply_denials(const struct view *v, unsigned count);
/* The names whose minted certificates clients were shown: first those that were refused, then by time; at most TABLE_INSPECTED. */
MUST_CHECK json_t *reply_inspected(const struct view *v);

#endif
