/* SPDX-License-Identifier: ISC */
/*
 * WebSocket frames and their owner: what he refuses, whom he is asked about, and what he may change between calls. Frames are those
 * of a server, so that they can be read here; each part of a stream is given to one call.
 */
#include "proto/ws_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* What the owner does: frame `refuse` (from 1) is refused, or payload with an 'X' in it; messages go `way`. */
struct owner {
    unsigned refuse, asked, paid;
    uint8_t last;
    enum ws_way way;
};

static struct owner o;
static struct ws_reader r;
static enum reason why;

static enum reason on_frame(void *arg, const struct ws_frame *frame, enum ws_way *way)
{
    struct owner *owner = arg;

    owner->last = frame->opcode;
    if (frame->begins)
        *way = owner->way;
    return ++owner->asked == owner->refuse ? R_RATE_EXCEEDED : R_NONE;
}

static enum reason on_payload(void *arg, struct span payload, const uint8_t *mask, unsigned at)
{
    struct owner *owner = arg;

    (void)at;
    assert_null(mask);
    owner->paid += (unsigned)payload.len;
    return memchr(payload.at, 'X', payload.len) != NULL ? R_MATCH_DENIED : R_NONE;
}

static void begin(enum ws_way way, unsigned refuse)
{
    o = (struct owner){ .way = way, .refuse = refuse };
    ws_reader_init(&r, WS_SERVER);
    r.calls = (struct ws_calls){ .on_frame = on_frame, .on_payload = on_payload, .arg = &o };
}

static void expect(struct span in, size_t good, enum reason reason)
{
    assert_int_equal(ws_feed(&r, in, &why), good);
    assert_int_equal(why, reason);
}

#define FIRST "\x01\x03one"
#define PING "\x89\x01p"
#define MORE "\x00\x03two"
#define LAST "\x80\x03six"
#define BINARY "\x82\x02\xff\xff"

/* A frame that is refused is not passed on, wherever it stands and however it was cut; what is before it is. */
static void test_frame_refused(void **state)
{
    static const size_t ends[] = { 0, 5, 8, 13, 18, 22 };
    const struct span in = SPAN(FIRST PING MORE LAST BINARY);

    (void)state;
    for (unsigned n = 1; n <= 5; n++)
        for (size_t cut = 0; cut <= in.len; cut++) {
            size_t used;

            begin(WS_PASS, n);
            used = ws_feed(&r, span_of(in.at, cut), &why);
            if (why == R_NONE)
                used += ws_feed(&r, span_skip(in, used), &why);
            assert_int_equal(why, R_RATE_EXCEEDED);
            assert_int_equal(used, ends[n - 1]);
            assert_int_equal(o.asked, n);
            assert_true(ws_at_boundary(&r));
            assert_int_equal(r.message != 0 && r.begun, n == 2 || n == 3 || n == 4);
        }
    begin(WS_PASS, 6);
    expect(in, ends[5], R_NONE);
}

/* Payload that is refused takes its frame with it, if that began in this call; otherwise nothing can be put behind it. */
static void test_payload_refused(void **state)
{
    (void)state;
    begin(WS_PASS, 0);
    expect(SPAN(BINARY "\x81\x03oXe"), 4, R_MATCH_DENIED);
    assert_true(ws_at_boundary(&r));
    assert_false(r.begun);
    begin(WS_PASS, 0);
    expect(SPAN(FIRST PING "\x80\x02X"), 8, R_MATCH_DENIED);
    assert_true(ws_at_boundary(&r));
    assert_true(r.begun);
    begin(WS_PASS, 0);
    expect(SPAN("\x81\x03o"), 3, R_NONE);
    expect(SPAN("X"), 0, R_MATCH_DENIED);
    assert_false(ws_at_boundary(&r));
    begin(WS_PASS, 0);
    expect(SPAN("\x82\x03"
                "ab"),
           4, R_NONE);
    expect(SPAN("X" BINARY), 0, R_MATCH_DENIED); /* the last byte of its message */
    assert_false(ws_at_boundary(&r));
}

/* What is held was not passed on, so a frame can be put behind it in any case; what is dropped is not looked at. */
static void test_payload_refused_unseen(void **state)
{
    (void)state;
    begin(WS_HOLD, 0);
    expect(SPAN("\x81\x03o"), 3, R_NONE);
    assert_int_equal(r.way, WS_HOLD);
    expect(SPAN("X"), 0, R_MATCH_DENIED);
    assert_true(ws_at_boundary(&r));
    assert_false(r.begun);
    begin(WS_DROP, 0);
    expect(SPAN("\x81\x03oXe"), 5, R_NONE);
    assert_int_equal(r.way, WS_DROP);
    assert_int_equal(o.paid, 0);
    begin(WS_DROP, 0);
    expect(SPAN("\x81\x03o\xff"), 0, R_UTF8_INVALID); /* but it must keep RFC 6455 */
}

static void test_control_only(void **state)
{
    (void)state;
    begin(WS_HOLD, 3);
    r.calls.control_only = true;
    expect(SPAN(FIRST PING MORE LAST BINARY), 22, R_NONE);
    assert_int_equal(o.asked, 1);
    assert_int_equal(o.paid, 11); /* payload is shown all the same */
    assert_int_equal(r.way, WS_PASS);
    expect(SPAN("\x8a\x00" BINARY), 6, R_NONE);
    assert_int_equal(o.last, 10);
    expect(SPAN(BINARY PING BINARY), 4, R_RATE_EXCEEDED);
    assert_int_equal(o.asked, 3);
    assert_true(ws_at_boundary(&r));
}

/* The rest of a message that was held vanishes: of the frame that is open, and all that follow. A ping between them passes. */
static void test_hold_turned(void **state)
{
    (void)state;
    begin(WS_HOLD, 0);
    expect(SPAN("\x01\x03on"), 4, R_NONE);
    assert_int_equal(r.way, WS_HOLD);
    r.message_way = WS_DROP;
    expect(SPAN("X"), 1, R_NONE); /* nobody is shown it any more */
    assert_int_equal(r.way, WS_DROP);
    assert_int_equal(o.paid, 2);
    expect(SPAN(PING LAST), 3, R_NONE);
    assert_int_equal(r.way, WS_PASS);
    expect(SPAN(LAST BINARY), 5, R_NONE);
    assert_int_equal(r.way, WS_DROP);
    assert_true(ws_at_boundary(&r));
    assert_false(r.begun);
    expect(SPAN(BINARY BINARY), 4, R_NONE); /* the next one is held again */
    assert_int_equal(r.way, WS_HOLD);
    assert_true(r.ended);
    assert_int_equal(o.asked, 4);
}

/* The way may be turned while the next frame of the message is known already, but was not taken. */
static void test_hold_turned_before_frame(void **state)
{
    (void)state;
    begin(WS_HOLD, 0);
    expect(SPAN(FIRST), 5, R_NONE);
    expect(SPAN(PING MORE), 3, R_NONE);
    assert_int_equal(o.asked, 3);
    r.message_way = WS_DROP;
    expect(SPAN(MORE LAST), 10, R_NONE);
    assert_int_equal(r.way, WS_DROP);
    assert_int_equal(o.asked, 4);
    assert_int_equal(o.paid, 3);
    assert_int_equal(r.message, 0);
}

/* New limits hold from the next frame on; a frame whose header has passed keeps its word. */
static void test_limits_changed(void **state)
{
    static const struct {
        struct ws_limits limits;
        struct span next;
        enum reason why;
    } table[] = {
        { { .frame_bytes = 2 }, SPAN(LAST), R_MESSAGE_TOO_BIG },
        { { .frame_bytes = 3 }, SPAN(LAST), R_NONE },
        { { .message_bytes = 5 }, SPAN(LAST), R_MESSAGE_TOO_BIG },
        { { .message_bytes = 6 }, SPAN(LAST), R_NONE },
        { { .message_bytes = 2 }, SPAN("\x80\x00"), R_MESSAGE_TOO_BIG },
        { { .message_bytes = 3 }, SPAN("\x80\x00"), R_NONE },
        { { .fragments = 1 }, SPAN(LAST), R_FRAGMENT_LIMIT },
        { { .fragments = 2 }, SPAN(LAST), R_NONE },
        { { .no_text = true }, SPAN(LAST), R_NONE }, /* it was let begin */
        { { .no_text = true }, SPAN(LAST "\x81\x00"), R_OPCODE_DENIED },
        { { .no_binary = true }, SPAN(LAST "\x81\x00"), R_NONE },
        { { .compressed = true }, SPAN(LAST "\xc1\x00"), R_NONE },
        { { .compressed = false }, SPAN(LAST "\xc1\x00"), R_FRAME_MALFORMED },
        { { .frame_bytes = 1, .message_bytes = 1, .fragments = 1, .no_text = true, .no_binary = true },
          SPAN("\x89\x02pp"),
          R_NONE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        begin(WS_PASS, 0);
        expect(SPAN("\x01\x03o"), 3, R_NONE);
        r.limits = table[i].limits;
        expect(SPAN("ne"), 2, R_NONE);
        assert_int_equal(ws_feed(&r, table[i].next, &why) == table[i].next.len, table[i].why == R_NONE);
        assert_int_equal(why, table[i].why);
        assert_true(ws_at_boundary(&r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_refused),
        cmocka_unit_test(test_payload_refused),
        cmocka_unit_test(test_payload_refused_unseen),
        cmocka_unit_test(test_control_only),
        cmocka_unit_test(test_hold_turned),
        cmocka_unit_test(test_hold_turned_before_frame),
        cmocka_unit_test(test_limits_changed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
