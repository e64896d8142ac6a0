/* SPDX-License-Identifier: ISC */
/*
 * The users that the children run as. One user is enough to be rid of root; with one for each kind of process the kernel also keeps
 * them apart from each other: none may signal, trace or outlive the limits of another. They are found by their names and must have
 * been made before (by the package, or by the operator): an unused number that was taken without asking could be somebody's
 * tomorrow, and the rules of the packet filter name users.
 */
#include "app/identity.h"

#include "base/log.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const suffixes[PROCESS_KINDS] = { [PROCESS_LOGGER] = "logger",
                                                     [PROCESS_CONTROL] = "control",
                                                     [PROCESS_WORKER] = "worker",
                                                     [PROCESS_FILTER] = "filter",
                                                     [PROCESS_MINTER] = "minter" };

static bool take(struct identity *out, const struct passwd *user, char *error, size_t size)
{
    if (user->pw_uid == 0) {
        snprintf(error, size, "user \"%s\" is root: workers must not run as root", user->pw_name);
        return false;
    }
    *out = (struct identity){ true, user->pw_uid, user->pw_gid };
    return true;
}

/* The user that they have in common. */
static bool find_common(struct identity *out, const char **name, char *error, size_t size)
{
    const char *wanted = *name != NULL ? *name : "postern";
    const struct passwd *user = getpwnam(wanted);

    if (user == NULL && *name == NULL) {
        wanted = "nobody";
        user = getpwnam(wanted);
        log_warn("there is no user \"postern\": workers run as \"nobody\"");
    }
    *name = wanted;
    if (user != NULL)
        return take(out, user, error, size);
    snprintf(error, size, "no user has the name \"%s\": make it (useradd --system)", wanted);
    return false;
}

static void note_missing(struct identities *all, const char *name)
{
    size_t used = strlen(all->missing);

    snprintf(all->missing + used, sizeof(all->missing) - used, "%s%s", used > 0 ? ", " : "", name);
}

static bool are_apart(const struct identities *all)
{
    for (size_t i = 0; i < PROCESS_KINDS; i++)
        for (size_t k = 0; k < i; k++)
            if (all->of[i].uid == all->of[k].uid)
                return false;
    return true;
}

bool identities_find(struct identities *out, const char *name, char *error, size_t size)
{
    struct identity common = { false, geteuid(), getegid() };
    char own[64];

    memset(out, 0, sizeof(*out));
    if (geteuid() == 0 && !find_common(&common, &name, error, size))
        return false;
    for (size_t i = 0; i < PROCESS_KINDS; i++) {
        const struct passwd *user;

        out->of[i] = common;
        if (!common.change)
            continue;
        snprintf(own, sizeof(own), "%s-%s", name, suffixes[i]);
        user = getpwnam(own);
        if (user == NULL)
            note_missing(out, own);
        else if (!take(&out->of[i], user, error, size))
            return false;
    }
    if (common.change)
        out->users = are_apart(out) ? USERS_OWN : USERS_SHARED;
    return true;
}
