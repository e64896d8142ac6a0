/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_RUNTIME_DIR_H
#define POSTERN_APP_RUNTIME_DIR_H

#include "base/span.h"

#include <limits.h>

/* The folder of one running posternd, locked for as long as it runs, and the control socket in it. */
struct runtime_dir {
    int folder, socket;
    char path[PATH_MAX]; /* of the socket */
};

/*
 * Makes the folder if need be (`configured`, or NULL for the default), checks whose it is, locks it and binds the control socket,
 * mode 0600. Refused: a folder that others can write (without the sticky bit) or own, a second posternd in it, and anything in
 * place of the socket that is not a socket of ours (it is not touched). false: `error` of `size` bytes says why.
 */
MUST_CHECK bool runtime_dir_open(struct runtime_dir *r, const char *configured, char *error, size_t size);
/* Removes the socket and unlocks the folder. */
void runtime_dir_close(struct runtime_dir *r);

#endif
