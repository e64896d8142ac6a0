/* SPDX-License-Identifier: ISC */
/*
 * How fast WebSockets talk while somebody watches. A row holds counts, and no room for rates: they are the difference of two
 * readings of the same row, divided by the time between them. What was read last is kept here, in the one process that shows it,
 * for as long as the WebSocket lives; nobody else pays for it.
 */
#include "app/ctl_rates.h"

#include <stdio.h>
#include <string.h>

static json_int_t sum_of(const json_t *row, const char *up, const char *down)
{
    return json_integer_value(json_object_get(row, up)) + json_integer_value(json_object_get(row, down));
}

static json_int_t item(const json_t *reading, size_t index)
{
    return json_integer_value(json_array_get(reading, index));
}

static void add_rates(json_t *row, const json_t *before, const json_t *fresh)
{
    double seconds = (double)(item(fresh, 2) - item(before, 2)) / 1000.0;
    char text[32];

    if (seconds <= 0)
        return;
    snprintf(text, sizeof(text), "%.1f", (double)(item(fresh, 0) - item(before, 0)) / seconds);
    (void)json_object_set_new(row, "messages_per_second", json_string(text));
    (void)json_object_set_new(row, "bytes_per_second",
                              json_integer((json_int_t)((double)(item(fresh, 1) - item(before, 1)) / seconds)));
}

/* An exchange "W-N-K" is over: the row was "W-N". */
static void forget(json_t *readings, const char *exchange)
{
    const char *dash = exchange != NULL ? strrchr(exchange, '-') : NULL;
    char id[32];

    if (dash == NULL || (size_t)(dash - exchange) >= sizeof(id))
        return;
    snprintf(id, sizeof(id), "%.*s", (int)(dash - exchange), exchange);
    (void)json_object_del(readings, id);
}

static void take_reading(json_t *readings, json_t *row, uint64_t now)
{
    const char *id = json_string_value(json_object_get(row, "id"));
    const char *protocol = json_string_value(json_object_get(row, "protocol"));
    json_t *fresh;

    if (id == NULL || protocol == NULL || strcmp(protocol, "websocket") != 0)
        return;
    fresh =
        json_pack("[I,I,I]", sum_of(row, "messages_up", "messages_down"), sum_of(row, "bytes_up", "bytes_down"), (json_int_t)now);
    if (json_object_get(readings, id) != NULL)
        add_rates(row, json_object_get(readings, id), fresh);
    (void)json_object_set_new(readings, id, fresh);
}

void ctl_rates_add(json_t *sessions, const json_t *ended, uint64_t now)
{
    static json_t *readings; /* id: [messages, bytes, ms] */

    if (readings == NULL)
        readings = json_object();
    for (size_t i = 0; i < json_array_size(sessions); i++)
        take_reading(readings, json_array_get(sessions, i), now);
    for (size_t i = 0; i < json_array_size(ended); i++)
        forget(readings, json_string_value(json_object_get(json_array_get(ended, i), "id")));
}
