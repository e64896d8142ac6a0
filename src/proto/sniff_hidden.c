/* SPDX-License-Identifier: ISC */
/*
 * Other protocols at the start of a binary stream. Unlike the sniffing of a connection (proto/sniff.c), where any first byte must
 * lead to some parser, this must not take an application's binary messages for something else: each protocol is asked for all that
 * its first bytes fix, and a few bytes too few are no.
 *
 * The answer depends on a prefix only: whatever is asked for is found at a fixed place or right behind it, so that cutting the
 * stream in other pieces changes nothing, and more bytes never turn a yes into a no.
 *
 * It is a hurdle, not a proof: whoever encrypts or encodes a tunnel passes it.
 */
#include "proto/sniff.h"
#include "proto/hello.h"

#include <string.h>

#define TLS_CHANGE_CIPHER_SPEC 20
#define TLS_HANDSHAKE 22
#define TLS_APPLICATION_DATA 23
#define TLS_RECORD_MAX (16384 + 256)
#define CLIENT_HELLO 1
#define SERVER_HELLO 2
#define SOCKS5_METHOD_MAX 9 /* the last that IANA has registered */

static uint8_t byte_at(struct span in, size_t i)
{
    return (uint8_t)in.at[i];
}

static bool is_tls(struct span in)
{
    unsigned length;

    if (in.len < 6 || byte_at(in, 0) < TLS_CHANGE_CIPHER_SPEC || byte_at(in, 0) > TLS_APPLICATION_DATA)
        return false;
    length = (unsigned)byte_at(in, 3) << 8 | byte_at(in, 4);
    if (byte_at(in, 1) != 3 || byte_at(in, 2) > 4 || length == 0 || length > TLS_RECORD_MAX)
        return false;
    return byte_at(in, 0) != TLS_HANDSHAKE || byte_at(in, 5) == CLIENT_HELLO || byte_at(in, 5) == SERVER_HELLO;
}

static bool is_status_line(struct span in)
{
    return span_starts(in, SPAN("HTTP/")) && in.len > 5 && in.at[5] >= '1' && in.at[5] <= '9';
}

/* Behind the method: a target of visible bytes, and then the version, or so much of the target that the version is out of sight. */
static bool is_request_line(struct span in)
{
    bool full = in.len == SNIFF_HIDDEN_MAX; /* more will never be seen */
    const char *space;
    size_t i;

    if (sniff_bytes(in) != SNIFF_HTTP && !span_starts(in, SPAN("PRI ")))
        return false;
    space = memchr(in.at, ' ', in.len);
    for (i = (size_t)(space - in.at) + 1; i < in.len && byte_at(in, i) > ' ' && byte_at(in, i) < 0x7f; i++)
        ;
    if (i == in.len)
        return full;
    in = span_skip(in, i);
    return span_starts(in, SPAN(" HTTP/")) || (full && span_starts(SPAN(" HTTP/"), in));
}

static bool is_socks5(struct span in)
{
    size_t methods = in.len > 1 ? byte_at(in, 1) : 0;

    if (methods == 0 || byte_at(in, 0) != 5 || in.len < 2 + methods)
        return false;
    for (size_t i = 0; i < methods; i++)
        if (byte_at(in, 2 + i) > SOCKS5_METHOD_MAX || memchr(in.at + 2, in.at[2 + i], i) != NULL)
            return false;
    return true;
}

/* Version, command, port, address, user name, NUL. */
static bool is_socks4(struct span in)
{
    if (in.len < 9 || byte_at(in, 0) != 4 || (byte_at(in, 1) != 1 && byte_at(in, 1) != 2))
        return false;
    if (byte_at(in, 2) == 0 && byte_at(in, 3) == 0)
        return false;
    for (size_t i = 8; i < in.len; i++) {
        if (byte_at(in, i) == 0)
            return true;
        if (byte_at(in, i) <= ' ' || byte_at(in, i) >= 0x7f)
            return false;
    }
    return false;
}

bool sniff_hidden(struct span first)
{
    if (first.len > SNIFF_HIDDEN_MAX)
        first.len = SNIFF_HIDDEN_MAX;
    return is_tls(first) || span_starts(first, SPAN("SSH-")) || is_status_line(first) || is_request_line(first) ||
           is_socks5(first) || is_socks4(first);
}
