/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_HOST_H
#define POSTERN_PROTO_HOST_H

#include "base/addr.h"
#include "base/idna.h"

/*
 * A host as a request names it, normalised once and compared only in this form: a name in lower case A-labels (RFC 5891) without
 * trailing dot, or an address.
 */

struct host {
    struct addr ip;       /* family 0: it is a name */
    char name[HOST_TEXT]; /* the name, or the address as text without brackets */
    uint16_t len;
};

/*
 * Reads a uri-host (RFC 3986 3.2.2): a name, a dotted quad, or an IPv6 literal in brackets. All spellings of IPv4 that a resolver
 * might take for an address (decimal, hex, octal, short, trailing dot) become that address. Refused: empty, userinfo, comma,
 * percent escapes, bytes outside letters, digits, '-', '.', '_' (U-labels only as A-labels; raw 8-bit bytes are refused), labels of
 * 0 or over 63 bytes, names over 253 bytes, zone ids, names whose last label is a number but no address.
 */
MUST_CHECK bool host_parse(struct host *out, struct span text);
/* None: no name, no address. */
void host_clear(struct host *out);
/* The same from an address. */
void host_from_addr(struct host *out, const struct addr *ip);
/* The same when its text is known, as addr_text() writes it. */
void host_from_literal(struct host *out, const struct addr *ip, struct span text);
/*
 * authority = uri-host [":" port]: port 0 is returned as `*port == 0` when there is none; a port that is empty, 0, above 65535, or
 * has anything but digits is refused, and so is a second one.
 */
MUST_CHECK bool host_parse_authority(struct host *out, uint16_t *port, struct span text);
/*
 * The same with a memory of what was read a moment ago: requests name few different hosts, and nearly every one the same as the one
 * before. All zero is an empty one.
 */
#define HOST_MEMO 32      /* authorities that are kept */
#define HOST_MEMO_TEXT 64 /* longer ones never are */
struct host_memo {
    struct host_memo_entry {
        char text[HOST_MEMO_TEXT];
        uint16_t len, port; /* len 0: empty */
        struct host host;
    } entries[HOST_MEMO];
};
MUST_CHECK bool host_recall_authority(struct host_memo *memo, struct host *out, uint16_t *port, struct span text);
bool host_eq(const struct host *a, const struct host *b);
struct span host_span(const struct host *h);

#endif
