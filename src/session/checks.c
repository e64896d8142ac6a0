/* SPDX-License-Identifier: ISC */
/*
 * Checks of upstreams: a connection, TLS on it if the upstream speaks it, and if a path is given a request of our own, whose
 * answer's status counts. The first worker alone makes them; what it finds out all see (base/health.h). If it dies, its replacement
 * goes on.
 *
 * What a server says to a check goes nowhere: its head is read with the same parser and limits as any answer, its body is never
 * read, and the connection is used for nothing else.
 */
#include "session/handshake.h"
#include "session/state.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE 16 /* that hold a descriptor */
#define LATER_MS 50
#define REQUEST_BYTES 2048

struct check {
    struct checks *all;
    const struct conf_listener *listener; /* in the generation of `all` */
    const struct conf_upstream *upstream;
    struct timer timer; /* the next one; while one is under way: its time is over */
    bool running, asked;
    struct resolver_query *query;
    struct dial *dial;
    struct stream stream;
    struct h1_scan scan;
};

struct checks {
    struct engine *engine;
    struct generation *generation;
    size_t count, running;
    struct check items[];
};

static void stop(struct check *c)
{
    if (!c->running)
        return;
    if (c->query != NULL)
        resolver_cancel(c->query);
    if (c->dial != NULL)
        dial_cancel(c->dial);
    c->query = NULL;
    c->dial = NULL;
    stream_close(&c->stream, true);
    c->running = false;
    c->all->running--;
}

/* The next one comes in its time. */
static void end(struct check *c)
{
    stop(c);
    timer_set(loop_wheel(c->all->engine->loop), &c->timer, clock_ms() + c->listener->health.interval);
}

static void finish(struct check *c, bool good)
{
    const struct conf_health *health = &c->listener->health;
    uint64_t key = health_key(c->listener->name, c->upstream->host, c->upstream->port, c->upstream->tls);
    struct health_slot *slot = health_find(c->all->engine->health, key, true);
    char text[UPSTREAM_TEXT];

    end(c);
    if (slot != NULL && health_checked(slot, good, health->rise, health->fall))
        log_warn("upstream %s of listener %s is %s", conf_upstream_text(c->upstream, text), c->listener->name,
                 good ? "up again" : "down: its check failed");
}

static bool is_good(const struct conf_health *health, unsigned status)
{
    return health->status != 0 ? status == health->status : status >= 200 && status < 400;
}

/* Of the head that lies in `bytes`; 0: it is none. */
static unsigned read_status(const struct check *c, struct span bytes)
{
    struct h1_head *head = &c->all->engine->answer_head;
    const struct conf_limits *l = &c->all->generation->conf->limits;
    const struct h1_asked asked = { 0 };
    struct h1_limits limits = { l->header_bytes, l->header_count, l->uri_bytes };

    return h1_parse(head, H1_RESPONSE, bytes, &limits, &asked) == R_NONE ? head->status : 0;
}

/* Behind an interim answer there is another one (RFC 9110 15.2), as long as there is time. */
static enum h1_progress read_final(struct check *c, struct span *input, unsigned *status)
{
    const struct conf_limits *l = &c->all->generation->conf->limits;
    struct h1_limits limits = { l->header_bytes, l->header_count, l->uri_bytes };
    enum h1_progress progress;
    uint32_t head_len = 0;
    enum reason why;

    while ((progress = h1_scan(&c->scan, H1_RESPONSE, &limits, *input, &head_len, &why)) == H1_DONE) {
        *status = read_status(c, span_of(input->at, head_len));
        if (*status < 100 || *status >= 200)
            break;
        *input = span_skip(*input, head_len);
        memset(&c->scan, 0, sizeof(c->scan));
    }
    return progress;
}

static void read_answer(struct check *c)
{
    struct span input = stream_input(&c->stream, true);
    unsigned status = 0;

    switch (read_final(c, &input, &status)) {
    case H1_DONE:
        finish(c, is_good(&c->listener->health, status));
        break;
    case H1_BAD:
        finish(c, false);
        break;
    case H1_MORE:
        if (!stream_taken(&c->stream, input, 0) || c->stream.eof || c->stream.failed)
            finish(c, false);
        break;
    }
}

/* Connected, and secured if it had to be. What speaks before it is asked is no server of ours. */
static void ask(struct check *c)
{
    char request[REQUEST_BYTES], host[UPSTREAM_TEXT];
    const char *name = conf_upstream_text(c->upstream, host) + (c->upstream->tls ? strlen("https://") : 0);
    int len;

    if (c->listener->health.path == NULL) {
        finish(c, true);
        return;
    }
    len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: postern\r\nConnection: close\r\n\r\n",
                   c->listener->health.path, name);
    c->asked = true;
    if (stream_look(&c->stream) != 0 || !stream_put(&c->stream, request, (size_t)len))
        finish(c, false);
    else
        stream_flush(&c->stream);
}

static void go_on(struct check *c)
{
    if (!c->asked && stream_is_securing(&c->stream)) {
        enum tls_progress progress = stream_handshake(&c->stream);

        stream_flush(&c->stream);
        if (progress == TLS_FAILED)
            finish(c, false);
        if (progress != TLS_DONE)
            return;
    }
    if (!c->asked)
        ask(c);
    if (!c->running)
        return;
    stream_flush(&c->stream);
    if (stream_has_input(&c->stream))
        read_answer(c);
}

static void on_ready(void *owner)
{
    struct check *c = owner;

    if (c->running)
        go_on(c);
}

/* The first policy that lets clients of this listener through says how its upstreams' certificates are verified. */
static int policy_of(const struct check *c)
{
    const struct conf *conf = c->all->generation->conf;

    for (size_t i = 0; i < conf->policy_count; i++) {
        const struct conf_strings *listeners = &conf->policies[i].listeners;

        if (conf->policies[i].action != ACTION_ALLOW)
            continue;
        for (size_t k = 0; k < listeners->count; k++)
            if (strcmp(listeners->items[k], c->listener->name) == 0)
                return (int)i;
        if (listeners->count == 0)
            return (int)i;
    }
    return -1;
}

static bool secure(struct check *c)
{
    int policy = policy_of(c);
    struct generation *g = c->all->generation;
    struct tls_context *context = policy >= 0 && g->secure != NULL ? secure_upstream(g->secure, policy) : NULL;
    const char *name = context != NULL ? g->conf->policies[policy].upstream_tls.server_name : NULL;
    struct tls_peer peer = { .name = span_str(name != NULL ? name : c->upstream->host) };

    if (context == NULL)
        return false;
    if (name == NULL && c->upstream->ip.family != 0)
        peer = (struct tls_peer){ .address = &c->upstream->ip };
    return stream_secure_client(&c->stream, context, &peer);
}

/* What we lack says nothing of the server. */
static bool is_ours(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM || error == EADDRNOTAVAIL;
}

static void on_dialled(void *arg, int fd, size_t index, int error)
{
    struct check *c = arg;

    (void)index;
    c->dial = NULL;
    if (fd < 0 && is_ours(error))
        end(c);
    else if (fd < 0 || !stream_open(&c->stream, c->all->engine->loop, fd, on_ready, c) || (c->upstream->tls && !secure(c)))
        finish(c, false);
    else
        go_on(c);
}

static void dial(struct check *c, const struct addr *addresses, size_t count)
{
    struct addr to[DIAL_ADDRESSES];

    count = count < DIAL_ADDRESSES ? count : DIAL_ADDRESSES;
    for (size_t i = 0; i < count; i++) {
        to[i] = addresses[i];
        to[i].port = c->upstream->port;
    }
    c->dial = count > 0 ? dial_start(c->all->engine->loop, &(struct dial_to){ to, count, NULL }, on_dialled, c) : NULL;
    if (c->dial == NULL && count > 0 && is_ours(errno))
        end(c);
    else if (c->dial == NULL)
        finish(c, false);
}

static void on_resolved(void *arg, enum resolver_result result, const struct addr *addresses, size_t count)
{
    struct check *c = arg;

    c->query = NULL;
    dial(c, addresses, result == RESOLVER_OK ? count : 0);
}

static void begin(struct check *c)
{
    struct engine *e = c->all->engine;
    struct judgement j = { .port = c->upstream->port };
    enum resolver_result result;
    const struct addr *addresses;
    size_t count;

    c->running = true;
    c->asked = false;
    c->all->running++;
    memset(&c->scan, 0, sizeof(c->scan));
    timer_set(loop_wheel(e->loop), &c->timer, clock_ms() + c->listener->health.timeout);
    if (c->upstream->ip.family != 0)
        dial(c, &c->upstream->ip, 1);
    else if (!host_parse(&j.dial, span_str(c->upstream->host)))
        finish(c, false);
    else if (connect_find_local(c->all->generation, &j))
        dial(c, j.addresses, j.address_count);
    else if (resolver_cached(e->resolver, host_span(&j.dial), &result, &addresses, &count))
        dial(c, addresses, result == RESOLVER_OK ? count : 0);
    else if ((c->query = resolver_ask(e->resolver, host_span(&j.dial), on_resolved, c)) == NULL)
        finish(c, false);
}

static void on_time(void *arg)
{
    struct check *c = arg;

    if (c->running)
        finish(c, false);
    else if (c->all->running >= AT_ONCE)
        timer_set(loop_wheel(c->all->engine->loop), &c->timer, clock_ms() + LATER_MS);
    else
        begin(c);
}

void checks_end(struct engine *e)
{
    struct checks *all = e->checks;

    e->checks = NULL;
    if (all == NULL)
        return;
    for (size_t i = 0; i < all->count; i++) {
        stop(&all->items[i]);
        timer_clear(loop_wheel(e->loop), &all->items[i].timer);
    }
    generation_unref(all->generation);
    free(all);
}

static void add(struct checks *all, const struct conf_listener *listener, const struct conf_upstream *upstream)
{
    struct check *c = &all->items[all->count++];

    *c = (struct check){ .all = all, .listener = listener, .upstream = upstream, .stream = { .fd = -1 } };
    timer_init(&c->timer, on_time, c);
    timer_set(loop_wheel(all->engine->loop), &c->timer, clock_ms() + 1);
}

void checks_renew(struct engine *e)
{
    const struct conf *conf = e->generation->conf;
    struct checks *all;
    size_t most = 0;

    checks_end(e);
    for (size_t i = 0; i < conf->listener_count; i++)
        most += conf->listeners[i].health.line != 0 ? conf->listeners[i].upstream_count : 0;
    all = most > 0 && !e->draining ? calloc(1, sizeof(*all) + most * sizeof(all->items[0])) : NULL;
    if (all == NULL)
        return;
    e->checks = all;
    all->engine = e;
    all->generation = generation_ref(e->generation);
    for (size_t i = 0; i < conf->listener_count; i++)
        for (size_t k = 0; conf->listeners[i].health.line != 0 && k < conf->listeners[i].upstream_count; k++)
            add(all, &conf->listeners[i], &conf->listeners[i].upstreams[k]);
}
