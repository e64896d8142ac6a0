/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_SNIFF_H
#define POSTERN_PROTO_SNIFF_H

#include "base/span.h"

/*
 * Does a binary stream that ought to be an application's own begin as another protocol? `first` is what there is of its first
 * SNIFF_HIDDEN_MAX bytes; ask again with more as long as the answer is no. Once it is yes it stays yes, however many bytes follow.
 * Yes: a TLS record (RFC 8446 5.1; of handshake records those of a ClientHello or ServerHello), "SSH-" (RFC 4253 4.2), an HTTP
 * request line with a known method or the preface of HTTP/2, an HTTP status line, a SOCKS5 greeting with methods that exist (RFC
 * 1928 3), a SOCKS4 request with its user name.
 */
#define SNIFF_HIDDEN_MAX 64

bool sniff_hidden(struct span first);

#endif
