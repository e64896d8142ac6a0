/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_TICKET_KEYS_H
#define POSTERN_APP_TICKET_KEYS_H

#include "net/tls.h"

/*
 * Keys of session tickets as one posternd tells them to the next, which may be of another version: milliseconds until they are
 * replaced, then each key in hexadecimal digits, the one that encrypts first. The text is as secret as the keys: whoever has it in
 * hand wipes it.
 */
#define TICKET_KEYS_TEXT (24 + TLS_TICKET_KEYS * (2 * sizeof(struct tls_ticket_key) + 1))

void ticket_keys_write(const struct tls_ticket_key *keys, size_t count, uint64_t left_ms, char out[TICKET_KEYS_TEXT]);
/* How many keys it reads into `keys` (TLS_TICKET_KEYS of them); 0: it is not such a text, and neither `keys` nor `left_ms` has
 * changed. */
MUST_CHECK size_t ticket_keys_read(const char *text, struct tls_ticket_key *keys, uint64_t *left_ms);

#endif
