/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_RULES_INDEX_H
#define POSTERN_POLICY_RULES_INDEX_H

#include "policy/netmap.h"
#include "policy/prefixmap.h"
#include "policy/rules.h"

/*
 * What policies are compiled to; private to rules.c, rules_compile.c, conditions.c and near.c. For each indexed condition there is
 * a map from the fact that it asks about to the set of policies for which it is true; policies without the condition are in every
 * set of it. The other conditions (SLOW) are evaluated a policy at a time, and only for policies that all sets left standing. Paths
 * are both: the map says which policies may fit.
 */
#define COND_BIT(c) (1u << (c))
#define CONDITIONS_SLOW                                                                                                            \
    (COND_BIT(COND_HOSTS_FILE) | COND_BIT(COND_PATHS) | COND_BIT(COND_HEADERS) | COND_BIT(COND_TLS_FINGERPRINTS) |                 \
     COND_BIT(COND_CLIENT_CERTIFICATES))
#define CONDITIONS_MAPPED ((COND_BIT(COND_COUNT) - 1) & (~CONDITIONS_SLOW | COND_BIT(COND_PATHS)))
/* What is asked of requests: inside TLS it is not known before the policy inspects. */
#define CONDITIONS_REQUEST (COND_BIT(COND_METHODS) | COND_BIT(COND_PATHS) | COND_BIT(COND_HEADERS))
#define PROTOCOLS 7 /* bits of enum conf_protocol */
#define PROTOCOLS_PROXIED (CONF_HTTP | CONF_WEBSOCKET | CONF_TLS | CONF_TUNNEL)
#define PROTOCOLS_KERNEL (CONF_TCP | CONF_UDP | CONF_ICMP)
#define PORT_SPANS_MAX 65536

/* From a name to two sets: of the policies that mean the name itself, and of those that mean what lies under it. */
struct name_map {
    void *memory; /* policy/names.h; NULL: no policy names any */
    size_t size;
    uint32_t *self, *under; /* by number of the name */
};

/* From `first` to the port before the next span. */
struct port_span {
    uint16_t first;
    uint32_t set;
};

/* From a port to a set. The first span begins at port 0. */
struct port_map {
    struct port_span *spans;
    size_t count;
};

/* [I] all of it. Numbers of sets throughout. */
struct rules {
    const struct conf *conf;
    const struct hostset *files;
    struct sets *sets;
    uint16_t *present;                       /* by policy: which conditions it has, a bit each */
    unsigned used;                           /* those that any policy has */
    uint32_t all;                            /* every policy */
    uint32_t absent[COND_COUNT];             /* policies without this condition */
    uint32_t absent_or_inspects[COND_COUNT]; /* and those that look into TLS before they ask it; of CONDITIONS_REQUEST alone */
    uint32_t *listeners;                     /* by listener */
    size_t zone_count;                       /* those of the configuration and self */
    uint32_t *from, *to;                     /* by zone */
    struct zones *zones;
    bool *admits; /* by listener and zone: may clients of this zone come in here? */
    uint32_t protocols[PROTOCOLS];
    struct port_map ports, twin_ports; /* the latter without policies that allow every port; none without transparent listeners */
    struct name_map hosts, methods;
    struct netmap literals, clients, networks;
    struct prefixmap paths; /* of what stands before the first '*': who is in the set may fit */
};

/*
 * The conditions of all policies over these facts. A condition is in one of three ways known: by its mask; as slow, to be
 * evaluated for the policies that its mask leaves; or it is unknown. Only the masks in `narrows` are set: those of conditions that
 * nobody has, that are exempt or unknown would hold every policy.
 */
struct view {
    const struct rules *rules;
    const struct facts *facts;
    unsigned slow, unknown, narrows;
    bool tls; /* it is TLS: policies that inspect only remember it */
    const uint64_t *all;
    const uint64_t *mask[COND_COUNT];
};

/* Does the policy look into TLS that it fits? */
bool rules_inspects(const struct conf_policy *policy);

void view_init(struct view *v, const struct rules *rules, const struct facts *facts, bool last);
/* Is condition `c` of policy `index`, one of CONDITIONS_SLOW that it has, true? */
bool condition_fits(const struct rules *rules, size_t index, enum condition c, const struct facts *facts);

#endif
