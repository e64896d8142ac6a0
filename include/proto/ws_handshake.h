/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_WS_HANDSHAKE_H
#define POSTERN_PROTO_WS_HANDSHAKE_H

#include "proto/ws_deflate.h"

#define WS_KEY_TEXT 24
#define WS_ACCEPT_TEXT 28
#define WS_PROTOCOLS_TEXT 512 /* what a client may offer in Sec-WebSocket-Protocol, all fields together */

/*
 * What must be remembered of a WebSocket handshake until its answer: the key, and the subprotocols and the compression that were
 * passed on. ws_request_check() puts in what the client offers; policies take away from it (rules_websocket()): `deflate.on =
 * false` and no extension is passed on.
 */
struct ws_offer {
    char key[WS_KEY_TEXT + 1];
    char protocols[WS_PROTOCOLS_TEXT]; /* comma-separated; "" : none */
    struct ws_deflate deflate;         /* of all extensions only this one is ever passed on */
    struct ws_deflate agreed;          /* by ws_response_check(); what the client is told */
};

/*
 * Checks a request with head->upgrade_websocket (RFC 6455 4.2.1): GET, HTTP/1.1, no body, one key of 16 bytes in base64, one
 * version that is 13, subprotocols that are distinct tokens, extensions that fit the grammar. Fills `offer` with all subprotocols
 * of the client and its first acceptable offer of permessage-deflate. R_NONE, R_HANDSHAKE_MALFORMED or R_WS_VERSION.
 */
MUST_CHECK enum reason ws_request_check(const struct h1_head *head, struct ws_offer *offer);

/*
 * Checks a 101 against the offer (RFC 6455 4.1): HTTP/1.1, Upgrade and Connection right, accept key right and once, no
 * Content-Length or Transfer-Encoding, a subprotocol only if offered and once, no extension but permessage-deflate as
 * offer->deflate lets it be; then offer->agreed says what was agreed. R_NONE, R_ACCEPT_MISMATCH, R_SUBPROTOCOL_UNOFFERED or
 * R_EXTENSION_UNOFFERED.
 */
MUST_CHECK enum reason ws_response_check(const struct h1_head *head, struct ws_offer *offer);

/* Sec-WebSocket-Accept for a key; `out` holds WS_ACCEPT_TEXT + 1 bytes. */
void ws_accept(const char *key, char *out);

#endif
