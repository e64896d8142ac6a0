/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_NOTIFY_H
#define POSTERN_APP_NOTIFY_H

#include "base/span.h"

#include <sys/socket.h>
#include <sys/un.h>

/* What a service manager wants to hear (sd_notify(3)). Without one all of this does nothing. */
struct notify {
    struct sockaddr_un to;
    socklen_t to_len;     /* 0: nobody wants to hear */
    uint64_t watchdog_ms; /* how often it wants a sign of life; 0: never */
    uint64_t next_ms;     /* when the next one is due */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. A watchdog that was meant for us is meant for the posternd that follows us,
 * too: WATCHDOG_PID is taken out of the environment. */
void notify_open(struct notify *n);
/* Lines NAME=VALUE. Never blocks; what cannot be sent is lost. */
void notify_send(const struct notify *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* READY=1, RELOADING=1 with the time that it needs, STOPPING=1 with the time that it may take. */
void notify_ready(const struct notify *n, const char *status);
void notify_reloading(const struct notify *n);
void notify_stopping(const struct notify *n, uint64_t may_take_ms);
/* The sign of life, if it is due. */
void notify_step(struct notify *n);

#endif
