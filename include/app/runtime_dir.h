/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_RUNTIME_DIR_H
#define POSTERN_APP_RUNTIME_DIR_H

#include "base/span.h"

#include <limits.h>
#include <sys/types.h>

/* The folder of one running posternd, locked for as long as it runs; in it the control socket, and a file with its process id. */
struct runtime_dir {
    int folder, socket;
    char path[PATH_MAX];         /* of the socket */
    ino_t socket_file, pid_file; /* those that are ours; 0: none */
};

/*
 * Makes the folder if need be (`configured`, or NULL for the default), checks whose it is, locks it and binds the control socket,
 * mode 0600. Refused: a folder that others can write (without the sticky bit) or own, a second posternd in it, and anything in
 * place of the socket that is not a socket of ours (it is not touched). false: `error` of `size` bytes says why.
 */
MUST_CHECK bool runtime_dir_open(struct runtime_dir *r, const char *configured, char *error, size_t size);
/* Is this open folder the configured one? */
bool runtime_dir_is(int fd, const char *configured);
/* The same in a folder that is locked and open already: another posternd's, which still serves the control socket. Ours is bound
 * beside it, and comes into its place when it is published. Owns `fd`, also if it fails. */
MUST_CHECK bool runtime_dir_inherit(struct runtime_dir *r, int fd, const char *configured, char *error, size_t size);
/* We serve: our socket and our process id are what is found there. false with errno set: one of them is not. */
bool runtime_dir_publish(struct runtime_dir *r);
/* Removes what is ours, and unlocks the folder if nobody else has it open. */
void runtime_dir_close(struct runtime_dir *r);

#endif
