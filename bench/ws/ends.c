/* SPDX-License-Identifier: ISC */
/*
 * Both ends of the measurements in bench/ws/run: a WebSocket server and a load that asks it. Enough of RFC 6455 for that and no
 * more: one key, so one Sec-WebSocket-Accept, and every frame of a stream has the same length. The work is a number of frames, not
 * a time, so that what a proxy spent on it can be divided by it.
 *
 *   ends serve PORT
 *   ends echo PORT CONNECTIONS ROUNDS PAYLOAD KIND     each connection: a frame there, its echo back, and again
 *   ends up PORT CONNECTIONS FRAMES PAYLOAD KIND       the client sends, the server counts and says when it has all
 *   ends down PORT CONNECTIONS FRAMES PAYLOAD KIND     the server sends
 *
 * KIND: binary, ascii, or utf8 (text of which every other character has three bytes). Says how many seconds it took.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define ROOM (1 << 18)

enum what { LISTEN, HEAD, ECHO, UP, DOWN };

struct end {
    enum what what;
    int fd;
    bool serves;
    char head[2048]; /* of the handshake, as far as it has come */
    size_t head_len;
    uint64_t to_send; /* bytes of `frame`, over and over */
    size_t send_at;   /* in `frame` */
    uint64_t to_come; /* bytes */
    size_t come_at;   /* echo: of the frame that is under way */
    uint64_t frames;  /* still to do */
    size_t payload;
    char kind[8];
    char *frame; /* what this end sends */
    size_t frame_len;
    bool waits_out;
};

static int poller;
static unsigned open_ends;
static enum what task;

static void fill(char *at, size_t n, const char *kind)
{
    static const char *const patterns[] = { "postern ", "a\xe2\x82\xac" };
    const char *pattern = patterns[strcmp(kind, "utf8") == 0];
    size_t len = strlen(pattern);

    for (size_t i = 0; i < n; i++)
        at[i] = i < n - n % len ? pattern[i % len] : ' ';
}

/* The frame that this side sends; clients mask. */
static void make_frame(struct end *e)
{
    static const char mask[4] = { 0x37, (char)0xfa, 0x21, 0x3d };
    size_t n = 0, bytes = e->payload;
    char *out = malloc(bytes + 14), first = strcmp(e->kind, "binary") == 0 ? (char)0x82 : (char)0x81;

    if (out == NULL)
        err(1, "malloc");
    out[n++] = first;
    if (bytes < 126)
        out[n++] = (char)bytes;
    else if (bytes < 65536) {
        out[n++] = 126;
        out[n++] = (char)(bytes >> 8);
        out[n++] = (char)bytes;
    } else
        errx(1, "frames of at most 65535 bytes");
    if (!e->serves) {
        out[1] |= (char)0x80;
        memcpy(out + n, mask, 4);
        n += 4;
    }
    fill(out + n, bytes, e->kind);
    for (size_t i = 0; !e->serves && i < bytes; i++)
        out[n + i] ^= mask[i & 3];
    e->frame = out;
    e->frame_len = n + bytes;
}

static void watch(struct end *e, int op, bool out)
{
    struct epoll_event event = { .events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = e };

    e->waits_out = out;
    if (epoll_ctl(poller, op, e->fd, &event) != 0)
        err(1, "epoll_ctl");
}

static void drop(struct end *e)
{
    close(e->fd);
    free(e->frame);
    free(e);
    open_ends--;
}

/* Writes what is to be sent, as much as goes. */
static void send_frames(struct end *e)
{
    bool blocked = false;

    while (e->to_send > 0 && !blocked) {
        size_t left = e->frame_len - e->send_at;
        ssize_t n = send(e->fd, e->frame + e->send_at, left < e->to_send ? left : e->to_send, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            err(1, "send");
        blocked = n < 0;
        if (n > 0) {
            e->to_send -= (uint64_t)n;
            e->send_at = (e->send_at + (size_t)n) % e->frame_len;
        }
    }
    if (blocked != e->waits_out)
        watch(e, EPOLL_CTL_MOD, blocked);
}

static void begin_work(struct end *e)
{
    size_t other = e->payload + (e->payload < 126 ? 2 : 4) + (e->serves ? 4 : 0);

    e->what = e->serves ? e->what : task;
    e->to_come = UINT64_MAX; /* what else may come, as a close frame, does not matter */
    make_frame(e);
    if (e->what == ECHO) {
        e->to_come = other;
        e->to_send = e->serves ? 0 : e->frame_len;
    } else if ((e->what == UP) == !e->serves)
        e->to_send = e->frames * e->frame_len;
    else
        e->to_come = e->frames * other;
    send_frames(e);
}

/* The path says what is wanted: "/up/FRAMES/PAYLOAD/KIND". */
static void serve_head(struct end *e)
{
    char word[8];
    char *path = memmem(e->head, e->head_len, "/ws/", 4);
    unsigned long long frames;
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n";

    if (path == NULL || sscanf(path, "/ws/%7[a-z]/%llu/%zu/%7[a-z0-9]", word, &frames, &e->payload, e->kind) != 4)
        errx(1, "what is asked for? %.*s", (int)e->head_len, e->head);
    e->frames = frames;
    e->what = word[0] == 'e' ? ECHO : word[0] == 'u' ? UP : DOWN;
    if (send(e->fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) != sizeof(answer) - 1)
        err(1, "send");
}

/* Bytes of the handshake; returns what is left behind it. */
static size_t take_head(struct end *e, const char *at, size_t n)
{
    char *end;
    size_t before = e->head_len, room = sizeof(e->head) - 1 - before, copied = n < room ? n : room;

    memcpy(e->head + before, at, copied);
    e->head_len += copied;
    e->head[e->head_len] = '\0';
    end = strstr(e->head, "\r\n\r\n");
    if (end == NULL)
        return 0;
    if (!e->serves && strncmp(e->head, "HTTP/1.1 101", 12) != 0)
        errx(1, "no WebSocket: %.*s", 60, e->head);
    n -= (size_t)(end + 4 - e->head) - before;
    if (e->serves)
        serve_head(e);
    begin_work(e);
    return n;
}

/* Whole frames came: echo them, or take their echo and begin again; false when all is done. */
static bool echoed(struct end *e)
{
    e->to_come = e->frame_len + (e->serves ? 4 : -4);
    if (!e->serves && --e->frames == 0)
        return false;
    e->to_send += e->frame_len;
    send_frames(e);
    return true;
}

static bool took_all(struct end *e)
{
    if (e->what == ECHO)
        return echoed(e);
    if (e->what == UP && e->serves) { /* one more frame says so */
        e->to_send = e->frame_len;
        send_frames(e);
        e->to_come = UINT64_MAX;
    }
    return e->serves;
}

static void take(struct end *e)
{
    static char room[ROOM];
    ssize_t n = recv(e->fd, room, sizeof(room), 0);
    size_t left;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        if (!e->serves)
            errx(1, "the connection ended");
        drop(e);
        return;
    }
    left = e->what == HEAD ? take_head(e, room, (size_t)n) : (size_t)n;
    if (e->what == UP && !e->serves && left > 0) { /* the server has all */
        drop(e);
        return;
    }
    while (left > 0) {
        size_t taken = left < e->to_come ? left : (size_t)e->to_come;

        left -= taken;
        e->to_come -= taken;
        if (e->to_come == 0 && !took_all(e)) {
            drop(e);
            return;
        }
    }
}

static struct end *add(int fd, enum what what, bool serves)
{
    struct end *e = calloc(1, sizeof(*e));
    int on = 1;

    if (e == NULL)
        err(1, "calloc");
    *e = (struct end){ .what = what, .fd = fd, .serves = serves };
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    watch(e, EPOLL_CTL_ADD, false);
    open_ends++;
    return e;
}

static struct sockaddr_in address_of(const char *port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)atoi(port)),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void serve(const char *port)
{
    struct sockaddr_in address = address_of(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 1024) != 0)
        err(1, "port %s", port);
    add(fd, LISTEN, true);
}

static void ask(char **arguments)
{
    struct sockaddr_in address = address_of(arguments[2]);
    char head[512];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct end *e;

    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        err(1, "connect");
    snprintf(head, sizeof(head),
             "GET /ws/%s/%s/%s/%s HTTP/1.1\r\nHost: bench.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
             arguments[1], arguments[4], arguments[5], arguments[6]);
    if (send(fd, head, strlen(head), MSG_NOSIGNAL) < 0)
        err(1, "send");
    e = add(fd, HEAD, false);
    e->frames = strtoull(arguments[4], NULL, 10);
    e->payload = strtoull(arguments[5], NULL, 10);
    snprintf(e->kind, sizeof(e->kind), "%s", arguments[6]);
}

static void turn(void)
{
    struct epoll_event events[256];
    int count = epoll_wait(poller, events, 256, -1);

    for (int i = 0; i < count; i++) {
        struct end *e = events[i].data.ptr;
        int fd = e->what == LISTEN ? accept4(e->fd, NULL, NULL, SOCK_NONBLOCK) : -1;

        if (fd >= 0)
            add(fd, HEAD, true);
        if (e->what == LISTEN)
            continue;
        if ((events[i].events & EPOLLOUT) != 0)
            send_frames(e);
        if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
            take(e);
    }
}

int main(int argc, char **argv)
{
    struct timespec began, ended;

    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    if (argc == 3)
        serve(argv[2]);
    else if (argc == 7)
        task = argv[1][0] == 'e' ? ECHO : argv[1][0] == 'u' ? UP : DOWN;
    else
        errx(2, "see the head of ends.c");
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (int i = 0; argc == 7 && i < atoi(argv[3]); i++)
        ask(argv);
    while (open_ends > 0)
        turn();
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.6f\n", (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    return 0;
}
