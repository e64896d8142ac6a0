/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_ROUTE_H
#define POSTERN_FILTER_ROUTE_H

#include "base/addr.h"

#include <net/if.h>

/*
 * What the kernel's routing says: the interface by which an address would be left (RTM_GETROUTE), and the names of interfaces
 * (RTM_GETLINK). One netlink socket a process, opened once at start, so that a worker needs no new one under its sandbox. The
 * kernel answers while it takes the question; nothing here waits. Answers are kept for a second at most.
 */
struct route;

/* NULL with errno set: no socket, or no memory. */
MUST_CHECK struct route *route_open(void);
void route_close(struct route *r);

enum route_result { ROUTE_FOUND, ROUTE_NONE, ROUTE_ERROR };

/*
 * The interface that packets to `to` leave by; the port does not matter. ROUTE_NONE: the kernel has no route there (R_NO_ROUTE), or
 * one that forbids it. ROUTE_ERROR: it could not be asked; this is never kept. `interface` is "" unless ROUTE_FOUND.
 */
MUST_CHECK enum route_result route_find(struct route *r, const struct addr *to, char interface[IF_NAMESIZE]);

/* The name of interface `index`; false and "" if there is none. */
bool route_interface_name(struct route *r, unsigned index, char out[IF_NAMESIZE]);

#endif
