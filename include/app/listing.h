/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_LISTING_H
#define POSTERN_APP_LISTING_H

#include "app/filters.h"
#include "app/view.h"

struct evbuffer;

/*
 * A list of rows that is written piece by piece, however long the table: one JSON object in a line,
 * { "time", "sessions": [...], "ended": [...], "count" }. A watch makes one after the other: first all rows, then those that
 * changed since the one before, and the streams that ended.
 */
struct listing {
    struct filters filters;
    bool changes;    /* only what happened since `since_us`, and what ended */
    bool open;       /* the line is begun and not ended */
    bool in_ended;   /* rows are done */
    unsigned worker; /* position */
    uint32_t row;
    uint64_t count;
    uint64_t since_us, begun_us;
    uint64_t ended[WRITERS_MAX];     /* sequence of the last ended stream that was looked at */
    uint64_t ended_old[WRITERS_MAX]; /* the same of the posternd before */
};

/* From the beginning, with all rows. */
void listing_init(struct listing *l, const struct view *v, const struct filters *filters);
/* Begins the next line: what changed since the last one was begun. */
void listing_next(struct listing *l, const struct view *v);
/* Writes until `out` holds LISTING_PIECE bytes or the line is complete; true: complete. */
#define LISTING_PIECE 65536
bool listing_fill(struct listing *l, const struct view *v, struct evbuffer *out);

#endif
