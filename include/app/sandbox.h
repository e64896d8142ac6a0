/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_SANDBOX_H
#define POSTERN_APP_SANDBOX_H

#include "app/identity.h"

/*
 * What keeps a child in beyond its privileges: Landlock (files, TCP ports, signals) and a list of allowed system calls. What the
 * system has is tried once, by the monitor; the children then apply exactly that, and end if they cannot.
 */
struct sandbox {
    enum conf_sandbox wanted;
    enum users users;
    unsigned landlock; /* version of its interface; 0: there is none, or it is off */
    bool calls;        /* system calls are filtered */
};

#define SANDBOX_TEXT 1024

/*
 * Finds out what can be had here, by having a child of our own try it. What cannot be had is written to `missing`, a sentence for
 * the log, or "". false: `wanted` is SANDBOX_REQUIRED and something is missing, or there is no memory.
 */
MUST_CHECK bool sandbox_find(struct sandbox *out, enum conf_sandbox wanted, const struct identities *who,
                             char missing[SANDBOX_TEXT]);

/* One line about what holds: "users of their own, Landlock 7 (files, TCP, signals), system calls". */
const char *sandbox_text(const struct sandbox *s, char out[SANDBOX_TEXT]);
const char *sandbox_users_name(enum users users);
const char *sandbox_wanted_name(enum conf_sandbox wanted);

/*
 * In a child, behind privileges_drop() and when everything that is loaded late is loaded: shuts the door. Ends the process if what
 * was found cannot be applied. privileges_close_door() is the one that calls these, in their order.
 */
void sandbox_restrict_files(const struct sandbox *s, enum process_kind kind);
void sandbox_restrict_calls(const struct sandbox *s, enum process_kind kind);

/* sandbox_landlock.c: the version that the kernel has, 0: none; false with errno set. */
unsigned landlock_version(void);
MUST_CHECK bool landlock_apply(unsigned version, enum process_kind kind);

/* sandbox_calls.c: the programs for all kinds, once, in the monitor; then each child applies its own. false: no memory; with errno
 * set. */
MUST_CHECK bool calls_compile(void);
MUST_CHECK bool calls_apply(enum process_kind kind);

#endif
