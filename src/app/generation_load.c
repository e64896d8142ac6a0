/* SPDX-License-Identifier: ISC */
/*
 * Loading a generation, in workers and in control: the text is parsed by the same code that the monitor used, and the compiled sets
 * and hosts are mapped read-only. The monitor is believed, but not blindly: a set that does not look like one, or a text that
 * suddenly does not parse, is an error and the old generation stays.
 */
#include "app/generation_load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void __attribute__((format(printf, 2, 3))) fail(struct generation_inbox *in, const char *format, ...)
{
    va_list args;

    if (in->error[0] != '\0')
        return;
    va_start(args, format);
    vsnprintf(in->error, sizeof(in->error), format, args);
    va_end(args);
}

/* Maps a whole file and closes it. The empty file gives the empty span. */
static bool map_and_close(int fd, struct span *out)
{
    struct stat st;
    void *memory;

    *out = span_of(NULL, 0);
    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    memory = st.st_size > 0 ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0) : NULL;
    close(fd);
    if (memory == MAP_FAILED)
        return false;
    *out = span_of(memory, (size_t)st.st_size);
    return true;
}

static void unmap(struct span s)
{
    if (s.len > 0)
        munmap((void *)s.at, s.len);
}

static void parse_conf(struct generation_inbox *in, const char *file, int fd)
{
    struct conf_messages messages;
    struct span text;

    if (!map_and_close(fd, &text)) {
        fail(in, "cannot map the configuration: %s", strerror(errno));
        return;
    }
    conf_messages_init(&messages);
    in->growing->conf = conf_parse(file, text, &messages);
    if (in->growing->conf == NULL)
        fail(in, "%s", messages.error_count > 0 ? messages.errors[0] : "no memory for the configuration");
    conf_messages_fini(&messages);
    unmap(text);
}

static void map_hosts(struct generation_inbox *in, int fd)
{
    struct generation *g = in->growing;

    if (!map_and_close(fd, &g->hosts_memory))
        fail(in, "cannot map the hosts: %s", strerror(errno));
    else if ((g->hosts = conf_hosts_open(g->hosts_memory)) == NULL)
        fail(in, "the hosts are not those of a monitor");
}

void generation_begin(struct generation_inbox *in, struct ipc_message *m)
{
    struct wire_generation wire;
    struct generation *g;

    generation_unref(in->growing);
    in->error[0] = '\0';
    in->growing = g = calloc(1, sizeof(*g));
    if (g != NULL)
        g->refs = 1;
    if (g == NULL || !ipc_read(m, &wire, sizeof(wire)) || wire.server_count > RESOLVER_SERVERS) {
        fail(in, "the generation cannot be taken in");
        return;
    }
    g->number = wire.number;
    g->server_count = wire.server_count;
    memcpy(g->servers, wire.servers, sizeof(g->servers));
    memcpy(g->instance, wire.instance, sizeof(g->instance));
    wire.file[sizeof(wire.file) - 1] = '\0';
    parse_conf(in, wire.file, ipc_take_fd(m, 0));
    map_hosts(in, ipc_take_fd(m, 1));
    if (g->conf == NULL)
        return;
    g->files = calloc(g->conf->policy_count > 0 ? g->conf->policy_count : 1, sizeof(*g->files));
    g->tls_files = calloc(g->conf->tls_file_count + 1, sizeof(*g->tls_files));
    g->tls_ends = calloc(g->conf->tls_file_count + 1, sizeof(*g->tls_ends));
    if (g->files == NULL || g->tls_files == NULL || g->tls_ends == NULL)
        fail(in, "no memory for the files");
}

static bool take_set(struct generation *g, uint32_t policy, int fd)
{
    struct hostset set;
    struct span memory;

    if (!map_and_close(fd, &memory))
        return false;
    if (g == NULL || g->files == NULL || policy >= g->conf->policy_count || g->files[policy].memory != NULL ||
        !hostset_open(&set, memory.at, memory.len)) {
        unmap(memory);
        return false;
    }
    g->files[policy] = set;
    return true;
}

void generation_hostsets(struct generation_inbox *in, struct ipc_message *m)
{
    uint32_t policies[IPC_FDS];

    if (m->fd_count > IPC_FDS || !ipc_read(m, policies, m->fd_count * sizeof(policies[0]))) {
        fail(in, "the hosts files cannot be taken in");
        return;
    }
    for (size_t i = 0; i < m->fd_count; i++)
        if (!take_set(in->growing, policies[i], ipc_take_fd(m, i)))
            fail(in, "a compiled hosts file cannot be mapped");
}

void generation_tls_files(struct generation_inbox *in, struct ipc_message *m)
{
    struct generation *g = in->growing;
    uint32_t indices[IPC_FDS];

    if (m->fd_count > IPC_FDS || !ipc_read(m, indices, m->fd_count * sizeof(indices[0]))) {
        fail(in, "the TLS files cannot be taken in");
        return;
    }
    for (size_t i = 0; i < m->fd_count; i++) {
        bool expected = g != NULL && g->tls_files != NULL && indices[i] < g->conf->tls_file_count &&
                        !g->conf->tls_files[indices[i]].of_minter && g->tls_files[indices[i]].len == 0;

        if (!expected || !map_and_close(ipc_take_fd(m, i), &g->tls_files[indices[i]]))
            fail(in, "a TLS file cannot be mapped");
    }
}

void generation_tls_ends(struct generation_inbox *in, const struct ipc_message *m)
{
    struct generation *g = in->growing;
    struct span ends = ipc_rest(m, sizeof(uint64_t));
    uint64_t first;

    if (g == NULL || g->tls_ends == NULL || !ipc_read(m, &first, sizeof(first)) || ends.len == 0 ||
        first >= g->conf->tls_file_count || ends.len > (g->conf->tls_file_count - first) * sizeof(g->tls_ends[0]))
        fail(in, "the ends of certificates cannot be taken in");
    else
        memcpy(&g->tls_ends[first], ends.at, ends.len);
}

struct generation *generation_finish(struct generation_inbox *in)
{
    struct generation *g = in->growing;

    in->growing = NULL;
    if (g == NULL)
        fail(in, "no generation was sent");
    if (in->error[0] == '\0' && !generation_compile(g))
        fail(in, "no memory for the policies");
    if (in->error[0] == '\0')
        return g;
    generation_unref(g);
    return NULL;
}
