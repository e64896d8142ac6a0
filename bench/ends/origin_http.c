/* SPDX-License-Identifier: ISC */
/* Requests and answers of the origin. Answers are made once for each size; clients are our own, so requests are only read as far as
 * they vary. */
#include "origin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MADE_MAX 32
#define STREAM_BLOCK (256 * 1024)

struct made {
    long size;
    bool closes;
    char *text;
    size_t len;
};

/* A header field's value and its length; NULL when there is none. `head` ends with an empty line. */
static const char *value_of(const char *head, size_t n, const char *name, size_t *len)
{
    size_t name_len = strlen(name);
    const char *end = head + n, *line = head;

    while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL && ++line + name_len < end) {
        if (strncasecmp(line, name, name_len) == 0 && line[name_len] == ':') {
            line += name_len + 1;
            line += strspn(line, " ");
            *len = strcspn(line, "\r");
            return line;
        }
    }
    return NULL;
}

static void make(struct made *m, long size, bool closes)
{
    char head[256];
    int n =
        snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n%sContent-Length: %ld\r\n\r\n",
                 closes ? "Connection: close\r\n" : "", size);

    *m = (struct made){ .size = size, .closes = closes, .len = (size_t)n + (size_t)size };
    m->text = grown(NULL, m->len);
    memcpy(m->text, head, (size_t)n);
    memset(m->text + n, BODY_BYTE, (size_t)size);
}

static void answer_bytes(long size, bool closes)
{
    static struct made made[MADE_MAX];
    static unsigned count;
    unsigned i = 0;

    while (i < count && (made[i].size != size || made[i].closes != closes))
        i++;
    if (i == MADE_MAX) /* more sizes than any workload has: the last is made anew */
        free(made[--i].text);
    if (i >= count || made[i].size != size || made[i].closes != closes) {
        make(&made[i], size, closes);
        count = i + 1;
    }
    answer_add(made[i].text, made[i].len);
}

static void answer_stream(struct conn *c, unsigned long long size)
{
    static char block[STREAM_BLOCK];
    char head[128];

    memset(block, BODY_BYTE, sizeof(block));
    answer_add(head, (size_t)snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n", size));
    c->endless = block;
    c->endless_len = sizeof(block);
    c->endless_at = 0;
    c->endless_left = size;
}

size_t http_feed(struct conn *c, const char *at, size_t n)
{
    static const char not_found[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    const char *end = memmem(at, n, "\r\n\r\n", 4), *path, *value;
    size_t len = end != NULL ? (size_t)(end + 4 - at) : 0, value_len;

    if (end == NULL)
        return 0;
    path = memchr(at, ' ', len);
    value = value_of(at, len, "Connection", &value_len);
    c->is_ending = path == NULL || (value != NULL && value_len == 5 && strncasecmp(value, "close", 5) == 0);
    if (path == NULL)
        return n;
    if (strncmp(++path, "/r/", 3) == 0)
        answer_bytes(atol(path + 3), c->is_ending);
    else if (strncmp(path, "/stream/", 8) == 0)
        answer_stream(c, strtoull(path + 8, NULL, 10));
    else if (strncmp(path, "/ws/", 4) == 0 && (value = value_of(at, len, "Sec-WebSocket-Key", &value_len)) != NULL)
        websocket_open(c, path + 4, value, value_len);
    else
        answer_add(not_found, sizeof(not_found) - 1);
    return len;
}
