/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_IDENTITY_H
#define POSTERN_APP_IDENTITY_H

#include "app/process.h"

/* How the users of the children differ. */
enum users {
    USERS_CALLER, /* nobody is root: all run as whoever started posternd */
    USERS_SHARED, /* at least two kinds of processes share a user */
    USERS_OWN,    /* each kind of process has its own */
};

/* Whom a child becomes. Without root: nobody else, and `change` is false. */
struct identity {
    bool change;
    uid_t uid;
    gid_t gid;
};

#define IDENTITY_TEXT 256

struct identities {
    struct identity of[PROCESS_KINDS];
    enum users users;
    char missing[IDENTITY_TEXT]; /* USERS_SHARED: the users that there are not, a list to read; else "" */
};

/*
 * Finds the users of the children. `name` is the user that they have in common; NULL: "postern", or else "nobody" with a warning in
 * the log. A kind of process whose own user there is ("postern-worker" beside "postern") becomes that one instead. Without root
 * nothing is looked up. false: there is no user `name`, or one of them is root; `error` of `size` bytes says so.
 */
MUST_CHECK bool identities_find(struct identities *out, const char *name, char *error, size_t size);

#endif
