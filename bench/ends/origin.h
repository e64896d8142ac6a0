/* SPDX-License-Identifier: ISC */
/*
 * The origin behind all proxies: one thread, one epoll set.
 *
 *   GET /r/N              200 with N bytes; the connection is kept unless the request says "Connection: close"
 *   GET /stream/N         200 with N bytes, written as fast as they are read, the first byte before the last is made
 *   /ws/echo              WebSocket: each message comes back
 *   /ws/push/N/KIND       WebSocket: messages of N bytes without end
 *   /ws/take/N/KIND       WebSocket: takes messages of N bytes, looks at each byte of them, and says TAKEN after TAKEN_EVERY
 *
 * KIND as payload_fill() has it. A second port gives bytes without end to whoever connects (`SOURCE_BYTE`).
 */
#ifndef BENCH_ORIGIN_H
#define BENCH_ORIGIN_H

#include "common.h"

/* Is an origin's connection: what it does with what comes, and what it has to send. */
enum role { LISTENS_HTTP, LISTENS_SOURCE, SPEAKS_HTTP, ECHOES, PUSHES, TAKES, POURS };

struct conn {
    int fd;
    enum role role;
    uint32_t events;
    bool is_ending; /* closes when all is sent */
    char *in;       /* the beginning of a request that is not complete */
    size_t in_len;
    struct outgoing out;
    const char *endless; /* sent over and over once `out` is empty */
    size_t endless_len, endless_at;
    uint64_t endless_left; /* how much of that */
    struct frame frame;    /* that comes */
    const char *expected;  /* TAKES: each payload */
    uint64_t expected_len, taken;
};

/* What is to be sent to the connection that is being read; all of it leaves in one write. */
void answer_add(const void *at, size_t n);

/* Room for `n` bytes of an answer, to be written by the caller at once. */
char *answer_room(size_t n);

/* Takes a complete request from `at`. Returns its length, 0 when it is not complete. Ends the connection when it is none. */
size_t http_feed(struct conn *c, const char *at, size_t n);

/* Agrees to a WebSocket: `path` begins behind "/ws/", `key` is Sec-WebSocket-Key's value. */
void websocket_open(struct conn *c, const char *path, const char *key, size_t key_len);

/* Takes bytes of frames, all of them. Ends the connection at what is not expected. */
void websocket_feed(struct conn *c, const unsigned char *at, size_t n);

#endif
