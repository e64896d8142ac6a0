/* SPDX-License-Identifier: ISC */
/*
 * WebSocket frames of one direction. Input: a byte that chooses the sender and seeds the sizes of the pieces, then the stream. Fed
 * whole and in pieces the stream must come to the same verdict with the same counters, and what is passed on must read as valid.
 */
#include "proto/utf8.h"
#include "proto/ws_frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

struct outcome {
    struct ws_reader reader;
    enum reason why;
    size_t passed;
};

static size_t next_size(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 24) % 4 == 0 ? 1 + (*seed >> 8) % 300 : 1 + (*seed >> 8) % 9;
}

/* `seed` 0: in one piece. Each piece lies in a block of its own size, with what was left of the last one in front. */
static struct outcome feed(enum ws_sender sender, struct span in, uint32_t seed)
{
    struct outcome o = { .why = R_NONE };
    size_t end = 0;

    ws_reader_init(&o.reader, sender);
    while (end < in.len && o.why == R_NONE) {
        size_t n = seed == 0 ? in.len : next_size(&seed), len;
        char *block;

        end = in.len - end < n ? in.len : end + n;
        len = end - o.passed;
        block = malloc(len);
        memcpy(block, in.at + o.passed, len);
        n = ws_feed(&o.reader, span_of(block, len), &o.why);
        must(n <= len && (o.why != R_NONE || len - n < WS_UNIT_MAX));
        o.passed += n;
        free(block);
    }
    return o;
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
    must(a->why == b->why && a->reader.closed == b->reader.closed && a->reader.close_code == b->reader.close_code);
    must(memcmp(a->reader.frames, b->reader.frames, sizeof(a->reader.frames)) == 0 && a->reader.messages == b->reader.messages);
    must(a->why != R_NONE ? a->passed <= b->passed : a->passed == b->passed);
    must(a->why == R_NONE || ws_at_boundary(&a->reader));
}

static void check_passed(enum ws_sender sender, struct span in, const struct outcome *o)
{
    struct outcome again = feed(sender, span_of(in.at, o->passed), 0);

    must(again.why == R_NONE && again.passed == o->passed && ws_at_boundary(&again.reader) == ws_at_boundary(&o->reader));
}

/* The mask must not matter to UTF-8, wherever it begins. */
static void check_utf8(struct span in)
{
    static const uint8_t mask[4] = { 0x80, 0x5a, 0xff, 0x01 };
    unsigned at = in.len & 3;
    char *masked = malloc(in.len);
    size_t half = in.len / 2;
    uint32_t state = utf8_feed(0, in);

    for (size_t i = 0; i < in.len; i++)
        masked[i] = (char)(in.at[i] ^ mask[(at + i) & 3]);
    must(utf8_feed_masked(0, span_of(masked, in.len), mask, at) == state);
    must(utf8_feed(utf8_feed(0, span_of(in.at, half)), span_skip(in, half)) == state);
    free(masked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_skip(span_of((const char *)data, size), 1);
    enum ws_sender sender;
    struct outcome whole, pieces;

    if (size < 2)
        return 0;
    sender = data[0] & 1 ? WS_SERVER : WS_CLIENT;
    whole = feed(sender, in, 0);
    pieces = feed(sender, in, 1 + data[0]);
    check_same(&whole, &pieces);
    check_passed(sender, in, &whole);
    check_passed(sender, in, &pieces);
    check_utf8(in);
    return 0;
}
