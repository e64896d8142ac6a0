/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_SPOOF_H
#define POSTERN_FILTER_SPOOF_H

#include "filter/conntrack.h"

/*
 * A socket for preserve_client_address: bound to the client's own address (IP_TRANSPARENT, needs CAP_NET_ADMIN), with a port for
 * which no flow to `server` exists, non-blocking, not connected. -1 with errno.
 */
MUST_CHECK int spoof_socket(struct conntrack *c, const struct addr *client, const struct addr *server);

#endif
