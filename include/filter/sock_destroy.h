/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_SOCK_DESTROY_H
#define POSTERN_FILTER_SOCK_DESTROY_H

#include "filter/conntrack.h"

/*
 * Ends the socket of this machine at the server's end of a flow that came to it (the reply tuple, so behind any translation): its
 * owner reads ECONNABORTED, and a TCP client is sent a reset. Only a TCP connection, or a UDP socket that is connected to this very
 * client: never a socket that listens or serves others, too. Needs CAP_NET_ADMIN.
 *
 * true: there is no such socket any more, or there was none. false with errno; EOPNOTSUPP: this kernel cannot end the sockets of
 * others (CONFIG_INET_DIAG_DESTROY). A kernel that cannot even look for sockets of this protocol (no tcp_diag, udp_diag) answers as
 * if there were none.
 */
MUST_CHECK bool sock_destroy(const struct conntrack_entry *entry);

#endif
