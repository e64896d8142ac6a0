/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_JA4_H
#define POSTERN_PROTO_JA4_H

#include "base/tls_facts.h"

/*
 * JA4, the fingerprint of a TLS client over TCP, as FoxIO publishes it (technical_details/JA4.md): transport, version, with or
 * without server name, how many cipher suites and extensions, the first protocol; a hash of the sorted suites; a hash of the sorted
 * extensions and of the signature algorithms in their order. GREASE (RFC 8701) is left out everywhere.
 */
struct ja4_input {
    uint16_t version; /* the highest of supported_versions without GREASE, or else the hello's own; 0: none */
    bool has_sni;
    struct span alpn;              /* the first protocol; empty: none */
    uint16_t *suites, *extensions; /* as offered, with GREASE; they are sorted in place */
    size_t suite_count, extension_count;
    const uint16_t *signatures; /* signature_algorithms, as offered */
    size_t signature_count;
};

/* false: no memory for the hashes. */
MUST_CHECK bool ja4_write(struct ja4_input *in, char out[TLS_JA4]);
/* Is this one of the values that stand for nothing (RFC 8701)? */
bool ja4_is_grease(unsigned value);

#endif
