/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_TLS_FACTS_H
#define POSTERN_BASE_TLS_FACTS_H

#include "base/span.h"

/* What is known of TLS on one side of a session, as rows, records and the log say it. */
enum tls_way { TLS_WAY_NONE, TLS_WAY_ENDED, TLS_WAY_PEEKED, TLS_WAY_INSPECTED, TLS_WAY_COUNT };
enum tls_alpn { TLS_ALPN_NONE, TLS_ALPN_HTTP1, TLS_ALPN_COUNT };

#define TLS_NAME 64    /* server name; longer ones are cut with a mark (span_show) */
#define TLS_SUBJECT 96 /* RFC 2253 form, cut likewise */
#define TLS_JA4 40

struct tls_facts {
    _Alignas(8) uint16_t version; /* 0x0303, 0x0304; peeked: the highest that was offered; 0: not known */
    uint16_t suite;               /* IANA's number; 0: not known */
    uint8_t way;                  /* enum tls_way; NONE: no TLS on this side */
    uint8_t alpn;                 /* enum tls_alpn, as agreed */
    bool resumed : 1;
    bool ech : 1;        /* the client offered encrypted_client_hello (or greased it) */
    bool unverified : 1; /* the peer's certificate was not looked at, because a policy says so */
    int32_t verify;      /* what OpenSSL's verification said (X509_V_ERR_*); 0: good, or there was nothing to verify */
    char name[TLS_NAME]; /* SNI; "": none */
    char ja4[TLS_JA4];   /* of the client */
    char subject[TLS_SUBJECT], issuer[TLS_SUBJECT]; /* of the peer's certificate; "": it has none */
};

const char *tls_way_name(enum tls_way v);   /* "", "ended", "peeked", "inspected" */
const char *tls_alpn_name(enum tls_alpn v); /* "", "http/1.1" */
const char *tls_version_name(uint16_t v);   /* "SSLv3" to "TLSv1.3"; "" for 0, "?" for others */
#define TLS_SUITE_TEXT 8
const char *tls_suite_name(uint16_t v, char out[TLS_SUITE_TEXT]); /* IANA's name, or "0x1234" in `out`; "" for 0 */

#endif
