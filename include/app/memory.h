/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_MEMORY_H
#define POSTERN_APP_MEMORY_H

#include "base/span.h"

#include <sys/types.h>

/*
 * How much memory there is and how much is taken, as the kernel says it, cheaply enough to be asked several times a second.
 */

/* The control group whose limit of memory is the lowest of those that this process is in; folder "": none has one. */
struct memory_group {
    char folder[512];
    bool unified; /* version 2 of control groups */
};

/* `self`: /proc/self/cgroup; `root`: where control groups are mounted. */
void memory_group_find(struct memory_group *out, const char *self, const char *root);
/* What all that is in the group takes, with the kernel's part and without what it could drop at once; and its limit. false: none.
 */
MUST_CHECK bool memory_group_read(const struct memory_group *g, uint64_t *used, uint64_t *limit);

/* The memory that a process has of its own (anonymous), in bytes; 0 if it is gone or may not be seen. Pages that it shares with its
 * parent since its birth count for both. */
uint64_t memory_of_process(pid_t pid);
/* Would it be told? */
bool memory_is_seen(pid_t pid);
/* What the file of a descriptor really takes of memory; 0 for -1. */
uint64_t memory_of_file(int fd);
/* Of the machine. */
uint64_t memory_of_machine(void);

#endif
