/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_SOCKS_H
#define POSTERN_PROTO_SOCKS_H

#include "proto/host.h"
#include "base/reason.h"

/* SOCKS 5 (RFC 1928), the server's side: the greeting, then the request. Both parsers are given all bytes so far, from the start.
 */
enum socks_progress { SOCKS_MORE, SOCKS_DONE, SOCKS_BAD };
enum socks_reply {
    SOCKS_SUCCEEDED = 0,
    SOCKS_FAILURE = 1,
    SOCKS_NOT_ALLOWED = 2,
    SOCKS_NETWORK_UNREACHABLE = 3,
    SOCKS_HOST_UNREACHABLE = 4,
    SOCKS_REFUSED = 5,
    SOCKS_TTL_EXPIRED = 6,
    SOCKS_COMMAND_UNSUPPORTED = 7,
    SOCKS_ADDRESS_UNSUPPORTED = 8
};

/*
 * Greeting: DONE if "no authentication" is offered; BAD otherwise (why: R_SOCKS_METHOD, or R_SOCKS_MALFORMED for another version or
 * no method). *used bytes were read.
 */
MUST_CHECK enum socks_progress socks_greeting(struct span in, size_t *used, enum reason *why);

struct socks_request {
    struct host host; /* names normalised like every other host; IPv4-mapped addresses turned into IPv4 */
    uint16_t port;
};

/* Request: BAD gives the reply code to send and the reason. BIND and UDP ASSOCIATE are SOCKS_COMMAND_UNSUPPORTED, R_SOCKS_COMMAND.
 */
MUST_CHECK enum socks_progress socks_request(struct span in, struct socks_request *out, size_t *used, enum socks_reply *reply,
                                             enum reason *why);

/* A reply with an address (family 0: 0.0.0.0:0); `out` holds SOCKS_REPLY_MAX bytes; returns its length. */
#define SOCKS_REPLY_MAX 22
size_t socks_write_reply(char *out, enum socks_reply reply, const struct addr *bound);
/* The reply code for a denial or failure. */
enum socks_reply socks_reply_for(enum reason why);

#endif
