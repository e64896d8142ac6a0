/* SPDX-License-Identifier: ISC */
/*
 * The load: so many connections to a proxy, each of which does the same again and again, and looks at every answer.
 *
 *   load -m MODE -a PORT -H ORIGIN [options]
 *
 *   http    requests on kept connections          new    one request a connection, "Connection: close"
 *   bulk    reads without end                     echo   a message there and back, again
 *   push    counts what the server sends          send   sends messages, counts what the server says it took
 *   idle    opens all, and says one message on each when a line comes on standard input
 *
 *   -c N    connections                           -o N   opened at the same time
 *   -A N    http: N requests in flight, in turn over all connections
 *   -M N    Host is hNNNNN.ORIGIN, N names in turn
 *   -F      absolute-form                         -C     CONNECT first
 *   -p PATH                                       -n NAME  Host, if not ORIGIN
 *   -s N    bytes of a message                    -k KIND  of its payload, see common.h
 *   -S N    source addresses 127.0.1.x            -w S -d S  warm-up, measured time
 *   -T      TLS    -V 12|13    -K SUITE    -R   resumed    -N NAME  of the server
 *
 * When the measured interval begins it says "READY {json}", when it is over "END {json}", and keeps its connections until standard
 * input ends. A wrong answer is an error; after ERRORS_MAX of them the load gives up.
 *
 * load.c holds options, the loop and the interval; load_conn.c one connection up to where its work begins; load_answer.c what
 * comes.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "common.h"

#include <openssl/ssl.h>

#define ERRORS_MAX 100
#define SLOWEST_US 2000000 /* latencies are counted in buckets of one microsecond */

enum mode { HTTP, NEW, BULK, ECHO, PUSH, SEND, IDLE };
enum state { CLOSED, CONNECTING, CONNECT_HEAD, HANDSHAKE, WEBSOCKET_HEAD, WAITING, HEAD, BODY, STREAM };
enum outcome { GOES_ON, REPLACED, FAILED };

struct options {
    enum mode mode;
    bool is_absolute, connects, uses_tls, resumes;
    unsigned connections, opened_at_once, in_flight, sources, names;
    size_t message;
    const char *origin, *host, *path, *kind, *suite, *server_name;
    int port, tls_version;
    double warm, seconds;
};

struct totals {
    uint64_t done, warm_done, bytes, errors, reconnects, opened, resumed;
};

struct conn {
    struct load *load;
    int fd;
    unsigned index;
    enum state state;
    bool waits_out, was_ready, ends_after, asks_at_once;
    SSL *ssl;
    char *head; /* of an answer, as far as it has come */
    size_t head_len;
    struct outgoing out;
    size_t sent_at;     /* send: in the message */
    int64_t left;       /* of a body; -1: it ends with the connection */
    struct frame frame; /* that comes */
    uint64_t began;
};

struct load {
    struct options options;
    struct totals totals;
    struct conn *conns;
    unsigned ready, opening, next_to_open, next_in_turn;
    int poller;
    bool measures;
    SSL_CTX *tls;
    SSL_SESSION *session;
    char connect_text[512], request[4096];
    size_t connect_len, request_len;
    size_t names_at[2]; /* where in the request the digits of a name are */
    unsigned name_places, next_name;
    char *message; /* what a WebSocket's client says */
    size_t message_len;
    char *expected; /* and the payload of what it hears */
    size_t expected_len;
    unsigned char expected_first;
    uint32_t *latencies;
    uint64_t slowest_us;
};

/* load_conn.c: from a socket to where the work begins. */

/* Opens a connection that is CLOSED. */
void conn_open(struct conn *c);
void conn_close(struct conn *c);

/* Counts an error and opens another connection instead. Ends the program after too many. */
void conn_fail(struct conn *c, const char *why);

/* read(2) and write(2), through TLS where there is TLS. */
ssize_t conn_read(struct conn *c, char *at, size_t n);

/* Sends all of it, now or when there is room. False: the connection is broken. */
bool conn_send(struct conn *c, const char *at, size_t n);

/* The head that CONNECT or the handshake of a WebSocket waited for has come. False: it failed. */
bool conn_connected(struct conn *c);
bool conn_ready(struct conn *c);

/* Begins the next request, or message. */
bool conn_ask(struct conn *c);
bool conn_say(struct conn *c);

/* There is room again, or TLS goes on. False: the connection is broken. */
bool conn_on_writable(struct conn *c);
bool conn_on_connected(struct conn *c);
bool conn_handshake(struct conn *c);

/* load_answer.c: takes all of `n` bytes that came. */
enum outcome answer_feed(struct conn *c, const char *at, size_t n);

/* The connection ended where it may: the end of a body without a length, or between two requests. False: it may not. */
bool answer_on_end(struct conn *c);

/* load_text.c: what is sent and what is expected, made once from the options. */
void text_make(struct load *l);

#endif
