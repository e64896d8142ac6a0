/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_TLS_END_H
#define POSTERN_NET_TLS_END_H

#include "net/chunks.h"
#include "net/stream.h"
#include "net/tls_context.h"

/*
 * The TLS of a stream: for net/stream*.c and net/tls*.c alone. OpenSSL reads through a BIO that takes first what was kept before
 * TLS began, then what the socket has; it writes into the stream's output, which leaves as that of a plain stream does.
 */
struct tls_end {
    SSL *ssl;
    struct tls_context *context;
    struct tls_leaf *leaf; /* NULL: the context's own certificates */
    char *first;           /* what the stream had read before: OpenSSL reads it first */
    uint32_t first_at, first_len;
    struct chunks plain; /* waits to be encrypted */
    uint32_t held;       /* of the stream's output: all of it, session tickets, which leave with what is said next */
    uint64_t raw;        /* bytes ever put out since TLS began, without those that a failure left unsent */
    uint64_t encrypted;  /* of the stream's `queued`: what lies in them, and what was sent in clear before */
    enum tls_failure failure;
    uint8_t alert;            /* the peer's, of those that end a connection; 0: none */
    bool done;                /* the handshake */
    bool ready;               /* there is something for the owner, whatever the socket says */
    bool starved;             /* OpenSSL asked the socket for more than it had */
    bool raw_eof, raw_failed; /* of the socket */
    bool wanted;              /* the server asked for a certificate, and we have none */
    bool absent;              /* the client gave none */
    bool goodbye;             /* close_notify was put out, or cannot be */
    bool flooded;             /* too many messages after the handshake */
    enum tls_over { TLS_GOES_ON, TLS_EOF, TLS_TRUNCATED, TLS_BROKEN } over; /* told by the next read that brings nothing */
    unsigned messages, records;                                             /* of handshakes, after the handshake, since `since` */
    uint64_t since;                                                         /* ms */
    struct tls_peer peer;                                                   /* clients: `name` and `address` below */
    struct addr address;
    X509 *refused;              /* the server's certificate, if it is not good */
    const SSL_SESSION *resumes; /* what was tried: compared only */
    uint64_t until;             /* of the sessions that come of this one */
    char name[];
};

/* stream.c for stream_tls.c. Bytes read; 0: the peer's end; negative: STREAM_NOTHING now, or STREAM_ERROR. */
#define STREAM_NOTHING (-1)
#define STREAM_ERROR (-2)
ssize_t stream_recv(struct stream *s, char *at, size_t room);
void stream_stop_writing(struct stream *s);
/* Sends ciphertext. */
void stream_send_out(struct stream *s);

/* Between stream_tls.c and stream_secure.c. */
MUST_CHECK BIO *tls_bio_new(struct stream *s);
void tls_forget_errors(void);
/* The stream has something for its owner, whatever the socket says. */
void tls_ask_again(struct stream *s);
/* Nothing can be said or heard any more; an alert of ours may wait in the output. */
void tls_fail(struct stream *s);

/* stream_tls.c and stream_secure.c for stream.c. */
size_t tls_read(struct stream *s, char *at, size_t room);
int tls_look(struct stream *s);
MUST_CHECK bool tls_put(struct stream *s, struct span data);
MUST_CHECK bool tls_send(struct stream *s, struct span data);
/* Encrypts what waits, and says close_notify behind it if the stream was shut. */
void tls_encrypt(struct stream *s);
/* close_notify for a stream that is closed now, if nothing of it is cut off. */
void tls_farewell(struct stream *s);
void tls_end_free(struct stream *s);
/* The stream is another one now. */
void tls_moved(struct stream *s);

#endif
