/* SPDX-License-Identifier: ISC */
/*
 * The WebSocket handshake behind the HTTP parser. Input: a request head or, if it begins with "HTTP", an answer to a fixed request.
 * For an accepted request the right answer must be accepted too, and with an extension that was not passed on it
 * must not.
 */
#include "proto/ws_handshake.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = { 32768, 100, 8192 };
static struct h1_head head;

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void add(enum h1_name id, const char *value)
{
    h1_add(&head, (struct h1_field){ .value = span_str(value), .id = id });
}

/* Subprotocols are tokens, each there once. Returns the last one, or the empty span. */
static struct span check_protocols(const struct ws_offer *offer)
{
    struct span list = span_str(offer->protocols), item = { 0 };

    while (span_next_item(&list, &item)) {
        struct span rest = list, other;

        must(span_is_token(item));
        while (span_next_item(&rest, &other))
            must(!span_eq(item, other));
    }
    return item;
}

static void answer(struct ws_offer *offer)
{
    char accept[WS_ACCEPT_TEXT + 1];
    struct span protocol = check_protocols(offer);

    must(strlen(offer->key) == WS_KEY_TEXT);
    ws_accept(offer->key, accept);
    must(strlen(accept) == WS_ACCEPT_TEXT);
    memset(&head, 0, offsetof(struct h1_head, fields));
    head.kind = H1_RESPONSE;
    head.status = 101;
    head.minor = 1;
    head.upgrade = head.upgrade_websocket = true;
    add(H1_WS_ACCEPT, accept);
    if (protocol.len > 0) {
        add(H1_WS_PROTOCOL, "");
        head.fields[head.field_count - 1].value = protocol;
    }
    must(ws_response_check(&head, offer) == R_NONE && !offer->agreed.on);
    offer->deflate.on = false;
    add(H1_WS_EXTENSIONS, "permessage-deflate");
    must(ws_response_check(&head, offer) == R_EXTENSION_UNOFFERED);
}

static void run_request(struct span in)
{
    struct ws_offer offer;

    if (h1_parse(&head, H1_REQUEST, in, &limits, NULL) == R_NONE && head.upgrade_websocket &&
        ws_request_check(&head, &offer) == R_NONE)
        answer(&offer);
}

static void run_answer(struct span in)
{
    static const struct h1_asked asked = { .upgrade = true };
    static struct ws_offer offer = { .key = "dGhlIHNhbXBsZSBub25jZQ==", .protocols = "chat,v1" };

    if (h1_parse(&head, H1_RESPONSE, in, &limits, &asked) != R_NONE || ws_response_check(&head, &offer) != R_NONE)
        return;
    must(head.status == 101 && head.framing == H1_NO_BODY && h1_find(&head, H1_WS_EXTENSIONS) == NULL);
    must(span_eq(h1_find(&head, H1_WS_ACCEPT)->value, SPAN("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data, size);
    enum h1_kind kind = span_starts(in, SPAN("HTTP")) ? H1_RESPONSE : H1_REQUEST;
    struct h1_scan scan = { 0 };
    uint32_t len;
    enum reason why;

    if (h1_scan(&scan, kind, &limits, in, &len, &why) != H1_DONE)
        return 0;
    in.len = len;
    if (kind == H1_RESPONSE)
        run_answer(in);
    else
        run_request(in);
    return 0;
}
