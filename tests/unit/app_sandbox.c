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

static long nothing(void)
{
    return 0;
}

/* Everything that is tried, with whatever arguments would make it work for somebody who may. */

static long try_execve(void)
{
    char path[] = "/bin/true", *arguments[] = { path, NULL };

    return execve(arguments[0], arguments, NULL);
}

static long try_execveat(void)
{
    char path[] = "/bin/true", *arguments[] = { path, NULL };

    return syscall(SYS_execveat, AT_FDCWD, arguments[0], arguments, NULL, 0);
}

/* The child of one that is let do it must not run on as a test. */
static long end_child(long pid)
{
    if (pid == 0)
        _exit(0);
    return pid;
}

static long try_fork(void)
{
    return end_child(fork());
}

static long try_vfork(void)
{
    return end_child(syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, 0));
}

static long try_clone3(void)
{
    uint64_t arguments[8] = { [4] = SIGCHLD };

    return end_child(syscall(SYS_clone3, arguments, sizeof(arguments)));
}

static long try_thread(void)
{
    return syscall(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, (char *)page + 2048, NULL, NULL, 0);
}

static long try_ptrace(void)
{
    return ptrace(PTRACE_ATTACH, sibling, NULL, NULL);
}

static long try_traceme(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long try_read_memory(void)
{
    char byte;
    struct iovec to = { &byte, 1 }, from = { page, 1 };

    return process_vm_readv(sibling, &to, 1, &from, 1, 0);
}

static long try_write_memory(void)
{
    char byte = 0;
    struct iovec to = { &byte, 1 }, from = { page, 1 };

    return process_vm_writev(sibling, &to, 1, &from, 1, 0);
}

static long try_kill(void)
{
    return kill(sibling, SIGUSR1);
}

static long try_tgkill(void)
{
    return syscall(SYS_tgkill, sibling, sibling, SIGUSR1);
}

static long try_pidfd(void)
{
    return syscall(SYS_pidfd_open, sibling, 0);
}

static long try_pidfd_getfd(void)
{
    return syscall(SYS_pidfd_getfd, tcp, 0, 0);
}

static long try_bpf(void)
{
    return syscall(SYS_bpf, 0, page, 64);
}

static long try_userfaultfd(void)
{
    return syscall(SYS_userfaultfd, 0);
}

static long try_io_uring(void)
{
    return syscall(SYS_io_uring_setup, 1, page);
}

static long try_keyctl(void)
{
    return syscall(SYS_keyctl, 0, -3, 0);
}

static long try_add_key(void)
{
    return syscall(SYS_add_key, "user", "x", "y", 1, -3);
}

static long try_handle(void)
{
    return syscall(SYS_open_by_handle_at, AT_FDCWD, page, O_RDONLY);
}

static long try_perf(void)
{
    return syscall(SYS_perf_event_open, page, 0, -1, -1, 0);
}

static long try_open(void)
{
    return open("/etc/passwd", O_RDONLY);
}

static long try_open_elsewhere(void)
{
    return open("/usr/lib/os-release", O_RDONLY);
}

static long try_create(void)
{
    return open("/tmp/postern-sandbox-test", O_WRONLY | O_CREAT, 0600);
}

static long try_openat2(void)
{
    uint64_t how[3] = { O_RDONLY };

    return syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", how, sizeof(how));
}

static long try_proc(void)
{
    return open("/proc/self/status", O_RDONLY);
}

static long try_unlink(void)
{
    return syscall(SYS_unlinkat, AT_FDCWD, "/tmp/postern-sandbox-test", 0);
}

static long try_mkdir(void)
{
    return mkdir("/tmp/postern-sandbox-test", 0700);
}

static long try_symlink(void)
{
    return symlink("/etc/passwd", "/tmp/postern-sandbox-test");
}

static long try_truncate(void)
{
    return truncate("/tmp/postern-sandbox-test", 0);
}

static long try_memfd(void)
{
    return memfd_create("x", 0);
}

static long try_unix(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long try_netlink(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long try_audit(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 9);
}

static long try_packet(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0);
}

static long try_alg(void)
{
    return socket(AF_ALG, SOCK_SEQPACKET, 0);
}

static long try_vsock(void)
{
    return socket(AF_VSOCK, SOCK_STREAM, 0);
}

static long try_raw(void)
{
    return socket(AF_INET, SOCK_RAW, IPPROTO_TCP);
}

static long try_ping(void)
{
    return socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
}

static long try_mptcp(void)
{
    return socket(AF_INET, SOCK_STREAM, 262);
}

static long try_stream(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
}

static long try_stream6(void)
{
    return socket(AF_INET6, SOCK_STREAM, 0);
}

static long try_datagrams(void)
{
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

/* Port 1 of loopback: nobody listens. */
static long try_connect(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    return connect(tcp, (struct sockaddr *)&to, sizeof(to));
}

static long try_bind(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    return bind(tcp, (struct sockaddr *)&to, sizeof(to));
}

static long try_listen(void)
{
    return listen(tcp, 1);
}

static long set(int level, int name)
{
    int on = 1;

    return setsockopt(tcp, level, name, &on, sizeof(on));
}

static long try_transparent(void)
{
    return set(IPPROTO_IP, IP_TRANSPARENT);
}

static long try_mark(void)
{
    return set(SOL_SOCKET, SO_MARK);
}

static long try_device(void)
{
    return setsockopt(tcp, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
}

static long try_ulp(void)
{
    return setsockopt(tcp, IPPROTO_TCP, TCP_ULP, "tls", 4);
}

static long try_nodelay(void)
{
    return set(IPPROTO_TCP, TCP_NODELAY);
}

static long try_type_in(void)
{
    return ioctl(0, TIOCSTI, "x");
}

static long try_setown(void)
{
    return fcntl(tcp, F_SETOWN, sibling);
}

static long try_mmap_exec(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}

static long try_mprotect_exec(void)
{
    return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static long try_pkey_mprotect(void)
{
    return syscall(SYS_pkey_mprotect, page, 4096, PROT_READ | PROT_EXEC, -1);
}

static long try_map(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return at == MAP_FAILED ? -1 : mprotect(at, 4096, PROT_READ);
}

static long try_setuid(void)
{
    return setuid(0);
}

static long try_setresuid(void)
{
    return setresuid(0, 0, 0);
}

static long try_setgid(void)
{
    return setresgid(0, 0, 0);
}

static long try_setgroups(void)
{
    return setgroups(1, &(gid_t){ 0 });
}

static long try_capset(void)
{
    uint32_t header[2] = { 0x20080522, 0 }, data[6] = { 0xffffffff, 0xffffffff, 0, 0xffffffff, 0xffffffff, 0 };

    return syscall(SYS_capset, header, data);
}

static long try_prctl(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long try_seccomp(void)
{
    return syscall(SYS_seccomp, 0, 0, NULL);
}

static long try_unshare(void)
{
    return unshare(CLONE_NEWUSER);
}

static long try_setns(void)
{
    return setns(tcp, 0);
}

static long try_mount(void)
{
    return mount("none", "/tmp", "tmpfs", 0, NULL);
}

static long try_chroot(void)
{
    return chroot("/tmp");
}

static long try_personality(void)
{
    return syscall(SYS_personality, 0);
}

static long try_rlimit(void)
{
    struct rlimit limit = { 10, 10 };

    return setrlimit(RLIMIT_NPROC, &limit);
}

static long try_module(void)
{
    return syscall(SYS_init_module, page, 1, "");
}

static long try_kexec(void)
{
    return syscall(SYS_kexec_load, 0, 0, NULL, 0);
}

static long try_reboot(void)
{
    return syscall(SYS_reboot, 0, 0, 0, NULL);
}

static long try_inotify(void)
{
    return syscall(SYS_inotify_init1, 0);
}

static long try_vmsplice(void)
{
    struct iovec from = { page, 1 };

    return syscall(SYS_vmsplice, tcp, &from, 1, 0);
}

static long try_self_signal(void)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    return sigaction(SIGABRT, &ignore, NULL) == 0 ? raise(SIGABRT) : -1;
}

#ifdef __x86_64__
/* The same call by other numbers: of the x32 interface, and of 32-bit programs. */
static long try_x32(void)
{
    return syscall(0x40000000 | SYS_getpid);
}

static long try_int80(void)
{
    long result = 20; /* getpid */

    __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    return result;
}
#else
#define try_x32 try_kexec
#define try_int80 try_kexec
#endif

/*
 * `may`: kinds of processes that are not killed for it. What then comes of it: 0 or more if `error` is 0, or else that error, by
 * Landlock or the kernel's other checks.
 */
static const struct {
    const char *name;
    long (*fn)(void);
    unsigned may;
    int error;
} attempts[] = {
    { "nothing", nothing, EVERYBODY, 0 },
    { "execve", try_execve, 0, 0 },
    { "execveat", try_execveat, 0, 0 },
    { "fork", try_fork, 0, 0 },
    { "vfork", try_vfork, 0, 0 },
    { "clone3", try_clone3, 0, 0 },
    { "a thread", try_thread, 0, 0 },
    { "ptrace another", try_ptrace, 0, 0 },
    { "PTRACE_TRACEME", try_traceme, 0, 0 },
    { "process_vm_readv", try_read_memory, 0, 0 },
    { "process_vm_writev", try_write_memory, 0, 0 },
    { "kill", try_kill, 0, 0 },
    { "tgkill of another", try_tgkill, 0, 0 },
    { "pidfd_open", try_pidfd, 0, 0 },
    { "pidfd_getfd", try_pidfd_getfd, 0, 0 },
    { "bpf", try_bpf, 0, 0 },
    { "userfaultfd", try_userfaultfd, 0, 0 },
    { "io_uring_setup", try_io_uring, 0, 0 },
    { "keyctl", try_keyctl, 0, 0 },
    { "add_key", try_add_key, 0, 0 },
    { "open_by_handle_at", try_handle, 0, 0 },
    { "perf_event_open", try_perf, 0, 0 },
    { "open", try_open, F, 0 }, /* it reads names of protocols there */
    { "open elsewhere", try_open_elsewhere, F, EACCES },
    { "create a file", try_create, F, EACCES },
    { "open below /proc", try_proc, F, 0 },
    { "openat2", try_openat2, 0, 0 },
    { "unlink", try_unlink, 0, 0 },
    { "mkdir", try_mkdir, 0, 0 },
    { "symlink", try_symlink, 0, 0 },
    { "truncate", try_truncate, 0, 0 },
    { "memfd_create", try_memfd, F, 0 },
    { "AF_UNIX", try_unix, 0, 0 },
    { "AF_NETLINK", try_netlink, F, 0 },
    { "AF_NETLINK, audit", try_audit, 0, 0 },
    { "AF_PACKET", try_packet, 0, 0 },
    { "AF_ALG", try_alg, 0, 0 },
    { "AF_VSOCK", try_vsock, 0, 0 },
    { "SOCK_RAW", try_raw, 0, 0 },
    { "ping socket", try_ping, 0, 0 },
    { "MPTCP", try_mptcp, 0, 0 },
    { "TCP socket", try_stream, W, 0 },
    { "TCP socket, IPv6", try_stream6, W | F, 0 },
    { "UDP socket", try_datagrams, W, 0 },
    { "connect", try_connect, W | F, ECONNREFUSED },
    { "bind", try_bind, F, 0 },
    { "listen", try_listen, 0, 0 },
    { "IP_TRANSPARENT", try_transparent, F, EPERM }, /* without root there is no capability; with it see below */
    { "SO_MARK", try_mark, 0, 0 },
    { "SO_BINDTODEVICE", try_device, 0, 0 },
    { "TCP_ULP", try_ulp, 0, 0 },
    { "TCP_NODELAY", try_nodelay, W | F, 0 },
    { "TIOCSTI", try_type_in, 0, 0 },
    { "F_SETOWN", try_setown, 0, 0 },
    { "mmap PROT_EXEC", try_mmap_exec, 0, 0 },
    { "mprotect PROT_EXEC", try_mprotect_exec, 0, 0 },
    { "pkey_mprotect PROT_EXEC", try_pkey_mprotect, 0, 0 },
    { "memory that is not executed", try_map, EVERYBODY, 0 },
    { "setuid", try_setuid, 0, 0 },
    { "setresuid", try_setresuid, 0, 0 },
    { "setresgid", try_setgid, 0, 0 },
    { "setgroups", try_setgroups, 0, 0 },
    { "capset", try_capset, 0, 0 },
    { "prctl", try_prctl, 0, 0 },
    { "seccomp", try_seccomp, 0, 0 },
    { "unshare", try_unshare, 0, 0 },
    { "setns", try_setns, 0, 0 },
    { "mount", try_mount, 0, 0 },
    { "chroot", try_chroot, 0, 0 },
    { "personality", try_personality, 0, 0 },
    { "setrlimit", try_rlimit, 0, 0 },
    { "init_module", try_module, 0, 0 },
    { "kexec_load", try_kexec, 0, 0 },
    { "reboot", try_reboot, 0, 0 },
    { "inotify", try_inotify, 0, 0 },
    { "vmsplice", try_vmsplice, 0, 0 },
    { "a call of x32", try_x32, 0, 0 },
    { "a call of 32 bits", try_int80, 0, 0 },
    { "a signal for itself", try_self_signal, EVERYBODY, 0 },
};

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

/* What became of a process of this kind that tried it: its wait status. It exits with errno. */
static int run(const struct sandbox *s, enum process_kind kind, long (*fn)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        drop(kind);
        privileges_close_door(s, kind);
        errno = 0;
        _exit(fn() >= 0 ? 0 : errno);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool is_killed(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static void expect(size_t i, enum process_kind kind)
{
    int status = run(&all, kind, attempts[i].fn), error = attempts[i].error;

    if (!(attempts[i].may & (1u << kind))) {
        if (!is_killed(status))
            fail_msg("%s: %s: not killed, but status %x", kinds[kind], attempts[i].name, (unsigned)status);
        return;
    }
    if (attempts[i].fn == try_transparent && is_root)
        error = 0; /* filter has its capability */
    if (!WIFEXITED(status) || WEXITSTATUS(status) != error)
        fail_msg("%s: %s: status %x instead of error %d", kinds[kind], attempts[i].name, (unsigned)status, error);
}

/* OP-02, OP-03, OP-04 */
static void test_forbidden_calls(void **state)
{
    (void)state;
    if (!all.calls)
        skip();
    for (enum process_kind kind = 0; kind < PROCESS_KINDS; kind++)
        for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
            if (all.landlock > 0 || attempts[i].error != EACCES)
                expect(i, kind);
}

/* What is left if there were no list of calls: each lock has to hold alone. */
static void test_without_seccomp(void **state)
{
    static const struct {
        const char *name;
        long (*fn)(void);
        int error;
        unsigned landlock; /* from this version on */
    } cases[] = {
        { "open", try_open, EACCES, 1 },       { "create", try_create, EACCES, 1 },
        { "execve", try_execve, EACCES, 1 },   { "mkdir", try_mkdir, EACCES, 1 },
        { "ptrace", try_ptrace, EPERM, 1 },    { "bind", try_bind, EACCES, 4 },
        { "kill", try_kill, EPERM, 6 },        { "fork", try_fork, EAGAIN, 0 },
        { "SO_MARK", try_mark, EPERM, 0 },     { "IP_TRANSPARENT", try_transparent, EPERM, 0 },
        { "AF_PACKET", try_packet, EPERM, 0 }, { "setuid", try_setuid, EPERM, 0 },
        { "setresgid", try_setgid, EPERM, 0 }, { "setgroups", try_setgroups, EPERM, 0 },
        { "capset", try_capset, EPERM, 0 },    { "mount", try_mount, EPERM, 0 },
        { "chroot", try_chroot, EPERM, 0 },    { "more processes", try_rlimit, EPERM, 0 },
    };
    struct sandbox s = { .landlock = all.landlock };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status = all.landlock >= cases[i].landlock ? run(&s, PROCESS_WORKER, cases[i].fn) : 0;

        if (all.landlock >= cases[i].landlock && (!WIFEXITED(status) || WEXITSTATUS(status) != cases[i].error))
            fail_msg("%s: status %x", cases[i].name, (unsigned)status);
    }
    if (all.landlock >= 4) {
        assert_int_equal(WEXITSTATUS(run(&s, PROCESS_MINTER, try_connect)), EACCES);
        assert_int_equal(WEXITSTATUS(run(&s, PROCESS_WORKER, try_connect)), ECONNREFUSED);
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
    assert_int_equal(WEXITSTATUS(run(&s, PROCESS_WORKER, try_open)), 0);
    assert_false(sandbox_find(&s, SANDBOX_REQUIRED, &shared, missing));
    assert_non_null(strstr(missing, "share a user (there is no postern-logger)"));
    assert_true(sandbox_find(&s, SANDBOX_BEST, &shared, missing));
    s = (struct sandbox){ SANDBOX_BEST, USERS_OWN, 2, true };
    assert_string_equal(sandbox_text(&s, text), "a user for each kind of process, Landlock 2 (files), system calls limited");
    s = (struct sandbox){ SANDBOX_BEST, USERS_CALLER, 6, false };
    assert_string_equal(sandbox_text(&s, text), "the caller's user, Landlock 6 (files, TCP, signals), system calls not limited");
}

/* What root's securebits, sets and limits are behind it. */
static long look_at_self(void)
{
    struct rlimit cores, processes;

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
    assert_int_equal(run(&none, PROCESS_WORKER, look_at_self), 0);
    assert_int_equal(run(&none, PROCESS_MINTER, look_at_self), 0);
}

static int setup(void **state)
{
    struct identities who = { .users = USERS_OWN };
    char missing[SANDBOX_TEXT];

    (void)state;
    is_root = geteuid() == 0;
    tcp = socket(AF_INET, SOCK_STREAM, 0);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
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
