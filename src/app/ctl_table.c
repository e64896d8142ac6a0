/* SPDX-License-Identifier: ISC */
/*
 * Tables and lists of facts. A column is as wide as its widest cell; one that no row has anything for can be left out, so that a
 * posternd without packet filter does not show the packet filter's columns. What posternd sends is already printable.
 */
#include "app/ctl_table.h"

#include <string.h>

/* Pings have no port: "10.0.0.1:0" is 10.0.0.1, "[fd00::1]:0" is fd00::1. `out` is returned, or `text` as it is. */
static const char *without_port(const json_t *row, const char *text, char out[CELL])
{
    const char *protocol = json_string_value(json_object_get(row, "protocol"));
    size_t len = text != NULL ? strlen(text) : 0, brackets = len > 0 && text[0] == '[';

    if (protocol == NULL || strcmp(protocol, "icmp") != 0 || len < 4 || strcmp(text + len - 2, ":0") != 0)
        return text;
    snprintf(out, CELL, "%.*s", (int)(len - 2 - 2 * brackets), text + brackets);
    return out;
}

const char *ctl_table_cell(const json_t *object, const char *key, char out[CELL])
{
    const json_t *value = json_object_get(object, key);
    char shown[CELL];

    if (json_is_object(value))
        value = json_object_get(value, "name");
    if (json_is_integer(value))
        snprintf(out, CELL, "%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        snprintf(out, CELL, "%s", json_is_true(value) ? "yes" : "no");
    else
        snprintf(out, CELL, "%s", json_is_string(value) ? without_port(object, json_string_value(value), shown) : "-");
    return out;
}

const char *ctl_table_mark(const json_t *object, const char *key, char out[CELL])
{
    const json_t *mark = json_object_get(object, key);

    snprintf(out, CELL, json_is_integer(mark) ? "0x%llx" : "-", (unsigned long long)json_integer_value(mark));
    return out;
}

/* The text of `key` if there is one, and it is not that of `usual`. */
static const char *other_than(const json_t *row, const char *key, const char *usual)
{
    const char *text = json_string_value(json_object_get(row, key)), *same = json_string_value(json_object_get(row, usual));

    return text != NULL && (same == NULL || strcmp(text, same) != 0) ? text : NULL;
}

/* `upstream` is the client after NAT only where the kernel forwards; a worker's own address is no translation. */
const char *ctl_table_nat(const json_t *row, const char *key, char out[CELL])
{
    const char *mode = json_string_value(json_object_get(row, "mode"));
    const char *to = other_than(row, "translated", "destination");
    const char *from = mode != NULL && strcmp(mode, "forwarded") == 0 ? other_than(row, "upstream", "client") : NULL;

    char from_shown[CELL], to_shown[CELL];

    (void)key;
    from = without_port(row, from, from_shown);
    to = without_port(row, to, to_shown);
    snprintf(out, CELL, "%s%s%s%s%s", from ? "from " : "", from ? from : "", from && to ? " " : "", to ? "to " : "", to ? to : "");
    if (out[0] == '\0')
        snprintf(out, CELL, "-");
    return out;
}

/* What is done with the client's TLS; "to server" if there is some towards the server that does not follow from that. */
const char *ctl_table_tls(const json_t *row, const char *key, char out[CELL])
{
    const char *way = json_string_value(json_object_get(json_object_get(row, "tls_client"), "way"));
    bool server = json_object_get(row, "tls_server") != NULL && (way == NULL || strcmp(way, "inspected") != 0);

    (void)key;
    if (way == NULL && !server)
        snprintf(out, CELL, "-");
    else
        snprintf(out, CELL, "%s%s%s", way != NULL ? way : "", way != NULL && server ? ", " : "", server ? "to server" : "");
    return out;
}

const char *ctl_table_sni(const json_t *row, const char *key, char out[CELL])
{
    const json_t *client = json_object_get(row, "tls_client");
    const char *name = json_string_value(json_object_get(client, "sni")), *host = json_string_value(json_object_get(row, "host"));

    (void)key;
    snprintf(out, CELL, "%s", name != NULL && (host == NULL || strcmp(name, host) != 0) ? name : "-");
    return out;
}

static const char *text_of(const struct column *column, const json_t *row, char out[CELL])
{
    return column->text != NULL ? column->text(row, column->key, out) : ctl_table_cell(row, column->key, out);
}

static bool is_empty(const struct column *column, const json_t *rows)
{
    char text[CELL];

    for (size_t r = 0; r < json_array_size(rows); r++)
        if (strcmp(text_of(column, json_array_get(rows, r), text), "-") != 0)
            return false;
    return true;
}

static size_t leave_out(struct column *columns, size_t count, const json_t *rows)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (!columns[i].optional || !is_empty(&columns[i], rows))
            columns[kept++] = columns[i];
    return kept;
}

static void fit_columns(struct column *columns, size_t count, const json_t *rows)
{
    char text[CELL];

    for (size_t i = 0; i < count; i++) {
        int width = (int)strlen(columns[i].title);

        for (size_t r = 0; r < json_array_size(rows); r++) {
            int len = (int)strlen(text_of(&columns[i], json_array_get(rows, r), text));

            width = len > width ? len : width;
        }
        columns[i].width = columns[i].width < 0 ? -width : width;
    }
}

void ctl_table_print(struct column *columns, size_t count, const json_t *rows)
{
    char text[CELL];

    count = leave_out(columns, count, rows);
    fit_columns(columns, count, rows);
    for (size_t i = 0; i < count; i++)
        printf("%*s%s", columns[i].width, columns[i].title, i + 1 < count ? "  " : "\n");
    for (size_t r = 0; r < json_array_size(rows); r++)
        for (size_t i = 0; i < count; i++)
            printf("%*s%s", columns[i].width, text_of(&columns[i], json_array_get(rows, r), text), i + 1 < count ? "  " : "\n");
}

static void print_value(const char *key, const json_t *object)
{
    const json_t *value = json_object_get(object, key);
    char text[CELL];

    if (strcmp(key, "mark") == 0)
        puts(ctl_table_mark(object, key, text));
    else if (json_is_string(value))
        puts(without_port(object, json_string_value(value), text));
    else
        puts(ctl_table_cell(object, key, text));
}

void ctl_table_facts(const json_t *object, const char *besides)
{
    const char *key, *inner_key;
    json_t *value, *inner;
    char text[CELL];

    json_object_foreach((json_t *)object, key, value)
    {
        if (json_is_array(value) || strcmp(key, besides) == 0)
            continue;
        printf("%-16s", key);
        if (!json_is_object(value)) {
            print_value(key, object);
            continue;
        }
        json_object_foreach(value, inner_key, inner) printf("%s %s  ", inner_key, ctl_table_cell(value, inner_key, text));
        puts("");
    }
}

void ctl_table_lines(const json_t *lines, const char *before)
{
    for (size_t i = 0; i < json_array_size(lines); i++)
        printf("%s%s\n", before, json_string_value(json_array_get(lines, i)));
}
