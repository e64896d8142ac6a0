/* SPDX-License-Identifier: ISC */
/*
 * The WebSocket handshake. Heads are put together by hand, so that each rule is asked alone; one test goes through the HTTP parser.
 * WH and WS numbers are those of tests/vectors.jsonl.
 */
#include "proto/ws_handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static struct h1_head head;

static void add(enum h1_name id, const char *value)
{
    h1_add(&head, (struct h1_field){ .value = span_str(value), .id = id });
}

static void begin_request(void)
{
    head.field_count = 0;
    head.kind = H1_REQUEST;
    head.minor = 1;
    head.is_get = head.upgrade = head.upgrade_websocket = true;
    head.framing = H1_NO_BODY;
    head.length = 0;
    head.has_length = false;
    add(H1_HOST, "a.test");
}

static void begin_answer(void)
{
    begin_request();
    head.kind = H1_RESPONSE;
    head.is_get = false;
    head.status = 101;
}

/* A request with these fields; NULL: without that field. */
static enum reason check(const char *key, const char *version, const char *protocol, const char *extensions, struct ws_offer *offer)
{
    begin_request();
    if (key != NULL)
        add(H1_WS_KEY, key);
    if (version != NULL)
        add(H1_WS_VERSION, version);
    if (protocol != NULL)
        add(H1_WS_PROTOCOL, protocol);
    if (extensions != NULL)
        add(H1_WS_EXTENSIONS, extensions);
    return ws_request_check(&head, offer);
}

static void test_accept(void **state)
{
    char out[WS_ACCEPT_TEXT + 1];

    (void)state;
    ws_accept(KEY, out); /* RFC 6455 1.3 */
    assert_string_equal(out, ACCEPT);
    ws_accept("AAAAAAAAAAAAAAAAAAAAAA==", out);
    assert_int_equal(strlen(out), WS_ACCEPT_TEXT);
    assert_string_not_equal(out, ACCEPT);
}

static void test_key(void **state)
{
    static const char *const bad[] = {
        "",
        "short",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=A",
        "dGhlIHNhbXBsZSBub25jZR==",
        "dGhlIHNhbXBsZSBub25jZQAA",
        "dGhl IHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25j-Q==",
        "dGhlIHNhbXBsZSBub25jZ_==",
        "=GhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZ\xc1==",
        KEY ", " KEY,
    };
    struct ws_offer offer;

    (void)state;
    assert_int_equal(check(KEY, "13", NULL, NULL, &offer), R_NONE);
    assert_string_equal(offer.key, KEY);
    assert_string_equal(offer.protocols, "");
    assert_int_equal(check("+/09AZazAAAAAAAAAAAAAg==", "13", NULL, NULL, &offer), R_NONE);
    assert_int_equal(check(NULL, "13", NULL, NULL, &offer), R_HANDSHAKE_MALFORMED);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (check(bad[i], "13", NULL, NULL, &offer) != R_HANDSHAKE_MALFORMED) /* WH-07 */
            fail_msg("accepted: %s", bad[i]);
    check(KEY, "13", NULL, NULL, &offer);
    add(H1_WS_KEY, "AAAAAAAAAAAAAAAAAAAAAA=="); /* WH-10 */
    assert_int_equal(ws_request_check(&head, &offer), R_HANDSHAKE_MALFORMED);
}

static void test_version(void **state)
{
    static const char *const bad[] = { "", "8", "12", "14", "013", "13, 8", "13 13", "1", "+13" };
    struct ws_offer offer;

    (void)state;
    assert_int_equal(check(KEY, NULL, NULL, NULL, &offer), R_WS_VERSION);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(check(KEY, bad[i], NULL, NULL, &offer), R_WS_VERSION);
    assert_int_equal(check(KEY, "13", NULL, NULL, &offer), R_NONE);
    add(H1_WS_VERSION, "8"); /* WH-05 */
    assert_int_equal(ws_request_check(&head, &offer), R_HANDSHAKE_MALFORMED);
}

static void test_message(void **state)
{
    struct ws_offer offer;

    (void)state;
    assert_int_equal(check(KEY, "13", NULL, NULL, &offer), R_NONE);
    head.has_length = true; /* of zero bytes: no body */
    assert_int_equal(ws_request_check(&head, &offer), R_NONE);
    head.is_get = false; /* WH-11 */
    assert_int_equal(ws_request_check(&head, &offer), R_HANDSHAKE_MALFORMED);
    head.is_get = true;
    head.minor = 0;
    assert_int_equal(ws_request_check(&head, &offer), R_HANDSHAKE_MALFORMED);
    head.minor = 1;
    head.upgrade_websocket = false; /* WH-14 */
    assert_int_equal(ws_request_check(&head, &offer), R_HANDSHAKE_MALFORMED);
    head.upgrade_websocket = true;
    head.framing = H1_LENGTH; /* WH-15 */
    head.length = 1;
    assert_int_equal(ws_request_check(&head, &offer), R_HANDSHAKE_MALFORMED);
    head.framing = H1_CHUNKED; /* WH-16 */
    head.length = 0;
    assert_int_equal(ws_request_check(&head, &offer), R_HANDSHAKE_MALFORMED);
}

static void test_protocols(void **state)
{
    static const struct {
        const char *value, *offer; /* NULL: refused */
    } table[] = {
        { "chat", "chat" },
        { "chat, superchat", "chat,superchat" },
        { "a ,b\t,  c", "a,b,c" },
        { "Chat,chat", "Chat,chat" },
        { "v1.a-b_c~!#", "v1.a-b_c~!#" },
        { "", NULL },
        { ",", NULL },
        { "chat,", NULL },
        { ",chat", NULL },
        { "chat,, bad token", NULL },
        /* WH-23 */ { "chat,,b", NULL },
        { "bad token", NULL },
        { "a/b", NULL },
        { "chat,chat", NULL },
        { "a,b,a", NULL },
        { "\"a\"", NULL },
        { "a;b", NULL },
        { "a\x80", NULL },
    };
    struct ws_offer offer;

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        enum reason why = check(KEY, "13", table[i].value, NULL, &offer);

        if (why != (table[i].offer != NULL ? R_NONE : R_HANDSHAKE_MALFORMED))
            fail_msg("%s: %s", table[i].value, reason_name(why));
        if (table[i].offer != NULL)
            assert_string_equal(offer.protocols, table[i].offer);
    }
}

static void test_protocols_in_two_fields(void **state)
{
    struct ws_offer offer;

    (void)state;
    check(KEY, "13", "a, b", NULL, &offer);
    add(H1_WS_PROTOCOL, "c");
    assert_int_equal(ws_request_check(&head, &offer), R_NONE);
    assert_string_equal(offer.protocols, "a,b,c");
    add(H1_WS_PROTOCOL, "b");
    assert_int_equal(ws_request_check(&head, &offer), R_HANDSHAKE_MALFORMED);
}

static void test_protocols_limit(void **state)
{
    char value[WS_PROTOCOLS_TEXT + 1];
    struct ws_offer offer;

    (void)state;
    memset(value, 'p', sizeof(value));
    value[2] = ',';
    value[WS_PROTOCOLS_TEXT - 1] = '\0';
    assert_int_equal(check(KEY, "13", value, NULL, &offer), R_NONE);
    assert_string_equal(offer.protocols, value);
    value[WS_PROTOCOLS_TEXT - 1] = 'p';
    value[WS_PROTOCOLS_TEXT] = '\0';
    assert_int_equal(check(KEY, "13", value, NULL, &offer), R_HANDSHAKE_MALFORMED);
    value[2] = 'p';
    assert_int_equal(check(KEY, "13", value, NULL, &offer), R_HANDSHAKE_MALFORMED);
}

static void test_extensions(void **state)
{
    static const char *const good[] = {
        "permessage-deflate",  "permessage-deflate; client_max_window_bits",
        "a; b=1; c=\"2\" ; d", "a;b, c ;d=e",
        "a; b=\"\\1\\0\"",     "a\t;\tb",
    };
    static const char *const bad[] = {
        "",
        ",",
        "a,",
        ",a",
        "a,,b",
        ";",
        "a;",
        "a; ;b",
        "a b",
        "a=b",
        "a; b=",
        "a; =b",
        "a; b =c",
        "a; b=\"",
        "a; b=\"\"",
        "a; b=\"x;y", /* WH-25 */
        "a; b=\"c d\"",
        "a; b=\"c,d\"",
        "a; b=\"c\"d",
        "a; b=\"c\\",
        "a; b=\"\\\"\"",
        "a; b=c d",
        "a/b",
        "a; b=\x80",
        "\"a\"",
    };
    struct ws_offer offer;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (check(KEY, "13", NULL, good[i], &offer) != R_NONE)
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (check(KEY, "13", NULL, bad[i], &offer) != R_HANDSHAKE_MALFORMED)
            fail_msg("accepted: %s", bad[i]);
}

static struct ws_offer asked = { .key = KEY, .protocols = "chat,v1" };

static void test_answer(void **state)
{
    (void)state;
    begin_answer();
    assert_int_equal(ws_response_check(&head, &asked), R_ACCEPT_MISMATCH); /* WS-02 */
    add(H1_WS_ACCEPT, ACCEPT);
    assert_int_equal(ws_response_check(&head, &asked), R_NONE);
    head.minor = 0; /* WS-10 */
    assert_int_equal(ws_response_check(&head, &asked), R_ACCEPT_MISMATCH);
    head.minor = 1;
    head.status = 200; /* WS-11 */
    assert_int_equal(ws_response_check(&head, &asked), R_ACCEPT_MISMATCH);
    head.status = 101;
    head.upgrade_websocket = false; /* WS-03 */
    assert_int_equal(ws_response_check(&head, &asked), R_ACCEPT_MISMATCH);
    head.upgrade_websocket = true;
    head.has_length = true; /* WS-08 */
    assert_int_equal(ws_response_check(&head, &asked), R_ACCEPT_MISMATCH);
    head.has_length = false;
    add(H1_TRANSFER_ENCODING, ""); /* WS-09 */
    assert_int_equal(ws_response_check(&head, &asked), R_ACCEPT_MISMATCH);
}

static void test_accept_field(void **state)
{
    static const char *const bad[] = { "",
                                       "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                                       "s3pplmbitxaq9kygzzhzrbk+xoo=",
                                       ACCEPT ACCEPT,
                                       ACCEPT ", x",
                                       "s3pPLMBiTxaQ9kYGzzhZRbK+xOo",
                                       KEY };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        begin_answer();
        add(H1_WS_ACCEPT, bad[i]); /* WS-01 */
        assert_int_equal(ws_response_check(&head, &asked), R_ACCEPT_MISMATCH);
    }
    begin_answer();
    add(H1_WS_ACCEPT, ACCEPT);
    add(H1_WS_ACCEPT, ACCEPT);
    assert_int_equal(ws_response_check(&head, &asked), R_ACCEPT_MISMATCH);
}

static enum reason answer_with(enum h1_name id, const char *value)
{
    begin_answer();
    add(H1_WS_ACCEPT, ACCEPT);
    add(id, value);
    return ws_response_check(&head, &asked);
}

static void test_answer_choices(void **state)
{
    static struct ws_offer none = { .key = KEY };

    (void)state;
    assert_int_equal(answer_with(H1_WS_PROTOCOL, "chat"), R_NONE);
    assert_int_equal(answer_with(H1_WS_PROTOCOL, "v1"), R_NONE);
    assert_int_equal(ws_response_check(&head, &none), R_SUBPROTOCOL_UNOFFERED);
    add(H1_WS_PROTOCOL, "chat");
    assert_int_equal(ws_response_check(&head, &asked), R_SUBPROTOCOL_UNOFFERED);
    assert_int_equal(answer_with(H1_WS_PROTOCOL, "Chat"), R_SUBPROTOCOL_UNOFFERED);
    assert_int_equal(answer_with(H1_WS_PROTOCOL, "cha"), R_SUBPROTOCOL_UNOFFERED);
    assert_int_equal(answer_with(H1_WS_PROTOCOL, "chat,v1"), R_SUBPROTOCOL_UNOFFERED);
    assert_int_equal(answer_with(H1_WS_PROTOCOL, ""), R_SUBPROTOCOL_UNOFFERED);
    assert_int_equal(answer_with(H1_WS_EXTENSIONS, "permessage-deflate"), R_EXTENSION_UNOFFERED);
    assert_int_equal(answer_with(H1_WS_EXTENSIONS, ""), R_EXTENSION_UNOFFERED);
}

/* What the client offers is in the offer; what is left of it by policies is what the server may answer. */
static void test_deflate(void **state)
{
    struct ws_offer offer;

    (void)state;
    assert_int_equal(check(KEY, "13", NULL, NULL, &offer), R_NONE);
    assert_false(offer.deflate.on || offer.deflate.named || offer.agreed.on);
    assert_int_equal(check(KEY, "13", NULL, "x, permessage-deflate; bad", &offer), R_NONE);
    assert_true(offer.deflate.named && !offer.deflate.on);
    assert_int_equal(check(KEY, "13", NULL, "x, permessage-deflate; client_max_window_bits", &offer), R_NONE);
    assert_true(offer.deflate.named && offer.deflate.on && offer.deflate.client_bits_said && !offer.agreed.on);
    begin_answer();
    add(H1_WS_ACCEPT, ACCEPT);
    assert_int_equal(ws_response_check(&head, &offer), R_NONE);
    assert_false(offer.agreed.on);
    add(H1_WS_EXTENSIONS, "permessage-deflate; client_max_window_bits=9");
    assert_int_equal(ws_response_check(&head, &offer), R_NONE);
    assert_true(offer.agreed.on && offer.agreed.client_bits == 9);
    head.fields[head.field_count - 1].value = SPAN("x");
    assert_int_equal(ws_response_check(&head, &offer), R_EXTENSION_UNOFFERED);
    assert_false(offer.agreed.on);
    head.fields[head.field_count - 1].value = SPAN("permessage-deflate");
    offer.deflate.on = false;
    assert_int_equal(ws_response_check(&head, &offer), R_EXTENSION_UNOFFERED);
    assert_false(offer.agreed.on);
}

static void test_through_the_parser(void **state)
{
    static const struct h1_limits limits = { 32768, 100, 8192 };
    static const struct h1_asked upgrade = { .upgrade = true };
    struct span request = SPAN("GET /ws HTTP/1.1\r\nHost: a.test\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
                               "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v1\r\n\r\n");
    struct span answer = SPAN("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: " ACCEPT "\r\nSec-WebSocket-Protocol: v1\r\n\r\n");
    struct ws_offer offer;

    (void)state;
    assert_int_equal(h1_parse(&head, H1_REQUEST, request, &limits, NULL), R_NONE);
    assert_int_equal(ws_request_check(&head, &offer), R_NONE);
    assert_string_equal(offer.protocols, "v1");
    assert_int_equal(h1_parse(&head, H1_RESPONSE, answer, &limits, &upgrade), R_NONE);
    assert_int_equal(ws_response_check(&head, &offer), R_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_protocols),
        cmocka_unit_test(test_protocols_in_two_fields),
        cmocka_unit_test(test_protocols_limit),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_accept_field),
        cmocka_unit_test(test_answer_choices),
        cmocka_unit_test(test_deflate),
        cmocka_unit_test(test_through_the_parser),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
