/* SPDX-License-Identifier: ISC */
/*
 * Files, for the monitor: the only process that opens any. What decides over traffic (configuration, hosts files) is only read if
 * nobody but root and we could have written it. The path is resolved once and what is then opened is asked what it is, so that a
 * link that changes in between leads to an error and not to another file.
 */
#include "app/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS_SIZE (F_SEAL_SHRINK | F_SEAL_GROW)

static bool refuse(char *error, const char *path, const char *why)
{
    snprintf(error, FILE_ERROR, "%s: %s", path, why);
    return false;
}

static bool is_ours(const struct stat *st)
{
    return st->st_uid == 0 || st->st_uid == geteuid();
}

/* The folder that holds the file: who can write there can put another file in its place. */
static bool folder_check(const char *folder, bool nearest, char *error)
{
    struct stat st;
    mode_t forbidden = nearest ? S_IWGRP | S_IWOTH : S_IWOTH;

    if (stat(folder, &st) < 0)
        return refuse(error, folder, strerror(errno));
    if ((st.st_mode & forbidden) != 0 && (st.st_mode & S_ISVTX) == 0)
        return refuse(error, folder, "others can write in this directory (chmod go-w, or keep the file elsewhere)");
    if (nearest && !is_ours(&st))
        return refuse(error, folder, "this directory belongs to another user than root and the one who starts posternd");
    return true;
}

static bool folders_check(const char *real, char *error)
{
    char folder[PATH_MAX];
    bool nearest = true;
    char *slash;

    snprintf(folder, sizeof(folder), "%s", real);
    while ((slash = strrchr(folder, '/')) != NULL) {
        slash[slash == folder ? 1 : 0] = '\0';
        if (!folder_check(folder, nearest, error))
            return false;
        nearest = false;
        if (slash == folder)
            break;
    }
    return true;
}

static bool file_check(const char *path, int fd, enum file_trust trust, size_t max, char *error)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return refuse(error, path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return refuse(error, path, "not a regular file");
    if (st.st_size > 0 && (size_t)st.st_size > max)
        return refuse(error, path, "too large");
    if (trust == FILE_SYSTEM)
        return true;
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return refuse(error, path, "others can write this file (chmod go-w)");
    if (trust == FILE_SECRET && (st.st_mode & (S_IRGRP | S_IROTH)) != 0)
        return refuse(error, path, "others can read this key (chmod 600)");
    if (!is_ours(&st))
        return refuse(error, path, "this file belongs to another user than root and the one who starts posternd");
    return true;
}

/* Reads to the end, however long the file says it is: those of /proc say 0. */
static char *read_all(const char *path, int fd, size_t max, size_t *len, char *error)
{
    size_t room = 4096, used = 0;
    char *text = malloc(room + 1), *more;
    ssize_t got = 0;

    while (text != NULL && (got = read(fd, text + used, room - used)) > 0) {
        used += (size_t)got;
        if (used < room)
            continue;
        room *= 2;
        more = used > max ? NULL : realloc(text, room + 1);
        if (more == NULL) {
            (void)refuse(error, path, used > max ? "too large" : strerror(ENOMEM));
            free(text);
            return NULL;
        }
        text = more;
    }
    if (text == NULL || got < 0 || used > max) {
        (void)refuse(error, path, used > max ? "too large" : strerror(errno));
        free(text);
        return NULL;
    }
    text[used] = '\0';
    *len = used;
    return text;
}

int file_open(const char *path, enum file_trust trust, size_t max, char *error)
{
    char real[PATH_MAX];
    int fd;

    if (realpath(path, real) == NULL) {
        int saved = errno;

        (void)refuse(error, path, strerror(saved));
        errno = saved;
        return -1;
    }
    if (trust != FILE_SYSTEM && !folders_check(real, error)) {
        errno = EPERM;
        return -1;
    }
    fd = open(real, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        (void)refuse(error, path, strerror(errno));
        return -1;
    }
    if (file_check(path, fd, trust, max, error))
        return fd;
    close(fd);
    errno = EPERM;
    return -1;
}

char *file_read(const char *path, enum file_trust trust, size_t max, size_t *len, char *error)
{
    int fd = file_open(path, trust, max, error);
    char *text;

    if (fd < 0)
        return NULL;
    text = read_all(path, fd, max, len, error);
    close(fd);
    errno = EPERM;
    return text;
}

int file_open_secrets(const char *path, char *error)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);

    if (fd < 0)
        (void)refuse(error, path, strerror(errno));
    else if (!file_check(path, fd, FILE_SECRET, SIZE_MAX, error)) {
        close(fd);
        return -1;
    }
    return fd;
}

int file_open_log(const char *path, char *error)
{
    int fd;

    if (strcmp(path, "-") == 0)
        fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    else
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
    if (fd < 0)
        (void)refuse(error, path, strerror(errno));
    return fd;
}

int memfd_sized(const char *name, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, SEALS_SIZE) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

bool memfd_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, SEALS_SIZE | F_SEAL_WRITE | F_SEAL_SEAL) == 0;
}

int memfd_sealed(const char *name, struct span content)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    while (fd >= 0 && content.len > 0) {
        ssize_t put = write(fd, content.at, content.len);

        if (put <= 0) {
            close(fd);
            return -1;
        }
        content = span_skip(content, (size_t)put);
    }
    if (fd >= 0 && !memfd_seal(fd)) {
        close(fd);
        return -1;
    }
    return fd;
}

int memfd_read_only(int fd)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}
