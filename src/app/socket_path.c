/* SPDX-License-Identifier: ISC */
/*
 * Names of folders, nothing else: posternd makes and checks them (app/runtime_dir.c), posternctl looks there.
 */
#include "app/socket_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void socket_temporary_dir(char out[PATH_MAX])
{
    const char *folder = getenv("TMPDIR");

    snprintf(out, PATH_MAX, "%s/postern-%u", folder != NULL && folder[0] == '/' ? folder : "/tmp", (unsigned)geteuid());
}

void socket_default_dir(char out[PATH_MAX])
{
    const char *folder = getenv("XDG_RUNTIME_DIR");

    if (folder != NULL && folder[0] == '/')
        snprintf(out, PATH_MAX, "%s/postern", folder);
    else
        socket_temporary_dir(out);
}
