/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_HOSTSET_H
#define POSTERN_POLICY_HOSTSET_H

#include "conf/conf.h"
#include "proto/host.h"

/*
 * A set of host names in one flat, position-independent piece of memory: an open-addressed table of offsets behind a header, then the
 * names. A look-up hashes the name and each of its parents, so its cost grows with the labels of the name and not with the set. The
 * monitor compiles hosts files into a sealed memfd that workers map read-only; small sets from the configuration use the same form.
 */
struct hostset {
    const void *memory;
    size_t size;
};

/* Bytes that hostset_compile() needs for this hosts file text. 0: too large (over 4 GiB of names). */
size_t hostset_size(struct span text);
/*
 * Compiles a hosts file into zeroed `memory` of hostset_size() bytes: a name a line, '#' comments, surrounding white space ignored;
 * a line means the name and all names under it. Names are normalised (idna_to_ascii); lines that are no name are counted in
 * *bad_lines and *first_bad (line number, from 1) and left out. Returns how many names are in the set.
 */
size_t hostset_compile(struct span text, void *memory, size_t size, size_t *bad_lines, size_t *first_bad);
/* A set from `hosts` of a policy: "x" is that name, "*.x" any name under x and not x. Addresses among them are left out. malloc'd into
 * set->memory; false: no memory. */
MUST_CHECK bool hostset_from_hosts(struct hostset *set, const struct conf_strings *hosts);
/* Checks geometry of memory that came from elsewhere; false if it is not a compiled set. */
MUST_CHECK bool hostset_open(struct hostset *set, const void *memory, size_t size);
/* `name` is normalised. */
bool hostset_has(const struct hostset *set, struct span name);
size_t hostset_count(const struct hostset *set);

#endif
