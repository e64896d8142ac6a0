/* SPDX-License-Identifier: ISC */
/*
 * An end of a WebSocket that says what the input asks for: mostly valid frames, each of its message the next one, with deflate if
 * that was agreed; sometimes wrong ones.
 */
#ifndef POSTERN_FUZZ_WEBSOCKET_SPEAKER_H
#define POSTERN_FUZZ_WEBSOCKET_SPEAKER_H

#include "session_world.h"
#include "websocket_judge.h"

#include <sys/socket.h>
#include <unistd.h>

#define SAID_MAX (1u << 20)
#define LONG_FRAME 70000
#define OPEN_MAX 50000

/* Decisions; 0 when the input is used up. */
struct choices {
    const uint8_t *at;
    size_t len;
};

struct end {
    int fd; /* -1: it has reset */
    bool masks;
    bool lively;               /* answers pings of ours */
    bool paused, shut, unfair; /* unfair: it paused or went away, and may have missed something */
    bool over;                 /* the connection ended */
    bool said_close;
    uint8_t said[SAID_MAX], got[SAID_MAX];
    size_t said_len, sent_len, got_len, head_len, looked;
    unsigned open; /* opcode of the message under way */
    bool compressed, deflates, no_context;
    size_t open_len;
    z_stream zlib;
};

static unsigned choose(struct choices *c, unsigned count)
{
    unsigned value = c->len > 0 ? c->at[0] : 0;

    if (c->len > 0) {
        c->at++;
        c->len--;
    }
    return value % count;
}

static void queue(struct end *e, const void *bytes, size_t len)
{
    if (len > SAID_MAX - e->said_len)
        len = SAID_MAX - e->said_len;
    memcpy(e->said + e->said_len, bytes, len);
    e->said_len += len;
}

static void queue_frame(struct end *e, unsigned first, const uint8_t *payload, size_t len, bool masked)
{
    static uint8_t frame[LONG_FRAME * 2 + 14];
    static const uint8_t key[] = { 0x37, 0xfa, 0x21, 0x3d };
    size_t n = 0, form = len < 126 ? 0 : len < 65536 ? 2 : 8;

    frame[n++] = (uint8_t)first;
    frame[n++] = (uint8_t)((masked ? 0x80 : 0) | (form == 0 ? len : form == 2 ? 126 : 127));
    for (size_t i = form; i > 0; i--)
        frame[n++] = (uint8_t)((uint64_t)len >> (8 * (i - 1)));
    if (masked) {
        memcpy(frame + n, key, sizeof(key));
        n += sizeof(key);
    }
    for (size_t i = 0; i < len; i++)
        frame[n++] = payload[i] ^ (masked ? key[i & 3] : 0);
    queue(e, frame, n);
}

static size_t fill_payload(struct choices *c, uint8_t *out, size_t room)
{
    static const size_t sizes[] = { 0, 1, 2, 7, 64, 125, 126, 127, 1000, 5000, 65535, 65536 };
    static const char *const words[] = {
        "x", "hi", "{\"a\": [1, 2]}", "SSH-2.0-x\r\n", "\xc3\xa4", "\xf0\x9f\x98\x80", "GET / HTTP/1.1\r\n\r\n", "\x80\xff"
    };
    size_t pick = choose(c, 40), size = sizes[pick < 12 ? pick : pick % 8], word_len, len = 0;
    const char *word = words[choose(c, 30) % 15 % 8]; /* the last one, which is no UTF-8, is rare */

    word_len = strlen(word);
    size = size < room ? size : room;
    while (len + word_len <= size) {
        memcpy(out + len, word, word_len);
        len += word_len;
    }
    if (choose(c, 8) == 0)
        memcpy(out, word, len = word_len); /* itself, even if that is more */
    return len;
}

static size_t compress_part(struct end *e, uint8_t *payload, size_t len, bool fin)
{
    static uint8_t out[LONG_FRAME * 2];

    e->zlib.next_in = payload;
    e->zlib.avail_in = (uInt)len;
    e->zlib.next_out = out;
    e->zlib.avail_out = sizeof(out);
    REQUIRE(deflate(&e->zlib, fin ? Z_SYNC_FLUSH : Z_NO_FLUSH) != Z_STREAM_ERROR);
    len = sizeof(out) - e->zlib.avail_out;
    if (fin)
        len = len > 4 ? len - 4 : 0;
    memcpy(payload, out, len);
    if (fin && e->no_context)
        deflateReset(&e->zlib);
    return len;
}

/* The next frame of the message under way, or the first of a new one. */
static void say_data(struct end *e, struct choices *c)
{
    static uint8_t payload[LONG_FRAME * 2];
    bool fin = choose(c, 4) != 0, begins = e->open == 0;
    unsigned first = 0;
    size_t len;

    if (begins) {
        first = e->open = 1 + choose(c, 2);
        e->compressed = e->deflates && choose(c, 3) != 0;
        e->open_len = 0;
        first |= e->compressed ? 0x40 : 0;
    }
    len = fill_payload(c, payload, e->open_len > OPEN_MAX ? 100 : LONG_FRAME);
    e->open_len += len;
    if (e->compressed)
        len = compress_part(e, payload, len, fin);
    queue_frame(e, first | (fin ? 0x80 : 0), payload, len, e->masks);
    if (fin)
        e->open = 0;
}

static void say_control(struct end *e, struct choices *c)
{
    static const char *const words[] = { "", "x", "postern:00000000", "a longer word in a ping, which nobody has to know" };
    const char *word = words[choose(c, 4)];

    queue_frame(e, choose(c, 2) ? 0x89 : 0x8a, (const uint8_t *)word, strlen(word), e->masks);
}

static void say_close(struct end *e, struct choices *c)
{
    static const unsigned codes[] = { 1000, 1001, 1008, 3000, 4999, 1005, 1006, 999, 5000, 1004 };
    unsigned pick = choose(c, 24), code = codes[pick < 10 ? pick : pick % 5];
    uint8_t payload[125] = { (uint8_t)(code >> 8), (uint8_t)code, 'b', 'y', 'e' };
    static const size_t sizes[] = { 0, 2, 5, 1 };

    if (choose(c, 12) == 0)
        payload[4] = 0xff;
    queue_frame(e, 0x88, payload, sizes[choose(c, 10) % 4], e->masks);
    e->said_close = true;
}

static void say_wrong(struct end *e, struct choices *c)
{
    static uint8_t payload[200] = "hi";
    unsigned kind = choose(c, 8), byte = choose(c, 256);

    if (kind == 0)
        queue_frame(e, 0x81, payload, 2, !e->masks);
    else if (kind == 1)
        queue_frame(e, 0x80 | byte % 128, payload, 2, e->masks);
    else if (kind == 2)
        queue_frame(e, 0x89, payload, 126, e->masks);
    else if (kind == 3)
        queue_frame(e, 0x09, payload, 2, e->masks);
    else if (kind == 4)
        queue_frame(e, e->open ? 0x81 : 0x80, payload, 2, e->masks);
    else if (kind == 5)
        queue(e, e->masks ? "\x81\xfe\x00\x02\x00\x00\x00\x00hi" : "\x81\x7e\x00\x02hi", e->masks ? 10 : 6);
    else if (kind == 6)
        queue(e, e->masks ? "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00" : "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
              e->masks ? 14 : 10);
    else
        for (unsigned i = 0; i < byte % 16; i++)
            payload[0] = (uint8_t)choose(c, 256), queue(e, payload, 1);
}

/* Sends what waits: all of it, or a few bytes, so that frames come in pieces. */
static void flush(struct end *e, size_t most)
{
    size_t waits = e->said_len - e->sent_len;
    ssize_t n;

    if (e->fd < 0 || e->shut || waits == 0)
        return;
    n = send(e->fd, e->said + e->sent_len, waits < most ? waits : most, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        e->sent_len += (size_t)n;
}

/* Answers the pings of ours that came. */
static void answer_pings(struct end *e)
{
    size_t n, payload = 0;
    struct bytes got = { e->got, e->got_len };
    bool whole;

    while (e->head_len > 0 && e->looked < got.len && (n = frame_span(&got, e->looked, &payload, &whole)) > 0 && whole) {
        if (e->lively && is_our_ping(e->got + e->looked, payload, n)) {
            uint8_t said[PING_BYTES];

            for (size_t i = 0; i < PING_BYTES; i++)
                said[i] = plain_byte(e->got + e->looked, payload, i);
            queue_frame(e, 0x8a, said, PING_BYTES, e->masks);
        }
        e->looked += n;
    }
}

static void hear(struct end *e)
{
    ssize_t n = 1;

    while (e->fd >= 0 && !e->paused && !e->over && e->got_len < SAID_MAX &&
           (n = recv(e->fd, e->got + e->got_len, SAID_MAX - e->got_len, MSG_DONTWAIT)) > 0)
        e->got_len += (size_t)n;
    if (e->fd < 0 || e->paused || e->over)
        return;
    e->over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (e->got_len == SAID_MAX)
        e->unfair = true;
    answer_pings(e);
}

static void reset_end(struct end *e)
{
    if (e->fd < 0)
        return;
    world_reset(e->fd);
    e->fd = -1;
    e->unfair = true;
}

static void end_init(struct end *e, int fd, bool masks)
{
    memset(e, 0, offsetof(struct end, said));
    e->fd = fd;
    e->masks = masks;
    e->said_len = e->sent_len = e->got_len = e->head_len = e->looked = 0;
    e->open = 0;
    e->compressed = e->deflates = false;
}

#endif
