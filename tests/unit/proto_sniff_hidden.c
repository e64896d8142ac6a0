/* SPDX-License-Identifier: ISC */
/* Other protocols at the start of a binary stream: each one, each short of its last fixed byte, and what only looks like one. */
#include "proto/sniff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* `known`: bytes that it takes; 0: it is none of them. */
static const struct {
    struct span in;
    size_t known;
} table[] = {
    { SPAN("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 6 },
    { SPAN("\x16\x03\x03\x00\x7a\x02\x00"), 6 },
    { SPAN("\x15\x03\x03\x00\x02\x02\x28"), 6 },
    { SPAN("\x16\x03\x05\x02\x00\x01\x00"), 0 },
    { SPAN("\x16\x03\x01\x00\x00\x01\x00"), 0 },
    { SPAN("\x16\x03\x01\x41\x00\x01\x00"), 6 },
    { SPAN("\x16\x03\x01\x41\x01\x01\x00"), 0 },
    { SPAN("\x16\x03\x01\x02\x00\x03\x00"), 0 },
    { SPAN("\x18\x03\x01\x02\x00\x01\x00"), 0 },
    { SPAN("SSH-2.0-OpenSSH_9.2"), 4 },
    { SPAN("SSL-2.0"), 0 },
    { SPAN("HTTP/1.1 200 OK\r\n"), 6 },
    { SPAN("HTTP/x"), 0 },
    { SPAN("GET / HTTP/1.1\r\nHost: a\r\n"), 11 },
    { SPAN("\r\nGET / HTTP/1.1\r\nHost: a\r\n"), 13 },
    { SPAN("CONNECT a.test:443 HTTP/1.1\r\n"), 24 },
    { SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 11 },
    { SPAN("GET key of a cache\r\n"), 0 },
    { SPAN("GOT / HTTP/1.1\r\n"), 0 },
    { SPAN("GET /01234567890123456789012345678901234567890123456789012345678901234567890123456789"), 64 },
    { SPAN("GET /01234567890123456789012345678901234567890123456789012345 HTTP/1.1\r\n"), 64 },
    { SPAN("GET /0123456789012345678901234567890123456789012345678901234 and nothing of HTTP"), 0 },
    { SPAN("\x05\x01\x00"), 3 },
    { SPAN("\x05\x02\x00\x02more"), 4 },
    { SPAN("\x05\x00\x00"), 0 },
    { SPAN("\x05\x01\x0a"), 0 },
    { SPAN("\x05\x02\x00\x00"), 0 },
    { SPAN("\x04\x01\x00\x50\x0a\x00\x00\x01\x00"), 9 },
    { SPAN("\x04\x01\x00\x50\x0a\x00\x00\x01me\x00"), 11 },
    { SPAN("\x04\x03\x00\x50\x0a\x00\x00\x01\x00"), 0 },
    { SPAN("\x04\x01\x00\x00\x0a\x00\x00\x01\x00"), 0 },
    { SPAN("\x04\x01\x00\x50\x0a\x00\x00\x01\x07\x00"), 0 },
    { SPAN("\x00\x00\x00\x01 a binary message of an application, whatever else it says ....."), 0 },
};

static void test_prefixes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (size_t n = 0; n <= table[i].in.len; n++)
            if (sniff_hidden(span_of(table[i].in.at, n)) != (table[i].known > 0 && n >= table[i].known))
                fail_msg("row %zu, %zu bytes", i, n);
}

/* Bytes behind 64 do not count. */
static void test_too_late(void **state)
{
    char bytes[128];

    (void)state;
    memset(bytes, 'u', sizeof(bytes));
    memcpy(bytes, "\x04\x01\x00\x50\x0a\x00\x00\x01", 8);
    bytes[SNIFF_HIDDEN_MAX - 1] = 0;
    assert_true(sniff_hidden(span_of(bytes, sizeof(bytes))));
    bytes[SNIFF_HIDDEN_MAX - 1] = 'u';
    bytes[SNIFF_HIDDEN_MAX] = 0;
    assert_false(sniff_hidden(span_of(bytes, sizeof(bytes))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_too_late),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
