/* SPDX-License-Identifier: ISC */
/*
 * The notification protocol of systemd, as sd_notify(3) describes it: one datagram of lines to the socket that NOTIFY_SOCKET names,
 * a path or, with '@' for the first byte, an abstract name. Signs of life come from the monitor's loop, at twice the rate that the
 * watchdog asks for: if that loop hangs, nothing would be started again, and the service manager has to know.
 */
#include "app/notify.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT 1024

static bool is_for_us(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    uint64_t number;

    return pid == NULL || (span_u64(span_str(pid), INT32_MAX, &number) && number == (uint64_t)getpid());
}

void notify_open(struct notify *n)
{
    const char *path = getenv("NOTIFY_SOCKET"), *watchdog = getenv("WATCHDOG_USEC");
    uint64_t us = 0;

    memset(n, 0, sizeof(*n));
    n->to.sun_family = AF_UNIX;
    if (path == NULL || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(n->to.sun_path))
        return;
    memcpy(n->to.sun_path, path, strlen(path));
    n->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@')
        n->to.sun_path[0] = '\0';
    if (watchdog != NULL && is_for_us() && span_u64(span_str(watchdog), UINT64_MAX / 2, &us))
        n->watchdog_ms = us >= 2000 ? us / 2000 : 0;
    (void)unsetenv("WATCHDOG_PID");
}

void notify_send(const struct notify *n, const char *format, ...)
{
    char text[TEXT];
    va_list args;
    int fd, len;

    if (n->to_len == 0)
        return;
    va_start(args, format);
    len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (len > 0 && len < TEXT)
        (void)sendto(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&n->to, n->to_len);
    close(fd);
}

void notify_ready(const struct notify *n, const char *status)
{
    notify_send(n, "READY=1\nMAINPID=%d\nSTATUS=%s\n", (int)getpid(), status);
}

void notify_reloading(const struct notify *n)
{
    notify_send(n, "RELOADING=1\nMONOTONIC_USEC=%llu\n", (unsigned long long)clock_ms() * 1000);
}

void notify_stopping(const struct notify *n, uint64_t may_take_ms)
{
    notify_send(n, "STOPPING=1\nSTATUS=Draining\nEXTEND_TIMEOUT_USEC=%llu\n", (unsigned long long)may_take_ms * 1000);
}

void notify_step(struct notify *n)
{
    if (n->watchdog_ms == 0 || clock_ms() < n->next_ms)
        return;
    n->next_ms = clock_ms() + n->watchdog_ms;
    notify_send(n, "WATCHDOG=1\n");
}
