/* SPDX-License-Identifier: ISC */
/* What the fuzz targets of sessions run the real session code in: generations made of a text, a table, and a ring for records. */
#ifndef POSTERN_FUZZ_SESSION_WORLD_H
#define POSTERN_FUZZ_SESSION_WORLD_H

#include "require.h"

#include "base/ring.h"
#include "base/table.h"
#include "policy/generation.h"
#include "session/engine.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROWS 64
#define LOG_SLOTS 256

static struct generation *world_generation(const char *text, const char *hosts, uint16_t number)
{
    struct generation *g = calloc(1, sizeof(*g));
    struct conf_messages messages;

    REQUIRE(g != NULL);
    g->conf = conf_parse("fuzz.conf", span_str(text), &messages);
    for (size_t i = 0; i < messages.error_count; i++)
        fprintf(stderr, "%s\n", messages.errors[i]);
    conf_messages_fini(&messages);
    REQUIRE(g->conf != NULL);
    g->hosts = conf_hosts_parse(span_str(hosts));
    g->files = calloc(g->conf->policy_count, sizeof(*g->files));
    REQUIRE(generation_compile(g));
    g->refs = 1;
    g->number = number;
    snprintf(g->instance, sizeof(g->instance), "postern-fuzz");
    return g;
}

/* `memory` is the ring's. */
static void world_open(struct shard **shard, struct ring *ring, void **memory)
{
    int fd = memfd_create("shard", MFD_CLOEXEC);

    signal(SIGPIPE, SIG_IGN); /* as all processes do: splice() knows no MSG_NOSIGNAL */
    log_open("fuzz", LOG_LEVEL_ERROR);
    REQUIRE(fd >= 0 && ftruncate(fd, (off_t)shard_bytes(ROWS)) == 0);
    *shard = shard_map(fd, ROWS, true);
    close(fd);
    *memory = aligned_alloc(64, (ring_bytes(LOG_SLOTS, sizeof(struct record)) + 63) & ~(size_t)63);
    REQUIRE(*shard != NULL && *memory != NULL);
    memset(*memory, 0, ring_bytes(LOG_SLOTS, sizeof(struct record)));
    ring_attach(ring, *memory, LOG_SLOTS, sizeof(struct record));
}

/* One worker's, with a loop of its own. */
static struct engine *world_engine(struct loop *loop, struct shard **shard, struct ring *ring)
{
    struct engine *e = loop == NULL
                           ? NULL
                           : engine_new(&(struct engine_args){
                                 .loop = loop, .workers = 1, .shards = shard, .log = ring, .log_wake = -1, .first_number = 1 });

    REQUIRE(e != NULL);
    return e;
}

/* Ends a connection with a reset. */
static void world_reset(int fd)
{
    struct linger now = { 1, 0 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

#endif
