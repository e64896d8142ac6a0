/* SPDX-License-Identifier: ISC */
/* One connection of the load: from a socket over CONNECT, TLS and the handshake of a WebSocket to where its work begins; see
 * load.h. */
#include "load.h"

#include <err.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOURCES_FROM 0x7f000101 /* 127.0.1.1 */
#define NAME_DIGITS 5

static void wait_out(struct conn *c, bool waits)
{
    if (c->waits_out != waits)
        watch(c->load->poller, EPOLL_CTL_MOD, c->fd, EPOLLIN | (waits ? EPOLLOUT : 0), c);
    c->waits_out = waits;
}

/* What SSL_read() and SSL_write() returned, as read() and write() say it. */
static ssize_t tls_result(struct conn *c, int n)
{
    int error = n > 0 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, n);

    if (n > 0 || error == SSL_ERROR_ZERO_RETURN)
        return n > 0 ? n : 0;
    ERR_clear_error();
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    return -1;
}

ssize_t conn_read(struct conn *c, char *at, size_t n)
{
    return c->ssl == NULL ? read(c->fd, at, n) : tls_result(c, SSL_read(c->ssl, at, (int)n));
}

static ssize_t conn_write(struct conn *c, const char *at, size_t n)
{
    return c->ssl == NULL ? write(c->fd, at, n) : tls_result(c, SSL_write(c->ssl, at, (int)n));
}

void conn_close(struct conn *c)
{
    if (c->ssl != NULL) {
        if (c->state != HANDSHAKE) /* else the session is not kept for another connection */
            SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(c->ssl);
    }
    close(c->fd);
    free(c->out.bytes);
    free(c->head);
    *c = (struct conn){ .load = c->load, .index = c->index, .was_ready = c->was_ready, .fd = -1, .frame = FRAME_INIT };
}

void conn_fail(struct conn *c, const char *why)
{
    struct totals *totals = &c->load->totals;

    if (++totals->errors <= 3)
        warn("connection %u, state %d: %s", c->index, c->state, why);
    if (totals->errors > ERRORS_MAX)
        errx(1, "too many errors");
    conn_close(c);
    conn_open(c);
}

bool conn_send(struct conn *c, const char *at, size_t n)
{
    ssize_t sent = c->out.bytes == NULL ? conn_write(c, at, n) : 0;

    if (sent < 0 && errno != EAGAIN)
        return false;
    n -= sent < 0 ? 0 : (size_t)sent;
    at += sent < 0 ? 0 : sent;
    if (n > 0) {
        outgoing_add(&c->out, at, n);
        wait_out(c, true);
    }
    return true;
}

/* Messages one behind the other, as many as go; the rest when there is room again. */
static bool send_messages(struct conn *c)
{
    const struct load *l = c->load;
    ssize_t n = 0;

    for (int i = 0; i < 8 && n >= 0; i++) {
        n = conn_write(c, l->message + c->sent_at, l->message_len - c->sent_at);
        c->sent_at = (c->sent_at + (n < 0 ? 0 : (size_t)n)) % l->message_len;
    }
    wait_out(c, true);
    return n >= 0 || errno == EAGAIN;
}

static void turn_name(struct load *l)
{
    for (unsigned i = 0; i < l->name_places; i++) {
        unsigned rest = l->next_name;

        for (int digit = NAME_DIGITS - 1; digit >= 0; digit--, rest /= 10)
            l->request[l->names_at[i] + (size_t)digit] = (char)('0' + rest % 10);
    }
    l->next_name = (l->next_name + 1) % l->options.names;
}

bool conn_ask(struct conn *c)
{
    struct load *l = c->load;

    if (l->options.mode != NEW) /* which began with its connection */
        c->began = now_ns();
    c->state = HEAD;
    if (l->options.names > 0)
        turn_name(l);
    return conn_send(c, l->request, l->request_len);
}

bool conn_say(struct conn *c)
{
    c->began = now_ns();
    return conn_send(c, c->load->message, c->load->message_len);
}

static bool begin_work(struct conn *c)
{
    switch (c->load->options.mode) {
    case HTTP:
        return c->load->options.in_flight > 0 && !c->asks_at_once ? true : conn_ask(c);
    case NEW:
        return conn_ask(c);
    case BULK:
        return c->load->options.path[0] == '\0' ? true : conn_ask(c);
    case ECHO:
        return conn_say(c);
    case SEND:
        return send_messages(c);
    case PUSH:
    case IDLE:
        break;
    }
    return true;
}

bool conn_ready(struct conn *c)
{
    struct load *l = c->load;

    if (!c->was_ready) {
        c->was_ready = true;
        l->ready++;
        l->opening--;
    }
    l->totals.opened++;
    if (c->ssl != NULL && SSL_session_reused(c->ssl))
        l->totals.resumed++;
    c->state = l->options.mode == HTTP || l->options.mode == NEW ? WAITING : STREAM;
    return begin_work(c);
}

/* Clear or over TLS, the way to the origin is open. */
static bool on_way(struct conn *c)
{
    struct load *l = c->load;

    if (l->options.mode < ECHO)
        return conn_ready(c);
    c->state = WEBSOCKET_HEAD;
    return conn_send(c, l->request, l->request_len);
}

bool conn_handshake(struct conn *c)
{
    int done = SSL_do_handshake(c->ssl), error = done == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, done);

    if (done == 1) {
        wait_out(c, false);
        return on_way(c);
    }
    wait_out(c, error == SSL_ERROR_WANT_WRITE);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return true;
    ERR_print_errors_fp(stderr);
    return false;
}

/* With a copy: OpenSSL lets a session of TLS 1.3 be used once, and several connections may begin before the next ticket comes. */
static void resume(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION *copy = SSL_SESSION_dup(session);

    SSL_set_session(ssl, copy);
    SSL_SESSION_free(copy);
}

bool conn_connected(struct conn *c)
{
    const struct load *l = c->load;

    if (!l->options.uses_tls)
        return on_way(c);
    c->state = HANDSHAKE;
    c->ssl = SSL_new(l->tls);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_connect_state(c->ssl);
    SSL_set_tlsext_host_name(c->ssl, l->options.server_name);
    if (l->options.resumes && l->session != NULL)
        resume(c->ssl, l->session);
    return conn_handshake(c);
}

static bool on_tcp(struct conn *c)
{
    const struct load *l = c->load;

    if (!l->options.connects)
        return conn_connected(c);
    c->state = CONNECT_HEAD;
    return conn_send(c, l->connect_text, l->connect_len);
}

bool conn_on_connected(struct conn *c)
{
    int error = 0;
    socklen_t len = sizeof(error);

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    errno = error;
    if (error != 0)
        return false;
    wait_out(c, false);
    return on_tcp(c);
}

bool conn_on_writable(struct conn *c)
{
    ssize_t n;

    if (c->out.bytes == NULL) {
        if (c->state == STREAM && c->load->options.mode == SEND)
            return send_messages(c);
        wait_out(c, false);
        return true;
    }
    n = conn_write(c, c->out.bytes + c->out.at, c->out.len - c->out.at);
    if (n < 0)
        return errno == EAGAIN;
    outgoing_left(&c->out, (size_t)n);
    if (c->out.bytes == NULL)
        wait_out(c, false);
    return true;
}

/* Several source addresses, each with ports of its own, for many connections one after the other. */
static void choose_source(const struct conn *c)
{
    unsigned sources = c->load->options.sources;
    struct sockaddr_in source = { .sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(SOURCES_FROM + c->index % (sources > 0 ? sources : 1)) };
    int on = 1;

    if (sources < 2)
        return;
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(c->fd, (struct sockaddr *)&source, sizeof(source)) != 0)
        err(1, "bind");
}

void conn_open(struct conn *c)
{
    struct sockaddr_in proxy = loopback(c->load->options.port);
    bool is_good = true;
    int done;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        err(1, "socket");
    no_delay(c->fd);
    choose_source(c);
    c->state = CONNECTING;
    c->began = now_ns();
    done = connect(c->fd, (struct sockaddr *)&proxy, sizeof(proxy));
    is_good = done == 0 || errno == EINPROGRESS;
    watch(c->load->poller, EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
    if (done == 0)
        is_good = on_tcp(c);
    else if (is_good)
        wait_out(c, true);
    if (!is_good)
        conn_fail(c, "connect");
}
