/* SPDX-License-Identifier: ISC */
/*
 * Where an intercepted client wanted to go. TPROXY leaves the packets as they are: the accepted socket's own address is what was
 * dialled. REDIRECT rewrote them, and only connection tracking remembers; when its entry is gone nobody knows, and nothing is
 * guessed. In both ways the address of the listener itself means that the client dialled it and nothing was intercepted.
 */
#include "net/original.h"

#include <netinet/in.h>

#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

static bool local_end(int fd, struct addr *out)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);

    return getsockname(fd, (struct sockaddr *)&sa, &len) == 0 && addr_from_sockaddr(out, (struct sockaddr *)&sa, len);
}

enum original original_by_address(int fd, const struct addr *listener, struct addr *out)
{
    *out = (struct addr){ 0 };
    if (!local_end(fd, out))
        return ORIGINAL_UNKNOWN;
    if (addr_is_bound_to(listener, out))
        return ORIGINAL_DIRECT;
    return ORIGINAL_FOUND;
}

enum original original_by_conntrack(int fd, const struct addr *listener, struct addr *out)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct addr here;
    bool known = listener->family == AF_INET6 ? getsockopt(fd, IPPROTO_IPV6, IP6T_SO_ORIGINAL_DST, &sa, &len) == 0
                                              : getsockopt(fd, IPPROTO_IP, SO_ORIGINAL_DST, &sa, &len) == 0;

    *out = (struct addr){ 0 };
    if (!known || !local_end(fd, &here) || !addr_from_sockaddr(out, (struct sockaddr *)&sa, len))
        return ORIGINAL_UNKNOWN;
    return addr_eq(out, &here) ? ORIGINAL_DIRECT : ORIGINAL_FOUND;
}
