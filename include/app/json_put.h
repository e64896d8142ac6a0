/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_JSON_PUT_H
#define POSTERN_APP_JSON_PUT_H

#include "base/table.h"

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
/* An interned name of this shard. */
void put_name(json_t *object, const char *key, const struct shard *shard, name_id id);
/* "W-N", or with an exchange "W-N-K". */
void put_id(json_t *object, const char *key, const struct row *row, uint32_t exchange);
/* "verdict", "reason" and "sentence" of an explanation. */
void put_verdict(json_t *object, enum reason reason);
/* { "name", "file", "line" }: where a policy stands. */
void put_policy(json_t *object, const char *key, const char *name, const char *file, unsigned line);

/* The text of a key; the empty span if it is not there or no text. Valid as long as the object. */
struct span text_at(const json_t *object, const char *key);

#define ID_TEXT 64
/* "W-N", or with an exchange "W-N-K"; returns `out`. */
char *id_text(const struct row *row, uint32_t exchange, char out[ID_TEXT]);

#define TIME_TEXT 32
/* "2026-01-02T03:04:05.678901Z"; returns `out`. */
char *time_text(uint64_t wall_us, char out[TIME_TEXT]);

#endif
