/* SPDX-License-Identifier: ISC */
/*
 * One posternd a table. The lock is an abstract socket that listens: there is one of a name in a network namespace, as there is one
 * table of a name, and it goes with its process, however that ends. The monitor alone holds it.
 *
 * Any user can bind such a name. So who finds it taken connects, and asks the kernel who listens there. Only root programs the
 * packet filter: another user's socket, or one that tells nothing, must not keep posternd from starting. It then goes on without.
 */
#include "app/table_lock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QUEUE 16

static socklen_t name_of(const char *table, struct sockaddr_un *out)
{
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                       (size_t)snprintf(out->sun_path + 1, sizeof(out->sun_path) - 1, "postern-table/%s", table));
}

/* Who listens there; false: nobody can be asked. */
static bool find_holder(const struct sockaddr_un *name, socklen_t len, struct ucred *holder)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = sizeof(*holder);
    bool found = fd >= 0 && connect(fd, (const struct sockaddr *)name, len) == 0 &&
                 getsockopt(fd, SOL_SOCKET, SO_PEERCRED, holder, &size) == 0;

    if (fd >= 0)
        close(fd);
    return found;
}

/* The name is taken. */
static bool judge_holder(const char *table, const struct sockaddr_un *name, socklen_t len, char *error)
{
    struct ucred holder;

    if (find_holder(name, len, &holder) && holder.uid == 0) {
        snprintf(error, TABLE_LOCK_ERROR, "table inet %s is another posternd's (process %d)", table, (int)holder.pid);
        return false;
    }
    snprintf(error, TABLE_LOCK_ERROR, "table inet %s is not locked: somebody who is not root has taken the name of the lock",
             table);
    return true;
}

bool table_lock_take(struct table_lock *lock, const char *table, char *error)
{
    struct sockaddr_un name;
    socklen_t len = name_of(table, &name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *lock = (struct table_lock){ .fd = -1 };
    error[0] = '\0';
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&name, len) == 0 && listen(fd, QUEUE) == 0) {
        lock->fd = fd;
        snprintf(lock->table, sizeof(lock->table), "%s", table);
        return true;
    }
    if (fd >= 0 && errno == EADDRINUSE) {
        close(fd);
        return judge_holder(table, &name, len, error);
    }
    snprintf(error, TABLE_LOCK_ERROR, "table inet %s cannot be locked: %s", table, strerror(errno));
    if (fd >= 0)
        close(fd);
    return false;
}

void table_lock_inherit(struct table_lock *lock, const char *table, int fd)
{
    *lock = (struct table_lock){ .fd = fd };
    snprintf(lock->table, sizeof(lock->table), "%s", table);
    (void)listen(fd, QUEUE); /* who asks is told of us from now on */
}

void table_lock_drop(struct table_lock *lock)
{
    if (lock->fd >= 0)
        close(lock->fd);
    lock->fd = -1;
}

void table_lock_move(struct table_lock *lock, struct table_lock *from)
{
    table_lock_drop(lock);
    *lock = *from;
    from->fd = -1;
}

bool table_lock_holds(const struct table_lock *lock, const char *table)
{
    return lock->fd >= 0 && strcmp(lock->table, table) == 0;
}
