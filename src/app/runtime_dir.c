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
#define SOCKET_NEW "control.new" /* not longer than SOCKET_NAME: a path that is short enough for one is so for both */
#define PID_NAME "posternd.pid"
#define PID_NEW "posternd.new"

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

static const char *remove_stale(int folder, const char *name)
{
    struct stat st;

    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? NULL : strerror(errno);
    if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
        return "something that is no socket of ours is in its place";
    return unlinkat(folder, name, 0) < 0 ? strerror(errno) : NULL;
}

static const char *socket_bind(struct runtime_dir *r, const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    mode_t mask;
    int bound;

    if (strlen(r->path) >= sizeof(sa.sun_path))
        return "the path is too long for a socket (107 bytes); set runtime_dir";
    memcpy(sa.sun_path, path, strlen(path) + 1);
    r->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->socket < 0)
        return strerror(errno);
    mask = umask(0177);
    bound = bind(r->socket, (struct sockaddr *)&sa, sizeof(sa));
    umask(mask);
    return bound < 0 || listen(r->socket, BACKLOG) < 0 ? strerror(errno) : NULL;
}

static void name_folder(char folder[PATH_MAX], const char *configured)
{
    if (configured != NULL)
        snprintf(folder, PATH_MAX, "%s", configured);
    else
        socket_default_dir(folder);
}

/* What has this name; a number that no file has if nothing does. */
static ino_t find_file(int folder, const char *name)
{
    struct stat st;

    return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
}

/* The control socket as `name`, in the folder that is open. */
static bool open_socket(struct runtime_dir *r, const char *folder, const char *name, char *error, size_t size)
{
    char path[PATH_MAX];
    const char *fault;

    if (snprintf(r->path, sizeof(r->path), "%s/" SOCKET_NAME, folder) >= (int)sizeof(r->path) ||
        snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
        fault = "the path is too long";
    else if ((fault = remove_stale(r->folder, name)) == NULL && (fault = socket_bind(r, path)) == NULL) {
        r->socket_file = find_file(r->folder, name);
        return true;
    }
    snprintf(error, size, "control socket: %s: %s", r->path, fault);
    if (r->socket >= 0)
        close(r->socket);
    close(r->folder);
    r->folder = r->socket = -1;
    return false;
}

bool runtime_dir_open(struct runtime_dir *r, const char *configured, char *error, size_t size)
{
    char folder[PATH_MAX];
    const char *fault;

    *r = (struct runtime_dir){ .folder = -1, .socket = -1 };
    name_folder(folder, configured);
    fault = folder_open(r, folder, configured == NULL);
    if (fault == NULL)
        return open_socket(r, folder, SOCKET_NAME, error, size);
    snprintf(error, size, "runtime_dir: %s: %s", folder, fault);
    return false;
}

bool runtime_dir_is(int fd, const char *configured)
{
    char folder[PATH_MAX];
    struct stat there, ours;

    name_folder(folder, configured);
    return stat(folder, &there) == 0 && fstat(fd, &ours) == 0 && there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
}

bool runtime_dir_inherit(struct runtime_dir *r, int fd, const char *configured, char *error, size_t size)
{
    char folder[PATH_MAX];

    name_folder(folder, configured);
    *r = (struct runtime_dir){ .folder = fd, .socket = -1 };
    return open_socket(r, folder, SOCKET_NEW, error, size);
}

static bool write_pid(int folder)
{
    int fd;

    (void)unlinkat(folder, PID_NEW, 0);
    fd = openat(folder, PID_NEW, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    return close(fd) == 0 && renameat(folder, PID_NEW, folder, PID_NAME) == 0;
}

bool runtime_dir_publish(struct runtime_dir *r)
{
    bool good = find_file(r->folder, SOCKET_NEW) == 0 || renameat(r->folder, SOCKET_NEW, r->folder, SOCKET_NAME) == 0;

    good = write_pid(r->folder) && good;
    r->pid_file = find_file(r->folder, PID_NAME);
    return good;
}

/* Only what is ours still: another posternd may have taken over. */
static void remove_ours(int folder, const char *name, ino_t ours)
{
    if (ours != 0 && find_file(folder, name) == ours)
        (void)unlinkat(folder, name, 0);
}

void runtime_dir_close(struct runtime_dir *r)
{
    if (r->folder < 0)
        return;
    remove_ours(r->folder, SOCKET_NAME, r->socket_file);
    remove_ours(r->folder, SOCKET_NEW, r->socket_file);
    remove_ours(r->folder, PID_NAME, r->pid_file);
    close(r->socket);
    close(r->folder);
    r->folder = r->socket = -1;
}
