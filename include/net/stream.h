/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_STREAM_H
#define POSTERN_NET_STREAM_H

#include "base/span.h"
#include "net/chunks.h"
#include "net/loop.h"
#include "net/tls.h"

#include <sys/types.h>

/*
 * One end of a TCP connection. The descriptor is registered once, edge-triggered; the flags remember what the kernel said. Input is
 * read into the loop's shared buffer and what the owner does not take is kept here; output goes out at once and what the kernel
 * does not take is kept in pooled chunks. An idle stream holds neither. TLS ends below this interface: a secured stream reads and
 * writes what is inside.
 *
 * The owner is told by on_ready that something changed, and then asks. No function here calls the owner back, and none closes.
 */
struct stream {
    int fd; /* -1: closed */
    struct loop *loop;
    void (*on_ready)(void *owner);
    void *owner;
    struct loop_source source;
    struct loop_again again;
    struct timer settle;               /* asks for a reset that came with the last bytes */
    bool can_read, can_write, hang_up; /* as the kernel last said */
    bool asks_for_room;                /* the kernel is asked to say when can_write comes true again */
    bool eof;                          /* the peer will send nothing more, and all that it sent was read */
    bool failed;                       /* reset, or another error: nothing can be read or written any more */
    bool broken; /* nothing can be written any more; what the peer sent before can be read until eof or failed */
    bool shut;   /* we sent our end of file, or will when the output is out */
    bool shut_sent;
    bool bulk;   /* its last read brought all that there was room for */
    bool urgent; /* the peer marked a byte as urgent: reads stop there, and more can lie behind */
    bool muted;  /* the kernel does not tell that it can be read: it can, but its output is full (net/splice.c) */
    char *kept;  /* input that was read and not taken */
    uint32_t kept_len, kept_size;
    struct pipe *pipe;   /* output that came from another stream unread, in front of the rest; NULL: none */
    struct chunks out;   /* output that waits for the kernel */
    uint64_t queued;     /* bytes ever given to stream_put and stream_send, without those that a failure left unsent */
    uint64_t acked;      /* of `queued`, as far as was heard */
    uint64_t received;   /* bytes ever read */
    struct tls_end *tls; /* NULL: in clear */
    bool truncated;      /* eof without close_notify: whoever framed by the end must not believe it */
    bool flooded;        /* failed because of too many TLS messages after the handshake */
    struct stream_mark {
        bool set, written;
        uint64_t at;  /* of `queued` */
        uint64_t raw; /* bytes of ciphertext when that was written */
    } mark;
};

/* Output beyond this makes the side that feeds it wait: with one more read, and its framing, 128 KiB are never exceeded. */
#define STREAM_HIGH_WATER 61440u

/* Takes over a connected, non-blocking descriptor. false: it could not be registered (and is closed). */
MUST_CHECK bool stream_open(struct stream *s, struct loop *loop, int fd, void (*on_ready)(void *owner), void *owner);
/* Closes; with `reset` the peer sees a reset (RST) rather than an end. Kept input and output are dropped. Closed streams may be
 * closed. */
void stream_close(struct stream *s, bool reset);
/* Lets go of the descriptor of an idle stream and returns it. Nothing waits; what is still kept was used, though not yet taken. */
int stream_release(struct stream *s);
bool stream_is_open(const struct stream *s);

/*
 * All input that is there: what was kept, and what a read gives now (at most LOOP_READ_BYTES in all; a stream with more is queued
 * for another turn). It lies in the loop's buffer, until any stream is read. Follow with stream_taken(). `more`: read even if
 * something was kept; without it kept bytes are returned as they are.
 */
struct span stream_input(struct stream *s, bool more);
/* The owner used the first `used` bytes of what stream_input() returned; the rest is kept. false: no memory. */
MUST_CHECK bool stream_taken(struct stream *s, struct span input, size_t used);
/* Puts input that was taken back in front of all else that is kept. false: no memory, or no room to read it again. */
MUST_CHECK bool stream_untake(struct stream *s, struct span input);
/* Is there anything to read, kept or new, or an end to be seen? */
bool stream_has_input(const struct stream *s);
/* Input that was read and not taken. */
uint32_t stream_kept(const struct stream *s);

/* Its owner left input that it could have taken: on_ready is called in another turn, after whatever else has happened. */
void stream_again(struct stream *s);
/* Is it waiting for that, or for more to be read? */
bool stream_waits_again(const struct stream *s);

/* Puts a copy behind the output; it leaves with the next send or flush. false: no memory. */
MUST_CHECK bool stream_put(struct stream *s, const void *data, size_t len);
/*
 * Sends now, with what waits in front, and copies what the kernel does not take; the little ones wait for the flush, to share a
 * packet. `data` may be anywhere. false: no memory.
 */
MUST_CHECK bool stream_send(struct stream *s, struct span data);
/* Sends what waits. */
void stream_flush(struct stream *s);
/* Output that waits. */
uint32_t stream_waiting(const struct stream *s);
/* Must whoever feeds it stop? At or above STREAM_HIGH_WATER, and while bytes that were spliced wait. */
bool stream_is_full(const struct stream *s);
/*
 * Moves at most `most` bytes that nobody has to see from one stream to another, without copying them. Returns how many; 0: that is
 * not possible or not worth it now, or `from` has nothing, or an end: read and send. Not to be called while `to` is full.
 */
size_t stream_splice(struct stream *from, struct stream *to, uint64_t most);
/* End of file behind the output. */
void stream_shutdown(struct stream *s);

/*
 * TLS from here on. As a server: what is kept (a ClientHello that was looked at) is the first that TLS reads; `leaf` NULL: the
 * context's own certificates. As a client: nothing may be kept. false: no memory.
 */
MUST_CHECK bool stream_secure_server(struct stream *s, struct tls_context *context, struct tls_leaf *leaf);
MUST_CHECK bool stream_secure_client(struct stream *s, struct tls_context *context, const struct tls_peer *peer);
bool stream_is_secure(const struct stream *s);
/* Is a handshake under way? Then the stream has no input for its owner, and what is sent waits. */
bool stream_is_securing(const struct stream *s);
/*
 * Goes on with the handshake. MORE: on_ready is called when it can go on. FAILED: stream_failure() says why; our alert was sent;
 * the stream is of no more use than to be closed.
 */
enum tls_progress { TLS_MORE, TLS_DONE, TLS_FAILED };
enum tls_progress stream_handshake(struct stream *s);
enum tls_failure stream_failure(const struct stream *s);
/* What is known of TLS here; fields that only the owner knows (way, name of a client's, ja4, ech) are left as they are. */
void stream_tls_facts(const struct stream *s, struct tls_facts *out);
/* The subject of the peer's certificate in RFC 2253's form, whole; not called if there is none. */
void stream_peer_subject(const struct stream *s, void (*subject)(void *arg, struct span text), void *arg);
/* Each subjectAltName of the peer's certificate as "DNS:x", "IP:x", "email:x", "URI:x". */
void stream_peer_names(const struct stream *s, void (*name)(void *arg, struct span name), void *arg);
/* When the peer's certificate begins and ends to be valid (seconds of wall time). false: it has none. */
MUST_CHECK bool stream_peer_validity(const struct stream *s, int64_t *from, int64_t *until);
/* Would this client, with the certificate that it showed or without one, be taken by another server's context, too? */
MUST_CHECK bool stream_peer_fits(const struct stream *s, const struct tls_context *context);
/* Moves an open stream, TLS and all, to another owner. `from` is closed afterwards; nothing may be kept or wait in it. */
void stream_move(struct stream *to, struct stream *from, void (*on_ready)(void *owner), void *owner);

/* Remembers that all that was queued up to now ends here; one mark a stream, the newest. */
void stream_set_mark(struct stream *s);
/* Has the peer's kernel acknowledged everything up to the mark? */
bool stream_mark_acknowledged(struct stream *s);

/* Bytes the peer's kernel has acknowledged, of all that were queued (SIOCOUTQ, tcp(7)); over TLS never more than that. Nobody is
 * asked when all were. */
uint64_t stream_acknowledged(struct stream *s);
/* The same of bytes as the socket has them, records of TLS among them: how many were ever given to it, or wait for it, and how many
 * of these the peer's kernel has acknowledged. For whoever asks whether a peer takes anything. */
uint64_t stream_wire_given(const struct stream *s);
uint64_t stream_wire_taken(const struct stream *s);
/* Do unread bytes, or an end, lie in the socket at this moment? 1: bytes, 0: nothing, -1: end or error. One system call. */
int stream_look(struct stream *s);

#endif
