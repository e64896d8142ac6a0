/* SPDX-License-Identifier: ISC */
/*
 * Inspection: TLS in a tunnel that a policy wants to see into. The order is the point: first the server's handshake, verified like
 * any other; then a leaf for its name, no longer valid than its own; then the client's handshake with that leaf; then HTTP, as in
 * any tunnel. Nothing of the client is decrypted before the server is known.
 *
 * A server that is not good is not hidden: the client's handshake is done with a leaf that says so, and each request is answered by
 * a page. A client that does not take the leaf is counted by name: an operator may decide that this name passes unread.
 */
#include "session/handshake.h"
#include "session/state.h"

#include "base/clock.h"

#include <stdlib.h>

#define DAY 86400 /* s */

bool session_is_inspected(const struct session *s)
{
    return s->tls != NULL && s->tls->inspection != INSPECT_NOT;
}

enum reason inspect_hello_fits(const struct session *s, const struct conf_policy *policy)
{
    const struct hello_note *hello = s->tls->inside;

    if (hello == NULL || (hello->sni.len == 0 && !policy->sni_optional))
        return R_SNI_MISSING;
    return hello->has_ech && policy->ech_denied ? R_ECH_DENIED : R_NONE;
}

/* Is there anything that both could speak? */
static enum reason can_speak(const struct session *s)
{
    const struct hello_note *hello = s->tls->inside;

    if (s->generation->secure == NULL || secure_inspect(s->generation->secure) == NULL)
        return R_INTERNAL;
    if (hello == NULL || hello->version < HANDSHAKE_OLDEST)
        return R_TLS_HANDSHAKE;
    return hello->alpn_fits ? R_NONE : R_ALPN_MISMATCH;
}

void inspect_begin(struct session *s)
{
    struct session_tls *tls = s->tls;
    enum reason why = can_speak(s);

    if (why == R_NONE && stream_is_secure(&s->client))
        why = R_TUNNEL_PROTOCOL; /* TLS within the TLS of a listener can pass, but is not taken apart */
    if (why != R_NONE) {
        deny(s, why);
        return;
    }
    tls->inspection = INSPECT_SERVER;
    tls->inspected_by = s->tunnel->judge->verdict.policy;
    s->row->protocol = PROTO_TLS;
    session_set_phase(s, PHASE_HANDSHAKE);
    upstream_begin(s, tls->inspected_by, &s->tunnel->host);
}

/* Takes the reference over. From here on it is the client's time again. */
static void secure_client(struct session *s, struct tls_leaf *leaf)
{
    bool good = stream_secure_server(&s->client, secure_inspect(s->generation->secure), leaf);

    tls_leaf_unref(leaf);
    s->tls->inspection = INSPECT_CLIENT;
    s->tls->since = clock_ms() - s->tls->spent;
    if (!good)
        deny(s, R_MEMORY);
}

static void on_leaf(void *arg, struct tls_leaf *leaf)
{
    struct session *s = arg;

    if (leaf != NULL)
        secure_client(s, leaf);
    else
        deny(s, R_MINT_FAILED);
    session_run(s);
}

/* A client that left meanwhile needs no leaf, and refuses none. */
static void ask(struct session *s, struct leaf_wanted *wanted)
{
    struct session_tls *tls = s->tls;
    struct tls_leaf *leaf = NULL;
    enum reason why;

    if (s->client.hang_up) {
        session_close(s, R_CLIENT_GONE, CLOSER_CLIENT);
        return;
    }
    wanted->generation = s->generation;
    wanted->client = &s->row->client;
    wanted->name = s->tunnel->host;
    tls->inspection = INSPECT_LEAF;
    tls->leaf_since = clock_ms();
    tls->leaf.done = on_leaf;
    tls->leaf.arg = s;
    why = leaves_ask(s->engine->leaves, &tls->leaf, wanted, &leaf);
    if (why == R_NONE)
        secure_client(s, leaf);
    else if (why != R_COUNT)
        deny(s, why);
}

/*
 * A policy lets a server pass whose certificate nobody verifies, and that may have ended: a leaf within its validity would be none.
 * In whole days, so that it serves more than one client.
 */
static void replace_validity(const struct session *s, struct leaf_wanted *wanted)
{
    int64_t now = (int64_t)(clock_wall_us() / 1000000), today = now - now % DAY;
    struct tls_facts facts;

    stream_tls_facts(&s->server, &facts);
    if (!facts.unverified || (wanted->from <= now && now < wanted->until))
        return;
    wanted->from = today - DAY;
    wanted->until = today + 2 * DAY;
}

void inspect_server_good(struct session *s)
{
    struct leaf_wanted wanted = { 0 };
    bool found = stream_peer_validity(&s->server, &wanted.from, &wanted.until);

    replace_validity(s, &wanted);
    if (found)
        ask(s, &wanted);
    else
        inspect_server_bad(s, R_UPSTREAM_CERTIFICATE);
}

void inspect_server_bad(struct session *s, enum reason why)
{
    struct leaf_wanted wanted = { .failing = true };

    connect_drop(s, true);
    s->tls->failing = why;
    ask(s, &wanted);
}

/* The tunnel is over: what is said in it is HTTP, request by request. */
void inspect_client_good(struct session *s)
{
    s->tls->inspection = INSPECT_SHOWN;
    handshake_ended(s, UP, TLS_WAY_INSPECTED);
    report_end(s, RECORD_END, R_NONE, CLOSER_NONE, NULL);
    free(s->tunnel->judge);
    s->tunnel->judge = NULL;
    request_expect_head(s);
    session_set_phase(s, PHASE_HTTP);
}

static void count(struct session *s, bool refused)
{
    inspected_add(s->engine->shard, host_span(&s->tunnel->host), &s->row->client, refused);
}

/* It saw the leaf and went away, or said that it does not like it. What it broke of TLS itself is another matter. */
static bool is_refusal(const struct session *s)
{
    enum tls_failure failure = stream_failure(&s->client);

    return failure == TLS_FAILED_REFUSED || failure == TLS_FAILED_CLOSED;
}

void inspect_client_bad(struct session *s, enum reason why)
{
    bool refused = is_refusal(s);

    if (refused)
        count(s, true);
    handshake_ended(s, UP, TLS_WAY_INSPECTED);
    deny(s, refused ? R_INSPECTION_REFUSED : why);
}

enum reason inspect_refused(struct session *s)
{
    s->tls->inspection = INSPECT_HEARD;
    count(s, true);
    return R_INSPECTION_REFUSED;
}

void inspect_heard(struct session *s)
{
    if (s->tls == NULL || s->tls->inspection != INSPECT_SHOWN)
        return;
    s->tls->inspection = INSPECT_HEARD;
    count(s, false);
}

enum reason inspect_again(struct session *s)
{
    struct judge_context context = engine_judge_context(s->engine, s->generation);
    const struct conf_policy *policy;
    struct judgement j;
    enum reason why;

    judge_init(&j, s->listener, &s->row->client, s->zone_in);
    handshake_judge(s, &j, true);
    j.host = j.dial = s->tunnel->host;
    j.port = s->tunnel->port;
    j.facts.host = &j.host;
    j.facts.port = j.port;
    j.facts.protocol = CONF_TLS;
    j.facts.known |= KNOWN_PROTOCOL | KNOWN_TARGET;
    j.addresses[0] = s->server_address;
    j.address_count = 1;
    why = judge_addresses(&context, &j, true);
    if (why != R_NONE)
        return why;
    policy = &s->generation->conf->policies[j.verdict.policy];
    why = inspect_hello_fits(s, policy);
    s->tls->inspected_by = j.verdict.policy;
    return why == R_NONE && !policy->inspect ? R_REVOKED : why;
}
