/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_FILTER_H
#define POSTERN_APP_FILTER_H

#include "app/filter_blocks.h"
#include "app/generation_load.h"
#include "app/ipc.h"
#include "app/process.h"
#include "filter/conntrack.h"
#include "filter/flows.h"
#include "filter/nft.h"
#include "filter/policy_route.h"

#include <jansson.h>

struct event;
struct event_base;

/*
 * The filter process, shared by its files: filter.c (start, messages of the monitor, the loop), filter_commit.c (a generation into
 * the kernel, watched and mended), filter_peers.c (workers and control), filter_block.c, filter_ask.c (what control asks) and
 * filter_doctor.c.
 */
struct filter;

/* The other end of a socket pair: a worker, or control. */
struct filter_peer {
    struct filter *filter;
    unsigned worker; /* control: how many workers there are */
    int fd;          /* -1: none */
    struct event *event, *writable;
    struct outgoing *first; /* control: answers that did not fit yet */
};

struct filter {
    const struct process_args *args;
    struct event_base *base;
    struct generation_inbox inbox;
    struct generation *current; /* the one that is committed; NULL: none yet */
    struct nft *nft;            /* of its table */
    char table[CONF_NAME];
    uint64_t text, listing; /* digests: what was committed (without blocks), and what the kernel then listed (bare) */
    bool routed;            /* policy routing is wanted */
    bool routed4, routed6;  /* and was there when it had been installed */
    bool standby;           /* another posternd commits the table, or may: nothing is mended */
    bool in_trouble;        /* what has to be mended could not be: said once */
    uint64_t check_ms;      /* when the table is looked at again, whether or not the kernel told of a change */
    struct conntrack *conntrack;
    struct flows *flows;
    uint64_t dump_ms; /* when the next dump is due */
    struct route *route;
    struct shard *shard;
    struct ring log;
    struct filter_stats *stats;
    struct blocks *blocks;
    struct hostile *hostile;
    struct filter_peer workers[WORKERS_MAX], control;
    struct event *monitor_event, *watch_event, *late_event, *conntrack_event, *route_event, *tick_event;
    int exit_code;
    struct ipc_message message;
};

/* filter_commit.c */
/* Makes the kernel do what `g` says: policy routing and table, all of it or nothing. false: `error` of NFT_ERROR bytes. */
MUST_CHECK bool filter_commit(struct filter *f, struct generation *g, char *error);
/* Are policy routing and the table as they were committed? If not, says so and mends them. The table only when `check_ms` is past.
 */
void filter_check(struct filter *f);
/* In the next turn. */
void filter_check_soon(struct filter *f);
/* Is it? Changes nothing. */
bool filter_holds(struct filter *f);
/* Removes table and policy routing. */
MUST_CHECK bool filter_remove(struct filter *f);

/* Closes the handle; what is in the kernel stays. */
void filter_close(struct filter *f);

/* filter_peers.c */
void peers_init(struct filter *f);
void peers_close(struct filter *f);
void peers_take(struct filter *f, struct ipc_message *m);
/* Tells one worker; a queue that is full loses the message. */
void peers_tell(struct filter *f, unsigned worker, enum ipc_type type, const void *data, size_t len);
/* To all workers: their sessions of these clients end. */
void peers_tell_blocked(struct filter *f, const struct network *network);
/* An answer to control, in as many pieces as it takes. */
void peers_answer(struct filter *f, uint64_t request, const char *text);

/* filter_block.c */
/* Blocks for `seconds` in kernel and workers and ends kernel-forwarded flows. `why`: for `posternctl blocks`. false: `error`. */
MUST_CHECK bool filter_block(struct filter *f, const struct network *network, uint32_t seconds, const char *why, char *error);
MUST_CHECK bool filter_unblock(struct filter *f, const struct network *network, char *error);
/* A worker saw something hostile. */
void filter_on_hostile(struct filter *f, const struct addr *client, enum reason why);
/* Takes over what the kernel blocks; forgets what ran out. */
void filter_blocks_adopt(struct filter *f, struct nft *nft);
void filter_blocks_tick(struct filter *f);

/* filter_ask.c: control asked. */
void filter_on_ask(struct filter *f, uint64_t request, struct span question);

/* filter_doctor.c: the answers to { "command": "doctor" } and { "command": "route", ... }: new references. */
json_t *filter_doctor(struct filter *f);
json_t *filter_route(struct filter *f, const json_t *question);

#endif
