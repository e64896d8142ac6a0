/* SPDX-License-Identifier: ISC */
/*
 * Route look-ups over netlink, one question and one answer at a time. The kernel answers inside sendto(2), so the answer is there
 * when that returns; the socket does not block all the same, and an answer that is missing is an error, not a wait.
 *
 * Two caches of fixed size, in which a newcomer takes the place of whoever had it: from an address to the index of an interface,
 * and from an index to a name. The first is hashed with a random key, since clients choose the addresses. A second socket hears of
 * every change of links, addresses, routes and rules, and then both are emptied as a whole: what a change means for which address
 * is the kernel's business. That each entry also ends after a minute is for changes of which there is no message, as of sysctls.
 */
#include "filter/route.h"

#include "base/clock.h"
#include "base/hash.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_MS 60000
#define ROUTES 1024
#define LINKS 64
#define READS_AT_ONCE 1024
#define ANSWER_BYTES 32768 /* links of some drivers take many attributes */

struct route_entry {
    struct addr to;
    unsigned index; /* of the interface; 0: no route */
    bool local;
    uint64_t until_ms;
};

struct link_entry {
    unsigned index;
    uint64_t until_ms;
    char name[IF_NAMESIZE]; /* "": there is none */
};

struct route {
    struct mnl_socket *socket, *changes;
    uint32_t sequence;
    struct hash_key key;
    struct route_entry routes[ROUTES];
    struct link_entry links[LINKS];
    _Alignas(struct nlmsghdr) char buffer[ANSWER_BYTES];
};

#define GROUP(number) (1u << ((number)-1))

static struct mnl_socket *open_socket(unsigned groups)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int saved;

    if (socket == NULL || mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) == 0)
        return socket;
    saved = errno;
    mnl_socket_close(socket);
    errno = saved;
    return NULL;
}

struct route *route_open(void)
{
    struct route *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    hash_key_random(&r->key);
    r->socket = open_socket(0);
    if (r->socket != NULL)
        r->changes =
            open_socket(GROUP(RTNLGRP_LINK) | GROUP(RTNLGRP_IPV4_IFADDR) | GROUP(RTNLGRP_IPV6_IFADDR) | GROUP(RTNLGRP_IPV4_ROUTE) |
                        GROUP(RTNLGRP_IPV6_ROUTE) | GROUP(RTNLGRP_IPV4_RULE) | GROUP(RTNLGRP_IPV6_RULE));
    if (r->changes != NULL)
        return r;
    route_close(r);
    return NULL;
}

void route_close(struct route *r)
{
    int saved = errno;

    if (r != NULL && r->socket != NULL)
        mnl_socket_close(r->socket);
    if (r != NULL && r->changes != NULL)
        mnl_socket_close(r->changes);
    free(r);
    errno = saved;
}

int route_watch_fd(const struct route *r)
{
    return mnl_socket_get_fd(r->changes);
}

/* What a message says does not matter, so only its first byte is taken. */
static bool take_changes(const struct route *r)
{
    bool changed = false;
    char byte;

    for (int i = 0; i < READS_AT_ONCE; i++) {
        if (recv(route_watch_fd(r), &byte, 1, MSG_DONTWAIT) >= 0)
            changed = true;
        else if (errno == EAGAIN)
            return changed;
        else if (errno != EINTR)
            changed = true; /* ENOBUFS: some were lost */
    }
    return changed;
}

bool route_watch_read(struct route *r)
{
    if (!take_changes(r))
        return false;
    memset(r->routes, 0, sizeof(r->routes));
    memset(r->links, 0, sizeof(r->links));
    return true;
}

static struct nlmsghdr *begin(struct route *r, uint16_t type)
{
    struct nlmsghdr *request = mnl_nlmsg_put_header(r->buffer);

    request->nlmsg_type = type;
    request->nlmsg_flags = NLM_F_REQUEST;
    request->nlmsg_seq = ++r->sequence;
    return request;
}

/*
 * Sends the request and returns its answer, which is of `type` or NLMSG_ERROR; it lies in the buffer. NULL: there is none. Answers
 * to earlier questions, whose wait was given up, are passed over.
 */
static const struct nlmsghdr *ask(struct route *r, const struct nlmsghdr *request, uint16_t type)
{
    const struct nlmsghdr *answer = (const void *)r->buffer;
    ssize_t len;

    if (mnl_socket_sendto(r->socket, request, request->nlmsg_len) < 0)
        return NULL;
    while ((len = mnl_socket_recvfrom(r->socket, r->buffer, sizeof(r->buffer))) >= 0 || errno == ENOSPC || errno == EINTR)
        if (len >= 0 && mnl_nlmsg_ok(answer, (int)len) && answer->nlmsg_seq == r->sequence)
            return answer->nlmsg_type == type || answer->nlmsg_type == NLMSG_ERROR ? answer : NULL;
    return NULL;
}

/* The error number of an answer of type NLMSG_ERROR; 0 for another. */
static int error_of(const struct nlmsghdr *answer)
{
    const struct nlmsgerr *error = mnl_nlmsg_get_payload(answer);

    if (answer->nlmsg_type != NLMSG_ERROR)
        return 0;
    return mnl_nlmsg_get_payload_len(answer) >= sizeof(*error) ? -error->error : EPROTO;
}

/* The payload of the attribute `type` behind a fixed part of `fixed` bytes; NULL if there is none of at least `size` bytes. */
static const struct nlattr *attribute(const struct nlmsghdr *answer, size_t fixed, uint16_t type, size_t size)
{
    const struct nlattr *attr;

    mnl_attr_for_each(attr, answer, fixed)
    {
        if (mnl_attr_get_type(attr) == type)
            return mnl_attr_get_payload_len(attr) >= size ? attr : NULL;
    }
    return NULL;
}

static bool can_be_sent(unsigned char route_type)
{
    return route_type == RTN_UNICAST || route_type == RTN_LOCAL || route_type == RTN_BROADCAST || route_type == RTN_ANYCAST ||
           route_type == RTN_MULTICAST;
}

static enum route_result read_route(const struct nlmsghdr *answer, struct route_entry *out)
{
    const struct rtmsg *message = mnl_nlmsg_get_payload(answer);
    const struct nlattr *interface;
    int error = error_of(answer);

    if (error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES || error == EINVAL)
        return ROUTE_NONE; /* the last two: a route of type prohibit or blackhole */
    if (error != 0 || mnl_nlmsg_get_payload_len(answer) < sizeof(*message))
        return ROUTE_ERROR;
    interface = attribute(answer, sizeof(*message), RTA_OIF, sizeof(uint32_t));
    if (interface == NULL || !can_be_sent(message->rtm_type))
        return ROUTE_NONE;
    out->index = mnl_attr_get_u32(interface);
    out->local = message->rtm_type == RTN_LOCAL;
    return ROUTE_FOUND;
}

static enum route_result ask_route(struct route *r, const struct addr *to, struct route_entry *out)
{
    struct nlmsghdr *request = begin(r, RTM_GETROUTE);
    struct rtmsg *message = mnl_nlmsg_put_extra_header(request, sizeof(*message));
    size_t len = to->family == AF_INET6 ? 16 : 4;
    const struct nlmsghdr *answer;

    message->rtm_family = (unsigned char)to->family;
    message->rtm_dst_len = (unsigned char)(8 * len);
    mnl_attr_put(request, RTA_DST, len, to->ip);
    answer = ask(r, request, RTM_NEWROUTE);
    return answer == NULL ? ROUTE_ERROR : read_route(answer, out);
}

static void ask_link(struct route *r, unsigned index, char name[IF_NAMESIZE])
{
    struct nlmsghdr *request = begin(r, RTM_GETLINK);
    struct ifinfomsg *message = mnl_nlmsg_put_extra_header(request, sizeof(*message));
    const struct nlmsghdr *answer;
    const struct nlattr *attr;

    name[0] = '\0';
    message->ifi_family = AF_UNSPEC;
    message->ifi_index = (int)index;
    mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    answer = ask(r, request, RTM_NEWLINK);
    if (answer == NULL || error_of(answer) != 0)
        return;
    attr = attribute(answer, sizeof(*message), IFLA_IFNAME, 1);
    if (attr != NULL && !span_cstr(span_of(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr) - 1), name, IF_NAMESIZE))
        name[0] = '\0';
}

bool route_has_interface(struct route *r, const char *name)
{
    struct nlmsghdr *request = begin(r, RTM_GETLINK);
    struct ifinfomsg *message = mnl_nlmsg_put_extra_header(request, sizeof(*message));
    const struct nlmsghdr *answer;

    if (strlen(name) >= IF_NAMESIZE)
        return false;
    message->ifi_family = AF_UNSPEC;
    mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    mnl_attr_put_strz(request, IFLA_IFNAME, name);
    answer = ask(r, request, RTM_NEWLINK);
    return answer != NULL && error_of(answer) == 0;
}

bool route_interface_name(struct route *r, unsigned index, char out[IF_NAMESIZE])
{
    struct link_entry *e = &r->links[index % LINKS];

    if (e->index != index || e->until_ms <= clock_ms()) {
        ask_link(r, index, e->name);
        e->index = index;
        e->until_ms = clock_ms() + KEEP_MS;
    }
    memcpy(out, e->name, IF_NAMESIZE);
    return out[0] != '\0';
}

/* What is known, or now asked about this address; NULL: it could not be asked. */
static const struct route_entry *entry_for(struct route *r, const struct addr *to)
{
    struct route_entry *e = &r->routes[hash_bytes(&r->key, to->ip, sizeof(to->ip)) % ROUTES];
    struct route_entry fresh = { .to = *to, .until_ms = clock_ms() + KEEP_MS };

    if (to->family == 0)
        return NULL;
    if (e->until_ms > clock_ms() && addr_same_ip(&e->to, to))
        return e;
    if (ask_route(r, to, &fresh) == ROUTE_ERROR)
        return NULL;
    *e = fresh;
    return e;
}

enum route_result route_find(struct route *r, const struct addr *to, char interface[IF_NAMESIZE])
{
    const struct route_entry *e = entry_for(r, to);

    interface[0] = '\0';
    if (e == NULL)
        return ROUTE_ERROR;
    if (e->index == 0)
        return ROUTE_NONE;
    return route_interface_name(r, e->index, interface) ? ROUTE_FOUND : ROUTE_ERROR;
}

bool route_is_local(struct route *r, const struct addr *to)
{
    const struct route_entry *e = entry_for(r, to);

    return e != NULL && e->local;
}

/* One message of the list: an address of ours, behind which its interface may say more about the other end. */
static bool read_own(const struct nlmsghdr *m, struct addr *out)
{
    const struct ifaddrmsg *message = mnl_nlmsg_get_payload(m);
    const struct nlattr *attr;
    size_t len;

    if (m->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(m) < sizeof(*message))
        return false;
    len = message->ifa_family == AF_INET ? 4 : message->ifa_family == AF_INET6 ? 16 : 0;
    attr = attribute(m, sizeof(*message), IFA_LOCAL, len);
    if (attr == NULL)
        attr = attribute(m, sizeof(*message), IFA_ADDRESS, len);
    if (len == 0 || attr == NULL)
        return false;
    *out = (struct addr){ .family = message->ifa_family };
    memcpy(out->ip, mnl_attr_get_payload(attr), len);
    return true;
}

bool route_each_own(struct route *r, void (*fn)(void *arg, const struct addr *own), void *arg)
{
    struct nlmsghdr *request = begin(r, RTM_GETADDR);
    struct ifaddrmsg *message = mnl_nlmsg_put_extra_header(request, sizeof(*message));
    struct addr own;
    ssize_t len;

    request->nlmsg_flags |= NLM_F_DUMP;
    message->ifa_family = AF_UNSPEC;
    if (mnl_socket_sendto(r->socket, request, request->nlmsg_len) < 0)
        return false;
    while ((len = mnl_socket_recvfrom(r->socket, r->buffer, sizeof(r->buffer))) > 0 || (len < 0 && errno == EINTR)) {
        const struct nlmsghdr *m = (const void *)r->buffer;

        for (int left = (int)len; left > 0 && mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
            if (m->nlmsg_seq != r->sequence)
                continue; /* the answer to an earlier question */
            if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR)
                return m->nlmsg_type == NLMSG_DONE;
            if (read_own(m, &own))
                fn(arg, &own);
        }
    }
    return false;
}
