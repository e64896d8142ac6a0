/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_SOCKET_PATH_H
#define POSTERN_APP_SOCKET_PATH_H

#include "base/span.h"

#include <limits.h>

/* Where the control socket lies: the one order that posternd and posternctl share. */
#define SOCKET_NAME "control.sock"
#define SYSTEM_RUNTIME_DIR "/run/postern"

/* The folder of a posternd whose configuration names none: $XDG_RUNTIME_DIR/postern, or else postern-UID in $TMPDIR or /tmp. */
void socket_default_dir(char out[PATH_MAX]);
/* The folder under the system's temporary folder alone. */
void socket_temporary_dir(char out[PATH_MAX]);

#endif
