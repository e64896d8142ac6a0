/* SPDX-License-Identifier: ISC */
/*
 * Tells when somebody else changes nftables. The kernel sends NEWGEN to NFNLGRP_NFTABLES once for each transaction. It carries the
 * netlink port of the socket that sent the transaction, and ours is that of libnftables. The kernel also names a process, but by
 * its number in the first process id namespace, which a process inside a container does not know; the port is right everywhere.
 *
 * A transaction also sends a message for each rule and element, thousands of them for a large table. A socket filter leaves them
 * out, so our own commits cannot overrun the socket. Notifications that were lost all the same count as a change by another.
 */
#include "filter/nft_run.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#define NEWGEN (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN)

/* A filter loads in network order, and netlink is in the machine's. */
static bool only_generations(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(NEWGEN), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
}

bool nft_watch_open(struct nft_watch *w)
{
    int group = NFNLGRP_NFTABLES;

    w->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return w->socket != NULL && only_generations(mnl_socket_get_fd(w->socket)) &&
           mnl_socket_bind(w->socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
           mnl_socket_setsockopt(w->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0;
}

void nft_watch_close(struct nft_watch *w)
{
    if (w->socket != NULL)
        mnl_socket_close(w->socket);
    w->socket = NULL;
}

void nft_watch_find_port(struct nft_watch *w)
{
    struct sockaddr_nl address = { .nl_pid = 0 };
    socklen_t size = sizeof(address), protocol_size = sizeof(int);
    int protocol = 0;

    w->own_port = 0;
    if (getsockname(w->own_socket, (struct sockaddr *)&address, &size) == 0 && address.nl_family == AF_NETLINK &&
        getsockopt(w->own_socket, SOL_SOCKET, SO_PROTOCOL, &protocol, &protocol_size) == 0 && protocol == NETLINK_NETFILTER)
        w->own_port = address.nl_pid;
}

int nft_watch_fd(const struct nft *n)
{
    return mnl_socket_get_fd(n->watch.socket);
}

static bool has_foreign(struct nft_watch *w, const char *buffer, int len)
{
    const struct nlmsghdr *message = (const void *)buffer;
    bool foreign = false;

    for (; mnl_nlmsg_ok(message, len); message = mnl_nlmsg_next(message, &len)) {
        if (message->nlmsg_type != NEWGEN)
            continue;
        w->seen++;
        foreign |= w->own_port == 0 || message->nlmsg_pid != w->own_port;
    }
    return foreign;
}

/* Some were lost. */
static bool have_overrun(struct nft_watch *w)
{
    w->seen += 2;
    return true;
}

bool nft_watch_read(struct nft *n)
{
    _Alignas(struct nlmsghdr) char buffer[4096];
    bool foreign = false;

    for (;;) {
        ssize_t len = mnl_socket_recvfrom(n->watch.socket, buffer, sizeof(buffer));

        if (len >= 0)
            foreign |= has_foreign(&n->watch, buffer, (int)len);
        else if (errno == EAGAIN)
            return foreign;
        else if (errno == ENOBUFS || errno == ENOSPC)
            foreign = have_overrun(&n->watch);
        else if (errno != EINTR)
            return true;
    }
}
