/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_HOSTSET_H
#define POSTERN_POLICY_HOSTSET_H

#include "proto/host.h"

/*
 * A compiled hosts file: a flat table of names (policy/names.h), each meaning itself and all names under it. A look-up hashes the
 * name and each of its parents, so its cost grows with the labels of the name and not with the set. The monitor compiles hosts
 * files into sealed memfds that workers map read-only.
 */
struct hostset {
    const void *memory;
    size_t size;
};

/* Bytes that hostset_compile() needs for this hosts file text. 0: too large (over 4 GiB of names). */
size_t hostset_size(struct span text);
/*
 * Compiles a hosts file into zeroed `memory` of hostset_size() bytes: a name a line, '#' comments, surrounding white space ignored;
 * a line means the name and all names under it. Names are normalised (idna_to_ascii); lines that are no name (also addresses, in
 * whatever spelling) are counted in *bad_lines and *first_bad (line number, from 1; untouched if there is none) and left out.
 * Returns how many different names are in the set.
 */
size_t hostset_compile(struct span text, void *memory, size_t size, size_t *bad_lines, size_t *first_bad);
/* Checks geometry of memory that came from elsewhere; false if it is not a compiled set. Look-ups never leave the memory. */
MUST_CHECK bool hostset_open(struct hostset *set, const void *memory, size_t size);
/* Is `name`, or a name that it is under, in the set? `name` is normalised. */
bool hostset_has(const struct hostset *set, struct span name);
size_t hostset_count(const struct hostset *set);

/* Moves `name` to the name that it is under ("a.b" to "b"); false if there is none. */
bool hostset_parent(struct span *name);

#endif
