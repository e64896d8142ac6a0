/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_IPC_H
#define POSTERN_APP_IPC_H

#include "base/span.h"

/*
 * Messages between the processes of one posternd, over SOCK_SEQPACKET socket pairs: a type, a payload, and descriptors. Sender and
 * receiver are the same binary, so payloads are structs as they lie in memory. Nothing blocks.
 */
enum ipc_type {
    /* monitor to worker and control: a generation, in this order (app/generation_load.h) */
    IPC_GENERATION, /* struct wire_generation; descriptors: text, hosts */
    IPC_HOSTSETS,   /* uint32_t policies[]; a descriptor each */
    IPC_TLS_FILES,  /* uint32_t indices in conf->tls_files[]; a descriptor each: worker only, and never the minter's key */
    IPC_MINTER_KEY, /* descriptors: certificate, key: minter only, instead of all the others */
    IPC_TICKETS,    /* struct tls_ticket_key[]: worker only; comes also between generations */
    IPC_KEYLOG,     /* descriptor, or none: worker only */
    IPC_TLS_ENDS,   /* uint64_t index in conf->tls_files, then int64_t seconds[] from there on: control only */
    IPC_LISTEN,     /* struct addr[]; a descriptor each: worker only */
    IPC_UNLISTEN,   /* struct addr[]: worker only */
    IPC_COMMIT,     /* uint16_t number */
    /* their answer */
    IPC_ACCEPTED, /* uint16_t number; from the logger, which takes no generation: ready, 0 */
    IPC_REFUSED,  /* text */
    /* monitor to its children */
    IPC_PEER,      /* struct wire_peer; descriptor: one end of a pair with that process */
    IPC_LOG_LEVEL, /* uint32_t enum log_level; from control: asks the monitor to tell everybody */
    IPC_LOG_FILE,  /* logger; descriptor, or none: discard */
    IPC_DRAIN,     /* worker: uint64_t milliseconds; from control: asks the monitor to stop gently, empty */
    IPC_HAND_OVER, /* another posternd serves from now on. worker: uint64_t milliseconds; control, filter: empty */
    IPC_TRY,       /* worker that was started beside another posternd: accept, as that one's do, too */
    IPC_SERVE,     /* worker, control, filter of such a one: the other posternd has handed over */
    IPC_STANDBY,   /* filter: uint32_t, may another posternd commit its table? */
    IPC_PRESSURE,  /* worker: struct pressure */
    IPC_STOP,      /* worker: end now. filter: uint32_t, remove the rules? and end */
    IPC_STATUS,    /* control: struct wire_status */
    IPC_PING,      /* does its loop turn? Empty, answered by the same */
    /* control and monitor */
    IPC_RELOAD,   /* control asks, empty */
    IPC_RELOADED, /* uint32_t enum reload_end, then text: what was wrong, or warnings */
    IPC_UPGRADE,  /* control asks, empty */
    IPC_UPGRADED, /* int32_t the pid of the posternd that serves now, or 0 and then text: why this one stays */
    /* control and worker */
    IPC_KILL,      /* uint64_t request, then uint64_t numbers[]. From the monitor it needs no answer; to it, of the posternd that
                      drains: uint64_t worker, then uint64_t numbers[] */
    IPC_KILLED,    /* struct wire_killed */
    IPC_EXPLAIN,   /* uint64_t request, then a JSON object: the question */
    IPC_EXPLAINED, /* uint64_t request, then a JSON object: the answer */
    /* control and filter: one question, an answer in one or more pieces */
    IPC_ASK,    /* uint64_t request, then a JSON object: { "command": ... } */
    IPC_ANSWER, /* struct wire_answer, then a piece of JSON text */
    /* worker to filter */
    IPC_FLOW_OPENED, /* struct wire_flow */
    IPC_FLOW_CLOSED, /* struct wire_flow: number and remove */
    IPC_HOSTILE,     /* struct wire_hostile */
    IPC_SOCKET,      /* struct wire_socket */
    /* filter to worker */
    IPC_FLOW,        /* struct wire_conntrack */
    IPC_SOCKET_MADE, /* struct wire_socket_made; descriptor, or none */
    IPC_BLOCKED,     /* struct network: end the sessions of these clients */
    /* worker to minter, and back */
    IPC_LEAF_WANTED, /* struct engine_leaf_request */
    IPC_LEAF,        /* struct wire_leaf */
    IPC_TYPE_COUNT
};

#define IPC_BYTES 73728 /* the largest payload: a control line of 64 KiB fits with a header */
#define IPC_FDS 64      /* the most descriptors in one message */

struct ipc_message {
    enum ipc_type type;
    size_t len, fd_count;
    int fds[IPC_FDS];                     /* owned by the message until ipc_take_fd(); -1: taken */
    _Alignas(8) char data[IPC_BYTES + 1]; /* with a NUL behind it */
};

/* A connected pair, non-blocking and close-on-exec; false with errno set. */
MUST_CHECK bool ipc_pair(int fds[2]);

/*
 * Sends one message; the descriptors stay the caller's. false with errno set: EAGAIN (the other side does not read), EPIPE (it is
 * gone), EMSGSIZE (larger than IPC_BYTES or more than IPC_FDS).
 */
MUST_CHECK bool ipc_send(int fd, enum ipc_type type, const void *data, size_t len);
MUST_CHECK bool ipc_send_fds(int fd, enum ipc_type type, const void *data, size_t len, const int *fds, size_t fd_count);
/* The same with a payload in two pieces, `head` first. */
MUST_CHECK bool ipc_send_two(int fd, enum ipc_type type, const void *head, size_t head_len, struct span tail);

/*
 * Receives one message into `m` (large: keep one a process). END: the other side is gone, or it sent something that is no message;
 * the caller closes `fd`. Descriptors of a message that nobody takes are closed by ipc_release().
 */
enum ipc_result { IPC_NOTHING, IPC_MESSAGE, IPC_END };
MUST_CHECK enum ipc_result ipc_receive(int fd, struct ipc_message *m);
/* Moves descriptor `i` to the caller; -1 if there is none. */
MUST_CHECK int ipc_take_fd(struct ipc_message *m, size_t i);
void ipc_release(struct ipc_message *m);

/* Copies the first `size` bytes of the payload; false if it is shorter. */
MUST_CHECK bool ipc_read(const struct ipc_message *m, void *out, size_t size);
/* The payload behind its first `size` bytes; it is followed by a NUL. */
struct span ipc_rest(const struct ipc_message *m, size_t size);

#endif
