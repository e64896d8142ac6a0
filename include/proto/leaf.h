/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_LEAF_H
#define POSTERN_PROTO_LEAF_H

#include "base/span.h"
#include "proto/host.h"

/*
 * Certificates that stand for a server towards an inspected client: made by the minter, which holds the CA's key. A leaf names one
 * host, for the key of one worker; it is valid no longer than the server's own certificate.
 */
#define LEAF_MAX 2048    /* DER of a leaf */
#define LEAF_KEY_MAX 128 /* DER of a SubjectPublicKeyInfo with a P-256 key */

struct leaf_request {
    struct host name;       /* DNS name, or an address */
    struct span public_key; /* DER, SubjectPublicKeyInfo; P-256 or it is refused */
    int64_t from, until;    /* validity of the server's certificate, seconds of wall time */
    bool failing;           /* the server's certificate is not good: the leaf's subject says so */
};

struct ca; /* a CA's certificate and key */
/* PEM; NULL: `error` (256 bytes) says what is wrong: no CA (basicConstraints, keyUsage), key of another certificate, expired at
 * `now`, RSA below 2048 bits. The key's text is the caller's to wipe. */
MUST_CHECK struct ca *ca_open(struct span certificate, struct span key, int64_t now, char *error);
void ca_free(struct ca *ca);
/* Signs; DER into `out` of LEAF_MAX bytes. 0: refused (not valid now, no P-256 key, name too long), or no memory. */
MUST_CHECK size_t leaf_sign(const struct ca *ca, const struct leaf_request *request, int64_t now, char *out);

#endif
