/* SPDX-License-Identifier: ISC */
/*
 * TLS to servers: upstreams that the operator wrote with https, and servers of inspected tunnels. A connection is secured before
 * anything is written on it, and the server must be who it was dialled for; a failure is the answer, never a reason to go on in
 * clear. Who the server must be, and what it was verified with, is remembered with the connection: it is used again only for the
 * same.
 */
#include "session/handshake.h"
#include "session/state.h"

#include "base/clock.h"

#include <string.h>

/* The operator's upstream that this exchange goes to; NULL: none. */
static const struct conf_upstream *upstream_of(const struct session *s)
{
    const struct conf_listener *listener = session_listener(s);

    if (listener->mode != MODE_REVERSE || s->exchange == NULL)
        return NULL;
    return &listener->upstreams[s->exchange->upstream_index % listener->upstream_count];
}

bool upstream_is_wanted(const struct session *s)
{
    const struct conf_upstream *upstream = upstream_of(s);

    if (s->exchange == NULL)
        return false; /* a tunnel is secured when it is known what flows in it */
    return session_is_inspected(s) || (upstream != NULL && upstream->tls);
}

/* What allowed the address, or the inspection. */
static int policy_for(const struct session *s, int policy)
{
    return session_is_inspected(s) ? s->tls->inspected_by : policy;
}

static const struct host *target_of(const struct session *s)
{
    return s->tunnel != NULL ? &s->tunnel->host : &s->exchange->judge.dial;
}

static struct span name_of(const struct session *s, int policy, const struct host *target)
{
    const char *name = policy >= 0 ? s->generation->conf->policies[policy].upstream_tls.server_name : NULL;

    return name != NULL ? span_str(name) : host_span(target);
}

const char *upstream_name(const struct session *s, int policy)
{
    const struct conf_policy *policies = s->generation->conf->policies;

    if (!upstream_is_wanted(s))
        return "";
    policy = policy_for(s, policy);
    return policies[policy].upstream_tls.server_name != NULL ? policies[policy].upstream_tls.server_name : target_of(s)->name;
}

bool upstream_fits(const struct session *s, int policy)
{
    if (!upstream_is_wanted(s))
        return !stream_is_secure(&s->server);
    return stream_is_secure(&s->server) && s->tls != NULL &&
           s->tls->upstream == secure_upstream(s->generation->secure, policy_for(s, policy)) &&
           strcmp(s->tls->peer, upstream_name(s, policy)) == 0;
}

void upstream_forget(struct session *s)
{
    struct shard *shard = s->engine->shard;

    if (s->tls == NULL || s->tls->upstream == NULL)
        return;
    tls_context_unref(s->tls->upstream);
    s->tls->upstream = NULL;
    s->tls->peer[0] = '\0';
    if (session_is_dead(s))
        return;
    row_begin(shard, s->row);
    row_tls(shard, s->row)[DOWN] = (struct tls_facts){ 0 };
    row_end(shard, s->row);
}

void upstream_begin(struct session *s, int policy, const struct host *target)
{
    struct session_tls *tls = handshake_state(s);
    struct tls_context *context = NULL;
    struct tls_peer peer = { 0 };

    policy = policy_for(s, policy);
    if (tls != NULL && s->generation->secure != NULL)
        context = secure_upstream(s->generation->secure, policy);
    if (context == NULL) {
        upstream_failed(s, tls == NULL ? R_MEMORY : R_UPSTREAM_CERTIFICATE); /* there is nothing to verify it by */
        return;
    }
    upstream_forget(s);
    tls->upstream = tls_context_ref(context);
    peer.name = name_of(s, policy, target);
    span_show(peer.name, tls->peer, sizeof(tls->peer));
    if (target->ip.family != 0 && s->generation->conf->policies[policy].upstream_tls.server_name == NULL)
        peer = (struct tls_peer){ .address = &target->ip };
    tls->server_since = clock_ms();
    if (!stream_secure_client(&s->server, context, &peer))
        upstream_failed(s, R_MEMORY);
}

static enum reason reason_of(const struct session *s)
{
    switch (stream_failure(&s->server)) {
    case TLS_FAILED_CERTIFICATE:
        return R_UPSTREAM_CERTIFICATE;
    case TLS_FAILED_WANTED:
        return R_UPSTREAM_WANTS_CERTIFICATE;
    case TLS_FAILED_MEMORY:
        return R_MEMORY;
    case TLS_FAILED_NOT:
    case TLS_FAILED_CLOSED:
    case TLS_FAILED_PROTOCOL:
    case TLS_FAILED_ALPN:
    case TLS_FAILED_REFUSED:
    case TLS_FAILED_ALERT:
        break;
    }
    return R_UPSTREAM_TLS;
}

static void report(struct session *s)
{
    handshake_ended(s, DOWN, session_is_inspected(s) ? TLS_WAY_INSPECTED : TLS_WAY_ENDED);
}

static const char *text_of(const struct session *s, enum reason why)
{
    enum tls_failure failure = stream_failure(&s->server);

    if (why == R_UPSTREAM_CERTIFICATE)
        return tls_verify_text(row_tls(s->engine->shard, s->row)[DOWN].verify);
    return why == R_UPSTREAM_TLS && failure == TLS_FAILED_NOT ? "the handshake took too long" : tls_failure_name(failure);
}

static void say_why(const struct session *s, enum reason why)
{
    log_remote("session %u-%llu: %s: %s: %s", s->row->worker, (unsigned long long)s->row->number, reason_name(why), s->tls->peer,
               text_of(s, why));
}

void upstream_failed(struct session *s, enum reason why)
{
    if (stream_is_secure(&s->server)) {
        report(s);
        say_why(s, why);
    }
    if (s->tls != NULL && s->tls->inspection == INSPECT_SERVER && s->exchange == NULL) {
        inspect_server_bad(s, why);
        return;
    }
    if (balance_moves(s, why))
        return;
    connect_drop(s, true);
    deny(s, why);
}

void upstream_run(struct session *s, enum tls_progress progress)
{
    switch (progress) {
    case TLS_MORE:
        break;
    case TLS_FAILED:
        upstream_failed(s, reason_of(s));
        break;
    case TLS_DONE:
        report(s);
        if (s->tls->inspection == INSPECT_SERVER && s->exchange == NULL)
            inspect_server_good(s);
        else
            connect_secured(s);
        break;
    }
}

enum reason upstream_late_reason(const struct session *s)
{
    if (!stream_is_secure(&s->server) || stream_failure(&s->server) == TLS_FAILED_NOT ||
        stream_failure(&s->server) == TLS_FAILED_CLOSED)
        return R_NONE;
    return reason_of(s);
}
