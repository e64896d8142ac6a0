/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_FILTER_RULESET_PARTS_H
#define POSTERN_FILTER_RULESET_PARTS_H

#include "filter/ruleset.h"

#include <stdio.h>

/* Pieces of the compiler of rulesets; private to ruleset*.c and their test. */

/* Addresses of one family as ranges of numbers; an IPv4 one is below 2^32. */
__extension__ typedef unsigned __int128 address_number;

struct address_range {
    address_number first, last;
};

struct address_ranges {
    struct address_range *items;
    size_t count, room;
    bool failed; /* no memory: something is missing */
};

void ranges_fini(struct address_ranges *r);
void ranges_add(struct address_ranges *r, address_number first, address_number last);
void ranges_add_network(struct address_ranges *r, const struct network *network);
/* Sorts, and joins what overlaps or touches. */
void ranges_merge(struct address_ranges *r);
/* Both merged; `r` is without `holes` afterwards. */
void ranges_subtract(struct address_ranges *r, const struct address_ranges *holes);
bool ranges_have(const struct address_ranges *r, address_number number);
address_number ranges_number(const struct addr *a);
/* As elements of a set of nftables. `family` is AF_INET or AF_INET6. */
void ranges_print(FILE *out, const struct address_ranges *r, int family);

/*
 * The addresses of one family that a zone's `networks` give it (all if it has none): those networks that are special-purpose
 * themselves, and of the others what is not special-purpose. As zones_find() says, but for Teredo addresses: which of them are
 * special-purpose no range can say, so networks that are not part of 2001::/32 hold none of them.
 */
void ranges_of_zone(const struct conf *conf, size_t zone, int family, struct address_ranges *out);

struct zone_name {
    const char *name;
    size_t zone;
};

struct ruleset {
    FILE *out;
    const struct ruleset_input *in;
    const struct conf *conf;
    struct zone_name *names; /* of zones and self, sorted */
    bool *has[2];            /* by zone: has it addresses of IPv4, of IPv6? */
    size_t *group;           /* by zone: the first one with the same policies for its servers */
    unsigned *protocols;     /* by policy: of the kernel's protocols those about whose packets it can decide */
    uint64_t *about;         /* by zone of servers, self too: which policies can decide, a bit each in `words` words */
    size_t words;
    bool twins;  /* is there a transparent listener? */
    bool failed; /* no memory: the text is not complete */
};

/* Conditions on connection marks, beside those of policy/packet.h: the number of the client's zone plus one stands in the lower
 * bits while the kind is still 0. */
#define RULESET_MARK_KIND "ct mark & 0xff000000"
#define RULESET_MARK_OURS "ct mark & 0xff00ffff"
#define RULESET_MARK_UNDECIDED "ct mark & 0xff000000 == 0x00000000 ct mark & 0x0000ffff != 0x00000000"
#define RULESET_MARK_SET "ct mark set ct mark & 0x00ff0000 | "
#define RULESET_SYN "tcp flags & (fin | syn | rst | ack) == syn"
#define RULESET_SYN_NOT "tcp flags & (fin | syn | rst | ack) != syn"

/* Fills `names`. */
void ruleset_zones_init(struct ruleset *r);
/* The index of the zone that a policy names; zone_count for self. */
size_t ruleset_zone_named(const struct ruleset *r, const char *name);
/* A condition on the client's zone, by the number in the connection mark; self is left out. false, and nothing is printed, if no
 * zone is left. */
MUST_CHECK bool ruleset_print_zones(struct ruleset *r, const struct conf_strings *names);
/* "{ 80, 443-450 } " */
void ruleset_print_ports(struct ruleset *r, const struct conf_ports *ports);
/* "[iifname { ... }] ip saddr @zone-inside-4", for AF_INET or AF_INET6; false, and nothing printed, if the zone has no such
 * addresses. `in`: of the client; else of the server. */
MUST_CHECK bool ruleset_print_zone(struct ruleset *r, size_t zone, int family, bool in);

/* The sets of zones, and `has`; the chain that gives new flows the number of their client's zone. */
void ruleset_zone_sets(struct ruleset *r);
void ruleset_zone_marks(struct ruleset *r);
/* A chain that goes through the zones of servers in order; `act` prints what is done in a zone ("goto to-outside"), or returns
 * false if that is nothing. */
typedef bool ruleset_zone_act(struct ruleset *r, size_t zone);
void ruleset_zone_chain(struct ruleset *r, const char *name, ruleset_zone_act *act);

/* Fills `protocols` and `about`. */
void ruleset_policies_init(struct ruleset *r);
/* Policies: their sets; their chains, "to-ZONE" and "twin-ZONE" of each group of zones with the same policies, and the two chains
 * that lead there, "zones-out" and "twins-out". */
void ruleset_policy_sets(struct ruleset *r);
void ruleset_policy_chains(struct ruleset *r);

/* The chains at the hooks, and the helpers of connection tracking. */
void ruleset_helpers(struct ruleset *r);
void ruleset_prerouting(struct ruleset *r);
void ruleset_hooks(struct ruleset *r);

#endif
