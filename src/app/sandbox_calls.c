/* SPDX-License-Identifier: ISC */
/*
 * The system calls that a child may make: lists by the kind of process, with their arguments where these make a difference.
 * Everything else ends the process with SIGSYS, before the kernel does anything. What only a start needs is not in the lists: by
 * then the door is still open (app/privileges.c).
 *
 * No list has open, bind, listen, kill, anything that makes a process or a mapping that can be executed; filter's are the
 * exceptions, and named there. That nobody but filter may bind also keeps a socket that has a foreign address (of a transparent
 * listener, or made by filter) from taking another one. connect(2) to no address (AF_UNSPEC) lets go of one; a filter sees the
 * pointer and not what it points to, so that cannot be told from another connect.
 *
 * What is called with each request or frame has no arguments that are looked at: the kernel remembers such calls and does not run
 * the program for them.
 *
 * Instrumented builds have their own calls, besides: a leak check traces from a thread of its own, gcov writes files.
 */
#include "app/sandbox.h"

#include "base/sanitizer.h"

#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter_ipv4.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS(...) ((const int[]){ __VA_ARGS__, END })
#define END (-1)
#define WORD_MASK 0xffffffffu /* of an int: the kernel does not look at what a register has above it */
#define TYPE_MASK (WORD_MASK & ~(unsigned)(SOCK_NONBLOCK | SOCK_CLOEXEC))
#define ARG(n, value) SCMP_CMP(n, SCMP_CMP_MASKED_EQ, WORD_MASK, (scmp_datum_t)(value))

/* setsockopt(2) and getsockopt(2). */
struct option {
    int level, name;
};
/* socket(2). */
struct family {
    int domain, type, protocol;
};

/* What one kind of process may do beyond what all may. Each list ends with a row of END, or is NULL: nothing. */
struct allowed {
    const int *calls;
    const int *fcntls;
    const int *ioctls;
    const struct option *sets, *gets;
    const struct family *sockets;
};

/* clang-format off */
/* The third line: time, where the vDSO has it not; how much memory there is, for qsort(3). The last: the end, and abort(3). */
static const int of_all[] = {
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(close), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(poll),
    SCMP_SYS(ppoll), SCMP_SYS(restart_syscall), SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex),
    SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getcpu), SCMP_SYS(sysinfo), SCMP_SYS(getrandom),
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(getpid),
    SCMP_SYS(gettid), END
};

#if SANITIZED || COVERED
static const int of_instruments[] = {
    SCMP_SYS(openat), SCMP_SYS(open), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents), SCMP_SYS(getdents64), SCMP_SYS(newfstatat),
    SCMP_SYS(stat), SCMP_SYS(lseek), SCMP_SYS(fcntl), SCMP_SYS(mkdir), SCMP_SYS(ftruncate), SCMP_SYS(mmap), SCMP_SYS(mprotect),
    SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(ptrace), SCMP_SYS(wait4), SCMP_SYS(prctl), SCMP_SYS(sigaltstack),
    SCMP_SYS(tgkill), SCMP_SYS(kill), SCMP_SYS(getppid), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(getrlimit),
    SCMP_SYS(prlimit64), SCMP_SYS(setrlimit), SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(rt_sigtimedwait), SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
    SCMP_SYS(arch_prctl), SCMP_SYS(process_vm_readv), SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(getrusage), SCMP_SYS(ioctl),
    END
};
#else
static const int of_instruments[] = { END };
#endif

static const struct family inet[] = {
    { AF_INET, SOCK_STREAM, 0 }, { AF_INET, SOCK_STREAM, IPPROTO_TCP }, { AF_INET, SOCK_DGRAM, 0 },
    { AF_INET, SOCK_DGRAM, IPPROTO_UDP }, { AF_INET6, SOCK_STREAM, 0 }, { AF_INET6, SOCK_STREAM, IPPROTO_TCP },
    { AF_INET6, SOCK_DGRAM, 0 }, { AF_INET6, SOCK_DGRAM, IPPROTO_UDP }, { END, END, END }
};

static const int worker_calls[] = {
    SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl), SCMP_SYS(accept4), SCMP_SYS(recvfrom), SCMP_SYS(sendto),
    SCMP_SYS(connect), SCMP_SYS(shutdown), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(splice), SCMP_SYS(pipe2),
    SCMP_SYS(mlock), SCMP_SYS(munlock), SCMP_SYS(dup3) /* another key log in place of one */, END
};
static const int worker_fcntls[] = {
    F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_SETPIPE_SZ, F_GETPIPE_SZ, END
};
static const int worker_ioctls[] = {
    SIOCOUTQ, FIONREAD, FIONBIO, END
};
static const struct option worker_sets[] = {
    { SOL_SOCKET, SO_LINGER }, { IPPROTO_TCP, TCP_NODELAY }, { END, END }
};
static const struct option worker_gets[] = {
    { SOL_SOCKET, SO_ERROR }, { SOL_SOCKET, SO_DOMAIN }, { IPPROTO_IP, IP_PKTOPTIONS }, { IPPROTO_IPV6, IPV6_2292PKTOPTIONS },
    { IPPROTO_IP, SO_ORIGINAL_DST }, { IPPROTO_IPV6, SO_ORIGINAL_DST }, { END, END }
};

static const int control_calls[] = {
    SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl), SCMP_SYS(accept4), SCMP_SYS(recvfrom), SCMP_SYS(sendto),
    SCMP_SYS(shutdown), END
};
static const int control_fcntls[] = {
    F_GETFL, F_SETFL, F_GETFD, F_SETFD, END
};
static const int control_ioctls[] = {
    FIONREAD, END
};
static const struct option control_gets[] = {
    { SOL_SOCKET, SO_PEERCRED }, { SOL_SOCKET, SO_ERROR }, { END, END }
};

static const int minter_calls[] = {
    SCMP_SYS(mlock), SCMP_SYS(munlock), SCMP_SYS(pread64), SCMP_SYS(lseek), END
};

/*
 * Netlink, and what the doctor tries: listeners, and sockets with clients' addresses, which is also what binds. It reads and writes
 * below /proc, reads names of protocols below /etc, where Landlock holds it, and gives nftables its text as a file.
 */
static const int filter_calls[] = {
    SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(connect),
    SCMP_SYS(shutdown), SCMP_SYS(getsockname), SCMP_SYS(bind), SCMP_SYS(openat), SCMP_SYS(access), SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(lseek), SCMP_SYS(memfd_create), SCMP_SYS(newfstatat),
    SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(capget), SCMP_SYS(pselect6), END
};
static const int filter_fcntls[] = {
    F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC, END
};
static const int filter_ioctls[] = {
    SIOCGIFINDEX, SIOCGIFNAME, FIONREAD, TCGETS, END /* the last: nftables asks of a file whether it is a terminal */
};
static const struct option filter_sets[] = {
    { SOL_SOCKET, SO_RCVBUFFORCE }, { SOL_SOCKET, SO_RCVBUF }, { SOL_SOCKET, SO_SNDBUF }, { SOL_SOCKET, SO_SNDBUFFORCE },
    { SOL_SOCKET, SO_REUSEADDR }, { IPPROTO_TCP, TCP_NODELAY }, { SOL_SOCKET, SO_ATTACH_FILTER }, { IPPROTO_IP, IP_TRANSPARENT },
    { IPPROTO_IPV6, IPV6_TRANSPARENT }, { SOL_NETLINK, NETLINK_EXT_ACK }, { SOL_NETLINK, NETLINK_ADD_MEMBERSHIP },
    { SOL_NETLINK, NETLINK_GET_STRICT_CHK }, { END, END }
};
static const struct option filter_gets[] = {
    { SOL_SOCKET, SO_ERROR }, { SOL_SOCKET, SO_PROTOCOL }, { SOL_SOCKET, SO_RCVBUF }, { SOL_SOCKET, SO_SNDBUF }, { END, END }
};
static const struct family filter_sockets[] = {
    { AF_NETLINK, SOCK_RAW, NETLINK_ROUTE }, { AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER },
    { AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG }, { AF_INET, SOCK_STREAM, 0 }, { AF_INET6, SOCK_STREAM, 0 },
    { AF_UNIX, SOCK_DGRAM, 0 }, { END, END, END }
};
/* clang-format on */

static const struct allowed allowed[PROCESS_KINDS] = {
    [PROCESS_LOGGER] = { 0 },
    [PROCESS_CONTROL] = { .calls = control_calls, .fcntls = control_fcntls, .ioctls = control_ioctls, .gets = control_gets },
    [PROCESS_WORKER] = { worker_calls, worker_fcntls, worker_ioctls, worker_sets, worker_gets, inet },
    [PROCESS_FILTER] = { filter_calls, filter_fcntls, filter_ioctls, filter_sets, filter_gets, filter_sockets },
    [PROCESS_MINTER] = { .calls = minter_calls },
};

/* Compiled once, by the monitor: the library needs memory, and ends a process badly that has none left. */
static struct span programs[PROCESS_KINDS];

/* The first error of libseccomp stays, as a number of errno. */
struct list {
    scmp_filter_ctx context;
    int error;
};

static void allow(struct list *l, int call, unsigned count, const struct scmp_arg_cmp *args)
{
    if (l->error == 0)
        l->error = -seccomp_rule_add_array(l->context, SCMP_ACT_ALLOW, call, count, args);
}

static void allow_calls(struct list *l, const int *calls)
{
    for (size_t i = 0; calls != NULL && calls[i] != END; i++)
        allow(l, calls[i], 0, NULL);
}

/* The second argument says what is wanted: fcntl(2), ioctl(2). */
static void allow_commands(struct list *l, int call, const int *commands)
{
    for (size_t i = 0; commands != NULL && commands[i] != END; i++)
        allow(l, call, 1, &ARG(1, commands[i]));
}

static void allow_options(struct list *l, int call, const struct option *options)
{
    for (size_t i = 0; options != NULL && options[i].name != END; i++)
        allow(l, call, 2, (struct scmp_arg_cmp[]){ ARG(1, options[i].level), ARG(2, options[i].name) });
}

static void allow_sockets(struct list *l, const struct family *families)
{
    for (size_t i = 0; families != NULL && families[i].domain != END; i++)
        allow(l, SCMP_SYS(socket), 3,
              (struct scmp_arg_cmp[]){ ARG(0, families[i].domain),
                                       SCMP_CMP(1, SCMP_CMP_MASKED_EQ, TYPE_MASK, (scmp_datum_t)families[i].type),
                                       ARG(2, families[i].protocol) });
}

/* Memory that is not executed, facts about descriptors, and the signal of abort(3). */
static void allow_of_all(struct list *l)
{
    const struct scmp_arg_cmp no_exec = SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);

    allow_calls(l, of_all);
    allow(l, SCMP_SYS(mmap), 1, &no_exec);
    allow(l, SCMP_SYS(mprotect), 1, &no_exec);
    allow(l, SCMP_SYS(fstat), 0, NULL);
    allow(l, SCMP_SYS(newfstatat), 1, &ARG(3, AT_EMPTY_PATH)); /* fstat(3) */
    allow(l, SCMP_SYS(tgkill), 1, &ARG(2, SIGABRT));
}

static void fill(struct list *l, const struct allowed *more)
{
    allow_of_all(l);
    allow_calls(l, more->calls);
    allow_commands(l, SCMP_SYS(fcntl), more->fcntls);
    allow_commands(l, SCMP_SYS(ioctl), more->ioctls);
    allow_options(l, SCMP_SYS(setsockopt), more->sets);
    allow_options(l, SCMP_SYS(getsockopt), more->gets);
    allow_sockets(l, more->sockets);
    allow_calls(l, of_instruments);
}

static void set(struct list *l, enum scmp_filter_attr attribute, uint32_t value)
{
    if (l->error == 0)
        l->error = -seccomp_attr_set(l->context, attribute, value);
}

/* A tree instead of a chain of comparisons; whatever is not this machine's own kind of call kills, too. */
static int compile(enum process_kind kind, int fd)
{
    struct list l = { .context = seccomp_init(SCMP_ACT_KILL_PROCESS) };

    if (l.context == NULL)
        return ENOMEM;
    set(&l, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    set(&l, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    fill(&l, &allowed[kind]);
    if (l.error == 0)
        l.error = -seccomp_export_bpf(l.context, fd);
    seccomp_release(l.context);
    return l.error;
}

static bool keep(struct span *program, int fd)
{
    struct stat st;
    void *memory =
        fstat(fd, &st) == 0 && st.st_size > 0 ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;

    if (memory == MAP_FAILED)
        return false;
    *program = span_of(memory, (size_t)st.st_size);
    return true;
}

/* The library ends a process badly that has no memory: what is said then is nothing that anybody should see. */
static bool compile_in_child(enum process_kind kind, int fd)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        _exit(null >= 0 && dup2(null, STDERR_FILENO) >= 0 && compile(kind, fd) == 0 ? 0 : 1);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return child > 0 && status == 0;
}

bool calls_compile(void)
{
    for (enum process_kind kind = 0; kind < PROCESS_KINDS; kind++) {
        int fd = programs[kind].len > 0 ? -1 : memfd_create("postern-calls", MFD_CLOEXEC);
        bool good = programs[kind].len > 0 || (fd >= 0 && compile_in_child(kind, fd) && keep(&programs[kind], fd));

        if (fd >= 0)
            close(fd);
        if (!good)
            return false;
    }
    return true;
}

/* No thread goes without. */
bool calls_apply(enum process_kind kind)
{
    const struct span *program = &programs[kind];
    struct sock_fprog form = { .len = (unsigned short)(program->len / sizeof(struct sock_filter)),
                               .filter = (struct sock_filter *)program->at };

    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &form) == 0;
}
