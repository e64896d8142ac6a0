/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_LISTENERS_H
#define POSTERN_APP_LISTENERS_H

#include "app/shared.h"
#include "conf/conf.h"

/*
 * The listening sockets, in the monitor: one SO_REUSEPORT socket a worker for each address, kept open as long as the address is
 * configured, so that a restarted worker finds what is queued. The kernel resets what is queued on a socket that is closed, so a
 * socket is only closed when nobody serves the address any more. After an upgrade there may be more sockets than workers.
 */
struct listening {
    struct addr address;
    bool transparent;     /* IP_TRANSPARENT: it takes what the kernel intercepts by TPROXY */
    int fds[WORKERS_MAX]; /* -1 behind the last */
};

struct listeners {
    size_t count;
    struct listening *items;
};

/*
 * All sockets that `conf` asks for: those of `old` at the same addresses (they are shared, not moved), and new ones. A kept one
 * that is to become transparent is so at once: that changes nothing until the kernel is told to intercept; one that is to be
 * transparent no more is so until the commit. false: one could not be opened, nothing has changed, `error` of `size` bytes says
 * which. `old` stays as it is; then either listeners_commit(old, new) or listeners_cancel(new, old).
 */
MUST_CHECK bool listeners_prepare(struct listeners *out, const struct conf *conf, const struct listeners *old, unsigned workers,
                                  char *error, size_t size);
/* The same without listen(2): the new sockets are bound, and the kernel gives them nothing until listeners_listen(). */
MUST_CHECK bool listeners_bind(struct listeners *out, const struct conf *conf, const struct listeners *old, unsigned workers,
                               char *error, size_t size);
/* false: at least one could not; `error` says which. */
MUST_CHECK bool listeners_listen(const struct listeners *set, char *error, size_t size);
/* The sockets that another posternd passed on, as a set. false: one of them is no listening socket. */
MUST_CHECK bool listeners_adopt(struct listeners *out, const int *fds, size_t count);
/* Those that this worker serves; returns how many. */
size_t listening_of(const struct listening *l, unsigned worker, unsigned workers, int fds[WORKERS_MAX]);
/* Where there are more sockets than workers: new connections go to as many as there are workers, so that each gets its share. */
void listeners_steer(const struct listeners *set, unsigned workers);
/* Closes what only `old` has and forgets it. */
void listeners_commit(struct listeners *old, const struct listeners *now);
/* The same with sockets that another posternd serves until it is our turn: their options stay as they are, but for what they got
 * by listeners_bind(); then listeners_settle(): who need not be transparent is so no more. */
void listeners_forget(struct listeners *old, const struct listeners *now);
void listeners_settle(const struct listeners *set);
/* Closes what only `out` has and forgets it. */
void listeners_cancel(struct listeners *out, const struct listeners *old);

bool listeners_has(const struct listeners *set, const struct addr *address);
/* IP_PKTINFO and its IPv6 sibling, for zones that name interfaces. */
void listeners_want_interfaces(const struct listeners *set, bool wanted);

/* One listening socket, close-on-exec and non-blocking: for the admin listener. -1: see `error`. */
MUST_CHECK int listener_open(const struct addr *address, char *error, size_t size);
/* Is this a TCP socket that listens? Then where. */
MUST_CHECK bool listener_find(int fd, struct addr *address);

#endif
