/* SPDX-License-Identifier: ISC */
/*
 * What the first bytes of a stream are. A guess from a few bytes that decides who parses the rest, never what is allowed: the
 * parser that gets them is strict, and a policy asks for the protocol by name. The methods are those that llhttp knows for HTTP;
 * PRI (the preface of HTTP/2) is not among them.
 */
#include "proto/hello.h"

#include <string.h>

#define TLS_CHANGE_CIPHER_SPEC 20
#define TLS_HANDSHAKE 22
#define TLS_APPLICATION_DATA 23

static const char *const methods[] = {
    "GET ",        "HEAD ",      "POST ",     "PUT ",    "DELETE ",   "CONNECT ",     "OPTIONS ",  "TRACE ",  "PATCH ",
    "ACL ",        "BIND ",      "CHECKOUT ", "COPY ",   "LINK ",     "LOCK ",        "M-SEARCH ", "MERGE ",  "MKACTIVITY ",
    "MKCALENDAR ", "MKCOL ",     "MOVE ",     "NOTIFY ", "PROPFIND ", "PROPPATCH ",   "PURGE ",    "REBIND ", "REPORT ",
    "SEARCH ",     "SUBSCRIBE ", "UNBIND ",   "UNLINK ", "UNLOCK ",   "UNSUBSCRIBE ",
};

static enum sniff sniff_http(struct span in)
{
    struct span crlf = SPAN("\r\n");

    if (span_starts(in, crlf))
        in = span_skip(in, crlf.len);
    else if (span_starts(crlf, in))
        return SNIFF_MORE;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        struct span method = span_str(methods[i]);

        if (span_starts(in, method))
            return SNIFF_HTTP;
        if (span_starts(method, in))
            return SNIFF_MORE;
    }
    return SNIFF_OTHER;
}

/* Servers look at the major version only (RFC 8446 5.1), and some bear other records in front of a ClientHello. */
static enum sniff sniff_tls(struct span in)
{
    if (in.len > 1 && in.at[1] != 3)
        return SNIFF_OTHER;
    return in.len > 2 ? SNIFF_TLS : SNIFF_MORE;
}

/* The ClientHello of TLS as SSL 2.0 wrote it (RFC 5246 E.2): servers still take it. */
static enum sniff sniff_old_tls(struct span in)
{
    if ((in.len > 2 && in.at[2] != 1) || (in.len > 3 && in.at[3] != 3))
        return SNIFF_OTHER;
    return in.len > 3 ? SNIFF_TLS : SNIFF_MORE;
}

static bool is_record_type(char type)
{
    return type >= TLS_CHANGE_CIPHER_SPEC && type <= TLS_APPLICATION_DATA;
}

static bool is_old_length(char first)
{
    return ((uint8_t)first & 0x80) != 0;
}

enum sniff sniff_bytes(struct span in)
{
    if (in.len == 0)
        return SNIFF_MORE;
    if (is_record_type(in.at[0]))
        return sniff_tls(in);
    if (is_old_length(in.at[0]))
        return sniff_old_tls(in);
    if (in.at[0] == 5)
        return SNIFF_SOCKS5;
    return in.at[0] == 4 ? SNIFF_SOCKS4 : sniff_http(in);
}

enum sniff sniff_explicit(struct span in)
{
    enum sniff what = sniff_bytes(in);
    bool undecided = what == SNIFF_MORE && (in.len == 0 || is_record_type(in.at[0]) || is_old_length(in.at[0]));

    return what == SNIFF_OTHER || (what == SNIFF_MORE && !undecided) ? SNIFF_HTTP : what;
}
