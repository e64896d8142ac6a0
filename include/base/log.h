/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_LOG_H
#define POSTERN_BASE_LOG_H

#include "base/span.h"

/*
 * The diagnostic log (not the access log): lines on standard error, "time level process: message". errno is kept. What a remote can
 * trigger goes through log_remote(), which lets ten lines a second through and counts the others.
 */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Names the process in every line from now on ("monitor", "worker 2"). */
void log_open(const char *process, enum log_level level);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* false if `name` is not one of error, warn, info, debug. */
MUST_CHECK bool log_level_find(struct span name, enum log_level *out);
const char *log_level_name(enum log_level level);

#define LOG_FORMAT __attribute__((format(printf, 1, 2)))
void log_error(const char *format, ...) LOG_FORMAT;
void log_warn(const char *format, ...) LOG_FORMAT;
void log_info(const char *format, ...) LOG_FORMAT;
void log_debug(const char *format, ...) LOG_FORMAT;
void log_remote(const char *format, ...) LOG_FORMAT;
/* Says it and exits with 1: before the loop starts, or when an invariant is broken. */
_Noreturn void fatal(const char *format, ...) LOG_FORMAT;

#endif
