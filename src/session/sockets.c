/* SPDX-License-Identifier: ISC */
/*
 * preserve_client_address: servers see the address of the client. A worker may not bind to it, so it asks the filter process for a
 * bound socket for each address that it would dial, and dials those that come. Nothing waits for the answers but the session, and
 * its connect timer. Answers come in the order of the questions, so the oldest question is looked at first.
 */
#include "session/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One dial that waits for its sockets. */
struct sockets {
    struct sockets *next, **link; /* all of the engine, oldest first */
    struct session *session;
    uint64_t first;   /* the request for address i has the number first + i */
    size_t count;     /* of addresses */
    unsigned missing; /* answers that are not here yet */
    int error;        /* the last one */
    int fds[DIAL_ADDRESSES];
};

bool sockets_are_wanted(const struct session *s)
{
    return session_listener(s)->mode == MODE_TRANSPARENT && session_listener(s)->preserve_client_address;
}

static void forget(struct sockets *w)
{
    struct engine *e = w->session->engine;

    *w->link = w->next;
    if (w->next != NULL)
        w->next->link = w->link;
    else
        e->sockets_last = w->link;
    w->session->sockets = NULL;
    free(w);
}

void sockets_cancel(struct session *s)
{
    struct sockets *w = s->sockets;

    if (w == NULL)
        return;
    for (size_t i = 0; i < w->count; i++)
        if (w->fds[i] >= 0)
            close(w->fds[i]);
    forget(w);
}

static struct sockets *queue(struct session *s, size_t count)
{
    struct engine *e = s->engine;
    struct sockets *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return NULL;
    w->session = s;
    w->count = count;
    w->first = e->next_socket;
    e->next_socket += count;
    memset(w->fds, 0xff, sizeof(w->fds));
    w->link = e->sockets_last;
    *w->link = w;
    e->sockets_last = &w->next;
    s->sockets = w;
    return w;
}

enum reason sockets_ask(struct session *s, const struct judgement *j)
{
    const struct engine_filter *filter = &s->engine->args.filter;
    const struct addr *client = &s->row->client;
    bool asked = false;
    struct sockets *w;

    if (filter->socket_wanted == NULL || (w = queue(s, j->address_count)) == NULL) {
        log_remote("no filter process makes a socket with the client's address");
        return R_INTERNAL;
    }
    for (size_t i = 0; i < j->address_count; i++) {
        if (j->addresses[i].family != client->family)
            continue;
        asked = true;
        w->missing += filter->socket_wanted(filter->arg, s->number, w->first + i, client, &j->addresses[i]);
    }
    if (w->missing > 0)
        return R_NONE;
    sockets_cancel(s);
    if (asked)
        log_remote("the filter process could not be asked for a socket with the client's address");
    return asked ? R_INTERNAL : R_NO_ROUTE; /* no address of the server is of the client's family */
}

static struct sockets *find(const struct engine *e, uint64_t request)
{
    struct sockets *w = e->sockets;

    while (w != NULL && request - w->first >= w->count)
        w = w->next;
    return w;
}

/* All answers are here. */
static void hand_over(struct sockets *w)
{
    struct session *s = w->session;
    int fds[DIAL_ADDRESSES], error = w->error;
    bool any = false;

    memcpy(fds, w->fds, sizeof(fds));
    for (size_t i = 0; i < w->count; i++)
        any |= fds[i] >= 0;
    forget(w);
    if (!any)
        log_remote("no socket with the client's address: %s", strerror(error));
    connect_with_sockets(s, any ? fds : NULL);
    session_run(s);
}

void engine_socket(struct engine *e, uint64_t request, int fd, int error)
{
    struct sockets *w = find(e, request);

    if (w == NULL || w->missing == 0 || w->fds[request - w->first] >= 0) {
        if (fd >= 0)
            close(fd); /* nobody waits for it any more */
        return;
    }
    w->fds[request - w->first] = fd;
    if (fd < 0)
        w->error = error;
    if (--w->missing == 0)
        hand_over(w);
}

void engine_sockets_lost(struct engine *e)
{
    while (e->sockets != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): hand_over() takes the first out of the list */
        e->sockets->missing = 0;
        e->sockets->error = ECONNRESET;
        hand_over(e->sockets);
    }
}
