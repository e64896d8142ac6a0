/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_LOG_OUTPUT_H
#define POSTERN_APP_LOG_OUTPUT_H

#include "base/span.h"

/*
 * Where lines go: a descriptor that may be full, blocked or broken, and a batch in front of it. Lines leave in order and whole, as
 * far as the descriptor lets them; what cannot be written is counted. A pipe is only written to while it says that it has room,
 * whole lines of at most PIPE_BUF bytes at once, so that its reader can never stop us.
 */
#define LOG_BATCH 65536

struct log_output {
    int fd;                 /* -1: lines are discarded, as configured */
    bool regular;           /* a file: written in large batches */
    bool mid_line;          /* the last byte that was written is not the end of a line */
    size_t first, used;     /* the lines of the batch: from `first` up to `used` */
    uint64_t written, lost; /* lines, for the metrics */
    char batch[LOG_BATCH];
};

void log_output_init(struct log_output *o);
/* Takes the descriptor (or -1) instead of the one before, which is closed. The rest of a line that was cut is given up. */
void log_output_set(struct log_output *o, int fd);
/* Where the next line may be written, `max` bytes of it; NULL if there is no room for so many. */
char *log_output_room(struct log_output *o, size_t max);
/* That was done: `len` bytes, at most PIPE_BUF, that end with LF. Without a descriptor they are forgotten. */
void log_output_added(struct log_output *o, size_t len);
/* Writes the batch. false: the descriptor would block; call again when poll(2) says POLLOUT. */
MUST_CHECK bool log_output_flush(struct log_output *o);

#endif
