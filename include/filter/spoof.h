/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_SPOOF_H
#define POSTERN_FILTER_SPOOF_H

#include "filter/conntrack.h"

/*
 * A socket for preserve_client_address: bound to the client's own address (IP_TRANSPARENT, needs CAP_NET_ADMIN), with a port for
 * which no flow to `server` exists, non-blocking, close-on-exec, TCP_NODELAY, not connected. The client's port is not taken over.
 * connect(2) may still fail with EADDRNOTAVAIL, if another socket with this address and port was connected to `server` meanwhile.
 *
 * -1 with errno: EADDRINUSE (no port was found), EAFNOSUPPORT (no address, or not of one family), EPERM, ...
 */
MUST_CHECK int spoof_socket(struct conntrack *c, const struct addr *client, const struct addr *server);

#endif
