/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_EXPLAIN_WORK_H
#define POSTERN_SESSION_EXPLAIN_WORK_H

#include "session/examine.h"
#include "session/explain_head.h"
#include "session/explain_packet.h"
#include "session/state.h"

/*
 * A dry run while it lasts; private to explain.c (the question, look-ups, the answer) and explain_judge.c (what is judged).
 */
#define HEAD_BYTES 65536
#define QUESTION_BYTES 65536

struct pending {
    struct pending *next, **link;
    struct engine *engine;
    struct resolver_query *lookup;
    struct generation *generation;
    void (*done)(const struct explain_answer *answer, void *arg);
    void *arg;
    struct explain_query query; /* its texts lie in `kept` */
    struct explain_url url;
    struct addr destination; /* what a client without a proxy would dial; family 0: not known */
    enum reason unresolved;  /* why it is not */
    struct judgement judge;
    struct examine question;
    struct tunnel inside; /* what an inspected request is in */
    struct h1_head head;
    struct target target;
    struct ws_offer offer;
    char text[HEAD_BYTES]; /* the head */
    char kept[QUESTION_BYTES];
    size_t kept_len;
    char scratch[TARGET_BUFFER(HEAD_BYTES)];
    bool too_long; /* the head */
    struct explain_answer answer;
};

/* The request and its target, without addresses. R_NONE: go on with those. */
enum reason explain_first(struct pending *p);
/* All that is left, by p->judge.addresses. */
enum reason explain_rest(struct pending *p);

#endif
