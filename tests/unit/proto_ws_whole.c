/* SPDX-License-Identifier: ISC */
/*
 * The short way for whole messages, beside the long one: a reader that nobody asks takes it, one whose owner wants to see each
 * frame does not. Streams of all kinds, good and bad, cut in two at every place and into equal pieces, must leave both the same.
 */
#include "proto/ws_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define STREAM_MAX 4096

struct stream {
    enum ws_sender sender;
    struct ws_limits limits;
    size_t len;
    char bytes[STREAM_MAX];
};

static struct stream s;

static uint32_t draw(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 16) % below;
}

/* A frame with its length in as many bytes as it takes, or in `form`. */
static void add(unsigned first, bool masked, unsigned form, struct span payload)
{
    static const uint8_t key[4] = { 0x81, 0x22, 0xb3, 0x04 };

    if (form == 0)
        form = payload.len < 126 ? (unsigned)payload.len : 126;
    s.bytes[s.len++] = (char)first;
    s.bytes[s.len++] = (char)((masked ? 0x80 : 0) | form);
    for (unsigned bytes = form == 127 ? 8 : form == 126 ? 2 : 0; bytes-- > 0;)
        s.bytes[s.len++] = bytes < 2 ? (char)(payload.len >> (8 * bytes)) : 0;
    memcpy(s.bytes + s.len, key, sizeof(key));
    s.len += masked ? sizeof(key) : 0;
    for (size_t i = 0; i < payload.len; i++)
        s.bytes[s.len++] = (char)(payload.at[i] ^ (masked ? key[i & 3] : 0));
}

/* Mostly whole messages, often equal ones in a row; now and then something else, and sometimes what is wrong. */
static void random_stream(uint32_t seed)
{
    static const char text[] =
        "plain text \xe2\x82\xac, \xf0\x9f\x98\x80 and then seven-bit characters, long enough for a length of "
        "two bytes: the quick brown fox jumps over the lazy dog; \xc3\xa4 is the last of those that are not.";
    static const uint8_t others[] = { 0x89, 0x8a, 0x01, 0x80, 0x02, 0x00, 0xc1, 0xc2, 0x88, 0x83, 0xa2 };
    unsigned kinds = 1 + draw(&seed, 12);

    memset(&s, 0, offsetof(struct stream, bytes));
    s.sender = draw(&seed, 2) ? WS_SERVER : WS_CLIENT;
    s.limits.compressed = draw(&seed, 4) == 0;
    s.limits.no_text = draw(&seed, 16) == 0;
    s.limits.no_binary = draw(&seed, 16) == 0;
    s.limits.frame_bytes = draw(&seed, 8) == 0 ? draw(&seed, 200) : 0;
    s.limits.message_bytes = draw(&seed, 8) == 0 ? draw(&seed, 200) : 0;
    while (kinds-- > 0) {
        struct span payload = draw(&seed, 3) ? span_of(text, draw(&seed, 12)) : span_of(text, draw(&seed, sizeof(text)));
        unsigned first = draw(&seed, 4) ? 0x81 + draw(&seed, 2) : others[draw(&seed, sizeof(others))];
        bool masked = (s.sender == WS_CLIENT) != (draw(&seed, 40) == 0);
        unsigned form = draw(&seed, 40) ? 0 : 126 + draw(&seed, 2);

        for (unsigned n = draw(&seed, 3) ? 1 : 1 + draw(&seed, 5); n > 0 && s.len + payload.len + 14 <= STREAM_MAX; n--)
            add(first, masked, form, payload);
    }
}

static enum reason see(void *arg, const struct ws_frame *frame, enum ws_way *way)
{
    (void)arg;
    (void)frame;
    (void)way;
    return R_NONE;
}

static void expect_same(const struct ws_reader *a, const struct ws_reader *b)
{
    assert_true(a->left == b->left && a->message_bytes == b->message_bytes);
    assert_memory_equal(a->frames, b->frames, sizeof(a->frames));
    assert_true(a->message == b->message && a->utf8 == b->utf8 && a->fragments == b->fragments);
    assert_true(a->way == b->way && a->message_way == b->message_way);
    assert_true(a->fin == b->fin && a->compressed == b->compressed);
    assert_true(a->ended == b->ended && a->begun == b->begun);
    assert_true(a->closed == b->closed && a->close_code == b->close_code);
    assert_int_equal(ws_at_boundary(a), ws_at_boundary(b));
}

/* Both are fed up to `first`, then in pieces of `size`, until the end or the first offence. */
static void feed_both(size_t first, size_t size)
{
    struct ws_reader quick, slow;
    enum reason why = R_NONE, slow_why;
    size_t done = 0, end = 0;

    ws_reader_init(&quick, s.sender);
    quick.limits = s.limits;
    slow = quick;
    slow.calls.on_frame = see;
    while (end < s.len && why == R_NONE) {
        size_t n, step = end == 0 ? first : size;

        end = s.len - end < step ? s.len : end + step;
        n = ws_feed(&quick, span_of(s.bytes + done, end - done), &why);
        assert_int_equal(ws_feed(&slow, span_of(s.bytes + done, end - done), &slow_why), n);
        assert_int_equal(why, slow_why);
        expect_same(&quick, &slow);
        done += n;
    }
}

static void test_every_split(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 400; seed++) {
        random_stream(seed * 2654435761u);
        for (size_t cut = 1; cut <= s.len; cut++)
            feed_both(cut, STREAM_MAX);
    }
}

static void test_pieces(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 4000; seed++) {
        random_stream(~seed * 2654435761u);
        for (size_t size = 1; size < 200; size = size * 2 + 1)
            feed_both(size, size);
    }
}

/* A run that ends in the middle of a frame takes its header along; what came before is counted. */
static void test_flood(void **state)
{
    static char flood[66 * 993];
    struct ws_reader r;
    enum reason why;

    (void)state;
    for (size_t i = 0; i < sizeof(flood); i++)
        flood[i] = i % 66 == 0 ? (char)0x82 : i % 66 == 1 ? 64 : 'y';
    ws_reader_init(&r, WS_SERVER);
    for (size_t len = sizeof(flood) - 132; len <= sizeof(flood); len++) {
        ws_reader_init(&r, WS_SERVER);
        assert_int_equal(ws_feed(&r, span_of(flood, len), &why), len % 66 == 1 ? len - 1 : len);
        assert_int_equal(why, R_NONE);
        assert_true(r.frames[WS_KIND_BINARY] == (len + 64) / 66);
        assert_int_equal(r.left, len % 66 < 2 ? 0 : 66 - len % 66);
    }
    flood[66 * 500 + 1] = (char)(0x80 | 64);
    ws_reader_init(&r, WS_SERVER);
    assert_int_equal(ws_feed(&r, span_of(flood, sizeof(flood)), &why), 66 * 500);
    assert_int_equal(why, R_FRAME_MASKED);
    assert_true(ws_at_boundary(&r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_flood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
