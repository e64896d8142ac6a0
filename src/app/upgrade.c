/* SPDX-License-Identifier: ISC */
/*
 * The handover: written by a posternd whose binary is replaced, read by the one that follows. It is a text with a word and its
 * numbers a line, in an unnamed file; the environment says by which descriptors the file and the channel came. The reader believes
 * only its own parent, of its own user, and looks at each descriptor before it uses it: what is not as it should be ends the
 * attempt, and the old posternd goes on.
 */
#include "app/upgrade.h"

#include "app/files.h"
#include "app/listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_LINE "postern-handover 2"
#define TEXT_MAX (1u << 20)

uint64_t upgrade_layout(void)
{
    static const struct hash_key key = { 0x706f737465726e32, 0x7570677261646521 };
    const uint64_t facts[] = { shard_bytes(1),
                               shard_bytes(2),
                               sizeof(struct row),
                               sizeof(struct record),
                               sizeof(struct tls_facts),
                               offsetof(struct row, host),
                               COUNTERS,
                               R_COUNT,
                               PHASE_COUNT,
                               ROW_STATE_COUNT };

    return hash_bytes(&key, facts, sizeof(facts));
}

static void write_lines(const struct handover *h, FILE *out)
{
    fprintf(out, FIRST_LINE "\ngeneration %" PRIu64 "\nnumber %" PRIu64 "\nfolder %d\n", h->generation, h->number, h->folder);
    if (h->admin >= 0)
        fprintf(out, "admin %d\n", h->admin);
    if (h->lock >= 0)
        fprintf(out, "lock %d\n", h->lock);
    if (h->table[0] != '\0')
        fprintf(out, "table %s\n", h->table);
    for (size_t i = 0; i < h->listening_count; i++)
        fprintf(out, "listen %d\n", h->listening[i]);
    fprintf(out, "shards %" PRIu64 " %u\n", h->layout, h->rows);
    for (unsigned i = 0; i < h->writers; i++)
        fprintf(out, "shard %d\n", h->shards[i]);
}

int upgrade_write(const struct handover *h)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    int fd = -1;

    if (out == NULL)
        return -1;
    write_lines(h, out);
    if (fclose(out) == 0)
        fd = memfd_sealed("postern-handover", span_of(text, len));
    free(text);
    return fd;
}

void upgrade_each_fd(const struct handover *h, void (*fn)(int fd, void *arg), void *arg)
{
    const int single[] = { h->folder, h->admin, h->lock };

    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++)
        if (single[i] >= 0)
            fn(single[i], arg);
    for (size_t i = 0; i < h->listening_count; i++)
        fn(h->listening[i], arg);
    for (unsigned i = 0; i < h->writers; i++)
        if (h->shards[i] >= 0)
            fn(h->shards[i], arg);
}

static bool is_kind(int fd, mode_t kind)
{
    struct stat st;

    return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

static bool take_listening(struct handover *h, int fd)
{
    int *more = realloc(h->listening, (h->listening_count + 1) * sizeof(*more));
    struct addr address;

    if (more == NULL || !listener_find(fd, &address)) {
        h->listening = more != NULL ? more : h->listening;
        return false;
    }
    h->listening = more;
    h->listening[h->listening_count++] = fd;
    return true;
}

static bool take_shard(struct handover *h, int fd)
{
    struct stat st;

    if (h->writers == WRITERS_MAX || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY ||
        (h->layout == upgrade_layout() && (uint64_t)st.st_size < shard_bytes(h->rows)))
        return false;
    h->shards[h->writers++] = fd;
    return true;
}

static bool take_admin(struct handover *h, int fd)
{
    struct addr address;

    h->admin = fd;
    return listener_find(fd, &address);
}

/* The next word of a line, behind which `rest` begins then. */
static struct span next_word(struct span *rest)
{
    const char *space = rest->len > 0 ? memchr(rest->at, ' ', rest->len) : NULL;
    struct span word = span_of(rest->at, space != NULL ? (size_t)(space - rest->at) : rest->len);

    *rest = span_skip(*rest, space != NULL ? word.len + 1 : word.len);
    return word;
}

static bool next_number(struct span *rest, uint64_t max, uint64_t *out)
{
    return span_u64(next_word(rest), max, out);
}

static bool next_fd(struct span *rest, int *out)
{
    uint64_t number;

    if (!next_number(rest, INT32_MAX, &number) || number <= STDERR_FILENO)
        return false;
    *out = (int)number;
    return true;
}

static bool take_lock(struct handover *h, int fd)
{
    h->lock = fd;
    return is_kind(fd, S_IFSOCK);
}

static bool take_folder(struct handover *h, int fd)
{
    h->folder = fd;
    return is_kind(fd, S_IFDIR) && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

static bool take_layout(struct handover *h, struct span *rest)
{
    uint64_t rows;

    if (!next_number(rest, UINT64_MAX, &h->layout) || !next_number(rest, UINT32_MAX, &rows))
        return false;
    h->rows = (uint32_t)rows;
    return true;
}

static const struct {
    const char *word;
    bool (*take)(struct handover *h, int fd);
} descriptors[] = {
    { "folder", take_folder }, { "lock", take_lock }, { "admin", take_admin }, { "listen", take_listening }, { "shard", take_shard }
};

/* One line; false: it is not understood, or not true. */
static bool take_line(struct handover *h, const char *line)
{
    struct span rest = span_str(line), word = next_word(&rest);
    int fd;

    if (span_eq(word, SPAN("generation")))
        return next_number(&rest, UINT64_MAX, &h->generation);
    if (span_eq(word, SPAN("number")))
        return next_number(&rest, UINT64_MAX, &h->number);
    if (span_eq(word, SPAN("shards")))
        return take_layout(h, &rest);
    if (span_eq(word, SPAN("table")))
        return span_cstr(rest, h->table, sizeof(h->table));
    for (size_t i = 0; i < sizeof(descriptors) / sizeof(descriptors[0]); i++)
        if (span_eq(word, span_str(descriptors[i].word)))
            return next_fd(&rest, &fd) && descriptors[i].take(h, fd);
    return false;
}

static bool take_text(struct handover *h, char *text, char *error, size_t size)
{
    char *rest = text, *line = strsep(&rest, "\n");

    if (strcmp(line, FIRST_LINE) != 0) {
        snprintf(error, size, "the running posternd passes on what this one does not understand: stop it and start this one");
        return false;
    }
    while ((line = strsep(&rest, "\n")) != NULL)
        if (*line != '\0' && !take_line(h, line)) {
            snprintf(error, size, "what the running posternd passes on is not what it says: %.60s", line);
            return false;
        }
    return true;
}

static bool read_text(struct handover *h, int fd, char *error, size_t size)
{
    char *text = calloc(1, TEXT_MAX + 1);
    ssize_t len = text != NULL ? pread(fd, text, TEXT_MAX, 0) : -1;
    bool good = false;

    if (len <= 0)
        snprintf(error, size, "what the running posternd passes on cannot be read");
    else
        good = take_text(h, text, error, size);
    free(text);
    return good;
}

static void close_on_exec(int fd, void *arg)
{
    (void)arg;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* From a process of the same user, whose number becomes `pid`: who starts us is not our parent. */
static bool is_trusted(int channel, pid_t *pid)
{
    struct ucred who = { .pid = 0 };
    socklen_t len = sizeof(who), word = sizeof(int);
    int type = 0;

    if (!is_kind(channel, S_IFSOCK) || getsockopt(channel, SOL_SOCKET, SO_TYPE, &type, &word) != 0 || type != SOCK_SEQPACKET ||
        getsockopt(channel, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
        return false;
    *pid = who.pid;
    return who.pid > 0 && who.uid == geteuid();
}

bool upgrade_read(struct handover *out, char *error, size_t size)
{
    const char *value = getenv(UPGRADE_VARIABLE);
    struct span rest = span_str(value != NULL ? value : "");
    int channel = -1, text = -1;
    bool good;

    *out = (struct handover){ .channel = -1, .folder = -1, .admin = -1, .lock = -1 };
    if (value == NULL)
        return true;
    good = next_fd(&rest, &channel) && next_fd(&rest, &text) && is_trusted(channel, &out->pid);
    (void)unsetenv(UPGRADE_VARIABLE);
    if (!good) {
        snprintf(error, size, UPGRADE_VARIABLE " is set, but not by a posternd that is replaced: unset it");
        return false;
    }
    close_on_exec(channel, NULL);
    out->channel = channel;
    good = read_text(out, text, error, size);
    close(text);
    upgrade_each_fd(out, close_on_exec, NULL);
    return good;
}

static void close_one(int fd, void *arg)
{
    (void)arg;
    close(fd);
}

void upgrade_forget(struct handover *h)
{
    upgrade_each_fd(h, close_one, NULL);
    free(h->listening);
    h->listening = NULL;
    h->listening_count = 0;
    h->writers = 0;
    h->folder = h->admin = h->lock = -1;
}

bool upgrade_say(int channel, enum upgrade_word word, const char *text)
{
    char message[1 + UPGRADE_TEXT];
    bool said;

    message[0] = (char)word;
    snprintf(message + 1, sizeof(message) - 1, "%s", text);
    said = send(channel, message, 1 + strlen(message + 1), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
    explicit_bzero(message, sizeof(message));
    return said;
}

int upgrade_hear(int channel, enum upgrade_word *word, char text[UPGRADE_TEXT])
{
    char message[1 + UPGRADE_TEXT];
    ssize_t got;

    do
        got = recv(channel, message, sizeof(message) - 1, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return got < 0 && errno == EAGAIN ? 0 : -1;
    message[got] = '\0';
    *word = (enum upgrade_word)message[0];
    snprintf(text, UPGRADE_TEXT, "%s", message + 1);
    explicit_bzero(message, sizeof(message));
    return 1;
}

size_t upgrade_numbers(const char *text, uint64_t *out, size_t max)
{
    struct span rest = span_str(text);
    size_t count = 0;

    while (rest.len > 0)
        if (count == max || !next_number(&rest, UINT64_MAX, &out[count++]))
            return 0;
    return count;
}
