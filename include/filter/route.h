/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_ROUTE_H
#define POSTERN_FILTER_ROUTE_H

#include "base/addr.h"

#include <net/if.h>

/*
 * What the kernel's routing says: the interface by which an address would be left (RTM_GETROUTE), the names of interfaces
 * (RTM_GETLINK), and our own addresses (RTM_GETADDR). Two netlink sockets a process, opened once at start, so that a worker needs
 * no new one under its sandbox. The kernel answers while it takes the question; nothing here waits.
 *
 * Answers are kept until something changes, for a minute at most. So the owner watches for changes: it registers route_watch_fd()
 * for reading in its event loop, level-triggered, calls route_watch_read() whenever it is readable, and when that is true, throws
 * away what it has itself derived from routes and addresses.
 */
struct route;

/* NULL with errno set: no socket, or no memory. */
MUST_CHECK struct route *route_open(void);
void route_close(struct route *r);

/*
 * Changes of links, addresses, routes and rules. The descriptor belongs to `r`, is non-blocking and stays the same. Reading takes
 * the messages that are there; true: something has changed, or messages were lost, and nothing is remembered now.
 */
int route_watch_fd(const struct route *r);
bool route_watch_read(struct route *r);

enum route_result { ROUTE_FOUND, ROUTE_NONE, ROUTE_ERROR };

/*
 * The interface that packets to `to` leave by; the port does not matter. ROUTE_NONE: the kernel has no route there (R_NO_ROUTE), or
 * one that forbids it. ROUTE_ERROR: it could not be asked; this is never kept. `interface` is "" unless ROUTE_FOUND.
 */
MUST_CHECK enum route_result route_find(struct route *r, const struct addr *to, char interface[IF_NAMESIZE]);

/* Are packets to `to` delivered to this machine (type local)? That is so for all its addresses, and 127.0.0.0/8. false also if it
 * could not be asked. */
bool route_is_local(struct route *r, const struct addr *to);

/* This machine's addresses, without ports, each once for each interface that has it. false: they could not be listed. */
MUST_CHECK bool route_each_own(struct route *r, void (*fn)(void *arg, const struct addr *own), void *arg);

/* Is there an interface of this name now? */
bool route_has_interface(struct route *r, const char *name);
/* The name of interface `index`; false and "" if there is none. */
bool route_interface_name(struct route *r, unsigned index, char out[IF_NAMESIZE]);

#endif
