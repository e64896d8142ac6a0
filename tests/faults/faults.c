/* SPDX-License-Identifier: ISC */
/*
 * Makes what never fails fail: a library to be preloaded (tests/faults/shim.py) that stands before allocations, system calls and
 * the wall clock of a program, and asks a page of shared memory (POSTERN_FAULTS names its file) whether the next one is to fail.
 * Nothing fails while the page is zero, and nothing in processes other than the one it names.
 *
 * It works with and without the address sanitizer: what does not fail is done by whoever is next, the sanitizer or the C library.
 * Errors are those that the manual pages give for each call. EAGAIN is honest: on a descriptor that is watched for edges the edge
 * comes again, as it would where the call really would have blocked.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS 65536
#define CALLER __builtin_return_address(0)

/* Written by the test but for the counts; shim.py has the same layout. */
struct page {
    int64_t pid;          /* whose calls fail; 0: everybody's */
    uint64_t alloc_first; /* this allocation fails, counted from 1; 0: none */
    uint64_t alloc_run;   /* and so many behind it */
    uint64_t alloc_every; /* and each whose number is a multiple of this; 0: none */
    uint64_t allocs;      /* so many were made since the test set this to 0 */
    uint64_t allocs_failed;
    uint64_t per_mille; /* so many system calls of a thousand fail */
    uint64_t random;    /* where the dice are */
    uint64_t calls_failed;
    int64_t wall_seconds; /* added to the wall clock */
    uint64_t file;        /* the inode of a file that can be read */
    int64_t file_to;      /* so far, and not beyond; 0: all of it */
    uint64_t reads_failed;
};

static struct page *page;
static struct {
    uintptr_t from, to;
} libconfig;
/* What each descriptor is watched for, so that an edge can be had again. */
static struct {
    int epoll;
    struct epoll_event event;
} watched[DESCRIPTORS];

/* Of the sanitizer, if there is one. */
void *__interceptor_malloc(size_t size) __attribute__((weak));
void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));
void *__interceptor_realloc(void *old, size_t size) __attribute__((weak));
void *__interceptor_memalign(size_t alignment, size_t size) __attribute__((weak));
/* Of the C library. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static void *next_of(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (found == NULL)
        abort();
    return found;
}

static int find_libconfig(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (int i = 0; strstr(info->dlpi_name, "/libconfig.so") != NULL && i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD || (info->dlpi_phdr[i].p_flags & PF_X) == 0)
            continue;
        libconfig.from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        libconfig.to = libconfig.from + info->dlpi_phdr[i].p_memsz;
    }
    return 0;
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("POSTERN_FAULTS");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *memory = fd >= 0 ? mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

    if (fd >= 0)
        close(fd);
    dl_iterate_phdr(find_libconfig, NULL);
    if (memory != MAP_FAILED)
        page = memory;
}

static bool is_meant(void)
{
    return page->pid == 0 || page->pid == getpid();
}

/* Allocations. */

static bool is_chosen(uint64_t number)
{
    if (page->alloc_every != 0 && number % page->alloc_every == 0)
        return true;
    return page->alloc_first != 0 && number >= page->alloc_first && number - page->alloc_first <= page->alloc_run;
}

static bool alloc_fails(const void *caller)
{
    if (page == NULL || (page->alloc_first == 0 && page->alloc_every == 0) || !is_meant())
        return false;
    if (((uintptr_t)caller >= libconfig.from && (uintptr_t)caller < libconfig.to) || !is_chosen(++page->allocs))
        return false;
    page->allocs_failed++;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    if (alloc_fails(CALLER))
        return NULL;
    return __interceptor_malloc != NULL ? __interceptor_malloc(size) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (alloc_fails(CALLER))
        return NULL;
    return __interceptor_calloc != NULL ? __interceptor_calloc(count, size) : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    if (alloc_fails(CALLER))
        return NULL;
    return __interceptor_realloc != NULL ? __interceptor_realloc(old, size) : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
    size_t all;

    if (__builtin_mul_overflow(count, size, &all) || alloc_fails(CALLER))
        return NULL;
    return __interceptor_realloc != NULL ? __interceptor_realloc(old, all) : __libc_realloc(old, all);
}

static void *aligned(size_t alignment, size_t size)
{
    return __interceptor_memalign != NULL ? __interceptor_memalign(alignment, size) : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return alloc_fails(CALLER) ? NULL : aligned(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *memory = alloc_fails(CALLER) ? NULL : aligned(alignment, size);

    if (memory == NULL)
        return ENOMEM;
    *out = memory;
    return 0;
}

/* A sanitizer's own would not ask us. */
static char *copy(const char *text, size_t len)
{
    char *made = __interceptor_malloc != NULL ? __interceptor_malloc(len + 1) : __libc_malloc(len + 1);

    if (made != NULL) {
        memcpy(made, text, len);
        made[len] = '\0';
    }
    return made;
}

char *strndup(const char *text, size_t max)
{
    return alloc_fails(CALLER) ? NULL : copy(text, strnlen(text, max));
}

char *strdup(const char *text)
{
    return alloc_fails(CALLER) ? NULL : copy(text, strlen(text));
}

char *__strdup(const char *text)
{
    return alloc_fails(CALLER) ? NULL : copy(text, strlen(text));
}

void *mmap(void *address, size_t len, int protection, int flags, int fd, off_t offset)
{
    static void *(*next)(void *, size_t, int, int, int, off_t);

    if (alloc_fails(CALLER))
        return MAP_FAILED;
    if (next == NULL)
        next = next_of("mmap");
    return next(address, len, protection, flags, fd, offset);
}

/* System calls. */

static uint64_t roll(void)
{
    page->random ^= page->random << 13;
    page->random ^= page->random >> 7;
    page->random ^= page->random << 17;
    return page->random;
}

static void have_edge_again(int fd)
{
    static int (*next)(int, int, int, struct epoll_event *);

    if (fd < 0 || fd >= DESCRIPTORS || (watched[fd].event.events & EPOLLET) == 0)
        return;
    if (next == NULL)
        next = next_of("epoll_ctl");
    (void)next(watched[fd].epoll, EPOLL_CTL_MOD, fd, &watched[fd].event);
}

/* The other end is the program's own, and does not go away before this one. */
static bool is_pair(int fd)
{
    struct sockaddr_storage address = { 0 };
    socklen_t len = sizeof(address);

    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 && address.ss_family == AF_UNIX;
}

static bool is_of_peer(int error)
{
    return error == EPIPE || error == ECONNRESET || error == ETIMEDOUT;
}

/* One of `errors`, which end with 0, is in errno if it returns true. */
static bool call_fails(int fd, const int *errors)
{
    size_t count = 0;
    int saved;

    if (page == NULL || page->per_mille == 0 || !is_meant() || roll() % 1000 >= page->per_mille)
        return false;
    while (errors[count] != 0)
        count++;
    errno = errors[roll() % count];
    saved = errno;
    if (is_of_peer(saved) && is_pair(fd))
        saved = ENOBUFS;
    if (saved == EAGAIN || saved == EINTR)
        have_edge_again(fd);
    else if (is_of_peer(saved))
        (void)shutdown(fd, SHUT_RDWR);
    errno = saved;
    page->calls_failed++;
    return true;
}

/* A call whose first parameter is a descriptor. */
#define CALL(type, name, parameters, arguments, fd, ...)                                                                           \
    type name parameters                                                                                                           \
    {                                                                                                                              \
        static const int errors[] = { __VA_ARGS__, 0 };                                                                            \
        static type(*next) parameters;                                                                                             \
                                                                                                                                   \
        if (call_fails(fd, errors))                                                                                                \
            return (type)-1;                                                                                                       \
        if (next == NULL)                                                                                                          \
            next = next_of(#name);                                                                                                 \
        return next arguments;                                                                                                     \
    }

CALL(int, accept4, (int fd, struct sockaddr *address, socklen_t *len, int flags), (fd, address, len, flags), fd, EINTR,
     ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EAGAIN)
CALL(int, connect, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len), fd, EADDRNOTAVAIL, ETIMEDOUT,
     ENOBUFS, ECONNREFUSED, ENETUNREACH)
CALL(int, bind, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len), fd, EADDRNOTAVAIL, EADDRINUSE, ENOMEM)
CALL(int, socket, (int domain, int kind, int protocol), (domain, kind, protocol), -1, EMFILE, ENFILE, ENOBUFS, ENOMEM)
CALL(ssize_t, recv, (int fd, void *data, size_t len, int flags), (fd, data, len, flags), fd, EINTR, EAGAIN, ENOBUFS, ENOMEM,
     ETIMEDOUT, ECONNRESET)
CALL(ssize_t, recvfrom, (int fd, void *data, size_t len, int flags, struct sockaddr *from, socklen_t *size),
     (fd, data, len, flags, from, size), fd, EINTR, EAGAIN, ENOBUFS, ENOMEM)
CALL(ssize_t, send, (int fd, const void *data, size_t len, int flags), (fd, data, len, flags), fd, EINTR, EAGAIN, EPIPE, ENOBUFS,
     ENOMEM, ETIMEDOUT, ECONNRESET)
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), fd, EINTR, EAGAIN, EPIPE, ENOBUFS,
     ENOMEM, ECONNRESET)
CALL(ssize_t, splice, (int in, off64_t *in_at, int out, off64_t *out_at, size_t len, unsigned flags),
     (in, in_at, out, out_at, len, flags), in, EINTR, ENOMEM, EPIPE, ECONNRESET)
CALL(int, pipe2, (int ends[2], int flags), (ends, flags), -1, EMFILE, ENFILE)
CALL(int, epoll_wait, (int fd, struct epoll_event *events, int max, int timeout), (fd, events, max, timeout), -1, EINTR)
CALL(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len), (fd, level, name, value, len), -1, ENOBUFS,
     ENOMEM)
CALL(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len), (fd, level, name, value, len), -1, ENOBUFS,
     ENOMEM)

int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    static const int errors[] = { ENOMEM, ENOSPC, 0 };
    static int (*next)(int, int, int, struct epoll_event *);

    if (what == EPOLL_CTL_ADD && call_fails(-1, errors))
        return -1;
    if (next == NULL)
        next = next_of("epoll_ctl");
    if (fd >= 0 && fd < DESCRIPTORS) {
        watched[fd].epoll = epoll;
        watched[fd].event = what == EPOLL_CTL_DEL ? (struct epoll_event){ 0 } : *event;
    }
    return next(epoll, what, fd, event);
}

/* A disk that fails in the middle of a file. */

static bool is_bad(int fd)
{
    struct stat st;

    if (page == NULL || page->file_to == 0 || !is_meant())
        return false;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == page->file;
}

ssize_t read(int fd, void *data, size_t len)
{
    static ssize_t (*next)(int, void *, size_t);
    off_t left = is_bad(fd) ? page->file_to - lseek(fd, 0, SEEK_CUR) : SSIZE_MAX;

    if (left <= 0) {
        page->reads_failed++;
        errno = EIO;
        return -1;
    }
    if (next == NULL)
        next = next_of("read");
    return next(fd, data, len < (size_t)left ? len : (size_t)left);
}

/* The wall clock. */

int clock_gettime(clockid_t id, struct timespec *out)
{
    static int (*next)(clockid_t, struct timespec *);
    int result;

    if (next == NULL)
        next = next_of("clock_gettime");
    result = next(id, out);
    if (result == 0 && page != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        out->tv_sec += page->wall_seconds;
    return result;
}

time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){ .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000 };
    return 0;
}
