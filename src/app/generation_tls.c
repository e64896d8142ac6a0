/* SPDX-License-Identifier: ISC */
/*
 * The TLS files of a generation, in the monitor: each becomes a memory file that workers map and nobody can change. A key is copied
 * from its file into memory that is locked, kept out of forks and of cores, and wiped when the generation goes; workers get it
 * read-only. The interception key is only opened: the minter alone reads it.
 *
 * Whether the files are good is seen by making contexts of them (secure_new()), as workers will. A child of the monitor's does it
 * and reports by a pipe: so the process that keeps root parses no certificate, and no key is left in memory that other children are
 * forked from.
 */
#include "app/generation_tls.h"

#include "app/files.h"
#include "app/ipc.h"
#include "base/clock.h"
#include "proto/leaf.h"
#include "session/secure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TLS_BYTES (4u << 20) /* of a file; the system's bundle has a quarter of a MiB */
#define KEY_BYTES (64u << 10)
#define ENDS_SENT 4096   /* in one message */
#define CHECK_SECONDS 20 /* for the child that looks at the files */

/* "file:line: key: ", in front of a message. */
static void put_place(FILE *out, const struct conf *conf, unsigned line, const char *key)
{
    if (line > 0)
        fprintf(out, "%s:%u: %s: ", conf->file, line, key);
    else
        fprintf(out, "%s: %s: ", conf->file, key);
}

static bool complain(FILE *errors, const struct conf *conf, const struct conf_tls_file *f, const char *text)
{
    put_place(errors, conf, f->line, f->key);
    fprintf(errors, "%s\n", text);
    return false;
}

static bool is_secret(const struct conf_tls_file *f)
{
    return f->kind == TLS_FILE_KEY;
}

/* Locked where the system lets us, and in no fork and no core. */
static char *map_secret(int fd, size_t size)
{
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (memory == MAP_FAILED)
        return NULL;
    (void)mlock(memory, size);
    (void)madvise(memory, size, MADV_DONTFORK);
    (void)madvise(memory, size, MADV_DONTDUMP);
    return memory;
}

/* Reads `size` bytes, which is how long the file said it is; false if there are less or more. */
static bool read_exactly(int file, char *memory, size_t size)
{
    size_t used = 0;
    ssize_t got;
    char more;

    while (used < size && (got = read(file, memory + used, size - used)) > 0)
        used += (size_t)got;
    return used == size && read(file, &more, 1) == 0;
}

/* The key goes from its file straight into the memory file: no copy of it is left anywhere. */
static int copy_secret(int file, struct span *memory, char *error, const char *path)
{
    struct stat st;
    size_t size = fstat(file, &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : 0;
    int fd = size > 0 ? memfd_sized("postern-key", size) : -1;
    char *at = fd >= 0 ? map_secret(fd, size) : NULL;

    if (at != NULL && fchmod(fd, S_IRUSR) == 0 && read_exactly(file, at, size)) {
        *memory = span_of(at, size);
        return fd;
    }
    snprintf(error, FILE_ERROR, "%s: %s", path,
             size == 0    ? "the file is empty"
             : at == NULL ? strerror(errno)
                          : "it changed while it was read");
    if (at != NULL) {
        explicit_bzero(at, size);
        munmap(at, size);
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Which file a path leads to, so that two paths to one are seen. */
struct file_id {
    dev_t device;
    ino_t inode;
};

static struct file_id id_of(int file)
{
    struct stat st;

    return fstat(file, &st) == 0 ? (struct file_id){ st.st_dev, st.st_ino } : (struct file_id){ 0, 0 };
}

static int open_secret(const struct conf_tls_file *f, struct span *memory, struct file_id *id, char *error)
{
    int file = file_open(f->path, FILE_SECRET, KEY_BYTES, error), fd;

    *id = id_of(file);
    if (file < 0 || f->of_minter)
        return file;
    fd = copy_secret(file, memory, error, f->path);
    close(file);
    return fd;
}

/* A certificate and its key in one file: what is public goes to all workers, the CA's certificate among it. */
static bool holds_key(struct span text)
{
    static const char mark[] = "PRIVATE KEY-----";

    return memmem(text.at, text.len, mark, sizeof(mark) - 1) != NULL;
}

/* Certificates, CAs and CRLs decide who is believed; the system's own bundle is the system's. */
static int open_public(const struct conf_tls_file *f, char *error)
{
    size_t len = 0;
    char *text = file_read(f->path, f->optional ? FILE_SYSTEM : FILE_TRUSTED, TLS_BYTES, &len, error);
    bool secret = text != NULL && holds_key(span_of(text, len));
    int fd = text != NULL && len > 0 && !secret ? memfd_sealed("postern-tls", span_of(text, len)) : -1;

    if (text != NULL && fd < 0)
        snprintf(error, FILE_ERROR, "%s: %s", f->path,
                 secret    ? "holds a private key, too, which belongs in a file of its own"
                 : len > 0 ? strerror(errno)
                           : "the file is empty");
    if (secret)
        explicit_bzero(text, len);
    free(text);
    return fd;
}

static bool read_file(struct blueprint *b, size_t i, struct file_id *id, FILE *errors, FILE *warnings)
{
    const struct conf_tls_file *f = &b->conf->tls_files[i];
    char error[FILE_ERROR];

    b->tls_fds[i] = is_secret(f) ? open_secret(f, &b->tls_secrets[i], id, error) : open_public(f, error);
    if (b->tls_fds[i] >= 0)
        return true;
    if (!f->optional)
        return complain(errors, b->conf, f, error);
    fprintf(warnings, "%s: tls.trust: %s: servers cannot be verified, so none can be spoken with by TLS: name a file with CAs\n",
            b->conf->file, error);
    b->tls_fds[i] = memfd_sealed("postern-tls", span_of(NULL, 0));
    return b->tls_fds[i] >= 0 || complain(errors, b->conf, f, strerror(errno));
}

/* The CA's key must not come to the workers under another name. */
static bool check_minter_key(const struct blueprint *b, const struct file_id *ids, FILE *errors)
{
    const struct conf *conf = b->conf;
    int key = conf->tls.inspect_key;

    for (size_t i = 0; key >= 0 && i < conf->tls_file_count; i++)
        if (is_secret(&conf->tls_files[i]) && !conf->tls_files[i].of_minter && ids[i].inode == ids[key].inode &&
            ids[i].device == ids[key].device)
            return complain(errors, conf, &conf->tls_files[i], "is the key of tls.inspect_key: the CA's key must be its alone");
    return true;
}

bool generation_tls_read(struct blueprint *b, FILE *errors, FILE *warnings)
{
    size_t count = b->conf->tls_file_count;
    struct file_id *ids = calloc(count + 1, sizeof(*ids));
    bool good = true;

    b->tls_fds = malloc((count + 1) * sizeof(*b->tls_fds));
    b->tls_secrets = calloc(count + 1, sizeof(*b->tls_secrets));
    b->tls_ends = calloc(count + 1, sizeof(*b->tls_ends));
    for (size_t i = 0; b->tls_fds != NULL && i < count; i++)
        b->tls_fds[i] = -1;
    if (b->tls_fds == NULL || b->tls_secrets == NULL || b->tls_ends == NULL || ids == NULL) {
        fprintf(errors, "%s\n", strerror(ENOMEM));
        free(ids);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        good = read_file(b, i, &ids[i], errors, warnings) && good;
    good = good && check_minter_key(b, ids, errors);
    free(ids);
    return good && generation_tls_check(b, errors, warnings);
}

void generation_tls_free(struct blueprint *b)
{
    for (size_t i = 0; b->conf != NULL && b->tls_fds != NULL && b->tls_secrets != NULL && i < b->conf->tls_file_count; i++) {
        struct span s = b->tls_secrets[i];

        if (s.len > 0) {
            explicit_bzero((char *)s.at, s.len);
            munmap((char *)s.at, s.len);
        }
        if (b->tls_fds[i] >= 0)
            close(b->tls_fds[i]);
    }
    free(b->tls_fds);
    free(b->tls_secrets);
    free(b->tls_ends);
    b->tls_fds = NULL;
    b->tls_secrets = NULL;
    b->tls_ends = NULL;
}

/* The child that looks. */

struct look {
    const struct conf *conf;
    FILE *out; /* each line begins with what it is: 'E', 'W', or 'U' and a file's index and the end of its certificate */
};

static void say(struct look *l, char what, unsigned line, const char *key, const char *text)
{
    fputc(what, l->out);
    put_place(l->out, l->conf, line, key);
    fprintf(l->out, "%s\n", text);
}

static void say_error(void *arg, unsigned line, const char *key, const char *text)
{
    say(arg, 'E', line, key, text);
}

static void say_warning(void *arg, unsigned line, const char *key, const char *text)
{
    say(arg, 'W', line, key, text);
}

static void say_end(void *arg, int file, int64_t until)
{
    const struct look *l = arg;

    fprintf(l->out, "U%d %lld\n", file, (long long)until);
}

static struct span map_file(int fd)
{
    struct stat st;
    void *memory = fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0)
                                                                    : MAP_FAILED;

    return memory == MAP_FAILED ? span_of(NULL, 0) : span_of(memory, (size_t)st.st_size);
}

_Noreturn static void look(const struct blueprint *b, int pipe)
{
    size_t count = b->conf->tls_file_count;
    struct look l = { b->conf, fdopen(pipe, "w") };
    struct span *files = calloc(count + 1, sizeof(*files));
    struct secure_inputs in = {
        .conf = b->conf,
        .files = files,
        .keylog = -1,
        .complain = say_error,
        .warn = say_warning,
        .tell_end = say_end,
        .arg = &l,
    };

    alarm(CHECK_SECONDS);
    clock_tick();
    if (l.out == NULL || files == NULL || !tls_start())
        _exit(2);
    for (size_t i = 0; i < count; i++)
        if (!b->conf->tls_files[i].of_minter)
            files[i] = map_file(b->tls_fds[i]);
    if (secure_new(&in) == NULL)
        _exit(fflush(l.out) == 0 ? 1 : 2);
    _exit(fflush(l.out) == 0 ? 0 : 2);
}

static void take_end(const struct blueprint *b, const char *text)
{
    char *end;
    unsigned long file = strtoul(text, &end, 10);

    if (*end == ' ' && file < b->conf->tls_file_count)
        b->tls_ends[file] = strtoll(end, NULL, 10);
}

/* What the child says, line by line to where it belongs. */
static void take_lines(const struct blueprint *b, FILE *in, FILE *errors, FILE *warnings)
{
    char *line = NULL;
    size_t room = 0;

    while (getline(&line, &room, in) > 1)
        if (line[0] == 'U')
            take_end(b, line + 1);
        else
            fputs(line + 1, line[0] == 'E' ? errors : warnings);
    free(line);
}

bool generation_tls_check(const struct blueprint *b, FILE *errors, FILE *warnings)
{
    int ends[2], status = -1;
    FILE *in;
    pid_t child;

    if (b->conf->tls_file_count == 0)
        return true;
    fflush(errors);
    fflush(warnings);
    child = pipe2(ends, O_CLOEXEC) == 0 ? fork() : -1;
    if (child == 0)
        look(b, ends[1]);
    if (child > 0) {
        close(ends[1]);
        in = fdopen(ends[0], "r");
        if (in != NULL) {
            take_lines(b, in, errors, warnings);
            fclose(in);
        }
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
    }
    if (child < 0 || !WIFEXITED(status) || WEXITSTATUS(status) > 1)
        fprintf(errors, "%s: tls: the files could not be checked\n", b->conf->file);
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The keys that only the monitor may wipe go out read-only. */
static int descriptor_to_send(const struct blueprint *b, size_t i)
{
    return is_secret(&b->conf->tls_files[i]) ? memfd_read_only(b->tls_fds[i]) : dup(b->tls_fds[i]);
}

static bool send_batch(int ipc, const uint32_t *indices, const int *fds, size_t count)
{
    bool good = count == 0 || ipc_send_fds(ipc, IPC_TLS_FILES, indices, count * sizeof(indices[0]), fds, count);
    int saved = errno;

    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    errno = saved;
    return good;
}

bool blueprint_send_tls(const struct blueprint *b, int ipc)
{
    uint32_t indices[IPC_FDS];
    int fds[IPC_FDS];
    size_t count = 0;
    bool good = true;

    for (size_t i = 0; good && i < b->conf->tls_file_count; i++) {
        if (b->conf->tls_files[i].of_minter)
            continue;
        indices[count] = (uint32_t)i;
        fds[count] = descriptor_to_send(b, i);
        good = fds[count] >= 0;
        count += good;
        if (count == IPC_FDS) {
            good = send_batch(ipc, indices, fds, count);
            count = 0;
        }
    }
    good = send_batch(ipc, indices, fds, count) && good;
    return good && ipc_send_fds(ipc, IPC_KEYLOG, NULL, 0, &b->keylog_fd, b->keylog_fd >= 0 ? 1 : 0);
}

bool blueprint_send_tls_ends(const struct blueprint *b, int ipc)
{
    bool good = true;

    for (uint64_t first = 0; good && first < b->conf->tls_file_count; first += ENDS_SENT) {
        size_t left = b->conf->tls_file_count - first, count = left < ENDS_SENT ? left : ENDS_SENT;

        good = ipc_send_two(ipc, IPC_TLS_ENDS, &first, sizeof(first),
                            span_of((const char *)&b->tls_ends[first], count * sizeof(b->tls_ends[0])));
    }
    return good;
}

bool blueprint_open_keylog(struct blueprint *b, char *error)
{
    const char *path = b->conf->tls.keylog;

    if (path == NULL || b->keylog_fd >= 0)
        return true;
    b->keylog_fd = file_open_secrets(path, error);
    return b->keylog_fd >= 0 || conf_blame(b->conf, b->conf->lines.keylog, "tls.keylog", error, FILE_ERROR);
}

bool blueprint_check_minter(const struct blueprint *b, FILE *errors)
{
    const struct conf_tls *tls = &b->conf->tls;
    struct span certificate, key;
    char error[TLS_ERROR];
    struct ca *ca;

    if (tls->inspect_certificate < 0 || tls->inspect_key < 0)
        return true;
    certificate = map_file(b->tls_fds[tls->inspect_certificate]);
    key = map_file(b->tls_fds[tls->inspect_key]);
    ca = ca_open(certificate, key, (int64_t)time(NULL), error);
    ca_free(ca);
    if (certificate.len > 0)
        munmap((char *)certificate.at, certificate.len);
    if (key.len > 0)
        munmap((char *)key.at, key.len);
    return ca != NULL || complain(errors, b->conf, &b->conf->tls_files[tls->inspect_key], error);
}
