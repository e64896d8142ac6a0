/* SPDX-License-Identifier: ISC */
/*
 * permessage-deflate. The first byte says what the rest is. An offer and, behind a newline, an answer: what is passed on reads back
 * as the same offer, an answer that is accepted fits what was passed on, by rules that are written down here once more. Or
 * messages, each with its length in front: what comes out does not depend on the cuts, stays in its bounds, and is the same that
 * zlib says, asked in the simplest way.
 */
#include "proto/ws_deflate.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST (1u << 20)

static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct h1_head head;

static void set_field(struct span value)
{
    head.field_count = 0;
    h1_add(&head, (struct h1_field){ .id = H1_WS_EXTENSIONS, .value = span_trim(value) });
}

static void check_answer(const struct ws_deflate *offer, struct span answer)
{
    struct ws_deflate agreed, again;
    char text[WS_DEFLATE_TEXT];

    set_field(answer);
    if (ws_deflate_answer(&head, offer, &agreed) != R_NONE) {
        must(!agreed.on);
        return;
    }
    must(offer->on && agreed.on);
    must(!offer->server_no_context || agreed.server_no_context);
    must(!offer->alone || agreed.client_no_context);
    must(offer->server_bits == 0 || (agreed.server_bits >= 8 && agreed.server_bits <= offer->server_bits));
    must(agreed.client_bits == 0 || (offer->client_bits_said && agreed.client_bits >= 8 && agreed.client_bits <= 15));
    set_field(span_str(ws_deflate_text(&agreed, false, text)));
    must(ws_deflate_answer(&head, offer, &again) == R_NONE && memcmp(&agreed, &again, sizeof(again)) == 0);
}

static void negotiate(struct span in, bool alone)
{
    const char *newline = memchr(in.at, '\n', in.len);
    size_t len = newline != NULL ? (size_t)(newline - in.at) : in.len;
    struct ws_deflate offer, again;
    char text[WS_DEFLATE_TEXT];

    set_field(span_of(in.at, len));
    ws_deflate_offer(&head, &offer);
    must(offer.named || !offer.on);
    set_field(span_str(ws_deflate_text(&offer, true, text)));
    ws_deflate_offer(&head, &again);
    must(offer.on ? memcmp(&offer, &again, sizeof(again)) == 0 : text[0] == '\0');
    if (alone)
        ws_deflate_no_context(&offer);
    check_answer(&offer, span_skip(in, len + 1));
}

struct made {
    uint32_t sum;
    uint64_t len;
};

static enum reason take(void *arg, struct span piece)
{
    struct made *made = arg;

    must(piece.len > 0 && piece.len <= 16384);
    made->sum = (uint32_t)crc32(made->sum, (const unsigned char *)piece.at, (unsigned)piece.len);
    made->len += piece.len;
    return R_NONE;
}

/* All messages; returns the first verdict that is not R_NONE. Each byte of lengths: 255 is the beginning of a longer one. */
static enum reason inflate_all(struct ws_inflater *i, struct span in, size_t step, struct made *made)
{
    enum reason why = R_NONE;

    while (in.len > 0 && why == R_NONE) {
        size_t len = (uint8_t)in.at[0];
        struct span message;

        in = span_skip(in, 1);
        message = span_of(in.at, len == 255 || len > in.len ? in.len : len);
        in = span_skip(in, message.len);
        do {
            size_t n = message.len < step ? message.len : step;

            why = ws_inflate(i, span_of(message.at, n), n == message.len, take, made);
            message = span_skip(message, n);
        } while (message.len > 0 && why == R_NONE);
    }
    return why;
}

static struct ws_inflater *inflater(bool alone, uint64_t bytes, uint32_t ratio)
{
    const struct ws_deflate agreed = { .on = true, .server_no_context = alone };
    struct ws_inflater *i = ws_inflater_new(&agreed, false, &(struct ws_inflate_limits){ bytes, ratio });

    must(i != NULL);
    return i;
}

/* A single message without BFINAL, as zlib itself reads it; the length, or -1 if it is no good. */
static int64_t zlib_says(struct span message, uint32_t *sum)
{
    static unsigned char out[MOST + 1];
    unsigned char tail[] = { 0, 0, 0xff, 0xff };
    z_stream z = { .next_out = out,
                   .avail_out = sizeof(out),
                   .next_in = (unsigned char *)(uintptr_t)message.at,
                   .avail_in = (unsigned)message.len };
    int result;

    must(inflateInit2(&z, -15) == Z_OK);
    result = inflate(&z, Z_SYNC_FLUSH);
    if (result == Z_OK && z.avail_in == 0) {
        z.next_in = tail;
        z.avail_in = 4;
        result = inflate(&z, Z_SYNC_FLUSH);
    }
    inflateEnd(&z);
    *sum = (uint32_t)crc32(0, out, (unsigned)z.total_out);
    return result == Z_OK && z.avail_in == 0 && message.len > 0 ? (int64_t)z.total_out : -1;
}

static void check_messages(struct span in, bool alone)
{
    struct ws_inflater *whole = inflater(alone, MOST, 0), *cut = inflater(alone, MOST, 0), *bounded = inflater(alone, 3000, 1);
    struct made a = { 0 }, b = { 0 }, c = { 0 };
    enum reason why = inflate_all(whole, in, SIZE_MAX, &a);

    must(inflate_all(cut, in, 1, &b) == why);
    must(why != R_NONE || (a.sum == b.sum && a.len == b.len));
    must(why == R_NONE || why == R_DEFLATE_MALFORMED || why == R_MESSAGE_TOO_BIG);
    why = inflate_all(bounded, in, 5, &c);
    must(c.len <= 3000 * in.len && why != R_DEFLATE_RATIO);
    ws_inflater_free(whole);
    ws_inflater_free(cut);
    ws_inflater_free(bounded);
}

static void check_one(struct span message)
{
    struct ws_inflater *i = inflater(false, MOST, 0), *bounded = inflater(false, 0, 3);
    struct made a = { 0 }, b = { 0 };
    enum reason why = ws_inflate(i, message, true, take, &a);
    uint32_t sum;
    int64_t len = zlib_says(message, &sum);

    must(len < 0 || len > MOST || why == R_DEFLATE_MALFORMED || (why == R_NONE && a.len == (uint64_t)len && a.sum == sum));
    must(ws_inflate(bounded, message, true, take, &b) != R_MESSAGE_TOO_BIG);
    must(b.len <= 65536 + 3 * (message.len + 4) + 16384);
    ws_inflater_free(i);
    ws_inflater_free(bounded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data + 1, size - 1);

    if (size < 2)
        return 0;
    if ((data[0] & 2) != 0)
        negotiate(in, data[0] & 1);
    else if ((data[0] & 4) != 0)
        check_one(in);
    else
        check_messages(in, data[0] & 1);
    return 0;
}
