/* SPDX-License-Identifier: ISC */
/*
 * The admin listener: a GET for /metrics or /healthz and nothing else, one request a connection. The request is read by the parser
 * that reads everybody's requests, with smaller limits; the answer is written and the connection is closed. All of it has LIFE_S:
 * a byte now and then would hold one of the few places for ever.
 */
#include "app/control.h"

#include "app/metrics.h"
#include "proto/h1.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 8192
#define READ_S 5
#define WRITE_S 10
#define LIFE_S 15

static const struct h1_limits limits = { HEAD_BYTES, 64, 1024 };

struct admin {
    struct control *control;
    struct admin *next, **link; /* in the list of all */
    struct bufferevent *buffer;
    struct h1_scan scan;
    bool answered;
    unsigned ticks; /* a second each */
};

static void admin_free(struct admin *a)
{
    a->control->admin_clients--;
    *a->link = a->next;
    if (a->next != NULL)
        a->next->link = a->link;
    bufferevent_free(a->buffer);
    free(a);
}

void admin_tick(struct control *c)
{
    for (struct admin *a = c->admins, *next; a != NULL; a = next) {
        next = a->next;
        if (++a->ticks > LIFE_S)
            admin_free(a);
    }
}

static void answer(struct admin *a, const char *status, const char *type, const char *more, struct span body)
{
    struct evbuffer *out = bufferevent_get_output(a->buffer);

    a->answered = true;
    (void)evbuffer_add_printf(out,
                              "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n%sConnection: "
                              "close\r\n\r\n",
                              status, type, body.len, more);
    (void)evbuffer_add(out, body.at, body.len);
}

static void answer_text(struct admin *a, const char *status, const char *more, const char *text)
{
    answer(a, status, "text/plain; charset=utf-8", more, span_str(text));
}

static void answer_metrics(struct admin *a)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);

    if (file != NULL) {
        metrics_write(&a->control->view, file);
        fclose(file);
    }
    if (text != NULL)
        answer(a, "200 OK", "text/plain; version=0.0.4; charset=utf-8", "", span_of(text, len));
    else
        answer_text(a, "503 Service Unavailable", "", "no memory\n");
    free(text);
}

/* Who asked just before another posternd took over is not told that nobody serves. */
static void answer_health(struct admin *a)
{
    if (view_healthy(&a->control->view) || a->control->handed_over)
        answer_text(a, "200 OK", "", "ok\n");
    else
        answer_text(a, "503 Service Unavailable", "", a->control->view.status.draining ? "draining\n" : "a worker is down\n");
}

static void answer_request(struct admin *a, struct span head_bytes)
{
    static struct h1_head head;
    struct span path;
    const char *query;

    if (h1_parse(&head, H1_REQUEST, head_bytes, &limits, NULL) != R_NONE) {
        answer_text(a, "400 Bad Request", "", "bad request\n");
        return;
    }
    query = head.target.len > 0 ? memchr(head.target.at, '?', head.target.len) : NULL;
    path = query != NULL ? span_of(head.target.at, (size_t)(query - head.target.at)) : head.target;
    if (!head.is_get)
        answer_text(a, "405 Method Not Allowed", "Allow: GET\r\n", "only GET\n");
    else if (span_eq(path, SPAN("/metrics")))
        answer_metrics(a);
    else if (span_eq(path, SPAN("/healthz")))
        answer_health(a);
    else
        answer_text(a, "404 Not Found", "", "there is /metrics and /healthz\n");
}

static void on_read(struct bufferevent *buffer, void *arg)
{
    struct admin *a = arg;
    struct evbuffer *in = bufferevent_get_input(buffer);
    struct span bytes = span_of((const char *)evbuffer_pullup(in, -1), evbuffer_get_length(in));
    enum reason why = R_NONE;
    uint32_t head_len = 0;

    if (bytes.at == NULL && bytes.len > 0) {
        admin_free(a);
        return;
    }
    if (!a->answered && bytes.len > 0)
        switch (h1_scan(&a->scan, H1_REQUEST, &limits, bytes, &head_len, &why)) {
        case H1_MORE:
            return;
        case H1_BAD:
            answer_text(a, "400 Bad Request", "", "bad request\n");
            break;
        case H1_DONE:
            answer_request(a, span_of(bytes.at, head_len));
            break;
        }
    (void)evbuffer_drain(in, SIZE_MAX);
}

/* Everything is written; the client closes when it has read it, or the time for reading ends it. */
static void on_written(struct bufferevent *buffer, void *arg)
{
    struct admin *a = arg;

    if (a->answered)
        (void)shutdown(bufferevent_getfd(buffer), SHUT_WR);
}

static void on_event(struct bufferevent *buffer, short what, void *arg)
{
    (void)buffer;
    (void)what;
    admin_free(arg);
}

static void on_accept(int listener, short what, void *arg)
{
    static const struct timeval read_time = { READ_S, 0 }, write_time = { WRITE_S, 0 };
    struct control *c = arg;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct admin *a = fd >= 0 && c->admin_clients < CLIENTS_MAX ? calloc(1, sizeof(*a)) : NULL;

    (void)what;
    if (fd < 0)
        return;
    if (a != NULL)
        a->buffer = bufferevent_socket_new(c->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (a == NULL || a->buffer == NULL) {
        free(a);
        close(fd);
        return;
    }
    a->control = c;
    a->next = c->admins;
    a->link = &c->admins;
    if (a->next != NULL)
        a->next->link = &a->next;
    c->admins = a;
    c->admin_clients++;
    bufferevent_setcb(a->buffer, on_read, on_written, on_event, a);
    if (bufferevent_set_timeouts(a->buffer, &read_time, &write_time) != 0 || bufferevent_enable(a->buffer, EV_READ | EV_WRITE) != 0)
        admin_free(a);
}

bool admin_open(struct control *c)
{
    if (c->args->admin_socket < 0)
        return true;
    c->admin_event = event_new(c->base, c->args->admin_socket, EV_READ | EV_PERSIST, on_accept, c);
    return c->admin_event != NULL && event_add(c->admin_event, NULL) == 0;
}

void admin_retire(struct control *c)
{
    c->handed_over = true;
    if (c->admin_event != NULL)
        event_free(c->admin_event);
    c->admin_event = NULL;
    if (c->args->admin_socket >= 0)
        close(c->args->admin_socket);
}

void admin_close(struct control *c)
{
    while (c->admins != NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): admin_free() takes the first out of the list */
        admin_free(c->admins);
    if (c->admin_event != NULL)
        event_free(c->admin_event);
}
