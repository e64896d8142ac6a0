/* SPDX-License-Identifier: ISC */
/*
 * What origin, load and relay share: sockets on loopback, an epoll set, memory or the end, and frames of RFC 6455. All that can
 * fail here ends the program, with a word on standard error: a measurement that cannot be set up is none.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the origin's answers are made of, and what it says after so many messages that it took. */
#define BODY_BYTE 'x'
#define SOURCE_BYTE 'z'
#define TAKEN "received"
#define TAKEN_EVERY 64

/* Monotonic, nanoseconds. */
uint64_t now_ns(void);

/* Like realloc(); the caller frees. */
void *grown(void *old, size_t size);

struct sockaddr_in loopback(int port);

/* A listening socket at 127.0.0.1:`port` that does not block. */
int listen_on(int port);

/* What is written leaves at once. */
void no_delay(int fd);

/* epoll_ctl() with `op`; `data` comes back with the events. */
void watch(int poller, int op, int fd, uint32_t events, void *data);

/* What a socket did not take. Starts zeroed; the memory is freed with the last byte, or by its owner. */
struct outgoing {
    char *bytes; /* NULL: none waits */
    size_t len, at;
};
void outgoing_add(struct outgoing *out, const char *bytes, size_t n);
/* `n` of those from `at` on left. */
void outgoing_left(struct outgoing *out, size_t n);

/* One frame after the other, as its bytes come. Starts as FRAME_INIT. */
#define FRAME_HEAD_MAX 14
struct frame {
    unsigned char head[FRAME_HEAD_MAX];
    unsigned have, need; /* bytes of the head; it is complete when they are equal */
    uint64_t left;       /* of the payload, once the head is complete */
    uint64_t at;         /* how much of the payload went by; whoever takes it adds to this and subtracts from `left` */
};
#define FRAME_INIT ((struct frame){ .need = 2 })

/* Takes bytes of a head that is not complete. Returns how many of `n`. */
size_t frame_head_feed(struct frame *f, const unsigned char *at, size_t n);

static inline bool frame_has_head(const struct frame *f)
{
    return f->have == f->need;
}

static inline bool frame_is_masked(const struct frame *f)
{
    return (f->head[1] & 0x80) != 0;
}

/* `n` bytes of payload go by, at most `left`; behind the last one the next frame begins. */
static inline void frame_pass(struct frame *f, size_t n)
{
    f->at += n;
    f->left -= n;
    if (f->left == 0) {
        f->have = 0;
        f->need = 2;
    }
}

/* Writes a masked payload's next `n` bytes in clear to `out`, which may be `in`. Does not pass them. */
void frame_unmask(const struct frame *f, const unsigned char *in, unsigned char *out, size_t n);

/* Writes a head without mask, `first` its first byte. Returns its length, at most 10. */
size_t frame_head_write(unsigned char *out, unsigned char first, uint64_t len);

/* Payloads are what their kind says: "binary" and "ascii" of seven-bit characters, in "utf8" every other character has three bytes.
 */
void payload_fill(char *out, size_t n, const char *kind);

/* The first byte of a whole message of that kind: text, unless it is "binary". */
unsigned char payload_first(const char *kind);

#endif
