/* SPDX-License-Identifier: ISC */
/* Sessions are resumed where they may be, and nowhere else. */
#include "net/tls_end.h"
#include "net_tls_pair.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The wall clock of this program: that of tickets, too. */
static time_t added_time;

time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += added_time;
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

static struct cert ca, own, client_cert;

static int set_up(void **state)
{
    (void)state;
    if (!tls_start())
        return -1;
    ca = cert_make_ca("Test CA");
    own = cert_make((struct cert_spec){ .cn = "a server", .names = "DNS:a.example,DNS:b.example", .issuer = &ca });
    client_cert = cert_make((struct cert_spec){ .cn = "a client", .issuer = &ca });
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cert_free(&ca);
    cert_free(&own);
    cert_free(&client_cert);
    return 0;
}

static const struct tls_ticket_key keys[3] = { { .name = "one", .aes = "1", .hmac = "a" },
                                               { .name = "two", .aes = "2", .hmac = "b" },
                                               { .name = "three", .aes = "3", .hmac = "c" } };

/* One connection, in which tickets are read; was it resumed? */
static bool connects(struct tls_context *client, struct tls_context *server, const struct tls_peer *peer, const char *subject)
{
    struct tls_facts mine = { 0 }, theirs = { 0 };
    struct tls_pair_of_ends p;
    char text[16];

    pair_open(&p);
    pair_shake_as(&p, client, server, peer, NULL);
    assert_int_equal(p.client.progress, TLS_DONE);
    assert_int_equal(p.server.progress, TLS_DONE);
    pair_say(&p.client, "ping");
    assert_string_equal(pair_hear(&p, &p.server, text, sizeof(text)), "ping");
    pair_say(&p.server, "pong");
    assert_string_equal(pair_hear(&p, &p.client, text, sizeof(text)), "pong");
    stream_tls_facts(&p.client.stream, &mine);
    stream_tls_facts(&p.server.stream, &theirs);
    assert_int_equal(mine.resumed, theirs.resumed);
    assert_string_equal(mine.subject, "CN=a server"); /* known in resumed ones, too */
    assert_string_equal(theirs.subject, subject);
    pair_close(&p);
    return mine.resumed;
}

static bool resumes(struct tls_context *client, struct tls_context *server)
{
    struct tls_peer peer = { .name = SPAN("a.example") };

    return connects(client, server, &peer, "");
}

/* The client's first words come along with the end of its handshake. Was it resumed? */
static bool speaks_at_once(struct tls_context *client, struct tls_context *server, bool answers)
{
    struct tls_facts facts = { 0 };
    struct tls_pair_of_ends p;
    char text[16];

    pair_open(&p);
    assert_true(stream_secure_server(&p.server.stream, server, NULL));
    assert_true(stream_secure_client(&p.client.stream, client, &(struct tls_peer){ .name = SPAN("a.example") }));
    pair_say(&p.client, "ping");
    pair_begin(&p.server);
    pair_begin(&p.client);
    for (int i = 0; i < 1000 && !pair_is_settled(&p); i++)
        pair_turn(&p);
    assert_int_equal(p.server.progress, TLS_DONE);
    assert_string_equal(pair_hear(&p, &p.server, text, sizeof(text)), "ping");
    stream_flush(&p.server.stream);
    assert_true(p.server.stream.out.len > 0); /* the ticket, which waits for the answer, and is nobody's business */
    assert_int_equal(stream_waiting(&p.server.stream), 0);
    stream_tls_facts(&p.server.stream, &facts);
    if (answers)
        pair_say(&p.server, "pong");
    else
        stream_close(&p.server.stream, false);
    assert_string_equal(pair_hear(&p, &p.client, text, sizeof(text)), answers ? "pong" : "");
    assert_int_equal(p.server.stream.out.len, 0);
    assert_int_equal(p.client.stream.eof, !answers);
    assert_false(p.client.stream.truncated);
    pair_close(&p);
    return facts.resumed;
}

static struct tls_context *giving(struct tls_tickets *tickets, const char *identity)
{
    return pair_server(&own, (struct tls_server_settings){ .tickets = tickets, .identity = span_str(identity) });
}

static void check_identity(int version)
{
    struct tls_tickets *one = tls_tickets_new(), *two = tls_tickets_new();
    struct tls_context *first = giving(one, "site"), *same = giving(two, "site"), *other = giving(two, "other site");
    struct tls_context *client = pair_client(ca.pem, (struct tls_client_settings){ 0 });

    SSL_CTX_set_max_proto_version(client->ctx, version);
    tls_tickets_set(one, keys, 1); /* two workers with the same key */
    tls_tickets_set(two, keys, 1);
    assert_false(resumes(client, first));
    for (int i = 0; i < 5; i++) /* each gives a ticket for the next */
        assert_true(resumes(client, i & 1 ? first : same));
    assert_false(resumes(client, other));
    assert_true(resumes(client, other));
    assert_false(resumes(client, same));
    tls_context_unref(first);
    tls_context_unref(same);
    tls_context_unref(other);
    tls_context_unref(client);
    tls_tickets_free(one);
    tls_tickets_free(two);
}

static void test_identity(void **state)
{
    (void)state;
    check_identity(TLS1_2_VERSION);
    check_identity(TLS1_3_VERSION);
}

/* Tickets leave with the answer, or with the end. */
static void test_held(void **state)
{
    struct tls_tickets *tickets = tls_tickets_new();
    struct tls_context *server = giving(tickets, "site"), *client = pair_client(ca.pem, (struct tls_client_settings){ 0 });

    (void)state;
    tls_tickets_set(tickets, keys, 1);
    assert_false(speaks_at_once(client, server, true));
    assert_true(speaks_at_once(client, server, true));
    assert_true(speaks_at_once(client, server, false));
    assert_true(speaks_at_once(client, server, true));
    tls_context_unref(server);
    tls_context_unref(client);
    tls_tickets_free(tickets);
}

static void check_rotation(int version)
{
    const struct tls_ticket_key second[2] = { keys[1], keys[0] }, third[2] = { keys[2], keys[1] };
    struct tls_tickets *tickets = tls_tickets_new();
    struct tls_context *server = giving(tickets, "site"), *client = pair_client(ca.pem, (struct tls_client_settings){ 0 });
    struct tls_context *fresh = pair_client(ca.pem, (struct tls_client_settings){ 0 });

    SSL_CTX_set_max_proto_version(client->ctx, version);
    SSL_CTX_set_max_proto_version(fresh->ctx, version);
    tls_tickets_set(tickets, keys, 1);
    assert_false(resumes(client, server));
    tls_tickets_set(tickets, second, 2);
    assert_true(resumes(client, server)); /* by the previous key, and with a new ticket */
    tls_tickets_set(tickets, third, 2);
    assert_true(resumes(client, server));
    tls_tickets_set(tickets, keys, 1);
    assert_false(resumes(client, server)); /* a key that nobody knows any more */
    tls_tickets_set(tickets, keys, 0);
    assert_false(resumes(client, server)); /* no keys, no tickets */
    assert_false(resumes(fresh, server));
    tls_tickets_set(tickets, keys, 1);
    assert_false(resumes(fresh, server));
    assert_true(resumes(fresh, server));
    tls_context_unref(server);
    tls_context_unref(client);
    tls_context_unref(fresh);
    tls_tickets_free(tickets);
}

static void test_rotation(void **state)
{
    (void)state;
    check_rotation(TLS1_2_VERSION);
    check_rotation(TLS1_3_VERSION);
}

static void test_without_tickets(void **state)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct tls_context *server = giving(NULL, "site"), *client = pair_client(ca.pem, (struct tls_client_settings){ 0 });

        (void)state;
        SSL_CTX_set_max_proto_version(client->ctx, version);
        assert_false(resumes(client, server));
        assert_false(resumes(client, server));
        tls_context_unref(server);
        tls_context_unref(client);
    }
}

/* A client's certificate is known in the sessions that it began, and they are of no use where the settings are others. */
static void test_client_certificates(void **state)
{
    struct tls_tickets *tickets = tls_tickets_new();
    struct tls_server_settings settings = {
        .tickets = tickets, .identity = SPAN("site"), .verify = TLS_VERIFY_REQUIRED, .ca = ca.pem
    };
    struct tls_context *server = pair_server(&own, settings);
    struct tls_pair pair = { client_cert.pem, client_cert.key_pem, { NULL, 0 } };
    struct tls_context *client = pair_client(ca.pem, (struct tls_client_settings){ .pair = pair });
    struct tls_peer peer = { .name = SPAN("a.example") };

    (void)state;
    tls_tickets_set(tickets, keys, 1);
    assert_false(connects(client, server, &peer, "CN=a client"));
    for (int i = 0; i < 3; i++)
        assert_true(connects(client, server, &peer, "CN=a client"));
    added_time = 3540; /* a busy machine has a minute for this */
    assert_true(connects(client, server, &peer, "CN=a client"));
    added_time = 3601; /* replaced again and again, and still too old */
    assert_false(connects(client, server, &peer, "CN=a client"));
    assert_true(connects(client, server, &peer, "CN=a client"));
    added_time = 0;
    tls_context_unref(server);
    tls_context_unref(client);
    tls_tickets_free(tickets);
}

/* A session is with one name at one address. */
static void test_peers(void **state)
{
    struct tls_tickets *tickets = tls_tickets_new();
    struct tls_context *server = giving(tickets, "site"), *client = pair_client(ca.pem, (struct tls_client_settings){ 0 });
    struct addr here = loopback("127.0.0.1", 443), there = loopback("127.0.0.2", 443), port = loopback("127.0.0.1", 444);
    const struct tls_peer peers[] = { { SPAN("a.example"), &here },
                                      { SPAN("b.example"), &here },
                                      { SPAN("a.example"), &there },
                                      { SPAN("a.example"), &port },
                                      { SPAN("a.example"), NULL } };

    (void)state;
    tls_tickets_set(tickets, keys, 1);
    for (int round = 0; round < 5; round++)
        for (size_t i = 0; i < sizeof(peers) / sizeof(*peers); i++)
            assert_int_equal(connects(client, server, &peers[i], ""), round > 0);
    tls_context_unref(server);
    tls_context_unref(client);
    tls_tickets_free(tickets);
}

static SSL_SESSION *lasting(int version)
{
    SSL_SESSION *session = SSL_SESSION_new();

    assert_int_equal(SSL_SESSION_set_protocol_version(session, version), 1);
    assert_int_equal(SSL_SESSION_set1_id(session, (const unsigned char *)"id", 2), 1);
    return session;
}

/* An hour later a session is not tried. */
static void test_old_session(void **state)
{
    struct tls_sessions *sessions = tls_sessions_new();
    struct tls_peer peer = { .name = SPAN("a.example") };
    SSL_SESSION *one = lasting(TLS1_3_VERSION), *old = lasting(TLS1_2_VERSION);
    char name[32];
    uint64_t until;

    (void)state;
    clock_set(1000);
    assert_null(tls_sessions_take(sessions, &peer, &until));
    assert_int_equal(until, 1000 + 3600000);
    tls_sessions_put(sessions, &peer, old, until);
    assert_ptr_equal(tls_sessions_take(sessions, &peer, &until), old); /* used until there is another */
    assert_ptr_equal(tls_sessions_take(sessions, &peer, &until), old);
    SSL_SESSION_free(old);
    SSL_SESSION_free(old);
    tls_sessions_put(sessions, &peer, one, until);
    assert_ptr_equal(tls_sessions_take(sessions, &peer, &until), one);
    assert_null(tls_sessions_take(sessions, &peer, &until)); /* used once */
    tls_sessions_put(sessions, &peer, one, until);
    clock_set(1000 + 3600000);
    assert_null(tls_sessions_take(sessions, &peer, &until));
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "%d.example", i);
        peer.name = span_str(name);
        tls_sessions_put(sessions, &peer, lasting(TLS1_3_VERSION), until + 1000); /* the oldest make room */
    }
    one = tls_sessions_take(sessions, &peer, &until);
    assert_non_null(one);
    SSL_SESSION_free(one);
    tls_sessions_free(sessions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_without_tickets),
        cmocka_unit_test(test_client_certificates),
        cmocka_unit_test(test_peers),
        cmocka_unit_test(test_old_session), /* the last: it sets the clock */
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
