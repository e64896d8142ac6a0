/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_CHUNKS_H
#define POSTERN_NET_CHUNKS_H

#include "base/span.h"
#include "net/loop.h"

/* Bytes that wait, in pooled chunks. All zero: empty. Empty ones hold no memory. */
struct chunks {
    struct chunk *first, *last;
    uint32_t len;
};

/* Copies behind what waits. false: no memory; some of it may have been copied. */
MUST_CHECK bool chunks_add(struct chunks *q, struct loop *loop, const char *data, size_t len);
/* Reads `len` bytes, which must be there, behind what waits. false: no memory, or they are not there. */
MUST_CHECK bool chunks_read(struct chunks *q, struct loop *loop, int fd, size_t len);
/* Moves all of `rest` behind what waits. */
void chunks_join(struct chunks *q, struct chunks *rest);
/* Takes `len` bytes of the front away; the chunks that are empty go back. */
void chunks_take(struct chunks *q, struct loop *loop, size_t len);
void chunks_drop(struct chunks *q, struct loop *loop);

#endif
