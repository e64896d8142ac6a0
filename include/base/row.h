/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_ROW_H
#define POSTERN_BASE_ROW_H

#include "base/addr.h"
#include "base/reason.h"

/* The words that rows, log and posternctl use; each enum has its names in src/base/row.c. */
enum row_state { ROW_FREE, ROW_NEW, ROW_ESTABLISHED, ROW_RELATED, ROW_CLOSING, ROW_CLOSED, ROW_DRAINING, ROW_STATE_COUNT };
enum phase {
    PHASE_SNIFF,
    PHASE_SOCKS,
    PHASE_HANDSHAKE,
    PHASE_HTTP,
    PHASE_TUNNEL_WAIT,
    PHASE_PEEK,
    PHASE_TUNNEL,
    PHASE_UPGRADE_WAIT,
    PHASE_WEBSOCKET,
    PHASE_CLOSING,
    PHASE_DEAD,
    PHASE_COUNT
};
enum mode { MODE_EXPLICIT, MODE_TRANSPARENT, MODE_REVERSE, MODE_FORWARDED, MODE_COUNT }; /* the last: by the kernel, not proxied */
/* What the flow turned out to be, as rows say it ("protocol"). */
enum row_protocol {
    PROTO_NONE,
    PROTO_HTTP,
    PROTO_WEBSOCKET,
    PROTO_CONNECT,
    PROTO_TLS,
    PROTO_SOCKS,
    PROTO_TUNNEL,
    PROTO_TCP,
    PROTO_UDP,
    PROTO_ICMP,
    PROTO_COUNT
};
enum closer { CLOSER_NONE, CLOSER_CLIENT, CLOSER_SERVER, CLOSER_POSTERN, CLOSER_COUNT };
/* What connection tracking says of the client's flow; NONE: nobody asked, or no answer yet. UNTRACKED: it has no entry. */
enum conntrack_state {
    CONNTRACK_NONE,
    CONNTRACK_NEW,
    CONNTRACK_ESTABLISHED,
    CONNTRACK_RELATED,
    CONNTRACK_CLOSED,
    CONNTRACK_UNTRACKED,
    CONNTRACK_STATES
};
enum direction { UP, DOWN, DIRECTIONS }; /* UP: client to server */
enum ws_kind { WS_KIND_CONTINUATION, WS_KIND_TEXT, WS_KIND_BINARY, WS_KIND_CLOSE, WS_KIND_PING, WS_KIND_PONG, WS_KIND_COUNT };

const char *row_state_name(enum row_state v);
const char *phase_name(enum phase v);
const char *mode_name(enum mode v);
const char *row_protocol_name(enum row_protocol v);
const char *closer_name(enum closer v);
const char *ws_kind_name(enum ws_kind v);
const char *conntrack_state_name(enum conntrack_state v); /* upper case; "" for NONE */

#define ROW_HOST 256 /* with the NUL; longer ones are cut with a mark (span_show) */
#define ROW_PATH 129

/* A number that stands for an interned name (zone, listener, policy, interface, user): table_name(). 0 is "". */
typedef uint16_t name_id;

/*
 * One client flow, as operators see it. One writer, the worker that owns it; readers take a copy under the sequence counter
 * (base/table.h). Numbers alone are stored plainly without it: a reader may see one counter newer than another, never a torn one.
 *
 * [I] immutable after open, [S] written by the phase setter, [E] of the current exchange, [C] counter.
 */
struct row {
    uint64_t number;                            /* [I] N of "W-N" */
    uint64_t opened_us;                         /* [I] wall time */
    uint64_t last_us[DIRECTIONS];               /* [C] wall time of the last byte each way; 0: none */
    uint64_t bytes[DIRECTIONS];                 /* [C] payload bytes that passed: bodies, frames, tunnel bytes */
    uint32_t messages[DIRECTIONS];              /* [C] WebSocket messages that began to pass */
    uint32_t frames[DIRECTIONS][WS_KIND_COUNT]; /* [C] WebSocket frames that passed, by opcode */
    uint32_t pushes;                            /* [C] of those the server's since the client's last one */
    uint32_t exchanges;                         /* [C] requests so far; the K of "W-N-K" of the current one */
    uint32_t policy_line;                       /* [E] line of the policy in the configuration file; 0: none */
    uint32_t conntrack, mark;                   /* conntrack id and mark of the client's flow; 0: not known */
    uint16_t generation;                        /* [I] number of the generation that it is judged by */
    name_id listener;                           /* [I] */
    name_id zone_in, zone_out;                  /* [I] [E] */
    name_id interface_in, interface_out;        /* [I] [E] */
    name_id policy;                             /* [E] 0: none decided yet */
    name_id method;                             /* [E] */
    uint16_t status;                            /* [E] HTTP status that the client got; 0: none yet */
    uint16_t close_code;                        /* WebSocket close code; 0: none */
    uint8_t worker;                             /* [I] */
    uint8_t state;                              /* [S] enum row_state */
    uint8_t phase;                              /* [S] enum phase */
    uint8_t mode;                               /* [I] enum mode */
    uint8_t protocol;                           /* [E] enum row_protocol */
    uint8_t reason;                             /* enum reason; R_NONE while open */
    uint8_t closed_by;                          /* enum closer */
    uint8_t conntrack_state;                    /* enum conntrack_state */
    uint8_t retries;                            /* [E] how often it was sent, or dialled for, once more */
    bool open : 1;                              /* [E] an exchange or a tunnel is under way: its record is still to be written */
    bool tls : 1;                               /* there are TLS facts beside it (base/table.h) */
    struct addr client;                         /* [I] */
    struct addr destination;                    /* [I] what the client dialled (transparent), else our address that it dialled */
    struct addr translated;                     /* where the kernel sent what was for `destination` (reply tuple's source) */
    struct addr upstream;                       /* [E] our own address towards the server; forwarded: the client after NAT */
    struct addr server;                         /* [E] */
    char path[ROW_PATH];                        /* [E] normalised path, without query */
    char host[ROW_HOST];                        /* [E] normalised name or literal, without port. Last: records are cut behind it */
};

_Static_assert(sizeof(struct row) <= 640, "a row takes at most 640 bytes");

#endif
