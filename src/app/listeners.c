/* SPDX-License-Identifier: ISC */
/*
 * Opening and keeping the listening sockets. Addresses, not names, are what a socket belongs to: a listener that is renamed keeps
 * its queue. SO_REUSEPORT would let a second posternd of the same user share the port in silence, and take half of the connections;
 * so before a new address is opened it is tried without. What TPROXY intercepts comes to sockets with IP_TRANSPARENT alone; setting
 * it takes a privilege that only the monitor has.
 *
 * A posternd that takes over from another gets that one's sockets. It may have fewer workers: then a worker serves more than one
 * socket of an address, and the kernel is told to give new connections only to as many sockets as there are workers. So no socket
 * with somebody in its queue, or on the way to it, is ever closed.
 */
#include "app/listeners.h"

#include "base/log.h"

#include <errno.h>
#include <linux/filter.h>
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

int listener_open(const struct addr *address, char *error, size_t size)
{
    int fd = socket_bound(address, false, false);

    if (fd >= 0 && listen(fd, BACKLOG) == 0)
        return fd;
    fail(address, error, size);
    if (fd >= 0)
        close(fd);
    return -1;
}

bool listener_find(int fd, struct addr *address)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa), word = sizeof(int);
    int listening = 0, type = 0;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &word) == 0 && listening &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &word) == 0 && type == SOCK_STREAM &&
           getsockname(fd, (struct sockaddr *)&sa, &len) == 0 && addr_from_sockaddr(address, (struct sockaddr *)&sa, len);
}

static void close_sockets(const struct listening *l)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (l->fds[i] >= 0)
            close(l->fds[i]);
}

static unsigned count_sockets(const struct listening *l)
{
    unsigned count = 0;

    while (count < WORKERS_MAX && l->fds[count] >= 0)
        count++;
    return count;
}

static bool is_free(const struct listening *l)
{
    int trial = socket_bound(&l->address, false, l->transparent);

    if (trial >= 0)
        close(trial);
    return trial >= 0;
}

/* As many as there are workers: bound, so that nobody else can be, and not listening yet. */
static bool add_sockets(struct listening *l, unsigned workers, char *error, size_t size)
{
    unsigned had = count_sockets(l), i = had;

    while (i < workers && (l->fds[i] = socket_bound(&l->address, true, l->transparent)) >= 0)
        i++;
    if (i >= workers)
        return true;
    fail(&l->address, error, size);
    while (i-- > had) {
        close(l->fds[i]);
        l->fds[i] = -1;
    }
    return false;
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

/* Those that only this one has. */
static void close_added(const struct listening *l, const struct listening *other)
{
    for (unsigned i = count_sockets(other); i < WORKERS_MAX; i++)
        if (l->fds[i] >= 0)
            close(l->fds[i]);
}

/* Closes what `set` has and `other` has not; what was transparent for it alone is so no more. */
static void close_difference(struct listeners *set, const struct listeners *other)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct listening *kept = find(other, &set->items[i].address);

        if (kept == NULL)
            close_sockets(&set->items[i]);
        else
            close_added(&set->items[i], kept);
        if (kept != NULL && set->items[i].transparent && !kept->transparent)
            (void)set_transparent_all(kept, false);
    }
    free(set->items);
    *set = (struct listeners){ 0, NULL };
}

void listeners_commit(struct listeners *old, const struct listeners *now)
{
    close_difference(old, now);
}

void listeners_forget(struct listeners *old, const struct listeners *now)
{
    for (size_t i = 0; i < old->count; i++)
        old->items[i].transparent = false; /* nothing is to be undone */
    close_difference(old, now);
}

void listeners_settle(const struct listeners *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (!set->items[i].transparent)
            (void)set_transparent_all(&set->items[i], false);
}

void listeners_cancel(struct listeners *out, const struct listeners *old)
{
    close_difference(out, old);
}

/* The sockets for `wanted`, which says where and how: those of `kept`, or new ones. */
static bool provide(struct listening *wanted, const struct listening *kept, unsigned workers, char *error, size_t size)
{
    memset(wanted->fds, 0xff, sizeof(wanted->fds));
    if (kept == NULL)
        return is_free(wanted) ? add_sockets(wanted, workers, error, size) : fail(&wanted->address, error, size) >= 0;
    memcpy(wanted->fds, kept->fds, sizeof(wanted->fds));
    if (wanted->transparent && !kept->transparent && !set_transparent_all(wanted, true)) {
        (void)set_transparent_all(wanted, false);
        return fail(&wanted->address, error, size) >= 0;
    }
    return add_sockets(wanted, workers, error, size);
}

/* Says which listener it is about. */
static void blame(const struct conf *conf, const struct conf_listener *l, char *error, size_t size)
{
    char key[64];

    snprintf(key, sizeof(key), "listeners.%s.address", l->name);
    (void)conf_blame(conf, l->line, key, error, size);
}

bool listeners_bind(struct listeners *out, const struct conf *conf, const struct listeners *old, unsigned workers, char *error,
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
            blame(conf, l, error, size);
            return false;
        }
        out->count++;
    }
    return true;
}

static bool listen_all(const struct listening *l, char *error, size_t size)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (l->fds[i] >= 0 && listen(l->fds[i], BACKLOG) < 0)
            return fail(&l->address, error, size) >= 0;
    return true;
}

bool listeners_listen(const struct listeners *set, char *error, size_t size)
{
    bool good = true;

    for (size_t i = 0; i < set->count; i++)
        good = listen_all(&set->items[i], error, size) && good;
    return good;
}

bool listeners_prepare(struct listeners *out, const struct conf *conf, const struct listeners *old, unsigned workers, char *error,
                       size_t size)
{
    if (!listeners_bind(out, conf, old, workers, error, size))
        return false;
    if (listeners_listen(out, error, size))
        return true;
    listeners_cancel(out, old);
    return false;
}

static bool adopt(struct listeners *set, size_t room, int fd)
{
    struct addr address;
    struct listening *l;
    socklen_t len = sizeof(int);
    int transparent = 0;

    if (!listener_find(fd, &address))
        return false;
    l = (struct listening *)find(set, &address);
    if (l == NULL) {
        if (set->count == room)
            return false;
        l = &set->items[set->count++];
        l->address = address;
        memset(l->fds, 0xff, sizeof(l->fds));
        if (address.family == AF_INET6)
            (void)getsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &transparent, &len);
        else
            (void)getsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &transparent, &len);
        l->transparent = transparent;
    }
    if (count_sockets(l) == WORKERS_MAX)
        return false;
    l->fds[count_sockets(l)] = fd;
    return true;
}

bool listeners_adopt(struct listeners *out, const int *fds, size_t count)
{
    *out = (struct listeners){ 0, calloc(count > 0 ? count : 1, sizeof(*out->items)) };
    for (size_t i = 0; i < count && out->items != NULL; i++)
        if (!adopt(out, count, fds[i]))
            return false;
    return out->items != NULL;
}

size_t listening_of(const struct listening *l, unsigned worker, unsigned workers, int fds[WORKERS_MAX])
{
    size_t count = 0;

    for (unsigned i = worker; i < WORKERS_MAX && l->fds[i] >= 0; i += workers)
        fds[count++] = l->fds[i];
    return count;
}

/* New connections to the first sockets of the group only, one a worker, by chance; the order of a group is that of its listen(2).
 */
static bool steer(int fd, unsigned workers)
{
    struct sock_filter code[] = { { BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM) },
                                  { BPF_ALU | BPF_MOD | BPF_K, 0, 0, workers },
                                  { BPF_RET | BPF_A, 0, 0, 0 } };
    struct sock_fprog program;

    memset(&program, 0, sizeof(program)); /* also between its members: the kernel is given all of it */
    program.len = sizeof(code) / sizeof(code[0]);
    program.filter = code;
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) == 0;
}

void listeners_steer(const struct listeners *set, unsigned workers)
{
    char text[ADDR_TEXT];

    for (size_t i = 0; i < set->count; i++) {
        const struct listening *l = &set->items[i];

        if (count_sockets(l) <= workers)
            (void)set_option(l->fds[0], SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0); /* if there is one */
        else if (!steer(l->fds[0], workers))
            log_warn("connections to %s spread unevenly over the workers: %s", addr_port_text(&l->address, text), strerror(errno));
    }
}

void listeners_want_interfaces(const struct listeners *set, bool wanted)
{
    for (size_t i = 0; i < set->count; i++)
        for (unsigned w = 0; w < count_sockets(&set->items[i]); w++) {
            if (set->items[i].address.family == AF_INET)
                (void)set_option(set->items[i].fds[w], IPPROTO_IP, IP_PKTINFO, wanted);
            else
                (void)set_option(set->items[i].fds[w], IPPROTO_IPV6, IPV6_RECVPKTINFO, wanted);
        }
}
