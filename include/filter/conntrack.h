/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_CONNTRACK_H
#define POSTERN_FILTER_CONNTRACK_H

#include "base/row.h"

/*
 * The only place that knows libnetfilter_conntrack: entries, events, deletion. Needs CAP_NET_ADMIN. Everything is about the network
 * namespace in which it was opened.
 *
 * An entry's state: NEW until the other side has answered (TCP: until the handshake is complete), then ESTABLISHED, also while one
 * side of a TCP flow has said FIN and the other goes on; CLOSED when TCP is over (TIME_WAIT, CLOSE) or the entry is destroyed;
 * RELATED, unless it is closed, if a helper expected it. NONE, in events of TCP only: it is as it was before.
 */
struct conntrack;

struct conntrack_entry {
    uint32_t id, mark;
    uint16_t zone;     /* of connection tracking, not of Postern; mostly 0 */
    uint8_t protocol;  /* IPPROTO_TCP, ... */
    uint8_t icmp_type; /* of the original tuple; its code is 0 in all types that are tracked */
    bool destroyed, related, replied;
    bool closing; /* TCP: a side has said FIN or RST */
    enum conntrack_state state;
    struct addr client, destination; /* original tuple; icmp: the port of client is the id, of destination 0 */
    struct addr server,
        upstream; /* reply tuple: its source (the real server), its destination (the client after NAT); icmp: port 0 */
    struct addr master_client, master_destination; /* original tuple of the flow that it is related to; family 0: not said */
    uint8_t master_protocol;
    uint64_t packets[DIRECTIONS], bytes[DIRECTIONS]; /* 0 without nf_conntrack_acct, and in events but the last */
};

MUST_CHECK struct conntrack *conntrack_open(void); /* NULL with errno */
void conntrack_close(struct conntrack *c);

/*
 * Calls back for each event that is there now, then returns; after some thousand it returns although there are more, and the
 * descriptor is still readable. lost: events were dropped; the owner should dump. The kernel tells nothing of entries that are
 * older than this handle (nf_conntrack_events = 2): the owner dumps once after conntrack_open(), and from time to time.
 */
int conntrack_fd(const struct conntrack *c);
void conntrack_read(struct conntrack *c, void (*event)(void *arg, const struct conntrack_entry *entry), void *arg, bool *lost);
/* All entries there are, both families. `each` must ask nothing of `c`. false with errno: not all were shown. */
MUST_CHECK bool conntrack_dump(struct conntrack *c, void (*each)(void *arg, const struct conntrack_entry *entry), void *arg);
/* The entry whose original tuple this is (of icmp: an echo request's); false with errno, ENOENT: there is none. */
MUST_CHECK bool conntrack_find(struct conntrack *c, uint8_t protocol, const struct addr *client, const struct addr *destination,
                               struct conntrack_entry *out);
/* This very entry, not a later one with the same tuple and another id. false with errno; ENOENT: it is gone already. */
MUST_CHECK bool conntrack_delete(struct conntrack *c, const struct conntrack_entry *entry);
/* Changes the bits of PACKET_MARK_MASK in its mark (policy/packet.h) to those of `mark`. false with errno, as above. */
MUST_CHECK bool conntrack_remark(struct conntrack *c, const struct conntrack_entry *entry, uint32_t mark);

#endif
