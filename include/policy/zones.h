/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_ZONES_H
#define POSTERN_POLICY_ZONES_H

#include "conf/conf.h"

#define ZONE_NONE (-1)

/* The zones of a configuration, compiled: the cost of a look-up does not grow with the number of networks. */
struct zones;

/* `conf` must outlive it. NULL: no memory. */
MUST_CHECK struct zones *zones_new(const struct conf *conf);
void zones_free(struct zones *z);

/*
 * The first zone that an address fits (index in conf->zones), or ZONE_NONE (design.md, zones): its interface is in `interfaces`
 * where given, and it lies in `networks` where given. A special-purpose address fits only through a network that equals or lies
 * inside its special-purpose block. So a zone of interfaces alone holds no special-purpose address. `interface` is "" if it is not
 * known; then zones with interfaces do not fit.
 */
int zones_find(const struct zones *z, const struct addr *address, const char *interface);
/*
 * The reserved zone "self", this machine: numbered behind the configured ones. zones_find() never gives it; whoever knows the
 * machine's own addresses does (session/judge.c, filter/). Loopback addresses are not in it: zones name them as any other.
 */
int zones_self(const struct conf *conf);
/* The name of a zone, of self too; "" for ZONE_NONE. */
const char *zones_name(const struct conf *conf, int zone);
/* Does any zone name interfaces? If not, nobody has to ask the kernel for them. */
bool zones_need_interfaces(const struct conf *conf);

#endif
