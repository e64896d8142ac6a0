/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_CONF_CONF_HOSTS_H
#define POSTERN_CONF_CONF_HOSTS_H

#include "base/addr.h"

/*
 * The hosts file (hosts(5)) and resolv.conf(5), parsed from text that the monitor read. Lines that are not understood are passed
 * over, as the system's own resolver does.
 */
struct conf_hosts;

/* In one piece of memory, which may be copied to where other processes can map it. NULL: no memory. */
MUST_CHECK struct conf_hosts *conf_hosts_parse(struct span text);
void conf_hosts_free(struct conf_hosts *hosts);
struct span conf_hosts_memory(const struct conf_hosts *hosts);
/* What lies in memory that came from elsewhere, aligned to 8 bytes; NULL: nothing like it. Look-ups never leave the memory. */
MUST_CHECK const struct conf_hosts *conf_hosts_open(struct span memory);
/* All addresses of a name (lower case, no trailing dot), in the file's order; returns how many were written, at most `max`. */
size_t conf_hosts_find(const struct conf_hosts *hosts, struct span name, struct addr *out, size_t max);

/* "nameserver" lines of resolv.conf, port 53; returns how many were written, at most `max`. */
size_t conf_resolv_servers(struct span text, struct addr *out, size_t max);

#endif
