/* SPDX-License-Identifier: ISC */
/*
 * What comes to the load: heads, bodies, frames. Every byte of an answer is looked at, but of a stream without end only one in
 * STREAM_STEP, lest the load be what is measured.
 */
#include "load.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <err.h>

#define HEAD_SIZE_MAX 16384
#define STREAM_STEP 512
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static bool is_filled(const char *at, size_t n, char byte)
{
    static char same[65536];
    size_t len;

    if (same[0] != byte)
        memset(same, byte, sizeof(same));
    for (; n > 0; at += len, n -= len) {
        len = n < sizeof(same) ? n : sizeof(same);
        if (memcmp(at, same, len) != 0)
            return false;
    }
    return true;
}

static void count_latency(struct conn *c)
{
    struct load *l = c->load;
    uint64_t us = (now_ns() - c->began) / 1000;

    if (!l->measures)
        return;
    l->latencies[us < SLOWEST_US ? us : SLOWEST_US - 1]++;
    l->slowest_us = us > l->slowest_us ? us : l->slowest_us;
}

/* With -A the next connection that waits is asked, and this one waits. */
static bool ask_in_turn(struct conn *c)
{
    struct load *l = c->load;
    struct conn *next = c;

    for (unsigned i = 0; i < l->options.connections; i++) {
        next = &l->conns[l->next_in_turn];
        l->next_in_turn = (l->next_in_turn + 1) % l->options.connections;
        if (next->state == WAITING)
            break;
    }
    if (next == c)
        return conn_ask(c);
    if (!conn_ask(next))
        conn_fail(next, "send");
    return true;
}

static enum outcome on_answer(struct conn *c)
{
    struct load *l = c->load;
    bool is_new = l->options.mode == NEW;

    l->totals.done++;
    count_latency(c);
    c->state = WAITING;
    if (is_new || c->ends_after) {
        l->totals.reconnects += is_new ? 0 : 1;
        conn_close(c);
        c->asks_at_once = true;
        conn_open(c);
        return REPLACED;
    }
    return (l->options.in_flight > 0 ? ask_in_turn(c) : conn_ask(c)) ? GOES_ON : FAILED;
}

/* A field's value in a head that ends with an empty line. */
static const char *value_of(const char *head, size_t n, const char *name)
{
    const char *end = head + n, *line = head;
    size_t len = strlen(name);

    while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL && ++line + len < end)
        if (strncasecmp(line, name, len) == 0)
            return line + len + strspn(line + len, " ");
    return NULL;
}

static enum outcome on_http_head(struct conn *c, const char *head, size_t n)
{
    bool is_new = c->load->options.mode == NEW;
    const char *value = value_of(head, n, "content-length:");

    c->left = value != NULL ? atoll(value) : -1;
    value = value_of(head, n, "connection:");
    c->ends_after = is_new || c->left < 0 || (value != NULL && strncasecmp(value, "close", 5) == 0);
    c->state = c->load->options.mode == BULK ? STREAM : BODY;
    return c->left == 0 ? on_answer(c) : GOES_ON;
}

static enum outcome on_head(struct conn *c, const char *head, size_t n)
{
    int status = n > 12 ? atoi(head + strlen("HTTP/1.1 ")) : 0;
    const char *accept = value_of(head, n, "sec-websocket-accept:");
    enum state state = c->state;
    int wanted = state == WEBSOCKET_HEAD ? 101 : 200;

    if (status != wanted || (state == WEBSOCKET_HEAD && (accept == NULL || strncmp(accept, ACCEPT, strlen(ACCEPT)) != 0))) {
        warnx("%.*s", (int)strcspn(head, "\r"), head);
        return FAILED;
    }
    if (state == CONNECT_HEAD)
        return conn_connected(c) ? GOES_ON : FAILED;
    if (state == WEBSOCKET_HEAD)
        return conn_ready(c) ? GOES_ON : FAILED;
    return on_http_head(c, head, n);
}

static enum outcome take_head(struct conn *c, const char *at, size_t n, size_t *used)
{
    const char *end = c->head_len == 0 ? memmem(at, n, "\r\n\r\n", 4) : NULL;
    size_t before = c->head_len, len;

    if (end != NULL) {
        *used = (size_t)(end + 4 - at);
        return on_head(c, at, *used);
    }
    *used = n;
    if (before + n > HEAD_SIZE_MAX)
        return FAILED;
    c->head = grown(c->head, before + n);
    memcpy(c->head + before, at, n);
    c->head_len = before + n;
    end = memmem(c->head, c->head_len, "\r\n\r\n", 4);
    if (end == NULL)
        return GOES_ON;
    len = (size_t)(end + 4 - c->head);
    *used = len - before;
    c->head_len = 0;
    return on_head(c, c->head, len);
}

static enum outcome take_body(struct conn *c, const char *at, size_t n, size_t *used)
{
    size_t take = c->left >= 0 && (uint64_t)c->left < n ? (size_t)c->left : n;

    *used = take;
    c->load->totals.bytes += take;
    if (!is_filled(at, take, BODY_BYTE))
        return FAILED;
    c->left -= c->left >= 0 ? (int64_t)take : 0;
    return c->left == 0 ? on_answer(c) : GOES_ON;
}

static enum outcome take_stream(struct conn *c, const char *at, size_t n)
{
    char byte = c->load->options.path[0] == '\0' ? SOURCE_BYTE : BODY_BYTE;

    for (size_t i = 0; i < n; i += STREAM_STEP)
        if (at[i] != byte)
            return FAILED;
    c->load->totals.bytes += n;
    return GOES_ON;
}

static enum outcome on_message(struct conn *c)
{
    struct load *l = c->load;

    l->totals.done += l->options.mode == SEND ? TAKEN_EVERY : 1;
    if (l->options.mode == ECHO || l->options.mode == IDLE)
        count_latency(c);
    return l->options.mode != ECHO || conn_say(c) ? GOES_ON : FAILED;
}

static enum outcome take_frames(struct conn *c, const char *at, size_t n, size_t *used)
{
    struct load *l = c->load;
    struct frame *f = &c->frame;
    bool is_last;
    size_t take;

    if (!frame_has_head(f)) {
        *used = frame_head_feed(f, (const unsigned char *)at, n);
        if (!frame_has_head(f))
            return GOES_ON;
        return f->head[0] == l->expected_first && !frame_is_masked(f) && f->left == l->expected_len ? GOES_ON : FAILED;
    }
    take = n < f->left ? n : (size_t)f->left;
    *used = take;
    if (memcmp(at, l->expected + f->at, take) != 0)
        return FAILED;
    l->totals.bytes += l->options.mode == SEND ? 0 : take;
    is_last = take == f->left;
    frame_pass(f, take);
    return is_last ? on_message(c) : GOES_ON;
}

static enum outcome take(struct conn *c, const char *at, size_t n, size_t *used)
{
    switch (c->state) {
    case CONNECT_HEAD:
    case WEBSOCKET_HEAD:
    case HEAD:
        return take_head(c, at, n, used);
    case BODY:
        return take_body(c, at, n, used);
    case STREAM:
        *used = n;
        return c->load->options.mode == BULK ? take_stream(c, at, n) : take_frames(c, at, n, used);
    case CLOSED:
    case CONNECTING:
    case HANDSHAKE:
    case WAITING:
        break;
    }
    return FAILED; /* nobody asked for this */
}

enum outcome answer_feed(struct conn *c, const char *at, size_t n)
{
    enum outcome outcome = GOES_ON;

    for (size_t used; n > 0 && outcome == GOES_ON; at += used, n -= used)
        outcome = take(c, at, n, &used);
    return outcome;
}

bool answer_on_end(struct conn *c)
{
    bool was_asked = c->state == HEAD && c->head_len == 0;

    if (c->state == BODY && c->left < 0)
        return on_answer(c) != FAILED;
    if (c->load->options.mode != HTTP || (c->state != WAITING && !was_asked))
        return false;
    c->load->totals.reconnects++;
    conn_close(c);
    c->asks_at_once = was_asked;
    conn_open(c);
    return true;
}
