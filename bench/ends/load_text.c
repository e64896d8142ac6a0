/* SPDX-License-Identifier: ISC */
/* What the load sends and what it expects, made once from its options. */
#include "load.h"

#include <stdio.h>
#include <string.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define NAMED "h00000."
#define HEAD_MAX 10

static bool is_websocket(const struct options *o)
{
    return o->mode >= ECHO;
}

static void make_request(struct load *l)
{
    const struct options *o = &l->options;
    const char *upgrade =
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n";
    const char *more = is_websocket(o) ? upgrade : o->mode == NEW ? "Connection: close\r\n" : "";
    char host[256];

    snprintf(host, sizeof(host), "%s%s", o->names > 0 ? NAMED : "", o->host);
    l->request_len = (size_t)snprintf(l->request, sizeof(l->request),
                                      "GET %s%s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n%s\r\n",
                                      o->is_absolute ? "http://" : "", o->is_absolute ? host : "", o->path, host, more);
    for (char *at = l->request; o->names > 0 && l->name_places < 2 && (at = strstr(at, NAMED)) != NULL; at++)
        l->names_at[l->name_places++] = (size_t)(at + 1 - l->request);
    l->connect_len =
        (size_t)snprintf(l->connect_text, sizeof(l->connect_text), "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", o->origin, o->origin);
}

/* Clients mask, all of ours with the same key. */
static void make_message(struct load *l)
{
    static const unsigned char mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
    const struct options *o = &l->options;
    size_t head_len;

    l->message = grown(NULL, HEAD_MAX + sizeof(mask) + o->message);
    head_len = frame_head_write((unsigned char *)l->message, payload_first(o->kind), o->message);
    l->message[1] |= (char)0x80;
    memcpy(l->message + head_len, mask, sizeof(mask));
    head_len += sizeof(mask);
    payload_fill(l->message + head_len, o->message, o->kind);
    for (size_t i = 0; i < o->message; i++)
        l->message[head_len + i] ^= (char)mask[i & 3];
    l->message_len = head_len + o->message;
}

static void make_expected(struct load *l)
{
    const struct options *o = &l->options;

    l->expected_len = o->mode == SEND ? strlen(TAKEN) : o->message;
    l->expected_first = payload_first(o->mode == SEND ? "ascii" : o->kind);
    l->expected = grown(NULL, l->expected_len + 1);
    if (o->mode == SEND)
        memcpy(l->expected, TAKEN, l->expected_len);
    else
        payload_fill(l->expected, l->expected_len, o->kind);
}

void text_make(struct load *l)
{
    make_request(l);
    make_message(l);
    make_expected(l);
}
