/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_DIAL_H
#define POSTERN_NET_DIAL_H

#include "base/addr.h"
#include "net/loop.h"

#define DIAL_ADDRESSES 16 /* of one name that are tried at most */

/* Opens a connection to the first of several addresses that answers (Happy Eyeballs, RFC 8305). */
struct dial;

/* Where to. `sockets`: NULL, or one for each address that somebody else made (it may be bound), -1 to leave that address out. */
struct dial_to {
    const struct addr *addresses;
    size_t count;
    const int *sockets;
};

/*
 * `done` is called once, later: `fd` is connected and non-blocking and belongs to the callee, `index` says which address it was; or
 * fd is -1 and `error` is the errno of the last failure. NULL: not even a socket could be made; `done` is not called. There is no
 * timeout here: the caller cancels. All of `sockets` are taken over, whatever becomes of them.
 */
MUST_CHECK struct dial *dial_start(struct loop *loop, const struct dial_to *to,
                                   void (*done)(void *arg, int fd, size_t index, int error), void *arg);
void dial_cancel(struct dial *dial);

#endif
