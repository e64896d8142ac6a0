/* SPDX-License-Identifier: ISC */
/*
 * Landlock: a ruleset that handles everything which the running kernel knows and allows next to nothing, so that no file can be
 * opened, no TCP port bound, nothing outside signalled. Descriptors that are open, or come over a socket, go on working. The three
 * system calls are made here: Debian 12 has no library for them, and its header ends at version 2. Later bits are defined below as
 * the kernel has them; versions that do not know them are not asked for them.
 *
 * Only filter has rules: it reads, and switches on accounting, below /proc/sys, and nftables reads names of protocols below /etc;
 * files there may be replaced, so a rule for one of them would not last. It and the workers connect to servers and listeners.
 *
 * Builds that are instrumented may read files, as their run time does for its reports; gcov also writes them.
 */
#include "app/sandbox.h"

#include "base/sanitizer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FS_REFER (1ull << 13)     /* version 2 */
#define FS_TRUNCATE (1ull << 14)  /* version 3 */
#define FS_IOCTL_DEV (1ull << 15) /* version 5 */
#define NET_BIND_TCP (1ull << 0)  /* version 4 */
#define NET_CONNECT_TCP (1ull << 1)
#define SCOPE_ABSTRACT_UNIX (1ull << 0) /* version 6 */
#define SCOPE_SIGNAL (1ull << 1)
#define FS_FIRST 0x1fffull /* the thirteen bits of version 1 */

/* As the kernel has it from version 6 on; it takes shorter ones from older programs, and zeros that it does not know. */
struct ruleset {
    uint64_t handled_fs, handled_net, scoped;
};

static struct ruleset everything(unsigned version, enum process_kind kind)
{
    struct ruleset r = { .handled_fs = FS_FIRST };

    if (version >= 2)
        r.handled_fs |= FS_REFER;
    if (version >= 3)
        r.handled_fs |= FS_TRUNCATE;
    if (version >= 4)
        r.handled_net = kind == PROCESS_WORKER ? NET_BIND_TCP : kind == PROCESS_FILTER ? 0 : NET_BIND_TCP | NET_CONNECT_TCP;
    if (version >= 5)
        r.handled_fs |= FS_IOCTL_DEV;
    if (version >= 6)
        r.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
    return r;
}

static bool allow(int ruleset, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = open(path, O_PATH | O_CLOEXEC) };
    bool good = rule.parent_fd >= 0 && syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    int saved = errno;

    if (rule.parent_fd >= 0)
        close(rule.parent_fd);
    errno = saved;
    return good;
}

static bool allow_exceptions(int ruleset, enum process_kind kind, uint64_t handled)
{
    const uint64_t reads = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    const uint64_t writes = LANDLOCK_ACCESS_FS_WRITE_FILE | (handled & FS_TRUNCATE);

    if (kind == PROCESS_FILTER && !(allow(ruleset, "/proc", reads | writes) && allow(ruleset, "/etc", reads)))
        return false;
    if (COVERED)
        return allow(ruleset, "/", handled);
    return !SANITIZED || allow(ruleset, "/", reads);
}

unsigned landlock_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return version > 0 ? (unsigned)version : 0;
}

bool landlock_apply(unsigned version, enum process_kind kind)
{
    struct ruleset r = everything(version, kind);
    int fd = (int)syscall(SYS_landlock_create_ruleset, &r, version >= 6 ? sizeof(r) : version >= 4 ? 16 : 8, 0), saved;
    bool good = fd >= 0 && allow_exceptions(fd, kind, r.handled_fs) && syscall(SYS_landlock_restrict_self, fd, 0) == 0;

    saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return good;
}
