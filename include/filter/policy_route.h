/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_POLICY_ROUTE_H
#define POSTERN_FILTER_POLICY_ROUTE_H

#include "base/addr.h"

/*
 * Policy routing for TPROXY: packets with ROUTE_MARK are delivered to this machine (`ip rule fwmark MARK/MASK lookup TABLE`, `ip
 * route local default dev lo table TABLE`), IPv4 and IPv6, over rtnetlink. Needs
 * CAP_NET_ADMIN and a loopback interface that is up. Installing what is there, and removing what is not, is fine; what is there by
 * half is completed, and what others have put there stays. false: `error` of `size` bytes says why; else it is "". Where IPv6 is
 * disabled, installing IPv4 alone is all there is to do: true.
 */
MUST_CHECK bool policy_route_install(char *error, size_t size);
MUST_CHECK bool policy_route_remove(char *error, size_t size);
/* Is all of it there, for this family (AF_INET, AF_INET6)? */
bool policy_route_present(int family);

/*
 * How the kernel would route a packet that comes in by `interface` (RTM_GETROUTE with RTA_IIF): for explain and doctor. "": one
 * that this machine sends; then `from` may be of family 0. `error` is 0, or ENETUNREACH (no route), EHOSTUNREACH (forwarding is
 * off), EXDEV (a source that cannot come in there: rp_filter, or no address of a host), ENODEV (no such interface), ...; `local`:
 * it is delivered to this machine; `interface`: by which it leaves, "lo" if it is local.
 */
struct policy_route_answer {
    int error;
    bool local;
    char interface[16];
};
void policy_route_ask(const struct addr *from, const struct addr *to, const char *interface, uint32_t mark,
                      struct policy_route_answer *out);

#endif
