/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_HEALTH_H
#define POSTERN_BASE_HEALTH_H

#include "base/span.h"

#include <stdatomic.h>

/*
 * What is known of the upstreams of reverse listeners, in memory that all workers write to and control reads: what one worker's
 * traffic finds out, and what the checks of the first one do, all know at once, and it outlives them. A slot belongs to an upstream
 * of a listener by the hash of their names, so a reload finds it again. Pure: the time comes from the caller.
 *
 * Two kinds of failure are told apart. Where no connection could be made the upstream is *down*: nobody is sent there. Where one
 * was made and died under a request it is *doubtful*: it is avoided as long as there is another, because a client whose requests
 * kill servers must not be able to take a whole service away. Both end by themselves: after a second one request tries again, if
 * that fails, after two, and so on (HEALTH_MOST_MS). What the checks say holds until they say something else.
 */
#define HEALTH_SLOTS 1024
#define HEALTH_FIRST_MS 1000u
#define HEALTH_MOST_MS 16000u

enum health_state { HEALTH_UP, HEALTH_DOUBTFUL, HEALTH_DOWN, HEALTH_STATES };

struct health_slot {
    _Atomic uint64_t key;      /* 0: free */
    _Atomic uint64_t struck;   /* ms: when the last failure was counted */
    _Atomic uint64_t until;    /* ms: not used before */
    _Atomic uint32_t strikes;  /* failures in a row; 0: none */
    _Atomic uint32_t refused;  /* among them one of the connection itself */
    _Atomic uint32_t checked;  /* 0: never, or up; 1: down */
    _Atomic int32_t streak;    /* checks in a row that were good (> 0) or not */
    _Atomic uint64_t since_us; /* wall time of the last change of its state; 0: none yet */
    _Atomic uint64_t failures; /* of traffic */
    _Atomic uint64_t checks, check_failures;
};

struct health {
    struct health_slot slots[HEALTH_SLOTS];
};

const char *health_state_name(enum health_state v);
/* Whose slot it is; never 0. */
uint64_t health_key(const char *listener, const char *host, uint16_t port, bool tls);
/* The slot; with `make`, taken if need be. NULL: there is none (any more): nothing is known. */
struct health_slot *health_find(struct health *h, uint64_t key, bool make);
/* Gives back those whose keys are not among these. One process alone. */
void health_retain(struct health *h, const uint64_t *keys, size_t count);

struct health_facts {
    enum health_state state;
    uint64_t since_us; /* wall time of its last change; 0: none */
    uint64_t failures; /* of traffic */
    uint64_t checks, check_failures;
};

/* Any: what is known of this upstream; where nothing is, it is up. */
struct health_facts health_read(const struct health *h, uint64_t key);
enum health_state health_state(const struct health_slot *slot);
/*
 * May a request be sent there at `now` (ms)? UP: yes; and when the time of a failure is over, to one of all that ask: the others
 * are told so again until `hold` ms later, or until something is known. DOUBTFUL: if there is nothing better.
 */
enum health_state health_ask(struct health_slot *slot, uint64_t now, uint64_t hold);
/* Who was to try it until then (`now` + `hold` of its question) has not: somebody else may. */
void health_untried(struct health_slot *slot, uint64_t until);
/* Traffic failed there; `refused`: there was not even a connection. true: its state changed. */
bool health_failed(struct health_slot *slot, uint64_t now, bool refused);
/* Traffic has a fresh connection to it: what becomes of the request on it is another question, which must not keep it down; a
 * client could answer it with requests that never end, or that kill servers. true: its state changed. */
bool health_reached(struct health_slot *slot);
/* Traffic got an answer by a fresh connection. true: its state changed. */
bool health_worked(struct health_slot *slot);
/* A check was good or not: it is up after `rise` in a row, and down after `fall`. true: its state changed. */
bool health_checked(struct health_slot *slot, bool good, uint32_t rise, uint32_t fall);

#endif
