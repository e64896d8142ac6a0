/* SPDX-License-Identifier: ISC */
/*
 * The WebSocket handshake, both halves (RFC 6455 4). A 101 turns an HTTP connection into a stream of bytes, so it must be exactly
 * the answer to exactly the question that was passed on: what the request asked for is remembered in a ws_offer, and the answer is
 * held against it, the accept key included. Everything else in an answer (another protocol, a body, an extension that was not
 * passed on) makes it no handshake. Which compression may be agreed on is proto/ws_deflate.h.
 *
 * Heads come from proto/h1.h, parsed and checked as HTTP. Which origins and subprotocols are allowed is policy/rules.h. The first
 * ws_accept() fetches SHA-1 from libcrypto and keeps it: a worker calls it once before it gives up the right to open files.
 */
#include "proto/ws_handshake.h"

#include "proto/ws_extension.h"

#include "base/mutant.h"

#include <openssl/evp.h>
#include <string.h>

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

void ws_accept(const char *key, char *out)
{
    static const EVP_MD *sha1;
    unsigned char text[WS_KEY_TEXT + sizeof(guid)], digest[EVP_MAX_MD_SIZE];
    size_t key_len = strnlen(key, WS_KEY_TEXT);
    unsigned len = 0;

    if (sha1 == NULL)
        sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    memcpy(text, key, key_len);
    memcpy(text + key_len, guid, sizeof(guid) - 1);
    out[0] = '\0';
    if (sha1 != NULL && EVP_Digest(text, key_len + sizeof(guid) - 1, digest, &len, sha1, NULL) == 1)
        EVP_EncodeBlock((unsigned char *)out, digest, (int)len);
}

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* 16 bytes are 22 characters and "=="; the last character carries two bits only (RFC 4648 3.5). */
static bool is_key(struct span value)
{
    if (value.len != WS_KEY_TEXT || !span_eq(span_skip(value, 22), SPAN("==")))
        return false;
    for (size_t i = 0; i < 21; i++)
        if (!is_base64(value.at[i]))
            return false;
    return memchr("AQgw", value.at[21], 4) != NULL;
}

static bool list_has(struct span list, struct span wanted)
{
    struct span item;

    while (span_next_item(&list, &item))
        if (span_eq(item, wanted))
            return true;
    return false;
}

static bool add_protocol(struct ws_offer *offer, struct span name)
{
    size_t used = strlen(offer->protocols), comma = used > 0;

    if (!span_is_token(name) || list_has(span_str(offer->protocols), name))
        return false;
    if (used + comma + name.len >= sizeof(offer->protocols))
        return false;
    if (comma)
        offer->protocols[used] = ',';
    return span_cstr(name, offer->protocols + used + comma, sizeof(offer->protocols) - used - comma);
}

/* Lists of the handshake hold no empty member; span_next_item() alone would not show one at the end. */
static bool ends_in_member(struct span value)
{
    return value.len > 0 && value.at[value.len - 1] != ',';
}

static bool add_protocols(struct ws_offer *offer, struct span value)
{
    struct span item;

    if (!ends_in_member(value))
        return false;
    while (span_next_item(&value, &item))
        if (!add_protocol(offer, item))
            return false;
    return true;
}

static bool is_extension(struct span item)
{
    struct span name;
    struct ws_param param;

    if (!ws_extension_name(&item, &name))
        return false;
    while (item.len > 0)
        if (!ws_extension_param(&item, &param))
            return false;
    return true;
}

static bool is_extension_list(struct span value)
{
    struct span item;

    if (!ends_in_member(value))
        return false;
    while (span_next_item(&value, &item))
        if (!is_extension(item))
            return false;
    return true;
}

/* All fields of Sec-WebSocket-Protocol and Sec-WebSocket-Extensions. */
static bool read_lists(const struct h1_head *head, struct ws_offer *offer)
{
    for (size_t i = 0; i < head->field_count; i++) {
        const struct h1_field *field = &head->fields[i];

        if (field->id == H1_WS_PROTOCOL && !add_protocols(offer, field->value))
            return false;
        if (field->id == H1_WS_EXTENSIONS && !is_extension_list(field->value))
            return false;
    }
    return true;
}

/* The value of a field that must be there once; the empty span if it is not. */
static struct span only_value(const struct h1_head *head, enum h1_name id)
{
    return h1_count(head, id) == 1 ? h1_find(head, id)->value : span_of(NULL, 0);
}

enum reason ws_request_check(const struct h1_head *head, struct ws_offer *offer)
{
    struct span key = only_value(head, H1_WS_KEY);

    memset(offer, 0, sizeof(*offer));
    if (!head->upgrade_websocket || FAULT(WS_METHOD, !head->is_get) || head->minor != 1)
        return R_HANDSHAKE_MALFORMED;
    if (head->framing == H1_CHUNKED || head->length > 0 || FAULT(WS_VERSIONS, h1_count(head, H1_WS_VERSION) > 1))
        return R_HANDSHAKE_MALFORMED;
    if (FAULT(WS_VERSION, !span_eq(only_value(head, H1_WS_VERSION), SPAN("13"))))
        return R_WS_VERSION;
    if (FAULT(WS_KEY, !is_key(key)) || !span_cstr(key, offer->key, sizeof(offer->key)) || FAULT(WS_LISTS, !read_lists(head, offer)))
        return R_HANDSHAKE_MALFORMED;
    ws_deflate_offer(head, &offer->deflate);
    return R_NONE;
}

static bool accept_is_right(const struct h1_head *head, const struct ws_offer *offer)
{
    char expected[WS_ACCEPT_TEXT + 1];
    struct span given = only_value(head, H1_WS_ACCEPT);

    ws_accept(offer->key, expected);
    return given.len == WS_ACCEPT_TEXT && span_eq(given, span_str(expected));
}

enum reason ws_response_check(const struct h1_head *head, struct ws_offer *offer)
{
    size_t protocols = h1_count(head, H1_WS_PROTOCOL);
    struct span chosen = only_value(head, H1_WS_PROTOCOL);

    if (head->status != 101 || FAULT(ACCEPT_UPGRADE, head->minor != 1 || !head->upgrade_websocket))
        return R_ACCEPT_MISMATCH;
    if (FAULT(ACCEPT_BODY, head->has_length || h1_find(head, H1_TRANSFER_ENCODING) != NULL) ||
        FAULT(ACCEPT_KEY, !accept_is_right(head, offer)))
        return R_ACCEPT_MISMATCH;
    if (FAULT(ACCEPT_PROTOCOL, protocols > 0 && (!span_is_token(chosen) || !list_has(span_str(offer->protocols), chosen))))
        return R_SUBPROTOCOL_UNOFFERED;
    return ws_deflate_answer(head, &offer->deflate, &offer->agreed);
}
