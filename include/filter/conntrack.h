/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_CONNTRACK_H
#define POSTERN_FILTER_CONNTRACK_H

#include "base/row.h"

/* The only place that knows libnetfilter_conntrack: entries, events, deletion. Needs CAP_NET_ADMIN. */
struct conntrack;

struct conntrack_entry {
    uint32_t id, mark;
    uint8_t protocol; /* IPPROTO_TCP, ... */
    bool destroyed, related, replied;
    enum conntrack_state state;
    struct addr client, destination; /* original tuple; icmp: the port of client is the id, of destination 0 */
    struct addr server, upstream;    /* reply tuple: its source (the real server), its destination (the client after NAT) */
    uint64_t packets[DIRECTIONS], bytes[DIRECTIONS]; /* 0 without nf_conntrack_acct */
};

MUST_CHECK struct conntrack *conntrack_open(void); /* NULL with errno */
void conntrack_close(struct conntrack *c);

/* Calls back for each event that is there now, then returns. lost: events were dropped; the owner should dump. */
int conntrack_fd(const struct conntrack *c);
void conntrack_read(struct conntrack *c, void (*event)(void *arg, const struct conntrack_entry *entry), void *arg, bool *lost);
/* All entries there are, both families. */
MUST_CHECK bool conntrack_dump(struct conntrack *c, void (*each)(void *arg, const struct conntrack_entry *entry), void *arg);
/* The entry whose original tuple this is; false: there is none. */
MUST_CHECK bool conntrack_find(struct conntrack *c, uint8_t protocol, const struct addr *client, const struct addr *destination,
                               struct conntrack_entry *out);
/* false with errno; ENOENT: it is gone already. */
MUST_CHECK bool conntrack_delete(struct conntrack *c, const struct conntrack_entry *entry);
/* Changes the mark. */
MUST_CHECK bool conntrack_remark(struct conntrack *c, const struct conntrack_entry *entry, uint32_t mark);

#endif
