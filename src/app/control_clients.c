/* SPDX-License-Identifier: ISC */
/*
 * Connections to the control socket. A client sends one request in a line and gets one answer in a line; then the next. Everything
 * about a client is bounded: how many there are, the length of a request, how long it may be silent, how slowly it may read, and
 * how long it waits for others.
 */
#include "app/control_client.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_S 60 /* a client that says nothing */
#define SLOW_S 10 /* a client that does not read */

static void client_free(struct client *client)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (client->control->clients[i] == client)
            client->control->clients[i] = NULL;
    client_forget(client);
    bufferevent_free(client->buffer);
    free(client);
}

/* Answers what has come in. false: the client is gone. Who asks ahead of answers is not read for a while; libevent's own mark for
 * that (bufferevent_setwatermark) does not survive a failed allocation. */
bool client_serve(struct client *client)
{
    struct evbuffer *in = bufferevent_get_input(client->buffer);
    size_t len;
    char *line;

    while (!client->closing && client->waiting == WAIT_NOTHING && (line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF)) != NULL) {
        client_request(client, span_of(line, len));
        free(line);
    }
    if (!client->closing && client->waiting == WAIT_NOTHING && evbuffer_search_eol(in, NULL, NULL, EVBUFFER_EOL_LF).pos >= 0)
        client->closing = true; /* no memory for the line */
    if (client->waiting == WAIT_NOTHING && !client->closing && evbuffer_get_length(in) > CONTROL_LINE) {
        client_reply_error(client, "the request is longer than 64 KiB");
        client->closing = true;
    }
    if (client->closing && evbuffer_get_length(bufferevent_get_output(client->buffer)) == 0) {
        client_free(client);
        return false;
    }
    if (evbuffer_get_length(in) > CONTROL_LINE)
        (void)bufferevent_disable(client->buffer, EV_READ);
    else
        (void)bufferevent_enable(client->buffer, EV_READ);
    return true;
}

static void on_read(struct bufferevent *buffer, void *arg)
{
    struct client *client = arg;

    if (client->closing || client->waiting == WAIT_WATCH)
        (void)evbuffer_drain(bufferevent_get_input(buffer), SIZE_MAX);
    (void)client_serve(client);
}

/* Everything is written: go on with a long answer, or with the next request. */
static void on_written(struct bufferevent *buffer, void *arg)
{
    struct client *client = arg;
    bool listing = client->waiting == WAIT_LISTING || (client->waiting == WAIT_WATCH && client->listing.open);

    if (listing && listing_fill(&client->listing, &client->control->view, bufferevent_get_output(buffer)) &&
        client->waiting == WAIT_LISTING)
        client->waiting = WAIT_NOTHING;
    (void)client_serve(client);
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
    if (bufferevent_set_timeouts(client->buffer, &idle, &slow) == 0 && bufferevent_enable(client->buffer, EV_READ | EV_WRITE) == 0)
        return client;
    (void)bufferevent_setfd(client->buffer, -1); /* it is the caller's still */
    bufferevent_free(client->buffer);
    free(client);
    return NULL;
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
    client_reply_error(client, "no answer in time");
    (void)client_serve(client);
}

void clients_tick(struct control *c)
{
    control_refresh(c);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (c->clients[i] != NULL)
            tick_client(c->clients[i]);
}
