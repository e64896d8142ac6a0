/* SPDX-License-Identifier: ISC */
/*
 * Opening and keeping the listening sockets. Addresses, not names, are what a socket belongs to: a listener that is renamed keeps
 * its queue. SO_REUSEPORT would let a second posternd of the same user share the port in silence, and take half of the connections;
 * so before a new address is opened it is tried without. What TPROXY intercepts comes to sockets with IP_TRANSPARENT alone; setting
 * it takes a privilege that only the monitor has.
 */
#include "app/listeners.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096

static bool set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

static bool set_transparent(int fd, uint16_t family, bool on)
{
    return family == AF_INET6 ? set_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, on) : set_option(fd, IPPROTO_IP, IP_TRANSPARENT, on);
}

static int socket_bound(const struct addr *address, bool reuseport, bool transparent)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(address, &sa);
    int fd = socket(address->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) && (!reuseport || set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
        (address->family != AF_INET6 || set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) &&
        (!transparent || set_transparent(fd, address->family, true)) && bind(fd, (struct sockaddr *)&sa, len) == 0)
        return fd;
    close(fd);
    return -1;
}

static int fail(const struct addr *address, char *error, size_t size)
{
    char text[ADDR_TEXT];

    snprintf(error, size, "cannot listen on %s: %s", addr_port_text(address, text), strerror(errno));
    return -1;
}

/* Takes over a bound socket, or -1. */
static int start_listening(int fd, const struct addr *address, char *error, size_t size)
{
    if (fd >= 0 && listen(fd, BACKLOG) == 0)
        return fd;
    fail(address, error, size);
    if (fd >= 0)
        close(fd);
    return -1;
}

int listener_open(const struct addr *address, bool reuseport, char *error, size_t size)
{
    return start_listening(socket_bound(address, reuseport, false), address, error, size);
}

static void close_sockets(const struct listening *l)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (l->fds[i] >= 0)
            close(l->fds[i]);
}

/* `l` says where, and whether transparent. */
static bool open_sockets(struct listening *l, unsigned workers, char *error, size_t size)
{
    int trial = socket_bound(&l->address, false, l->transparent);

    memset(l->fds, 0xff, sizeof(l->fds));
    if (trial < 0)
        return fail(&l->address, error, size) >= 0;
    close(trial);
    for (unsigned i = 0; i < workers; i++) {
        l->fds[i] = start_listening(socket_bound(&l->address, true, l->transparent), &l->address, error, size);
        if (l->fds[i] >= 0)
            continue;
        close_sockets(l);
        return false;
    }
    return true;
}

static const struct listening *find(const struct listeners *set, const struct addr *address)
{
    for (size_t i = 0; i < set->count; i++)
        if (addr_eq(&set->items[i].address, address))
            return &set->items[i];
    return NULL;
}

bool listeners_has(const struct listeners *set, const struct addr *address)
{
    return find(set, address) != NULL;
}

static bool set_transparent_all(const struct listening *l, bool on)
{
    bool good = true;

    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (l->fds[i] >= 0)
            good &= set_transparent(l->fds[i], l->address.family, on);
    return good;
}

/* Closes what `set` has and `other` has not; what was transparent for it alone is so no more. */
static void close_difference(struct listeners *set, const struct listeners *other)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct listening *kept = find(other, &set->items[i].address);

        if (kept == NULL)
            close_sockets(&set->items[i]);
        else if (set->items[i].transparent && !kept->transparent)
            (void)set_transparent_all(kept, false);
    }
    free(set->items);
    *set = (struct listeners){ 0, NULL };
}

void listeners_commit(struct listeners *old, const struct listeners *now)
{
    close_difference(old, now);
}

void listeners_cancel(struct listeners *out, const struct listeners *old)
{
    close_difference(out, old);
}

/* The sockets for `wanted`, which says where and how: those of `kept`, or new ones. */
static bool provide(struct listening *wanted, const struct listening *kept, unsigned workers, char *error, size_t size)
{
    if (kept == NULL)
        return open_sockets(wanted, workers, error, size);
    memcpy(wanted->fds, kept->fds, sizeof(wanted->fds));
    if (!wanted->transparent || kept->transparent || set_transparent_all(wanted, true))
        return true;
    (void)set_transparent_all(wanted, false);
    return fail(&wanted->address, error, size) >= 0;
}

bool listeners_prepare(struct listeners *out, const struct conf *conf, const struct listeners *old, unsigned workers, char *error,
                       size_t size)
{
    *out = (struct listeners){ 0, calloc(conf->listener_count > 0 ? conf->listener_count : 1, sizeof(*out->items)) };
    if (out->items == NULL) {
        snprintf(error, size, "no memory for the listeners");
        return false;
    }
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        struct listening *item = &out->items[out->count];

        if (find(out, &l->address) != NULL)
            continue;
        item->address = l->address;
        item->transparent = l->mode == MODE_TRANSPARENT && l->intercept == INTERCEPT_TPROXY;
        if (!provide(item, find(old, &l->address), workers, error, size)) {
            listeners_cancel(out, old);
            return false;
        }
        out->count++;
    }
    return true;
}

void listeners_want_interfaces(const struct listeners *set, unsigned workers, bool wanted)
{
    for (size_t i = 0; i < set->count; i++)
        for (unsigned w = 0; w < workers; w++) {
            if (set->items[i].address.family == AF_INET)
                (void)set_option(set->items[i].fds[w], IPPROTO_IP, IP_PKTINFO, wanted);
            else
                (void)set_option(set->items[i].fds[w], IPPROTO_IPV6, IPV6_RECVPKTINFO, wanted);
        }
}
