/* SPDX-License-Identifier: ISC */
/* UTF-8: every code point, every neighbour of a bound, each with and without a mask, at each position and cut at each place. */
#include "proto/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static size_t encode(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

static void test_every_code_point(void **state)
{
    char text[4];

    (void)state;
    for (uint32_t c = 0; c <= 0x110fff; c++) {
        bool valid = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
        size_t n = encode(c, text);

        if ((utf8_feed(0, span_of(text, n)) == 0) != valid)
            fail_msg("U+%04X", c);
    }
}

/* How many bytes it takes to know that they are wrong. */
static const struct {
    const char *bytes;
    size_t known;
} bad[] = {
    { "\x80", 1 },
    { "\xbf", 1 },
    { "\xc0\xaf", 1 },
    { "\xc1\xbf", 1 },
    { "\xe0\x80\xaf", 2 },
    { "\xe0\x9f\xbf", 2 },
    { "\xf0\x80\x80\xaf", 2 },
    { "\xf0\x8f\xbf\xbf", 2 },
    { "\xed\xa0\x80", 2 },
    { "\xed\xbf\xbf", 2 },
    { "\xf4\x90\x80\x80", 2 },
    { "\xf5\x80\x80\x80", 1 },
    { "\xf8\x88\x80\x80\x80", 1 },
    { "\xfe", 1 },
    { "\xff", 1 },
    { "\xce(", 2 },
    { "\xe2\x82(", 3 },
    { "\xf0\x9f\x98\xff", 4 },
    { "\xe2\xe2", 2 },
    { "\xc3\xc3", 2 },
};

static void test_bad_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_true(utf8_feed(0, span_of(bad[i].bytes, bad[i].known - 1)) != UTF8_BAD);
        assert_true(utf8_feed(0, span_of(bad[i].bytes, bad[i].known)) == UTF8_BAD);
    }
    assert_true(utf8_feed(UTF8_BAD, SPAN("a")) == UTF8_BAD);
}

static void test_incomplete(void **state)
{
    (void)state;
    assert_true(utf8_feed(0, SPAN("abcdefgh\xe2\x82")) != 0);
    assert_true(utf8_feed(utf8_feed(0, SPAN("abcdefgh\xe2\x82")), SPAN("\xac")) == 0);
    assert_true(utf8_feed(0, span_of(NULL, 0)) == 0);
}

static const char mixed[] = "plain ascii, long enough; \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 0123456789abcdef\xf4\x8f\xbf\xbf.";

static void mask_over(char *bytes, size_t len, const uint8_t mask[4], unsigned at)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(bytes[i] ^ mask[(at + i) & 3]);
}

static void test_masked_and_cut(void **state)
{
    static const uint8_t mask[4] = { 0x11, 0xa2, 0x80, 0xff };
    size_t len = sizeof(mixed) - 1;

    (void)state;
    for (unsigned at = 0; at < 4; at++) {
        char bytes[sizeof(mixed)];

        memcpy(bytes, mixed, len);
        mask_over(bytes, len, mask, at);
        for (size_t cut = 0; cut <= len; cut++) {
            uint32_t s = utf8_feed_masked(0, span_of(bytes, cut), mask, at);

            assert_true(s != UTF8_BAD);
            assert_true(s == utf8_feed(0, span_of(mixed, cut)));
            assert_true(utf8_feed_masked(s, span_of(bytes + cut, len - cut), mask, (unsigned)(at + cut)) == 0);
        }
    }
}

/* One wrong byte, at every place of texts of any length that the fast path would like to skip; and a character that only begins. */
static void test_bad_under_fast_path(void **state)
{
    static const uint8_t mask[4] = { 0x80, 0x01, 0x7f, 0xfe };
    char bytes[75];

    (void)state;
    for (size_t len = 1; len <= sizeof(bytes); len++)
        for (size_t where = 0; where < len; where++)
            for (unsigned at = 0; at < 4; at++) {
                memset(bytes, 'a', len);
                bytes[where] = (char)0xff;
                assert_true(utf8_feed(0, span_of(bytes, len)) == UTF8_BAD);
                mask_over(bytes, len, mask, at);
                assert_true(utf8_feed_masked(0, span_of(bytes, len), mask, at) == UTF8_BAD);
                mask_over(bytes, len, mask, at);
                bytes[where] = (char)0xc3;
                mask_over(bytes, len, mask, at);
                assert_true((utf8_feed_masked(0, span_of(bytes, len), mask, at) == UTF8_BAD) == (where + 1 < len));
                assert_true(utf8_feed_masked(0, span_of(bytes, len), mask, at) != 0);
            }
}

/* Any two bytes at every place of a row of characters of two bytes, of which the fast path takes some at once. */
static void test_pairs(void **state)
{
    static const uint8_t mask[4] = { 0x80, 0x01, 0x7f, 0xfe };

    (void)state;
    for (unsigned pair = 0; pair <= 0xffff; pair++)
        for (unsigned where = 0; where < 10; where++) {
            char bytes[] = "\xc2\x80\xdf\xbf\xc3\xa4\xd0\x80\xc4\x80\xd1\xbf\xc2\xbf\xdf\x80\xc3\x80\xc3\x80";
            struct span whole = span_of(bytes, sizeof(bytes) - 1);
            uint32_t s = 0;

            bytes[where] = (char)(pair >> 8);
            bytes[where + 1] = (char)pair;
            for (size_t i = 0; i < whole.len && s != UTF8_BAD; i++) /* too short for it */
                s = utf8_feed(s, span_of(bytes + i, 1));
            assert_true(utf8_feed(0, whole) == s);
            mask_over(bytes, whole.len, mask, pair & 3);
            assert_true(utf8_feed_masked(0, whole, mask, pair & 3) == s);
        }
}

/* Characters of three and four bytes at the bounds of what is good, and next to them, with every value of one byte in its place. */
static const char *const bounds[] = {
    "\xe0\xa0\x80",     "\xe0\xbf\xbf",     "\xe1\x80\x80",     "\xec\xbf\xbf",     "\xed\x80\x80",
    "\xed\x9f\xbf",     "\xee\x80\x80",     "\xef\xbf\xbf",     "\xf0\x90\x80\x80", "\xf0\xbf\xbf\xbf",
    "\xf1\x80\x80\x80", "\xf3\xbf\xbf\xbf", "\xf4\x80\x80\x80", "\xf4\x8f\xbf\xbf",
};

#define FRONT 37 /* more than the widest step, and then all of its remainders */
#define BACK 9   /* a whole word behind the longest character, and less */

static uint32_t byte_by_byte(struct span bytes)
{
    uint32_t s = 0;

    for (size_t i = 0; i < bytes.len && s != UTF8_BAD; i++) /* too short for any fast path */
        s = utf8_feed(s, span_of(bytes.at + i, 1));
    return s;
}

/* At every distance from the front and the back, at every alignment, in two pieces cut anywhere, and masked. */
static void check_everywhere(const char *character, size_t n)
{
    static const uint8_t mask[4] = { 0x80, 0x01, 0x7f, 0xfe };
    char room[FRONT + 4 + BACK + 8];

    for (size_t front = 0; front < FRONT; front++) {
        size_t back = front % (BACK + 1), align = front % 8, len = front + n + back;
        char *bytes = room + align;
        struct span whole = span_of(bytes, len);
        uint32_t wanted;

        memset(bytes, 'a', len);
        memcpy(bytes + front, character, n);
        wanted = byte_by_byte(whole);
        assert_true(utf8_feed(0, whole) == wanted);
        for (size_t cut = front > 9 ? front - 9 : 0; cut <= len; cut++)
            assert_true(utf8_feed(utf8_feed(0, span_of(bytes, cut)), span_of(bytes + cut, len - cut)) == wanted);
        mask_over(bytes, len, mask, (unsigned)front);
        assert_true(utf8_feed_masked(0, whole, mask, (unsigned)front) == wanted);
    }
}

static void test_bounds_everywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
        for (size_t where = 0; where < strlen(bounds[i]); where++)
            for (unsigned byte = 0; byte < 256; byte++) {
                char character[4];
                size_t n = strlen(bounds[i]);

                memcpy(character, bounds[i], n);
                character[where] = (char)byte;
                check_everywhere(character, n);
            }
}

/* Any first two bytes, with good ones behind them: surrogates, overlong forms, what lies above U+10FFFF. */
static void test_all_fronts(void **state)
{
    (void)state;
    for (unsigned pair = 0x8000; pair <= 0xffff; pair++) {
        char bytes[] = "..\xbf\x80........";
        struct span whole = span_of(bytes, sizeof(bytes) - 1);

        bytes[0] = (char)(pair >> 8);
        bytes[1] = (char)pair;
        assert_true(utf8_feed(0, whole) == byte_by_byte(whole));
        bytes[3] = '.';
        assert_true(utf8_feed(0, whole) == byte_by_byte(whole));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point),  cmocka_unit_test(test_bad_at_once),         cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_masked_and_cut),    cmocka_unit_test(test_bad_under_fast_path), cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_bounds_everywhere), cmocka_unit_test(test_all_fronts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
