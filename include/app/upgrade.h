/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_UPGRADE_H
#define POSTERN_APP_UPGRADE_H

#include "app/shared.h"
#include "conf/conf.h"

#include <stdio.h>
#include <sys/types.h>

/*
 * What one posternd passes to the next when its binary is replaced: descriptors, inherited over exec, and a text that says what
 * each of them is. The two may be of different versions, so nothing here is a struct as it lies in memory, but for the rows of the
 * session table, which are only looked at if both would lay them out alike.
 */
struct handover {
    int channel;           /* to the other posternd; -1: there is none, this is a plain start */
    pid_t pid;             /* of the other posternd */
    uint64_t generation;   /* its number */
    uint64_t number;       /* the highest number of a session so far */
    int folder;            /* the runtime folder, locked; -1: none */
    int admin;             /* the admin listener, or -1 */
    int lock;              /* of the packet filter's table, or -1 */
    char table[CONF_NAME]; /* its name; empty: no packet filter */
    int *listening;        /* owned, like the descriptors in it */
    size_t listening_count;
    uint64_t layout;         /* upgrade_layout() of the shards */
    unsigned writers;        /* how many shards there are */
    uint32_t rows;           /* of each */
    int shards[WRITERS_MAX]; /* read-only */
};

#define UPGRADE_VARIABLE "POSTERN_UPGRADE"
#define UPGRADE_TEXT 4096

/* How this binary lays out a shard: equal numbers, equal layout. */
uint64_t upgrade_layout(void);

/* Writes the text, without the channel and the pid, to an unnamed file that is open for reading at its start; -1 with errno set. */
MUST_CHECK int upgrade_write(const struct handover *h);
/* Calls `fn` for each descriptor that is passed on, but for the channel. */
void upgrade_each_fd(const struct handover *h, void (*fn)(int fd, void *arg), void *arg);

/*
 * Reads and checks what the environment says was passed on, and removes it from the environment. Every descriptor is close-on-exec
 * then. true with `channel` -1: nothing was passed on. false: `error` says what is wrong with it: who passed it on is not our
 * parent, or another user, or does not speak as we do, or a descriptor is not what it should be.
 */
MUST_CHECK bool upgrade_read(struct handover *out, char *error, size_t size);
/* Closes what was not taken over (set to -1), but for the channel. */
void upgrade_forget(struct handover *h);

/* What the two say to each other: a letter, and for FAILED why. A word that is not known is passed over: the other one may be of
 * another version. */
enum upgrade_word {
    UPGRADE_READY = 'R',   /* the new one: I could serve */
    UPGRADE_FAILED = 'F',  /* the new one: I could not, because */
    UPGRADE_GO = 'G',      /* the old one: accept, beside me */
    UPGRADE_SERVES = 'V',  /* the new one: all my workers serve */
    UPGRADE_TAKE = 'T',    /* the old one: then take everything, I drain */
    UPGRADE_TICKETS = 'K', /* the old one, just before: keys of session tickets (app/ticket_keys.h). Whoever does not know it goes
                             on with its own */
    UPGRADE_STOP = 'S',    /* the new one, later: it was told to stop at once */
    UPGRADE_KILL = 'X',    /* the new one, later: end sessions. The number of a worker, then those of its sessions */
    UPGRADE_REOPEN = 'L'   /* the new one, later: open the log again */
};
/* Nothing of the text stays behind. false with errno set. */
bool upgrade_say(int channel, enum upgrade_word word, const char *text);
/* The next word, with its text of at most UPGRADE_TEXT bytes, which is left nowhere else: 1; nothing: 0; the other one is gone: -1.
 */
MUST_CHECK int upgrade_hear(int channel, enum upgrade_word *word, char text[UPGRADE_TEXT]);
/* Numbers with a space between: how many, or 0 if there is anything else, or more than `max`. */
size_t upgrade_numbers(const char *text, uint64_t *out, size_t max);

#endif
