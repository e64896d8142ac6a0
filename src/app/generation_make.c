/* SPDX-License-Identifier: ISC */
/*
 * Making a generation, in the monitor: from files to a snapshot and sealed memory that all other processes share. Nothing of the
 * old generation is touched; whoever asked decides what to do with the result. Hosts files are compiled here once, so that a
 * million names cost their memory once and no worker reads a file. One whose text is what it was, or that another policy names too,
 * is taken over. The text itself decides that, by its hash under a key that was drawn for it alone: what a file system says of
 * times and sizes would have to be believed.
 */
#include "app/generation_make.h"

#include "app/files.h"
#include "app/generation_load.h"
#include "app/generation_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CONF_BYTES (4u << 20)
#define HOSTS_BYTES (16u << 20)       /* resolver.hosts */
#define HOSTS_FILE_BYTES (256u << 20) /* hosts_file of a policy */
#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_BYTES (1u << 20)

struct making {
    struct blueprint *b;
    const struct blueprint *before; /* NULL: none */
    FILE *errors, *warnings;
    unsigned error_count;
};

static void __attribute__((format(printf, 2, 3))) complain(struct making *m, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(m->errors, format, args);
    va_end(args);
    fputc('\n', m->errors);
    m->error_count++;
}

static void parse_text(struct making *m, const char *file, struct span text)
{
    struct conf_messages messages;

    conf_messages_init(&messages);
    m->b->conf = conf_parse(file, text, &messages);
    for (size_t i = 0; i < messages.error_count; i++)
        complain(m, "%s", messages.errors[i]);
    for (size_t i = 0; i < messages.warning_count; i++)
        fprintf(m->warnings, "%s\n", messages.warnings[i]);
    conf_messages_fini(&messages);
    if (m->b->conf == NULL)
        return;
    m->b->text_fd = memfd_sealed("postern-conf", text);
    if (m->b->text_fd < 0)
        complain(m, "%s: %s", file, strerror(errno));
}

static void read_configuration(struct making *m, const char *path)
{
    char error[FILE_ERROR];
    size_t len;
    char *text;

    if (path == NULL) {
        parse_text(m, "default.conf", conf_default_text());
        return;
    }
    text = file_read(path, FILE_TRUSTED, CONF_BYTES, &len, error);
    if (text == NULL)
        complain(m, "%s", error);
    else if (len == 0) /* what an editor or a full disk leaves for a moment must not close every listener */
        complain(m, "%s: the file is empty", path);
    else
        parse_text(m, path, span_of(text, len));
    free(text);
}

/* A hosts file that is not there is an empty one: containers have none. */
static void read_hosts(struct making *m)
{
    char error[FILE_ERROR];
    struct conf_hosts *hosts;
    size_t len = 0;
    char *text = file_read(m->b->conf->resolver_hosts, FILE_TRUSTED, HOSTS_BYTES, &len, error);

    if (text == NULL && errno != ENOENT)
        complain(m, "%s:%u: resolver.hosts: %s", m->b->conf->file, m->b->conf->lines.resolver_hosts, error);
    hosts = conf_hosts_parse(span_of(text, len));
    free(text);
    m->b->hosts_fd = hosts != NULL ? memfd_sealed("postern-hosts", conf_hosts_memory(hosts)) : -1;
    if (m->b->hosts_fd < 0)
        complain(m, "%s:%u: resolver.hosts: %s", m->b->conf->file, m->b->conf->lines.resolver_hosts, strerror(errno));
    conf_hosts_free(hosts);
}

/* Without any server it is the one on this machine, as resolv.conf(5) has it. */
static void read_servers(struct making *m)
{
    struct blueprint *b = m->b;
    char error[FILE_ERROR];
    size_t len;
    char *text;

    b->server_count = b->conf->resolver_server_count < RESOLVER_SERVERS ? b->conf->resolver_server_count : RESOLVER_SERVERS;
    for (size_t i = 0; i < b->server_count; i++)
        b->servers[i] = b->conf->resolver_servers[i];
    if (b->server_count > 0)
        return;
    text = file_read(RESOLV_CONF, FILE_SYSTEM, RESOLV_BYTES, &len, error);
    if (text != NULL)
        b->server_count = conf_resolv_servers(span_of(text, len), b->servers, RESOLVER_SERVERS);
    else
        fprintf(m->warnings, "resolver: %s\n", error);
    free(text);
    if (b->server_count == 0 && addr_parse(&b->servers[0], SPAN("127.0.0.1"), 53))
        b->server_count = 1;
}

static bool compile_set(struct hosts_set *set, struct span text)
{
    size_t size = hostset_size(text);
    int fd = size > 0 ? memfd_sized("postern-hostset", size) : -1;
    void *memory = fd >= 0 ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

    if (memory == MAP_FAILED) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    hostset_compile(text, memory, size, &set->bad_lines, &set->first_bad);
    munmap(memory, size);
    set->fd = fd;
    hash_key_random(&set->key);
    set->digest = hash_bytes(&set->key, text.at, text.len);
    set->bytes = text.len;
    return memfd_seal(fd);
}

/* Is one of the sets of `b` made of this text? */
static bool take_over(struct hosts_set *set, const struct blueprint *b, struct span text)
{
    for (size_t i = 0; b != NULL && i < b->conf->policy_count; i++) {
        const struct hosts_set *old = &b->sets[i];

        if (old->fd < 0 || old->bytes != text.len || hash_bytes(&old->key, text.at, text.len) != old->digest)
            continue;
        *set = *old;
        set->fd = fcntl(old->fd, F_DUPFD_CLOEXEC, 3);
        return set->fd >= 0;
    }
    return false;
}

static void make_set(struct making *m, const struct conf_policy *p, struct hosts_set *set, struct span text)
{
    if (!take_over(set, m->b, text) && !take_over(set, m->before, text) && !compile_set(set, text)) {
        complain(m, "%s:%u: policies.%s.hosts_file: %s: no memory for it", m->b->conf->file, p->line, p->name, p->hosts_file);
        return;
    }
    if (set->bad_lines > 0)
        fprintf(m->warnings, "%s:%zu: %zu lines are no host names and were left out, this is the first\n", p->hosts_file,
                set->first_bad, set->bad_lines);
}

static void read_hosts_file(struct making *m, size_t policy)
{
    const struct conf_policy *p = &m->b->conf->policies[policy];
    char error[FILE_ERROR];
    size_t len;
    char *text;

    if (p->hosts_file == NULL)
        return;
    text = file_read(p->hosts_file, FILE_TRUSTED, HOSTS_FILE_BYTES, &len, error);
    if (text == NULL)
        complain(m, "%s:%u: policies.%s.hosts_file: %s", m->b->conf->file, p->line, p->name, error);
    else
        make_set(m, p, &m->b->sets[policy], span_of(text, len));
    free(text);
}

static void read_named_files(struct making *m)
{
    size_t count = m->b->conf->policy_count;

    m->b->sets = calloc(count + 1, sizeof(*m->b->sets));
    if (m->b->sets == NULL) {
        complain(m, "%s", strerror(errno));
        return;
    }
    for (size_t i = 0; i < count; i++)
        m->b->sets[i].fd = -1;
    for (size_t i = 0; i < count; i++)
        read_hosts_file(m, i);
    read_hosts(m);
    read_servers(m);
    if (!generation_tls_read(m->b, m->errors, m->warnings))
        m->error_count++;
}

struct blueprint *blueprint_make(const char *path, uint16_t number, const char *instance, const struct blueprint *before,
                                 FILE *errors, FILE *warnings)
{
    struct making m = { calloc(1, sizeof(*m.b)), before, errors, warnings, 0 };

    if (m.b == NULL) {
        complain(&m, "%s", strerror(errno));
        return NULL;
    }
    m.b->number = number;
    m.b->text_fd = m.b->hosts_fd = m.b->keylog_fd = -1;
    snprintf(m.b->instance, sizeof(m.b->instance), "%s", instance);
    read_configuration(&m, path);
    if (m.b->conf != NULL)
        read_named_files(&m);
    if (m.error_count == 0)
        return m.b;
    blueprint_free(m.b);
    return NULL;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

void blueprint_free(struct blueprint *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; b->conf != NULL && b->sets != NULL && i < b->conf->policy_count; i++)
        close_if_open(b->sets[i].fd);
    free(b->sets);
    generation_tls_free(b);
    close_if_open(b->keylog_fd);
    close_if_open(b->text_fd);
    close_if_open(b->hosts_fd);
    if (b->conf != NULL)
        conf_free(b->conf);
    free(b);
}

static bool send_sets(const struct blueprint *b, int ipc)
{
    uint32_t policies[IPC_FDS];
    int fds[IPC_FDS];
    size_t count = 0;

    for (size_t i = 0; i < b->conf->policy_count; i++) {
        if (b->sets[i].fd < 0)
            continue;
        policies[count] = (uint32_t)i;
        fds[count++] = b->sets[i].fd;
        if (count < IPC_FDS)
            continue;
        if (!ipc_send_fds(ipc, IPC_HOSTSETS, policies, count * sizeof(policies[0]), fds, count))
            return false;
        count = 0;
    }
    return count == 0 || ipc_send_fds(ipc, IPC_HOSTSETS, policies, count * sizeof(policies[0]), fds, count);
}

bool blueprint_send(const struct blueprint *b, int ipc)
{
    struct wire_generation wire = { .number = b->number, .server_count = (uint32_t)b->server_count };
    int fds[2] = { b->text_fd, b->hosts_fd };

    memcpy(wire.servers, b->servers, sizeof(wire.servers));
    memcpy(wire.instance, b->instance, sizeof(wire.instance));
    snprintf(wire.file, sizeof(wire.file), "%s", b->conf->file);
    return ipc_send_fds(ipc, IPC_GENERATION, &wire, sizeof(wire), fds, 2) && send_sets(b, ipc);
}
