/* SPDX-License-Identifier: ISC */
/*
 * The least that a proxy can do: what is read from one side is written to the other. One thread, one connection to the server for
 * each client, no look at the bytes. bench/ws/run compares with it.
 *
 *   relay LISTEN_PORT TARGET_PORT
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE 65536 /* as a worker of Postern reads */

struct side {
    int fd;
    struct side *peer;
    char *waiting; /* what the kernel did not take */
    size_t waiting_len, waiting_at;
    bool dead;
};

static int poller, target_port;

static void watch(struct side *s, int op, bool in, bool out)
{
    struct epoll_event event = { .events = (in ? EPOLLIN : 0) | (out ? EPOLLOUT : 0), .data.ptr = s };

    epoll_ctl(poller, op, s->fd, &event);
}

static void end_pair(struct side *s)
{
    if (s->dead)
        return;
    for (int i = 0; i < 2; i++, s = s->peer) {
        s->dead = true;
        close(s->fd);
        free(s->waiting);
        s->waiting = NULL;
    }
}

/* What is left waits, and the other side is not read any more until it is gone. */
static void keep(struct side *to, const char *at, size_t n)
{
    to->waiting = malloc(n);
    if (to->waiting == NULL)
        err(1, "malloc");
    memcpy(to->waiting, at, n);
    to->waiting_len = n;
    to->waiting_at = 0;
    watch(to, EPOLL_CTL_MOD, to->peer->waiting == NULL, true);
    watch(to->peer, EPOLL_CTL_MOD, false, to->peer->waiting != NULL);
}

static void on_readable(struct side *s)
{
    static char room[READ_SIZE];
    ssize_t sent, n = recv(s->fd, room, sizeof(room), 0);

    if (n < 0 && errno == EAGAIN)
        return;
    sent = n > 0 ? send(s->peer->fd, room, (size_t)n, MSG_NOSIGNAL) : 0;
    if (n <= 0 || (sent < 0 && errno != EAGAIN)) {
        end_pair(s);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    if (sent < n)
        keep(s->peer, room + sent, (size_t)(n - sent));
}

static void on_writable(struct side *s)
{
    ssize_t n = send(s->fd, s->waiting + s->waiting_at, s->waiting_len - s->waiting_at, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN) {
        end_pair(s);
        return;
    }
    s->waiting_at += n < 0 ? 0 : (size_t)n;
    if (s->waiting_at < s->waiting_len)
        return;
    free(s->waiting);
    s->waiting = NULL;
    watch(s, EPOLL_CTL_MOD, s->peer->waiting == NULL, false);
    watch(s->peer, EPOLL_CTL_MOD, true, s->peer->waiting != NULL);
}

static void on_client(int listener)
{
    struct sockaddr_in target = { .sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)target_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fds[2] = { accept4(listener, NULL, NULL, SOCK_NONBLOCK), socket(AF_INET, SOCK_STREAM, 0) }, on = 1;
    struct side *sides = calloc(2, sizeof(*sides)); /* lives as long as the program: pairs are few */

    if (sides == NULL || fds[0] < 0 || connect(fds[1], (struct sockaddr *)&target, sizeof(target)) != 0)
        err(1, "client");
    for (int i = 0; i < 2; i++) {
        sides[i] = (struct side){ .fd = fds[i], .peer = &sides[1 - i] };
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        watch(&sides[i], EPOLL_CTL_ADD, true, false);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct epoll_event event = { .events = EPOLLIN }, events[256];

    if (argc != 3)
        errx(2, "relay LISTEN_PORT TARGET_PORT");
    signal(SIGPIPE, SIG_IGN);
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    target_port = atoi(argv[2]);
    poller = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 1024) != 0)
        err(1, "port %s", argv[1]);
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poller, events, 256, -1);

        for (int i = 0; i < count; i++) {
            struct side *s = events[i].data.ptr;

            if (s == NULL)
                on_client(listener);
            else if (!s->dead && (events[i].events & EPOLLOUT) != 0)
                on_writable(s);
            else if (!s->dead)
                on_readable(s);
        }
    }
}
