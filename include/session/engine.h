/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_ENGINE_H
#define POSTERN_SESSION_ENGINE_H

#include "base/pressure.h"
#include "base/ring.h"
#include "base/table.h"
#include "net/original.h"
#include "policy/packet.h"
#include "session/judge.h"

/*
 * All sessions of one worker. The worker process (app/worker.c) owns the engine, feeds it generations and listeners, and passes on
 * what control asks. Everything happens on the one thread of the loop.
 */
struct engine;
struct loop;

/*
 * What a worker has room for with so many descriptors (RLIMIT_NOFILE): sessions, and pipes that their bytes may be spliced through.
 * Both take two descriptors; some are held back for listeners, resolver and IPC. Few sessions have fewer pipes, and workers (at
 * least one) share what the kernel gives their user.
 */
struct engine_room {
    uint32_t sessions, pipes;
};
struct engine_room engine_room(uint64_t files, unsigned workers);

/* Connections over a limit that a worker tells so at once; with few descriptors fewer, and more are closed without a word. They
 * need rows beyond limits.sessions. */
#define ENGINE_SPARE_ROWS 64

/*
 * What the engine asks of the filter process. All may be NULL: there is none. They send a message and return; nothing waits.
 */
struct engine_filter {
    /* The client's flow of session `number`, and its end; with `remove` its conntrack entry is to be deleted (killed, blocked). */
    void (*flow_opened)(void *arg, uint64_t number, const struct addr *client, const struct addr *destination);
    void (*flow_closed)(void *arg, uint64_t number, bool remove);
    /* The client of session `number` did something hostile (reason_is_hostile()). */
    void (*hostile)(void *arg, uint64_t number, const struct addr *client, enum reason why);
    /* A socket bound to the address of the session's client is wanted (preserve_client_address), to dial `server`; answered by
     * engine_socket(). false: cannot be. */
    bool (*socket_wanted)(void *arg, uint64_t number, uint64_t request, const struct addr *client, const struct addr *server);
    void *arg;
};

/*
 * What the engine asks of the minter (app/minter.c). NULL: there is none.
 */
struct engine_leaf_request {
    uint64_t request;    /* answered by engine_leaf() with the same number */
    char name[256];      /* host_span() of who is to be named: a DNS name or an address */
    int64_t from, until; /* validity of the server's certificate, seconds of wall time */
    bool failing;        /* the server's certificate is not good */
    uint16_t key_len;
    char public_key[128]; /* DER */
};
struct engine_minter {
    /* A leaf is wanted. false: cannot be (no minter, or it does not read). */
    bool (*leaf_wanted)(void *arg, const struct engine_leaf_request *request);
    void *arg;
};

struct engine_args {
    struct loop *loop;
    unsigned worker;       /* W of "W-N" */
    unsigned workers;      /* how many shards there are */
    struct shard **shards; /* all of them, mapped; shards[worker] for writing */
    struct ring *log;      /* records for the logger; NULL: none */
    int log_wake;          /* eventfd of the logger */
    struct health *health; /* of upstreams, shared by all workers; NULL: this one's own */
    uint64_t first_number; /* first N: a restarted worker goes on counting */
    struct engine_filter filter;
    struct engine_minter minter;
};

MUST_CHECK struct engine *engine_new(const struct engine_args *args);
/* Ends all sessions at once and frees everything. */
void engine_free(struct engine *e);

/*
 * From now on new exchanges are judged by `g`. Open WebSockets and tunnels are judged again: those that are no longer allowed are
 * closed (R_REVOKED). An exchange under way keeps the generation that it began with. Takes a reference.
 */
void engine_set_generation(struct engine *e, struct generation *g);

/* A listening socket; the engine owns the descriptor. Which listener it serves follows, in each generation, from its address. */
MUST_CHECK bool engine_listen(struct engine *e, int fd);
/*
 * A connection that was accepted for the listener at this address; the engine owns the descriptor. `original`: what the client
 * dialled, of a transparent listener, and `found` how that was learned; for the others `original` is our own address that it
 * dialled.
 */
void engine_accept(struct engine *e, int fd, const struct addr *client, const struct addr *listener, const struct addr *original,
                   enum original found);
/* No longer configured: accepts what is queued at this address, then closes. Called before engine_set_generation(), so that these
 * connections are still served by the generation that their listener belongs to. */
void engine_unlisten(struct engine *e, const struct addr *address);

/* How short memory is now. While it is short, what is only kept for later is given back with each call. */
void engine_set_pressure(struct engine *e, const struct pressure *pressure);

/* TERM: close listeners and idle connections, let streams end until `ms` from now, then end them (R_DRAINED). on_empty is called
 * once. */
void engine_drain(struct engine *e, uint64_t ms, void (*on_empty)(void *arg), void *arg);
/* The same while another posternd accepts: an idle connection is not closed at once, since its client may be about to ask. Its next
 * answer says that it was the last. */
void engine_hand_over(struct engine *e, uint64_t ms, void (*on_empty)(void *arg), void *arg);
uint32_t engine_open_sessions(const struct engine *e);

/* What the filter process answered. The row of session `number` gets the facts of its conntrack entry. */
struct engine_flow {
    uint32_t conntrack, mark;
    enum conntrack_state state;
    struct addr translated;
};
void engine_flow(struct engine *e, uint64_t number, const struct engine_flow *flow);
/* The socket for `request`, or -1 with the error; the engine owns it. */
void engine_socket(struct engine *e, uint64_t request, int fd, int error);
/* The leaf for `request` (DER), or the empty span: refused. */
void engine_leaf(struct engine *e, uint64_t request, struct span der);
/* Whoever waits for a leaf gets none: the minter is gone. */
void engine_leaves_lost(struct engine *e);
/* Whoever waits for one gets none: the filter process is gone. */
void engine_sockets_lost(struct engine *e);
/* Ends all sessions of clients in this network (R_BLOCKED); returns how many. */
size_t engine_block(struct engine *e, const struct network *network);

/* Ends one session (R_KILLED); false if it is not open. */
bool engine_kill(struct engine *e, uint64_t number);
/* Is there an interface of this name now? */
bool engine_has_interface(struct engine *e, const char *name);

/* The dry run: the same code that decides live. */
struct explain_query {
    const char *listener; /* NULL: the one that the packet filter hands it to, or the first that fits (explicit, then any) */
    struct addr from;
    const char *interface;   /* that the client comes in by; NULL: the one by which it is reached */
    struct addr address;     /* of the server, instead of resolving; family 0: not given */
    bool resolve;            /* ask the resolver, asynchronously */
    struct span method, url; /* "http://...", "https://...", "ws://...", "wss://...", or "host:port" for CONNECT */
    struct span headers;     /* field lines, each ended by CRLF */
    unsigned flow;           /* CONF_TCP, CONF_UDP or CONF_ICMP: no request, but a flow to `address` (with port); 0: a request */
};

/* What the packet filter makes of the first packet; session/explain_packet.h. */
struct explain_packet {
    bool asked; /* there is a packet filter, and it is known where the packet goes */
    bool own;   /* this machine sends it to others: output is accepted, nothing is judged */
    struct packet packet;
    struct packet_verdict verdict;
    char interface_in[IF_NAMESIZE], interface_out[IF_NAMESIZE]; /* "": not known */
    bool no_route;
    bool masquerade;
    size_t near_count;
    struct rules_near near[NEAR_MISSES];
};

/* What a policy would do with TLS in the tunnel; NONE: there is none, or it did not get that far. */
enum explain_tls { EXPLAIN_TLS_NONE, EXPLAIN_TLS_UNREAD, EXPLAIN_TLS_INSPECTED };

/* WebSockets that are open (or asked for) under a policy, and those of one client (IPv4 /32, IPv6 /64). */
struct caps_now {
    uint64_t open, of_client;
};

struct explain_answer {
    const char *error;             /* what is wrong with the question; NULL: none */
    struct generation *generation; /* valid during the call */
    size_t step_count;
    struct explain_step steps[JUDGE_TRAIL];
    struct verdict verdict; /* the last one */
    enum reason reason;     /* R_NONE: allowed */
    enum explain_tls tls;   /* INSPECTED: then the request inside was judged, too, if there is one */
    unsigned protocol;      /* bit of enum conf_protocol */
    int zone_in, zone_out, listener;
    struct host host;
    uint16_t port;
    struct addr server;
    char path[ROW_PATH];
    size_t near_count;
    struct rules_near near[NEAR_MISSES];
    bool counted; /* a WebSocket whose policy has caps: `caps` is what they stand at */
    struct caps_now caps;
    bool address_unknown; /* the name was not resolved: the stages before that were judged */
    struct explain_packet packet;
};

/* Answers by `done`, maybe before it returns; the query is copied as needed. */
void engine_explain(struct engine *e, const struct explain_query *query,
                    void (*done)(const struct explain_answer *answer, void *arg), void *arg);

#endif
