/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_PROCESS_H
#define POSTERN_APP_PROCESS_H

#include "app/ipc.h"
#include "app/shared.h"
#include "base/pressure.h"
#include "proto/leaf.h"
#include "session/engine.h"

#include <sys/types.h>

/* The children of the monitor. Each runs one of the mains below in a fork, without exec, with privileges dropped. */
enum process_kind { PROCESS_LOGGER, PROCESS_CONTROL, PROCESS_WORKER, PROCESS_FILTER, PROCESS_MINTER };
#define PROCESS_KINDS (PROCESS_MINTER + 1)

/* What a child is born with. Descriptors are -1 where a process does not get one. */
struct sandbox;
struct process_args {
    enum process_kind kind;
    const struct sandbox *sandbox; /* what is applied when everything is loaded */
    int ipc;                       /* to the monitor; end-of-file: the monitor is dead */
    int alive;                     /* struct shared: the worker's end [1], or the others' [0] */
    unsigned worker, workers;      /* index of this worker (filter: how many workers there are), and how many there are */
    bool waits;                    /* another posternd serves until IPC_SERVE */
    uint64_t first_number;         /* of sessions: none below it is given */
    unsigned writers;              /* of shards and rings: the workers, and the filter process whether or not it runs */
    uint32_t rows;                 /* of each shard */
    int shards[WRITERS_MAX];       /* a worker writes its own and reads the others; filter writes its own; the rest read all */
    int rings[WRITERS_MAX];        /* who writes has its own; the logger all; control all, to read how many were dropped */
    int log_wake;                  /* who writes, and the logger */
    unsigned old_writers;          /* control: shards of the posternd before this one, while it drains */
    uint32_t old_rows;
    int old_shards[WRITERS_MAX];
    int log_stats;                    /* logger writes, control reads */
    int filter_stats;                 /* filter writes, control reads */
    int health;                       /* workers write, control reads */
    int control_socket, admin_socket; /* control; listening */
    uid_t owner;                      /* whoever started posternd: may use the control socket, as root may */
    uid_t worker_user;                /* filter: whom the kernel knows the workers by */
};

/* Each returns the exit status of its process. */
int worker_main(const struct process_args *args);
int logger_main(const struct process_args *args);
int control_main(const struct process_args *args);
int filter_main(const struct process_args *args);
int minter_main(const struct process_args *args);

/* The payload of IPC_STATUS: what only the monitor knows. */
struct wire_status {
    uint64_t started_us;                          /* wall time */
    uint64_t sessions_configured, sessions_limit; /* what was asked for, and what descriptors allow */
    uint64_t files;                               /* RLIMIT_NOFILE */
    uint64_t memory_used, memory_limit;           /* bytes: of all processes, or of their control group if that is tighter */
    pid_t monitor, logger, control;
    pid_t filter, minter; /* 0: there is none */
    pid_t predecessor;    /* a posternd whose place this one took, and that still drains; 0: none */
    uint16_t generation;
    uint8_t log_level, draining;
    uint8_t pressure; /* enum pressure_level */
    uint32_t filter_restarts, filter_ready;
    uint32_t minter_restarts, minter_ready;
    struct {
        uint8_t wanted, users; /* enum conf_sandbox, enum users */
        uint8_t landlock, calls;
    } sandbox; /* of struct sandbox */
    struct {
        pid_t pid; /* 0: dead, and about to be started again */
        uint32_t restarts;
        uint32_t ready;
    } workers[WORKERS_MAX];
};

/* Sessions of a posternd that drains that one order ends. */
#define KILL_BEFORE_MAX 128

/* A child's answer to IPC_LOG_LEVEL. */
void process_set_log_level(const struct ipc_message *m);
/* A child's answer to IPC_PING. */
void process_answer_ping(int ipc);

/* How a reload ended: nothing was changed; all have the new generation; it is in force, but a process did not take it. */
enum reload_end { RELOAD_REFUSED, RELOAD_DONE, RELOAD_PARTIAL };

/* The payload of IPC_PEER: who is at the other end. */
struct wire_peer {
    enum process_kind kind;
    uint32_t worker;
};

/* Payloads between workers and filter. `number` is that of a session. */
struct wire_flow {
    uint64_t number;
    struct addr client, destination;
    uint32_t remove; /* IPC_FLOW_CLOSED: delete its conntrack entry */
};
struct wire_conntrack {
    uint64_t number;
    struct engine_flow flow;
};
struct wire_hostile {
    uint64_t number;
    struct addr client;
    uint32_t reason;
};
struct wire_socket {
    uint64_t number, request;
    struct addr client, server;
};
struct wire_socket_made {
    uint64_t request;
    int error;
};

/* IPC_MINTER_KEY. The minter answers whether the key is good, and uses it from IPC_COMMIT on. */
struct wire_minter_key {
    uint32_t number; /* of the generation; as wide as the other, so that there is nothing between them */
    uint32_t rate;   /* leaves a second, for each worker */
};

/* Between workers and minter. */
struct wire_leaf {
    uint64_t request;
    uint32_t len; /* 0: refused */
    char der[LEAF_MAX];
};

/* The head of IPC_ANSWER; `more`: another piece follows. */
struct wire_answer {
    uint64_t request;
    uint32_t more;
};

/* The payload of IPC_KILLED. */
struct wire_killed {
    uint64_t request;
    uint32_t killed; /* how many of the numbers were open sessions */
};

#endif
