/* SPDX-License-Identifier: ISC */
/* A shard of ROWS rows (defined by whoever includes this) with a writer and a reader, as a fixture of cmocka. */
#ifndef POSTERN_UNIT_BASE_SHARD_H
#define POSTERN_UNIT_BASE_SHARD_H

#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    int fd;
    struct shard *writer, *reader;
};

static int make_memory(uint32_t rows)
{
    int fd = memfd_create("shard", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)shard_bytes(rows)), 0);
    return fd;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->fd = make_memory(ROWS);
    f->reader = shard_map(f->fd, ROWS, false); /* before the writer, as workers do with each other's shards */
    f->writer = shard_map(f->fd, ROWS, true);
    assert_non_null(f->reader);
    assert_non_null(f->writer);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    shard_unmap(f->reader);
    shard_unmap(f->writer);
    close(f->fd);
    free(f);
    return 0;
}

#endif
