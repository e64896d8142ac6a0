/* SPDX-License-Identifier: ISC */
/*
 * Looking at a configuration without running it. It is read by the code that a start uses; what a start would do besides (open the
 * log, look up the user) is only looked at here, so that a check changes nothing.
 */
#include "app/check.h"

#include "app/privileges.h"

#include "app/files.h"
#include "app/generation_make.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool log_is_writable(const struct conf *conf)
{
    char copy[PATH_MAX];
    const char *place = conf->log_access;

    if (place == NULL || strcmp(place, "-") == 0)
        return true;
    snprintf(copy, sizeof(copy), "%s", place);
    if (access(place, F_OK) < 0)
        place = dirname(copy);
    if (access(place, W_OK) == 0)
        return true;
    fprintf(stderr, "%s: log.access: %s: %s\n", conf->file, place, strerror(errno));
    return false;
}

static bool user_is_good(const struct conf *conf)
{
    struct identity who;
    char error[256];

    if (conf->user == NULL || identity_find(&who, conf->user, error, sizeof(error)))
        return true;
    fprintf(stderr, "%s: user: %s\n", conf->file, error);
    return false;
}

int check_configuration(const char *path)
{
    struct blueprint *b = blueprint_make(path, 1, "postern", stderr, stderr);
    bool good = b != NULL;

    if (good) {
        good = user_is_good(b->conf);
        good = log_is_writable(b->conf) && good;
    }
    blueprint_free(b);
    return good ? 0 : 1;
}

int check_print(const char *path)
{
    struct blueprint *b = blueprint_make(path, 1, "postern", stderr, stderr);
    char *text = b != NULL ? conf_print(b->conf) : NULL;
    bool good = text != NULL && fputs(text, stdout) >= 0 && fflush(stdout) == 0;

    free(text);
    blueprint_free(b);
    return good ? 0 : 1;
}
