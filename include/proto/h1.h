/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_H1_H
#define POSTERN_PROTO_H1_H

#include "base/reason.h"

/*
 * HTTP/1.1 message heads (RFC 9112), strictly. Bytes go through three sieves: the line scanner (h1_scan: every LF behind a CR,
 * every CR before an LF, no NUL, limits, the start line checked as soon as it is there), llhttp over the whole head, and the checks
 * that llhttp does not make (h1_parse: framing, Host, Connection, Expect, Upgrade). A head is parsed only when it is complete, from
 * contiguous memory; spans point into that memory.
 */
enum h1_kind { H1_REQUEST, H1_RESPONSE };

struct h1_limits {
    uint32_t header_bytes, header_count, uri_bytes;
};

/* How far a head has been scanned: kept between calls, so that no byte is looked at twice. Zero it before each head. */
struct h1_scan {
    uint32_t at;         /* bytes looked at */
    uint32_t line_start; /* where the current line begins */
    uint32_t lines;      /* complete lines so far */
};

enum h1_progress { H1_MORE, H1_DONE, H1_BAD };

/*
 * Looks at the bytes of `in` that are new since the last call. H1_DONE: the head is complete and *head_len bytes long (from the
 * start of `in`, one ignored empty line before a request included). H1_BAD: *why says what is wrong; it may be known before the
 * head is complete. `in` always starts at the same byte of the message and only grows; the verdict does not depend on the steps in
 * which it grows. Request: fields beyond header_count and heads over header_bytes are R_HEAD_TOO_LARGE, a request line over
 * uri_bytes plus 64 is R_URI_TOO_LONG, a method over 32 bytes R_METHOD_UNKNOWN, a version other than 1.0 and 1.1
 * R_VERSION_UNSUPPORTED, all else R_HEAD_MALFORMED. Response: always R_RESPONSE_MALFORMED. Checks C1 to C5 and C14.
 */
MUST_CHECK enum h1_progress h1_scan(struct h1_scan *scan, enum h1_kind kind, const struct h1_limits *limits, struct span in,
                                    uint32_t *head_len, enum reason *why);

/* Fields that Postern looks at; every other one is H1_OTHER. */
enum h1_name {
    H1_OTHER,
    H1_HOST,
    H1_CONNECTION,
    H1_CONTENT_LENGTH,
    H1_TRANSFER_ENCODING,
    H1_TE,
    H1_TRAILER,
    H1_UPGRADE,
    H1_EXPECT,
    H1_VIA,
    H1_MAX_FORWARDS,
    H1_KEEP_ALIVE,
    H1_PROXY_CONNECTION,
    H1_PROXY_AUTHORIZATION,
    H1_PROXY_AUTHENTICATE,
    H1_PROXY_AUTHENTICATION_INFO,
    H1_FORWARDED,
    H1_X_FORWARDED_FOR,
    H1_X_FORWARDED_HOST,
    H1_X_FORWARDED_PROTO,
    H1_X_REAL_IP,
    H1_HTTP2_SETTINGS,
    H1_ORIGIN,
    H1_ACCEPT,
    H1_WS_KEY,
    H1_WS_VERSION,
    H1_WS_PROTOCOL,
    H1_WS_EXTENSIONS,
    H1_WS_ACCEPT,
    H1_AUTHORIZATION,
    H1_WWW_AUTHENTICATE,
    H1_DATE,
    H1_SERVER,
    H1_CACHE_CONTROL
};

struct h1_field {
    struct span name, value; /* value without surrounding white space */
    enum h1_name id;
    bool hop; /* hop-by-hop: by its nature, or because Connection names it; never forwarded */
};

#define H1_NAME_BYTES 256 /* the longest field name */

#define H1_FIELDS_MAX 1000 /* the largest limits.header_count that can be configured */

enum h1_framing { H1_NO_BODY, H1_LENGTH, H1_CHUNKED, H1_UNTIL_CLOSE };

struct h1_head {
    enum h1_kind kind;
    unsigned minor;                                  /* of HTTP/1.x: 0 or 1 */
    struct span method, target;                      /* request */
    bool is_head, is_connect, is_get, is_idempotent; /* request: facts of the method (RFC 9110 9.2.2) */
    unsigned status;                                 /* response: 100 to 599 */
    enum h1_framing framing;
    uint64_t length;        /* of the body for H1_LENGTH; for a bodyless answer with Content-Length (HEAD, 304) what it says */
    bool has_length;        /* Content-Length was there */
    bool keep_alive;        /* the peer will keep the connection after this message */
    bool expects_continue;  /* request with Expect: 100-continue and HTTP/1.1 */
    bool upgrade;           /* Connection names upgrade and there is an Upgrade field */
    bool upgrade_websocket; /* and its value is exactly "websocket" */
    struct span host;       /* request: value of Host, trimmed; empty and NULL if there was none (HTTP/1.0 only) */
    uint64_t names;         /* a bit for each enum h1_name that some field has */
    size_t field_count;
    struct h1_field fields[H1_FIELDS_MAX];
};

/* What a response answers: its framing depends on that (RFC 9112 6.3). */
struct h1_asked {
    bool head, connect, upgrade;
};

/*
 * Parses a complete head, which h1_scan() has delimited and found good. `head` is large: callers keep one a thread. For a response
 * `asked` says what was requested; NULL for a request. Returns R_NONE or why not; for a request one of R_HEAD_MALFORMED,
 * R_METHOD_UNKNOWN, R_URI_TOO_LONG (a target over uri_bytes), R_FRAMING_AMBIGUOUS (also for a body with CONNECT or an upgrade),
 * R_BODY_TOO_LARGE (a length of 2^63 and more), R_HOST_MALFORMED (missing in 1.1, more than one, empty: its value is not parsed
 * here), R_EXPECTATION_UNKNOWN, R_HEAD_TOO_LARGE; for a response R_RESPONSE_MALFORMED, or R_UPGRADE_UNASKED for a 101 that nobody
 * asked for. Checks C8 to C15.
 */
MUST_CHECK enum reason h1_parse(struct h1_head *head, enum h1_kind kind, struct span bytes, const struct h1_limits *limits,
                                const struct h1_asked *asked);

/* Is there a field with this name? Most are not there, and nobody has to look. */
static inline bool h1_has(const struct h1_head *head, enum h1_name id)
{
    return head->names >> id & 1;
}
/* One field more; there must be room. */
static inline void h1_add(struct h1_head *head, struct h1_field field)
{
    head->names |= UINT64_C(1) << field.id;
    head->fields[head->field_count++] = field;
}
/* The first field with this name; NULL if there is none. And how many there are. */
const struct h1_field *h1_find(const struct h1_head *head, enum h1_name id);
size_t h1_count(const struct h1_head *head, enum h1_name id);
/* Does it speak of Negotiate (RFC 4559) or NTLM, in credentials or in a challenge? They log in the connection, not the request. */
bool h1_logs_in(const struct h1_head *head);

/* Feeds a request that a loose parser accepts (CVE-2023-30589) to the linked llhttp; false if it was accepted: do not start. */
MUST_CHECK bool h1_self_test(void);

#endif
