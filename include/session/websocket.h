/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_WEBSOCKET_H
#define POSTERN_SESSION_WEBSOCKET_H

#include "policy/ws_contract.h"
#include "policy/ws_match.h"
#include "proto/sniff.h"
#include "proto/ws_deflate.h"
#include "proto/ws_frame.h"
#include "session/session.h"

/*
 * One WebSocket: two halves, each named by the side whose frames it reads. For session/ only.
 *
 *   websocket.c   begins it, sets the readers to what the policy says, moves frames from one side to the other
 *   ws_rules.c    what the policy asks about each frame, and what becomes of a frame that breaks it (on_violation)
 *   ws_inspect.c  payload that is read: unmasked, inflated, checked as UTF-8, looked at for hidden protocols
 *   ws_hold.c     messages that wait until they are complete and judged by the policy's match rules
 *   ws_alive.c    our pings, their pongs, and sides that are dead
 *   ws_end.c      close frames, and who is told what
 *   ws_caps.c     how many there may be
 */
#define WS_PING_TEXT 16  /* "postern:" and eight hex digits */
#define WS_LOOKS 2       /* at what a side has taken, in an interval */
#define WS_EVENTS_MAX 10 /* records a second that one WebSocket may cause, beyond its end */

/* Bytes that grow in steps, and are given back at once. */
struct ws_bytes {
    char *at;
    size_t len, size;
};

/* The open message of one half. */
struct ws_open {
    uint64_t announced;   /* payload of all its frames so far */
    uint64_t plain_bytes; /* of it so far, inflated */
    uint32_t utf8;
    bool text, compressed;
    bool is_read;               /* its payload is looked at */
    bool vanishes;              /* it is dropped: now, or once it is complete if it is held */
    struct ws_bytes raw, plain; /* of a message that is held: its frames as they came, and what they say */
    uint64_t held_since;        /* ms: when that began, or went on after we had to wait; 0: nothing is held */
    /* The first binary message, for tunnels = false. */
    char first[SNIFF_HIDDEN_MAX];
    uint8_t first_len, first_before; /* now, and when the open message began */
    bool sniffs;                     /* the open message is looked at */
};

/* Is the side of one half still there? */
struct ws_alive {
    uint64_t heard;  /* ms: last bytes of this side, or that it took of what waited for it, or that it was read again */
    uint64_t pinged; /* ms: when our last ping was due, or what stands before it moved */
    bool waits;      /* our last ping was sent, and nothing was heard since */
    bool owed;       /* it was not sent: what the side has does not end at a frame */
    char ping[2][WS_PING_TEXT + 1];     /* what our last pings said, the last one first; "": none, or it was answered */
    uint64_t before_ping, taken_before; /* bytes of its output that the last one stands behind, and those of them that it took */
    uint64_t looked;                    /* ms: when we looked last whether it takes what it gets */
    uint64_t given, taken;              /* bytes of its output then: all, and those that it had taken */
    uint32_t stuck;                     /* looks in a row that found nothing taken */
};

/* Most WebSockets of most policies are idle, and nobody asks about their frames: what is for others is made when it is needed. */
struct ws_half {
    struct session *session;
    enum direction from;
    bool left;    /* input was left for another turn of the loop: the work of one was done */
    bool stopped; /* nothing was read, because the other side does not take what there is */
    struct ws_reader reader;
    uint64_t data_left;           /* after the last run: what was to come of the last frame if it was of data */
    struct ws_inflater *inflater; /* deflate = "inspect", and compression was agreed on; otherwise NULL */
    struct ws_open *open;         /* NULL: no policy had an opinion about single messages yet */
    struct ws_alive *alive;       /* NULL: none had a ping_interval */
    struct ws_control *control;   /* its pings and pongs; NULL: there was none */
};

struct websocket {
    struct ws_half halves[DIRECTIONS];
    struct ws_deflate agreed;
    const struct conf_policy *policy; /* that decided; in the session's generation */
    const struct ws_match *match;     /* its rules about content, or NULL */
    struct ws_effort effort;          /* of judging by them */
    struct ws_contract *contract;     /* NULL: no policy had an opinion about single messages yet */
    uint64_t spoke;                   /* ms: last piece of a data message */
    enum closer first_closer;         /* who sent the first close frame */
    uint64_t closing_since;           /* ms: when; 0: nobody did */
    uint64_t events_since;            /* ms: the second in which events are counted */
    uint32_t events;
    uint32_t rule_line;
    name_id rule; /* what denied a message or the stream: a match rule, or the policy that revokes; 0: nothing with a name */
    bool surplus; /* a side went on behind its close frame */
};

static inline enum direction ws_back(enum direction d)
{
    return d == UP ? DOWN : UP;
}

/* The side that a direction leads to. */
static inline struct stream *ws_target(struct session *s, enum direction d)
{
    return d == UP ? &s->server : &s->client;
}

/* websocket.c */
/* Bytes that a message of this half may have, inflated; 0: no limit. */
uint64_t websocket_limit(const struct ws_half *h);
/* From now on the half keeps to what the policy says, as far as what it holds lets it. */
void websocket_set_rules(struct ws_half *h);
/* Is a message, or a part of one, held? */
bool websocket_holds(const struct ws_half *h);
/* Frames of this kind passed, or are about to: the row says so. */
void websocket_count(struct ws_half *h, enum ws_kind kind, uint32_t frames);
/* Could the stream go on under this policy, as far as its compression goes? */
bool websocket_fits(const struct websocket *w, const struct conf_policy *policy);
/* The session's generation is a new one, in which policy number `policy` decided. Ends the session if there is no memory. */
void websocket_renew(struct session *s, int policy);

/* ws_rules.c */
/* What a reader of this half has to ask: about control frames alone where the policy has no opinion about single data frames. */
struct ws_calls ws_rules_calls(struct ws_half *h);
/*
 * A message, or a control frame, breaks what the policy says. Returns R_NONE if it is let go with a record of it, with *drop if it
 * vanishes; otherwise the stream must be closed. `can_vanish`: nothing of it was passed on.
 */
MUST_CHECK enum reason ws_rules_broken(struct ws_half *h, enum reason why, bool can_vanish, bool *drop);
/* May a message of this half vanish without making what follows unreadable? */
bool ws_rules_may_vanish(const struct ws_half *h, bool compressed);
/* Who says so, for the record, the log and the close frame; "" for nobody. */
void ws_rules_name(struct websocket *w, struct session *s, const char *name, unsigned line);

/* ws_inspect.c */
/* A message begins; is it to be read? `held`: yes. */
void ws_inspect_begin(struct ws_half *h, const struct ws_frame *frame, bool held);
/* Its payload, as struct ws_calls has it. */
MUST_CHECK enum reason ws_inspect_payload(void *half, struct span payload, const uint8_t *mask, unsigned at);
/* Its last frame is empty. */
MUST_CHECK enum reason ws_inspect_end(struct ws_half *h);

/* ws_hold.c */
/*
 * More of a held message; once it is complete it is judged, and passed on or not. R_NONE, R_MEMORY, or why the stream must be
 * closed; R_OVERLOAD: the worker holds as much as it may.
 */
MUST_CHECK enum reason ws_hold(struct ws_half *h, struct span run);
/* More of what it says. The same reasons. */
MUST_CHECK enum reason ws_hold_text(struct ws_half *h, struct span piece);
/* What is held is given back, and goes nowhere. */
void ws_hold_drop(struct ws_half *h);

/* ws_alive.c */
/* A pong that answers our own ping? It concerns nobody else. */
bool ws_alive_is_answer(struct ws_half *h, const struct ws_frame *frame);
/* Bytes of this side came. */
void ws_alive_heard(struct ws_half *h);
/* Its side takes what it gets, or could not be heard until now. */
void ws_alive_moved(struct ws_half *h);
/* Our last ping may be on its way still: the side took some of what stands before it, since this was asked last. */
bool ws_alive_approaches(struct ws_half *h);
/* To be asked WS_LOOKS times an interval: is there something for this side of which it took nothing for two of them? */
bool ws_alive_is_stuck(struct ws_half *h);
/* Sends this side a ping, or owes it. */
void ws_alive_ping(struct ws_half *h);
/* Sends a ping that is owed to this side, if what it has ends at a frame now. */
void ws_alive_pay(struct ws_half *h);

/* ws_end.c */
/* The side whose frames are `from` broke a rule. */
void ws_end_violation(struct session *s, enum direction from, enum reason why);
/* It is gone without a close frame. */
void ws_end_gone(struct session *s, enum direction from);
/* It does not answer pings. */
void ws_end_dead(struct session *s, enum direction from);
/* A close frame of it passed. */
void ws_end_note(struct session *s, enum direction from);

#endif
