/* SPDX-License-Identifier: ISC */
/*
 * Which checks are switched off: in no build but that of the preset `mutants`.
 */
#include "base/mutant.h"

#include <stdlib.h>
#include <string.h>

bool mutant_is_off(const char *check)
{
    const char *names = getenv("POSTERN_MUTANT");
    size_t len = strlen(check);

    while (names != NULL && *names != '\0') {
        if (strncmp(names, check, len) == 0 && (names[len] == ',' || names[len] == '\0'))
            return true;
        names = strchr(names, ',');
        names = names != NULL ? names + 1 : NULL;
    }
    return false;
}
