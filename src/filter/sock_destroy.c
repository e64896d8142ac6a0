/* SPDX-License-Identifier: ISC */
/*
 * Ends a local socket, over NETLINK_SOCK_DIAG. Two steps: the kernel is asked which socket has this tuple, and the very socket that
 * it names is destroyed, by its cookie. One step would be dangerous: where there is no connection with the tuple the kernel finds
 * what listens there, and would destroy that.
 *
 * A look-up without an interface does not find a socket that is bound to one, as that of a link-local client is. So when there was
 * nothing it is asked again for each interface; not for UDP, where that is rare and flows may be many. The question of UDP names
 * the two ends the other way round: a mistake of the kernel's that became its interface. The order to destroy does not.
 *
 * The kernel answers inside sendto(2); the socket does not block, and an answer that is missing is an error.
 */
#include "filter/sock_destroy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

struct asking {
    struct mnl_socket *socket;
    const struct conntrack_entry *entry;
    uint32_t sequence;
};

static void put_end(const struct addr *a, __be32 ip[4], __be16 *port)
{
    memcpy(ip, a->ip, sizeof(a->ip));
    *port = htons(a->port);
}

/* An IPv4 client's address in a socket of IPv6 is mapped. */
static bool is_end(const struct addr *a, int family, const __be32 ip[4], __be16 port)
{
    static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
    const unsigned char *bytes = (const void *)ip;

    if (ntohs(port) != a->port)
        return false;
    if (a->family == AF_INET6 || family == AF_INET)
        return a->family == family && memcmp(a->ip, bytes, a->family == AF_INET ? 4 : 16) == 0;
    return memcmp(bytes, mapped, sizeof(mapped)) == 0 && memcmp(a->ip, bytes + sizeof(mapped), 4) == 0;
}

static int take_socket(const struct nlmsghdr *message, void *data)
{
    if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY || mnl_nlmsg_get_payload_len(message) < sizeof(struct inet_diag_msg))
        return MNL_CB_OK;
    memcpy(data, mnl_nlmsg_get_payload(message), sizeof(struct inet_diag_msg));
    return MNL_CB_STOP;
}

/* Sends one message and reads its answer: one message, a socket into `found` or an acknowledgement. false with errno. */
static bool ask(struct asking *a, uint16_t type, const struct inet_diag_sockid *id, struct inet_diag_msg *found)
{
    _Alignas(struct nlmsghdr) char buffer[8192];
    struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
    struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(message, sizeof(*request));
    ssize_t len;

    message->nlmsg_type = type;
    message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (found == NULL ? NLM_F_ACK : 0));
    message->nlmsg_seq = ++a->sequence;
    request->sdiag_family = (uint8_t)a->entry->server.family;
    request->sdiag_protocol = a->entry->protocol;
    request->idiag_states = UINT32_MAX;
    request->id = *id;
    if (mnl_socket_sendto(a->socket, message, message->nlmsg_len) < 0)
        return false;
    len = mnl_socket_recvfrom(a->socket, buffer, sizeof(buffer));
    return len >= 0 && mnl_cb_run(buffer, (size_t)len, a->sequence, 0, found != NULL ? take_socket : NULL, found) != MNL_CB_ERROR;
}

static struct inet_diag_sockid tuple(const struct addr *local, const struct addr *peer, unsigned interface)
{
    struct inet_diag_sockid id = { .idiag_if = interface, .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } };

    put_end(local, id.idiag_src, &id.idiag_sport);
    put_end(peer, id.idiag_dst, &id.idiag_dport);
    return id;
}

/* false with errno; ENOENT: there is no socket that this client alone has. */
static bool destroy_by(struct asking *a, unsigned interface)
{
    const struct addr *local = &a->entry->server, *peer = &a->entry->upstream;
    bool udp = a->entry->protocol == IPPROTO_UDP;
    struct inet_diag_sockid id = udp ? tuple(peer, local, interface) : tuple(local, peer, interface), found_id;
    struct inet_diag_msg found = { 0 };

    if (!ask(a, SOCK_DIAG_BY_FAMILY, &id, &found))
        return false;
    if (found.idiag_state == TCP_LISTEN || !is_end(peer, found.idiag_family, found.id.idiag_dst, found.id.idiag_dport) ||
        !is_end(local, found.idiag_family, found.id.idiag_src, found.id.idiag_sport)) {
        errno = ENOENT;
        return false;
    }
    found_id = tuple(local, peer, found.id.idiag_if);
    memcpy(found_id.idiag_cookie, found.id.idiag_cookie, sizeof(found_id.idiag_cookie));
    return ask(a, SOCK_DESTROY, &found_id, NULL);
}

static bool destroy_by_any(struct asking *a)
{
    struct if_nameindex *all = if_nameindex();
    bool done = false;

    errno = ENOENT;
    for (const struct if_nameindex *i = all; i != NULL && i->if_index != 0 && !done && errno == ENOENT; i++)
        done = destroy_by(a, i->if_index);
    if (all != NULL) {
        int saved = errno;

        if_freenameindex(all);
        errno = saved;
    }
    return done;
}

bool sock_destroy(const struct conntrack_entry *entry)
{
    struct asking a = { .entry = entry };
    bool done;
    int saved;

    if (entry->protocol != IPPROTO_TCP && entry->protocol != IPPROTO_UDP)
        return true;
    a.socket = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (a.socket == NULL)
        return false;
    done = mnl_socket_bind(a.socket, 0, MNL_SOCKET_AUTOPID) == 0 && destroy_by(&a, 0);
    if (!done && errno == ENOENT && entry->protocol == IPPROTO_TCP)
        done = destroy_by_any(&a);
    saved = errno;
    mnl_socket_close(a.socket);
    errno = saved;
    return done || saved == ENOENT;
}
