/* SPDX-License-Identifier: ISC */
/*
 * Writing lines. A full disk may take half of a line: its rest stays at the front of the batch and is tried again with what comes
 * next, so that the file never holds a broken line in its middle; whole lines that are refused are counted and forgotten, because
 * the traffic goes on and newer lines are worth as much.
 */
#include "app/log_output.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void log_output_init(struct log_output *o)
{
    memset(o, 0, sizeof(*o));
    o->fd = -1;
}

static struct span waiting(const struct log_output *o)
{
    return span_of(o->batch + o->first, o->used - o->first);
}

static size_t count_lines(struct span s)
{
    size_t lines = 0;

    for (const char *end; s.len > 0 && (end = memchr(s.at, '\n', s.len)) != NULL; lines++)
        s = span_skip(s, (size_t)(end - s.at) + 1);
    return lines;
}

static void forget(struct log_output *o, size_t n)
{
    o->first += n;
    if (o->first == o->used)
        o->first = o->used = 0;
}

/* Up to the end of the line that was begun; 0 if it has none. */
static size_t rest_of_line(const struct log_output *o)
{
    struct span s = waiting(o);
    const char *end = s.len > 0 ? memchr(s.at, '\n', s.len) : NULL;

    return end != NULL ? (size_t)(end - s.at) + 1 : 0;
}

void log_output_set(struct log_output *o, int fd)
{
    struct stat st;

    if (o->mid_line) {
        size_t rest = rest_of_line(o);

        forget(o, rest > 0 ? rest : o->used - o->first);
        o->lost++;
    }
    if (o->fd >= 0)
        close(o->fd);
    o->fd = fd;
    o->mid_line = false;
    o->regular = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

char *log_output_room(struct log_output *o, size_t max)
{
    if (o->used + max > LOG_BATCH && o->first > 0) {
        memmove(o->batch, o->batch + o->first, o->used - o->first);
        o->used -= o->first;
        o->first = 0;
    }
    return o->used + max <= LOG_BATCH ? o->batch + o->used : NULL;
}

void log_output_added(struct log_output *o, size_t len)
{
    if (o->fd >= 0)
        o->used += len;
}

/* The descriptor refused: all whole lines are lost, the rest of one that was begun stays. */
static void drop_lines(struct log_output *o)
{
    size_t keep = o->mid_line ? rest_of_line(o) : 0;

    o->lost += count_lines(span_skip(waiting(o), keep));
    o->used = o->first + keep;
    forget(o, 0);
}

/* How much to write at once: everything into a file, as many whole lines as a pipe takes without being cut. */
static struct span next_write(const struct log_output *o)
{
    struct span s = waiting(o);
    const char *end;

    if (o->regular || s.len <= PIPE_BUF)
        return s;
    end = memrchr(s.at, '\n', PIPE_BUF);
    return span_of(s.at, end != NULL ? (size_t)(end - s.at) + 1 : PIPE_BUF);
}

static bool has_no_room(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };

    return poll(&p, 1, 0) == 0;
}

bool log_output_flush(struct log_output *o)
{
    while (o->fd >= 0 && o->used > 0) {
        struct span next = next_write(o);
        ssize_t put;

        if (!o->regular && has_no_room(o->fd))
            return false;
        put = write(o->fd, next.at, next.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN)
            return false;
        if (put <= 0) {
            drop_lines(o);
            return true;
        }
        o->written += count_lines(span_of(next.at, (size_t)put));
        o->mid_line = next.at[put - 1] != '\n';
        forget(o, (size_t)put);
    }
    if (o->fd < 0)
        o->first = o->used = 0;
    return true;
}
