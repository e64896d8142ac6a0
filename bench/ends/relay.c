/* SPDX-License-Identifier: ISC */
/*
 * The floors: the least that a proxy can do on one thread. What is read from one side is written to the other; one connection to
 * the target for each client.
 *
 *   relay read-write LISTEN_PORT TARGET_PORT BYTES     a buffer of so many bytes
 *   relay splice LISTEN_PORT TARGET_PORT BYTES         splice(2) through a pipe of so many bytes
 *   relay frames LISTEN_PORT TARGET_PORT BYTES         as read-write, and every WebSocket frame is parsed (relay_frames.c)
 *
 * A side is not read while something waits for its peer, so its end is only seen when all that it sent has gone.
 */
#include "relay_frames.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256

enum mode { READ_WRITE, SPLICE, FRAMES };

struct side {
    int fd;
    uint32_t events; /* what epoll watches */
    bool is_dead;
    struct side *peer; /* both are one block of memory, the client's side first */
    int pipe[2];       /* splice: bytes on their way to this side */
    size_t waiting;    /* what this side's socket did not take: bytes in `pipe`, or in `kept` */
    char *kept;
    size_t kept_at;
    struct frames frames; /* of what this side sends */
};

static enum mode mode;
static int poller, target_port;
static char *buffer;
static size_t buffer_size;
static struct side *graves[EVENTS]; /* pairs that ended in this turn: their events may still follow */
static unsigned grave_count;

static void set_events(struct side *s, uint32_t events)
{
    if (s->events != events)
        watch(poller, EPOLL_CTL_MOD, s->fd, events, s);
    s->events = events;
}

static void end_side(struct side *s)
{
    s->is_dead = true;
    close(s->fd);
    free(s->kept);
    if (mode == SPLICE) {
        close(s->pipe[0]);
        close(s->pipe[1]);
    }
}

static void end_pair(struct side *s)
{
    struct side *first = s < s->peer ? s : s->peer;

    if (s->is_dead)
        return;
    end_side(s);
    end_side(s->peer);
    graves[grave_count++] = first;
}

/* Writes what waits for this side. -1: it is gone. */
static int flush(struct side *s)
{
    while (s->waiting > 0) {
        ssize_t n = mode == SPLICE ? splice(s->pipe[0], NULL, s->fd, NULL, s->waiting, SPLICE_F_NONBLOCK | SPLICE_F_MOVE)
                                   : write(s->fd, s->kept + s->kept_at, s->waiting);

        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        s->waiting -= (size_t)n;
        s->kept_at += (size_t)n;
    }
    free(s->kept);
    s->kept = NULL;
    return 0;
}

static ssize_t take_by_splice(struct side *s)
{
    struct side *to = s->peer;
    ssize_t n = splice(s->fd, NULL, to->pipe[1], NULL, buffer_size, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

    to->waiting += n > 0 ? (size_t)n : 0;
    return n > 0 && flush(to) < 0 ? 0 : n;
}

static ssize_t take_by_read(struct side *s)
{
    struct side *to = s->peer;
    ssize_t sent, n = read(s->fd, buffer, buffer_size);

    if (n <= 0)
        return n;
    if (mode == FRAMES && !frames_are_good(&s->frames, (unsigned char *)buffer, (size_t)n))
        return 0;
    sent = write(to->fd, buffer, (size_t)n);
    if (sent < 0 && errno != EAGAIN)
        return 0;
    sent = sent < 0 ? 0 : sent;
    if (sent < n) {
        to->waiting = (size_t)(n - sent);
        to->kept = memcpy(grown(NULL, to->waiting), buffer + sent, to->waiting);
        to->kept_at = 0;
    }
    return n;
}

static void on_readable(struct side *s)
{
    ssize_t n = mode == SPLICE ? take_by_splice(s) : take_by_read(s);

    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        end_pair(s);
    } else if (s->peer->waiting > 0) {
        set_events(s->peer, s->peer->events | EPOLLOUT);
        set_events(s, s->events & ~(uint32_t)EPOLLIN);
    }
}

static void on_writable(struct side *s)
{
    if (flush(s) < 0) {
        end_pair(s);
    } else if (s->waiting == 0) {
        set_events(s, s->events & ~(uint32_t)EPOLLOUT);
        set_events(s->peer, s->peer->events | EPOLLIN);
    }
}

static void open_side(struct side *s, int fd, struct side *peer)
{
    *s = (struct side){ .fd = fd, .events = EPOLLIN, .peer = peer, .frames = FRAMES_INIT };
    if (mode == SPLICE && (pipe2(s->pipe, O_NONBLOCK) != 0 || fcntl(s->pipe[1], F_SETPIPE_SZ, (int)buffer_size) < 0))
        err(1, "pipe of %zu bytes", buffer_size);
    no_delay(fd);
    watch(poller, EPOLL_CTL_ADD, fd, EPOLLIN, s);
}

static void on_client(int client)
{
    struct sockaddr_in target = loopback(target_port);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct side *pair;

    if (server < 0 || (connect(server, (struct sockaddr *)&target, sizeof(target)) != 0 && errno != EINPROGRESS))
        err(1, "port %d", target_port);
    pair = grown(NULL, 2 * sizeof(*pair));
    open_side(&pair[0], client, &pair[1]);
    open_side(&pair[1], server, &pair[0]);
}

static void on_event(struct side *s, uint32_t events)
{
    if (!s->is_dead && (events & EPOLLOUT) != 0)
        on_writable(s);
    if (s->is_dead || (events & ~(uint32_t)EPOLLOUT) == 0)
        return;
    if ((s->events & EPOLLIN) != 0)
        on_readable(s);
    else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
        end_pair(s);
}

static void turn(int listener)
{
    struct epoll_event events[EVENTS];
    int client, count = epoll_wait(poller, events, EVENTS, -1);

    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr != NULL) {
            on_event(events[i].data.ptr, events[i].events);
            continue;
        }
        while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
            on_client(client);
    }
    while (grave_count > 0)
        free(graves[--grave_count]);
}

int main(int argc, char **argv)
{
    int listener;

    if (argc != 5)
        errx(2, "relay read-write|splice|frames LISTEN_PORT TARGET_PORT BYTES");
    mode = strcmp(argv[1], "splice") == 0 ? SPLICE : strcmp(argv[1], "frames") == 0 ? FRAMES : READ_WRITE;
    target_port = atoi(argv[3]);
    buffer_size = strtoul(argv[4], NULL, 10);
    buffer = grown(NULL, buffer_size);
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    listener = listen_on(atoi(argv[2]));
    watch(poller, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    for (;;)
        turn(listener);
}
