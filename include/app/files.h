/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_FILES_H
#define POSTERN_APP_FILES_H

#include "base/span.h"

/* Files as the monitor reads and makes them. Errors are a whole sentence with the path in front, in `error` of FILE_ERROR bytes. */
#define FILE_ERROR 4352

/*
 * TRUSTED: the file decides what is allowed. It must be a regular file of root's or ours that nobody else can write, in a directory
 * for which the same holds (or that has the sticky bit), under directories that not everybody can write. Symbolic links are
 * resolved first, and the real file is what is checked. SECRET: the same, and nobody else can read it either. SYSTEM: a file that
 * the system keeps; only that it is regular is checked.
 */
enum file_trust { FILE_TRUSTED, FILE_SECRET, FILE_SYSTEM };

/* Opens a file of at most `max` bytes for reading. -1: `error` says why, and errno is ENOENT if it is not there. */
MUST_CHECK int file_open(const char *path, enum file_trust trust, size_t max, char *error);

/*
 * Reads a whole file of at most `max` bytes into malloc'd memory with a NUL behind it. NULL: `error` says why, and errno is ENOENT
 * if it is not there. Never waits for a FIFO or a device.
 */
MUST_CHECK char *file_read(const char *path, enum file_trust trust, size_t max, size_t *len, char *error);

/* Opens a log for appending, making it with 0640. "-" is standard output. Never waits for the reader of a FIFO. -1: see `error`. */
MUST_CHECK int file_open_log(const char *path, char *error);

/* Opens a file that secrets are appended to, making it with 0600: nobody else may read or write it. -1: see `error`. */
MUST_CHECK int file_open_secrets(const char *path, char *error);

/* An anonymous file of `size` zero bytes whose size is sealed (memfd_create(2)); -1 with errno set. */
MUST_CHECK int memfd_sized(const char *name, size_t size);
/* The same with content, sealed against any change. */
MUST_CHECK int memfd_sealed(const char *name, struct span content);
/* Seals a memfd against any change: it must not be mapped for writing any more. */
MUST_CHECK bool memfd_seal(int fd);
/* A second descriptor for the same file that can only read; -1 with errno set. Needs /proc. */
MUST_CHECK int memfd_read_only(int fd);

#endif
