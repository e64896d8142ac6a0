/* SPDX-License-Identifier: ISC */
/* The origin's connections: who is read, what is written; see origin.h. Usage: origin HTTP_PORT SOURCE_PORT */
#include "origin.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (512 * 1024)
#define SOURCE_SIZE (256 * 1024)
#define EVENTS 256
#define WRITES_A_TURN 8 /* to one that takes all; then the others */

static int poller;
static char *answer;
static size_t answer_len, answer_size;

char *answer_room(size_t n)
{
    if (answer_len + n > answer_size) {
        answer_size = 2 * (answer_len + n);
        answer = grown(answer, answer_size);
    }
    answer_len += n;
    return answer + answer_len - n;
}

void answer_add(const void *at, size_t n)
{
    memcpy(answer_room(n), at, n);
}

static void set_events(struct conn *c, uint32_t events)
{
    if (c->events != events)
        watch(poller, EPOLL_CTL_MOD, c->fd, events, c);
    c->events = events;
}

static void drop(struct conn *c)
{
    close(c->fd);
    free(c->in);
    free(c->out.bytes);
    free(c);
}

/* What waited. False: the connection is to end. */
static bool write_out(struct conn *c)
{
    ssize_t n = write(c->fd, c->out.bytes + c->out.at, c->out.len - c->out.at);

    if (n < 0)
        return errno == EAGAIN;
    outgoing_left(&c->out, (size_t)n);
    return c->out.bytes != NULL || !c->is_ending;
}

static bool write_endless(struct conn *c)
{
    for (int i = 0; i < WRITES_A_TURN && c->endless_left > 0; i++) {
        size_t len = c->endless_len - c->endless_at;
        ssize_t n = write(c->fd, c->endless + c->endless_at, len < c->endless_left ? len : (size_t)c->endless_left);

        if (n < 0)
            return errno == EAGAIN;
        c->endless_at = (c->endless_at + (size_t)n) % c->endless_len;
        c->endless_left -= (uint64_t)n;
    }
    return true;
}

/* Writes what there is, and watches for room when some is left. */
static bool send_all(struct conn *c)
{
    bool goes_on = c->out.bytes != NULL ? write_out(c) : true;

    if (goes_on && c->out.bytes == NULL)
        goes_on = write_endless(c);
    if (goes_on)
        set_events(c, EPOLLIN | (c->out.bytes != NULL || c->endless_left > 0 ? EPOLLOUT : 0));
    return goes_on;
}

/* The answer to what was read: written at once, or kept behind what waits. */
static bool send_answer(struct conn *c)
{
    ssize_t n = c->out.bytes == NULL && answer_len > 0 ? write(c->fd, answer, answer_len) : 0;
    size_t left;

    if (n < 0 && errno != EAGAIN)
        return false;
    left = answer_len - (n < 0 ? 0 : (size_t)n);
    if (left > 0)
        outgoing_add(&c->out, answer + answer_len - left, left);
    if (c->is_ending && c->out.bytes == NULL)
        return false;
    return c->out.bytes == NULL && c->endless_left == 0 ? true : send_all(c);
}

/* Requests, and frames behind one that asked for a WebSocket. An incomplete request is kept. */
static void feed(struct conn *c, const char *at, size_t n)
{
    size_t used = 0, taken = 1;

    while (used < n && taken > 0 && c->role == SPEAKS_HTTP && !c->is_ending) {
        taken = http_feed(c, at + used, n - used);
        used += taken;
    }
    if (c->role != SPEAKS_HTTP)
        websocket_feed(c, (const unsigned char *)at + used, n - used);
    c->in_len = c->role == SPEAKS_HTTP ? n - used : 0;
    if (c->in_len > 0)
        c->in = memcpy(grown(c->in, c->in_len), at + used, c->in_len);
}

static bool on_readable(struct conn *c)
{
    static char room[READ_SIZE];
    size_t before = c->in_len;
    ssize_t n;

    if (before > 0)
        memcpy(room, c->in, before);
    n = read(c->fd, room + before, sizeof(room) - before);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    answer_len = 0;
    if (c->role != POURS)
        feed(c, room, before + (size_t)n);
    return send_answer(c);
}

static void add(int fd, enum role role)
{
    struct conn *c = grown(NULL, sizeof(*c));

    *c = (struct conn){ .fd = fd, .role = role, .events = EPOLLIN, .frame = FRAME_INIT };
    watch(poller, EPOLL_CTL_ADD, fd, EPOLLIN, c);
    if (role == POURS) {
        static char block[SOURCE_SIZE];

        memset(block, SOURCE_BYTE, sizeof(block));
        c->endless = block;
        c->endless_len = sizeof(block);
        c->endless_left = UINT64_MAX;
        if (!send_all(c))
            drop(c);
    }
}

static void accept_all(struct conn *listener)
{
    int fd;

    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        no_delay(fd);
        add(fd, listener->role == LISTENS_HTTP ? SPEAKS_HTTP : POURS);
    }
}

static void on_event(struct conn *c, uint32_t events)
{
    bool goes_on = (events & (EPOLLERR | EPOLLHUP)) == 0;

    if (goes_on && (events & EPOLLIN) != 0)
        goes_on = on_readable(c);
    if (goes_on && (events & EPOLLOUT) != 0)
        goes_on = send_all(c);
    if (!goes_on)
        drop(c);
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];

    if (argc != 3)
        errx(2, "origin HTTP_PORT SOURCE_PORT");
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    add(listen_on(atoi(argv[1])), LISTENS_HTTP);
    add(listen_on(atoi(argv[2])), LISTENS_SOURCE);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            struct conn *c = events[i].data.ptr;

            if (c->role == LISTENS_HTTP || c->role == LISTENS_SOURCE)
                accept_all(c);
            else
                on_event(c, events[i].events);
        }
    }
}
