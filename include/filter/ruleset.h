/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_RULESET_H
#define POSTERN_FILTER_RULESET_H

#include "policy/packet.h"

#include <sys/types.h>

/*
 * The configuration compiled to nftables: the text of one transaction that replaces the table `inet NAME` as a whole, whether or
 * not it is there, and touches no other. Deterministic: the same configuration and blocks give the same text.
 */
struct ruleset_block {
    struct network network;
    uint32_t seconds; /* left */
};

struct ruleset_input {
    const struct conf *conf; /* with packet_filter */
    const struct rules *rules;
    uid_t workers; /* their user: `meta skuid` */
    uid_t filter;  /* that of the filter process, which makes sockets for them; may be the same */
    const struct ruleset_block *blocks;
    size_t block_count;
};

/* malloc'd, or NULL without memory. Chains, sets and counters: docs/architecture.md, "Packet filter". */
MUST_CHECK char *ruleset_text(const struct ruleset_input *in);
/* The transaction that removes the table `name`, whether or not it is there. malloc'd, or NULL. */
MUST_CHECK char *ruleset_removal(const char *name);

/* Names that others look for in the committed table. */
#define RULESET_BLOCK4 "blocked4" /* sets of addresses or networks with timeouts */
#define RULESET_BLOCK6 "blocked6"

/* Of intercepted packets, so that policy routing delivers them here (`ip rule fwmark`); and the routing table for them. */
#define ROUTE_MARK 0x50000000u
#define ROUTE_MARK_MASK 0xff000000u
#define ROUTE_TABLE 20560u
#define ROUTE_PRIORITY 20560u

#endif
