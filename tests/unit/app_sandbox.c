/* SPDX-License-Identifier: ISC */
/*
 * The sandbox from inside: a process of each kind shuts the door as the real one does, and then tries what it must not be able to
 * do. This program is built without sanitizers, since builds with them are let do more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define W (1u << PROCESS_WORKER)
#define L (1u << PROCESS_LOGGER)
#define C (1u << PROCESS_CONTROL)
#define F (1u << PROCESS_FILTER)
#define M (1u << PROCESS_MINTER)
#define EVERYBODY (W | L | C | F | M)
#define SPARE_FDS 3

static int tcp, spare[SPARE_FDS];
static void *page;
static pid_t sibling; /* of the same user */
static struct sandbox all;
static bool is_root;

#define FILE_NAME "/tmp/postern-sandbox-test"
#define A_THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

static char program[] = "/bin/true", *const arguments[] = { program, NULL };
static struct iovec piece; /* one byte of the page */

/* The child of one that is let do it must not run on as a test. */
static long end_child(long pid)
{
    if (pid == 0)
        _exit(0);
    return pid;
}

static const struct sockaddr *loopback(uint16_t port)
{
    static struct sockaddr_in to;

    to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    return (struct sockaddr *)&to;
}

static long set(int level, int name)
{
    int on = 1;

    return setsockopt(tcp, level, name, &on, sizeof(on));
}

static long try_memory(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return at == MAP_FAILED ? -1 : mprotect(at, 4096, PROT_READ);
}

static long try_signal(void)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    return sigaction(SIGABRT, &ignore, NULL) == 0 ? raise(SIGABRT) : -1;
}

#ifdef __x86_64__
/* The same call by other numbers: of the x32 interface, and of 32-bit programs. */
static long call_x32(void)
{
    return syscall(0x40000000 | SYS_getpid);
}

static long call_int80(void)
{
    long result = 20; /* getpid */

    __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    return result;
}
#else
#define call_x32() syscall(SYS_kexec_load, 0, 0, NULL, 0)
#define call_int80() call_x32()
#endif

/*
 * Everything that is tried, with whatever arguments would make it work for somebody who may: its name; kinds of processes that are
 * not killed for it; what then comes of it: 0 or more if the error is 0, or else that error, by Landlock or the kernel's other
 * checks; the call.
 */
/* clang-format off */
#define ATTEMPTS(X) \
    X(TRY_NOTHING, EVERYBODY, 0, 0) \
    X(TRY_EXECVE, 0, 0, execve(program, arguments, NULL)) \
    X(TRY_EXECVEAT, 0, 0, syscall(SYS_execveat, AT_FDCWD, program, arguments, NULL, 0)) \
    X(TRY_FORK, 0, 0, end_child(fork())) \
    X(TRY_VFORK, 0, 0, end_child(syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, 0))) \
    X(TRY_CLONE3, 0, 0, end_child(syscall(SYS_clone3, (uint64_t[8]){ [4] = SIGCHLD }, 64))) \
    X(TRY_THREAD, 0, 0, syscall(SYS_clone, A_THREAD, (char *)page + 2048, NULL, NULL, 0)) \
    X(TRY_PTRACE_ANOTHER, 0, 0, ptrace(PTRACE_ATTACH, sibling, NULL, NULL)) \
    X(TRY_TRACEME, 0, 0, ptrace(PTRACE_TRACEME, 0, NULL, NULL)) \
    X(TRY_PROCESS_VM_READV, 0, 0, process_vm_readv(sibling, &piece, 1, &piece, 1, 0)) \
    X(TRY_PROCESS_VM_WRITEV, 0, 0, process_vm_writev(sibling, &piece, 1, &piece, 1, 0)) \
    X(TRY_KILL, 0, 0, kill(sibling, SIGUSR1)) \
    X(TRY_TGKILL, 0, 0, syscall(SYS_tgkill, sibling, sibling, SIGUSR1)) \
    X(TRY_PIDFD_OPEN, 0, 0, syscall(SYS_pidfd_open, sibling, 0)) \
    X(TRY_PIDFD_GETFD, 0, 0, syscall(SYS_pidfd_getfd, tcp, 0, 0)) \
    X(TRY_BPF, 0, 0, syscall(SYS_bpf, 0, page, 64)) \
    X(TRY_USERFAULTFD, 0, 0, syscall(SYS_userfaultfd, 0)) \
    X(TRY_IO_URING, 0, 0, syscall(SYS_io_uring_setup, 1, page)) \
    X(TRY_KEYCTL, 0, 0, syscall(SYS_keyctl, 0, -3, 0)) \
    X(TRY_ADD_KEY, 0, 0, syscall(SYS_add_key, "user", "x", "y", 1, -3)) \
    X(TRY_OPEN_BY_HANDLE, 0, 0, syscall(SYS_open_by_handle_at, AT_FDCWD, page, O_RDONLY)) \
    X(TRY_PERF_EVENT_OPEN, 0, 0, syscall(SYS_perf_event_open, page, 0, -1, -1, 0)) \
    X(TRY_OPEN, F, 0, open("/etc/passwd", O_RDONLY)) /* it reads names of protocols there */ \
    X(TRY_OPEN_ELSEWHERE, F, EACCES, open("/usr/lib/os-release", O_RDONLY)) \
    X(TRY_CREATE, F, EACCES, open(FILE_NAME, O_WRONLY | O_CREAT, 0600)) \
    X(TRY_OPEN_PROC, F, 0, open("/proc/self/status", O_RDONLY)) \
    X(TRY_OPENAT2, 0, 0, syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", (uint64_t[3]){ O_RDONLY }, 24)) \
    X(TRY_UNLINK, 0, 0, syscall(SYS_unlinkat, AT_FDCWD, FILE_NAME, 0)) \
    X(TRY_MKDIR, 0, 0, mkdir(FILE_NAME, 0700)) \
    X(TRY_SYMLINK, 0, 0, symlink("/etc/passwd", FILE_NAME)) \
    X(TRY_TRUNCATE, 0, 0, truncate(FILE_NAME, 0)) \
    X(TRY_MEMFD_CREATE, F, 0, memfd_create("x", 0)) \
    X(TRY_UNIX_SOCKET, 0, 0, socket(AF_UNIX, SOCK_STREAM, 0)) \
    X(TRY_NETLINK_SOCKET, F, 0, socket(AF_NETLINK, SOCK_RAW, 0)) \
    X(TRY_AUDIT_SOCKET, 0, 0, socket(AF_NETLINK, SOCK_RAW, 9)) \
    X(TRY_PACKET_SOCKET, 0, 0, socket(AF_PACKET, SOCK_RAW, 0)) \
    X(TRY_ALG_SOCKET, 0, 0, socket(AF_ALG, SOCK_SEQPACKET, 0)) \
    X(TRY_VSOCK_SOCKET, 0, 0, socket(AF_VSOCK, SOCK_STREAM, 0)) \
    X(TRY_RAW_SOCKET, 0, 0, socket(AF_INET, SOCK_RAW, IPPROTO_TCP)) \
    X(TRY_PING_SOCKET, 0, 0, socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)) \
    X(TRY_MPTCP_SOCKET, 0, 0, socket(AF_INET, SOCK_STREAM, 262)) \
    X(TRY_TCP_SOCKET, W, 0, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP)) \
    X(TRY_TCP_SOCKET_6, W | F, 0, socket(AF_INET6, SOCK_STREAM, 0)) \
    X(TRY_UDP_SOCKET, W, 0, socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) \
    X(TRY_CONNECT, W | F, ECONNREFUSED, connect(tcp, loopback(1), sizeof(struct sockaddr_in))) \
    X(TRY_BIND, F, 0, bind(tcp, loopback(0), sizeof(struct sockaddr_in))) \
    X(TRY_LISTEN, 0, 0, listen(tcp, 1)) \
    X(TRY_TRANSPARENT, F, EPERM, set(IPPROTO_IP, IP_TRANSPARENT)) /* without root there is no capability; with it see below */ \
    X(TRY_MARK, 0, 0, set(SOL_SOCKET, SO_MARK)) \
    X(TRY_DEVICE, 0, 0, setsockopt(tcp, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3)) \
    X(TRY_ULP, 0, 0, setsockopt(tcp, IPPROTO_TCP, TCP_ULP, "tls", 4)) \
    X(TRY_NODELAY, W | F, 0, set(IPPROTO_TCP, TCP_NODELAY)) \
    X(TRY_TYPE_IN, 0, 0, ioctl(0, TIOCSTI, "x")) \
    X(TRY_SETOWN, 0, 0, fcntl(tcp, F_SETOWN, sibling)) \
    X(TRY_MMAP_EXEC, 0, 0, mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0) \
    X(TRY_MPROTECT_EXEC, 0, 0, mprotect(page, 4096, PROT_READ | PROT_EXEC)) \
    X(TRY_PKEY_MPROTECT, 0, 0, syscall(SYS_pkey_mprotect, page, 4096, PROT_READ | PROT_EXEC, -1)) \
    X(TRY_MEMORY, EVERYBODY, 0, try_memory()) \
    X(TRY_SETUID, 0, 0, setuid(0)) \
    X(TRY_SETRESUID, 0, 0, setresuid(0, 0, 0)) \
    X(TRY_SETGID, 0, 0, setresgid(0, 0, 0)) \
    X(TRY_SETGROUPS, 0, 0, setgroups(1, &(gid_t){ 0 })) \
    X(TRY_CAPSET, 0, 0, syscall(SYS_capset, (uint32_t[2]){ 0x20080522 }, (uint32_t[6]){ ~0u, ~0u, 0, ~0u, ~0u, 0 })) \
    X(TRY_PRCTL, 0, 0, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)) \
    X(TRY_SECCOMP, 0, 0, syscall(SYS_seccomp, 0, 0, NULL)) \
    X(TRY_UNSHARE, 0, 0, unshare(CLONE_NEWUSER)) \
    X(TRY_SETNS, 0, 0, setns(tcp, 0)) \
    X(TRY_MOUNT, 0, 0, mount("none", "/tmp", "tmpfs", 0, NULL)) \
    X(TRY_CHROOT, 0, 0, chroot("/tmp")) \
    X(TRY_PERSONALITY, 0, 0, syscall(SYS_personality, 0)) \
    X(TRY_RLIMIT, 0, 0, setrlimit(RLIMIT_NPROC, &(struct rlimit){ 10, 10 })) \
    X(TRY_MODULE, 0, 0, syscall(SYS_init_module, page, 1, "")) \
    X(TRY_KEXEC, 0, 0, syscall(SYS_kexec_load, 0, 0, NULL, 0)) \
    X(TRY_REBOOT, 0, 0, syscall(SYS_reboot, 0, 0, 0, NULL)) \
    X(TRY_INOTIFY, 0, 0, syscall(SYS_inotify_init1, 0)) \
    X(TRY_VMSPLICE, 0, 0, syscall(SYS_vmsplice, tcp, &piece, 1, 0)) \
    X(TRY_X32, 0, 0, call_x32()) \
    X(TRY_INT80, 0, 0, call_int80()) \
    X(TRY_OWN_SIGNAL, EVERYBODY, 0, try_signal())
/* clang-format on */

#define AS_NAME(id, ...) id,
enum attempt { ATTEMPTS(AS_NAME) ATTEMPT_COUNT };

#define AS_RULE(id, may, error, ...) { #id, may, error },
static const struct {
    const char *name;
    unsigned may;
    int error;
} expected[] = { ATTEMPTS(AS_RULE) };

#define AS_CALL(id, may, error, ...)                                                                                               \
    case id:                                                                                                                       \
        return __VA_ARGS__;
static long attempt(unsigned which)
{
    switch ((enum attempt)which) {
        ATTEMPTS(AS_CALL)
    default:
        return -1;
    }
}

static const char *const kinds[PROCESS_KINDS] = { "logger", "control", "worker", "filter", "minter" };

static struct identity nobody(void)
{
    return geteuid() == 0 ? (struct identity){ true, NOBODY, NOBODY } : (struct identity){ false, geteuid(), getegid() };
}

/* Without root nobody has a capability to keep: filter is then tried as it would be behind that. */
static void drop(enum process_kind kind)
{
    const int keep[] = { tcp };
    struct identity who = nobody();

    privileges_drop(&who, who.change || kind != PROCESS_FILTER ? kind : PROCESS_LOGGER, keep, 1, "postern-test");
}

/* What became of a process of this kind that did it: its wait status. It exits with errno. */
static int run(const struct sandbox *s, enum process_kind kind, long (*fn)(unsigned which), unsigned which)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        drop(kind);
        privileges_close_door(s, kind);
        errno = 0;
        _exit(fn(which) >= 0 ? 0 : errno);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool is_killed(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static void expect(enum attempt i, enum process_kind kind)
{
    int status = run(&all, kind, attempt, i), error = expected[i].error;

    if (!(expected[i].may & (1u << kind))) {
        if (!is_killed(status))
            fail_msg("%s: %s: not killed, but status %x", kinds[kind], expected[i].name, (unsigned)status);
        return;
    }
    if (i == TRY_TRANSPARENT && is_root)
        error = 0; /* filter has its capability */
    if (!WIFEXITED(status) || WEXITSTATUS(status) != error)
        fail_msg("%s: %s: status %x instead of error %d", kinds[kind], expected[i].name, (unsigned)status, error);
}

/* OP-02, OP-03, OP-04 */
static void test_forbidden_calls(void **state)
{
    (void)state;
    if (!all.calls)
        skip();
    for (enum process_kind kind = 0; kind < PROCESS_KINDS; kind++)
        for (unsigned i = 0; i < ATTEMPT_COUNT; i++)
            if (all.landlock > 0 || expected[i].error != EACCES)
                expect(i, kind);
}

/* What is left if there were no list of calls: each lock has to hold alone. */
static void test_without_seccomp(void **state)
{
    static const struct {
        enum attempt which;
        int error;
        unsigned landlock; /* from this version on */
    } cases[] = {
        { TRY_OPEN, EACCES, 1 },          { TRY_CREATE, EACCES, 1 },     { TRY_EXECVE, EACCES, 1 },       { TRY_MKDIR, EACCES, 1 },
        { TRY_PTRACE_ANOTHER, EPERM, 1 }, { TRY_BIND, EACCES, 4 },       { TRY_KILL, EPERM, 6 },          { TRY_FORK, EAGAIN, 0 },
        { TRY_MARK, EPERM, 0 },           { TRY_TRANSPARENT, EPERM, 0 }, { TRY_PACKET_SOCKET, EPERM, 0 }, { TRY_SETUID, EPERM, 0 },
        { TRY_SETGID, EPERM, 0 },         { TRY_SETGROUPS, EPERM, 0 },   { TRY_CAPSET, EPERM, 0 },        { TRY_MOUNT, EPERM, 0 },
        { TRY_CHROOT, EPERM, 0 },         { TRY_RLIMIT, EPERM, 0 },
    };
    struct sandbox s = { .landlock = all.landlock };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status = all.landlock >= cases[i].landlock ? run(&s, PROCESS_WORKER, attempt, cases[i].which) : 0;

        if (all.landlock >= cases[i].landlock && (!WIFEXITED(status) || WEXITSTATUS(status) != cases[i].error))
            fail_msg("%s: status %x", expected[cases[i].which].name, (unsigned)status);
    }
    if (all.landlock >= 4) {
        assert_int_equal(WEXITSTATUS(run(&s, PROCESS_MINTER, attempt, TRY_CONNECT)), EACCES);
        assert_int_equal(WEXITSTATUS(run(&s, PROCESS_WORKER, attempt, TRY_CONNECT)), ECONNREFUSED);
    }
}

/* A container whose rules forbid one of the two: what is asked for by name is refused, the rest is had. */
static int find_where_forbidden(const char *call, enum conf_sandbox wanted, const char *said)
{
    scmp_filter_ctx rules = seccomp_init(SCMP_ACT_ALLOW);
    struct identities who = { .users = USERS_OWN };
    char missing[SANDBOX_TEXT];
    struct sandbox s;
    bool found;

    if (rules == NULL || seccomp_rule_add(rules, SCMP_ACT_ERRNO(ENOSYS), seccomp_syscall_resolve_name(call), 0) != 0 ||
        (strcmp(call, "seccomp") == 0 &&
         seccomp_rule_add(rules, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP)) != 0) ||
        seccomp_load(rules) != 0)
        return 100;
    found = sandbox_find(&s, wanted, &who, missing);
    if (found != (wanted != SANDBOX_REQUIRED))
        return 1;
    if (strstr(missing, said) == NULL)
        return 2;
    if (strcmp(call, "seccomp") == 0 ? s.calls || s.landlock != all.landlock : s.landlock != 0 || !s.calls)
        return 3;
    privileges_close_door(&s, PROCESS_WORKER);
    return 0;
}

static void test_what_is_missing(void **state)
{
    static const struct {
        const char *call, *said;
    } cases[] = { { "landlock_create_ruleset", "no Landlock" },
                  { "landlock_restrict_self", "no Landlock" },
                  { "seccomp", "no seccomp" } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) && all.calls && all.landlock > 0; i++)
        for (enum conf_sandbox wanted = SANDBOX_REQUIRED; wanted <= SANDBOX_BEST; wanted++) {
            int status;
            pid_t pid = fork();

            if (pid == 0)
                _exit(find_where_forbidden(cases[i].call, wanted, cases[i].said));
            assert_int_equal(waitpid(pid, &status, 0), pid);
            if (status != 0)
                fail_msg("%s, %u: status %x", cases[i].call, wanted, (unsigned)status);
        }
}

static void test_off_and_texts(void **state)
{
    struct identities shared = { .users = USERS_SHARED, .missing = "postern-logger" };
    char missing[SANDBOX_TEXT], text[SANDBOX_TEXT];
    struct sandbox s;

    (void)state;
    assert_true(sandbox_find(&s, SANDBOX_OFF, &shared, missing));
    assert_string_equal(missing, "");
    assert_true(s.landlock == 0 && !s.calls);
    assert_int_equal(WEXITSTATUS(run(&s, PROCESS_WORKER, attempt, TRY_OPEN)), 0);
    assert_false(sandbox_find(&s, SANDBOX_REQUIRED, &shared, missing));
    assert_non_null(strstr(missing, "share a user (there is no postern-logger)"));
    assert_true(sandbox_find(&s, SANDBOX_BEST, &shared, missing));
    s = (struct sandbox){ SANDBOX_BEST, USERS_OWN, 2, true };
    assert_string_equal(sandbox_text(&s, text), "a user for each kind of process, Landlock 2 (files), system calls limited");
    s = (struct sandbox){ SANDBOX_BEST, USERS_CALLER, 6, false };
    assert_string_equal(sandbox_text(&s, text), "the caller's user, Landlock 6 (files, TCP, signals), system calls not limited");
}

/* What root's securebits, sets and limits are behind it. */
static long look_at_self(unsigned which)
{
    struct rlimit cores, processes;

    (void)which;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
        return -1;
    if (getrlimit(RLIMIT_CORE, &cores) != 0 || getrlimit(RLIMIT_NPROC, &processes) != 0 || cores.rlim_max + processes.rlim_max != 0)
        return -1;
    if (getuid() == 0 || (is_root && prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) == 0))
        return -1;
    if (fcntl(spare[0], F_GETFD) >= 0 || fcntl(spare[SPARE_FDS - 1], F_GETFD) >= 0 || fcntl(tcp, F_GETFD) < 0)
        return -1;
    return is_root && prctl(PR_CAPBSET_READ, 12, 0, 0, 0) != 0 ? -1 : 0;
}

static void test_privileges(void **state)
{
    struct sandbox none = { 0 };

    (void)state;
    assert_int_equal(run(&none, PROCESS_WORKER, look_at_self, 0), 0);
    assert_int_equal(run(&none, PROCESS_MINTER, look_at_self, 0), 0);
}

static int setup(void **state)
{
    struct identities who = { .users = USERS_OWN };
    char missing[SANDBOX_TEXT];

    (void)state;
    is_root = geteuid() == 0;
    tcp = socket(AF_INET, SOCK_STREAM, 0);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    piece = (struct iovec){ page, 1 };
    for (size_t i = 0; i < SPARE_FDS; i++)
        spare[i] = dup(tcp);
    if (tcp < 0 || page == MAP_FAILED)
        return -1;
    sibling = fork();
    if (sibling == 0) {
        struct identity other = nobody();

        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (other.change && (setgroups(0, NULL) != 0 || setgid(other.gid) != 0 || setuid(other.uid) != 0))
            _exit(1);
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* it may be traced, by whoever the kernel lets */
        for (;;)
            pause();
    }
    if (!sandbox_find(&all, SANDBOX_BEST, &who, missing))
        return -1;
    print_message("%s\n", missing);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kill(sibling, SIGKILL);
    return waitpid(sibling, NULL, 0) == sibling ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_forbidden_calls), cmocka_unit_test(test_without_seccomp),
                                        cmocka_unit_test(test_what_is_missing), cmocka_unit_test(test_off_and_texts),
                                        cmocka_unit_test(test_privileges) };

    return cmocka_run_group_tests(tests, setup, teardown);
}
