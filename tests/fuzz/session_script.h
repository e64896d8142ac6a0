/* SPDX-License-Identifier: ISC */
/*
 * What the two ends of session_wire.c can say, so that a byte of input is a whole message: '%c' is the number of the client that
 * speaks,
 * '%m' the mark of an answer. Chunk sizes and lengths count a mark as MARK_BYTES.
 */
#ifndef POSTERN_FUZZ_SESSION_SCRIPT_H
#define POSTERN_FUZZ_SESSION_SCRIPT_H

#include "base/span.h"

#define MARK_BYTES 18 /* '~', 16 hex digits, '~' */

#define TUNNEL_HOST "93.184.216.36"
static const char script_config[] =
    "zones = ( { name = \"inside\"; networks = [ \"127.0.0.0/8\" ]; }, { name = \"outside\"; networks = [ \"0.0.0.0/0\" ]; } );\n"
    "timeouts = { handshake = 5.0; header = 5.0; body = 5.0; connect = 5.0; response = 5.0; keepalive = 5.0; tunnel_idle = 5.0; "
    "};\n"
    "limits = { header_bytes = 2048; uri_bytes = 1024; pipeline = 4; interim = 2; body_bytes = 70000; };\n"
    "listeners = ( { name = \"proxy\"; mode = \"explicit\"; address = \"127.0.0.1:3128\"; from = [ \"inside\" ]; },\n"
    "  { name = \"app\"; mode = \"reverse\"; address = \"127.0.0.1:8080\"; upstreams = [ \"93.184.216.34:80\" ]; forwarded = "
    "\"append\"; },\n"
    "  { name = \"way\"; mode = \"transparent\"; address = \"127.0.0.1:3129\"; intercept = \"tproxy\"; ports = [ 80, 443 ]; from = "
    "[ "
    "\"inside\" ]; } );\n"
    "policies = ( { name = \"secret\"; hosts = \"a.test\"; paths = \"/secret\"; action = \"deny\"; },\n"
    "  { name = \"drop\"; hosts = \"a.test\"; paths = \"/drop\"; action = \"drop\"; },\n"
    "  { name = \"app-ws\"; listeners = \"app\"; protocols = \"websocket\"; action = \"allow\";\n"
    "    websocket = { message_bytes = 4096; match = ( { name = \"word\"; pattern = \"hi\"; from = \"client\"; } ); tunnels = "
    "false;\n"
    "      on_violation = \"drop_message\"; ping_interval = 1.0; client = { messages_per_second = 2; }; age = 60.0;\n"
    "      server = { messages_per_client_message = 3; }; deflate = \"inspect\"; streams = 2; }; },\n"
    "  { name = \"revoked\"; hosts = \"a.test\"; protocols = [ \"websocket\", \"tls\" ]; action = \"%s\"; },\n"
    "  { name = \"a\"; hosts = \"a.test\"; action = \"allow\"; },\n"
    "  { name = \"app\"; listeners = \"app\"; action = \"allow\"; },\n"
    "  { name = \"shared\"; hosts = \"b.test\"; protocols = \"http\"; upstream_reuse = \"shared\"; action = \"allow\"; },\n"
    "  { name = \"tunnel\"; hosts = [ \"t.test\", \"" TUNNEL_HOST "\" ]; protocols = \"tunnel\"; action = \"allow\"; } );\n";

static const char script_hosts[] = "93.184.216.34 a.test\n93.184.216.35 b.test\n" TUNNEL_HOST " t.test\n";

#define OWNER "X-Owner: %c\r\n"
#define WS_FIELDS                                                                                                                  \
    "Host: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"                                   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" OWNER "\r\n"

static const struct span client_messages[] = {
    SPAN("GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n" OWNER "\r\n"),
    SPAN("HEAD http://a.test/x HTTP/1.1\r\nHost: a.test\r\n" OWNER "\r\n"),
    SPAN("POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n" OWNER "\r\nhello"),
    SPAN("POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n" OWNER "\r\n5\r\nhello\r\n0\r\n\r\n"),
    SPAN("GET http://a.test/ws HTTP/1.1\r\n" WS_FIELDS),
    SPAN("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"),
    SPAN("GET /x HTTP/1.1\r\nHost: a.test\r\n" OWNER "\r\n"),
    SPAN("GET /ws HTTP/1.1\r\n" WS_FIELDS),
    SPAN("GET http://b.test/x HTTP/1.1\r\nHost: b.test\r\n" OWNER "\r\n"),
    SPAN("POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n" OWNER "\r\n"),
    SPAN("hello"),
    SPAN("\x81\x82\x01\x02\x03\x04\x69\x6b"), /* text "hi" */
    SPAN("\x88\x82\x01\x02\x03\x04\x02\xea"), /* close 1000 */
    SPAN("\x89\x81\x01\x02\x03\x04\x01"),     /* ping */
    SPAN("CONNECT t.test:22 HTTP/1.1\r\nHost: t.test:22\r\n\r\n"),
    SPAN("GET http://a.test/secret HTTP/1.1\r\nHost: a.test\r\n" OWNER "\r\n"),
    SPAN("\x05\x01\x00"), /* SOCKS5 greeting */
    SPAN("\x05\x01\x00\x03\x06"
         "a.test\x00\x50"), /* and request */
    SPAN("GET http://a.test/x HTTP/1.0\r\nHost: a.test\r\n" OWNER "\r\n"),
    SPAN("GET http://a.test/1 HTTP/1.1\r\nHost: a.test\r\n" OWNER "\r\nGET http://a.test/2 HTTP/1.1\r\nHost: a.test\r\n" OWNER
         "\r\n"),
    SPAN("POST http://b.test/x HTTP/1.1\r\nHost: b.test\r\nContent-Length: 5\r\n" OWNER "\r\nhello"),
    SPAN("POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000\r\n" OWNER "\r\n"),
    SPAN("GET http://a.test/drop HTTP/1.1\r\nHost: a.test\r\n" OWNER "\r\n"),
    SPAN("GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n" OWNER "\r\n"),
    SPAN("5\r\nhello\r\n"),
    SPAN("0\r\nX-Trailer: x\r\n\r\n"),
    SPAN("GET /x HTTP/1.1\r\nHost: b.test\r\n" OWNER "\r\n"),
    SPAN("GET /x HTTP/1.0\r\n" OWNER "\r\n"),
    SPAN("\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03"
         "0123456789abcdef0123456789abcdef" /* TLS without a name */
         "\x00\x00\x02\x13\x01\x01\x00\x00\x00"),
    SPAN("\x01\x82\x00\x00\x00\x00ho"), /* the begin of a text */
    SPAN("\x80\x82\x00\x00\x00\x00hu"), /* its end */
};

/* What a message of the server is to the harness: what it does to the count of answers. */
enum effect { FINAL, INTERIM, SWITCH, FRAME, WILD };

static const struct {
    enum effect effect;
    struct span text;
} server_messages[] = {
    { FINAL, SPAN("HTTP/1.1 200 OK\r\nX-Mark: %m\r\nContent-Length: 18\r\n\r\n%m") },
    { FINAL, SPAN("HTTP/1.1 200 OK\r\nX-Mark: %m\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n%m\r\n0\r\nServer-Timing: x\r\n\r\n") },
    { WILD, SPAN("HTTP/1.1 200 OK\r\nX-Mark: %m\r\n\r\n%m") }, /* until it closes */
    { FINAL, SPAN("HTTP/1.1 204 No Content\r\nX-Mark: %m\r\n\r\n") },
    { FINAL, SPAN("HTTP/1.1 304 Not Modified\r\nX-Mark: %m\r\nContent-Length: 9\r\n\r\n") },
    { INTERIM, SPAN("HTTP/1.1 100 Continue\r\nX-Mark: %m\r\n\r\n") },
    { INTERIM, SPAN("HTTP/1.1 103 Early Hints\r\nX-Mark: %m\r\n\r\n") },
    { SWITCH, SPAN("HTTP/1.1 101 Switching Protocols\r\nX-Mark: %m\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n") },
    { FINAL, SPAN("HTTP/1.1 404 Not Found\r\nX-Mark: %m\r\nContent-Length: 18\r\nConnection: close\r\n\r\n%m") },
    { FRAME, SPAN("\x81\x12%m") },
    { FRAME, SPAN("\x89\x12%m") },
    { FRAME, SPAN("\x88\x14\x03\xe8%m") },
    { WILD, SPAN("HTTP/1.1 200 OK\r\nX-Mark: %m\r\nContent-Length: 99\r\n\r\n%m") }, /* cut short */
    { WILD, SPAN("%m") },
    { WILD, SPAN("HTTP/1.1 101 Switching Protocols\r\nX-Mark: %m\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n%m") },
    { WILD, SPAN("HTTP/1.1 200 OK\r\nX-Mark: %m\r\nContent-Length: 200000\r\n\r\n%m") }, /* with OP_FLOOD behind it: long */
    { FINAL, SPAN("HTTP/1.0 200 OK\r\nX-Mark: %m\r\nContent-Length: 18\r\nConnection: keep-alive\r\n\r\n%m") },
    { WILD, SPAN("12\r\n%m\r\n") },
};

#endif
