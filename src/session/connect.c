/* SPDX-License-Identifier: ISC */
/*
 * From a granted target to an open connection: resolve, judge each address (the caller does), reuse or dial. A kept connection is
 * looked at before it is used again (design.md, ownership (b)): bytes that lie there were sent while nobody had asked, and condemn
 * it. What is dialled is what was judged.
 */
#include "session/handshake.h"
#include "session/state.h"

#include "base/clock.h"
#include "base/mutant.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Whose judgement waits: the request's or the tunnel's? */
static struct judgement *waiting_judgement(struct session *s)
{
    return s->exchange != NULL ? &s->exchange->judge : s->tunnel->judge;
}

static void set_addresses(struct judgement *j, const struct addr *addresses, size_t count)
{
    j->address_count = count < DIAL_ADDRESSES ? count : DIAL_ADDRESSES;
    for (size_t i = 0; i < j->address_count; i++) {
        j->addresses[i] = addresses[i];
        j->addresses[i].port = j->port;
    }
}

static enum reason take_answer(struct judgement *j, enum resolver_result result, const struct addr *addresses, size_t count)
{
    switch (result) {
    case RESOLVER_OK:
        set_addresses(j, addresses, count);
        return R_NONE;
    case RESOLVER_NO_NAME:
        return R_NAME_UNRESOLVED;
    case RESOLVER_TIMEOUT:
        break;
    }
    return R_NAME_TIMEOUT;
}

static void on_resolved(void *arg, enum resolver_result result, const struct addr *addresses, size_t count)
{
    struct session *s = arg;
    enum reason why;

    s->query = NULL;
    why = take_answer(waiting_judgement(s), result, addresses, count);
    if (why != R_NONE && !balance_moves(s, why))
        deny(s, why);
    else if (why == R_NONE && s->exchange == NULL)
        tunnel_proceed(s);
    else if (s->exchange != NULL)
        s->exchange->step = STEP_JUDGE; /* the handler goes on with the head, which waits in the client's stream */
    session_run(s);
}

bool connect_find_local(const struct generation *g, struct judgement *j)
{
    static const struct addr loopback[] = { { .family = AF_INET6, .ip = { [15] = 1 } },
                                            { .family = AF_INET, .ip = { 127, 0, 0, 1 } } };
    struct addr found[DIAL_ADDRESSES];
    struct span name = host_span(&j->dial);
    size_t count;

    if (j->dial.ip.family != 0) {
        set_addresses(j, &j->dial.ip, 1);
        return true;
    }
    count = g->hosts != NULL ? conf_hosts_find(g->hosts, name, found, DIAL_ADDRESSES) : 0;
    if (count > 0)
        set_addresses(j, found, count);
    else if (span_eq(name, SPAN("localhost")))
        set_addresses(j, loopback, 2); /* RFC 6761 6.3: never asked of a resolver */
    return j->address_count > 0;
}

enum reason connect_resolve(struct session *s, struct judgement *j)
{
    enum resolver_result result;
    const struct addr *addresses;
    size_t count;

    if (s->exchange != NULL && s->tunnel != NULL) { /* the tunnel's address was judged and connected */
        set_addresses(j, &s->server_address, 1);
        return R_NONE;
    }
    if (connect_find_local(s->generation, j))
        return R_NONE;
    if (resolver_cached(s->engine->resolver, host_span(&j->dial), &result, &addresses, &count))
        return take_answer(j, result, addresses, count);
    count_add(s->engine->shard, COUNT_LOOKUPS, 1);
    s->query = resolver_ask(s->engine->resolver, host_span(&j->dial), on_resolved, s);
    s->progress = clock_ms();
    return s->query != NULL ? R_COUNT : R_MEMORY;
}

static void on_ready(void *owner)
{
    session_run(owner);
}

void connect_secured(struct session *s)
{
    if (s->exchange == NULL)
        tunnel_connected(s);
    else if (FAULT(LOOK_FRESH, stream_look(&s->server) > 0))
        deny_server(s, R_ANSWER_BEFORE_REQUEST); /* it spoke as soon as it accepted: nothing was written yet */
    else {
        balance_reached(s);
        forward_begin(s);
    }
}

/* The server sees us at this address. */
static void note_own_address(struct session *s)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);

    if (getsockname(s->server.fd, (struct sockaddr *)&sa, &len) != 0 ||
        !addr_from_sockaddr(&s->row->upstream, (struct sockaddr *)&sa, len))
        memset(&s->row->upstream, 0, sizeof(s->row->upstream));
}

/* s->server is a connection to address `index` of the judgement. */
static void note_server(struct session *s, struct judgement *j, size_t index)
{
    judge_choose(j, index);
    s->server_address = j->addresses[index];
    s->server_policy = j->policies[index];
    ledger_init(&s->ledger);
    s->server_personal = false;
    report_judged(s, j);
}

/* A fresh connection to address `index` of the judgement is there. */
static void connected(struct session *s, int fd, struct judgement *j, size_t index)
{
    if (!stream_open(&s->server, s->engine->loop, fd, on_ready, s)) {
        deny(s, R_INTERNAL);
        return;
    }
    s->server_served = false;
    upstream_forget(s);
    note_own_address(s);
    note_server(s, j, index);
    if (upstream_is_wanted(s))
        upstream_begin(s, j->policies[index], &j->dial);
    else
        connect_secured(s);
}

static enum reason dial_reason(int error)
{
    switch (error) {
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
        return R_NO_ROUTE;
    case ETIMEDOUT:
        return R_TIMEOUT_CONNECT;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
        return R_OVERLOAD;
    case ENOMEM:
        return R_MEMORY;
    default:
        return R_UPSTREAM_REFUSED;
    }
}

static void dial_failed(struct session *s, const struct judgement *j, int error)
{
    enum reason why = dial_reason(error);
    bool ours = error == EADDRNOTAVAIL; /* no port is left here for that server: a client that opens many connections does that */

    report_judged(s, j);
    if (!(ours ? balance_moves_unblamed(s, why) : balance_moves(s, why)))
        deny(s, why);
}

static void on_dialled(void *arg, int fd, size_t index, int error)
{
    struct session *s = arg;

    s->dial = NULL;
    if (fd >= 0)
        connected(s, fd, waiting_judgement(s), index);
    else
        dial_failed(s, waiting_judgement(s), error);
    session_run(s);
}

/* `fds` as of dial_to. */
static void open_dial(struct session *s, const struct judgement *j, const int *fds)
{
    const struct dial_to to = { j->addresses, j->address_count, fds };

    s->dial = dial_start(s->engine->loop, &to, on_dialled, s);
    if (s->dial == NULL)
        dial_failed(s, j, errno);
}

void connect_with_sockets(struct session *s, const int *fds)
{
    const struct judgement *j = waiting_judgement(s);

    if (fds != NULL) {
        open_dial(s, j, fds);
        return;
    }
    report_judged(s, j);
    deny(s, R_INTERNAL);
}

static void dial_as_client(struct session *s, const struct judgement *j)
{
    enum reason why = sockets_ask(s, j);

    if (why == R_NONE)
        return;
    report_judged(s, j);
    deny(s, why);
}

/* Whatever connection there was is left: a tunnel, too, may begin on a session that had exchanges. */
static void dial(struct session *s, const struct judgement *j)
{
    connect_drop(s, false);
    if (s->exchange != NULL && s->exchange->none_usable) {
        report_judged(s, j);
        deny(s, R_UPSTREAM_DOWN);
        return;
    }
    if (s->exchange != NULL) {
        s->exchange->step = STEP_DIAL;
        s->exchange->reused = false;
    }
    s->progress = clock_ms();
    count_add(s->engine->shard, COUNT_DIALS, 1);
    if (sockets_are_wanted(s))
        dial_as_client(s, j);
    else
        open_dial(s, j, NULL);
}

/* The session's own connection, if it goes to one of these addresses and nobody spoke on it meanwhile. */
static bool reuse_own(struct session *s, struct judgement *j)
{
    size_t i = 0;
    int look;

    if (!stream_is_open(&s->server))
        return false;
    while (i < j->address_count && !addr_eq(&j->addresses[i], &s->server_address))
        i++;
    if (i == j->address_count || !ledger_is_settled(&s->ledger) || !upstream_fits(s, j->policies[i])) {
        connect_drop(s, false);
        return false;
    }
    look = stream_look(&s->server);
    if (FAULT(LOOK_KEPT, look != 0)) {
        if (look > 0)
            report_event(s, R_UNSOLICITED_BYTES, CLOSER_SERVER);
        connect_drop(s, look > 0);
        return false;
    }
    judge_choose(j, i);
    s->server_policy = j->policies[i];
    s->exchange->reused = s->server_served; /* a tunnel's is fresh at first */
    return true;
}

static bool take_shared(struct session *s, struct judgement *j)
{
    for (size_t i = 0; i < j->address_count; i++) {
        connect_drop(s, false);
        if (!pool_take(s->engine->pool, s, &j->addresses[i], j->policies[i], upstream_name(s, j->policies[i])))
            continue;
        note_server(s, j, i);
        forward_begin(s);
        return true;
    }
    return false;
}

void connect_upstream(struct session *s, struct judgement *j)
{
    struct exchange *x = s->exchange;

    if (x == NULL) {
        dial(s, j);
        return;
    }
    x->reused = true;
    if (x->reuse != REUSE_NEVER && reuse_own(s, j)) {
        count_add(s->engine->shard, COUNT_REUSES, 1);
        report_judged(s, j);
        forward_begin(s);
    } else if (x->reuse == REUSE_SHARED && s->tunnel == NULL && !x->websocket && take_shared(s, j)) {
        count_add(s->engine->shard, COUNT_REUSES, 1);
    } else {
        dial(s, j);
    }
}

void connect_again(struct session *s)
{
    memset(&s->answer_scan, 0, sizeof(s->answer_scan));
    s->answer_scanned = 0;
    count_add(s->engine->shard, COUNT_RETRIES, 1);
    s->row->retries++;
    dial(s, &s->exchange->judge);
}

void connect_drop(struct session *s, bool reset)
{
    stream_close(&s->server, reset);
    ledger_init(&s->ledger);
}

void connect_cancel(struct session *s)
{
    if (s->query != NULL)
        resolver_cancel(s->query);
    if (s->dial != NULL)
        dial_cancel(s->dial);
    sockets_cancel(s);
    if (s->tls != NULL)
        leaves_cancel(&s->tls->leaf);
    s->query = NULL;
    s->dial = NULL;
}
