/* SPDX-License-Identifier: ISC */
/* Secured streams that behave: what one end says arrives at the other, in whatever pieces, and ends are told truly. */
#include "net/tls_end.h"
#include "net_tls_pair.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct cert ca, ecdsa, rsa;
static struct tls_context *server, *client;

static int set_up(void **state)
{
    (void)state;
    if (!tls_start())
        return -1;
    ca = cert_make_ca("Test CA");
    ecdsa = cert_make(
        (struct cert_spec){ .cn = "shown, \"not\" matched", .names = "DNS:a.example,IP:127.0.0.1,IP:::1", .issuer = &ca });
    rsa = cert_make((struct cert_spec){ .cn = "a.example", .names = "DNS:a.example", .issuer = &ca, .rsa_bits = 2048 });
    server = pair_server(&ecdsa, (struct tls_server_settings){ 0 });
    client = pair_client(ca.pem, (struct tls_client_settings){ 0 });
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_context_unref(server);
    tls_context_unref(client);
    cert_free(&ca);
    cert_free(&ecdsa);
    cert_free(&rsa);
    return 0;
}

static void secured(struct tls_pair_of_ends *p)
{
    pair_open(p);
    pair_shake(p, client, server, "a.example");
    assert_int_equal(p->client.progress, TLS_DONE);
    assert_int_equal(p->server.progress, TLS_DONE);
}

static void test_facts(void **state)
{
    struct tls_pair_of_ends p;
    struct tls_facts facts = { .way = TLS_WAY_INSPECTED, .ja4 = "kept" };
    int64_t from, until;
    char text[64];

    (void)state;
    secured(&p);
    assert_true(stream_is_secure(&p.client.stream));
    assert_false(stream_is_securing(&p.client.stream));
    stream_tls_facts(&p.client.stream, &facts);
    assert_int_equal(facts.version, 0x0304);
    assert_int_equal(facts.suite, 0x1301);
    assert_int_equal(facts.alpn, TLS_ALPN_HTTP1);
    assert_int_equal(facts.verify, 0);
    assert_false(facts.resumed);
    assert_false(facts.unverified);
    assert_string_equal(facts.name, "a.example");
    assert_string_equal(facts.subject, "CN=shown\\, \\\"not\\\" matched");
    assert_string_equal(facts.issuer, "CN=Test CA");
    assert_int_equal(facts.way, TLS_WAY_INSPECTED);
    assert_string_equal(facts.ja4, "kept");
    stream_tls_facts(&p.server.stream, &facts);
    assert_string_equal(facts.subject, "");
    assert_string_equal(facts.name, "a.example"); /* the owner's */
    assert_true(stream_peer_validity(&p.client.stream, &from, &until));
    assert_int_equal(until - from, 2 * DAY + 3600);
    assert_false(stream_peer_validity(&p.server.stream, &from, &until));
    pair_say(&p.client, "ping");
    assert_string_equal(pair_hear(&p, &p.server, text, sizeof(text)), "ping");
    pair_say(&p.server, "pong");
    assert_string_equal(pair_hear(&p, &p.client, text, sizeof(text)), "pong");
    assert_int_equal(p.client.stream.received, 4);
    assert_int_equal(p.client.stream.queued, 4);
    pair_close(&p);
}

static void note_name(void *arg, struct span name)
{
    char *all = arg;

    strncat(all, name.at, name.len);
    strcat(all, " ");
}

static void test_names(void **state)
{
    struct tls_pair_of_ends p;
    char all[256] = "";

    (void)state;
    secured(&p);
    stream_peer_names(&p.client.stream, note_name, all);
    assert_string_equal(all, "DNS:a.example IP:127.0.0.1 IP:::1 ");
    pair_close(&p);
}

/* What was read before TLS began is the first that TLS reads; ends that have no name are known by their address. */
static void test_kept_hello(void **state)
{
    struct addr at = loopback("127.0.0.1", 443);
    struct tls_peer peer = { .address = &at };
    struct tls_pair_of_ends p;
    struct span input;

    (void)state;
    pair_open(&p);
    assert_true(stream_secure_client(&p.client.stream, client, &peer));
    pair_begin(&p.client);
    for (int i = 0; i < 100 && !p.server.stream.can_read; i++)
        pair_turn(&p);
    input = stream_input(&p.server.stream, true);
    assert_true(input.len > 100);
    assert_int_equal(input.at[0], 22);
    assert_true(stream_taken(&p.server.stream, input, 0));
    assert_true(stream_secure_server(&p.server.stream, server, NULL));
    assert_int_equal(stream_kept(&p.server.stream), 0);
    assert_false(stream_has_input(&p.server.stream));
    pair_begin(&p.server);
    for (int i = 0; i < 200 && !pair_is_settled(&p); i++)
        pair_turn(&p);
    assert_int_equal(p.client.progress, TLS_DONE);
    assert_int_equal(p.server.progress, TLS_DONE);
    pair_close(&p);
}

static void test_client_with_kept_input(void **state)
{
    struct tls_peer peer = { .name = SPAN("a.example") };
    struct tls_pair_of_ends p;
    struct span input;

    (void)state;
    pair_open(&p);
    pair_say(&p.server, "early");
    for (int i = 0; i < 100 && !p.client.stream.can_read; i++)
        pair_turn(&p);
    input = stream_input(&p.client.stream, true);
    assert_true(stream_taken(&p.client.stream, input, 0));
    assert_false(stream_secure_client(&p.client.stream, client, &peer)); /* injected before the handshake */
    pair_close(&p);
}

/* What is put during the handshake waits, and leaves in order. */
static void test_put_while_securing(void **state)
{
    static char large[40000];
    struct tls_pair_of_ends p;
    char text[64];
    size_t got = 0;

    (void)state;
    memset(large, 'x', sizeof(large));
    pair_open(&p);
    assert_true(stream_secure_server(&p.server.stream, server, NULL));
    assert_true(stream_secure_client(&p.client.stream, client, &(struct tls_peer){ .name = SPAN("a.example") }));
    assert_true(stream_put(&p.client.stream, "head", 4));
    assert_true(stream_send(&p.client.stream, span_of(large, sizeof(large))));
    assert_int_equal(stream_waiting(&p.client.stream), sizeof(large) + 4);
    stream_set_mark(&p.client.stream);
    pair_begin(&p.server);
    pair_begin(&p.client);
    assert_false(stream_mark_acknowledged(&p.client.stream));
    assert_int_equal(stream_acknowledged(&p.client.stream), 0);
    for (int i = 0; i < 200 && !pair_is_settled(&p); i++)
        pair_turn(&p);
    for (int i = 0; i < 200 && got < sizeof(large) + 4; i++) {
        struct span input = stream_input(&p.server.stream, true);

        if (got == 0 && input.len > 0)
            assert_memory_equal(input.at, "headx", 5);
        got += input.len;
        assert_true(stream_taken(&p.server.stream, input, input.len));
        pair_turn(&p);
    }
    assert_int_equal(got, sizeof(large) + 4);
    for (int i = 0; i < 200 && !stream_mark_acknowledged(&p.client.stream); i++)
        pair_turn(&p);
    assert_true(stream_mark_acknowledged(&p.client.stream));
    assert_int_equal(stream_acknowledged(&p.client.stream), sizeof(large) + 4);
    assert_string_equal(pair_hear(&p, &p.server, text, sizeof(text)), "");
    pair_close(&p);
}

/* A large answer with a kernel that takes little, read by an end that stops at times; nothing is lost or doubled. */
static void test_backpressure_both_ways(void **state)
{
    enum { TOTAL = 3000000, PIECE = 30000 };
    static char piece[PIECE];
    struct tls_pair_of_ends p;
    struct tls_side *sides[2];
    size_t sent[2] = { 0, 0 }, got[2] = { 0, 0 };
    int small = 65536;

    (void)state;
    secured(&p);
    sides[0] = &p.client;
    sides[1] = &p.server;
    for (int i = 0; i < 2; i++)
        assert_int_equal(setsockopt(sides[i]->stream.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    for (int turn = 0; turn < 20000 && (got[0] < TOTAL || got[1] < TOTAL); turn++) {
        for (int i = 0; i < 2; i++) {
            struct stream *s = &sides[i]->stream;
            struct span input = { NULL, 0 };

            while (sent[i] < TOTAL && stream_waiting(s) < STREAM_HIGH_WATER) {
                for (size_t k = 0; k < PIECE; k++)
                    piece[k] = (char)((sent[i] + k) % 251);
                assert_true(stream_send(s, span_of(piece, PIECE)));
                sent[i] += PIECE;
            }
            assert_true(stream_waiting(s) < 2 * 65536);
            stream_flush(s);
            if (turn % 3 != i && stream_has_input(s))
                input = stream_input(s, true);
            for (size_t k = 0; k < input.len; k++)
                if (input.at[k] != (char)((got[i] + k) % 251))
                    fail_msg("byte %zu", got[i] + k);
            got[i] += input.len;
            assert_true(stream_taken(s, input, input.len));
        }
        pair_turn(&p);
    }
    assert_int_equal(got[0], TOTAL);
    assert_int_equal(got[1], TOTAL);
    assert_int_equal(p.client.stream.queued, TOTAL);
    assert_null(p.client.stream.out.first);
    assert_null(p.client.stream.tls->plain.first);
    pair_close(&p);
}

/* Input that is left is kept as it is in clear. */
static void test_kept_input(void **state)
{
    struct tls_pair_of_ends p;
    struct span input;

    (void)state;
    secured(&p);
    pair_say(&p.client, "abc");
    for (int i = 0; i < 100 && !stream_has_input(&p.server.stream); i++)
        pair_turn(&p);
    input = stream_input(&p.server.stream, true);
    assert_true(span_eq(input, SPAN("abc")));
    assert_true(stream_taken(&p.server.stream, input, 1));
    assert_int_equal(stream_look(&p.server.stream), 1);
    pair_say(&p.client, "def");
    for (int i = 0; i < 100 && !p.server.stream.can_read; i++)
        pair_turn(&p);
    input = stream_input(&p.server.stream, true);
    assert_true(span_eq(input, SPAN("bcdef")));
    assert_true(stream_taken(&p.server.stream, input, input.len));
    assert_false(stream_has_input(&p.server.stream));
    pair_close(&p);
}

static void wait_end(struct tls_pair_of_ends *p, struct stream *s)
{
    for (int i = 0; i < 200 && !s->eof && !s->failed; i++) {
        struct span input = stream_has_input(s) ? stream_input(s, true) : span_of(NULL, 0);

        assert_true(stream_taken(s, input, input.len));
        pair_turn(p);
    }
}

static void test_half_close(void **state)
{
    struct tls_pair_of_ends p;
    char text[64];

    (void)state;
    secured(&p);
    assert_true(stream_put(&p.client.stream, "last words", 10));
    stream_shutdown(&p.client.stream);
    assert_string_equal(pair_hear(&p, &p.server, text, sizeof(text)), "last words");
    wait_end(&p, &p.server.stream);
    assert_true(p.server.stream.eof);
    assert_false(p.server.stream.truncated);
    assert_false(p.server.stream.failed);
    pair_say(&p.server, "an answer");
    assert_string_equal(pair_hear(&p, &p.client, text, sizeof(text)), "an answer");
    assert_true(p.client.stream.shut_sent);
    stream_shutdown(&p.server.stream);
    wait_end(&p, &p.client.stream);
    assert_true(p.client.stream.eof);
    assert_false(p.client.stream.truncated);
    pair_close(&p);
}

/* An end without close_notify is an end that cannot be believed; the other direction still works. */
static void test_truncation(void **state)
{
    struct tls_pair_of_ends p;
    char text[64];

    (void)state;
    secured(&p);
    pair_say(&p.client, "half of a");
    assert_int_equal(shutdown(p.client.stream.fd, SHUT_WR), 0);
    assert_string_equal(pair_hear(&p, &p.server, text, sizeof(text)), "half of a");
    wait_end(&p, &p.server.stream);
    assert_true(p.server.stream.eof);
    assert_true(p.server.stream.truncated);
    assert_false(p.server.stream.failed);
    assert_int_equal(stream_look(&p.server.stream), -1);
    pair_say(&p.server, "still");
    assert_string_equal(pair_hear(&p, &p.client, text, sizeof(text)), "still");
    pair_close(&p);
}

/* Closing what has nothing to say any more says so; a reset does not. */
static void test_close(void **state)
{
    for (int reset = 0; reset < 2; reset++) {
        struct tls_pair_of_ends p;

        (void)state;
        secured(&p);
        stream_close(&p.client.stream, reset);
        wait_end(&p, &p.server.stream);
        assert_int_equal(p.server.stream.eof, !reset);
        assert_int_equal(p.server.stream.failed, reset);
        assert_false(p.server.stream.truncated);
        pair_close(&p);
    }
}

/* Tickets are no speech; what was looked at is still there. */
static void test_look(void **state)
{
    struct tls_tickets *tickets = tls_tickets_new();
    struct tls_ticket_key key = { .name = "one" };
    struct tls_context *giving;
    struct tls_pair_of_ends p;
    char text[64];

    (void)state;
    tls_tickets_set(tickets, &key, 1);
    giving = pair_server(&ecdsa, (struct tls_server_settings){ .tickets = tickets });
    pair_open(&p);
    pair_shake(&p, client, giving, "a.example");
    for (int i = 0; i < 100 && !p.client.stream.can_read; i++)
        pair_turn(&p);
    assert_true(stream_has_input(&p.client.stream)); /* so it seems */
    assert_int_equal(stream_look(&p.client.stream), 0);
    assert_false(stream_has_input(&p.client.stream));
    pair_say(&p.server, "speech");
    for (int i = 0; i < 100 && !p.client.stream.can_read; i++)
        pair_turn(&p);
    assert_int_equal(stream_look(&p.client.stream), 1);
    assert_int_equal(stream_look(&p.client.stream), 1);
    assert_true(stream_has_input(&p.client.stream));
    assert_string_equal(pair_hear(&p, &p.client, text, sizeof(text)), "speech");
    stream_shutdown(&p.server.stream);
    for (int i = 0; i < 100 && !p.client.stream.can_read; i++)
        pair_turn(&p);
    assert_int_equal(stream_look(&p.client.stream), -1);
    wait_end(&p, &p.client.stream);
    assert_true(p.client.stream.eof);
    pair_close(&p);
    tls_context_unref(giving);
    tls_tickets_free(tickets);
}

/* What was sent in clear before TLS is neither counted twice nor waited for twice. */
static void test_mark_after_clear(void **state)
{
    struct tls_pair_of_ends p;
    char text[64];

    (void)state;
    pair_open(&p);
    pair_say(&p.server, "in clear");
    assert_string_equal(pair_hear(&p, &p.client, text, sizeof(text)), "in clear");
    pair_shake(&p, client, server, "a.example");
    assert_int_equal(p.server.progress, TLS_DONE);
    assert_true(stream_put(&p.server.stream, "x", 1));
    stream_set_mark(&p.server.stream);
    assert_false(stream_mark_acknowledged(&p.server.stream));
    stream_flush(&p.server.stream);
    assert_string_equal(pair_hear(&p, &p.client, text, sizeof(text)), "x");
    for (int i = 0; i < 100 && !stream_mark_acknowledged(&p.server.stream); i++)
        pair_turn(&p);
    assert_true(stream_mark_acknowledged(&p.server.stream));
    pair_close(&p);
}

static void test_move(void **state)
{
    struct tls_pair_of_ends p;
    struct tls_side other = { 0 };
    char text[64];

    (void)state;
    secured(&p);
    pair_say(&p.client, "before");
    assert_string_equal(pair_hear(&p, &p.server, text, sizeof(text)), "before");
    pair_say(&p.client, "looked at");
    for (int i = 0; i < 100 && !p.server.stream.can_read; i++)
        pair_turn(&p);
    assert_int_equal(stream_look(&p.server.stream), 1);
    stream_move(&other.stream, &p.server.stream, pair_on_ready, &other);
    assert_false(stream_is_open(&p.server.stream));
    assert_string_equal(pair_hear(&p, &other, text, sizeof(text)), "looked at");
    pair_say(&other, "after");
    assert_string_equal(pair_hear(&p, &p.client, text, sizeof(text)), "after");
    assert_int_equal(other.stream.received, 15);
    stream_close(&other.stream, false);
    wait_end(&p, &p.client.stream);
    assert_true(p.client.stream.eof);
    pair_close(&p);
}

static void test_versions(void **state)
{
    static const struct {
        bool rsa;
        uint16_t max, suite;
        enum tls_profile profile;
    } rows[] = {
        { false, 0x0303, 0xc02b, TLS_MODERN },
        { true, 0x0303, 0xc02f, TLS_MODERN },
        { true, 0x0304, 0x1301, TLS_MODERN },
        { true, 0x0303, 0xc02f, TLS_COMPATIBLE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct tls_context *c = pair_client(ca.pem, (struct tls_client_settings){ 0 });
        struct tls_context *s =
            pair_server(rows[i].rsa ? &rsa : &ecdsa, (struct tls_server_settings){ .profile = rows[i].profile });
        struct tls_facts facts = { 0 };
        struct tls_pair_of_ends p;
        char text[64];

        SSL_CTX_set_max_proto_version(c->ctx, rows[i].max);
        pair_open(&p);
        pair_shake(&p, c, s, "a.example");
        assert_int_equal(p.server.progress, TLS_DONE);
        stream_tls_facts(&p.server.stream, &facts);
        assert_int_equal(facts.version, rows[i].max);
        assert_int_equal(facts.suite, rows[i].suite);
        pair_say(&p.client, "ping");
        assert_string_equal(pair_hear(&p, &p.server, text, sizeof(text)), "ping");
        pair_close(&p);
        tls_context_unref(c);
        tls_context_unref(s);
    }
}

/* Both kinds of keys side by side: the client's abilities decide. */
static void test_both_kinds(void **state)
{
    struct tls_pair pairs[] = { { ecdsa.pem, ecdsa.key_pem, { NULL, 0 } }, { rsa.pem, rsa.key_pem, { NULL, 0 } } };
    struct tls_context *both = pair_server(NULL, (struct tls_server_settings){ .pairs = pairs, .pair_count = 2 });

    (void)state;
    for (int use_rsa = 0; use_rsa < 2; use_rsa++) {
        struct tls_context *c = pair_client(ca.pem, (struct tls_client_settings){ 0 });
        struct tls_facts facts = { 0 };
        struct tls_pair_of_ends p;

        if (use_rsa)
            SSL_CTX_set1_sigalgs_list(c->ctx, "RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA384");
        pair_open(&p);
        pair_shake(&p, c, both, "a.example");
        assert_int_equal(p.client.progress, TLS_DONE);
        stream_tls_facts(&p.client.stream, &facts);
        assert_int_equal(span_eq(span_str(facts.subject), SPAN("CN=a.example")), use_rsa);
        pair_close(&p);
        tls_context_unref(c);
    }
    tls_context_unref(both);
}

/* A head that was put and a body that is sent share a record, and leave in one piece. */
static void test_one_record(void **state)
{
    static char body[5000];
    struct tls_pair_of_ends p;
    uint64_t before;

    (void)state;
    secured(&p);
    before = p.server.stream.tls->raw;
    assert_true(stream_put(&p.server.stream, "head", 4));
    stream_set_mark(&p.server.stream);
    assert_false(p.server.stream.mark.written);
    assert_true(stream_send(&p.server.stream, span_of(body, sizeof(body))));
    assert_int_equal(p.server.stream.tls->raw - before, 4 + sizeof(body) + 5 + 1 + 16);
    assert_true(p.server.stream.mark.written);
    assert_int_equal(p.server.stream.mark.raw, p.server.stream.tls->raw);
    assert_int_equal(stream_waiting(&p.server.stream), 0);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_kept_hello),
        cmocka_unit_test(test_client_with_kept_input),
        cmocka_unit_test(test_put_while_securing),
        cmocka_unit_test(test_backpressure_both_ways),
        cmocka_unit_test(test_kept_input),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_look),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_mark_after_clear),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_both_kinds),
        cmocka_unit_test(test_one_record),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
