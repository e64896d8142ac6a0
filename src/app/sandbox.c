/* SPDX-License-Identifier: ISC */
/*
 * What this system's sandbox is, and what it is called. Nothing is concluded from the kernel's version: a container may forbid what
 * the kernel has. So a child of the monitor's tries, and its exit status says what worked.
 */
#include "app/sandbox.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED_LANDLOCK 1
#define FAILED_CALLS 2

/* Nothing of its stays behind: it ends with what it tried. */
static int try_in_child(unsigned landlock)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        int failed = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? FAILED_LANDLOCK | FAILED_CALLS : 0;

        if (landlock > 0 && !landlock_apply(landlock, PROCESS_CONTROL))
            failed |= FAILED_LANDLOCK;
        if (!calls_apply(PROCESS_CONTROL))
            failed |= FAILED_CALLS;
        _exit(failed);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : FAILED_LANDLOCK | FAILED_CALLS;
}

static void say(char missing[SANDBOX_TEXT], const char *what)
{
    size_t used = strlen(missing);

    snprintf(missing + used, SANDBOX_TEXT - used, "%s%s", used > 0 ? "; " : "", what);
}

static void say_users(const struct identities *who, char missing[SANDBOX_TEXT])
{
    char text[IDENTITY_TEXT + 64];

    snprintf(text, sizeof(text), "processes share a user%s%s%s", who->missing[0] != '\0' ? " (there is no " : "", who->missing,
             who->missing[0] != '\0' ? ")" : "");
    say(missing, text);
}

bool sandbox_find(struct sandbox *out, enum conf_sandbox wanted, const struct identities *who, char missing[SANDBOX_TEXT])
{
    int failed;

    *out = (struct sandbox){ .wanted = wanted, .users = who->users };
    missing[0] = '\0';
    if (wanted == SANDBOX_OFF)
        return true;
    out->landlock = landlock_version();
    if (!calls_compile()) {
        say(missing, "no memory for the lists of system calls");
        return false;
    }
    failed = try_in_child(out->landlock);
    if (failed & FAILED_LANDLOCK)
        out->landlock = 0;
    out->calls = !(failed & FAILED_CALLS);
    if (who->users == USERS_SHARED)
        say_users(who, missing);
    if (out->landlock == 0)
        say(missing, "no Landlock: files are kept closed by the list of system calls and by users alone");
    if (!out->calls)
        say(missing, "no seccomp: system calls are not limited");
    return wanted != SANDBOX_REQUIRED || missing[0] == '\0';
}

const char *sandbox_users_name(enum users users)
{
    static const char *const names[] = { [USERS_CALLER] = "caller", [USERS_SHARED] = "shared", [USERS_OWN] = "own" };

    return names[users];
}

const char *sandbox_wanted_name(enum conf_sandbox wanted)
{
    static const char *const names[] = { [SANDBOX_REQUIRED] = "required", [SANDBOX_BEST] = "best", [SANDBOX_OFF] = "off" };

    return names[wanted];
}

const char *sandbox_text(const struct sandbox *s, char out[SANDBOX_TEXT])
{
    static const char *const users[] = { [USERS_CALLER] = "the caller's user",
                                         [USERS_SHARED] = "a user that processes share",
                                         [USERS_OWN] = "a user for each kind of process" };
    char files[64] = "no Landlock";

    if (s->landlock > 0)
        snprintf(files, sizeof(files), "Landlock %u (files%s%s)", s->landlock, s->landlock >= 4 ? ", TCP" : "",
                 s->landlock >= 6 ? ", signals" : "");
    snprintf(out, SANDBOX_TEXT, "%s, %s, %s", users[s->users], files,
             s->calls ? "system calls limited" : "system calls not limited");
    return out;
}

void sandbox_restrict_files(const struct sandbox *s, enum process_kind kind)
{
    if (s->landlock > 0 && !landlock_apply(s->landlock, kind))
        fatal("Landlock: %s", strerror(errno));
}

void sandbox_restrict_calls(const struct sandbox *s, enum process_kind kind)
{
    if (s->calls && !calls_apply(kind))
        fatal("seccomp: %s", strerror(errno));
}
