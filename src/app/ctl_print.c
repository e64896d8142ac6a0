/* SPDX-License-Identifier: ISC */
/*
 * Answers for people: a table is as wide as its cells, an object is a list of its facts. What posternd sends is already printable.
 */
#include "app/ctl.h"

#include <string.h>
#include <unistd.h>

#define CELL 128

static const char *cell(const json_t *object, const char *key, char out[CELL])
{
    const json_t *value = json_object_get(object, key);

    if (json_is_object(value))
        value = json_object_get(value, "name");
    if (json_is_integer(value))
        snprintf(out, CELL, "%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        snprintf(out, CELL, "%s", json_is_true(value) ? "yes" : "no");
    else
        snprintf(out, CELL, "%s", json_is_string(value) ? json_string_value(value) : "-");
    return out;
}

struct column {
    const char *title, *key;
    int width; /* negative: to the left */
};

static void fit_columns(struct column *columns, size_t count, const json_t *rows)
{
    char text[CELL];

    for (size_t i = 0; i < count; i++) {
        int width = (int)strlen(columns[i].title);

        for (size_t r = 0; r < json_array_size(rows); r++) {
            int len = (int)strlen(cell(json_array_get(rows, r), columns[i].key, text));

            width = len > width ? len : width;
        }
        columns[i].width = columns[i].width < 0 ? -width : width;
    }
}

static void print_table(struct column *columns, size_t count, const json_t *rows)
{
    char text[CELL];

    fit_columns(columns, count, rows);
    for (size_t i = 0; i < count; i++)
        printf("%*s%s", columns[i].width, columns[i].title, i + 1 < count ? "  " : "\n");
    for (size_t r = 0; r < json_array_size(rows); r++)
        for (size_t i = 0; i < count; i++)
            printf("%*s%s", columns[i].width, cell(json_array_get(rows, r), columns[i].key, text), i + 1 < count ? "  " : "\n");
}

static void print_sessions(const json_t *rows)
{
    struct column columns[] = { { "ID", "id", -1 },         { "STATE", "state", -1 },   { "PROTOCOL", "protocol", -1 },
                                { "CLIENT", "client", -1 }, { "SERVER", "server", -1 }, { "HOST", "host", -1 },
                                { "METHOD", "method", -1 }, { "PATH", "path", -1 },     { "POLICY", "policy", -1 },
                                { "UP", "bytes_up", 1 },    { "DOWN", "bytes_down", 1 } };

    print_table(columns, sizeof(columns) / sizeof(columns[0]), rows);
}

static void print_value(const json_t *value)
{
    if (json_is_string(value))
        puts(json_string_value(value));
    else if (json_is_integer(value))
        printf("%lld\n", (long long)json_integer_value(value));
    else
        puts(json_is_true(value) ? "yes" : "no");
}

/* Every fact of an object on a line of its own; inner objects on one line. Lists are left to their own printers. */
static void print_facts(const json_t *object, int indent)
{
    const char *key, *inner_key;
    json_t *value, *inner;
    char text[CELL];

    json_object_foreach((json_t *)object, key, value)
    {
        if (json_is_array(value))
            continue;
        printf("%*s%-16s", indent, "", key);
        if (!json_is_object(value)) {
            print_value(value);
            continue;
        }
        json_object_foreach(value, inner_key, inner) printf("%s %s  ", inner_key, cell(value, inner_key, text));
        puts("");
    }
}

static void print_near(const json_t *near)
{
    char line[CELL], name[CELL];

    for (size_t i = 0; i < json_array_size(near); i++) {
        const json_t *item = json_array_get(near, i), *conditions = json_object_get(item, "did_not_fit");
        const char *file = json_string_value(json_object_get(item, "file"));

        printf("  policy %s (%s:%s) did not fit:", cell(item, "name", name), file != NULL ? file : "?", cell(item, "line", line));
        for (size_t c = 0; c < json_array_size(conditions); c++)
            printf("%s %s", c > 0 ? "," : "", json_string_value(json_array_get(conditions, c)));
        puts("");
    }
}

static void print_stages(const json_t *stages)
{
    struct column columns[] = {
        { "  STAGE", "stage", -1 }, { "VERDICT", "verdict", -1 }, { "POLICY", "policy", -1 }, { "REASON", "reason", -1 }
    };

    if (json_array_size(stages) == 0)
        return;
    print_table(columns, sizeof(columns) / sizeof(columns[0]), stages);
}

static void print_explained(const json_t *answer)
{
    print_facts(answer, 0);
    print_stages(json_object_get(answer, "stages"));
    print_near(json_object_get(answer, "near"));
}

static void print_lines(const json_t *lines, const char *before)
{
    for (size_t i = 0; i < json_array_size(lines); i++)
        printf("%s%s\n", before, json_string_value(json_array_get(lines, i)));
}

static void print_status(const json_t *answer)
{
    struct column workers[] = { { "WORKER", "worker", 1 },
                                { "PID", "pid", 1 },
                                { "READY", "ready", -1 },
                                { "SESSIONS", "sessions", 1 },
                                { "RESTARTS", "restarts", 1 } };
    struct column listeners[] = { { "LISTENER", "name", -1 }, { "MODE", "mode", -1 }, { "ADDRESS", "address", -1 } };

    print_facts(answer, 0);
    puts("");
    print_table(workers, sizeof(workers) / sizeof(workers[0]), json_object_get(answer, "workers"));
    puts("");
    print_table(listeners, sizeof(listeners) / sizeof(listeners[0]), json_object_get(answer, "listeners"));
    print_lines(json_object_get(answer, "notes"), "note: ");
}

static void print_denials(const json_t *list)
{
    struct column columns[] = { { "TIME", "time", -1 },    { "ID", "id", -1 },         { "REASON", "reason", -1 },
                                { "STAGE", "stage", -1 },  { "CLIENT", "client", -1 }, { "HOST", "host", -1 },
                                { "PORT", "port", 1 },     { "METHOD", "method", -1 }, { "PATH", "path", -1 },
                                { "POLICY", "policy", -1 } };

    print_table(columns, sizeof(columns) / sizeof(columns[0]), list);
}

/* The screen again where there is one; elsewhere what changed, as it comes. */
static void print_watch(const json_t *answer)
{
    const json_t *sessions = json_object_get(answer, "sessions"), *ended = json_object_get(answer, "ended");

    if (isatty(STDOUT_FILENO))
        fputs("\033[H\033[2J", stdout);
    printf("%s: %zu sessions %s, %zu ended\n", json_string_value(json_object_get(answer, "time")), json_array_size(sessions),
           json_is_true(json_object_get(answer, "changes")) ? "changed" : "open", json_array_size(ended));
    if (json_array_size(sessions) > 0)
        print_sessions(sessions);
    if (json_array_size(ended) > 0) {
        puts("ended:");
        print_sessions(ended);
    }
    fflush(stdout);
}

static int print_killed(const json_t *answer)
{
    json_int_t killed = json_integer_value(json_object_get(answer, "killed"));

    printf("%lld killed%s\n", (long long)killed,
           killed == 0                               ? ": nothing like that is open"
           : json_object_get(answer, "more") != NULL ? ", there are more: ask again"
                                                     : "");
    return killed > 0 ? 0 : 1;
}

int ctl_print(const char *command, const json_t *answer)
{
    char text[CELL];

    if (strcmp(command, "status") == 0)
        print_status(answer);
    else if (strcmp(command, "sessions") == 0)
        print_sessions(json_object_get(answer, "sessions"));
    else if (strcmp(command, "watch") == 0)
        print_watch(answer);
    else if (strcmp(command, "show") == 0)
        print_facts(json_object_get(answer, "session"), 0);
    else if (strcmp(command, "explain") == 0)
        print_explained(answer);
    else if (strcmp(command, "denials") == 0)
        print_denials(json_object_get(answer, "denials"));
    else if (strcmp(command, "kill") == 0)
        return print_killed(answer);
    else if (strcmp(command, "reload") == 0) {
        printf("generation %s is in force\n", cell(answer, "generation", text));
        print_lines(json_object_get(answer, "warnings"), "warning: ");
    } else
        puts("ok");
    return 0;
}
