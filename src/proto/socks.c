/* SPDX-License-Identifier: ISC */
/*
 * SOCKS 5, the server's side (RFC 1928): a greeting, a request, a reply. Both parsers begin at the first byte each time and judge
 * every byte as soon as it is there; messages are so short that keeping a position would cost more than it saves. CONNECT is all
 * that is served: BIND and UDP ASSOCIATE would let a server speak that nobody asked. A name may come in Unicode and is an ordinary
 * host from here on; an address that is written as a name is an address.
 */
#include "proto/socks.h"

#include <netinet/in.h>
#include <string.h>

#define VERSION 5
#define NO_AUTHENTICATION 0
#define COMMAND_CONNECT 1
#define REQUEST_HEADER 4

enum address_type { ADDRESS_IP4 = 1, ADDRESS_NAME = 3, ADDRESS_IP6 = 4 };

enum socks_progress socks_greeting(struct span in, size_t *used, enum reason *why)
{
    const uint8_t *at = (const uint8_t *)in.at;

    *used = 0;
    *why = R_SOCKS_MALFORMED;
    if (in.len > 0 && at[0] != VERSION)
        return SOCKS_BAD;
    if (in.len > 1 && at[1] == 0)
        return SOCKS_BAD;
    *why = R_NONE;
    if (in.len < 2 || in.len < 2u + at[1])
        return SOCKS_MORE;
    *used = 2u + at[1];
    if (memchr(at + 2, NO_AUTHENTICATION, at[1]) != NULL)
        return SOCKS_DONE;
    *why = R_SOCKS_METHOD;
    return SOCKS_BAD;
}

/* Version, command, reserved byte, address type and the length of a name, as far as they are there. */
static enum socks_reply check_header(const uint8_t *at, size_t available, enum reason *why)
{
    *why = R_SOCKS_MALFORMED;
    if (available > 0 && at[0] != VERSION)
        return SOCKS_FAILURE;
    if (available > 1 && at[1] != COMMAND_CONNECT) {
        *why = R_SOCKS_COMMAND;
        return SOCKS_COMMAND_UNSUPPORTED;
    }
    if (available > 2 && at[2] != 0)
        return SOCKS_FAILURE;
    if (available > 3 && at[3] != ADDRESS_IP4 && at[3] != ADDRESS_NAME && at[3] != ADDRESS_IP6)
        return SOCKS_ADDRESS_UNSUPPORTED;
    if (available > 4 && at[3] == ADDRESS_NAME && at[4] == 0)
        return SOCKS_FAILURE;
    *why = R_NONE;
    return SOCKS_SUCCEEDED;
}

/* Where the address begins and how long it is; the request is longer than REQUEST_HEADER. */
static size_t address_length(const uint8_t *at, size_t *start)
{
    *start = REQUEST_HEADER + (at[3] == ADDRESS_NAME);
    if (at[3] == ADDRESS_NAME)
        return at[REQUEST_HEADER];
    return at[3] == ADDRESS_IP4 ? 4 : 16;
}

static void read_ip4(struct host *out, const uint8_t *at)
{
    struct addr ip = { .family = AF_INET };

    memcpy(ip.ip, at, 4);
    host_from_addr(out, &ip);
}

static bool read_ip6(struct host *out, const uint8_t *at)
{
    struct sockaddr_in6 sa = { .sin6_family = AF_INET6 };
    struct addr ip;
    bool good;

    memcpy(&sa.sin6_addr, at, 16);
    good = addr_from_sockaddr(&ip, (const struct sockaddr *)&sa, sizeof(sa));
    host_from_addr(out, &ip);
    return good;
}

static bool read_name(struct host *out, struct span text)
{
    char name[HOST_TEXT];

    return idna_to_ascii(text, name) && host_parse(out, span_str(name));
}

static bool read_host(struct host *out, const uint8_t *at, size_t len, uint8_t type)
{
    if (type == ADDRESS_NAME)
        return read_name(out, span_of((const char *)at, len));
    if (type == ADDRESS_IP6)
        return read_ip6(out, at);
    read_ip4(out, at);
    return true;
}

enum socks_progress socks_request(struct span in, struct socks_request *out, size_t *used, enum socks_reply *reply,
                                  enum reason *why)
{
    const uint8_t *at = (const uint8_t *)in.at;
    size_t start, len;

    *used = 0;
    *reply = check_header(at, in.len, why);
    if (*why != R_NONE)
        return SOCKS_BAD;
    if (in.len <= REQUEST_HEADER)
        return SOCKS_MORE;
    len = address_length(at, &start);
    if (in.len < start + len + 2)
        return SOCKS_MORE;
    *used = start + len + 2;
    out->port = (uint16_t)(at[*used - 2] << 8 | at[*used - 1]);
    if (out->port != 0 && read_host(&out->host, at + start, len, at[3]))
        return SOCKS_DONE;
    *reply = SOCKS_FAILURE;
    *why = R_SOCKS_MALFORMED;
    return SOCKS_BAD;
}

size_t socks_write_reply(char *out, enum socks_reply reply, const struct addr *bound)
{
    size_t len = bound->family == AF_INET6 ? 16 : 4;

    out[0] = VERSION;
    out[1] = (char)reply;
    out[2] = 0;
    out[3] = bound->family == AF_INET6 ? ADDRESS_IP6 : ADDRESS_IP4;
    memcpy(out + REQUEST_HEADER, bound->ip, len);
    out[REQUEST_HEADER + len] = (char)(bound->port >> 8);
    out[REQUEST_HEADER + len + 1] = (char)bound->port;
    return REQUEST_HEADER + len + 2;
}

enum socks_reply socks_reply_for(enum reason why)
{
    static const enum socks_reply replies[R_COUNT] = {
        [R_POLICY_DENIED] = SOCKS_NOT_ALLOWED,
        [R_NO_POLICY] = SOCKS_NOT_ALLOWED,
        [R_ZONE_UNKNOWN] = SOCKS_NOT_ALLOWED,
        [R_ADDRESS_PRIVATE] = SOCKS_NOT_ALLOWED,
        [R_LOOP] = SOCKS_NOT_ALLOWED,
        [R_REVOKED] = SOCKS_NOT_ALLOWED,
        [R_RATE_EXCEEDED] = SOCKS_NOT_ALLOWED,
        [R_NO_ROUTE] = SOCKS_NETWORK_UNREACHABLE,
        [R_NAME_UNRESOLVED] = SOCKS_HOST_UNREACHABLE,
        [R_NAME_TIMEOUT] = SOCKS_HOST_UNREACHABLE,
        [R_TIMEOUT_CONNECT] = SOCKS_HOST_UNREACHABLE,
        [R_UPSTREAM_REFUSED] = SOCKS_REFUSED,
        [R_SOCKS_COMMAND] = SOCKS_COMMAND_UNSUPPORTED,
    };

    if (why == R_NONE)
        return SOCKS_SUCCEEDED;
    return why < R_COUNT && replies[why] != SOCKS_SUCCEEDED ? replies[why] : SOCKS_FAILURE;
}
