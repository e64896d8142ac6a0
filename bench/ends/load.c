/* SPDX-License-Identifier: ISC */
/* The load: options, the loop, and the interval that is measured; see load.h. */
#include "load.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS 512
#define READ_SIZE (512 * 1024)
#define READS_A_TURN 16
#define OPEN_NS 60000000000ull
#define CHECK_NS 20000000000ull
#define TURN_MS 20

struct interval {
    uint64_t began, all_ready, start, end;
    bool is_checking; /* idle: each connection has said its message */
};

static enum mode mode_of(const char *name)
{
    static const char *const names[] = { "http", "new", "bulk", "echo", "push", "send", "idle" };

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0)
            return (enum mode)i;
    errx(2, "no such mode: %s", name);
}

static unsigned number(const char *text)
{
    return (unsigned)strtoul(text, NULL, 10);
}

static void set_number(struct options *o, int option, const char *value)
{
    unsigned n = number(value);

    if (option == 'a')
        o->port = (int)n;
    else if (option == 'c')
        o->connections = n;
    else if (option == 'o')
        o->opened_at_once = n;
    else if (option == 'A')
        o->in_flight = n;
    else if (option == 'M')
        o->names = n;
    else if (option == 's')
        o->message = n;
    else if (option == 'S')
        o->sources = n;
    else if (option == 'V')
        o->tls_version = (int)n;
    else if (option == 'w')
        o->warm = atof(value);
    else
        o->seconds = atof(value);
}

static void set_text(struct options *o, int option, const char *value)
{
    if (option == 'm')
        o->mode = mode_of(value);
    else if (option == 'H')
        o->origin = value;
    else if (option == 'n')
        o->host = value;
    else if (option == 'p')
        o->path = value;
    else if (option == 'k')
        o->kind = value;
    else if (option == 'K')
        o->suite = value;
    else
        o->server_name = value;
}

static void set_flag(struct options *o, int option)
{
    if (option == 'F')
        o->is_absolute = true;
    else if (option == 'C')
        o->connects = true;
    else if (option == 'T')
        o->uses_tls = true;
    else
        o->resumes = true;
}

static struct options options_of(int argc, char **argv)
{
    struct options o = { .connections = 1,
                         .opened_at_once = 64,
                         .message = 64,
                         .origin = "127.0.0.1",
                         .path = "/r/100",
                         .kind = "ascii",
                         .server_name = "bench.test",
                         .tls_version = 13,
                         .warm = 0.5,
                         .seconds = 3 };
    int option;

    while ((option = getopt(argc, argv, "m:a:H:n:p:k:K:N:c:o:A:M:s:S:V:w:d:FCTR")) != -1) {
        if (strchr("acoAMsSVwd", option) != NULL)
            set_number(&o, option, optarg);
        else if (strchr("mHnpkKN", option) != NULL)
            set_text(&o, option, optarg);
        else if (strchr("FCTR", option) != NULL)
            set_flag(&o, option);
        else
            exit(2);
    }
    if (o.host == NULL)
        o.host = o.origin;
    return o;
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct load *l = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    SSL_SESSION_free(l->session);
    l->session = session;
    return 1;
}

static void set_up_tls(struct load *l)
{
    const struct options *o = &l->options;
    int version = o->tls_version == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

    l->tls = tls;
    SSL_CTX_set_app_data(tls, l);
    SSL_CTX_set_min_proto_version(tls, version);
    SSL_CTX_set_max_proto_version(tls, version);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set1_groups_list(tls, "X25519:P-256");
    if (o->suite != NULL &&
        (version == TLS1_2_VERSION ? SSL_CTX_set_cipher_list(tls, o->suite) : SSL_CTX_set_ciphersuites(tls, o->suite)) != 1)
        errx(2, "no such suite: %s", o->suite);
    if (o->resumes) {
        SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(tls, on_session);
    }
}

static void set_up(struct load *l)
{
    text_make(l);
    if (l->options.uses_tls)
        set_up_tls(l);
    l->poller = epoll_create1(0);
    l->latencies = calloc(SLOWEST_US, sizeof(*l->latencies));
    l->conns = calloc(l->options.connections, sizeof(*l->conns));
    if (l->latencies == NULL || l->conns == NULL)
        err(1, "calloc");
    for (unsigned i = 0; i < l->options.connections; i++)
        l->conns[i] = (struct conn){ .load = l, .index = i, .fd = -1, .frame = FRAME_INIT };
}

static void on_readable(struct conn *c)
{
    static char room[READ_SIZE];

    for (int i = 0; i < READS_A_TURN; i++) {
        ssize_t n = conn_read(c, room, sizeof(room));
        enum outcome outcome;

        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            if (!answer_on_end(c))
                conn_fail(c, "it ended");
            return;
        }
        outcome = answer_feed(c, room, (size_t)n);
        if (outcome == FAILED)
            conn_fail(c, "a wrong answer");
        if (outcome != GOES_ON || c->ssl == NULL)
            return;
    }
}

static void on_event(struct conn *c, uint32_t events)
{
    bool is_good = true;

    if (c->state == CONNECTING)
        is_good = conn_on_connected(c);
    else if (c->state == HANDSHAKE)
        is_good = conn_handshake(c);
    else if ((events & EPOLLOUT) != 0)
        is_good = conn_on_writable(c);
    if (!is_good)
        conn_fail(c, "it broke");
    else if ((events & ~(uint32_t)EPOLLOUT) != 0 && c->state != CONNECTING && c->state != HANDSHAKE)
        on_readable(c);
}

/* The bucket below which this share of all latencies lies. */
static double percentile(const struct load *l, double share)
{
    uint64_t all = 0, below = 0;
    unsigned us = 0;

    for (unsigned i = 0; i < SLOWEST_US; i++)
        all += l->latencies[i];
    while (all > 0 && us < SLOWEST_US - 1 && (double)(below += l->latencies[us]) < share * (double)all)
        us++;
    return us;
}

static void report_start(struct load *l, const struct interval *at)
{
    printf("READY {\"open_ms\": %.1f, \"warm_ops\": %lu}\n", (double)(at->all_ready - at->began) / 1e6, l->totals.done);
    fflush(stdout);
    l->totals = (struct totals){ .errors = l->totals.errors };
    l->measures = true;
}

static void report_end(const struct load *l, double seconds)
{
    const struct totals *t = &l->totals;
    char rest[16];

    printf("END {\"ops\": %lu, \"bytes\": %lu, \"secs\": %.6f, \"errors\": %lu, \"reconnects\": %lu, \"opened\": %lu, \"resumed\": "
           "%lu, "
           "\"p50_us\": %.0f, \"p99_us\": %.0f, \"p999_us\": %.0f, \"max_us\": %lu}\n",
           t->done, t->bytes, seconds, t->errors, t->reconnects, t->opened, t->resumed, percentile(l, 0.5), percentile(l, 0.99),
           percentile(l, 0.999), l->slowest_us);
    fflush(stdout);
    while (read(STDIN_FILENO, rest, sizeof(rest)) > 0)
        ; /* whoever reads this looks at the proxy's memory first */
}

static void open_more(struct load *l)
{
    while (l->opening < l->options.opened_at_once && l->next_to_open < l->options.connections) {
        l->opening++;
        conn_open(&l->conns[l->next_to_open++]);
    }
}

/* -A: from now on so many requests are in flight. */
static void begin_turns(struct load *l)
{
    for (unsigned i = 0; i < l->options.in_flight && i < l->options.connections; i++) {
        struct conn *c = &l->conns[l->next_in_turn];

        l->next_in_turn = (l->next_in_turn + 1) % l->options.connections;
        if (c->state == WAITING && !conn_ask(c))
            conn_fail(c, "send");
    }
}

/* idle: a line came, so every connection says something. */
static void check_all(struct load *l, struct interval *at)
{
    char line[16];

    if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
        exit(1);
    epoll_ctl(l->poller, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    at->is_checking = true;
    at->start = now_ns();
    at->end = at->start + CHECK_NS;
    for (unsigned i = 0; i < l->options.connections; i++)
        if (l->conns[i].state == STREAM && !conn_say(&l->conns[i]))
            conn_fail(&l->conns[i], "send");
}

/* All are open. */
static void on_all_ready(struct load *l, struct interval *at, uint64_t now)
{
    at->all_ready = now;
    if (l->options.mode == IDLE) {
        report_start(l, at);
        watch(l->poller, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, NULL);
        return;
    }
    at->start = now + (uint64_t)(l->options.warm * 1e9);
    at->end = at->start + (uint64_t)(l->options.seconds * 1e9);
    begin_turns(l);
}

/* What it is time for. False: it is over. */
static bool move_on(struct load *l, struct interval *at)
{
    uint64_t now = now_ns();

    if (at->all_ready == 0 && l->ready == l->options.connections)
        on_all_ready(l, at, now);
    if (at->all_ready == 0 && now - at->began > OPEN_NS)
        errx(1, "only %u of %u connections could be opened in 60 s", l->ready, l->options.connections);
    if (at->start > 0 && !l->measures && now >= at->start) {
        at->end += now - at->start;
        at->start = now;
        report_start(l, at);
    }
    if (at->end == 0 || (now < at->end && !(at->is_checking && l->totals.done == l->options.connections)))
        return true;
    report_end(l, (double)(now - at->start) / 1e9);
    return false;
}

int main(int argc, char **argv)
{
    static struct load load;
    struct interval at = { .began = now_ns() };
    struct epoll_event events[EVENTS];

    load.options = options_of(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    set_up(&load);
    do {
        open_more(&load);
        int count = epoll_wait(load.poller, events, EVENTS, TURN_MS);

        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr != NULL)
                on_event(events[i].data.ptr, events[i].events);
            else
                check_all(&load, &at);
        }
    } while (move_on(&load, &at));
    return 0;
}
