/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_EXPLAIN_PACKET_H
#define POSTERN_SESSION_EXPLAIN_PACKET_H

#include "session/engine.h"

/*
 * Where the first packet of a flow comes in, where it would go, and what the ruleset makes of it (policy/packet.h). `protocol` is
 * CONF_TCP, CONF_UDP or CONF_ICMP; `interface` NULL: the one by which the client is reached. What needs the kernel's state (the
 * block set, routing by source) is not asked here.
 */
void explain_packet(const struct judge_context *c, struct route *route, unsigned protocol, const struct addr *client,
                    const struct addr *server, const char *interface, struct explain_packet *out);

/* Where a client's packet to this listener goes: its address, or of one that is bound to all an address of this machine. */
struct addr explain_packet_to(const struct judge_context *c, const struct conf_listener *listener);

#endif
