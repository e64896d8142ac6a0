/* SPDX-License-Identifier: ISC */
/*
 * WebSocket frames of our own, close and ping, and the mask. They are short and unfragmented, so that they may stand between any
 * two frames of a stream, also within a fragmented message (RFC 6455 5.5). A client's are masked with the key that its caller drew;
 * the key must not be guessable (RFC 6455 10.3), which is the caller's to see to.
 */
#include "proto/ws_frame_header.h"

#include <string.h>

#define CLOSE_REASON_MAX (WS_CONTROL_MAX - 2)
#define NO_STATUS 1005 /* stands for a close frame without a code, never on the wire (RFC 6455 7.1.5) */

bool ws_close_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

void ws_unmask(char *out, const char *in, size_t n, const uint8_t mask[4], unsigned at)
{
    uint8_t turned[8];
    uint64_t key;
    size_t i = 0;

    for (unsigned k = 0; k < sizeof(turned); k++)
        turned[k] = mask[(at + k) & 3];
    memcpy(&key, turned, sizeof(key));
    for (; n - i >= sizeof(key); i += sizeof(key)) {
        uint64_t word;

        memcpy(&word, in + i, sizeof(word));
        word ^= key;
        memcpy(out + i, &word, sizeof(word));
    }
    for (; i < n; i++)
        out[i] = (char)((uint8_t)in[i] ^ turned[i & 7]);
}

/* `payload` is at most 125 bytes. */
static size_t write_control(char *out, enum ws_sender sender, enum ws_opcode opcode, struct span payload, const uint8_t mask_key[4])
{
    bool masked = sender == WS_CLIENT;
    char *at = out;

    *at++ = (char)(WS_FIN | opcode);
    *at++ = (char)((masked ? WS_MASKED : 0) | payload.len);
    if (masked) {
        memcpy(at, mask_key, 4);
        at += 4;
        ws_unmask(at, payload.at, payload.len, mask_key, 0);
    } else if (payload.len > 0) {
        memcpy(at, payload.at, payload.len);
    }
    return (size_t)(at - out) + payload.len;
}

/* How much of a reason fits: at most 123 bytes, and no character is cut (RFC 6455 5.5.1). */
static size_t reason_length(struct span reason)
{
    size_t len = reason.len;

    if (len <= CLOSE_REASON_MAX)
        return len;
    len = CLOSE_REASON_MAX;
    while (len > 0 && ((uint8_t)reason.at[len] & 0xc0) == 0x80)
        len--;
    return len;
}

size_t ws_write_close(char *out, enum ws_sender sender, unsigned code, struct span reason, const uint8_t mask_key[4])
{
    char payload[WS_CONTROL_MAX] = { (char)(code >> 8), (char)code };
    size_t text = reason_length(reason);

    if (code == 0 || code == NO_STATUS)
        return write_control(out, sender, WS_CLOSE, span_of(NULL, 0), mask_key);
    if (text > 0)
        memcpy(payload + 2, reason.at, text);
    return write_control(out, sender, WS_CLOSE, span_of(payload, text + 2), mask_key);
}

size_t ws_write_ping(char *out, enum ws_sender sender, struct span payload, const uint8_t mask_key[4])
{
    if (payload.len > WS_CONTROL_MAX)
        payload.len = WS_CONTROL_MAX;
    return write_control(out, sender, WS_PING, payload, mask_key);
}
