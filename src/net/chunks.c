/* SPDX-License-Identifier: ISC */
/*
 * Queues of bytes in the loop's pooled chunks: what a stream has to send and the kernel did not take yet, and what waits to be
 * encrypted. A chunk is filled before the next one is taken, so a queue holds less than one chunk more than its bytes need.
 */
#include "net/chunks.h"

#include <string.h>
#include <unistd.h>

static bool add_chunk(struct chunks *q, struct loop *loop)
{
    struct chunk *fresh = chunk_take(loop);

    if (fresh == NULL)
        return false;
    if (q->last != NULL)
        q->last->next = fresh;
    else
        q->first = fresh;
    q->last = fresh;
    return true;
}

bool chunks_add(struct chunks *q, struct loop *loop, const char *data, size_t len)
{
    while (len > 0) {
        size_t n;

        if ((q->last == NULL || q->last->end == CHUNK_BYTES) && !add_chunk(q, loop))
            return false;
        n = CHUNK_BYTES - q->last->end < len ? CHUNK_BYTES - q->last->end : len;
        memcpy(q->last->data + q->last->end, data, n);
        q->last->end += (uint32_t)n;
        q->len += (uint32_t)n;
        data += n;
        len -= n;
    }
    return true;
}

bool chunks_read(struct chunks *q, struct loop *loop, int fd, size_t len)
{
    while (len > 0) {
        struct chunk *last = q->last;
        size_t room = last != NULL ? CHUNK_BYTES - last->end : 0;
        ssize_t n;

        if (room == 0) {
            if (!add_chunk(q, loop))
                return false;
            continue;
        }
        n = read(fd, last->data + last->end, room < len ? room : len);
        if (n <= 0)
            return false;
        last->end += (uint32_t)n;
        q->len += (uint32_t)n;
        len -= (size_t)n;
    }
    return true;
}

void chunks_join(struct chunks *q, struct chunks *rest)
{
    if (q->last != NULL)
        q->last->next = rest->first;
    else
        q->first = rest->first;
    if (rest->last != NULL)
        q->last = rest->last;
    q->len += rest->len;
    *rest = (struct chunks){ 0 };
}

void chunks_take(struct chunks *q, struct loop *loop, size_t len)
{
    q->len -= (uint32_t)len;
    while (len > 0) {
        struct chunk *first = q->first;
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): q->len bytes are in the chunks, and no more are taken */
        size_t n = first->end - first->start;

        if (len < n) {
            first->start += (uint32_t)len;
            return;
        }
        len -= n;
        q->first = first->next;
        if (q->first == NULL)
            q->last = NULL;
        chunk_give(loop, first);
    }
}

void chunks_drop(struct chunks *q, struct loop *loop)
{
    while (q->first != NULL) {
        struct chunk *chunk = q->first;

        q->first = chunk->next;
        chunk_give(loop, chunk);
    }
    q->last = NULL;
    q->len = 0;
}
