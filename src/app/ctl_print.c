/* SPDX-License-Identifier: ISC */
/*
 * Answers for people, command by command. How a table or a list of facts looks is ctl_table.c's; what a dry run says is printed in
 * the order in which it would happen: the packet on its way through the kernel first, then the stages of the proxy.
 */
#include "app/ctl.h"

#include "app/ctl_rates.h"
#include "app/ctl_table.h"
#include "base/clock.h"

#include <string.h>
#include <unistd.h>

#define LEFT(title, key)                                                                                                           \
    {                                                                                                                              \
        title, key, -1, false, NULL                                                                                                \
    }
#define RIGHT(title, key)                                                                                                          \
    {                                                                                                                              \
        title, key, 1, false, NULL                                                                                                 \
    }
#define OPTIONAL(title, key, text)                                                                                                 \
    {                                                                                                                              \
        title, key, -1, true, text                                                                                                 \
    }

static void print_sessions(const json_t *rows)
{
    struct column columns[] = { LEFT("ID", "id"),
                                LEFT("STATE", "state"),
                                OPTIONAL("CONNTRACK", "conntrack_state", NULL),
                                LEFT("PROTOCOL", "protocol"),
                                LEFT("CLIENT", "client"),
                                LEFT("SERVER", "server"),
                                OPTIONAL("NAT", "", ctl_table_nat),
                                LEFT("HOST", "host"),
                                OPTIONAL("TLS", "", ctl_table_tls),
                                LEFT("METHOD", "method"),
                                LEFT("PATH", "path"),
                                LEFT("POLICY", "policy"),
                                RIGHT("UP", "bytes_up"),
                                RIGHT("DOWN", "bytes_down"),
                                OPTIONAL("MESSAGES/S", "messages_per_second", NULL),
                                OPTIONAL("BYTES/S", "bytes_per_second", NULL) };

    ctl_table_print(columns, sizeof(columns) / sizeof(columns[0]), rows);
}

static void print_near(const json_t *near)
{
    char line[CELL], name[CELL];

    for (size_t i = 0; i < json_array_size(near); i++) {
        const json_t *item = json_array_get(near, i), *conditions = json_object_get(item, "did_not_fit");
        const char *file = json_string_value(json_object_get(item, "file"));

        printf("  policy %s (%s:%s) did not fit:", ctl_table_cell(item, "name", name), file != NULL ? file : "?",
               ctl_table_cell(item, "line", line));
        for (size_t c = 0; c < json_array_size(conditions); c++)
            printf("%s %s", c > 0 ? "," : "", json_string_value(json_array_get(conditions, c)));
        puts("");
    }
}

static void print_stages(const json_t *stages)
{
    struct column columns[] = { LEFT("  STAGE", "stage"), LEFT("VERDICT", "verdict"), LEFT("POLICY", "policy"),
                                LEFT("REASON", "reason") };

    if (json_array_size(stages) == 0)
        return;
    ctl_table_print(columns, sizeof(columns) / sizeof(columns[0]), stages);
}

static void print_interception(const json_t *packet)
{
    const char *how = json_string_value(json_object_get(packet, "intercept"));

    if (how == NULL)
        puts("no");
    else
        printf("by listener %s (%s)\n", json_string_value(json_object_get(packet, "listener")), how);
}

static void print_route(const json_t *packet)
{
    const char *interface = json_string_value(json_object_get(packet, "interface_out"));
    const char *error = json_string_value(json_object_get(packet, "route_error"));
    bool intercepted = json_object_get(packet, "intercept") != NULL;

    if (error != NULL)
        puts(error);
    else if (json_is_true(json_object_get(packet, "local")))
        printf("to this machine%s%s\n", interface != NULL ? ", then out by " : "", interface != NULL ? interface : "");
    else
        printf("%s%s\n", intercepted ? "to this machine; the worker dials out by " : "out by ",
               interface != NULL ? interface : "an unknown interface");
}

static void print_conntrack(const json_t *packet)
{
    const json_t *blocked = json_object_get(packet, "blocked");
    const char *seen = json_string_value(json_object_get(packet, "conntrack"));

    printf("%s; %s\n", seen != NULL ? seen : "new",
           blocked == NULL         ? "whether the client is blocked is not known"
           : json_is_true(blocked) ? "the client is blocked: dropped before anything else"
                                   : "the client is not blocked");
}

static void print_nat(const json_t *packet)
{
    const char *forward = json_string_value(json_object_get(packet, "forward"));
    const char *intercept = json_string_value(json_object_get(packet, "intercept"));
    const char *interface = json_string_value(json_object_get(packet, "interface_out"));
    bool masquerade = json_is_true(json_object_get(packet, "masquerade"));

    if (forward != NULL)
        printf("to %s%s", forward, masquerade ? ", " : "\n");
    if (masquerade)
        printf("from the address of %s\n", interface != NULL ? interface : "the interface");
    if (forward == NULL && !masquerade)
        puts(intercept == NULL                    ? "none"
             : strcmp(intercept, "redirect") == 0 ? "redirected to the listener"
                                                  : "none: delivered to the listener as it is");
}

/* The packet's way, in the order in which the kernel goes it. */
static void print_packet(const json_t *packet)
{
    char text[CELL];

    if (!json_is_object(packet))
        return;
    puts("packet");
    printf("  %-14s%s\n", "interface in", ctl_table_cell(packet, "interface_in", text));
    printf("  %-14s%s\n", "zone in", ctl_table_cell(packet, "zone_in", text));
    printf("  %-14s", "intercepted");
    print_interception(packet);
    printf("  %-14s", "route");
    print_route(packet);
    printf("  %-14s%s\n", "zone out", ctl_table_cell(packet, "zone_out", text));
    printf("  %-14s", "conntrack");
    print_conntrack(packet);
    printf("  %-14s%s%s\n", "policy", ctl_table_cell(packet, "policy", text),
           json_is_true(json_object_get(packet, "twin")) ? " (this would go around the proxy)" : "");
    print_near(json_object_get(packet, "near"));
    printf("  %-14s", "NAT");
    print_nat(packet);
    printf("  %-14s%s\n", "fate", ctl_table_cell(packet, "fate", text));
    ctl_table_lines(json_object_get(packet, "notes"), "  note: ");
}

static void print_translation(const json_t *row)
{
    char text[CELL];

    if (strcmp(ctl_table_nat(row, "", text), "-") != 0)
        printf("%-16s%s\n", "nat", text);
}

static void print_shown(const json_t *session)
{
    ctl_table_facts(session, "");
    print_translation(session);
}

static void print_explained(const json_t *answer)
{
    ctl_table_facts(answer, "packet");
    print_translation(answer);
    print_packet(json_object_get(answer, "packet"));
    print_stages(json_object_get(answer, "stages"));
    print_near(json_object_get(answer, "near"));
}

static void print_status(const json_t *answer)
{
    struct column workers[] = { RIGHT("WORKER", "worker"), RIGHT("PID", "pid"), LEFT("READY", "ready"),
                                RIGHT("SESSIONS", "sessions"), RIGHT("RESTARTS", "restarts") };
    struct column listeners[] = { LEFT("LISTENER", "name"), LEFT("MODE", "mode"), LEFT("ADDRESS", "address") };
    struct column upstreams[] = { LEFT("UPSTREAM", "upstream"),     LEFT("OF", "listener"),        LEFT("STATE", "state"),
                                  LEFT("SINCE", "since"),           RIGHT("FAILURES", "failures"), RIGHT("CHECKS", "checks"),
                                  RIGHT("FAILED", "check_failures") };

    ctl_table_facts(answer, "");
    puts("");
    ctl_table_print(workers, sizeof(workers) / sizeof(workers[0]), json_object_get(answer, "workers"));
    puts("");
    ctl_table_print(listeners, sizeof(listeners) / sizeof(listeners[0]), json_object_get(answer, "listeners"));
    if (json_array_size(json_object_get(answer, "upstreams")) > 0) {
        puts("");
        ctl_table_print(upstreams, sizeof(upstreams) / sizeof(upstreams[0]), json_object_get(answer, "upstreams"));
    }
    ctl_table_lines(json_object_get(answer, "notes"), "note: ");
}

static void print_denials(const json_t *list)
{
    struct column columns[] = {
        LEFT("TIME", "time"),     LEFT("ID", "id"),     LEFT("REASON", "reason"), LEFT("STAGE", "stage"),
        LEFT("CLIENT", "client"), LEFT("HOST", "host"), RIGHT("PORT", "port"),    OPTIONAL("SNI", "", ctl_table_sni),
        LEFT("METHOD", "method"), LEFT("PATH", "path"), LEFT("POLICY", "policy")
    };

    ctl_table_print(columns, sizeof(columns) / sizeof(columns[0]), list);
}

static void print_inspected(const json_t *names)
{
    struct column columns[] = { LEFT("NAME", "name"),
                                RIGHT("SHOWN", "shown"),
                                RIGHT("REFUSED", "refused"),
                                LEFT("LAST", "last"),
                                LEFT("LAST REFUSED", "last_refused"),
                                LEFT("BY", "last_client") };

    ctl_table_print(columns, sizeof(columns) / sizeof(columns[0]), names);
}

/* The screen again where there is one; elsewhere what changed, as it comes. */
static void print_watch(const json_t *answer)
{
    json_t *sessions = json_object_get(answer, "sessions"), *ended = json_object_get(answer, "ended");

    if (json_is_true(json_object_get(answer, "changes")) && json_array_size(sessions) == 0 && json_array_size(ended) == 0)
        return;
    if (isatty(STDOUT_FILENO))
        fputs("\033[H\033[2J", stdout);
    printf("%s: %zu sessions %s, %zu ended\n", json_string_value(json_object_get(answer, "time")), json_array_size(sessions),
           json_is_true(json_object_get(answer, "changes")) ? "changed" : "open", json_array_size(ended));
    ctl_rates_add(sessions, ended, clock_ms());
    if (json_array_size(sessions) > 0)
        print_sessions(sessions);
    if (json_array_size(ended) > 0) {
        puts("ended:");
        print_sessions(ended);
    }
    fflush(stdout);
}

static void print_killed(const json_t *answer)
{
    json_int_t killed = json_integer_value(json_object_get(answer, "killed"));

    printf("%lld killed%s\n", (long long)killed,
           killed == 0                               ? ": nothing like that is open"
           : json_object_get(answer, "more") != NULL ? ", there are more: ask again"
                                                     : "");
    if (json_object_get(answer, "draining") != NULL)
        printf("of them %lld that drain: the posternd that has them was told\n",
               (long long)json_integer_value(json_object_get(answer, "draining")));
    if (json_object_get(answer, "warning") != NULL)
        printf("warning: %s\n", json_string_value(json_object_get(answer, "warning")));
}

static void print_block(const char *command, const json_t *answer)
{
    char seconds[CELL], address[CELL];

    ctl_table_cell(answer, "address", address);
    if (strcmp(command, "unblock") == 0)
        printf("%s %s blocked\n", address, json_is_false(json_object_get(answer, "was_blocked")) ? "was not" : "is no longer");
    else
        printf("%s is blocked for %s s\n", address, ctl_table_cell(answer, "seconds", seconds));
}

static void print_blocks(const json_t *blocks)
{
    struct column columns[] = { LEFT("BLOCKED", "address"), RIGHT("SECONDS", "seconds"), LEFT("WHY", "why") };

    ctl_table_print(columns, sizeof(columns) / sizeof(columns[0]), blocks);
}

static void print_part(const json_t *check, const char *key)
{
    const char *text = json_string_value(json_object_get(check, key));

    if (text != NULL)
        printf("        %s: %s\n", key, text);
}

static void print_checks(const json_t *checks)
{
    for (size_t i = 0; i < json_array_size(checks); i++) {
        const json_t *check = json_array_get(checks, i);
        char name[CELL];

        printf("%-7s %s: %s\n", json_is_true(json_object_get(check, "ok")) ? "ok" : "NOT OK", ctl_table_cell(check, "name", name),
               json_string_value(json_object_get(check, "finding")));
        print_part(check, "canary");
        print_part(check, "mend");
    }
}

int ctl_status(const char *command, const json_t *answer)
{
    const json_t *checks = json_object_get(answer, "checks");

    if (strcmp(command, "kill") == 0)
        return json_integer_value(json_object_get(answer, "killed")) > 0 ? 0 : 1;
    for (size_t i = 0; i < json_array_size(checks); i++)
        if (!json_is_true(json_object_get(json_array_get(checks, i), "ok")))
            return 1;
    return 0;
}

void ctl_print(const char *command, const json_t *answer)
{
    char text[CELL];

    if (strcmp(command, "status") == 0)
        print_status(answer);
    else if (strcmp(command, "sessions") == 0)
        print_sessions(json_object_get(answer, "sessions"));
    else if (strcmp(command, "watch") == 0)
        print_watch(answer);
    else if (strcmp(command, "show") == 0)
        print_shown(json_object_get(answer, "session"));
    else if (strcmp(command, "explain") == 0)
        print_explained(answer);
    else if (strcmp(command, "denials") == 0)
        print_denials(json_object_get(answer, "denials"));
    else if (strcmp(command, "inspected") == 0)
        print_inspected(json_object_get(answer, "inspected"));
    else if (strcmp(command, "kill") == 0)
        print_killed(answer);
    else if (strcmp(command, "filter") == 0)
        fputs(json_string_value(json_object_get(answer, "table")), stdout);
    else if (strcmp(command, "block") == 0 || strcmp(command, "unblock") == 0)
        print_block(command, answer);
    else if (strcmp(command, "blocks") == 0)
        print_blocks(json_object_get(answer, "blocks"));
    else if (strcmp(command, "doctor") == 0)
        print_checks(json_object_get(answer, "checks"));
    else if (strcmp(command, "reload") == 0) {
        printf("generation %s is in force\n", ctl_table_cell(answer, "generation", text));
        ctl_table_lines(json_object_get(answer, "warnings"), "warning: ");
    } else if (strcmp(command, "upgrade") == 0)
        printf("process %s serves\n", ctl_table_cell(answer, "pid", text));
    else
        puts("ok");
}
