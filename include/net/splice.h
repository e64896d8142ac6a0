/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_SPLICE_H
#define POSTERN_NET_SPLICE_H

#include "net/pipes.h"
#include "net/stream.h"

/* Between stream.c and splice.c; whoever owns streams calls stream_splice(), and stream_is_full() before. */

/* Sends what lies in the stream's pipe, as far as the kernel takes it; an empty pipe is given back. */
void splice_send(struct stream *s);
/* What lies in the stream's pipe is lost; returns how much that was. */
uint32_t splice_drop(struct stream *s);

/* The kernel tells of each byte again: before anything but stream_splice() takes bytes from it. */
void splice_end(struct stream *s);

/* Tells the kernel what it has to tell: `muted` or `asks_for_room` changed. */
void stream_listen(struct stream *s);
/* A read brought nothing: its end (0), nothing now, or an error. */
void stream_read_none(struct stream *s, ssize_t n);
/* A write brought nothing; errno says why. */
void stream_write_none(struct stream *s);

#endif
