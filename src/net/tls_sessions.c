/* SPDX-License-Identifier: ISC */
/*
 * Sessions with servers that may be resumed: a small table of a context, by name, address and port. They were verified by this
 * context when they began, so its trust and pins hold for them; none is kept for longer than an hour, so that neither an expired
 * certificate nor a revoked one lives on for long. A session is used once (RFC 8446 C.4) and the server gives new ones.
 */
#include "net/tls_context.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define SESSIONS 256u
#define WAYS 4u
#define KEPT_MS 3600000u

struct kept_session {
    SSL_SESSION *session; /* NULL: free */
    uint64_t order;       /* the newest has the most */
    uint64_t until;       /* ms */
    struct addr address;
    char name[256];
};

struct tls_sessions {
    uint64_t order;
    struct kept_session table[SESSIONS];
};

struct tls_sessions *tls_sessions_new(void)
{
    return calloc(1, sizeof(struct tls_sessions));
}

void tls_sessions_free(struct tls_sessions *sessions)
{
    if (sessions == NULL)
        return;
    for (size_t i = 0; i < SESSIONS; i++)
        SSL_SESSION_free(sessions->table[i].session);
    free(sessions);
}

/* FNV-1a: who chooses names so that they collide only loses resumption. */
static struct kept_session *places(struct tls_sessions *sessions, const struct tls_peer *peer)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < peer->name.len; i++)
        h = (h ^ (unsigned char)peer->name.at[i]) * 16777619u;
    for (size_t i = 0; peer->address != NULL && i < sizeof(peer->address->ip); i++)
        h = (h ^ peer->address->ip[i]) * 16777619u;
    return &sessions->table[h % (SESSIONS / WAYS) * WAYS];
}

static bool is_for(const struct kept_session *k, const struct tls_peer *peer)
{
    static const struct addr none;

    return k->session != NULL && span_eq(span_str(k->name), peer->name) &&
           addr_eq(&k->address, peer->address != NULL ? peer->address : &none);
}

static bool is_for_long(const SSL_SESSION *session)
{
    return SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION;
}

static void drop(struct kept_session *k)
{
    SSL_SESSION_free(k->session);
    k->session = NULL;
}

/* The newest that a server gave: those before it may be under keys that the server has forgotten. */
static struct kept_session *newest(struct kept_session *all, const struct tls_peer *peer)
{
    struct kept_session *best = NULL;

    for (size_t i = 0; i < WAYS; i++) {
        if (!is_for(&all[i], peer))
            continue;
        if (all[i].until <= clock_ms() || !SSL_SESSION_is_resumable(all[i].session))
            drop(&all[i]);
        else if (best == NULL || all[i].order > best->order)
            best = &all[i];
    }
    return best;
}

SSL_SESSION *tls_sessions_take(struct tls_sessions *sessions, const struct tls_peer *peer, uint64_t *until)
{
    struct kept_session *k = newest(places(sessions, peer), peer);
    SSL_SESSION *session = k != NULL ? k->session : NULL;

    *until = k != NULL ? k->until : clock_ms() + KEPT_MS;
    if (session != NULL && (!is_for_long(session) || !SSL_SESSION_up_ref(session)))
        k->session = NULL;
    return session;
}

/* A free place, or that of the oldest; a session that is for long makes the one before it useless. */
static struct kept_session *place_for(struct kept_session *all, const struct tls_peer *peer)
{
    struct kept_session *place = all;

    for (size_t i = 0; i < WAYS; i++) {
        if (all[i].session == NULL || (is_for(&all[i], peer) && is_for_long(all[i].session)))
            return &all[i];
        if (all[i].order < place->order)
            place = &all[i];
    }
    return place;
}

void tls_sessions_put(struct tls_sessions *sessions, const struct tls_peer *peer, SSL_SESSION *session, uint64_t until)
{
    struct kept_session *place = place_for(places(sessions, peer), peer);

    drop(place);
    if (!span_cstr(peer->name, place->name, sizeof(place->name))) { /* no name of DNS */
        SSL_SESSION_free(session);
        return;
    }
    place->session = session;
    place->order = ++sessions->order;
    place->until = until;
    memset(&place->address, 0, sizeof(place->address));
    if (peer->address != NULL)
        place->address = *peer->address;
}
