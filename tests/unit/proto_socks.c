/* SPDX-License-Identifier: ISC */
/* SOCKS 5: greetings, requests and replies; each message also cut at every byte. SK numbers are those of tests/vectors.jsonl. */
#include "proto/socks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define A16 "aaaaaaaaaaaaaaaa"
#define A64 A16 A16 A16 A16

static void test_greeting(void **state)
{
    static const struct {
        struct span in;
        enum socks_progress progress;
        size_t used;
        enum reason why;
    } table[] = {
        { SPAN(""), SOCKS_MORE, 0, R_NONE },
        { SPAN("\x05"), SOCKS_MORE, 0, R_NONE },
        { SPAN("\x05\x02\x02"), SOCKS_MORE, 0, R_NONE },
        { SPAN("\x05\x01\x00"), SOCKS_DONE, 3, R_NONE },
        { SPAN("\x05\x03\x02\x80\x00"), SOCKS_DONE, 5, R_NONE },
        { SPAN("\x05\x01\x00\x05\x01"), SOCKS_DONE, 3, R_NONE },
        { SPAN("\x05\x00"), SOCKS_BAD, 0, R_SOCKS_MALFORMED },      /* SK-02 */
        { SPAN("\x05\x01\x09"), SOCKS_BAD, 3, R_SOCKS_METHOD },     /* SK-04 */
        { SPAN("\x05\x01\x09\x00"), SOCKS_BAD, 3, R_SOCKS_METHOD }, /* not in the list */
        { SPAN("\x05\x02\x02\xff"), SOCKS_BAD, 4, R_SOCKS_METHOD },
        { SPAN("\x04\x01\x00\x50"), SOCKS_BAD, 0, R_SOCKS_MALFORMED }, /* SK-01 */
        { SPAN("G"), SOCKS_BAD, 0, R_SOCKS_MALFORMED },                /* SK-22 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        size_t used;
        enum reason why;

        assert_int_equal(socks_greeting(table[i].in, &used, &why), table[i].progress);
        assert_int_equal(used, table[i].used);
        assert_int_equal(why, table[i].why);
    }
}

/* Parses every beginning of `in`, from exact blocks: only the whole may be decided, if `whole` says so. Returns the verdict of the
 * whole. */
static enum socks_progress request(struct span in, bool whole, struct socks_request *out, enum socks_reply *reply, enum reason *why)
{
    enum socks_progress progress = SOCKS_MORE;

    for (size_t n = 0; n <= in.len; n++) {
        char *block = malloc(n + 1);
        size_t used;

        memcpy(block, in.at, n);
        progress = socks_request(span_of(block, n), out, &used, reply, why);
        free(block);
        if (whole)
            assert_int_equal(progress, n < in.len ? SOCKS_MORE : SOCKS_DONE);
        if (progress == SOCKS_DONE)
            assert_int_equal(used, in.len);
        if (progress == SOCKS_BAD)
            break;
    }
    return progress;
}

static void test_request(void **state)
{
    static const struct {
        struct span in;
        const char *host;
        uint16_t family, port;
    } table[] = {
        { SPAN("\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"), "10.0.0.1", AF_INET, 80 },
        { SPAN("\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xff"), "2001:db8::1", AF_INET6, 65535 },
        { SPAN("\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01\x00\x50"), "127.0.0.1", AF_INET, 80 }, /* SK-15 */
        { SPAN("\x05\x01\x00\x03\x06"
               "A.test"
               "\x01\xbb"),
          "a.test", 0, 443 },
        { SPAN("\x05\x01\x00\x03\x07"
               "a.test."
               "\x01\xbb"),
          "a.test", 0, 443 },
        { SPAN("\x05\x01\x00\x03\x01"
               "a"
               "\x00\x01"),
          "a", 0, 1 },
        { SPAN("\x05\x01\x00\x03\x0c"
               "b\xc3\xbc"
               "cher.test"
               "\x01\xbb"),
          "xn--bcher-kva.test", 0, 443 },
        { SPAN("\x05\x01\x00\x03\x05"
               "127.1"
               "\x01\xbb"),
          "127.0.0.1", AF_INET, 443 },
        { SPAN("\x05\x01\x00\x03\x0a"
               "2852039166"
               "\x01\xbb"),
          "169.254.169.254", AF_INET, 443 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct socks_request out;
        enum socks_reply reply;
        enum reason why;

        assert_int_equal(request(table[i].in, true, &out, &reply, &why), SOCKS_DONE);
        assert_int_equal(why, R_NONE);
        assert_string_equal(out.host.name, table[i].host);
        assert_int_equal(out.host.ip.family, table[i].family);
        assert_int_equal(out.port, table[i].port);
    }
}

static void test_bad_request(void **state)
{
    static const struct {
        struct span in;
        enum socks_reply reply;
        enum reason why;
    } table[] = {
        { SPAN("\x04"), SOCKS_FAILURE, R_SOCKS_MALFORMED },
        { SPAN("\x05\x02"), SOCKS_COMMAND_UNSUPPORTED, R_SOCKS_COMMAND }, /* SK-05 */
        { SPAN("\x05\x03"), SOCKS_COMMAND_UNSUPPORTED, R_SOCKS_COMMAND },
        { SPAN("\x05\x00"), SOCKS_COMMAND_UNSUPPORTED, R_SOCKS_COMMAND },
        { SPAN("\x05\x01\x01"), SOCKS_FAILURE, R_SOCKS_MALFORMED }, /* SK-08 */
        { SPAN("\x05\x01\x00\x02"), SOCKS_ADDRESS_UNSUPPORTED, R_SOCKS_MALFORMED },
        { SPAN("\x05\x01\x00\x00"), SOCKS_ADDRESS_UNSUPPORTED, R_SOCKS_MALFORMED },
        { SPAN("\x05\x01\x00\x03\x00"), SOCKS_FAILURE, R_SOCKS_MALFORMED }, /* SK-10 */
        { SPAN("\x05\x01\x00\x03\xff" A64 A64 A64 A16 A16 A16 "aaaaaaaaaaaaaaa\x01\xbb"), SOCKS_FAILURE,
          R_SOCKS_MALFORMED }, /* SK-11 */
        { SPAN("\x05\x01\x00\x03\x12"
               "allowed.test\0.evil"
               "\x01\xbb"),
          SOCKS_FAILURE, R_SOCKS_MALFORMED }, /* SK-12 */
        { SPAN("\x05\x01\x00\x03\x05"
               "[::1]"
               "\x01\xbb"),
          SOCKS_FAILURE, R_SOCKS_MALFORMED },
        { SPAN("\x05\x01\x00\x03\x04"
               "\xff\xfe\xfd\xfc"
               "\x01\xbb"),
          SOCKS_FAILURE, R_SOCKS_MALFORMED },
        { SPAN("\x05\x01\x00\x03\x09"
               "a.test:80"
               "\x01\xbb"),
          SOCKS_FAILURE, R_SOCKS_MALFORMED },
        { SPAN("\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x00"), SOCKS_FAILURE, R_SOCKS_MALFORMED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct socks_request out;
        enum socks_reply reply;
        enum reason why;

        assert_int_equal(request(table[i].in, false, &out, &reply, &why), SOCKS_BAD);
        assert_int_equal(reply, table[i].reply);
        assert_int_equal(why, table[i].why);
    }
}

static void test_request_with_more_behind(void **state)
{
    struct socks_request out;
    enum socks_reply reply;
    enum reason why;
    size_t used;

    (void)state;
    assert_int_equal(socks_request(SPAN("\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50GET /"), &out, &used, &reply, &why), SOCKS_DONE);
    assert_int_equal(used, 10);
    assert_int_equal(reply, SOCKS_SUCCEEDED);
}

static void test_reply(void **state)
{
    struct addr none = { 0 }, ip4, ip6;
    char out[SOCKS_REPLY_MAX];

    (void)state;
    assert_true(addr_parse(&ip4, SPAN("10.1.2.3"), 0x1234));
    assert_true(addr_parse(&ip6, SPAN("2001:db8::1"), 443));
    assert_int_equal(socks_write_reply(out, SOCKS_NOT_ALLOWED, &none), 10);
    assert_memory_equal(out, "\x05\x02\x00\x01\0\0\0\0\0\0", 10);
    assert_int_equal(socks_write_reply(out, SOCKS_SUCCEEDED, &ip4), 10);
    assert_memory_equal(out, "\x05\x00\x00\x01\x0a\x01\x02\x03\x12\x34", 10);
    assert_int_equal(socks_write_reply(out, SOCKS_SUCCEEDED, &ip6), 22);
    assert_memory_equal(out, "\x05\x00\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb", 22);
}

static void test_reply_for(void **state)
{
    (void)state;
    assert_int_equal(socks_reply_for(R_NONE), SOCKS_SUCCEEDED);
    assert_int_equal(socks_reply_for(R_ZONE_UNKNOWN), SOCKS_NOT_ALLOWED);
    assert_int_equal(socks_reply_for(R_ADDRESS_PRIVATE), SOCKS_NOT_ALLOWED);
    assert_int_equal(socks_reply_for(R_NO_ROUTE), SOCKS_NETWORK_UNREACHABLE);
    assert_int_equal(socks_reply_for(R_NAME_UNRESOLVED), SOCKS_HOST_UNREACHABLE);
    assert_int_equal(socks_reply_for(R_UPSTREAM_REFUSED), SOCKS_REFUSED);
    assert_int_equal(socks_reply_for(R_SOCKS_COMMAND), SOCKS_COMMAND_UNSUPPORTED);
    assert_int_equal(socks_reply_for(R_COUNT), SOCKS_FAILURE);
    for (unsigned r = R_NONE + 1; r < R_COUNT; r++)
        assert_int_not_equal(socks_reply_for((enum reason)r), SOCKS_SUCCEEDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting),    cmocka_unit_test(test_request), cmocka_unit_test(test_request_with_more_behind),
        cmocka_unit_test(test_bad_request), cmocka_unit_test(test_reply),   cmocka_unit_test(test_reply_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
