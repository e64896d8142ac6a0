/* SPDX-License-Identifier: ISC */
/*
 * The two ends that session_wire.c plays, and what must hold of the bytes that come to them: a server reads strict requests and
 * frames, a client no mark that it may not see.
 */
#ifndef POSTERN_FUZZ_SESSION_ENDS_H
#define POSTERN_FUZZ_SESSION_ENDS_H

#include "require.h"

#include "session_script.h"
#include "session_world.h"

#include "session/engine.h"
#include "session/session.h"
#include "session/websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS 4 /* the third is one of the reverse listener, the fourth is intercepted */
#define ORIGINS 16
#define MARKS 256
#define BUFFER 65536
#define ANYBODY 0xff

struct end {
    int fd; /* -1: none */
    bool paused, ended;
    char tail[MARK_BYTES]; /* of what a client got, for marks that come in two reads */
    size_t tail_len;
};

enum reading { READ_HEAD, READ_BODY, READ_NOTHING, READ_FRAMES, READ_ANYTHING };

struct origin {
    struct end end;
    enum reading reading;
    struct h1_scan scan;
    struct h1_body body;
    struct ws_reader frames;
    unsigned heads, answers;
    bool is_wild, is_head;
    uint8_t owner; /* bits of clients: of the last request */
    size_t len;
    char bytes[BUFFER];
};

static struct harness {
    struct loop *loop;
    struct engine *engine;
    struct generation *generations[2]; /* the second one allows no WebSocket and no TLS */
    unsigned generation;
    struct shard *shard;
    struct ring ring;
    void *ring_memory;
    uint64_t now;
    struct end clients[CLIENTS];
    struct origin origins[ORIGINS];
    unsigned origin_count;
    bool draining;
    unsigned marks;
    unsigned opened;        /* connections */
    uint8_t allowed[MARKS]; /* bits of clients that may see a mark */
} h;

static const struct h1_limits origin_limits = { .header_bytes = 32768, .header_count = 200, .uri_bytes = 16384 };

static uint64_t mark_value(unsigned number)
{
    uint64_t v = (number + 1) * 0x9e3779b97f4a7c15u; /* so that no input can hold one by chance */

    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
    return v ^ (v >> 27);
}

/* A mark that stands at `at` must be allowed to this client. */
static void check_mark(const char *at, unsigned client)
{
    char text[MARK_BYTES + 1];

    for (unsigned i = 0; i < h.marks; i++) {
        snprintf(text, sizeof(text), "~%016llx~", (unsigned long long)mark_value(i));
        if (memcmp(at, text, MARK_BYTES) == 0)
            REQUIRE(h.allowed[i] >> client & 1);
    }
}

static void check_received(unsigned client, const char *bytes, size_t len)
{
    struct end *c = &h.clients[client];
    static char joined[BUFFER + MARK_BYTES];

    memcpy(joined, c->tail, c->tail_len);
    memcpy(joined + c->tail_len, bytes, len);
    len += c->tail_len;
    for (size_t i = 0; i + MARK_BYTES <= len; i++)
        if (joined[i] == '~')
            check_mark(joined + i, client);
    c->tail_len = len < MARK_BYTES - 1 ? len : MARK_BYTES - 1;
    memcpy(c->tail, joined + len - c->tail_len, c->tail_len);
}

static void reset_end(struct end *e)
{
    if (e->fd < 0)
        return;
    world_reset(e->fd);
    e->fd = -1;
}

static ssize_t receive(struct end *e, char *out, size_t size)
{
    return e->fd < 0 || e->paused || size == 0 ? -1 : recv(e->fd, out, size, MSG_DONTWAIT);
}

static void read_client(unsigned client)
{
    static char bytes[BUFFER];
    ssize_t n;

    while ((n = receive(&h.clients[client], bytes, sizeof(bytes))) > 0)
        check_received(client, bytes, (size_t)n);
}

static uint8_t owner_of(const struct h1_head *head)
{
    for (size_t i = 0; i < head->field_count; i++)
        if (span_eq(head->fields[i].name, SPAN("X-Owner")) && head->fields[i].value.len == 1)
            return (uint8_t)(1u << (head->fields[i].value.at[0] & 3));
    return ANYBODY;
}

static bool read_head(struct origin *o)
{
    static struct h1_head head;
    uint32_t len = 0;
    enum reason why = R_NONE;
    enum h1_progress progress = h1_scan(&o->scan, H1_REQUEST, &origin_limits, span_of(o->bytes, o->len), &len, &why);

    REQUIRE(progress != H1_BAD);
    if (progress == H1_MORE)
        return false;
    REQUIRE(h1_parse(&head, H1_REQUEST, span_of(o->bytes, len), &origin_limits, NULL) == R_NONE);
    REQUIRE(head.minor == 1 && h1_count(&head, H1_HOST) == 1 && !head.is_connect && head.target.at[0] != 'h');
    REQUIRE(h1_find(&head, H1_PROXY_CONNECTION) == NULL && h1_find(&head, H1_VIA) != NULL);
    o->heads++;
    REQUIRE(o->is_wild || o->heads <= o->answers + 1); /* one exchange at a time */
    o->owner = owner_of(&head);
    o->is_head = head.is_head;
    memset(&o->scan, 0, sizeof(o->scan));
    h1_body_init(&o->body, head.framing, head.length, 0);
    o->reading = head.upgrade_websocket ? READ_NOTHING : READ_BODY;
    memmove(o->bytes, o->bytes + len, o->len -= len);
    return true;
}

static bool read_body(struct origin *o)
{
    struct span rest = span_of(o->bytes, o->len), data, trailers;
    enum h1_body_result result;
    enum reason why;

    while ((result = h1_body_next(&o->body, &rest, &data, &trailers, &why)) == H1_BODY_DATA)
        ;
    REQUIRE(result != H1_BODY_BAD);
    memmove(o->bytes, rest.at, rest.len);
    o->len = rest.len;
    if (result == H1_BODY_MORE)
        return false;
    o->reading = READ_HEAD;
    return true;
}

static bool read_frames(struct origin *o)
{
    enum reason why = R_NONE;
    size_t used = ws_feed(&o->frames, span_of(o->bytes, o->len), &why);

    REQUIRE(why == R_NONE);
    memmove(o->bytes, o->bytes + used, o->len -= used);
    return false;
}

/* What lies in the buffer, one message or piece after the other; false: more is needed. */
static bool parse_origin(struct origin *o)
{
    if (o->reading == READ_HEAD && o->heads == 0 && o->len > 0 && o->bytes[0] == 0x16)
        o->reading = READ_ANYTHING; /* TLS, which passes unread */
    switch (o->reading) {
    case READ_HEAD:
        return o->len > 0 && read_head(o);
    case READ_BODY:
        return read_body(o);
    case READ_NOTHING:
        REQUIRE(o->len == 0);
        return false;
    case READ_FRAMES:
        return read_frames(o);
    case READ_ANYTHING:
        break;
    }
    o->len = 0;
    return false;
}

static void read_origin(struct origin *o)
{
    ssize_t n;

    while ((n = receive(&o->end, o->bytes + o->len, BUFFER - o->len)) > 0) {
        o->len += (size_t)n;
        while (parse_origin(o))
            ;
    }
}

#endif
