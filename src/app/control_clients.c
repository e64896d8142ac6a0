/* SPDX-License-Identifier: ISC */
/*
 * Connections to the control socket. A client sends one request in a line and gets one answer in a line; then the next. Some answers have
 * to wait for a worker or the monitor, some are long; everything about a client is bounded: how many there are, the length of a
 * request, how long it may be silent, how slowly it may read, and how long it waits for others.
 */
#include "app/control.h"

#include "app/command.h"
#include "app/listing.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IDLE_S 60       /* a client that says nothing */
#define SLOW_S 10       /* a client that does not read */
#define ANSWER_S 30     /* a worker or the monitor that does not answer */
#define KILL_MAX 8192   /* sessions that one request ends */

enum waiting { WAIT_NOTHING, WAIT_LISTING, WAIT_WATCH, WAIT_RELOAD_TURN, WAIT_RELOAD, WAIT_KILL, WAIT_EXPLAIN };

struct client {
    struct control *control;
    struct bufferevent *buffer;
    enum waiting waiting;
    bool closing;           /* freed when everything is written */
    unsigned seconds_left;  /* of waiting for others */
    unsigned seconds_idle;  /* since its last request */
    uint64_t request;       /* what a worker's answer has to name */
    uint64_t owed;          /* a bit for each worker that has not answered */
    uint64_t killed;
    bool more;              /* there were more than KILL_MAX */
    struct listing listing;
};

static bool serve(struct client *client);

static void client_free(struct client *client)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (client->control->clients[i] == client)
            client->control->clients[i] = NULL;
    bufferevent_free(client->buffer);
    free(client);
}

/* Takes over `answer`. */
static void reply(struct client *client, json_t *answer)
{
    char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
    struct evbuffer *out = bufferevent_get_output(client->buffer);

    client->waiting = WAIT_NOTHING;
    client->seconds_idle = 0;
    (void)evbuffer_add_printf(out, "%s\n", text != NULL ? text : "{\"error\":\"no memory\"}");
    free(text);
    json_decref(answer);
}

static void reply_error(struct client *client, const char *error)
{
    reply(client, json_pack("{s:s}", "error", error));
}

static void wait_for(struct client *client, enum waiting waiting)
{
    client->waiting = waiting;
    client->seconds_left = ANSWER_S;
}

static void refresh(struct control *c)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    c->view.now_us = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
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
    struct row row;

    for (uint32_t i = 0; i < view_rows_high(v, worker); i++) {
        if (!row_read(v->shards[worker], i, &row) || !filters_fit(filters, &row, v->shards[worker]))
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

    if (client->owed != 0)
        return;
    answer = json_pack("{s:I}", "killed", (json_int_t)client->killed);
    if (client->more)
        (void)json_object_set_new(answer, "more", json_true());
    reply(client, answer);
}

static void do_kill(struct client *client, const struct command *command)
{
    static struct killing k;
    size_t room = KILL_MAX;

    client->request = ++client->control->next_request;
    client->owed = client->killed = 0;
    client->more = false;
    k.words[0] = client->request;
    wait_for(client, WAIT_KILL);
    for (unsigned w = 0; w < client->control->view.workers; w++) {
        k.count = 0;
        if (!command->by_id)
            room -= kill_collect(client, w, &command->filters, &k, room);
        else if (command->id.worker == w)
            k.words[1 + k.count++] = command->id.number;
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
        reply_error(client, "no worker can be asked");
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
        reply_error(client, "the monitor cannot be asked");
}

static void tell_monitor(struct client *client, enum ipc_type type, const void *data, size_t len)
{
    if (client->control->monitor >= 0 && ipc_send(client->control->monitor, type, data, len))
        reply(client, json_pack("{s:b}", "ok", 1));
    else
        reply_error(client, "the monitor cannot be asked");
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
    case COMMAND_RELOAD:
        do_reload(client);
        break;
    case COMMAND_DRAIN:
        tell_monitor(client, IPC_DRAIN, NULL, 0);
        break;
    case COMMAND_LOG:
        tell_monitor(client, IPC_LOG_LEVEL, &level, sizeof(level));
        break;
    }
}

static void run_line(struct client *client, struct span line)
{
    static struct command command;

    refresh(client->control);
    command_read(&command, &client->control->view, line);
    run(client, &command);
    command_fini(&command);
}

/* Answers what has come in. false: the client is gone. */
static bool serve(struct client *client)
{
    struct evbuffer *in = bufferevent_get_input(client->buffer);
    size_t len;
    char *line;

    while (!client->closing && client->waiting == WAIT_NOTHING && (line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF)) != NULL) {
        run_line(client, span_of(line, len));
        free(line);
    }
    if (client->waiting == WAIT_NOTHING && !client->closing && evbuffer_get_length(in) > CONTROL_LINE) {
        reply_error(client, "the request is longer than 64 KiB");
        client->closing = true;
    }
    if (client->closing && evbuffer_get_length(bufferevent_get_output(client->buffer)) == 0) {
        client_free(client);
        return false;
    }
    return true;
}

static void on_read(struct bufferevent *buffer, void *arg)
{
    struct client *client = arg;

    if (client->closing || client->waiting == WAIT_WATCH)
        (void)evbuffer_drain(bufferevent_get_input(buffer), SIZE_MAX);
    (void)serve(client);
}

/* Everything is written: go on with a long answer, or with the next request. */
static void on_written(struct bufferevent *buffer, void *arg)
{
    struct client *client = arg;
    bool listing = client->waiting == WAIT_LISTING || (client->waiting == WAIT_WATCH && client->listing.open);

    if (listing && listing_fill(&client->listing, &client->control->view, bufferevent_get_output(buffer)) &&
        client->waiting == WAIT_LISTING)
        client->waiting = WAIT_NOTHING;
    (void)serve(client);
}

/* The end, an error, or a time that ran out; a silent client that waits for us is no silent client. */
static void on_event(struct bufferevent *buffer, short what, void *arg)
{
    struct client *client = arg;

    if ((what & BEV_EVENT_TIMEOUT) != 0 && (what & BEV_EVENT_READING) != 0 && client->waiting != WAIT_NOTHING &&
        bufferevent_enable(buffer, EV_READ) == 0)
        return;
    client_free(client);
}

static bool is_allowed(const struct control *c, int fd)
{
    struct ucred who;
    socklen_t len = sizeof(who);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && (who.uid == 0 || who.uid == c->args->owner);
}

static struct client *client_new(struct control *c, int fd)
{
    static const struct timeval idle = { IDLE_S, 0 }, slow = { SLOW_S, 0 };
    struct client *client = calloc(1, sizeof(*client));

    if (client == NULL)
        return NULL;
    client->control = c;
    client->buffer = bufferevent_socket_new(c->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (client->buffer == NULL) {
        free(client);
        return NULL;
    }
    bufferevent_setcb(client->buffer, on_read, on_written, on_event, client);
    bufferevent_setwatermark(client->buffer, EV_READ, 0, CONTROL_LINE + 1);
    (void)bufferevent_set_timeouts(client->buffer, &idle, &slow);
    (void)bufferevent_enable(client->buffer, EV_READ | EV_WRITE);
    return client;
}

/* A place for a new client. When all are taken the one that has been idle longest gives way: who only connects locks nobody out. */
static struct client **find_place(struct control *c)
{
    struct client **longest = NULL;

    for (struct client **p = c->clients; p < c->clients + CLIENTS_MAX; p++) {
        if (*p == NULL)
            return p;
        if ((*p)->waiting == WAIT_NOTHING && (longest == NULL || (*p)->seconds_idle > (*longest)->seconds_idle))
            longest = p;
    }
    if (longest != NULL)
        client_free(*longest);
    return longest;
}

static void on_accept(int listener, short what, void *arg)
{
    static const char full[] = "{\"error\":\"too many connections\"}\n";
    struct control *c = arg;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client **place;

    (void)what;
    if (fd < 0)
        return;
    if (!is_allowed(c, fd))
        log_remote("a connection to the control socket from another user was refused");
    else if ((place = find_place(c)) == NULL)
        (void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL);
    else if ((*place = client_new(c, fd)) != NULL)
        return;
    close(fd);
}

bool clients_open(struct control *c)
{
    c->accept_event = event_new(c->base, c->args->control_socket, EV_READ | EV_PERSIST, on_accept, c);
    return c->accept_event != NULL && event_add(c->accept_event, NULL) == 0;
}

void clients_close(struct control *c)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (c->clients[i] != NULL)
            client_free(c->clients[i]);
    event_free(c->accept_event);
}

static void tick_client(struct client *client)
{
    const struct view *v = &client->control->view;
    struct evbuffer *out = bufferevent_get_output(client->buffer);

    if (client->waiting == WAIT_WATCH) {
        if (client->listing.open || evbuffer_get_length(out) > 0)
            return;
        listing_next(&client->listing, v);
        (void)listing_fill(&client->listing, v, out);
        return;
    }
    if (client->waiting == WAIT_NOTHING)
        client->seconds_idle++;
    if (client->waiting < WAIT_RELOAD_TURN || --client->seconds_left > 0)
        return;
    reply_error(client, "no answer in time");
    (void)serve(client);
}

void clients_tick(struct control *c)
{
    refresh(c);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (c->clients[i] != NULL)
            tick_client(c->clients[i]);
}

/* The client that waits for this answer of this worker. */
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
    (void)serve(client);
}

void clients_on_explained(struct control *c, uint64_t request, struct span answer)
{
    struct client *client = find_waiting(c, WAIT_EXPLAIN, request);

    if (client == NULL)
        return;
    reply(client, json_loadb(answer.at != NULL ? answer.at : "", answer.len, 0, NULL));
    (void)serve(client);
}

static json_t *reload_answer(const struct control *c, bool good, struct span report)
{
    json_t *lines = json_array(), *answer = json_pack("{s:b}", "ok", good);

    while (report.len > 0) {
        const char *end = memchr(report.at, '\n', report.len);
        size_t len = end != NULL ? (size_t)(end - report.at) : report.len;

        (void)json_array_append_new(lines, json_stringn(report.at, len));
        report = span_skip(report, len + 1);
    }
    if (!good)
        (void)json_object_set_new(answer, "error", json_string("the old configuration stays in force"));
    if (c->current != NULL)
        (void)json_object_set_new(answer, "generation", json_integer(c->current->number));
    (void)json_object_set_new(answer, good ? "warnings" : "errors", lines);
    return answer;
}

void clients_on_reloaded(struct control *c, bool good, struct span report)
{
    c->reload_running = false;
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (c->clients[i] != NULL && c->clients[i]->waiting == WAIT_RELOAD) {
            reply(c->clients[i], reload_answer(c, good, report));
            (void)serve(c->clients[i]);
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

        if (client == NULL || (client->waiting != WAIT_KILL && client->waiting != WAIT_EXPLAIN) || (client->owed & (1ull << worker)) == 0)
            continue;
        client->owed &= ~(1ull << worker);
        if (client->waiting == WAIT_KILL)
            kill_finish(client);
        else
            reply_error(client, "the worker died");
        (void)serve(client);
    }
}
