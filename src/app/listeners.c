/* SPDX-License-Identifier: ISC */
/*
 * Opening and keeping the listening sockets. Addresses, not names, are what a socket belongs to: a listener that is renamed keeps
 * its queue. SO_REUSEPORT would let a second posternd of the same user share the port in silence, and take half of the connections;
 * so before a new address is opened it is tried without.
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

static int socket_bound(const struct addr *address, bool reuseport)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(address, &sa);
    int fd = socket(address->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) && (!reuseport || set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
        (address->family != AF_INET6 || set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) && bind(fd, (struct sockaddr *)&sa, len) == 0)
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

int listener_open(const struct addr *address, bool reuseport, char *error, size_t size)
{
    int fd = socket_bound(address, reuseport);

    if (fd < 0)
        return fail(address, error, size);
    if (listen(fd, BACKLOG) == 0)
        return fd;
    fail(address, error, size);
    close(fd);
    return -1;
}

static void close_sockets(const struct listening *l)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (l->fds[i] >= 0)
            close(l->fds[i]);
}

static bool open_sockets(struct listening *l, const struct addr *address, unsigned workers, char *error, size_t size)
{
    int trial = socket_bound(address, false);

    memset(l, 0xff, sizeof(*l));
    l->address = *address;
    if (trial < 0)
        return fail(address, error, size) >= 0;
    close(trial);
    for (unsigned i = 0; i < workers; i++) {
        l->fds[i] = listener_open(address, true, error, size);
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

/* Closes what `set` has and `other` has not. */
static void close_difference(struct listeners *set, const struct listeners *other)
{
    for (size_t i = 0; i < set->count; i++)
        if (find(other, &set->items[i].address) == NULL)
            close_sockets(&set->items[i]);
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

bool listeners_prepare(struct listeners *out, const struct conf *conf, const struct listeners *old, unsigned workers, char *error,
                       size_t size)
{
    const struct listening *kept;

    *out = (struct listeners){ 0, calloc(conf->listener_count > 0 ? conf->listener_count : 1, sizeof(*out->items)) };
    if (out->items == NULL) {
        snprintf(error, size, "no memory for the listeners");
        return false;
    }
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct addr *address = &conf->listeners[i].address;

        if (find(out, address) != NULL)
            continue;
        kept = find(old, address);
        if (kept != NULL)
            out->items[out->count] = *kept;
        else if (!open_sockets(&out->items[out->count], address, workers, error, size)) {
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
