/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_PRIVILEGES_H
#define POSTERN_APP_PRIVILEGES_H

#include "base/span.h"

#include <sys/types.h>

/* Whom a child becomes. Without root: nobody else, and `change` is false. */
struct identity {
    bool change;
    uid_t uid;
    gid_t gid;
};

/*
 * Finds the user for the children: `name`, or (NULL) "postern", or else "nobody" with a warning in the log. Without root nothing is
 * looked up. false: there is no such user, or it is root; `error` of `size` bytes says so.
 */
MUST_CHECK bool identity_find(struct identity *out, const char *name, char *error, size_t size);

/*
 * Gives up, in a child and for good: every descriptor but 0, 1, 2 and `keep`; the user; every capability, in the bounding set too;
 * new privileges by exec; core dumps, being traced, and new processes. `title` becomes the name of the process. Ends the process if
 * anything fails, or if what was given up can be had again.
 */
void privileges_drop(const struct identity *who, const int *keep, size_t keep_count, const char *title);
/* The same, but CAP_NET_ADMIN stays: permitted and effective, and alone in the bounding set. Needs root. */
void privileges_drop_but_net_admin(const struct identity *who, const int *keep, size_t keep_count, const char *title);

/* Core dumps off, for the monitor itself, which holds the configuration. */
void privileges_no_core(void);

/* Raises the soft limit of descriptors to the hard one; returns what it is then. */
size_t privileges_raise_files(void);

#endif
