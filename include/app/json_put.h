/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_JSON_PUT_H
#define POSTERN_APP_JSON_PUT_H

#include "base/addr.h"
#include "base/reason.h"

#include <jansson.h>

/*
 * Facts into a JSON object, behind those that are there: keys stay in the order in which they are put. An absent fact (NULL, "",
 * family 0) is left out. A lack of memory leaves a fact out too: the object is for people.
 */
void put_text(json_t *object, const char *key, const char *text);
void put_number(json_t *object, const char *key, uint64_t number);
/* Left out if it is 0. */
void put_count(json_t *object, const char *key, uint64_t number);
void put_bool(json_t *object, const char *key, bool value);
void put_addr(json_t *object, const char *key, const struct addr *address);
/* Microseconds since 1970 as RFC 3339 in UTC. 0 is left out. */
void put_time(json_t *object, const char *key, uint64_t wall_us);
/* "verdict", "reason" and "sentence" of an explanation. */
void put_verdict(json_t *object, enum reason reason);
/* { "name", "file", "line" }: where a policy stands. */
void put_policy(json_t *object, const char *key, const char *name, const char *file, unsigned line);

#define TIME_TEXT 32
/* "2026-01-02T03:04:05.678901Z"; returns `out`. */
char *time_text(uint64_t wall_us, char out[TIME_TEXT]);

#endif
