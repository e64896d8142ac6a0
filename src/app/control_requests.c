/* SPDX-License-Identifier: ISC */
/*
 * What a request on the control socket does. Much is answered from the view; a kill goes to everybody who has such a session, a
 * dry run to one worker and then, for what only the kernel knows, to the filter process, a reload to the monitor. Whoever waits for
 * an answer is found again by the number of its request, and is told if the one who should answer dies.
 */
#include "app/control_client.h"

#include "app/command.h"
#include "app/explain_join.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KILL_MAX 8192       /* sessions that one request ends */
#define KILL_FLOWS_MAX 2048 /* of them flows of the kernel: their numbers go as text */

void client_forget(struct client *client)
{
    if (client->pieces != NULL)
        evbuffer_free(client->pieces);
    json_decref(client->explained);
    json_decref(client->kill_warning);
    client->pieces = NULL;
    client->explained = client->kill_warning = NULL;
}

/* Takes over `answer`. */
static void reply(struct client *client, json_t *answer)
{
    char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
    struct evbuffer *out = bufferevent_get_output(client->buffer);

    client->waiting = WAIT_NOTHING;
    client->seconds_idle = 0;
    client_forget(client);
    if (evbuffer_add_printf(out, "%s\n", text != NULL ? text : "{\"error\":\"no memory\"}") < 0)
        client->closing = true; /* it is not left waiting */
    free(text);
    json_decref(answer);
}

void client_reply_error(struct client *client, const char *error)
{
    reply(client, json_pack("{s:s}", "error", error));
}

static void wait_for(struct client *client, enum waiting waiting)
{
    client->waiting = waiting;
    client->seconds_left = ANSWER_S;
}

void control_refresh(struct control *c)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    c->view.now_us = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* Puts a question to the filter process, whose answer names client->request. */
static bool ask_filter(struct client *client, const json_t *question)
{
    const struct peer *filter = &client->control->filter;
    char *text = json_dumps(question, JSON_COMPACT);
    bool asked = text != NULL && filter->fd >= 0 &&
                 ipc_send_two(filter->fd, IPC_ASK, &client->request, sizeof(client->request), span_str(text));

    free(text);
    return asked;
}

static void do_ask(struct client *client, const json_t *question)
{
    client->request = ++client->control->next_request;
    if (ask_filter(client, question))
        wait_for(client, WAIT_FILTER);
    else
        client_reply_error(client, "the filter process cannot be asked");
}

/* Ready-made lists of numbers for one worker: the request's own number first. */
struct killing {
    uint64_t words[1 + KILL_MAX];
    size_t count;
};

static void kill_send(struct client *client, unsigned worker, const struct killing *k)
{
    struct peer *peer = &client->control->peers[worker];

    if (k->count == 0 || peer->fd < 0)
        return;
    if (ipc_send(peer->fd, IPC_KILL, k->words, (1 + k->count) * sizeof(k->words[0])))
        client->owed |= 1ull << worker;
    else
        log_error("worker %u cannot be told: %s", worker, strerror(errno));
}

static size_t kill_collect(struct client *client, unsigned worker, const struct filters *filters, struct killing *k, size_t room)
{
    const struct view *v = &client->control->view;
    struct tls_facts tls[DIRECTIONS];
    struct row row;

    for (uint32_t i = 0; i < view_rows_high(v, worker); i++) {
        if (!row_read(v->shards[worker], i, &row, tls) || !filters_fit(filters, &row, tls, v->shards[worker]))
            continue;
        if (k->count == room) {
            client->more = true;
            break;
        }
        k->words[1 + k->count++] = row.number;
    }
    return k->count;
}

static void kill_finish(struct client *client)
{
    json_t *answer;

    if (client->owed != 0 || client->owed_filter)
        return;
    answer = json_pack("{s:I}", "killed", (json_int_t)client->killed);
    if (client->killed_before > 0)
        (void)json_object_set_new(answer, "draining", json_integer((json_int_t)client->killed_before));
    if (client->more)
        (void)json_object_set_new(answer, "more", json_true());
    if (client->kill_warning != NULL)
        (void)json_object_set(answer, "warning", client->kill_warning);
    reply(client, answer);
}

/* Flows that the kernel forwards end with their conntrack entries. */
static void kill_flows(struct client *client, const struct killing *k)
{
    json_t *numbers = json_array(), *question = json_pack("{s:s,s:o}", "command", "kill", "numbers", numbers);

    for (size_t i = 0; i < k->count; i++)
        (void)json_array_append_new(numbers, json_integer((json_int_t)k->words[1 + i]));
    client->owed_filter = k->count > 0 && ask_filter(client, question);
    if (k->count > 0 && !client->owed_filter)
        log_error("the filter process cannot be told");
    json_decref(question);
}

static void do_kill(struct client *client, const struct command *command)
{
    const struct view *v = &client->control->view;
    static struct killing k;
    size_t room = KILL_MAX;

    client->request = ++client->control->next_request;
    client->owed = 0;
    client->killed = client->killed_before = before_kill(client->control, command);
    client->more = false;
    k.words[0] = client->request;
    wait_for(client, WAIT_KILL);
    for (unsigned w = 0; w < v->writers; w++) {
        size_t most = w == v->workers && room > KILL_FLOWS_MAX ? KILL_FLOWS_MAX : room;

        k.count = 0;
        if (!command->by_id)
            room -= kill_collect(client, w, &command->filters, &k, most);
        else if (command->id.worker == w && !command->before)
            k.words[1 + k.count++] = command->id.number;
        if (w == v->workers)
            kill_flows(client, &k);
        else
            kill_send(client, w, &k);
    }
    kill_finish(client);
}

/* A dry run is the same in every worker: the first that is there makes it. */
static void do_explain(struct client *client, json_t *question)
{
    struct control *c = client->control;
    char *text = json_dumps(question, JSON_COMPACT);
    unsigned worker = 0;

    while (worker < c->view.workers && c->peers[worker].fd < 0)
        worker++;
    client->request = ++c->next_request;
    if (text == NULL || worker == c->view.workers ||
        !ipc_send_two(c->peers[worker].fd, IPC_EXPLAIN, &client->request, sizeof(client->request), span_str(text)))
        client_reply_error(client, "no worker can be asked");
    else {
        client->owed = 1ull << worker;
        wait_for(client, WAIT_EXPLAIN);
    }
    free(text);
}

static void do_reload(struct client *client)
{
    struct control *c = client->control;

    wait_for(client, c->reload_running ? WAIT_RELOAD_TURN : WAIT_RELOAD);
    if (c->reload_running)
        return;
    if (c->monitor >= 0 && ipc_send(c->monitor, IPC_RELOAD, NULL, 0))
        c->reload_running = true;
    else
        client_reply_error(client, "the monitor cannot be asked");
}

/* What is told when it is over is told to everybody who waits, so only one may. */
static void do_upgrade(struct client *client)
{
    struct control *c = client->control;

    wait_for(client, WAIT_UPGRADE);
    client->seconds_left = ANSWER_S + (c->current != NULL ? c->current->conf->timeouts.upgrade / 1000 : 0);
    if (c->upgrade_running)
        client_reply_error(client, "an upgrade is under way");
    else if (c->monitor >= 0 && ipc_send(c->monitor, IPC_UPGRADE, NULL, 0))
        c->upgrade_running = true;
    else
        client_reply_error(client, "the monitor cannot be asked");
}

static void tell_monitor(struct client *client, enum ipc_type type, const void *data, size_t len)
{
    if (client->control->monitor >= 0 && ipc_send(client->control->monitor, type, data, len))
        reply(client, json_pack("{s:b}", "ok", 1));
    else
        client_reply_error(client, "the monitor cannot be asked");
}

static void do_listing(struct client *client, const struct command *command)
{
    const struct view *v = &client->control->view;

    client->waiting = command->kind == COMMAND_WATCH ? WAIT_WATCH : WAIT_LISTING;
    listing_init(&client->listing, v, &command->filters);
    if (listing_fill(&client->listing, v, bufferevent_get_output(client->buffer)) && client->waiting == WAIT_LISTING)
        client->waiting = WAIT_NOTHING;
}

static void run(struct client *client, struct command *command)
{
    uint32_t level = command->level;

    switch (command->kind) {
    case COMMAND_REPLY:
        reply(client, json_incref(command->reply));
        client->closing = command->hang_up;
        break;
    case COMMAND_SESSIONS:
    case COMMAND_WATCH:
        do_listing(client, command);
        break;
    case COMMAND_KILL:
        do_kill(client, command);
        break;
    case COMMAND_EXPLAIN:
        do_explain(client, command->question);
        break;
    case COMMAND_ASK:
        do_ask(client, command->question);
        break;
    case COMMAND_RELOAD:
        do_reload(client);
        break;
    case COMMAND_UPGRADE:
        do_upgrade(client);
        break;
    case COMMAND_DRAIN:
        tell_monitor(client, IPC_DRAIN, NULL, 0);
        break;
    case COMMAND_LOG:
        tell_monitor(client, IPC_LOG_LEVEL, &level, sizeof(level));
        client->control->view.status.log_level = (uint8_t)level; /* who asks next need not wait for the monitor to say so */
        break;
    }
}

void client_request(struct client *client, struct span line)
{
    static struct command command;

    control_refresh(client->control);
    command_read(&command, &client->control->view, line);
    run(client, &command);
    command_fini(&command);
}

/* The client that waits for this answer. */
static struct client *find_waiting(struct control *c, enum waiting waiting, uint64_t request)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (c->clients[i] != NULL && c->clients[i]->waiting == waiting && c->clients[i]->request == request)
            return c->clients[i];
    return NULL;
}

void clients_on_killed(struct control *c, unsigned worker, const struct wire_killed *answer)
{
    struct client *client = find_waiting(c, WAIT_KILL, answer->request);

    if (client == NULL)
        return;
    client->killed += answer->killed;
    client->owed &= ~(1ull << worker);
    kill_finish(client);
    (void)client_serve(client);
}

/* What the filter process adds to a dry run may be missing; the answer then says so. */
static void reply_joined(struct client *client, const json_t *route)
{
    explain_join(client->explained, route);
    reply(client, json_incref(client->explained));
}

void clients_on_explained(struct control *c, uint64_t request, struct span answer)
{
    struct client *client = find_waiting(c, WAIT_EXPLAIN, request);
    json_t *question;

    if (client == NULL)
        return;
    client->explained = json_loadb(answer.at != NULL ? answer.at : "", answer.len, 0, NULL);
    question = explain_join_question(client->explained);
    if (question == NULL)
        reply(client, json_incref(client->explained));
    else if (ask_filter(client, question))
        wait_for(client, WAIT_ROUTE);
    else
        reply_joined(client, NULL);
    json_decref(question);
    (void)client_serve(client);
}

/* The whole answer of the filter process, once its last piece is there. */
static void on_filter_answer(struct client *client)
{
    size_t len = evbuffer_get_length(client->pieces);
    const char *text = (const char *)evbuffer_pullup(client->pieces, -1);
    json_t *answer = json_loadb(text != NULL ? text : "", len, 0, NULL);

    evbuffer_free(client->pieces);
    client->pieces = NULL;
    if (client->waiting == WAIT_ROUTE)
        reply_joined(client, answer);
    else if (client->waiting == WAIT_KILL) {
        client->killed += (uint64_t)json_integer_value(json_object_get(answer, "killed"));
        client->kill_warning = json_incref(json_object_get(answer, "warning"));
        client->owed_filter = false;
        kill_finish(client);
    } else
        reply(client, json_incref(answer));
    json_decref(answer);
    (void)client_serve(client);
}

void clients_on_answer(struct control *c, const struct wire_answer *head, struct span piece)
{
    static const enum waiting waits[] = { WAIT_FILTER, WAIT_ROUTE, WAIT_KILL };
    struct client *client = NULL;

    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]) && client == NULL; i++)
        client = find_waiting(c, waits[i], head->request);
    if (client == NULL)
        return;
    if (client->pieces == NULL && (client->pieces = evbuffer_new()) == NULL) {
        client_reply_error(client, "no memory");
        (void)client_serve(client);
        return;
    }
    (void)evbuffer_add(client->pieces, piece.at, piece.len);
    if (!head->more)
        on_filter_answer(client);
}

static void filter_gone(struct client *client)
{
    client->owed_filter = false;
    if (client->waiting == WAIT_ROUTE)
        reply_joined(client, NULL);
    else if (client->waiting == WAIT_KILL)
        kill_finish(client);
    else
        client_reply_error(client, "the filter process died");
    (void)client_serve(client);
}

void clients_on_filter_gone(struct control *c)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = c->clients[i];

        if (client != NULL && (client->waiting == WAIT_FILTER || client->waiting == WAIT_ROUTE ||
                               (client->waiting == WAIT_KILL && client->owed_filter)))
            filter_gone(client);
    }
}

/* A list of lines. */
static json_t *lines_of(struct span report)
{
    json_t *lines = json_array();

    while (report.len > 0) {
        const char *lf = memchr(report.at, '\n', report.len);
        size_t len = lf != NULL ? (size_t)(lf - report.at) : report.len;

        (void)json_array_append_new(lines, json_stringn(report.at, len));
        report = span_skip(report, len + 1);
    }
    return lines;
}

static json_t *reload_answer(const struct control *c, enum reload_end end, struct span report)
{
    bool good = end == RELOAD_DONE;
    json_t *answer = json_pack("{s:b}", "ok", good);

    if (!good)
        (void)json_object_set_new(answer, "error",
                                  json_string(end == RELOAD_REFUSED ? "the old configuration stays in force"
                                                                    : "the new configuration is in force, but not everywhere"));
    if (c->current != NULL)
        (void)json_object_set_new(answer, "generation", json_integer(c->current->number));
    (void)json_object_set_new(answer, good ? "warnings" : "errors", lines_of(report));
    return answer;
}

void clients_on_upgraded(struct control *c, int32_t pid, struct span why)
{
    c->upgrade_running = false;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = c->clients[i];

        if (client == NULL || client->waiting != WAIT_UPGRADE)
            continue;
        if (pid != 0)
            reply(client, json_pack("{s:b,s:I}", "ok", 1, "pid", (json_int_t)pid));
        else
            reply(client, json_pack("{s:b,s:s,s:o}", "ok", 0, "error", "the running posternd stays", "errors", lines_of(why)));
        (void)client_serve(client);
    }
}

void clients_on_reloaded(struct control *c, enum reload_end end, struct span report)
{
    c->reload_running = false;
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (c->clients[i] != NULL && c->clients[i]->waiting == WAIT_RELOAD) {
            reply(c->clients[i], reload_answer(c, end, report));
            (void)client_serve(c->clients[i]);
        }
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        if (c->clients[i] == NULL || c->clients[i]->waiting != WAIT_RELOAD_TURN)
            continue;
        if (!c->reload_running)
            do_reload(c->clients[i]);
        else
            wait_for(c->clients[i], WAIT_RELOAD);
    }
}

void clients_on_worker_gone(struct control *c, unsigned worker)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = c->clients[i];

        if (client == NULL || (client->waiting != WAIT_KILL && client->waiting != WAIT_EXPLAIN) ||
            (client->owed & (1ull << worker)) == 0)
            continue;
        client->owed &= ~(1ull << worker);
        if (client->waiting == WAIT_KILL)
            kill_finish(client);
        else
            client_reply_error(client, "the worker died");
        (void)client_serve(client);
    }
}
