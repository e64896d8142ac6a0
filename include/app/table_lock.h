/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_TABLE_LOCK_H
#define POSTERN_APP_TABLE_LOCK_H

#include "conf/conf.h"

/* Who owns a table of the packet filter, in this network namespace. Not held: `fd` is -1. */
struct table_lock {
    int fd;
    char table[CONF_NAME];
};

#define TABLE_LOCK_ERROR 160

/*
 * Takes the lock of this table, and holds it until table_lock_drop() or the end of the process. false: another posternd holds it,
 * or there are no sockets; `error` (TABLE_LOCK_ERROR bytes) says so. true with a text in `error`: somebody who is not root sits on
 * the name. That is a warning, and the lock is not held.
 */
MUST_CHECK bool table_lock_take(struct table_lock *lock, const char *table, char *error);
/* The lock that another posternd held, as its descriptor. */
void table_lock_inherit(struct table_lock *lock, const char *table, int fd);
void table_lock_drop(struct table_lock *lock);
/* Drops `lock`; what `from` held is its own now. */
void table_lock_move(struct table_lock *lock, struct table_lock *from);
/* Is it this table's? */
bool table_lock_holds(const struct table_lock *lock, const char *table);

#endif
