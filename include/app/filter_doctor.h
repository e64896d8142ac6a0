/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_FILTER_DOCTOR_H
#define POSTERN_APP_FILTER_DOCTOR_H

#include "app/filter.h"
#include "session/judge.h"

/*
 * The doctor's files: filter_doctor.c (what is asked, rules, listeners, self), filter_doctor_ways.c (routing, with samples of
 * clients and servers) and filter_doctor_host.c (what the machine says of itself: sysctls, interfaces, zones). Checks enter what
 * they found; what is not ok says how it is mended. All but the canaries only read.
 */
#define DOCTOR_OWN 256

struct doctor {
    struct filter *filter;
    const struct generation *generation;
    const struct conf *conf;
    json_t *checks;
    struct doctor_own {
        struct addr address;
        unsigned bits; /* of its network */
        char interface[IF_NAMESIZE];
    } own[DOCTOR_OWN]; /* this machine's addresses */
    size_t own_count;
};

/* Reads the machine's addresses; `checks` is a new list that the caller takes. */
void doctor_init(struct doctor *d, struct filter *f, const struct generation *g);

/* Enters one check; texts are copied, `mend` and `canary` may be NULL. A mend is entered only with what is not ok. */
void doctor_check(struct doctor *d, const char *name, bool ok, const char *finding, const char *mend, const char *canary);
#define DOCTOR_TEXT 512

bool doctor_is_own(const struct doctor *d, const struct addr *a);
/* Does a policy's list of zones name this one, or none? */
bool doctor_names(const struct conf_strings *list, const char *zone);
/* Does the machine have an address of this family that others can reach? */
bool doctor_has_family(const struct doctor *d, int family);

/* Why the kernel would not route a packet, in words. */
const char *doctor_route_fault(int error);

/* filter_doctor_ways.c */
void doctor_forwarding(struct doctor *d);
void doctor_reverse_path(struct doctor *d);
void doctor_policy_routing(struct doctor *d);

/* filter_doctor_host.c */
/* The number in /proc/sys/PATH ("net/ipv4/ip_forward"), or -1. */
long doctor_sysctl(const char *path);
void doctor_interfaces(struct doctor *d);
void doctor_zones(struct doctor *d);
void doctor_other_tables(struct doctor *d);
void doctor_conntrack(struct doctor *d);

#endif
