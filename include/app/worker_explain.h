/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_WORKER_EXPLAIN_H
#define POSTERN_APP_WORKER_EXPLAIN_H

#include "session/engine.h"

#include <jansson.h>

/* The worker's side of a dry run: a JSON question from control to the engine, and the engine's answer to JSON. */
#define EXPLAIN_HEADERS 32768 /* bytes of field lines in one question */

/* A question as the engine wants it; what it points to lies in itself and in the JSON object that it was read from. */
struct explain_question {
    struct explain_query query;
    char headers[EXPLAIN_HEADERS];
};

/*
 * Reads { "method", "url", "from", "interface", "listener", "address", "resolve", "headers": [ "Name: value" ] }. NULL, or what is
 * wrong with it. `object` must outlive the question.
 */
MUST_CHECK const char *explain_read(struct explain_question *q, const json_t *object);

/* The answer as an object that the caller owns. */
MUST_CHECK json_t *explain_write(const struct explain_answer *answer);

#endif
