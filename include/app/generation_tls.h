/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_GENERATION_TLS_H
#define POSTERN_APP_GENERATION_TLS_H

#include "app/generation_make.h"

/*
 * The TLS files of a blueprint. Whoever reads one of its descriptors does so at offsets of his own (mmap, pread): processes share
 * them.
 */
/* Reads all and looks whether they are good; false: at least one error was written. */
MUST_CHECK bool generation_tls_read(struct blueprint *b, FILE *errors, FILE *warnings);
MUST_CHECK bool generation_tls_check(const struct blueprint *b, FILE *errors, FILE *warnings);
void generation_tls_free(struct blueprint *b);

/* To a worker, behind blueprint_send() and before IPC_COMMIT: the files but for the minter's key, and the key log. false with errno
 * set. */
MUST_CHECK bool blueprint_send_tls(const struct blueprint *b, int ipc);

/* To control, likewise: when the certificates among the files end. false with errno set. */
MUST_CHECK bool blueprint_send_tls_ends(const struct blueprint *b, int ipc);

/* Opens tls.keylog, if there is one. A check of a configuration does not: it would make the file. */
MUST_CHECK bool blueprint_open_keylog(struct blueprint *b, char *error);
/* Is the interception key good? For checks of a configuration: a running posternd asks the minter. */
MUST_CHECK bool blueprint_check_minter(const struct blueprint *b, FILE *errors);

#endif
