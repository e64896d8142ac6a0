/* SPDX-License-Identifier: ISC */
/* Reasons are data: the table must make sense as a whole. */
#include "base/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static bool name_is_sane(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || (*c == '-' && c != name && c[1] != '\0')))
            return false;
    return name[0] != '\0';
}

static bool close_code_is_sane(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1006 && code <= 1009) || (code >= 1011 && code <= 1013);
}

static void test_rows(void **state)
{
    (void)state;
    for (unsigned r = 0; r < R_COUNT; r++) {
        const char *sentence = reason_sentence((enum reason)r);
        unsigned status = reason_status((enum reason)r);

        assert_true(name_is_sane(reason_name((enum reason)r)));
        assert_true(status == 0 || (status >= 400 && status <= 599));
        assert_true(close_code_is_sane(reason_close_code((enum reason)r)));
        assert_int_equal(sentence[strlen(sentence) - 1], '.');
        assert_true(sentence[0] >= 'A' && sentence[0] <= 'Z');
        /* What is answered over HTTP has a Proxy-Status error, and nothing else has. */
        assert_int_equal(status != 0, reason_proxy_error((enum reason)r)[0] != '\0');
    }
}

static void test_names(void **state)
{
    (void)state;
    for (unsigned r = 0; r < R_COUNT; r++)
        assert_int_equal(reason_find(span_str(reason_name((enum reason)r))), r); /* unique */
    assert_int_equal(reason_find(SPAN("no-such-reason")), R_COUNT);
    assert_int_equal(reason_find(SPAN("")), R_COUNT);
    assert_string_equal(reason_name(R_ADDRESS_PRIVATE), "address-private");
    assert_int_equal(reason_status(R_ZONE_UNKNOWN), 403);
    assert_int_equal(reason_close_code(R_REVOKED), 1008);
}

static void test_out_of_range(void **state)
{
    enum reason wild = (enum reason)(R_COUNT + 5);

    (void)state;
    assert_string_equal(reason_name(wild), "?");
    assert_string_equal(reason_sentence(wild), "?");
    assert_string_equal(reason_proxy_error(wild), "");
    assert_int_equal(reason_status(wild), 500);
    assert_int_equal(reason_close_code(wild), 1011);
}

/* What breaks a protocol is hostile. What a policy does not allow, a server does, or a page can make an honest browser do, is not.
 */
static void test_hostile(void **state)
{
    static const enum reason hostile[] = { R_FRAME_MALFORMED,   R_UTF8_INVALID,   R_CONTROL_FLOOD,
                                           R_DEFLATE_MALFORMED, R_HEAD_MALFORMED, R_TLS_FLOOD };
    static const enum reason harmless[] = { R_NONE,           R_OPCODE_DENIED,      R_SEND_DENIED,        R_MATCH_DENIED,
                                            R_TIMEOUT_AGE,    R_TIMEOUT_PING,       R_TUNNEL_INSIDE,      R_EXTENSION_DENIED,
                                            R_STREAM_LIMIT,   R_FRAME_MASKED,       R_PUSH_CONTRACT,      R_POLICY_DENIED,
                                            R_HOST_MISMATCH,  R_SNI_MISMATCH,       R_MESSAGE_TOO_BIG,    R_DEFLATE_RATIO,
                                            R_FRAGMENT_LIMIT, R_TARGET_MALFORMED,   R_RATE_EXCEEDED,      R_TLS_HANDSHAKE,
                                            R_SNI_UNKNOWN,    R_INSPECTION_REFUSED, R_CLIENT_CERTIFICATE, R_MATCH_LIMIT };

    (void)state;
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
        assert_true(reason_is_hostile(hostile[i]));
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
        assert_false(reason_is_hostile(harmless[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_names), cmocka_unit_test(test_hostile),
                                        cmocka_unit_test(test_out_of_range) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
