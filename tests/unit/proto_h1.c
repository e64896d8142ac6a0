/* SPDX-License-Identifier: ISC */
/* Heads: what h1_parse() makes of those that the scanner lets through. */
#include "proto/h1_fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define OK "HTTP/1.1 200 OK\r\n"
#define END "\r\n"

static const struct h1_limits limits = { .header_bytes = 65536, .header_count = 1000, .uri_bytes = 1024 };
static struct h1_head head;

static enum reason parse_within(const struct h1_limits *l, enum h1_kind kind, struct span in, const struct h1_asked *asked)
{
    struct h1_scan scan = { 0 };
    uint32_t len = 0;
    enum reason why = R_NONE;

    assert_int_equal(h1_scan(&scan, kind, l, in, &len, &why), H1_DONE);
    assert_int_equal(len, in.len);
    return h1_parse(&head, kind, in, l, asked);
}

static enum reason request(const char *text)
{
    return parse_within(&limits, H1_REQUEST, span_str(text), NULL);
}

static enum reason response_to(struct h1_asked asked, const char *text)
{
    return parse_within(&limits, H1_RESPONSE, span_str(text), &asked);
}

static enum reason response(const char *text)
{
    return response_to((struct h1_asked){ 0 }, text);
}

struct verdict {
    const char *text;
    enum reason why;
};

static void expect_verdicts(enum reason (*parse)(const char *), const struct verdict *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum reason why = parse(cases[i].text);

        if (why != cases[i].why)
            print_error("%s: %s\n", cases[i].text, reason_name(why));
        assert_int_equal(why, cases[i].why);
    }
}

#define EXPECT_VERDICTS(parse, cases) expect_verdicts(parse, cases, sizeof(cases) / sizeof((cases)[0]))

static void assert_span(struct span got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.at, want, got.len);
}

static void fields_are_trimmed_spans(void **state)
{
    (void)state;
    assert_int_equal(request("\r\nPUT /a?b HTTP/1.0\r\nhOST: \t h:1 \t \r\nX:\r\nY:y\r\nX-Z: caf\xe9 \"a,b\"\r\n" END), R_NONE);
    assert_span(head.method, "PUT");
    assert_span(head.target, "/a?b");
    assert_int_equal(head.minor, 0);
    assert_int_equal(head.field_count, 4);
    assert_span(head.host, "h:1");
    assert_span(head.fields[0].name, "hOST");
    assert_span(head.fields[1].value, "");
    assert_span(head.fields[2].value, "y");
    assert_span(head.fields[3].name, "X-Z");
    assert_span(head.fields[3].value, "caf\xe9 \"a,b\"");
    assert_int_equal(head.fields[0].id, H1_HOST);
    assert_int_equal(head.fields[3].id, H1_OTHER);
    assert_ptr_equal(h1_find(&head, H1_HOST), &head.fields[0]);
    assert_null(h1_find(&head, H1_VIA));
    assert_int_equal(h1_count(&head, H1_OTHER), 3);
}

static void names_are_known_in_any_case(void **state)
{
    static const struct {
        const char *name;
        enum h1_name id;
    } cases[] = {
        { "Host", H1_HOST },
        { "coNNection", H1_CONNECTION },
        { "CONTENT-LENGTH", H1_CONTENT_LENGTH },
        { "transfer-encoding", H1_TRANSFER_ENCODING },
        { "te", H1_TE },
        { "Trailer", H1_TRAILER },
        { "upgradE", H1_UPGRADE },
        { "Expect", H1_EXPECT },
        { "VIA", H1_VIA },
        { "Max-Forwards", H1_MAX_FORWARDS },
        { "Keep-Alive", H1_KEEP_ALIVE },
        { "Proxy-Connection", H1_PROXY_CONNECTION },
        { "Proxy-Authorization", H1_PROXY_AUTHORIZATION },
        { "Proxy-Authenticate", H1_PROXY_AUTHENTICATE },
        { "Proxy-Authentication-Info", H1_PROXY_AUTHENTICATION_INFO },
        { "Forwarded", H1_FORWARDED },
        { "X-Forwarded-For", H1_X_FORWARDED_FOR },
        { "X-Forwarded-Host", H1_X_FORWARDED_HOST },
        { "X-Forwarded-Proto", H1_X_FORWARDED_PROTO },
        { "X-Real-IP", H1_X_REAL_IP },
        { "HTTP2-Settings", H1_HTTP2_SETTINGS },
        { "Origin", H1_ORIGIN },
        { "Accept", H1_ACCEPT },
        { "Sec-WebSocket-Key", H1_WS_KEY },
        { "Sec-WebSocket-Version", H1_WS_VERSION },
        { "Sec-WebSocket-Protocol", H1_WS_PROTOCOL },
        { "Sec-WebSocket-Extensions", H1_WS_EXTENSIONS },
        { "Sec-WebSocket-Accept", H1_WS_ACCEPT },
        { "Authorization", H1_AUTHORIZATION },
        { "WWW-Authenticate", H1_WWW_AUTHENTICATE },
        { "Date", H1_DATE },
        { "Server", H1_SERVER },
        { "Cache-Control", H1_CACHE_CONTROL },
        { "X_Forwarded_For", H1_X_FORWARDED_FOR },
        { "x_forwarded-HOST", H1_X_FORWARDED_HOST },
        { "X-Forwarded_Proto", H1_X_FORWARDED_PROTO },
        { "X_REAL_IP", H1_X_REAL_IP },
        { "X-Real.IP", H1_OTHER },
        { "X_Real_IQ", H1_OTHER },
        { "X_Rual_IP", H1_OTHER },
        { "Content_Length", H1_OTHER },
        { "Transfer_Encoding", H1_OTHER },
        { "Keep_Alive", H1_OTHER },
        { "Hast", H1_OTHER },
        { "Hos", H1_OTHER },
        { "Set-Cookie", H1_OTHER },
        { "H", H1_OTHER },
        { "!", H1_OTHER },
        { "", H1_OTHER },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(h1_name_find(span_str(cases[i].name)), cases[i].id);
}

static void requests(void **state)
{
    static const struct verdict cases[] = {
        { GET END, R_NONE },
        { "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", R_NONE },
        { "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", R_NONE },
        { "get / HTTP/1.1\r\nHost: a\r\n\r\n", R_METHOD_UNKNOWN },
        { "FROB / HTTP/1.1\r\nHost: a\r\n\r\n", R_METHOD_UNKNOWN },
        { "GETX / HTTP/1.1\r\nHost: a\r\n\r\n", R_METHOD_UNKNOWN },
        { "G / HTTP/1.1\r\nHost: a\r\n\r\n", R_METHOD_UNKNOWN },
        { "SOURCE / HTTP/1.1\r\nHost: a\r\n\r\n", R_METHOD_UNKNOWN },
        { "PRI * HTTP/1.1\r\nHost: a\r\n\r\n", R_METHOD_UNKNOWN },
        { "DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n", R_METHOD_UNKNOWN },
        { "FLUSH / HTTP/1.1\r\nHost: a\r\n\r\n", R_METHOD_UNKNOWN },
        { GET "X : y\r\n" END, R_HEAD_MALFORMED },
        { GET "X Y: z\r\n" END, R_HEAD_MALFORMED },
        { GET "X\r\n" END, R_HEAD_MALFORMED },
        { GET ":\r\n" END, R_HEAD_MALFORMED },
        { GET ": x\r\n" END, R_HEAD_MALFORMED },
        { GET "X\xff: y\r\n" END, R_HEAD_MALFORMED },
        { GET "X@: y\r\n" END, R_HEAD_MALFORMED },
        { GET "Host\t: y\r\n" END, R_HEAD_MALFORMED },
        { "GET / HTTP/1.1\r\n\r\n", R_HOST_MALFORMED },
        { "GET / HTTP/1.0\r\n\r\n", R_NONE },
        { "GET / HTTP/1.1\r\nHost:\r\n\r\n", R_HOST_MALFORMED },
        { "GET / HTTP/1.0\r\nHost: \t\r\n\r\n", R_HOST_MALFORMED },
        { GET "Host: a\r\n" END, R_HOST_MALFORMED },
        { "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", R_HOST_MALFORMED },
        { GET "Expect: 100-Continue\r\n" END, R_NONE },
        { GET "Expect: 100-continue\r\nExpect: x\r\n" END, R_EXPECTATION_UNKNOWN },
        { GET "Expect: 100-continue, x\r\n" END, R_EXPECTATION_UNKNOWN },
        { GET "Expect:\r\n" END, R_EXPECTATION_UNKNOWN },
    };

    (void)state;
    EXPECT_VERDICTS(request, cases);
}

static void request_framing(void **state)
{
    static const struct verdict cases[] = {
        { POST "Content-Length: 0\r\n" END, R_NONE },
        { POST "Content-Length: 9223372036854775807\r\n" END, R_NONE },
        { POST "Content-Length: 9223372036854775808\r\n" END, R_BODY_TOO_LARGE },
        { POST "Content-Length: 18446744073709551615\r\n" END, R_BODY_TOO_LARGE },
        { POST "Content-Length: 18446744073709551616\r\n" END, R_BODY_TOO_LARGE },
        { POST "Content-Length: 99999999999999999999999999\r\n" END, R_BODY_TOO_LARGE },
        { POST "Content-Length: 0000000000000000005\r\n" END, R_NONE },
        { POST "Content-Length: 00000000000000000005\r\n" END, R_BODY_TOO_LARGE },
        { POST "Content-Length:\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Content-Length: +5\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Content-Length: -5\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Content-Length: 5 5\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Content-Length: 5,5\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Content-Length: 0x5\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Content-Length: 99999999999999999999999999x\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Content-Length: 5\r\nContent-Length: 5\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Transfer-Encoding: \t Chunked  \r\n" END, R_NONE },
        { POST "Transfer-Encoding:\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Transfer-Encoding: identity\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Transfer-Encoding: gzip, chunked\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Transfer-Encoding: chunked, gzip\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Transfer-Encoding: ,chunked\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Transfer-Encoding: chunked,\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Transfer-Encoding:\r\nContent-Length: 5\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END, R_FRAMING_AMBIGUOUS },
        { POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END, R_FRAMING_AMBIGUOUS },
        { "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", R_FRAMING_AMBIGUOUS },
        { "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", R_NONE },
        { "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", R_FRAMING_AMBIGUOUS },
        { "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", R_FRAMING_AMBIGUOUS },
        { GET "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n" END, R_FRAMING_AMBIGUOUS },
        { GET "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n" END, R_NONE },
        { GET "Upgrade: websocket\r\nContent-Length: 1\r\n" END, R_NONE },
    };

    (void)state;
    EXPECT_VERDICTS(request, cases);
}

static void request_lengths(void **state)
{
    (void)state;
    assert_int_equal(request(GET END), R_NONE);
    assert_int_equal(head.framing, H1_NO_BODY);
    assert_false(head.has_length);
    assert_int_equal(request(POST "Content-Length: 0042\r\n" END), R_NONE);
    assert_int_equal(head.framing, H1_LENGTH);
    assert_int_equal(head.length, 42);
    assert_true(head.has_length);
    assert_int_equal(request(POST "Transfer-Encoding: chunked\r\n" END), R_NONE);
    assert_int_equal(head.framing, H1_CHUNKED);
}

static void methods(void **state)
{
    static const struct {
        const char *method;
        bool get, head, connect, idempotent;
    } cases[] = {
        { "GET", true, false, false, true },      { "HEAD", false, true, false, true },   { "CONNECT", false, false, true, false },
        { "POST", false, false, false, false },   { "PUT", false, false, false, true },   { "DELETE", false, false, false, true },
        { "OPTIONS", false, false, false, true }, { "TRACE", false, false, false, true }, { "PATCH", false, false, false, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128];

        snprintf(text, sizeof(text), "%s a:1 HTTP/1.1\r\nHost: a\r\n\r\n", cases[i].method);
        if (!cases[i].connect)
            snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\n\r\n", cases[i].method);
        assert_int_equal(request(text), R_NONE);
        assert_span(head.method, cases[i].method);
        assert_int_equal(head.is_get, cases[i].get);
        assert_int_equal(head.is_head, cases[i].head);
        assert_int_equal(head.is_connect, cases[i].connect);
        assert_int_equal(head.is_idempotent, cases[i].idempotent);
    }
}

static void connection_facts(void **state)
{
    static const struct {
        const char *text;
        bool keep_alive, upgrade, websocket, expects;
    } cases[] = {
        { GET END, true, false, false, false },
        { GET "Connection: close\r\n" END, false, false, false, false },
        { GET "Connection: close\t\r\n" END, false, false, false, false },
        { GET "Connection: , ,CLOSE,,\r\n" END, false, false, false, false },
        { GET "Connection: keep-alive, close\r\n" END, false, false, false, false },
        { GET "Connection: keep-alive\r\nConnection: close\r\n" END, false, false, false, false },
        { GET "Connection: closed\r\n" END, true, false, false, false },
        { "GET / HTTP/1.0\r\n" END, false, false, false, false },
        { "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n" END, true, false, false, false },
        { "GET / HTTP/1.0\r\nConnection: Keep-Alive, close\r\n" END, false, false, false, false },
        { GET "Connection: Upgrade\r\nUpgrade: WebSocket\r\n" END, true, true, true, false },
        { GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n" END, true, true, false, false },
        { GET "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n" END, true, true, false, false },
        { GET "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n" END, true, true, false, false },
        { GET "Connection: Upgrade\r\n" END, true, false, false, false },
        { GET "Upgrade: websocket\r\n" END, true, false, false, false },
        { "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" END, false, false, false, false },
        { POST "Expect: 100-continue\r\n" END, true, false, false, true },
        { "POST / HTTP/1.0\r\nExpect: 100-continue\r\n" END, false, false, false, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(request(cases[i].text), R_NONE);
        assert_int_equal(head.keep_alive, cases[i].keep_alive);
        assert_int_equal(head.upgrade, cases[i].upgrade);
        assert_int_equal(head.upgrade_websocket, cases[i].websocket);
        assert_int_equal(head.expects_continue, cases[i].expects);
    }
}

static bool is_hop(const char *name)
{
    for (size_t i = 0; i < head.field_count; i++)
        if (span_ieq(head.fields[i].name, span_str(name)))
            return head.fields[i].hop;
    fail_msg("no field %s", name);
    return false;
}

static void hop_by_hop_fields(void **state)
{
    static const char *const hop[] = {
        "Connection",          "Keep-Alive",     "TE",       "Trailer",   "Upgrade", "Proxy-Connection",
        "Proxy-Authorization", "HTTP2-Settings", "X-Secret", "X-Real-IP", "Via"
    };
    static const char *const kept[] = { "Host",          "X-Secret2",       "Authorization",
                                        "Cache-Control", "Origin",          "Sec-WebSocket-Key",
                                        "Accept",        "X-Forwarded-For", "Content-Length" };

    (void)state;
    assert_int_equal(request(GET
                             "X-Real-IP: 1\r\nX-Secret: 1\r\nConnection: x-secret, X-REAL-IP\r\nConnection: via, Authorization\r\n"
                             "Connection: Cache-Control, Origin, Sec-WebSocket-Key\r\nKeep-Alive: 1\r\nTE: a\r\nTrailer: b\r\n"
                             "Upgrade: c\r\nProxy-Connection: d\r\nProxy-Authorization: e\r\nHTTP2-Settings: f\r\nVia: g\r\n"
                             "X-Secret2: h\r\nAuthorization: i\r\nCache-Control: j\r\nOrigin: k\r\nSec-WebSocket-Key: l\r\n"
                             "Accept: m\r\nX-Forwarded-For: n\r\nContent-Length: 0\r\n" END),
                     R_NONE);
    for (size_t i = 0; i < sizeof(hop) / sizeof(hop[0]); i++)
        assert_true(is_hop(hop[i]));
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        assert_false(is_hop(kept[i]));
    assert_int_equal(request(POST "Transfer-Encoding: chunked\r\n" END), R_NONE);
    assert_true(is_hop("Transfer-Encoding"));
}

static void connection_options(void **state)
{
    static const struct verdict cases[] = {
        { GET "Connection: host\r\n" END, R_HEAD_MALFORMED },
        { GET "Connection: close, Content-Length\r\n" END, R_HEAD_MALFORMED },
        { GET "Connection: Transfer-Encoding\r\n" END, R_HEAD_MALFORMED },
        { GET "Connection: clo se\r\n" END, R_HEAD_MALFORMED },
        { GET "Connection: close; x\r\n" END, R_HEAD_MALFORMED },
        { GET "Connection: \"close\"\r\n" END, R_HEAD_MALFORMED },
        { GET "Connection: close\r\nConnection: \xff\r\n" END, R_HEAD_MALFORMED },
        { GET "Connection:\r\n" END, R_NONE },
        { GET "Connection: 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16\r\n" END, R_NONE },
        { GET "Connection: 1,2,3,4,5,6,7,8\r\nConnection: 9,10,11,12,13,14,15,16,17\r\n" END, R_HEAD_MALFORMED },
        { GET "Connection: te,te,te,te,te,te,te,te,te,te,te,te,te,te,te,te,te\r\n" END, R_HEAD_MALFORMED },
    };

    (void)state;
    EXPECT_VERDICTS(request, cases);
    assert_int_equal(response(OK "Connection: clo se\r\n" END), R_RESPONSE_MALFORMED);
    assert_int_equal(response(OK "Connection: Content-Length\r\nContent-Length: 0\r\n" END), R_RESPONSE_MALFORMED);
}

static void responses(void **state)
{
    static const struct verdict cases[] = {
        { OK END, R_NONE },
        { OK "X : y\r\n" END, R_RESPONSE_MALFORMED },
        { OK ": y\r\n" END, R_RESPONSE_MALFORMED },
        { OK "X\r\n" END, R_RESPONSE_MALFORMED },
        { OK "Content-Length: 5\r\nContent-Length: 5\r\n" END, R_RESPONSE_MALFORMED },
        { OK "Content-Length: 5, 5\r\n" END, R_RESPONSE_MALFORMED },
        { OK "Content-Length: 9223372036854775808\r\n" END, R_RESPONSE_MALFORMED },
        { OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END, R_RESPONSE_MALFORMED },
        { OK "Transfer-Encoding: identity\r\n" END, R_RESPONSE_MALFORMED },
        { OK "Transfer-Encoding:\r\n" END, R_RESPONSE_MALFORMED },
        { OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END, R_RESPONSE_MALFORMED },
        { "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", R_RESPONSE_MALFORMED },
        { "HTTP/1.1 100 Continue\r\n\r\n", R_NONE },
        { "HTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 0\r\n\r\n", R_NONE },
        { "HTTP/1.1 100 Continue\r\nContent-Length: 8\r\n\r\n", R_RESPONSE_MALFORMED },
        { "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n", R_RESPONSE_MALFORMED },
        { "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", R_NONE },
        { "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\n", R_RESPONSE_MALFORMED },
        { "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", R_RESPONSE_MALFORMED },
        { "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", R_NONE },
        { "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: gzip\r\n\r\n", R_RESPONSE_MALFORMED },
        { "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", R_UPGRADE_UNASKED },
        { "HTTP/1.1 101 Switching Protocols\r\n\r\n", R_UPGRADE_UNASKED },
    };

    (void)state;
    EXPECT_VERDICTS(response, cases);
}

static void what_a_response_answers(void **state)
{
    static const struct {
        struct h1_asked asked;
        const char *text;
        unsigned status;
        enum h1_framing framing;
        uint64_t length;
        bool keep_alive;
    } cases[] = {
        { { 0 }, OK END, 200, H1_UNTIL_CLOSE, 0, false },
        { { 0 }, OK "Connection: keep-alive\r\n" END, 200, H1_UNTIL_CLOSE, 0, false },
        { { 0 }, OK "Content-Length: 7\r\n" END, 200, H1_LENGTH, 7, true },
        { { 0 }, OK "Content-Length: 7\r\nConnection: close\r\n" END, 200, H1_LENGTH, 7, false },
        { { 0 }, OK "Transfer-Encoding: chunked\r\n" END, 200, H1_CHUNKED, 0, true },
        { { 0 }, "HTTP/1.0 404 \r\nContent-Length: 0\r\n\r\n", 404, H1_LENGTH, 0, false },
        { { 0 }, "HTTP/1.0 404 \r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", 404, H1_LENGTH, 0, true },
        { { 0 }, "HTTP/1.1 100 Continue\r\n\r\n", 100, H1_NO_BODY, 0, true },
        { { 0 }, "HTTP/1.1 204 No Content\r\n\r\n", 204, H1_NO_BODY, 0, true },
        { { 0 }, "HTTP/1.1 304 Not Modified\r\nContent-Length: 4000\r\n\r\n", 304, H1_NO_BODY, 4000, true },
        { { 0 }, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, H1_NO_BODY, 0, true },
        { { .head = true }, OK END, 200, H1_NO_BODY, 0, true },
        { { .head = true }, OK "Content-Length: 7\r\n" END, 200, H1_NO_BODY, 7, true },
        { { .head = true }, OK "Transfer-Encoding: chunked\r\n" END, 200, H1_NO_BODY, 0, true },
        { { .connect = true }, OK "Content-Length: 7\r\n" END, 200, H1_NO_BODY, 7, true },
        { { .connect = true }, "HTTP/1.1 299 \r\n\r\n", 299, H1_NO_BODY, 0, true },
        { { .connect = true }, "HTTP/1.1 300 \r\nContent-Length: 7\r\n\r\n", 300, H1_LENGTH, 7, true },
        { { .connect = true }, "HTTP/1.1 403 \r\n\r\n", 403, H1_UNTIL_CLOSE, 0, false },
        { { .upgrade = true }, OK "Content-Length: 7\r\n" END, 200, H1_LENGTH, 7, true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(response_to(cases[i].asked, cases[i].text), R_NONE);
        assert_int_equal(head.status, cases[i].status);
        assert_int_equal(head.framing, cases[i].framing);
        assert_int_equal(head.length, cases[i].length);
        assert_int_equal(head.keep_alive, cases[i].keep_alive);
    }
}

#define SWITCHING "HTTP/1.1 101 Switching Protocols\r\n"

static enum reason answer_to_upgrade(const char *text)
{
    return response_to((struct h1_asked){ .upgrade = true }, text);
}

static void switching_protocols(void **state)
{
    static const struct verdict cases[] = {
        { SWITCHING "Connection: Upgrade\r\nUpgrade: websocket\r\n" END, R_NONE },
        { SWITCHING "Upgrade: websocket\r\n" END, R_RESPONSE_MALFORMED },
        { SWITCHING "Connection: Upgrade\r\n" END, R_RESPONSE_MALFORMED },
        { SWITCHING "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n" END, R_RESPONSE_MALFORMED },
        { SWITCHING "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n" END, R_RESPONSE_MALFORMED },
        { "HTTP/1.0 101 \r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" END, R_RESPONSE_MALFORMED },
    };

    (void)state;
    EXPECT_VERDICTS(answer_to_upgrade, cases);
    assert_int_equal(answer_to_upgrade(SWITCHING "Connection: Upgrade\r\nUpgrade: websocket\r\n" END), R_NONE);
    assert_int_equal(head.framing, H1_NO_BODY);
    assert_true(head.upgrade_websocket);
}

/* "GET /aa... HTTP/1.0" with a target of `n` bytes. */
static enum reason request_of_target(size_t n)
{
    static char text[4096];

    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    memcpy(text + 4 + n, " HTTP/1.0\r\n\r\n", 13);
    return parse_within(&limits, H1_REQUEST, span_of(text, n + 17), NULL);
}

static enum reason request_of_name(size_t n)
{
    static char text[4096] = "GET / HTTP/1.0\r\n";

    memset(text + 16, 'a', n);
    memcpy(text + 16 + n, ": b\r\n\r\n", 7);
    return parse_within(&limits, H1_REQUEST, span_of(text, n + 23), NULL);
}

static enum reason request_of_fields(size_t n, const struct h1_limits *parse_limits)
{
    static char text[8192] = "GET / HTTP/1.0\r\n";
    size_t len = 16;

    for (size_t i = 0; i < n; i++, len += 6)
        memcpy(text + len, "A: b\r\n", 6);
    memcpy(text + len, "\r\n", 2);
    return h1_parse(&head, H1_REQUEST, span_of(text, len + 2), parse_limits, NULL);
}

static void limits_of_a_head(void **state)
{
    const struct h1_limits three = { .header_bytes = 8192, .header_count = 3, .uri_bytes = 100 };
    const struct h1_limits many = { .header_bytes = 8192, .header_count = 2000, .uri_bytes = 100 };

    (void)state;
    assert_int_equal(request_of_target(1024), R_NONE);
    assert_int_equal(request_of_target(1025), R_URI_TOO_LONG);
    assert_int_equal(request_of_name(H1_NAME_BYTES), R_NONE);
    assert_int_equal(request_of_name(H1_NAME_BYTES + 1), R_HEAD_TOO_LARGE);
    assert_int_equal(request_of_fields(3, &three), R_NONE);
    assert_int_equal(request_of_fields(4, &three), R_HEAD_TOO_LARGE);
    assert_int_equal(request_of_fields(H1_FIELDS_MAX, &many), R_NONE);
    assert_int_equal(request_of_fields(H1_FIELDS_MAX + 1, &many), R_HEAD_TOO_LARGE);
}

/* Schemes that log in a connection, in any case and anywhere in a list of challenges; not what only looks like one. */
static void logins_of_connections(void **state)
{
    static const struct {
        const char *field;
        bool logs_in;
    } cases[] = {
        { "Authorization: Negotiate YII=", true },        { "Authorization: NTLM", true },       { "AUTHORIZATION: nTLM x", true },
        { "Authorization: Basic TlRM", false },           { "Authorization: NTLMish x", false }, { "X-Authorization: NTLM", false },
        { "Authorization: Digest a=\"x, NTLM\"", false }, { "Authorization:", false },
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", cases[i].field);
        assert_int_equal(request(text), R_NONE);
        if (h1_logs_in(&head) != cases[i].logs_in)
            fail_msg("%s", cases[i].field);
    }
    assert_int_equal(response("HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=\"a\", negotiate\r\nContent-Length: 0\r\n\r\n"),
                     R_NONE);
    assert_true(h1_logs_in(&head));
}

static void the_linked_llhttp_is_strict(void **state)
{
    (void)state;
    assert_true(h1_self_test());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_trimmed_spans),
        cmocka_unit_test(names_are_known_in_any_case),
        cmocka_unit_test(requests),
        cmocka_unit_test(request_framing),
        cmocka_unit_test(request_lengths),
        cmocka_unit_test(methods),
        cmocka_unit_test(connection_facts),
        cmocka_unit_test(hop_by_hop_fields),
        cmocka_unit_test(connection_options),
        cmocka_unit_test(responses),
        cmocka_unit_test(what_a_response_answers),
        cmocka_unit_test(switching_protocols),
        cmocka_unit_test(limits_of_a_head),
        cmocka_unit_test(logins_of_connections),
        cmocka_unit_test(the_linked_llhttp_is_strict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
