/* SPDX-License-Identifier: ISC */
/*
 * Is what an end of a WebSocket received what it may receive? Judged when all of it is there, frame by frame, by the strict reader
 * of the unit tests and by zlib: nothing of src/proto. Two questions: is it valid RFC 6455 and RFC 7692, and is each frame the next
 * one that the other end sent, or one that a proxy may send of its own?
 */
#ifndef POSTERN_FUZZ_WEBSOCKET_JUDGE_H
#define POSTERN_FUZZ_WEBSOCKET_JUDGE_H

#include "require.h"

#include "../unit/proto_strict_frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define MESSAGE_MAX (1u << 17)
#define PING_OF_OURS "postern:"
#define PING_BYTES 16

struct bytes {
    const uint8_t *at;
    size_t len;
};

/* What was agreed for one direction, and what the policies allow to happen to what was sent. */
struct judge_rules {
    bool masked; /* the receiver is a server */
    bool deflate, no_context;
    int window_bits;
    bool reads_compressed; /* a policy inflates, so what is inside must be valid, too */
    bool may_drop;
    bool may_hold; /* control frames overtake the message that they stood in */
};

struct judge {
    struct judge_rules rules;
    struct strict strict;
    z_stream zlib;
    bool inflates;
    size_t message_len;
    uint8_t message[MESSAGE_MAX + 4], plain[MESSAGE_MAX];
    bool closed, inside; /* it ends with a close frame; in a frame */
};

/* Length of the frame that begins here, as far as it is there; 0: not even its header is. *payload: where it begins. */
static size_t frame_span(const struct bytes *in, size_t at, size_t *payload, bool *whole)
{
    const uint8_t *p = in->at + at;
    size_t there = in->len - at, form = there < 2 ? 0 : p[1] & 127, more = form == 127 ? 8 : form == 126 ? 2 : 0;
    size_t head = 2 + more + (there >= 2 && p[1] & 0x80 ? 4 : 0);
    uint64_t len = more > 0 ? 0 : form;

    *whole = false;
    if (there < head)
        return 0;
    for (size_t i = 0; i < more; i++)
        len = len << 8 | p[2 + i];
    *payload = head;
    *whole = len <= there - head;
    return *whole ? head + (size_t)len : there;
}

static uint8_t plain_byte(const uint8_t *frame, size_t payload, size_t i)
{
    return frame[payload + i] ^ (frame[1] & 0x80 ? frame[payload - 4 + (i & 3)] : 0);
}

/* "postern:" and eight hex digits. */
static bool is_our_ping(const uint8_t *frame, size_t payload, size_t len)
{
    static const char word[] = PING_OF_OURS;

    if (frame[0] != 0x89 || len - payload != PING_BYTES)
        return false;
    for (size_t i = 0; i < PING_BYTES; i++) {
        uint8_t c = plain_byte(frame, payload, i);

        if (i < sizeof(word) - 1 ? c != (uint8_t)word[i] : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

/* With one of the codes that are ours to send, and a word why. */
static bool is_our_close(const uint8_t *frame, size_t payload, size_t len)
{
    static const unsigned codes[] = { 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013 };
    unsigned code;

    if (frame[0] != 0x88 || len - payload < 3)
        return false;
    code = plain_byte(frame, payload, 0) * 256u + plain_byte(frame, payload, 1);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i] == code)
            return true;
    return false;
}

/* The whole of a compressed message is there. */
static void judge_compressed(struct judge *j)
{
    static const uint8_t tail[] = { 0, 0, 0xff, 0xff };
    int result;

    memcpy(j->message + j->message_len, tail, sizeof(tail));
    j->zlib.next_in = j->message;
    j->zlib.avail_in = (uInt)(j->message_len + sizeof(tail));
    j->zlib.next_out = j->plain;
    j->zlib.avail_out = sizeof(j->plain);
    result = inflate(&j->zlib, Z_SYNC_FLUSH);
    if (result == Z_STREAM_END || j->zlib.avail_out == 0) { /* a final block; too long for us */
        j->inflates = false;
        return;
    }
    REQUIRE((result == Z_OK || result == Z_BUF_ERROR) && j->zlib.avail_in == 0);
    REQUIRE(j->strict.open != 1 || strict_utf8(j->plain, sizeof(j->plain) - j->zlib.avail_out, true));
    if (j->rules.no_context)
        REQUIRE(inflateReset(&j->zlib) == Z_OK);
}

static void collect(struct judge *j, const uint8_t *frame, size_t payload, size_t len)
{
    bool begins = (frame[0] & 15) != 0;

    if ((frame[0] & 15) >= 8 || !j->strict.compressed || !j->inflates)
        return;
    if (begins)
        j->message_len = 0;
    if (j->message_len + (len - payload) > MESSAGE_MAX) {
        j->inflates = false;
        return;
    }
    for (size_t i = 0; i < len - payload; i++)
        j->message[j->message_len++] = plain_byte(frame, payload, i);
    if (!(frame[0] & 0x80))
        return;
    if (begins)
        j->strict.open = frame[0] & 15;
    judge_compressed(j);
    j->strict.open = 0;
}

/* The next frame of `sent` that is this one: *at goes behind it. False: there is none. */
static bool find_sent(const struct judge *j, const struct bytes *sent, size_t *at, const uint8_t *frame, size_t len)
{
    size_t n, payload = 0, i = *at;
    bool whole;

    for (; i < sent->len && (n = frame_span(sent, i, &payload, &whole)) > 0; i += n) {
        bool pong = (sent->at[i] & 15) == 10 && n - payload == PING_BYTES; /* the answer to a ping of ours goes no further */

        if (n >= len && memcmp(sent->at + i, frame, len) == 0) {
            *at = i + n;
            return true;
        }
        if (j->rules.may_hold && (sent->at[i] & 8) != (frame[0] & 8))
            continue;
        if (!pong && !j->rules.may_drop)
            return false;
    }
    return false;
}

static void judge_frame(struct judge *j, const struct bytes *got, size_t at, const struct bytes *sent, size_t sent_at[2])
{
    size_t payload = 0, len, *next = &sent_at[j->rules.may_hold && (got->at[at] & 8)];
    unsigned open = j->strict.open;
    bool whole, cut = false, ours;

    len = frame_span(got, at, &payload, &whole);
    REQUIRE(strict_frame(&j->strict, got->at + at, got->len - at, &cut) == len && !cut); /* a header is never passed on in part */
    ours = whole && (is_our_ping(got->at + at, payload, len) || is_our_close(got->at + at, payload, len));
    REQUIRE(find_sent(j, sent, next, got->at + at, len) || ours);
    if (whole) {
        unsigned now = j->strict.open;

        j->strict.open = open;
        collect(j, got->at + at, payload, len);
        j->strict.open = now;
    }
    j->inside = !whole;
}

/* All that an end got behind the handshake, and all that the other end sent. */
static void judge_stream(struct judge *j, const struct judge_rules *rules, struct bytes got, struct bytes sent)
{
    size_t sent_at[2] = { 0, 0 }, payload = 0, n; /* of data frames and control frames, where these may overtake */
    bool whole;

    j->rules = *rules;
    strict_init(&j->strict, rules->masked, rules->deflate);
    memset(&j->zlib, 0, sizeof(j->zlib));
    j->inflates = rules->deflate && rules->reads_compressed;
    REQUIRE(inflateInit2(&j->zlib, -rules->window_bits) == Z_OK);
    j->inside = false;
    for (size_t at = 0; at < got.len; at += n) {
        n = frame_span(&got, at, &payload, &whole);
        REQUIRE(n > 0);
        judge_frame(j, &got, at, &sent, sent_at);
    }
    j->closed = j->strict.closed;
    inflateEnd(&j->zlib);
}

#endif
