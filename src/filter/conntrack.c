/* SPDX-License-Identifier: ISC */
/*
 * Connection tracking over netlink: libnetfilter_conntrack builds and reads the messages, libmnl carries them. Two sockets: one
 * that the kernel sends events to, and one for questions, so that an answer never waits behind events. Neither blocks: the kernel
 * answers inside sendto(2), and goes on with a dump inside recvfrom(2), so what is missing then is an error and not a wait.
 *
 * A question by tuple finds an entry by either of its tuples. Whoever asks for a flow means the original one, so the answer is
 * compared: without that, a flow of the other direction could be taken for the client's.
 *
 * An id is a hash that the kernel makes of an entry's tuple and of its place in memory; it stays the same as long as the entry
 * lives. Deletion names tuple and id. A change of the mark can name the tuple alone, so the id is compared just before it. What no
 * message can tell apart is a later entry with the same tuple at the same place.
 */
#include "filter/conntrack.h"

#include "policy/packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_BUFFER (8 << 20) /* bytes of events that the kernel keeps for us */
#define EVENTS_A_READ 8192
#define MESSAGE_BYTES 65536

struct conntrack {
    struct mnl_socket *events, *queries;
    uint32_t sequence;
    bool stale; /* the last question was given up: answers to it may still be there */
    _Alignas(struct nlmsghdr) char buffer[MESSAGE_BYTES];
};

static struct mnl_socket *open_socket(unsigned groups)
{
    struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (s != NULL && mnl_socket_bind(s, groups, MNL_SOCKET_AUTOPID) != 0) {
        int saved = errno;

        mnl_socket_close(s);
        errno = saved;
        return NULL;
    }
    return s;
}

/* With CAP_NET_ADMIN over all namespaces beyond the system's limit, else as far as that. */
static void enlarge(int fd)
{
    int bytes = EVENT_BUFFER;

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

struct conntrack *conntrack_open(void)
{
    struct conntrack *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->events = open_socket(NF_NETLINK_CONNTRACK_NEW | NF_NETLINK_CONNTRACK_UPDATE | NF_NETLINK_CONNTRACK_DESTROY);
    if (c->events != NULL)
        c->queries = open_socket(0);
    if (c->queries != NULL) {
        enlarge(mnl_socket_get_fd(c->events));
        return c;
    }
    conntrack_close(c);
    return NULL;
}

void conntrack_close(struct conntrack *c)
{
    int saved = errno;

    if (c == NULL)
        return;
    if (c->events != NULL)
        mnl_socket_close(c->events);
    if (c->queries != NULL)
        mnl_socket_close(c->queries);
    free(c);
    errno = saved;
}

int conntrack_fd(const struct conntrack *c)
{
    return mnl_socket_get_fd(c->events);
}

/* Attributes of one end of a tuple. */
struct end {
    enum nf_conntrack_attr ipv4, ipv6, port;
};

static const struct end client_end = { ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC, ATTR_ORIG_PORT_SRC };
static const struct end destination_end = { ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST, ATTR_ORIG_PORT_DST };
static const struct end server_end = { ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC, ATTR_REPL_PORT_SRC };
static const struct end upstream_end = { ATTR_REPL_IPV4_DST, ATTR_REPL_IPV6_DST, ATTR_REPL_PORT_DST };
static const struct end master_client_end = { ATTR_MASTER_IPV4_SRC, ATTR_MASTER_IPV6_SRC, ATTR_MASTER_PORT_SRC };
static const struct end master_destination_end = { ATTR_MASTER_IPV4_DST, ATTR_MASTER_IPV6_DST, ATTR_MASTER_PORT_DST };

/* Family 0 if the message does not say it. */
static struct addr read_end(const struct nf_conntrack *ct, const struct end *end)
{
    struct addr a = { .port = ntohs(nfct_get_attr_u16(ct, end->port)) };

    if (nfct_attr_is_set(ct, end->ipv4) > 0) {
        a.family = AF_INET;
        memcpy(a.ip, nfct_get_attr(ct, end->ipv4), 4);
    } else if (nfct_attr_is_set(ct, end->ipv6) > 0) {
        a.family = AF_INET6;
        memcpy(a.ip, nfct_get_attr(ct, end->ipv6), 16);
    }
    return a;
}

static bool is_icmp(uint8_t protocol)
{
    return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

static void read_tuples(const struct nf_conntrack *ct, struct conntrack_entry *out)
{
    out->protocol = nfct_get_attr_u8(ct, ATTR_ORIG_L4PROTO);
    out->zone = nfct_get_attr_u16(ct, ATTR_ZONE);
    out->client = read_end(ct, &client_end);
    out->destination = read_end(ct, &destination_end);
    out->server = read_end(ct, &server_end);
    out->upstream = read_end(ct, &upstream_end);
    out->master_client = read_end(ct, &master_client_end);
    out->master_destination = read_end(ct, &master_destination_end);
    out->master_protocol = nfct_get_attr_u8(ct, ATTR_MASTER_L4PROTO);
    if (!is_icmp(out->protocol))
        return;
    out->client.port = ntohs(nfct_get_attr_u16(ct, ATTR_ICMP_ID));
    out->icmp_type = nfct_get_attr_u8(ct, ATTR_ICMP_TYPE);
    out->destination.port = out->server.port = out->upstream.port = 0;
}

static enum conntrack_state state_of(const struct conntrack_entry *e, unsigned tcp)
{
    if (e->destroyed || tcp == TCP_CONNTRACK_TIME_WAIT || tcp == TCP_CONNTRACK_CLOSE)
        return CONNTRACK_CLOSED;
    if (e->related)
        return CONNTRACK_RELATED;
    if (tcp == TCP_CONNTRACK_SYN_SENT || tcp == TCP_CONNTRACK_SYN_RECV || tcp == TCP_CONNTRACK_SYN_SENT2)
        return CONNTRACK_NEW;
    return e->replied ? CONNTRACK_ESTABLISHED : CONNTRACK_NEW;
}

static void read_state(const struct nf_conntrack *ct, struct conntrack_entry *out)
{
    uint32_t status = nfct_get_attr_u32(ct, ATTR_STATUS);
    bool is_tcp = out->protocol == IPPROTO_TCP, said = !is_tcp || nfct_attr_is_set(ct, ATTR_TCP_STATE) > 0;
    unsigned tcp = is_tcp ? nfct_get_attr_u8(ct, ATTR_TCP_STATE) : (unsigned)TCP_CONNTRACK_NONE;

    out->related = (status & IPS_EXPECTED) != 0;
    out->replied = (status & IPS_SEEN_REPLY) != 0;
    out->closing = tcp >= TCP_CONNTRACK_FIN_WAIT && tcp <= TCP_CONNTRACK_CLOSE;
    out->state = said || out->destroyed ? state_of(out, tcp) : CONNTRACK_NONE;
}

/* false: not a message that tells of an entry. */
static bool read_entry(const struct nlmsghdr *message, struct conntrack_entry *out)
{
    struct nf_conntrack *ct;
    bool good;

    memset(out, 0, sizeof(*out));
    if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_CTNETLINK || (ct = nfct_new()) == NULL)
        return false;
    good = mnl_nlmsg_get_payload_len(message) >= sizeof(struct nfgenmsg) && nfct_nlmsg_parse(message, ct) >= 0;
    if (good) {
        read_tuples(ct, out);
        out->id = nfct_get_attr_u32(ct, ATTR_ID);
        out->mark = nfct_get_attr_u32(ct, ATTR_MARK);
        out->packets[UP] = nfct_get_attr_u64(ct, ATTR_ORIG_COUNTER_PACKETS);
        out->packets[DOWN] = nfct_get_attr_u64(ct, ATTR_REPL_COUNTER_PACKETS);
        out->bytes[UP] = nfct_get_attr_u64(ct, ATTR_ORIG_COUNTER_BYTES);
        out->bytes[DOWN] = nfct_get_attr_u64(ct, ATTR_REPL_COUNTER_BYTES);
        out->destroyed = NFNL_MSG_TYPE(message->nlmsg_type) == IPCTNL_MSG_CT_DELETE;
        read_state(ct, out);
    }
    nfct_destroy(ct);
    return good && out->client.family != 0 && out->destination.family == out->client.family;
}

struct calling {
    void (*each)(void *arg, const struct conntrack_entry *entry);
    void *arg;
};

static int pass_on(const struct nlmsghdr *message, void *data)
{
    struct calling *calling = data;
    struct conntrack_entry entry;

    if (read_entry(message, &entry))
        calling->each(calling->arg, &entry);
    return MNL_CB_OK;
}

void conntrack_read(struct conntrack *c, void (*event)(void *arg, const struct conntrack_entry *entry), void *arg, bool *lost)
{
    struct calling calling = { event, arg };

    *lost = false;
    for (int i = 0; i < EVENTS_A_READ; i++) {
        ssize_t len = mnl_socket_recvfrom(c->events, c->buffer, sizeof(c->buffer));

        if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (len < 0 && errno != EINTR)
            *lost = true; /* ENOBUFS: the kernel had no room for some; the others are still there */
        if (len > 0 && mnl_cb_run(c->buffer, (size_t)len, 0, 0, pass_on, &calling) < 0)
            *lost = true;
    }
}

static struct nlmsghdr *begin(struct conntrack *c, uint16_t type, uint16_t flags, uint16_t family)
{
    struct nlmsghdr *request = mnl_nlmsg_put_header(c->buffer);
    struct nfgenmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));

    request->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
    request->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    request->nlmsg_seq = ++c->sequence;
    header->nfgen_family = (uint8_t)family;
    header->version = NFNETLINK_V0;
    return request;
}

/* Takes away what is left of a question that was given up. */
static void drain(struct conntrack *c, char *into, size_t size)
{
    while (c->stale && (mnl_socket_recvfrom(c->queries, into, size) >= 0 || errno == EINTR || errno == ENOSPC))
        ;
    c->stale = false;
}

/* Sends the request, which lies in the buffer, and reads until `each` has had all there is to say. */
static bool ask(struct conntrack *c, const struct nlmsghdr *request, mnl_cb_t each, void *arg)
{
    char waste[1024];
    int more = MNL_CB_OK;

    drain(c, waste, sizeof(waste));
    if (mnl_socket_sendto(c->queries, request, request->nlmsg_len) < 0)
        return false;
    while (more == MNL_CB_OK) {
        ssize_t len = mnl_socket_recvfrom(c->queries, c->buffer, sizeof(c->buffer));

        if (len < 0 && errno == EINTR)
            continue;
        more =
            len < 0 ? MNL_CB_ERROR : mnl_cb_run(c->buffer, (size_t)len, c->sequence, mnl_socket_get_portid(c->queries), each, arg);
        c->stale = more < 0;
    }
    return more == MNL_CB_STOP;
}

bool conntrack_dump(struct conntrack *c, void (*each)(void *arg, const struct conntrack_entry *entry), void *arg)
{
    struct calling calling = { each, arg };

    return ask(c, begin(c, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC), pass_on, &calling);
}

static void write_end(struct nf_conntrack *ct, const struct addr *a, const struct end *end)
{
    nfct_set_attr(ct, a->family == AF_INET ? end->ipv4 : end->ipv6, a->ip);
    nfct_set_attr_u16(ct, end->port, htons(a->port));
}

/* Appends the original tuple. false with errno. */
static bool put_tuple(struct nlmsghdr *request, const struct conntrack_entry *e)
{
    struct nf_conntrack *ct = nfct_new();
    bool good;

    if (ct == NULL)
        return false;
    nfct_set_attr_u8(ct, ATTR_ORIG_L3PROTO, (uint8_t)e->client.family);
    nfct_set_attr_u8(ct, ATTR_ORIG_L4PROTO, e->protocol);
    write_end(ct, &e->client, &client_end);
    write_end(ct, &e->destination, &destination_end);
    if (is_icmp(e->protocol)) {
        nfct_set_attr_u8(ct, ATTR_ICMP_TYPE, e->icmp_type);
        nfct_set_attr_u8(ct, ATTR_ICMP_CODE, 0);
        nfct_set_attr_u16(ct, ATTR_ICMP_ID, htons(e->client.port));
    }
    if (e->zone != 0)
        nfct_set_attr_u16(ct, ATTR_ZONE, e->zone);
    good = nfct_nlmsg_build(request, ct) >= 0;
    nfct_destroy(ct);
    return good;
}

static int take_one(const struct nlmsghdr *message, void *data)
{
    struct conntrack_entry *out = data;

    if (!read_entry(message, out))
        memset(out, 0, sizeof(*out));
    return MNL_CB_STOP;
}

static bool same_tuple(const struct conntrack_entry *a, const struct conntrack_entry *b)
{
    return a->protocol == b->protocol && a->icmp_type == b->icmp_type && addr_eq(&a->client, &b->client) &&
           addr_eq(&a->destination, &b->destination);
}

/* Asks for the entry with this original tuple. */
static bool get(struct conntrack *c, const struct conntrack_entry *wanted, struct conntrack_entry *out)
{
    struct nlmsghdr *request = begin(c, IPCTNL_MSG_CT_GET, 0, wanted->client.family);

    if (!put_tuple(request, wanted) || !ask(c, request, take_one, out))
        return false;
    if (same_tuple(wanted, out))
        return true;
    errno = ENOENT;
    return false;
}

bool conntrack_find(struct conntrack *c, uint8_t protocol, const struct addr *client, const struct addr *destination,
                    struct conntrack_entry *out)
{
    struct conntrack_entry wanted = { .protocol = protocol, .client = *client, .destination = *destination };

    if (client->family == 0 || client->family != destination->family) {
        errno = ENOENT;
        return false;
    }
    if (is_icmp(protocol)) {
        wanted.icmp_type = protocol == IPPROTO_ICMP ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
        wanted.destination.port = 0;
    }
    return get(c, &wanted, out);
}

bool conntrack_delete(struct conntrack *c, const struct conntrack_entry *entry)
{
    struct nlmsghdr *request = begin(c, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, entry->client.family);

    if (!put_tuple(request, entry))
        return false;
    mnl_attr_put_u32(request, CTA_ID, htonl(entry->id));
    return ask(c, request, NULL, NULL);
}

bool conntrack_remark(struct conntrack *c, const struct conntrack_entry *entry, uint32_t mark)
{
    struct conntrack_entry now;
    struct nlmsghdr *request;

    if (!get(c, entry, &now))
        return false;
    if (now.id != entry->id) {
        errno = ENOENT;
        return false;
    }
    request = begin(c, IPCTNL_MSG_CT_NEW, NLM_F_ACK, entry->client.family);
    if (!put_tuple(request, entry))
        return false;
    mnl_attr_put_u32(request, CTA_MARK, htonl(mark & PACKET_MARK_MASK));
    mnl_attr_put_u32(request, CTA_MARK_MASK, htonl(PACKET_MARK_MASK));
    return ask(c, request, NULL, NULL);
}
