/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_SESSION_H
#define POSTERN_SESSION_SESSION_H

#include "net/dial.h"
#include "net/listener.h"
#include "net/resolver.h"
#include "net/stream.h"
#include "policy/ledger.h"
#include "proto/h1_body.h"
#include "proto/hello.h"
#include "proto/socks.h"
#include "proto/target.h"
#include "session/engine.h"
#include "session/judge.h"

/*
 * One client connection, from accept to reap. A WebSocket through the explicit proxy takes this way:
 *
 *   engine.c     accepts, checks the limits, makes the session: row NEW, phase sniff
 *   sniff.c      the first bytes are a method: phase http (on a TLS listener after handshake.c, phase handshake)
 *   request.c    the head is complete and strict: an exchange begins, its target is judged
 *   connect.c    the name is resolved, each address judged, the first that answers is connected
 *   forward.c    the head is written anew: phase upgrade-wait. What the client sends now waits in its stream
 *   answer.c     the server's first bytes: ledger, causality, head, handshake: phase websocket
 *   websocket.c  frames both ways, checked as they pass, until both closed: phase closing
 *   session.c    session_close(): the record is written, the row freed, the memory reaped at the end of the loop's turn
 *
 * Two sides, one table of phases (session.c), one setter, one exit. A phase whose on_server is NULL is one in which the server may
 * not speak: nothing reads its socket. Handlers are called while there is input and report whether they got anywhere; whatever may
 * end the session is checked by looking at the phase afterwards.
 */
struct session;
struct pooled;
struct websocket;   /* session/websocket.h */
struct session_tls; /* session/handshake.h */

/* What the log says about the current exchange or tunnel; it outlives struct exchange for tunnels and WebSockets. */
struct account {
    uint64_t began_us, first_byte_us; /* monotonic */
    uint64_t base[DIRECTIONS];        /* row->bytes when it began */
    uint64_t reported_ms;             /* of the last start or interval record */
    uint32_t number;                  /* K of "W-N-K" */
    uint16_t port;
    bool open; /* an end record is owed */
};

enum exchange_step {
    STEP_JUDGE,   /* the head lies complete in the client's stream */
    STEP_RESOLVE, /* a name was asked for; the head waits there */
    STEP_DIAL,    /* judged and written anew; a connection is being opened */
    STEP_ASK      /* the head was sent: the body follows, the answer is owed */
};

#define EXCHANGE_HEAD 1024 /* longer heads have memory of their own */

/* One request and its answer, while they are under way. */
struct exchange {
    struct exchange *next; /* while it is spare */
    enum exchange_step step;
    struct h1_body request_body, answer_body;
    uint32_t head_len; /* of the client's head, while it lies in its stream */
    char *head;        /* as it goes to the server; kept until the first byte of the answer, for the one retry */
    uint32_t written_len;
    bool is_head, is_idempotent, has_body, client_is_10;
    bool websocket;
    bool wants_json;                                     /* the client prefers refusals as JSON */
    bool wants_keep;                                     /* the client asked to keep the connection */
    bool keeps_client, keeps_server;                     /* decided with the head of the answer */
    bool request_chunked, answer_chunked, answer_closes; /* how bodies are framed on the other side */
    bool request_done, answer_begun, answer_final;
    bool body_used; /* of the request's body something was taken from the client's stream: it cannot be read, or sent, twice */
    bool reused, retried;
    bool personal; /* it asks for an upgrade, or logs its connection in */
    enum conf_reuse reuse;
    size_t upstream_index; /* reverse: which upstream */
    /* Of several upstreams (balance.c): where the walk over them began and how far it is; whether one may be used; and the client's
     * head as it came, for the next one. */
    size_t first, walked;
    uint64_t tries_until;    /* ms: until then it alone tries an upstream that failed; 0: it does not */
    bool none_usable, taken; /* taken: the head is no longer in the client's stream */
    char *original;          /* head_len bytes; in head_room, or its own memory; NULL: not kept */
    /* What follows is not cleared for each exchange. */
    struct judgement judge;        /* by judge_init() */
    struct ws_offer offer;         /* of a WebSocket, by examine_request() */
    char head_room[EXCHANGE_HEAD]; /* most heads go to the server from here */
};

/* A tunnel that a client opened by CONNECT or SOCKS, or an intercepted flow that is none of HTTP. */
struct tunnel {
    bool socks;
    bool answered;               /* the client knows that it is open; an intercepted one is told nothing */
    bool silent;                 /* intercepted, and the client said nothing: will the server? */
    enum conf_protocol protocol; /* intercepted: what flows in it; 0: not known yet */
    struct host host;            /* what it was opened to */
    uint16_t port;
    struct judgement *judge; /* until it is known what flows inside */
};

/* What a WebSocket or a tunnel was judged by, to judge it again when the policies change. */
struct standing {
    struct addr host_ip; /* of the host, as struct host has it */
    uint16_t host_len;
    uint16_t port;
    bool operators_word;
    unsigned protocol; /* bit of enum conf_protocol */
    uint32_t head_len;
    char text[]; /* the host's, then of a WebSocket its request as the server got it (head_len 0: a tunnel) */
};

/* A connection that was accepted, and what admission says of it. */
struct arrival {
    int fd;
    int listener;                    /* index in the engine's generation */
    struct addr client, destination; /* destination: what the row says */
    enum reason refused;
};

struct session {
    struct session *next, **link; /* all open ones of the engine */
    struct session *numbered;     /* numbers.c */
    uint64_t number;              /* N of "W-N" */
    struct engine *engine;
    struct generation *generation;
    struct row *row;
    struct stream client, server;
    struct ledger ledger; /* of the connection to the server */
    struct timer timer;
    enum phase phase;
    enum reason refused; /* admission denied it: said as soon as it is known in which language */
    int listener;        /* index in generation->conf->listeners */
    int zone_in;
    struct h1_scan scan, answer_scan;
    uint32_t scanned, answer_scanned; /* bytes of the head that were shown to the scanner */
    struct exchange *exchange;
    struct websocket *websocket;
    struct tunnel *tunnel;
    struct session_tls *tls; /* NULL: there was no TLS on either side, nor in the tunnel */
    struct standing *standing;
    const struct conf_policy *counted; /* among whose WebSockets this is one, or asks to be; in `generation` (ws_caps.c) */
    struct resolver_query *query;
    struct dial *dial;
    struct sockets *sockets;    /* asked of the filter process, for a dial */
    struct addr server_address; /* of the open connection, or of the last one */
    int server_policy;          /* policy that allowed it, for sharing */
    bool server_personal;       /* it knows its client: never shared */
    bool server_served;         /* it answered before: it may be gone by the next request */
    struct account account;
    uint64_t opened;            /* ms */
    uint64_t phase_since;       /* ms */
    uint64_t progress;          /* ms: last byte that moved anything on */
    uint64_t asked_since;       /* ms: the request was complete, and out */
    uint64_t taken[DIRECTIONS]; /* bytes that the kernel of the server (UP) and of the client had when output last waited */
    uint64_t head_since;        /* ms: first byte of the head that is being read; 0: none */
    uint64_t pace_since;        /* ms: since when limits.client_rate is measured; 0: it is not the client that is waited for */
    uint64_t pace_from;         /* what the client had sent and taken then */
    uint32_t pipelined;         /* requests before the current one that the client sent without waiting for an answer */
    size_t upstream_index;      /* reverse: which upstream the connection to the server goes to */
    enum closer ended_by;       /* a tunnel: whose end came first */
    bool silence_judged;        /* intercepted: what to do with a silent client is decided */
    bool server_offends;        /* it was the server that broke a rule in the current exchange */
    bool evicted;               /* killed or blocked: the kernel is to forget its flow, too */
    bool client_leaves; /* it asked for the end and sent all it had to (close() would answer more with a reset): nobody waits for
                           its end */
    bool running;
};

/* session.c: life and phases */
/* Takes over the descriptor. NULL: no room. It may be dead already. */
MUST_CHECK struct session *session_open(struct engine *e, const struct arrival *arrival);
/* The one setter of the phase; the new one must be a legal successor. */
void session_set_phase(struct session *s, enum phase phase);
/* Calls the phase's handlers while they get anywhere, flushes, sets the timer. Whatever changes a session from outside ends with
 * it. */
void session_run(struct session *s);
/* The one exit: first reason wins, the record is written, both connections are closed (with a reset where an end would look like
 * success), the session is reaped at the end of the turn. */
void session_close(struct session *s, enum reason why, enum closer by);
/* The same, in order: what waits for the client is sent, then an end, and what it still sends is discarded for a moment. */
void session_finish(struct session *s, enum reason why, enum closer by);
/* A flow ends for a reason of its own, outside any exchange: a record says so. */
void session_finish_flow(struct session *s, enum reason why);
/* Closes with a reset and without a byte: action = "drop". */
void session_drop(struct session *s, enum reason why);
bool session_is_dead(const struct session *s);
/* Why nothing new may begin on it: admission said so, or there is no memory for more. R_NONE: it may. */
enum reason session_refusal(const struct session *s);
/* What an intercepted client dialled; NULL of other listeners. */
const struct addr *session_original(const struct session *s);
void session_free(struct session *s);
/* Judged from now on by the engine's generation, if the listener is still in it; false if it is not. */
bool session_adopt_generation(struct session *s);
/* The listener that its own is in another configuration, or -1: the same address in another mode, or no longer with TLS, is another
 * listener. */
int session_find_listener(const struct session *s, const struct conf *conf);

/* Handlers of phases: true if they got anywhere. */
bool sniff_on_client(struct session *s);
bool socks_on_client(struct session *s);
bool request_on_client(struct session *s);
bool answer_on_server(struct session *s);
bool peek_on_client(struct session *s);
bool peek_on_server(struct session *s);
bool tunnel_on_client(struct session *s);
bool tunnel_on_server(struct session *s);
bool websocket_on_client(struct session *s);
bool websocket_on_server(struct session *s);
bool closing_on_client(struct session *s);
bool closing_on_server(struct session *s);

/* request.c: exchanges */
/* What comes next from the client is the first byte of a head. */
void request_expect_head(struct session *s);
/*
 * What the client says next is judged by the newest generation; what is inspected must be inspected there, too. The first of it may
 * be that of the generation that took the connection, if its listener is gone, but not with another idea of clients' certificates.
 * Not R_NONE: it may say nothing more.
 */
MUST_CHECK enum reason request_renew(struct session *s);
/* The head that waits in the client's stream for a look-up is used up: its exchange is refused. */
void request_drop_head(struct session *s);
/* Did the client send more ahead of its answers than limits.pipeline lets it? Then the current answer is the last. */
bool request_is_last_ahead(const struct session *s);
/* An exchange whose head never became complete, so that it can be refused. */
void request_begin_refused(struct session *s);
void exchange_free(struct session *s);
/* What it keeps of heads. */
void exchange_free_heads(struct exchange *x);
/* Those that wait for their next use go. */
void exchange_free_spare(struct engine *e);
/* The exchange is over, well or not: record, connections kept or not, the next one. */
void exchange_end(struct session *s, enum reason why, enum closer by);

/* balance.c: which of a reverse listener's upstreams an exchange goes to, and to which next */
/* A fresh exchange: its upstream, in turn among those that can be used; where it has a connection, that one's. */
void balance_begin(struct session *s);
/* The exchange ends, or goes elsewhere: if nothing is known yet of an upstream that it was to try, others may. */
void balance_give_back(struct session *s);
/* The head lies in `bytes` and was judged: if another upstream may have to be asked, it is kept. */
void balance_keep(struct session *s, struct span bytes);
/*
 * The upstream of the current exchange failed, for this reason; that is noted. true: the exchange goes on with another one, from
 * its judging on, if it can do no harm: nothing was sent, or it may be sent twice. Otherwise the caller refuses it.
 */
MUST_CHECK bool balance_moves(struct session *s, enum reason why);
/* The same where that is no fault of the upstream's: nothing is noted. */
MUST_CHECK bool balance_moves_unblamed(struct session *s, enum reason why);
/* A fresh connection stands. */
void balance_reached(struct session *s);
/* An answer came by a fresh connection. */
void balance_worked(struct session *s);

/* connect.c: from a judged target to an open connection */
/* Resolves judge->host if need be. R_NONE: judge->addresses is filled; R_COUNT: it will be, and session_run() is called then. */
MUST_CHECK enum reason connect_resolve(struct session *s, struct judgement *judge);
/* Reuses, takes from the pool, or dials; ends with connected() or a denial. */
void connect_upstream(struct session *s, struct judgement *judge);
/* A kept connection died before it said a word: once more, on a fresh one. */
void connect_again(struct session *s);
/* The sockets that were asked for are here, one for each address or -1; NULL: none could be had. */
void connect_with_sockets(struct session *s, const int *fds);
/* Addresses that need no resolver: literals, the hosts file, localhost. */
bool connect_find_local(const struct generation *g, struct judgement *judge);
/* Closes the connection to the server (kept input is dropped with it). */
void connect_drop(struct session *s, bool reset);
/* Ends what is under way: look-up and dial. */
void connect_cancel(struct session *s);

/* forward.c: the request on its way up */
/* Writes the head anew into exchange->head. */
MUST_CHECK enum reason forward_write(struct session *s, const struct h1_head *head, const struct target *target,
                                     struct span authority);
/* The server's connection is open: head, then body. */
void forward_begin(struct session *s);
bool forward_body(struct session *s);

/* answer.c: the reason phrase for a status; "" if it has none here. */
const char *answer_phrase(unsigned status);

/* deny.c: refusals */
/* Refuses the current exchange (or tunnel) in the language that the client speaks, with its one record. */
void deny(struct session *s, enum reason why);
/* Answers with a status of our own and no body; the exchange is over. */
void deny_answer_empty(struct session *s, unsigned status);
/* A server broke a rule: its connection is condemned; the client gets 502 if nothing was answered yet, a visible cut otherwise. */
void deny_server(struct session *s, enum reason why);

/* tunnel.c */
void tunnel_begin(struct session *s, bool socks, const struct host *host, uint16_t port);
/* An intercepted flow that is TLS for `name` (NULL: for what was dialled), or something else (CONF_TUNNEL). */
void tunnel_begin_intercepted(struct session *s, enum conf_protocol protocol, const struct host *name);
/* An intercepted client says nothing. Where "tunnel" is allowed the server may speak first: then it is dialled. */
void tunnel_begin_silent(struct session *s);
void tunnel_connected(struct session *s);
/* Judges and resolves; called again when the resolver answered. */
void tunnel_proceed(struct session *s);

/* websocket.c, ws_end.c */
void websocket_begin(struct session *s);
/* No frame is read any more, and the memory that this took is given back; without a WebSocket nothing happens. */
void websocket_stop(struct session *s);
void websocket_free(struct session *s);
/*
 * Nothing can be written to the client any more. What it said before is read as ever, and then that it is gone; if that cannot be,
 * because the server takes nothing, the WebSocket ends here. May end the session.
 */
void websocket_broken(struct session *s);
/* Ends it from here: both sides get a close frame with the code for this reason. */
void websocket_close(struct session *s, enum reason why);
/* The same for R_REVOKED, with the name of the policy (or the reason) that says so, and the policy's line. */
void websocket_revoke(struct session *s, const char *by, unsigned line);

/* ws_caps.c: how many WebSockets a policy lets be open */
/* What is counted for this policy and client. */
struct caps_now caps_read(const struct engine *e, const struct conf_policy *policy, const struct addr *client);
/* Has one of the policy's caps no place for one more? */
bool caps_are_full(const struct conf_websocket *ws, const struct caps_now *now);
/* One more by this policy, and none any more by the one before: R_NONE, R_STREAM_LIMIT, or R_OVERLOAD if it cannot be counted. */
MUST_CHECK enum reason caps_take(struct session *s, const struct conf_policy *policy);
/* The same, but it keeps its place under a policy of the same name, whatever the caps are now. */
MUST_CHECK enum reason caps_move(struct session *s, const struct conf_policy *policy);
/* One fewer, if it was counted. */
void caps_give(struct session *s);

/* revoke.c: what lives long, judged again */
/* Remembers what the stream was judged by; `head`: of a WebSocket, its request. false: no memory. */
MUST_CHECK bool standing_keep(struct session *s, const struct judgement *judge, struct span head);
void standing_free(struct session *s);
/* By the engine's generation; may end the session. */
void session_judge_again(struct session *s);

/* report.c: rows and records */
void report_begin(struct session *s, enum row_protocol protocol);
void report_request(struct session *s, struct span method, struct span host, struct span path);
void report_judged(struct session *s, const struct judgement *judge);
void report_bytes(struct session *s, enum direction direction, size_t bytes);
void report_first_byte(struct session *s);
/* START and INTERVAL records of what lives long. */
void report_alive(struct session *s, enum record_event event);
/* The one END or DENIED record of the current account; nothing if none is open. `judge` may be NULL: no near misses. */
void report_end(struct session *s, enum record_event event, enum reason why, enum closer by, const struct judgement *judge);
/* A violation outside any exchange, or by a message of a WebSocket: a DENIED record of its own. */
void report_event(struct session *s, enum reason why, enum closer by);
/* A server broke a rule on a connection that no session has: a record with the row of the last one that had it. */
void report_unowned(struct engine *e, const struct row *last, enum reason why);

/* timers.c */
/* A side took bytes that waited for it. */
void session_moved(struct session *s, const struct stream *side);
void timers_update(struct session *s);
void timers_fire(void *arg);

/* sockets.c: sockets with the client's address, made by the filter process */
bool sockets_are_wanted(const struct session *s);
/* Asks for one for each address of the client's family. R_NONE: connect_with_sockets() is called later. */
MUST_CHECK enum reason sockets_ask(struct session *s, const struct judgement *judge);
void sockets_cancel(struct session *s);

/* kernel.c: what the filter process is told */
/* Is there one that wants to know of flows? */
bool kernel_listens(const struct engine *e);
void kernel_opened(struct session *s);
void kernel_closed(struct session *s);
/* An event with this reason was recorded: it counts against the client if it is hostile, and the client's doing. */
void kernel_offence(struct session *s, enum reason why, enum closer by);

/* numbers.c: sessions by their number */
MUST_CHECK struct numbers *numbers_new(void);
void numbers_free(struct numbers *n);
void numbers_add(struct numbers *n, struct session *s);
void numbers_remove(struct numbers *n, struct session *s);
/* NULL: it is not open. */
struct session *numbers_find(const struct numbers *n, uint64_t number);
/* Those of one bucket, linked by `numbered`; calls with the same `hand` come to all in turn. */
struct session *numbers_some(const struct numbers *n, size_t *hand);

/* pool.c: upstream connections shared between sessions */
struct pool *pool_new(struct engine *e);
void pool_free(struct pool *pool);
/* Gives away the idle connection to the session's server. */
void pool_give(struct pool *pool, struct session *s);
/* Closes the oldest until at most `room` are left. */
void pool_limit(struct pool *pool, size_t room);
/* Moves a connection to this server that is allowed by this policy into the session, as s->server, TLS and all; `name`: who the
 * server has to be, "" in clear. false: there is none. */
MUST_CHECK bool pool_take(struct pool *pool, struct session *s, const struct addr *server, int policy, const char *name);

#endif
