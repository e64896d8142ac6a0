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

static size_t count_lines(struct span s)
{
    size_t lines = 0;

    for (size_t i = 0; i < s.len; i++)
        lines += s.at[i] == '\n';
    return lines;
}

static void forget(struct log_output *o, size_t n)
{
    memmove(o->batch, o->batch + n, o->used - n);
    o->used -= n;
}

void log_output_set(struct log_output *o, int fd)
{
    struct stat st;

    if (o->mid_line) {
        const char *end = memchr(o->batch, '\n', o->used);

        forget(o, end != NULL ? (size_t)(end - o->batch) + 1 : o->used);
        o->lost++;
    }
    if (o->fd >= 0)
        close(o->fd);
    o->fd = fd;
    o->mid_line = false;
    o->regular = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

bool log_output_has_room(const struct log_output *o, size_t max)
{
    return o->used + max <= LOG_BATCH;
}

void log_output_add(struct log_output *o, struct span line)
{
    if (o->fd < 0)
        return;
    memcpy(o->batch + o->used, line.at, line.len);
    o->used += line.len;
}

/* The descriptor refused: all whole lines are lost, the rest of one that was begun stays. */
static void drop_lines(struct log_output *o)
{
    const char *end = o->mid_line ? memchr(o->batch, '\n', o->used) : NULL;
    size_t keep = end != NULL ? (size_t)(end - o->batch) + 1 : 0;

    o->lost += count_lines(span_of(o->batch + keep, o->used - keep));
    o->used = keep;
}

/* How much to write at once: everything into a file, as many whole lines as a pipe takes without being cut. */
static size_t next_write(const struct log_output *o)
{
    const char *end;

    if (o->regular || o->used <= PIPE_BUF)
        return o->used;
    end = memrchr(o->batch, '\n', PIPE_BUF);
    return end != NULL ? (size_t)(end - o->batch) + 1 : PIPE_BUF;
}

static bool has_no_room(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };

    return poll(&p, 1, 0) == 0;
}

bool log_output_flush(struct log_output *o)
{
    while (o->fd >= 0 && o->used > 0) {
        ssize_t put;

        if (!o->regular && has_no_room(o->fd))
            return false;
        put = write(o->fd, o->batch, next_write(o));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN)
            return false;
        if (put <= 0) {
            drop_lines(o);
            return true;
        }
        o->written += count_lines(span_of(o->batch, (size_t)put));
        o->mid_line = o->batch[put - 1] != '\n';
        forget(o, (size_t)put);
    }
    if (o->fd < 0)
        o->used = 0;
    return true;
}
