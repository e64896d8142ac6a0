/* SPDX-License-Identifier: ISC */
/*
 * The runtime folder. The lock is on the folder itself (flock(2)), so that it dies with the monitor and leaves no file behind. Only
 * with the lock in hand is a socket that lies there removed: it is a dead posternd's. A symbolic link, a file, or somebody else's
 * socket in its place is refused and left alone.
 */
#include "app/runtime_dir.h"

#include "app/socket_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

static bool is_ours(const struct stat *st)
{
    return st->st_uid == geteuid() || (st->st_uid == 0 && geteuid() != 0);
}

/* A default folder is ours alone; a configured one may be in a place that others can see. */
static const char *folder_fault(int fd, bool is_default)
{
    struct stat st;
    mode_t forbidden = is_default ? S_IRWXG | S_IRWXO : S_IWGRP | S_IWOTH;

    if (fstat(fd, &st) < 0)
        return strerror(errno);
    if (is_default ? st.st_uid != geteuid() : !is_ours(&st))
        return "the folder belongs to another user";
    if ((st.st_mode & forbidden) != 0 && (is_default || (st.st_mode & S_ISVTX) == 0))
        return is_default ? "the folder must be ours alone (chmod 0700)" : "others can write in this folder (chmod go-w)";
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? "another posternd runs here: end it first" : strerror(errno);
    return NULL;
}

static const char *folder_open(struct runtime_dir *r, const char *folder, bool is_default)
{
    const char *fault;

    if (mkdir(folder, is_default ? 0700 : 0755) < 0 && errno != EEXIST)
        return strerror(errno);
    r->folder = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (r->folder < 0)
        return errno == ELOOP || errno == ENOTDIR ? "a symbolic link or a file is in place of the folder" : strerror(errno);
    fault = folder_fault(r->folder, is_default);
    if (fault == NULL)
        return NULL;
    close(r->folder);
    r->folder = -1;
    return fault;
}

static const char *remove_stale(int folder)
{
    struct stat st;

    if (fstatat(folder, SOCKET_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? NULL : strerror(errno);
    if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
        return "something that is no socket of ours is in its place";
    return unlinkat(folder, SOCKET_NAME, 0) < 0 ? strerror(errno) : NULL;
}

static const char *socket_bind(struct runtime_dir *r)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    mode_t mask;
    int bound;

    if (strlen(r->path) >= sizeof(sa.sun_path))
        return "the path is too long for a socket (107 bytes); set runtime_dir";
    memcpy(sa.sun_path, r->path, strlen(r->path) + 1);
    r->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->socket < 0)
        return strerror(errno);
    mask = umask(0177);
    bound = bind(r->socket, (struct sockaddr *)&sa, sizeof(sa));
    umask(mask);
    return bound < 0 || listen(r->socket, BACKLOG) < 0 ? strerror(errno) : NULL;
}

bool runtime_dir_open(struct runtime_dir *r, const char *configured, char *error, size_t size)
{
    char folder[PATH_MAX];
    const char *fault;

    r->folder = r->socket = -1;
    if (configured != NULL)
        snprintf(folder, sizeof(folder), "%s", configured);
    else
        socket_default_dir(folder);
    fault = folder_open(r, folder, configured == NULL);
    if (fault != NULL) {
        snprintf(error, size, "runtime_dir: %s: %s", folder, fault);
        return false;
    }
    if (snprintf(r->path, sizeof(r->path), "%s/%s", folder, SOCKET_NAME) >= (int)sizeof(r->path))
        fault = "the path is too long";
    else if ((fault = remove_stale(r->folder)) == NULL && (fault = socket_bind(r)) == NULL)
        return true;
    snprintf(error, size, "control socket: %s: %s", r->path, fault);
    if (r->socket >= 0)
        close(r->socket);
    close(r->folder);
    return false;
}

void runtime_dir_close(struct runtime_dir *r)
{
    if (r->folder < 0)
        return;
    unlinkat(r->folder, SOCKET_NAME, 0);
    close(r->socket);
    close(r->folder);
    r->folder = r->socket = -1;
}
