/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_HELLO_H
#define POSTERN_PROTO_HELLO_H

#include "base/reason.h"
#include "base/tls_facts.h"
#include "proto/host.h"

/* What the first bytes of a stream are. MORE: too few to tell. */
enum sniff { SNIFF_MORE, SNIFF_HTTP, SNIFF_TLS, SNIFF_SOCKS5, SNIFF_SOCKS4, SNIFF_OTHER };
/*
 * HTTP: a method known to llhttp's HTTP table (RFC 9110, WebDAV, PATCH) and a space, or a prefix of it (MORE). One CRLF before it
 * is ignored. TLS: any of its records (20..23, 3), or a ClientHello as of SSL 2.0; only a handshake record can be more than
 * malformed. SOCKS: version byte 5 or 4.
 */
enum sniff sniff_bytes(struct span in);
/* On an explicit listener, where only HTTP and SOCKS are spoken: everything that is not SOCKS or TLS is taken for HTTP. */
enum sniff sniff_explicit(struct span in);

/*
 * A TLS ClientHello (RFC 8446 4.1.2), assembled across records. Nothing is decrypted.
 */
#define HELLO_MAX 16640 /* bytes of ClientHello with record headers that are looked at; a longer one is malformed */

struct hello {
    bool has_sni, has_alpn, has_ech;
    struct host sni; /* valid if has_sni */
    bool alpn_http1, alpn_h2;
    uint16_t version;  /* highest version offered */
    size_t wanted;     /* HELLO_MORE: with fewer bytes than these, from the start, there is no need to ask again */
    char ja4[TLS_JA4]; /* fingerprint (JA4, TCP), "t13d1516h2_8daaf6152771_e5627efa2ab1" */
};

enum hello_progress { HELLO_MORE, HELLO_DONE, HELLO_BAD };
/* `in` is all bytes so far, from the start. BAD: R_HELLO_MALFORMED (also a server name that is no name, or an address). */
MUST_CHECK enum hello_progress hello_parse(struct span in, struct hello *out);

#endif
