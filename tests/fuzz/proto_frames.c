/* SPDX-License-Identifier: ISC */
/*
 * WebSocket frames of one direction under what an owner may say. Input: eight bytes of choices (struct choices), then the stream.
 * It is fed whole and in pieces. What comes out is judged by a reader written apart (unit/proto_strict_frame.h): it is always
 * valid, and where nothing offends it is what that reader would have let through, the same for all pieces; a stream that is valid
 * offends nobody but an owner who limits or refuses.
 */
#include "../unit/proto_strict_frame.h"
#include "proto/utf8.h"
#include "proto/ws_frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHOICES 8

/* Two bits for each of four messages in turn. JUDGED: held, and dropped when a call has returned something of it. */
enum fate { PASSED, DROPPED, HELD, JUDGED };

struct choices {
    enum ws_sender sender;
    bool control_only, refuses;
    uint32_t seed;
    unsigned fates, control; /* control: a bit for each of eight control frames in turn: it vanishes */
    unsigned frame, payload; /* refused: this frame; payload after so many bytes */
    struct ws_limits limits;
};

struct owner {
    struct ws_reader r;
    const struct choices *chosen;
    unsigned asked, messages, controls;
    uint64_t payload, sum;
    enum reason why;
    size_t passed, held;
    char out[STRICT_MAX], raw[STRICT_MAX];
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct choices choose(const uint8_t *data)
{
    return (struct choices){
        .sender = data[0] & 1 ? WS_SERVER : WS_CLIENT,
        .control_only = data[0] & 4,
        .refuses = data[4] != 0 || data[5] != 0 || (data[0] & 0x18) != 0 || data[6] != 0 || data[7] != 0,
        .seed = 1u + data[1],
        .fates = data[0] & 4 ? 0 : data[2],
        .control = data[3],
        .frame = data[4],
        .payload = data[5] * 4u,
        .limits = { .frame_bytes = (data[6] & 15) * 16u,
                    .message_bytes = (data[6] >> 4) * 32u,
                    .fragments = data[7] & 7,
                    .compressed = data[0] & 2,
                    .no_text = data[0] & 8,
                    .no_binary = data[0] & 16 },
    };
}

/* Of message `n`, counted from 0. */
static enum fate fate_of(const struct choices *chosen, unsigned n)
{
    return (enum fate)(chosen->fates >> (n % 4 * 2) & 3);
}

static bool vanishes(const struct choices *chosen, unsigned n)
{
    return chosen->control >> (n % 8) & 1;
}

static enum reason on_frame(void *arg, const struct ws_frame *frame, enum ws_way *way)
{
    static const enum ws_way ways[] = { WS_PASS, WS_DROP, WS_HOLD, WS_HOLD };
    struct owner *o = arg;

    o->asked++;
    must(*way == WS_PASS && (frame->opcode >= 8 || !o->chosen->control_only));
    must(frame->opcode < 8 || frame->control.len == frame->payload);
    if (o->asked == o->chosen->frame)
        return R_RATE_EXCEEDED;
    if (frame->opcode >= 8)
        *way = vanishes(o->chosen, o->controls++) ? WS_DROP : WS_PASS;
    else if (frame->begins)
        *way = ways[fate_of(o->chosen, o->messages++)];
    return R_NONE;
}

static enum reason on_payload(void *arg, struct span payload, const uint8_t *mask, unsigned at)
{
    struct owner *o = arg;

    must(payload.len > 0 && at < 4 && (mask == NULL) == (o->chosen->sender == WS_SERVER));
    must(o->r.message_way != WS_DROP);
    if (fate_of(o->chosen, o->messages - 1) == JUDGED) /* how much of it is seen depends on the pieces */
        return R_NONE;
    o->payload += payload.len;
    for (size_t i = 0; i < payload.len; i++)
        o->sum = o->sum * 31 + ((uint8_t)payload.at[i] ^ (mask == NULL ? 0u : mask[(at + i) & 3]));
    return o->chosen->payload != 0 && o->payload >= o->chosen->payload ? R_MATCH_DENIED : R_NONE;
}

static void put(struct owner *o, const char *at, size_t len)
{
    memcpy(o->out + o->passed, at, len);
    o->passed += len;
}

static void take(struct owner *o, const char *at, size_t len)
{
    bool ended = o->r.ended;

    if (o->r.way == WS_PASS)
        put(o, at, len);
    if (o->r.way != WS_HOLD)
        return;
    memcpy(o->raw + o->held, at, len);
    o->held += len;
    if (fate_of(o->chosen, o->messages - 1) == JUDGED) {
        o->held = 0;
        if (!ended)
            o->r.message_way = WS_DROP;
    }
    if (!ended)
        return;
    put(o, o->raw, o->held);
    o->held = 0;
}

static size_t next_size(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 24) % 4 == 0 ? 1 + (*seed >> 8) % 300 : 1 + (*seed >> 8) % 9;
}

/* Takes of a piece, which lies in a block of its own size, what can be taken. Returns how much. */
static size_t feed_piece(struct owner *o, struct span piece)
{
    char *block = malloc(piece.len);
    size_t used = 0, n;

    memcpy(block, piece.at, piece.len);
    do {
        n = ws_feed(&o->r, span_of(block + used, piece.len - used), &o->why);
        must(n <= piece.len - used);
        if (n > 0)
            take(o, block + used, n);
        used += n;
    } while (n > 0 && o->why == R_NONE && used < piece.len);
    free(block);
    must(o->why != R_NONE || piece.len - used < WS_UNIT_MAX);
    return used;
}

/* `seed` 0: in one piece. */
static void feed(struct owner *o, const struct choices *chosen, struct span in, uint32_t seed)
{
    size_t used = 0, end = 0;

    memset(o, 0, offsetof(struct owner, out));
    ws_reader_init(&o->r, chosen->sender);
    o->r.calls = (struct ws_calls){ chosen->control_only, on_frame, on_payload, o };
    o->r.limits = chosen->limits;
    o->chosen = chosen;
    while (end < in.len && o->why == R_NONE) {
        size_t n = seed == 0 ? in.len : next_size(&seed);

        end = in.len - end < n ? in.len : end + n;
        used += feed_piece(o, span_of(in.at + used, end - used));
    }
}

/* What was passed on is valid, and a frame of ours could follow it where the reader says so. */
static void check_passed(const struct owner *o)
{
    static struct strict strict;

    strict_init(&strict, o->chosen->sender == WS_CLIENT, o->chosen->limits.compressed);
    must(strict_stream(&strict, o->out, o->passed));
    must(strict.inside == !ws_at_boundary(&o->r));
}

/* The output as it must be where nothing offends: frames as the strict reader sees them. False: the stream is not valid. */
static bool expect(struct owner *o, struct span in, bool *cut)
{
    static struct strict strict;
    const struct choices *chosen = o->chosen;

    o->passed = o->held = o->messages = o->controls = 0;
    strict_init(&strict, chosen->sender == WS_CLIENT, chosen->limits.compressed);
    while (in.len > 0) {
        size_t n = strict_frame(&strict, (const uint8_t *)in.at, in.len, cut);
        enum fate fate;

        if (n == 0)
            return *cut;
        o->messages += strict.opcode == 1 || strict.opcode == 2;
        fate = strict.opcode < 8 ? fate_of(chosen, o->messages - 1) : vanishes(chosen, o->controls++) ? DROPPED : PASSED;
        if (fate == PASSED)
            put(o, in.at, n);
        if (fate == HELD) {
            memcpy(o->raw + o->held, in.at, n);
            o->held += n;
        }
        if (fate == HELD && strict.fin) {
            put(o, o->raw, o->held);
            o->held = 0;
        }
        in = span_skip(in, n);
    }
    return true;
}

static void check_same(const struct owner *a, const struct owner *b)
{
    must((a->why == R_NONE) == (b->why == R_NONE));
    must(a->why == b->why || a->why == R_MATCH_DENIED || b->why == R_MATCH_DENIED);
    if (a->why != R_NONE) {
        must(ws_at_boundary(&a->r));
        return;
    }
    must(a->passed == b->passed && memcmp(a->out, b->out, a->passed) == 0 && a->held == b->held);
    must(a->asked == b->asked && a->sum == b->sum && a->r.message == b->r.message);
    must(a->r.closed == b->r.closed && a->r.close_code == b->r.close_code && a->r.begun == b->r.begun);
    must(memcmp(a->r.frames, b->r.frames, sizeof(a->r.frames)) == 0);
}

static void check_expected(const struct owner *o, struct span in)
{
    static struct owner expected;
    bool cut = false, valid;

    expected.chosen = o->chosen;
    valid = expect(&expected, in, &cut);
    must(o->why != R_NONE || (valid && expected.passed == o->passed && memcmp(expected.out, o->out, o->passed) == 0));
    must(o->why == R_NONE || !valid || cut || o->chosen->refuses);
}

/* The mask must not matter to UTF-8, wherever it begins, nor where the text is cut; and it is what it is elsewhere. */
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
    must((state == 0) == strict_utf8((const uint8_t *)in.at, in.len, true));
    must((state != UTF8_BAD) == strict_utf8((const uint8_t *)in.at, in.len, false));
    free(masked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct owner whole, pieces;
    struct choices chosen;
    struct span in;

    if (size <= CHOICES || size > STRICT_MAX)
        return 0;
    in = span_of((const char *)data + CHOICES, size - CHOICES);
    chosen = choose(data);
    feed(&whole, &chosen, in, 0);
    feed(&pieces, &chosen, in, chosen.seed);
    check_same(&whole, &pieces);
    check_passed(&whole);
    check_passed(&pieces);
    check_expected(&whole, in);
    check_utf8(in);
    return 0;
}
