/* SPDX-License-Identifier: ISC */
/*
 * Small helpers around jansson. What they are given was made printable where it entered Postern (span_show), so that no byte of a
 * client can end a line or a string; jansson escapes the rest.
 */
#include "app/json_put.h"

#include "base/digits.h"

#include <string.h>
#include <time.h>

void put_text(json_t *object, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0')
        (void)json_object_set_new(object, key, json_string(text));
}

void put_number(json_t *object, const char *key, uint64_t number)
{
    (void)json_object_set_new(object, key, json_integer((json_int_t)number));
}

void put_count(json_t *object, const char *key, uint64_t number)
{
    if (number != 0)
        put_number(object, key, number);
}

void put_bool(json_t *object, const char *key, bool value)
{
    (void)json_object_set_new(object, key, json_boolean(value));
}

void put_addr(json_t *object, const char *key, const struct addr *address)
{
    char text[ADDR_TEXT];

    put_text(object, key, addr_port_text(address, text));
}

char *time_text(uint64_t wall_us, char out[TIME_TEXT])
{
    static time_t last = -1; /* lines come in time: most have the second of the one before */
    static char text[TIME_TEXT];
    static size_t used;
    time_t seconds = (time_t)(wall_us / 1000000u);
    struct tm utc;

    if (seconds != last) {
        gmtime_r(&seconds, &utc);
        used = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
        last = seconds;
    }
    memcpy(out, text, used);
    out[used] = '.';
    memcpy(digits_padded(out + used + 1, wall_us % 1000000u, 6), "Z", 2);
    return out;
}

void put_time(json_t *object, const char *key, uint64_t wall_us)
{
    char text[TIME_TEXT];

    if (wall_us != 0)
        put_text(object, key, time_text(wall_us, text));
}

void put_name(json_t *object, const char *key, const struct shard *shard, name_id id)
{
    char name[TABLE_NAME_SIZE];

    put_text(object, key, table_name(shard, id, name));
}

char *id_text(const struct row *row, uint32_t exchange, char out[ID_TEXT])
{
    char *at = digits_decimal(out, row->worker);

    *at++ = '-';
    at = digits_decimal(at, row->number);
    if (exchange != 0) {
        *at++ = '-';
        at = digits_decimal(at, exchange);
    }
    *at = '\0';
    return out;
}

void put_id(json_t *object, const char *key, const struct row *row, uint32_t exchange)
{
    char text[ID_TEXT];

    put_text(object, key, id_text(row, exchange, text));
}

struct span text_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_string(value) ? span_of(json_string_value(value), json_string_length(value)) : span_of(NULL, 0);
}

void put_verdict(json_t *object, enum reason reason)
{
    put_text(object, "verdict", reason == R_NONE ? "allowed" : "denied");
    put_text(object, "reason", reason_name(reason));
    put_text(object, "sentence", reason == R_NONE ? "A policy allows this." : reason_sentence(reason));
}

void put_policy(json_t *object, const char *key, const char *name, const char *file, unsigned line)
{
    json_t *policy;

    if (name == NULL || name[0] == '\0')
        return;
    policy = json_object();
    put_text(policy, "name", name);
    put_text(policy, "file", file);
    put_count(policy, "line", line);
    (void)json_object_set_new(object, key, policy);
}
