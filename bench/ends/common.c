/* SPDX-License-Identifier: ISC */
/* Sockets, memory and frames for the programs of the benchmark; see common.h. */
#include "common.h"

#include <err.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define BACKLOG 4096

uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void *grown(void *old, size_t size)
{
    void *made = realloc(old, size);

    if (made == NULL)
        err(1, "%zu bytes", size);
    return made;
}

struct sockaddr_in loopback(int port)
{
    return (
        struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int listen_on(int port)
{
    struct sockaddr_in address = loopback(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, BACKLOG) != 0)
        err(1, "port %d", port);
    return fd;
}

void outgoing_add(struct outgoing *out, const char *bytes, size_t n)
{
    out->bytes = grown(out->bytes, out->len + n);
    memcpy(out->bytes + out->len, bytes, n);
    out->len += n;
}

void outgoing_left(struct outgoing *out, size_t n)
{
    out->at += n;
    if (out->at < out->len)
        return;
    free(out->bytes);
    *out = (struct outgoing){ NULL, 0, 0 };
}

void no_delay(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void watch(int poller, int op, int fd, uint32_t events, void *data)
{
    struct epoll_event event = { .events = events, .data.ptr = data };

    if (epoll_ctl(poller, op, fd, &event) != 0)
        err(1, "epoll_ctl");
}

static unsigned head_len(const unsigned char *head)
{
    unsigned len = head[1] & 0x7f;

    return 2 + (len == 126 ? 2 : len == 127 ? 8 : 0) + ((head[1] & 0x80) != 0 ? 4 : 0);
}

static uint64_t payload_len(const unsigned char *head)
{
    unsigned len = head[1] & 0x7f, bytes = len == 126 ? 2 : len == 127 ? 8 : 0;
    uint64_t longer = 0;

    for (unsigned i = 0; i < bytes; i++)
        longer = longer << 8 | head[2 + i];
    return bytes > 0 ? longer : len;
}

/* The bytes that are there, when they may be too few. */
static size_t feed_some(struct frame *f, const unsigned char *at, size_t n)
{
    size_t used = 0;

    while (f->have < f->need && used < n) {
        size_t wanted = f->need - f->have, take = wanted < n - used ? wanted : n - used;

        memcpy(f->head + f->have, at + used, take);
        f->have += (unsigned)take;
        used += take;
        if (f->have == 2)
            f->need = head_len(f->head);
    }
    return used;
}

size_t frame_head_feed(struct frame *f, const unsigned char *at, size_t n)
{
    size_t used;

    if (f->have == 0 && n >= FRAME_HEAD_MAX) { /* as it nearly always is: copied with what is behind it, at one go */
        memcpy(f->head, at, FRAME_HEAD_MAX);
        f->have = f->need = head_len(f->head);
        used = f->need;
    } else {
        used = feed_some(f, at, n);
    }
    if (frame_has_head(f)) {
        f->left = payload_len(f->head);
        f->at = 0;
    }
    return used;
}

void frame_unmask(const struct frame *f, const unsigned char *in, unsigned char *out, size_t n)
{
    const unsigned char *mask = f->head + f->need - 4;
    unsigned char turned[8];
    uint64_t key, word;
    size_t i = 0;

    for (unsigned k = 0; k < 8; k++)
        turned[k] = mask[(f->at + k) & 3];
    memcpy(&key, turned, 8);
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, in + i, 8);
        word ^= key;
        memcpy(out + i, &word, 8);
    }
    for (; i < n; i++)
        out[i] = in[i] ^ turned[i & 7];
}

size_t frame_head_write(unsigned char *out, unsigned char first, uint64_t len)
{
    unsigned bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;

    out[0] = first;
    out[1] = (unsigned char)(bytes == 0 ? len : bytes == 2 ? 126 : 127);
    for (unsigned i = 0; i < bytes; i++)
        out[2 + i] = (unsigned char)(len >> (8 * (bytes - 1 - i)));
    return 2 + bytes;
}

void payload_fill(char *out, size_t n, const char *kind)
{
    const char *pattern = strcmp(kind, "utf8") == 0 ? "a\xe2\x82\xac" : "postern ";
    size_t len = strlen(pattern);

    for (size_t i = 0; i < n; i++)
        out[i] = i < n - n % len ? pattern[i % len] : ' ';
}

unsigned char payload_first(const char *kind)
{
    return strcmp(kind, "binary") == 0 ? 0x82 : 0x81;
}
