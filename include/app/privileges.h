/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_PRIVILEGES_H
#define POSTERN_APP_PRIVILEGES_H

#include "app/sandbox.h"

/*
 * Gives up, in a child and for good: every descriptor but 0, 1, 2 and `keep`; the user; every capability, in the bounding set too;
 * new privileges by exec; core dumps, being traced, new processes, and, where none is written, files. `title` becomes the name of
 * the process. Filter keeps CAP_NET_ADMIN, permitted and effective, and alone in the bounding set; that needs root. Ends the
 * process if anything fails, or if what was given up can be had again.
 */
void privileges_drop(const struct identity *who, enum process_kind kind, const int *keep, size_t keep_count, const char *title);

/*
 * The second half, when everything that a process of this kind needs from files is there: from now on no file is opened, and only
 * the system calls are made that this kind of process needs. Before its first byte from outside. Ends the process if it fails.
 */
void privileges_close_door(const struct sandbox *sandbox, enum process_kind kind);

/* Core dumps off, for the monitor itself, which holds the configuration. */
void privileges_no_core(void);

/* Raises the soft limit of descriptors to the hard one; returns what it is then. */
size_t privileges_raise_files(void);

#endif
