/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_ADDR_H
#define POSTERN_BASE_ADDR_H

#include "base/span.h"

#include <sys/socket.h>

/*
 * An address with a port. `family` is AF_INET, AF_INET6 or 0 (none). An IPv4 address stands in the first four bytes of `ip` and the
 * rest is zero. IPv4-mapped IPv6 addresses (::ffff:a.b.c.d) are turned into IPv4 wherever an address enters Postern, so that no
 * rule for one spelling misses the other.
 */
struct addr {
    uint16_t family;
    uint16_t port; /* host order */
    uint8_t ip[16];
};

struct network {
    struct addr base; /* host bits zero */
    uint8_t bits;
};

#define ADDR_TEXT 56 /* enough for any address with brackets and port, and the NUL */

MUST_CHECK bool addr_from_sockaddr(struct addr *out, const struct sockaddr *sa, socklen_t len);
/* Returns the length to hand to the kernel. */
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out);

/*
 * A literal: dotted quad without leading zeros, or IPv6 without brackets and zone id (RFC 3986 3.2.2). The port is set to `port`.
 * Returns false for anything else.
 */
MUST_CHECK bool addr_parse(struct addr *out, struct span text, uint16_t port);
/* "1.2.3.4:80", "[::1]:80": false without a port or with one of 0 or above 65535. */
MUST_CHECK bool addr_parse_port(struct addr *out, struct span text);
/*
 * Would a careless resolver read this name as an IPv4 address: decimal, hex and octal numbers, one to four parts, a trailing dot
 * (inet_aton(3))? Such a host is normalised to the address that is meant (`out`), or refused by the caller when it is true and
 * `out` has family 0 (number out of range).
 */
bool addr_parse_loose(struct addr *out, struct span text, uint16_t port);

/* The IP alone, and with the port ("[::1]:80"). `out` must hold ADDR_TEXT bytes; it is returned. Family 0 gives "". */
char *addr_text(const struct addr *a, char *out);
char *addr_port_text(const struct addr *a, char *out);
/* The same as addr_port_text() without the NUL; returns where the next byte goes. */
char *addr_port_put(const struct addr *a, char *out);

bool addr_same_ip(const struct addr *a, const struct addr *b);
bool addr_eq(const struct addr *a, const struct addr *b);
bool addr_is_any(const struct addr *a);
/* Does a socket bound to `own`, maybe to all addresses of its family, get what is sent to `a`? */
bool addr_is_bound_to(const struct addr *own, const struct addr *a);
bool addr_is_loopback(const struct addr *a);

/* "10.0.0.0/8", "fd00::/8", or an address (all bits). Host bits must be zero. "::ffff:10.0.0.0/104" is 10.0.0.0/8. */
MUST_CHECK bool network_parse(struct network *out, struct span text);
bool network_has(const struct network *n, const struct addr *a);
/* Is every address of `inner` also in `outer`? */
bool network_inside(const struct network *inner, const struct network *outer);

/*
 * Is this a special-purpose address (RFC 6890 and its successors: loopback, private, link-local, shared, documentation,
 * benchmarking, multicast, reserved, broadcast, unspecified, unique-local; also an IPv4 one wrapped into 6to4, Teredo, NAT64 or the
 * compatible form)? If so `block` is the special-purpose block that it lies in. A plain zone network must not reach such an address
 * unless it lies inside this block (design.md, zones).
 */
bool addr_special(const struct addr *a, struct network *block);
/*
 * All of them as networks, by number from 0; false behind the last. They overlap. Wrapped IPv4 ones are the prefixes that they
 * are, but Teredo is listed as a whole: which of its addresses are special-purpose is also said by their last 32 bits.
 */
bool addr_special_block(size_t index, struct network *block);
/* Does the network lie inside a block of special-purpose addresses, or of such that wrap IPv4 ones? */
bool network_is_special(const struct network *n);

#endif
