/* SPDX-License-Identifier: ISC */
/* The words of rows and records: each value has its own, and one past the last has none. They are part of what users rely on. */
#include "base/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EXPECT(function, type, count, ...)                                                                                         \
    do {                                                                                                                           \
        static const char *const words[] = { __VA_ARGS__ };                                                                        \
                                                                                                                                   \
        assert_int_equal(sizeof(words) / sizeof(words[0]), count);                                                                 \
        for (unsigned i = 0; i < (count); i++)                                                                                     \
            assert_string_equal(function((type)i), words[i]);                                                                      \
        assert_string_equal(function((type)(count)), "?");                                                                         \
        assert_string_equal(function((type)255), "?");                                                                             \
    } while (0)

static void test_words(void **state)
{
    (void)state;
    EXPECT(row_state_name, enum row_state, ROW_STATE_COUNT, "FREE", "NEW", "ESTABLISHED", "RELATED", "CLOSING", "CLOSED",
           "DRAINING");
    EXPECT(phase_name, enum phase, PHASE_COUNT, "sniff", "socks", "handshake", "http", "tunnel-wait", "peek", "tunnel",
           "upgrade-wait", "websocket", "closing", "dead");
    EXPECT(mode_name, enum mode, MODE_COUNT, "explicit", "transparent", "reverse", "forwarded");
    EXPECT(conntrack_state_name, enum conntrack_state, CONNTRACK_STATES, "", "NEW", "ESTABLISHED", "RELATED", "CLOSED",
           "UNTRACKED");
    EXPECT(row_protocol_name, enum row_protocol, PROTO_COUNT, "", "http", "websocket", "connect", "tls", "socks", "tunnel", "tcp",
           "udp", "icmp");
    EXPECT(closer_name, enum closer, CLOSER_COUNT, "", "client", "server", "postern");
    EXPECT(ws_kind_name, enum ws_kind, WS_KIND_COUNT, "continuation", "text", "binary", "close", "ping", "pong");
    EXPECT(tls_way_name, enum tls_way, TLS_WAY_COUNT, "", "ended", "peeked", "inspected");
    EXPECT(tls_alpn_name, enum tls_alpn, TLS_ALPN_COUNT, "", "http/1.1");
    EXPECT(record_event_name, enum record_event, RECORD_EVENT_COUNT, "start", "interval", "end", "denied");
}

static void test_tls(void **state)
{
    static const char *const versions[] = { "?", "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3", "?" };
    char text[TLS_SUITE_TEXT];

    (void)state;
    assert_string_equal(tls_version_name(0), "");
    for (uint16_t i = 0; i < 7; i++)
        assert_string_equal(tls_version_name((uint16_t)(0x02ff + i)), versions[i]);
    assert_string_equal(tls_suite_name(0, text), "");
    assert_string_equal(tls_suite_name(0x1301, text), "TLS_AES_128_GCM_SHA256");
    assert_string_equal(tls_suite_name(0xccaa, text), "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256");
    assert_string_equal(tls_suite_name(0x0a0a, text), "0x0a0a");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_words), cmocka_unit_test(test_tls) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
