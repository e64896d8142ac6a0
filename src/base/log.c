/* SPDX-License-Identifier: ISC */
/*
 * The diagnostic log: one line, one write(2), so that lines of several processes do not mix. Nobody waits for a reader that has
 * stopped: what finds no room is counted, and the count is told with the next line that does. It knows nothing of the access log,
 * which is a stream of records of its own (base/record.h).
 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REMOTE_LINES_A_SECOND 10

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static char process_name[32] = "posternd";
static enum log_level threshold = LOG_LEVEL_INFO;
static unsigned lost; /* lines that found no room */

void log_open(const char *process, enum log_level level)
{
    snprintf(process_name, sizeof(process_name), "%s", process);
    threshold = level;
}

void log_set_level(enum log_level level)
{
    threshold = level;
}

enum log_level log_get_level(void)
{
    return threshold;
}

bool log_level_find(struct span name, enum log_level *out)
{
    for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (!span_eq(span_str(level_names[i]), name))
            continue;
        *out = (enum log_level)i;
        return true;
    }
    return false;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

/* A pipe with room has room for a line (pipe(7), PIPE_BUF). */
static bool has_room(void)
{
    struct pollfd standard_error = { .fd = STDERR_FILENO, .events = POLLOUT };

    return poll(&standard_error, 1, 0) != 0;
}

static void write_line(enum log_level level, const char *format, va_list args)
{
    char line[1024];
    int saved = errno;
    struct timespec now;
    struct tm utc;
    size_t used;

    if (level > threshold)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, sizeof(line) - used, ".%03ldZ %s %s: ", now.tv_nsec / 1000000, level_names[level],
                             process_name);
    errno = saved;
    vsnprintf(line + used, sizeof(line) - used - 1, format, args);
    used = strlen(line);
    line[used++] = '\n';
    if (!has_room())
        lost++;
    else if (write(STDERR_FILENO, line, used) < 0) {
        /* Nobody is left to tell. */
    } else if (lost > 0) {
        unsigned count = lost;

        lost = 0;
        log_warn("%u lines before this one found no room", count);
        if (lost > 0)
            lost = count; /* nor did that one: told behind the next */
    }
    errno = saved;
}

#define LOG_FUNCTION(name, level)                                                                                                  \
    void name(const char *format, ...)                                                                                             \
    {                                                                                                                              \
        va_list args;                                                                                                              \
                                                                                                                                   \
        va_start(args, format);                                                                                                    \
        write_line(level, format, args);                                                                                           \
        va_end(args);                                                                                                              \
    }

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

void log_remote(const char *format, ...)
{
    static time_t second;
    static unsigned lines, withheld;
    struct timespec now;
    va_list args;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (now.tv_sec != second) {
        if (withheld > 0)
            log_info("%u more lines like these were withheld", withheld);
        second = now.tv_sec;
        lines = withheld = 0;
    }
    if (lines++ >= REMOTE_LINES_A_SECOND) {
        withheld++;
        return;
    }
    va_start(args, format);
    write_line(LOG_LEVEL_INFO, format, args);
    va_end(args);
}

void fatal(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(LOG_LEVEL_ERROR, format, args);
    va_end(args);
    exit(1);
}
