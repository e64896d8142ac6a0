/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_HANDSHAKE_H
#define POSTERN_SESSION_HANDSHAKE_H

#include "proto/hello.h"
#include "session/leaves.h"
#include "session/session.h"

/*
 * TLS of a session. A ClientHello is always read by us first; what it says decides whether there is a handshake at all:
 *
 *   handshake.c  the client's side of a TLS listener: sniff -> handshake -> sniff, or http of a reverse one; both sides' turns
 *   upstream.c   the server's side: a dialled connection is secured before anything is written on it
 *   inspect.c    TLS inside a tunnel that a policy wants to see: the server first, then a leaf for its name, then the client
 */
enum inspection {
    INSPECT_NOT,
    INSPECT_SERVER, /* the server's handshake is under way */
    INSPECT_LEAF,   /* the minter was asked */
    INSPECT_CLIENT, /* the client's handshake is under way */
    INSPECT_SHOWN,  /* it is over, and the client has said nothing yet */
    INSPECT_HEARD   /* it went on to speak: it accepted the leaf */
};

#define HANDSHAKE_OLDEST 0x0303 /* TLS 1.2 */

/* What a ClientHello said. */
struct hello_note {
    bool seen, has_ech, alpn_fits;
    uint16_t version;
    struct host sni; /* len 0: none */
    char ja4[TLS_JA4];
};

struct shown_certificate; /* the client's, copied */

/* NULL in sessions in clear. */
struct session_tls {
    bool ended;                /* the client's TLS ends at this listener, and its handshake is over */
    struct hello_note hello;   /* to the listener */
    struct hello_note *inside; /* in the tunnel; NULL: none was seen */
    struct shown_certificate *certificate;
    size_t wanted;         /* bytes of a ClientHello that there must be before another look at it is worth while */
    uint64_t since;        /* ms: the client's time began */
    uint64_t server_since; /* ms: the server was connected */
    uint64_t leaf_since;   /* ms: the minter was asked */
    struct leaf_wait leaf;
    uint64_t spent; /* ms that the client had used of it before where to was looked for */
    enum inspection inspection;
    int inspected_by;             /* policy, in the session's generation */
    enum reason failing;          /* what is wrong with the inspected server: the answer to every request */
    struct tls_context *upstream; /* reference: what the connection to the server was secured with */
    char peer[HOST_TEXT + 1];     /* who it had to be */
};

/* The session's; made if need be. NULL: no memory. */
struct session_tls *handshake_state(struct session *s);
void handshake_free(struct session *s);
/* Lets sides that are securing go on; true if one of them got somewhere. May end the session. */
bool handshake_run(struct session *s);
/* First bytes on a TLS listener. */
bool handshake_on_hello(struct session *s);
/* The first byte of a handshake is here: its clock runs, from the first call in this phase. */
void handshake_clock(struct session *s);
/* hello_parse() of what the client has said so far; without a look while it cannot be enough. */
MUST_CHECK enum hello_progress handshake_parse(struct session *s, struct span input, struct hello *hello);
/* What lies in the tunnel is a ClientHello: row and judging know it from now on. false: no memory. */
MUST_CHECK bool handshake_note_inside(struct session *s, const struct hello *hello);
/* The facts of TLS for judging: certificate, and JA4 if what matters was seen (`inside`: in the tunnel; else, the listener's). */
void handshake_judge(const struct session *s, struct judgement *j, bool hello_known);
/* A fatal alert, written by hand: there is no TLS yet. It leaves with what waits. */
void handshake_alert(struct session *s, enum reason why);
/* A side's time is over. */
void handshake_expired(struct session *s, enum reason why);
/* What the peer's failure is called; R_TLS_HANDSHAKE, R_CLIENT_CERTIFICATE, ... */
enum reason handshake_client_reason(const struct session *s);
/* The client is gone: was it more than that? Then a record says so, even if nothing was under way. */
enum reason handshake_lost(struct session *s);
/* Would this generation's listener not take the client's certificate, or that it gave none? */
MUST_CHECK bool handshake_is_outdated(const struct session *s, const struct generation *g, int listener);
/* Facts of one side into the row. */
void handshake_report(struct session *s, enum direction side, enum tls_way way);
/* The same of a handshake that has just ended, which is counted. */
void handshake_ended(struct session *s, enum direction side, enum tls_way way);

/* upstream.c */
/* Must this connection (to address `index` of the judgement, of an exchange) be secured? */
bool upstream_is_wanted(const struct session *s);
/* Does the session's own connection fit what is wanted, for an address that this policy allows? */
bool upstream_fits(const struct session *s, int policy);
/* Who the server must be, as shared connections are told apart; "" in clear. `policy` allows the address. */
const char *upstream_name(const struct session *s, int policy);
/* Begins its handshake; ends in connect_secured(), or in a denial. */
void upstream_begin(struct session *s, int policy, const struct host *target);
void upstream_run(struct session *s, enum tls_progress progress);
void upstream_failed(struct session *s, enum reason why);
/* After a handshake that was good, the server said that it does not like us (TLS 1.3): R_NONE, or why. */
enum reason upstream_late_reason(const struct session *s);
void upstream_forget(struct session *s);
/* connect.c: the connection is there, and secured if it had to be. */
void connect_secured(struct session *s);

/* inspect.c */
/* A policy that inspects TLS granted what is inside: the server is connected, the client's hello lies in its stream. */
void inspect_begin(struct session *s);
void inspect_server_good(struct session *s);
void inspect_server_bad(struct session *s, enum reason why);
void inspect_client_good(struct session *s);
void inspect_client_bad(struct session *s, enum reason why);
/* It saw the leaf, and is gone without a word: R_INSPECTION_REFUSED, counted. */
enum reason inspect_refused(struct session *s);
/* The client said something inside. */
void inspect_heard(struct session *s);
/* The session took a new generation: may this tunnel still be inspected? R_NONE, or why not. */
MUST_CHECK enum reason inspect_again(struct session *s);
/* What a policy says of the hello inside: R_NONE, R_SNI_MISSING, R_ECH_DENIED. */
MUST_CHECK enum reason inspect_hello_fits(const struct session *s, const struct conf_policy *policy);
bool session_is_inspected(const struct session *s);

#endif
