/* SPDX-License-Identifier: ISC */
/*
 * WebSocket frames. Each case is a stream as its sender would write it; it is fed whole, one byte at a time, and in pieces of every
 * other size, and must come out the same. WF, WG, WC, WU and WX numbers are those of tests/vectors.jsonl.
 */
#include "proto/ws_frame.h"
#include "proto_strict_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define STREAM_MAX 70000
#define MESSAGE_MAX (16u << 20)

struct stream {
    enum ws_sender sender;
    size_t len, start; /* `start`: where the last frame begins */
    char bytes[STREAM_MAX];
};

static const uint8_t key[4] = { 0x11, 0x22, 0x33, 0xc4 };
static struct stream s;

/* Appends a frame: `first` is its first byte, `form` 0 or a length form that is forced, `announced` the length it claims. */
static void add_frame(unsigned first, unsigned form, uint64_t announced, struct span payload)
{
    bool masked = s.sender == WS_CLIENT;
    unsigned bytes;

    if (form == 0)
        form = announced < 126 ? (unsigned)announced : announced < 65536 ? 126 : 127;
    bytes = form == 127 ? 8 : form == 126 ? 2 : 0;
    s.start = s.len;
    s.bytes[s.len++] = (char)first;
    s.bytes[s.len++] = (char)((masked ? 0x80 : 0) | form);
    while (bytes-- > 0)
        s.bytes[s.len++] = (char)(announced >> (8 * bytes));
    if (masked) {
        memcpy(s.bytes + s.len, key, 4);
        s.len += 4;
    }
    for (size_t i = 0; i < payload.len; i++)
        s.bytes[s.len++] = (char)(payload.at[i] ^ (masked ? key[i & 3] : 0));
}

static void add(unsigned first, struct span payload)
{
    add_frame(first, 0, payload.len, payload);
}

static void begin(enum ws_sender sender)
{
    s.sender = sender;
    s.len = s.start = 0;
}

/* Feeds the stream in pieces of `size`, from exact blocks, keeping what is incomplete, as a session does. Returns what passed. */
static size_t feed(struct ws_reader *r, size_t size, enum reason *why)
{
    size_t passed = 0, end = 0;

    *why = R_NONE;
    while (end < s.len && *why == R_NONE) {
        char *block;

        end = s.len - end < size ? s.len : end + size;
        block = malloc(end - passed + 1);
        memcpy(block, s.bytes + passed, end - passed);
        passed += ws_feed(r, span_of(block, end - passed), why);
        free(block);
    }
    return passed;
}

static const size_t sizes[] = { STREAM_MAX, 1, 2, 3, 7, 13, 64 };

static void expect_good(void)
{
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct ws_reader r;
        enum reason why;

        ws_reader_init(&r, s.sender);
        assert_int_equal(feed(&r, sizes[i], &why), s.len);
        assert_int_equal(why, R_NONE);
        assert_true(ws_at_boundary(&r));
    }
}

/* The last frame is refused for `reason`; all before it passes. */
static void expect_bad(enum reason reason)
{
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct ws_reader r;
        enum reason why;
        size_t passed;

        ws_reader_init(&r, s.sender);
        r.limits.message_bytes = MESSAGE_MAX;
        passed = feed(&r, sizes[i], &why);
        assert_int_equal(why, reason);
        assert_true(passed < s.len);
        assert_true(passed >= s.start);
        assert_int_equal(ws_at_boundary(&r), passed == s.start);
        if (i == 0)
            assert_int_equal(passed, s.start);
    }
}

static void test_lengths(void **state)
{
    static char payload[65537];
    static const size_t lengths[] = { 0, 1, 125, 126, 127, 65535, 65536, 65537 };

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        for (unsigned sender = WS_CLIENT; sender <= WS_SERVER; sender++) {
            begin((enum ws_sender)sender);
            add(0x82, span_of(payload, lengths[i]));
            add(0x81, SPAN("end"));
            expect_good();
        }
}

static void test_good(void **state)
{
    (void)state;
    for (unsigned sender = WS_CLIENT; sender <= WS_SERVER; sender++) {
        begin((enum ws_sender)sender);
        add(0x01, SPAN("fr"));
        add(0x00, SPAN("")); /* WG-10 */
        add(0x89, SPAN("ping within a message"));
        add(0x00, SPAN("\xf0\x9f"));
        add(0x8a, SPAN("\xff")); /* no text */
        add(0x80, SPAN("\x98\x80"));
        add(0x82, SPAN("\xff\xfe")); /* WU-14 */
        add(0x81, SPAN("\xe2\x82\xac"));
        add(0x81, SPAN(""));
        add(0x88, SPAN("\x03\xe8"
                       "bye \xe2\x82\xac"));
        expect_good();
    }
}

/* One bad frame behind a good one. */
static void test_bad_frames(void **state)
{
    static const struct {
        unsigned first, form;
        uint64_t announced;
        struct span payload;
        enum reason why;
    } table[] = {
        { 0xc1, 0, 1, SPAN("x"), R_FRAME_MALFORMED },
        { 0xa1, 0, 1, SPAN("x"), R_FRAME_MALFORMED }, /* WF-04, 05 */
        { 0x91, 0, 1, SPAN("x"), R_FRAME_MALFORMED },
        { 0xf1, 0, 1, SPAN("x"), R_FRAME_MALFORMED }, /* WF-07 */
        { 0x83, 0, 1, SPAN("x"), R_FRAME_MALFORMED },
        { 0x87, 0, 1, SPAN("x"), R_FRAME_MALFORMED },
        { 0x8b, 0, 1, SPAN("x"), R_FRAME_MALFORMED },
        { 0x8f, 0, 1, SPAN("x"), R_FRAME_MALFORMED },          /* WF-10 */
        { 0x81, 126, 8, SPAN("SMUGGLED"), R_FRAME_MALFORMED }, /* WF-12 */
        { 0x81, 127, 8, SPAN("SMUGGLED"), R_FRAME_MALFORMED }, /* WF-13 */
        { 0x82, 126, 125, SPAN("x"), R_FRAME_MALFORMED },
        { 0x82, 127, 65535, SPAN("x"), R_FRAME_MALFORMED },
        { 0x82, 127, 1ull << 63, SPAN("x"), R_MESSAGE_TOO_BIG }, /* WF-15 */
        { 0x82, 127, INT64_MAX, SPAN("x"), R_MESSAGE_TOO_BIG },  /* WF-16 */
        { 0x82, 127, UINT64_MAX, SPAN("x"), R_MESSAGE_TOO_BIG }, /* WF-17 */
        { 0x82, 127, MESSAGE_MAX + 1, SPAN("x"), R_MESSAGE_TOO_BIG },
        { 0x80, 0, 1, SPAN("x"), R_FRAME_MALFORMED },
        { 0x00, 0, 1, SPAN("x"), R_FRAME_MALFORMED }, /* WG-01, 02 */
        { 0x09, 0, 1, SPAN("x"), R_FRAME_MALFORMED },
        { 0x08, 0, 2, SPAN("\x03\xe8"), R_FRAME_MALFORMED }, /* WC-03 */
        { 0x89, 126, 126, SPAN("x"), R_FRAME_MALFORMED },
        { 0x8a, 127, 65536, SPAN("x"), R_FRAME_MALFORMED }, /* WC-01 */
        { 0x89, 126, 5, SPAN("x"), R_FRAME_MALFORMED },
        { 0x88, 0, 1, SPAN("\x03"), R_CLOSE_MALFORMED },
        { 0x88, 0, 3, SPAN("\x03\xe8\xff"), R_UTF8_INVALID },
        { 0x88, 0, 4, SPAN("\x03\xe8\xe2\x82"), R_UTF8_INVALID },
        { 0x81, 0, 2, SPAN("\xc0\xaf"), R_UTF8_INVALID },
        { 0x81, 0, 1, SPAN("\xff"), R_UTF8_INVALID }, /* WU-01, 04 */
        { 0x81, 0, 9, SPAN("12345678\x80"), R_UTF8_INVALID },
        { 0x81, 0, 3, SPAN("a\xe2\x82"), R_UTF8_INVALID },
        { 0x01, 0, 1, SPAN("\x80"), R_UTF8_INVALID },
    };

    (void)state;
    for (unsigned sender = WS_CLIENT; sender <= WS_SERVER; sender++)
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
            begin((enum ws_sender)sender);
            add(0x82, SPAN("good"));
            add_frame(table[i].first, table[i].form, table[i].announced, table[i].payload);
            expect_bad(table[i].why);
        }
}

static void test_fragments(void **state)
{
    (void)state;
    for (unsigned sender = WS_CLIENT; sender <= WS_SERVER; sender++) {
        begin((enum ws_sender)sender);
        add(0x01, SPAN("a"));
        add(0x81, SPAN("SMUGGLED")); /* WG-03 */
        expect_bad(R_FRAME_MALFORMED);
        begin((enum ws_sender)sender);
        add(0x02, SPAN("a"));
        add(0x02, SPAN("b"));
        expect_bad(R_FRAME_MALFORMED);
        begin((enum ws_sender)sender);
        add(0x01, SPAN("a"));
        add(0xc0, SPAN("b")); /* WG-11 */
        expect_bad(R_FRAME_MALFORMED);
        begin((enum ws_sender)sender);
        add(0x01, SPAN("a\xce"));
        add(0x80, SPAN("(")); /* WU-10 */
        expect_bad(R_UTF8_INVALID);
        begin((enum ws_sender)sender);
        add(0x01, SPAN("a\xce"));
        add(0x80, SPAN(""));
        expect_bad(R_UTF8_INVALID);
        begin((enum ws_sender)sender);
        add(0x81, SPAN("whole"));
        add(0x80, SPAN("late"));
        expect_bad(R_FRAME_MALFORMED);
    }
}

static void test_mask(void **state)
{
    (void)state;
    begin(WS_CLIENT);
    add(0x82, SPAN("good"));
    s.sender = WS_SERVER;
    add(0x82, SPAN("not masked"));
    s.sender = WS_CLIENT;
    expect_bad(R_FRAME_UNMASKED);
    begin(WS_SERVER);
    s.sender = WS_CLIENT;
    add(0x82, SPAN("masked"));
    s.sender = WS_SERVER;
    expect_bad(R_FRAME_MASKED); /* WF-03 */
}

static void test_close_codes(void **state)
{
    (void)state;
    for (unsigned code = 0; code <= 65535; code++) {
        bool valid = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
        char payload[2] = { (char)(code >> 8), (char)code };
        struct ws_reader r;
        enum reason why;

        begin(WS_CLIENT);
        add(0x88, span_of(payload, 2));
        ws_reader_init(&r, WS_CLIENT);
        assert_int_equal(ws_feed(&r, span_of(s.bytes, s.len), &why), valid ? s.len : 0);
        assert_int_equal(why, valid ? R_NONE : R_CLOSE_MALFORMED);
        assert_int_equal(r.closed, valid);
        assert_int_equal(r.close_code, valid ? code : 0);
        assert_int_equal(ws_close_code_valid(code), valid);
    }
}

static void test_after_close(void **state)
{
    struct ws_reader r;
    enum reason why;

    (void)state;
    begin(WS_SERVER);
    add(0x88, SPAN(""));
    add(0x81, SPAN("INJECTED")); /* WX-16 */
    expect_bad(R_FRAME_MALFORMED);
    ws_reader_init(&r, WS_SERVER);
    assert_int_equal(ws_feed(&r, span_of(s.bytes, s.len), &why), 2);
    assert_true(r.closed);
    assert_int_equal(r.close_code, 1005);
}

/* Every byte is judged as soon as it is there. */
static void test_early(void **state)
{
    static const struct {
        struct span bytes;
        enum ws_sender sender;
        enum reason why;
    } table[] = {
        { SPAN("\xc1"), WS_CLIENT, R_FRAME_MALFORMED },
        { SPAN("\x80"), WS_CLIENT, R_FRAME_MALFORMED },
        { SPAN("\x81\x05"), WS_CLIENT, R_FRAME_UNMASKED },
        { SPAN("\x81\x85"), WS_SERVER, R_FRAME_MASKED },
        { SPAN("\x89\x7e"), WS_SERVER, R_FRAME_MALFORMED },
        { SPAN("\x81\x7e\x00\x7d"), WS_SERVER, R_FRAME_MALFORMED },
        { SPAN("\x81\x0a\xed\xa0"), WS_SERVER, R_UTF8_INVALID },
        { SPAN("\x81\x7e\x00"), WS_SERVER, R_NONE },
        { SPAN("\x88\x01\x03\xe8"), WS_SERVER, R_CLOSE_MALFORMED }, /* what stands behind a close frame is no part of its code */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct ws_reader r;
        enum reason why;

        ws_reader_init(&r, table[i].sender);
        assert_int_equal(ws_feed(&r, table[i].bytes, &why), 0);
        assert_int_equal(why, table[i].why);
        assert_true(ws_at_boundary(&r));
    }
}

/* An offence in a frame whose beginning has passed already: nothing more passes, and no frame can be put behind it. */
static void test_not_at_boundary(void **state)
{
    struct ws_reader r;
    enum reason why;

    (void)state;
    ws_reader_init(&r, WS_SERVER);
    assert_int_equal(ws_feed(&r,
                             SPAN("\x81\x04"
                                  "ab"),
                             &why),
                     4);
    assert_false(ws_at_boundary(&r));
    assert_int_equal(ws_feed(&r, SPAN("c\xff"), &why), 0);
    assert_int_equal(why, R_UTF8_INVALID);
    assert_false(ws_at_boundary(&r));
    ws_reader_init(&r, WS_SERVER);
    assert_int_equal(ws_feed(&r,
                             SPAN("\x81\x03"
                                  "ab"),
                             &why),
                     4);
    assert_int_equal(ws_feed(&r, SPAN("\xe2"), &why), 0); /* the message would end within a character */
    assert_int_equal(why, R_UTF8_INVALID);
    assert_false(ws_at_boundary(&r));
}

static void test_counters(void **state)
{
    static const uint32_t expected[WS_KIND_COUNT] = { 2, 1, 2, 1, 2, 1 };

    (void)state;
    begin(WS_CLIENT);
    add(0x01, SPAN("a"));
    add(0x89, SPAN("p"));
    add(0x00, SPAN("b"));
    add(0x89, SPAN(""));
    add(0x80, SPAN("c"));
    add(0x82, SPAN("d"));
    add(0x8a, SPAN("p"));
    add(0x82, SPAN(""));
    add(0x88, SPAN("\x0b\xb8"));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct ws_reader r;
        enum reason why;

        ws_reader_init(&r, WS_CLIENT);
        assert_int_equal(feed(&r, sizes[i], &why), s.len);
        assert_memory_equal(r.frames, expected, sizeof(expected));
        assert_int_equal(r.frames[WS_KIND_TEXT] + r.frames[WS_KIND_BINARY], 3); /* each begins a message */
        assert_int_equal(r.close_code, 3000);
        assert_int_equal(r.message_bytes, 0);
    }
}

/* A limit is met, and broken by one byte: in one frame, by the sum of fragments, and not by control frames between them. */
static void test_limits(void **state)
{
    struct ws_reader r;
    enum reason why;

    (void)state;
    begin(WS_SERVER);
    add(0x02, SPAN("12345"));
    add(0x89, SPAN("a long ping, no part of the message"));
    add(0x00, SPAN("6789"));
    ws_reader_init(&r, WS_SERVER);
    r.limits.frame_bytes = 5;
    r.limits.message_bytes = 10;
    assert_int_equal(feed(&r, STREAM_MAX, &why), s.len);
    assert_int_equal(ws_feed(&r, SPAN("\x80\x02"), &why), 0);
    assert_int_equal(why, R_MESSAGE_TOO_BIG);
    assert_int_equal(ws_feed(&r,
                             SPAN("\x80\x01x\x02\x05"
                                  "12345"),
                             &why),
                     10);
    assert_int_equal(why, R_NONE);
    assert_int_equal(ws_feed(&r, SPAN("\x80\x06"), &why), 0);
    assert_int_equal(why, R_MESSAGE_TOO_BIG);
    r.limits.message_bytes = 4; /* lowered below what has passed */
    assert_int_equal(ws_feed(&r, SPAN("\x80\x01"), &why), 0);
    assert_int_equal(why, R_MESSAGE_TOO_BIG);
}

/* Without limits a length of 2^63 is refused all the same (RFC 6455 5.2), and one less is not. */
static void test_no_limits(void **state)
{
    struct ws_reader r;
    enum reason why;

    (void)state;
    ws_reader_init(&r, WS_SERVER);
    assert_int_equal(ws_feed(&r, SPAN("\x82\x7f\x80\0\0\0\0\0\0\0"), &why), 0);
    assert_int_equal(why, R_MESSAGE_TOO_BIG);
    assert_int_equal(ws_feed(&r, SPAN("\x02\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), &why), 10);
    assert_int_equal(why, R_NONE);
    assert_true(r.left == INT64_MAX);
}

static void test_close_bytes(void **state)
{
    char out[WS_CLOSE_MAX];

    (void)state;
    assert_int_equal(ws_write_close(out, WS_SERVER, 1000, SPAN("bye"), NULL), 7);
    assert_memory_equal(out,
                        "\x88\x05\x03\xe8"
                        "bye",
                        7);
    assert_int_equal(ws_write_close(out, WS_CLIENT, 1000, SPAN("bye"), key), 11);
    assert_memory_equal(out, "\x88\x85\x11\x22\x33\xc4\x12\xca\x51\xbd\x74", 11);
    assert_int_equal(ws_write_close(out, WS_SERVER, 0, SPAN("bye"), NULL), 2);
    assert_memory_equal(out, "\x88\x00", 2);
}

/* What is written as a close frame reads as one. */
static void expect_close(enum ws_sender sender, unsigned code, struct span reason, size_t text)
{
    char out[WS_CLOSE_MAX];
    size_t header = sender == WS_CLIENT ? 6 : 2, len = ws_write_close(out, sender, code, reason, key);
    struct ws_reader r;
    enum reason why;

    assert_int_equal(len, header + text + (code == 0 || code == 1005 ? 0 : 2));
    ws_reader_init(&r, sender);
    assert_int_equal(ws_feed(&r, span_of(out, len), &why), len);
    assert_int_equal(why, R_NONE);
    assert_int_equal(r.close_code, code == 0 ? 1005 : code);
}

static void test_write_close(void **state)
{
    char reason[124];

    (void)state;
    memset(reason, 'r', sizeof(reason));
    for (unsigned sender = WS_CLIENT; sender <= WS_SERVER; sender++) {
        expect_close((enum ws_sender)sender, 1008, SPAN("policy-denied"), 13);
        expect_close((enum ws_sender)sender, 1001, span_of(NULL, 0), 0);
        expect_close((enum ws_sender)sender, 0, SPAN("not sent"), 0);
        expect_close((enum ws_sender)sender, 1005, SPAN("not sent"), 0);
        expect_close((enum ws_sender)sender, 1002, span_of(reason, 123), 123);
        expect_close((enum ws_sender)sender, 1002, span_of(reason, 124), 123);
        memcpy(reason + 121, "\xe2\x82\xac", 3); /* a character that only begins to fit */
        expect_close((enum ws_sender)sender, 1002, span_of(reason, 124), 121);
        memset(reason, 'r', sizeof(reason));
    }
}

/* What a policy might say: ways by the number of the message; what is held is passed on at its end if the number is even. */
struct owner {
    struct ws_reader r;
    unsigned ways, messages, asked;
    uint64_t payload;
    size_t passed, held;
    char out[STREAM_MAX], raw[STREAM_MAX];
};

static enum reason on_frame(void *arg, const struct ws_frame *frame, enum ws_way *way)
{
    struct owner *o = arg;

    o->asked++;
    if (frame->begins)
        *way = (enum ws_way)((o->ways + o->messages++) % 3);
    else if (frame->opcode == 10 && frame->control.len == 1)
        *way = WS_DROP;
    return R_NONE;
}

static enum reason on_payload(void *arg, struct span payload, const uint8_t *mask, unsigned at)
{
    struct owner *o = arg;

    assert_true(payload.len > 0);
    for (size_t i = 0; i < payload.len; i++) /* must not depend on the cut */
        o->payload = o->payload * 31 + ((uint8_t)payload.at[i] ^ (mask == NULL ? 0u : mask[(at + i) & 3]));
    return R_NONE;
}

static void take(struct owner *o, struct span run)
{
    switch (o->r.way) {
    case WS_PASS:
        memcpy(o->out + o->passed, run.at, run.len);
        o->passed += run.len;
        break;
    case WS_HOLD:
        memcpy(o->raw + o->held, run.at, run.len);
        o->held += run.len;
        if (!o->r.ended)
            break;
        if (o->messages % 2 == 0) {
            memcpy(o->out + o->passed, o->raw, o->held);
            o->passed += o->held;
        }
        o->held = 0;
        break;
    case WS_DROP:
        break;
    }
}

static enum reason own(struct owner *o, unsigned ways, size_t size)
{
    enum reason why = R_NONE;
    size_t used = 0, end = 0, n;

    memset(o, 0, offsetof(struct owner, out));
    ws_reader_init(&o->r, s.sender);
    o->r.calls = (struct ws_calls){ .on_frame = on_frame, .on_payload = on_payload, .arg = o };
    o->r.limits.compressed = true;
    o->ways = ways;
    while (end < s.len && why == R_NONE) {
        end = s.len - end < size ? s.len : end + size;
        do {
            n = ws_feed(&o->r, span_of(s.bytes + used, end - used), &why);
            if (n > 0)
                take(o, span_of(s.bytes + used, n));
            used += n;
        } while (n > 0 && why == R_NONE);
    }
    return why;
}

static uint32_t draw(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 16) % below;
}

/* Frames that are valid, in any order that is. */
static unsigned random_stream(uint32_t seed, bool compressed)
{
    unsigned frames = 1 + draw(&seed, 20), n = 0;
    bool open = false;

    begin(draw(&seed, 2) ? WS_SERVER : WS_CLIENT);
    while (n < frames || open) {
        static const char bytes[] = "0123456789 \x01 plain text that is a little longer than that, and then some more of it, "
                                    "so that lengths of two bytes are among those that are drawn here as well as those of one. ";
        struct span payload = span_of(bytes, draw(&seed, sizeof(bytes)));
        bool fin = draw(&seed, 2) || n > 40;

        n++;
        if (draw(&seed, 3) == 0) {
            add(draw(&seed, 2) ? 0x89 : 0x8a, span_of(bytes, draw(&seed, 3)));
            continue;
        }
        add((fin ? 0x80u : 0) | (open ? 0 : 1 + draw(&seed, 2)) | (!open && compressed && draw(&seed, 2) ? 0x40u : 0), payload);
        open = !fin;
    }
    return n;
}

static void test_ways(void **state)
{
    static struct owner whole, cut;
    static struct strict strict;

    (void)state;
    for (uint32_t seed = 0; seed < 1500; seed++) {
        unsigned frames = random_stream(seed * 2654435761u, seed & 1);

        for (unsigned ways = 0; ways < 3; ways++) {
            assert_int_equal(own(&whole, ways, s.len), R_NONE);
            assert_int_equal(whole.asked, frames);
            assert_true(ws_at_boundary(&whole.r));
            strict_init(&strict, s.sender == WS_CLIENT, true);
            assert_true(strict_stream(&strict, whole.out, whole.passed) && !strict.inside);
            for (size_t i = 1; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                assert_int_equal(own(&cut, ways, sizes[i]), R_NONE);
                assert_int_equal(cut.passed, whole.passed);
                assert_memory_equal(cut.out, whole.out, whole.passed);
                assert_int_equal(cut.asked, frames);
                assert_true(cut.payload == whole.payload);
            }
        }
    }
}

/* A message vanishes, a ping between its frames passes; what is behind it, too. */
static void test_dropped(void **state)
{
    static struct owner o;

    (void)state;
    begin(WS_SERVER);
    add(0x01, SPAN("dro"));
    add(0x89, SPAN("ping"));
    add(0x80, SPAN("pped"));
    add(0x8a, SPAN("!"));
    for (size_t size = 1; size <= s.len; size++) {
        assert_int_equal(own(&o, WS_DROP, size), R_NONE);
        assert_int_equal(o.passed, 6);
        assert_memory_equal(o.out, "\x89\x04ping", 6);
        assert_false(o.r.begun);
        assert_true(o.payload == 0);
    }
    begin(WS_SERVER);
    add_frame(0x01, 0, 9, SPAN("dro"));
    assert_int_equal(own(&o, WS_DROP, 1), R_NONE);
    assert_true(ws_at_boundary(&o.r)); /* nothing of it was passed on */
    assert_int_equal(own(&o, WS_PASS, 1), R_NONE);
    assert_false(ws_at_boundary(&o.r));
    assert_true(o.r.begun);
}

/* RSV1: on the first frame of a data message alone, and then the payload is not read as UTF-8. */
static void test_compressed(void **state)
{
    static const struct {
        unsigned open, first;
        enum reason why;
    } table[] = {
        { 0, 0xc1, R_NONE },
        { 0, 0xc2, R_NONE },
        { 0x41, 0x80, R_NONE },
        { 0x41, 0xc0, R_FRAME_MALFORMED },
        { 0x01, 0xc0, R_FRAME_MALFORMED },
        { 0, 0xc9, R_FRAME_MALFORMED },
        { 0, 0xc8, R_FRAME_MALFORMED },
        { 0, 0xe1, R_FRAME_MALFORMED },
        { 0, 0xa1, R_FRAME_MALFORMED },
        { 0, 0x81, R_UTF8_INVALID },
    };
    static struct owner o;

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        begin(WS_CLIENT);
        if (table[i].open != 0)
            add(table[i].open, SPAN(""));
        add(table[i].first, SPAN("\xff\xff"));
        assert_int_equal(own(&o, WS_PASS, 1), table[i].why);
        assert_int_equal(own(&o, WS_PASS, s.len), table[i].why);
    }
}

/* Each limit at it and one past it. */
static void test_each_limit(void **state)
{
    static const struct {
        struct ws_limits limits;
        unsigned frames;
        enum reason why;
    } table[] = {
        { { .frame_bytes = 4 }, 3, R_NONE },         { { .frame_bytes = 3 }, 3, R_MESSAGE_TOO_BIG },
        { { .message_bytes = 12 }, 3, R_NONE },      { { .message_bytes = 11 }, 3, R_MESSAGE_TOO_BIG },
        { { .fragments = 3 }, 3, R_NONE },           { { .fragments = 2 }, 3, R_FRAGMENT_LIMIT },
        { { .fragments = 1 }, 1, R_NONE },           { { .no_binary = true }, 3, R_NONE },
        { { .no_text = true }, 3, R_OPCODE_DENIED }, { { .fragments = 0 }, 300, R_NONE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
            struct ws_reader r;
            enum reason why;

            begin(WS_CLIENT);
            for (unsigned n = 1; n <= table[i].frames; n++)
                add((n == table[i].frames ? 0x80u : 0) | (n == 1 ? 1 : 0), SPAN("four"));
            ws_reader_init(&r, WS_CLIENT);
            r.limits = table[i].limits;
            assert_int_equal(feed(&r, sizes[k], &why) == s.len, table[i].why == R_NONE);
            assert_int_equal(why, table[i].why);
        }
}

static void test_write_ping(void **state)
{
    char out[WS_PING_MAX], payload[126];
    struct ws_reader r;
    enum reason why;

    (void)state;
    memset(payload, 'p', sizeof(payload));
    assert_int_equal(ws_write_ping(out, WS_SERVER, SPAN("postern:"), NULL), 10);
    assert_memory_equal(out, "\x89\x08postern:", 10);
    assert_int_equal(ws_write_ping(out, WS_SERVER, span_of(NULL, 0), NULL), 2);
    for (size_t len = 125; len <= 126; len++) {
        assert_int_equal(ws_write_ping(out, WS_CLIENT, span_of(payload, len), key), 6 + 125);
        ws_reader_init(&r, WS_CLIENT);
        assert_int_equal(ws_feed(&r, span_of(out, 131), &why), 131);
        assert_int_equal(r.frames[WS_KIND_PING], 1);
    }
}

static void test_unmask(void **state)
{
    char in[64], out[64];

    (void)state;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (char)(i * 7);
    for (unsigned at = 0; at < 4; at++)
        for (size_t n = 0; n <= sizeof(in); n++) {
            ws_unmask(out, in, n, key, at);
            for (size_t i = 0; i < n; i++)
                assert_int_equal((uint8_t)out[i], (uint8_t)in[i] ^ key[(at + i) & 3]);
            ws_unmask(out, out, n, key, at);
            assert_memory_equal(out, in, n);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),     cmocka_unit_test(test_good),        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_fragments),   cmocka_unit_test(test_mask),        cmocka_unit_test(test_close_codes),
        cmocka_unit_test(test_after_close), cmocka_unit_test(test_early),       cmocka_unit_test(test_not_at_boundary),
        cmocka_unit_test(test_counters),    cmocka_unit_test(test_limits),      cmocka_unit_test(test_no_limits),
        cmocka_unit_test(test_close_bytes), cmocka_unit_test(test_write_close), cmocka_unit_test(test_ways),
        cmocka_unit_test(test_dropped),     cmocka_unit_test(test_compressed),  cmocka_unit_test(test_each_limit),
        cmocka_unit_test(test_write_ping),  cmocka_unit_test(test_unmask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
