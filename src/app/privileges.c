/* SPDX-License-Identifier: ISC */
/*
 * What a child gives up between fork and its first message. The order matters: descriptors first; the bounding set and securebits
 * while there is still a capability to do it with; then groups before the user; then the capabilities that may be left when nobody
 * was root; then the promise that exec brings nothing back. Everything is verified, because a half-dropped process looks like a
 * whole one. The filter process keeps one capability over the change of its user: CAP_NET_ADMIN.
 *
 * Between the two halves a child maps, opens and loads what it needs. Then the door closes: Landlock, which needs the promise about
 * exec, and last of all the list of system calls, which would not let any of the others pass.
 *
 * A build with the address sanitizer stays traceable: its leak check traces the process from a thread of its own.
 */
#include "app/privileges.h"

#include "base/log.h"
#include "base/regex.h"
#include "base/sanitizer.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NO_CAPABILITY (-1)

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void close_others(const int *keep, size_t count)
{
    int sorted[512];
    unsigned from = STDERR_FILENO + 1;

    if (count > sizeof(sorted) / sizeof(sorted[0]))
        fatal("too many descriptors to keep");
    memcpy(sorted, keep, count * sizeof(*keep));
    qsort(sorted, count, sizeof(*sorted), by_number);
    for (size_t i = 0; i < count; i++) {
        if (sorted[i] < (int)from)
            continue;
        if ((unsigned)sorted[i] > from && close_range(from, (unsigned)sorted[i] - 1, 0) < 0)
            fatal("close_range: %s", strerror(errno));
        from = (unsigned)sorted[i] + 1;
    }
    if (close_range(from, ~0u, 0) < 0)
        fatal("close_range: %s", strerror(errno));
}

/* Needs CAP_SETPCAP; who has it not can gain nothing by exec after PR_SET_NO_NEW_PRIVS anyway. */
static void drop_bounding_set(int kept)
{
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (cap != kept && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            fatal("cannot drop capability %d: %s", cap, strerror(errno));
}

/* Root is nobody special to exec, ambient capabilities are off, and nothing of this is ever changed again. */
static void lock_securebits(int kept)
{
    unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                         SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

    if (kept != NO_CAPABILITY)
        bits |= SECBIT_KEEP_CAPS; /* over the change of the user, what is permitted; exec, which there is none, would clear it */
    if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0 || prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) != (int)bits)
        fatal("securebits: %s", strerror(errno));
}

static void change_user(const struct identity *who)
{
    if (setgroups(0, NULL) < 0 || setresgid(who->gid, who->gid, who->gid) < 0 || setresuid(who->uid, who->uid, who->uid) < 0)
        fatal("cannot become user %u: %s", (unsigned)who->uid, strerror(errno));
    if (setresuid((uid_t)-1, 0, (uid_t)-1) == 0 || setuid(0) == 0 || geteuid() != who->uid || getegid() != who->gid)
        fatal("root could be had again");
}

/* What is effective is lost with the user, and what of it is kept is taken up again here. */
static void drop_capabilities(int kept)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct wanted[2] = { 0 }, left[2] = { 0 };

    if (kept != NO_CAPABILITY)
        wanted[CAP_TO_INDEX(kept)].permitted = wanted[CAP_TO_INDEX(kept)].effective = CAP_TO_MASK(kept);
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
        fatal("ambient capabilities: %s", strerror(errno));
    if (syscall(SYS_capset, &header, wanted) < 0 && errno == EPERM && kept == CAP_NET_ADMIN)
        fatal("CAP_NET_ADMIN is missing: without it the packet filter cannot be programmed");
    if (syscall(SYS_capset, &header, wanted) < 0 || syscall(SYS_capget, &header, left) < 0)
        fatal("capabilities: %s", strerror(errno));
    if (memcmp(wanted, left, sizeof(wanted)) != 0)
        fatal(kept == NO_CAPABILITY ? "capabilities are left" : "not the one capability is left that is needed");
}

/* Of who was root: nothing but `kept` may ever be had again. */
static void verify_bounding_set(int kept)
{
    for (int cap = 0, there; (there = prctl(PR_CAPBSET_READ, cap, 0, 0, 0)) >= 0; cap++)
        if (there != (cap == kept))
            fatal("capability %d is %s the bounding set", cap, there ? "still in" : "not in");
    if (setuid(0) == 0 || setresuid((uid_t)-1, 0, (uid_t)-1) == 0)
        fatal("root could be had again");
}

static void limit(int what, const char *name)
{
    struct rlimit none = { 0, 0 };

    if (setrlimit(what, &none) < 0)
        fatal("%s: %s", name, strerror(errno));
}

void privileges_no_core(void)
{
    limit(RLIMIT_CORE, "RLIMIT_CORE");
    if (prctl(PR_SET_DUMPABLE, SANITIZED, 0, 0, 0) < 0)
        fatal("PR_SET_DUMPABLE: %s", strerror(errno));
}

static void drop_user(const struct identity *who, int kept)
{
    if (!who->change) {
        drop_capabilities(kept);
        return;
    }
    drop_bounding_set(kept);
    lock_securebits(kept);
    change_user(who);
    drop_capabilities(kept);
    verify_bounding_set(kept);
}

/*
 * The logger writes files, filter gives nftables its text as one, and a worker may write the secrets of sessions (tls.keylog).
 * Standard error may be a file, too.
 */
static bool writes_files(enum process_kind kind)
{
    struct stat st;

    return COVERED || (kind != PROCESS_CONTROL && kind != PROCESS_MINTER) || fstat(STDERR_FILENO, &st) != 0 || S_ISREG(st.st_mode);
}

static void seal(enum process_kind kind, const char *title)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        fatal("PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
    privileges_no_core();
    if (!SANITIZED)
        limit(RLIMIT_NPROC, "RLIMIT_NPROC");
    if (!writes_files(kind))
        limit(RLIMIT_FSIZE, "RLIMIT_FSIZE");
    if (prctl(PR_SET_NAME, title, 0, 0, 0) < 0)
        fatal("PR_SET_NAME: %s", strerror(errno));
}

void privileges_drop(const struct identity *who, enum process_kind kind, const int *keep, size_t keep_count, const char *title)
{
    close_others(keep, keep_count);
    drop_user(who, kind == PROCESS_FILTER ? CAP_NET_ADMIN : NO_CAPABILITY);
    seal(kind, title);
}

void privileges_close_door(const struct sandbox *sandbox, enum process_kind kind)
{
    if (sandbox->calls)
        regex_interpret_only();
    sandbox_restrict_files(sandbox, kind);
    sandbox_restrict_calls(sandbox, kind);
}

size_t privileges_raise_files(void)
{
    struct rlimit files = { 0, 0 };

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        struct rlimit more = { files.rlim_max, files.rlim_max };

        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            files.rlim_cur = files.rlim_max;
    }
    return files.rlim_cur;
}
