/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_REASON_H
#define POSTERN_BASE_REASON_H

#include "base/span.h"

/*
 * Why a stream was denied or ended: the one vocabulary of the log, the counters, `explain`, error pages, Proxy-Status (RFC 9209)
 * and close frames. One row: identifier, name, HTTP status, WebSocket close code for the offender, Proxy-Status error type, the
 * sentence that a person reads. A status of 0 means that no HTTP answer is given for it: the connection is closed.
 */
#define REASONS(X)                                                                                                                 \
    X(NONE, "ok", 0, 1000, "", "The stream ended as it should.")                                                                   \
    X(POLICY_DENIED, "policy-denied", 403, 1008, "http_request_denied", "A policy denies this.")                                   \
    X(NO_POLICY, "no-policy", 403, 1008, "http_request_denied", "No policy allows this.")                                          \
    X(NO_ROUTE, "no-route", 502, 1011, "destination_ip_unroutable", "The kernel has no route to the server.")                      \
    X(ZONE_UNKNOWN, "zone-unknown", 403, 1008, "http_request_denied", "The client or the server is in no zone.")                   \
    X(ADDRESS_PRIVATE, "address-private", 403, 1008, "destination_ip_prohibited",                                                  \
      "The server's address is special-purpose and no zone names it.")                                                             \
    X(NAME_UNRESOLVED, "name-unresolved", 502, 1011, "dns_error", "The name of the server could not be resolved.")                 \
    X(NAME_TIMEOUT, "name-timeout", 504, 1011, "dns_timeout", "The resolver did not answer in time.")                              \
    X(HEAD_MALFORMED, "head-malformed", 400, 1002, "http_request_error", "The head of the message is not valid HTTP/1.1.")         \
    X(HEAD_TOO_LARGE, "head-too-large", 431, 1009, "http_request_error", "The head is larger than the limits allow.")              \
    X(URI_TOO_LONG, "uri-too-long", 414, 1009, "http_request_error", "The request target is longer than the limit allows.")        \
    X(VERSION_UNSUPPORTED, "version-unsupported", 505, 1002, "http_request_error", "Only HTTP/1.0 and HTTP/1.1 are spoken here.")  \
    X(METHOD_UNKNOWN, "method-unknown", 501, 1002, "http_request_error", "The method is not known here.")                          \
    X(EXPECTATION_UNKNOWN, "expectation-unknown", 417, 1002, "http_request_error", "The only expectation known is 100-continue.")  \
    X(FRAMING_AMBIGUOUS, "framing-ambiguous", 400, 1002, "http_request_error",                                                     \
      "The length of the message can be read in more than one way.")                                                               \
    X(BODY_MALFORMED, "body-malformed", 400, 1002, "http_request_error", "The chunks of the body are not valid.")                  \
    X(BODY_TOO_LARGE, "body-too-large", 413, 1009, "http_request_error", "The body is larger than the limit allows.")              \
    X(TARGET_MALFORMED, "target-malformed", 400, 1002, "http_request_error", "The request target or its path is not acceptable.")  \
    X(HOST_MALFORMED, "host-malformed", 400, 1002, "http_request_error", "The Host field is missing, repeated or not a host.")     \
    X(HOST_MISMATCH, "host-mismatch", 403, 1008, "http_request_denied", "Host does not name what the stream was opened to.")       \
    X(SNI_MISMATCH, "sni-mismatch", 403, 1008, "http_request_denied", "The TLS server name does not fit the target.")              \
    X(SNI_MISSING, "sni-missing", 403, 1008, "http_request_denied", "The TLS handshake names no server.")                          \
    X(HELLO_MALFORMED, "hello-malformed", 400, 1002, "tls_protocol_error", "The TLS ClientHello is not valid.")                    \
    X(ALPN_MISMATCH, "alpn-mismatch", 403, 1008, "tls_protocol_error", "The TLS handshake asks for a protocol not spoken here.")   \
    X(SNI_UNKNOWN, "sni-unknown", 421, 1008, "tls_protocol_error", "No certificate here fits the TLS server name.")                \
    X(ECH_DENIED, "ech-denied", 403, 1008, "tls_protocol_error", "The policy does not allow an encrypted ClientHello.")            \
    X(TLS_HANDSHAKE, "tls-handshake", 0, 1002, "", "The client's TLS handshake failed.")                                           \
    X(TLS_FLOOD, "tls-flood", 0, 1008, "", "Too many TLS handshake messages after the handshake.")                                 \
    X(CLIENT_CERTIFICATE, "client-certificate", 0, 1008, "", "The client's certificate is missing or not good.")                   \
    X(INSPECTION_REFUSED, "inspection-refused", 0, 1008, "",                                                                       \
      "The client does not accept the certificate that was made for the server's name.")                                           \
    X(MINT_FAILED, "mint-failed", 0, 1013, "", "No certificate could be made for the server's name.")                              \
    X(UPSTREAM_TLS, "upstream-tls", 502, 1011, "tls_protocol_error", "The TLS handshake with the server failed.")                  \
    X(UPSTREAM_WANTS_CERTIFICATE, "upstream-wants-certificate", 502, 1011, "tls_certificate_error",                                \
      "The server asks for a client certificate and there is none for it.")                                                        \
    X(UNSOLICITED_BYTES, "unsolicited-bytes", 502, 1011, "http_protocol_error", "The server spoke while nobody had asked it.")     \
    X(ANSWER_BEFORE_REQUEST, "answer-before-request", 502, 1011, "http_protocol_error",                                            \
      "The server answered before it could have read the request.")                                                                \
    X(SURPLUS_ANSWER, "surplus-answer", 502, 1011, "http_protocol_error", "The server sent more than the one answer it owed.")     \
    X(INTERIM_LIMIT, "interim-limit", 502, 1011, "http_protocol_error", "The server sent too many interim answers.")               \
    X(UPGRADE_UNASKED, "upgrade-unasked", 502, 1011, "http_upgrade_failed", "The server switched protocols though nobody asked.")  \
    X(UPGRADE_REFUSED, "upgrade-refused", 403, 1002, "http_upgrade_failed", "Only an upgrade to WebSocket is passed on.")          \
    X(ACCEPT_MISMATCH, "accept-mismatch", 502, 1011, "http_upgrade_failed", "The server's WebSocket handshake does not fit ours.") \
    X(HANDSHAKE_MALFORMED, "handshake-malformed", 400, 1002, "http_upgrade_failed", "The WebSocket handshake is not valid.")       \
    X(WS_VERSION, "ws-version", 426, 1002, "http_upgrade_failed", "Only version 13 of WebSocket is spoken here.")                  \
    X(ORIGIN_DENIED, "origin-denied", 403, 1008, "http_request_denied", "The policy does not allow this Origin.")                  \
    X(SUBPROTOCOL_DENIED, "subprotocol-denied", 403, 1008, "http_request_denied", "The policy allows none of the subprotocols.")   \
    X(SUBPROTOCOL_UNOFFERED, "subprotocol-unoffered", 502, 1011, "http_upgrade_failed",                                            \
      "The server chose a subprotocol that nobody offered.")                                                                       \
    X(EXTENSION_UNOFFERED, "extension-unoffered", 502, 1011, "http_upgrade_failed",                                                \
      "The server chose an extension that nobody offered.")                                                                        \
    X(RESPONSE_MALFORMED, "response-malformed", 502, 1011, "http_protocol_error", "The server's answer is not valid HTTP/1.1.")    \
    X(RESPONSE_TRUNCATED, "response-truncated", 502, 1011, "http_response_incomplete", "The server's answer ended too early.")     \
    X(FRAME_MALFORMED, "frame-malformed", 0, 1002, "", "A WebSocket frame breaks RFC 6455.")                                       \
    X(FRAME_UNMASKED, "frame-unmasked", 0, 1002, "", "A client's WebSocket frame is not masked.")                                  \
    X(FRAME_MASKED, "frame-masked", 0, 1002, "", "A server's WebSocket frame is masked.")                                          \
    X(CLOSE_MALFORMED, "close-malformed", 0, 1002, "", "A WebSocket close frame carries an invalid code or reason.")               \
    X(MESSAGE_TOO_BIG, "message-too-big", 0, 1009, "", "A WebSocket message is larger than allowed.")                              \
    X(UTF8_INVALID, "utf8-invalid", 0, 1007, "", "A WebSocket text message is not valid UTF-8.")                                   \
    X(EXTENSION_DENIED, "extension-denied", 403, 1008, "http_request_denied",                                                      \
      "The policy does not allow this WebSocket extension.")                                                                       \
    X(STREAM_LIMIT, "stream-limit", 403, 1008, "http_request_denied", "Too many WebSockets of this policy are open.")              \
    X(OPCODE_DENIED, "opcode-denied", 0, 1003, "", "The policy does not allow messages of this kind.")                             \
    X(SEND_DENIED, "send-denied", 0, 1008, "", "The policy does not let this side send messages.")                                 \
    X(FRAGMENT_LIMIT, "fragment-limit", 0, 1008, "", "A WebSocket message has too many fragments.")                                \
    X(DEFLATE_MALFORMED, "deflate-malformed", 0, 1007, "", "A compressed WebSocket message cannot be inflated.")                   \
    X(DEFLATE_RATIO, "deflate-ratio", 0, 1009, "", "A compressed WebSocket message inflates too far.")                             \
    X(MATCH_DENIED, "match-denied", 0, 1008, "", "The policy denies the content of this message.")                                 \
    X(MATCH_LIMIT, "match-limit", 0, 1008, "", "To judge what this side says took too long.")                                      \
    X(TUNNEL_INSIDE, "tunnel-inside", 0, 1008, "", "Another protocol is hidden in this WebSocket.")                                \
    X(TIMEOUT_PING, "timeout-ping", 0, 1001, "", "No answer to a ping came in time.")                                              \
    X(TIMEOUT_AGE, "timeout-age", 0, 1001, "", "The WebSocket has been open for as long as the policy lets it.")                   \
    X(CONTROL_FLOOD, "control-flood", 0, 1008, "", "Too many WebSocket control frames in a short time.")                           \
    X(RATE_EXCEEDED, "rate-exceeded", 429, 1008, "http_request_denied", "More than the policy's rate.")                            \
    X(PUSH_CONTRACT, "push-contract", 0, 1008, "", "The server said more than the policy's contract lets it.")                     \
    X(REVOKED, "revoked", 0, 1008, "", "A new policy no longer allows this stream.")                                               \
    X(BLOCKED, "blocked", 403, 1008, "http_request_denied", "The client is in the block set of the packet filter.")                \
    X(KILLED, "killed", 0, 1008, "", "An operator ended this stream.")                                                             \
    X(LOOP, "loop", 508, 1011, "proxy_loop_detected", "The request would come back to this proxy.")                                \
    X(SERVER_FIRST, "server-first", 0, 1008, "", "The server spoke first and no policy allows that.")                              \
    X(TUNNEL_PROTOCOL, "tunnel-protocol", 0, 1008, "", "What flows in the tunnel is not what a policy allows.")                    \
    X(SOCKS_MALFORMED, "socks-malformed", 0, 1002, "", "The SOCKS request is not valid.")                                          \
    X(SOCKS_COMMAND, "socks-command", 0, 1002, "", "Only the SOCKS command CONNECT is served.")                                    \
    X(SOCKS_METHOD, "socks-method", 0, 1002, "", "None of the SOCKS authentication methods offered is served.")                    \
    X(NO_ORIGINAL_DESTINATION, "no-original-destination", 0, 1008, "", "The kernel does not know what the client dialled.")        \
    X(RETRY_UNSAFE, "retry-unsafe", 502, 1011, "connection_terminated",                                                            \
      "The server closed a kept connection and the request may not be sent twice.")                                                \
    X(PIPELINE_LIMIT, "pipeline-limit", 0, 1008, "", "More requests were sent ahead than the limit allows.")                       \
    X(TIMEOUT_HANDSHAKE, "timeout-handshake", 0, 1008, "", "The first bytes took too long.")                                       \
    X(TIMEOUT_HEADER, "timeout-header", 408, 1008, "http_request_error", "The head of the request took too long.")                 \
    X(TIMEOUT_BODY, "timeout-body", 408, 1008, "http_request_error", "The body made no progress for too long.")                    \
    X(TIMEOUT_CONNECT, "timeout-connect", 504, 1011, "connection_timeout", "The server did not accept a connection in time.")      \
    X(TIMEOUT_RESPONSE, "timeout-response", 504, 1011, "http_response_timeout", "The server did not answer in time.")              \
    X(TIMEOUT_KEEPALIVE, "timeout-keepalive", 0, 1001, "", "The idle connection was closed.")                                      \
    X(TIMEOUT_TUNNEL, "timeout-tunnel", 0, 1001, "", "Nothing was said in the tunnel for too long.")                               \
    X(TIMEOUT_MESSAGE, "timeout-message", 0, 1008, "", "A message that is held took too long to come.")                            \
    X(TIMEOUT_CLOSE, "timeout-close", 0, 1001, "", "The other side did not finish closing in time.")                               \
    X(CLIENT_GONE, "client-gone", 400, 1001, "http_request_error", "The client went away before the end.")                         \
    X(PEER_RESET, "peer-reset", 502, 1001, "connection_terminated", "A connection was reset.")                                     \
    X(UPSTREAM_REFUSED, "upstream-refused", 502, 1011, "connection_refused", "The server refused the connection.")                 \
    X(UPSTREAM_CLOSED, "upstream-closed", 502, 1011, "connection_terminated", "The server closed without an answer.")              \
    X(UPSTREAM_DOWN, "upstream-down", 503, 1013, "destination_unavailable", "No server of this service can be reached.")           \
    X(UPSTREAM_CERTIFICATE, "upstream-certificate", 502, 1011, "tls_certificate_error", "The server's certificate is not good.")   \
    X(OVERLOAD, "overload", 503, 1013, "connection_limit_reached", "There is no place or no memory for one more stream.")          \
    X(MEMORY, "memory", 503, 1013, "proxy_internal_error", "There is no memory left for this.")                                    \
    X(DRAINED, "drained", 503, 1012, "connection_terminated", "The proxy is being stopped.")                                       \
    X(LOST, "lost", 0, 1006, "", "The worker that served this stream died.")                                                       \
    X(INTERNAL, "internal", 500, 1011, "proxy_internal_error", "An error inside the proxy.")

enum reason {
#define X(id, name, status, close, proxy, sentence) R_##id,
    REASONS(X)
#undef X
        R_COUNT
};

const char *reason_name(enum reason r);
/* HTTP status, or 0 where no HTTP answer is given. */
unsigned reason_status(enum reason r);
/* Close code for the side that broke the rule (RFC 6455 7.4). */
unsigned reason_close_code(enum reason r);
/* Error type for Proxy-Status (RFC 9209 2.3); "" if there is none. */
const char *reason_proxy_error(enum reason r);
const char *reason_sentence(enum reason r);
/*
 * Did a client break a protocol? Such events count towards packet_filter.block_after. Not among them is what a web page can talk an
 * honest browser into (a name that does not fit, a path, a size, a rate): a third party could have it blocked.
 */
bool reason_is_hostile(enum reason r);
/* R_COUNT if there is no such name. */
enum reason reason_find(struct span name);

#endif
