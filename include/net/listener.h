/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_LISTENER_H
#define POSTERN_NET_LISTENER_H

#include "base/addr.h"
#include "net/loop.h"

/* A listening socket. It accepts in bounded batches, and pauses when descriptors run out or the owner says so. */
struct listener;

/* `accepted` gets a non-blocking descriptor, which is its own, and the client's address. */
struct listener_calls {
    void (*accepted)(void *arg, int fd, const struct addr *client);
    void (*paused)(void *arg); /* descriptors ran out: tried again after a while */
};

/* Takes over `fd`. NULL: no memory (fd is closed). */
MUST_CHECK struct listener *listener_new(struct loop *loop, int fd, const struct listener_calls *calls, void *arg);
void listener_free(struct listener *l);
/* What it is bound to. */
const struct addr *listener_address(const struct listener *l);
/* Until listener_resume(), even if descriptors had run out before. */
void listener_pause(struct listener *l);
void listener_resume(struct listener *l);
/* Accepts all that is queued now: before it is closed. */
void listener_drain(struct listener *l);

/* The interface that an accepted connection came in by (IP_PKTINFO on the listener); 0 if the kernel does not say. */
unsigned listener_ingress(int accepted_fd);

#endif
