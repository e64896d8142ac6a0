/* SPDX-License-Identifier: ISC */
/*
 * Messages between our own processes. A SOCK_SEQPACKET pair keeps the boundaries of messages, delivers in order, tells of the other
 * side's death by end-of-file, and carries descriptors (unix(7), SCM_RIGHTS). Every receive gets room for the largest message, and
 * a message that was cut, in bytes or in descriptors, ends the conversation: half a generation must never be taken for a whole one.
 */
#include "app/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEND_BUFFER (4 * IPC_BYTES)

union control {
    struct cmsghdr first;
    char bytes[CMSG_SPACE(sizeof(int) * IPC_FDS)];
};

bool ipc_pair(int fds[2])
{
    int size = SEND_BUFFER;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return false;
    /* The kernel may grant less; its default is enough for one message of the largest size. */
    for (int i = 0; i < 2; i++)
        (void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return true;
}

static bool send_pieces(int fd, struct iovec *pieces, size_t count, const int *fds, size_t fd_count)
{
    union control control;
    struct msghdr header = { .msg_iov = pieces, .msg_iovlen = count };
    ssize_t sent;

    if (fd_count > 0) {
        memset(&control, 0, sizeof(control));
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        control.first.cmsg_level = SOL_SOCKET;
        control.first.cmsg_type = SCM_RIGHTS;
        control.first.cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(&control.first), fds, sizeof(int) * fd_count);
    }
    do
        sent = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

bool ipc_send_fds(int fd, enum ipc_type type, const void *data, size_t len, const int *fds, size_t fd_count)
{
    uint32_t word = type;
    struct iovec pieces[2] = { { &word, sizeof(word) }, { (void *)data, len } };

    if (len > IPC_BYTES || fd_count > IPC_FDS) {
        errno = EMSGSIZE;
        return false;
    }
    return send_pieces(fd, pieces, 2, fds, fd_count);
}

bool ipc_send(int fd, enum ipc_type type, const void *data, size_t len)
{
    return ipc_send_fds(fd, type, data, len, NULL, 0);
}

bool ipc_send_two(int fd, enum ipc_type type, const void *head, size_t head_len, struct span tail)
{
    uint32_t word = type;
    struct iovec pieces[3] = { { &word, sizeof(word) }, { (void *)head, head_len }, { (void *)tail.at, tail.len } };

    if (head_len + tail.len > IPC_BYTES) {
        errno = EMSGSIZE;
        return false;
    }
    return send_pieces(fd, pieces, 3, NULL, 0);
}

static void take_descriptors(struct ipc_message *m, struct msghdr *header)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        m->fd_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(m->fds, CMSG_DATA(c), m->fd_count * sizeof(int));
    }
}

enum ipc_result ipc_receive(int fd, struct ipc_message *m)
{
    uint32_t word = IPC_TYPE_COUNT;
    struct iovec pieces[2] = { { &word, sizeof(word) }, { m->data, IPC_BYTES } };
    union control control;
    struct msghdr header = { .msg_iov = pieces, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof(control) };
    ssize_t got;

    m->fd_count = 0;
    do
        got = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN ? IPC_NOTHING : IPC_END;
    take_descriptors(m, &header);
    if ((size_t)got < sizeof(word) || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || word >= IPC_TYPE_COUNT) {
        ipc_release(m);
        return IPC_END;
    }
    m->type = (enum ipc_type)word;
    m->len = (size_t)got - sizeof(word);
    m->data[m->len] = '\0';
    return IPC_MESSAGE;
}

int ipc_take_fd(struct ipc_message *m, size_t i)
{
    int fd = i < m->fd_count ? m->fds[i] : -1;

    if (fd >= 0)
        m->fds[i] = -1;
    return fd;
}

void ipc_release(struct ipc_message *m)
{
    for (size_t i = 0; i < m->fd_count; i++)
        if (m->fds[i] >= 0)
            close(m->fds[i]);
    m->fd_count = 0;
}

bool ipc_read(const struct ipc_message *m, void *out, size_t size)
{
    if (m->len < size)
        return false;
    memcpy(out, m->data, size);
    return true;
}

struct span ipc_rest(const struct ipc_message *m, size_t size)
{
    return m->len <= size ? span_of(NULL, 0) : span_of(m->data + size, m->len - size);
}
