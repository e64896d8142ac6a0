/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_JUDGE_H
#define POSTERN_SESSION_JUDGE_H

#include "filter/route.h"
#include "net/dial.h"
#include "policy/generation.h"

/* One stage and its verdict. */
struct explain_step {
    enum stage stage;
    struct verdict verdict;
};

#define JUDGE_TRAIL 8

/*
 * Judging one exchange or tunnel, stage by stage: what live requests and the dry run of `explain` share to the last line.
 */
struct judgement {
    struct facts facts;              /* facts.host points to `host` below or is NULL */
    enum stage stage;                /* the last one that was judged */
    struct verdict verdict;          /* of that stage */
    bool last;                       /* nothing more would have become known after it */
    uint16_t port;                   /* that is dialled */
    struct addr original;            /* of an intercepted flow: what the client dialled; family 0: there is none */
    enum conf_host_check host_check; /* how host and original belong together */
    enum reason mismatch;            /* what it is called if they do not */
    size_t trail_count, address_count;
    /* What follows is a kilobyte and set only as far as the counts and lengths say. */
    struct host host;                       /* of the target; family and len 0: none */
    struct host dial;                       /* what is resolved: the target, or the upstream of a reverse listener */
    struct explain_step trail[JUDGE_TRAIL]; /* how it went, for `explain` */
    struct addr addresses[DIAL_ADDRESSES];
    int policies[DIAL_ADDRESSES]; /* that allow each of them */
    int zones[DIAL_ADDRESSES];    /* that each of them lies in */
    char interfaces[DIAL_ADDRESSES][16];
};

/* What judging needs besides: the machine's own addresses (zone self, loops), and the route look-up. */
struct judge_context {
    const struct generation *generation;
    struct route *route;    /* NULL: no zone names interfaces */
    const struct addr *own; /* the machine's addresses */
    size_t own_count;
};

/* Begins with the flow: listener, client, zone. `protocol` is one bit, or 0 if it is not known yet. */
void judge_init(struct judgement *j, int listener, const struct addr *client, int zone_in);
/*
 * The zone of an address that was met on this interface ("": not known): zones_self() if it is one of the machine's own, but a
 * loopback one.
 */
int judge_zone(const struct judge_context *c, const struct addr *a, const char *interface);
/* Is this one of our own listeners? Then the stream would come back. */
bool judge_is_listener(const struct judge_context *c, const struct addr *a);
/*
 * j->host is what an intercepted client says that it wants, `original` what it dialled: sets what is resolved (j->dial) and the
 * port. R_NONE, or `mismatch` if the two can already be seen not to belong together; where that takes a look-up,
 * judge_addresses() says so.
 */
MUST_CHECK enum reason judge_original(struct judgement *j, const struct addr *original, enum conf_host_check check,
                                      enum reason mismatch);
/*
 * The target and, for HTTP, the request are known: may it be resolved? R_NONE or why not. Where what is dialled is known already
 * (an intercepted flow) that address must pass, too.
 */
MUST_CHECK enum reason judge_target(const struct judge_context *c, struct judgement *j);
/*
 * All addresses are known: every one must pass. `last`: nothing more will be known. Fills policies, zones and interfaces, and sets
 * the facts to the first address. R_NONE, R_NO_ROUTE, R_LOOP, R_ADDRESS_PRIVATE, ... Of an intercepted flow whose name is checked
 * the addresses are first cut down to the one that the client dialled; j->mismatch if it is not among them.
 */
MUST_CHECK enum reason judge_addresses(const struct judge_context *c, struct judgement *j, bool last);
/* The same for judge_as(): with the protocol everything is known. */
MUST_CHECK enum reason judge_way(const struct judge_context *c, struct judgement *j);
/*
 * Judges a flow whose protocol is known before anything else (an intercepted one that is not HTTP): first without it, then with it,
 * where CONF_TLS needs "tls" or "tunnel" and CONF_TUNNEL "tunnel"; R_TUNNEL_PROTOCOL. 0: it is not known. `judge` is judge_target
 * or judge_way.
 */
MUST_CHECK enum reason judge_as(const struct judge_context *c, struct judgement *j, unsigned protocol,
                                enum reason (*judge)(const struct judge_context *c, struct judgement *j));
/* Sets the facts to address `index`, the one that was connected. */
void judge_choose(struct judgement *j, size_t index);
/* Judges with what the facts hold now. */
MUST_CHECK enum reason judge_stage(const struct judge_context *c, struct judgement *j, enum stage stage, bool last);

#endif
