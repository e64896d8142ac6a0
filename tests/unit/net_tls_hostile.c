/* SPDX-License-Identifier: ISC */
/* Secured streams whose peer is not one of ours: it floods, negotiates again, sends early data, lies, or speaks something else. */
#include "net/tls_end.h"
#include "net_tls_pair.h"

#include <openssl/err.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct cert ca, own;
static struct tls_context *server, *client;

static int set_up(void **state)
{
    (void)state;
    if (!tls_start())
        return -1;
    ca = cert_make_ca("Test CA");
    own = cert_make((struct cert_spec){ .cn = "x", .names = "DNS:a.example", .issuer = &ca });
    server = pair_server(&own, (struct tls_server_settings){ 0 });
    client = pair_client(ca.pem, (struct tls_client_settings){ 0 });
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_context_unref(server);
    tls_context_unref(client);
    cert_free(&ca);
    cert_free(&own);
    return 0;
}

/* A stream, and an end that OpenSSL drives for the test as it likes. */
struct odd {
    struct loop *loop;
    struct tls_side side;
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
};

static void odd_open(struct odd *o, bool stream_is_server)
{
    int fds[2];

    memset(o, 0, sizeof(*o));
    prompt_pair(fds);
    o->loop = loop_new();
    o->fd = fds[1];
    assert_true(stream_open(&o->side.stream, o->loop, fds[0], pair_on_ready, &o->side));
    if (stream_is_server)
        assert_true(stream_secure_server(&o->side.stream, server, NULL));
    else
        assert_true(stream_secure_client(&o->side.stream, client, &(struct tls_peer){ .name = SPAN("a.example") }));
    o->ctx = SSL_CTX_new(stream_is_server ? TLS_client_method() : TLS_server_method());
    SSL_CTX_set_security_level(o->ctx, 0);
    SSL_CTX_set_min_proto_version(o->ctx, TLS1_VERSION);
    if (!stream_is_server) {
        assert_int_equal(SSL_CTX_use_certificate(o->ctx, own.x509), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(o->ctx, own.key), 1);
    }
    pair_begin(&o->side);
}

/* Begins the odd end's TLS: before this its context can be changed. */
static void odd_speak(struct odd *o)
{
    o->ssl = SSL_new(o->ctx);
    assert_int_equal(SSL_set_fd(o->ssl, o->fd), 1);
    if (o->side.stream.tls->context->server)
        SSL_set_connect_state(o->ssl);
    else
        SSL_set_accept_state(o->ssl);
}

static void odd_turn(struct odd *o)
{
    if (!loop_turn(o->loop))
        poll(NULL, 0, 1);
}

static void odd_shake(struct odd *o)
{
    int result = 0;

    odd_speak(o);
    for (int i = 0; i < 300 && (result != 1 || o->side.progress == TLS_MORE); i++) {
        if (result != 1)
            result = SSL_do_handshake(o->ssl);
        if (o->side.progress == TLS_FAILED)
            break;
        odd_turn(o);
    }
}

static void odd_close(struct odd *o)
{
    stream_close(&o->side.stream, true);
    SSL_free(o->ssl);
    SSL_CTX_free(o->ctx);
    close(o->fd);
    loop_free(o->loop);
    ERR_clear_error();
}

/* Lets the stream read all there is; returns how many bytes. */
static size_t odd_drain(struct odd *o)
{
    struct stream *s = &o->side.stream;
    size_t all = 0;

    for (int i = 0; i < 30; i++) {
        if (stream_has_input(s)) {
            struct span input = stream_input(s, true);

            all += input.len;
            assert_true(stream_taken(s, input, input.len));
        }
        odd_turn(o);
    }
    return all;
}

static void update_keys(struct odd *o, int times)
{
    for (int i = 0; i < times; i++) {
        char text[8];

        assert_int_equal(SSL_key_update(o->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        SSL_do_handshake(o->ssl);
        SSL_read(o->ssl, text, sizeof(text));
    }
}

static void test_key_updates(void **state)
{
    for (int as_server = 0; as_server < 2; as_server++) {
        struct odd o;

        (void)state;
        odd_open(&o, as_server);
        odd_shake(&o);
        assert_int_equal(o.side.progress, TLS_DONE);
        update_keys(&o, 10); /* some are fine, and answered */
        assert_int_equal(SSL_write(o.ssl, "hello", 5), 5);
        assert_int_equal(odd_drain(&o), 5);
        assert_false(o.side.stream.failed);
        pair_say(&o.side, "hello");
        odd_turn(&o);
        update_keys(&o, 10);
        odd_drain(&o);
        assert_true(o.side.stream.failed);
        assert_true(o.side.stream.flooded);
        odd_close(&o);
    }
}

static unsigned char write_secret[32];

static void note_secret(const SSL *ssl, const char *line)
{
    const char *hex = strrchr(line, ' ');

    (void)ssl;
    for (size_t i = 0; strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0 && i < sizeof(write_secret); i++)
        write_secret[i] = (unsigned char)strtoul((char[3]){ hex[1 + 2 * i], hex[2 + 2 * i], 0 }, NULL, 16);
}

/* HKDF-Expand-Label (RFC 8446 7.1), of at most one hash. */
static void expand(const char *label, unsigned char *out, size_t len)
{
    unsigned char hash[32];
    char info[32];
    int n = snprintf(info, sizeof(info), "%c%c%ctls13 %s%c%c", 0, (int)len, (int)strlen(label) + 6, label, 0, 1);

    HMAC(EVP_sha256(), write_secret, sizeof(write_secret), (unsigned char *)info, (size_t)n, hash, NULL);
    memcpy(out, hash, len);
}

/* The server's first record after its handshake, as OpenSSL would not write it (TLS_AES_128_GCM_SHA256). */
static void write_record(int fd, unsigned char *inner, size_t len)
{
    unsigned char key[16], iv[12], record[5 + 16384 + 17] = { 23, 3, 3 };
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    int n, all = 0;

    inner[len++] = 22;
    expand("key", key, sizeof(key));
    expand("iv", iv, sizeof(iv));
    record[3] = (unsigned char)((len + 16) >> 8);
    record[4] = (unsigned char)(len + 16);
    EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, key, iv);
    EVP_EncryptUpdate(cipher, NULL, &n, record, 5);
    EVP_EncryptUpdate(cipher, record + 5, &all, inner, (int)len);
    EVP_EncryptFinal_ex(cipher, record + 5 + all, &n);
    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, record + 5 + len);
    EVP_CIPHER_CTX_free(cipher);
    assert_int_equal(write(fd, record, 5 + len + 16), 5 + len + 16);
}

/* One record with as many tickets as fit. */
static void test_many_in_a_record(void **state)
{
    static const unsigned char ticket[18] = { 4, 0, 0, 14, 0, 0, 1, 0, 1, 2, 3, 4, 0, 0, 1, 'x', 0, 0 };
    static const struct {
        size_t count;
        bool flooded;
    } rows[] = { { 10, false }, { 800, true } };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static unsigned char inner[16384];
        struct odd o;

        odd_open(&o, false);
        SSL_CTX_set_keylog_callback(o.ctx, note_secret);
        SSL_CTX_set_ciphersuites(o.ctx, "TLS_AES_128_GCM_SHA256");
        SSL_CTX_set_num_tickets(o.ctx, 0);
        odd_shake(&o);
        assert_int_equal(o.side.progress, TLS_DONE);
        for (size_t k = 0; k < rows[i].count; k++)
            memcpy(inner + k * sizeof(ticket), ticket, sizeof(ticket));
        write_record(o.fd, inner, rows[i].count * sizeof(ticket));
        odd_drain(&o);
        assert_int_equal(o.side.stream.flooded, rows[i].flooded);
        assert_int_equal(o.side.stream.failed, rows[i].flooded);
        odd_close(&o);
    }
}

/* A flood that is slow enough to be none. */
static void test_slow_key_updates(void **state)
{
    uint64_t now = clock_ms();
    struct odd o;

    (void)state;
    odd_open(&o, true);
    odd_shake(&o);
    for (int i = 0; i < 5; i++) {
        clock_set(now += 1000);
        update_keys(&o, 10);
        odd_drain(&o);
    }
    assert_false(o.side.stream.failed);
    odd_close(&o);
}

/* A client that negotiates again (TLS 1.2) hears no. */
static void test_renegotiation(void **state)
{
    struct odd o;
    char text[64];

    (void)state;
    odd_open(&o, true);
    SSL_CTX_set_max_proto_version(o.ctx, TLS1_2_VERSION);
    odd_shake(&o);
    assert_int_equal(o.side.progress, TLS_DONE);
    assert_int_equal(SSL_renegotiate(o.ssl), 1);
    assert_int_equal(SSL_do_handshake(o.ssl), -1);
    assert_int_equal(odd_drain(&o), 0);
    assert_true(SSL_do_handshake(o.ssl) <= 0); /* the answer: no_renegotiation */
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    assert_true(SSL_read(o.ssl, text, sizeof(text)) <= 0);
    odd_close(&o);
}

static void test_early_data(void **state)
{
    struct tls_tickets *tickets = tls_tickets_new();
    struct tls_ticket_key key = { .name = "one" };
    struct tls_context *giving = pair_server(&own, (struct tls_server_settings){ .tickets = tickets });
    struct tls_context *usual = server;
    SSL_SESSION *session;
    struct odd o;
    char text[64];
    size_t n;

    (void)state;
    tls_tickets_set(tickets, &key, 1);
    server = giving;
    odd_open(&o, true);
    odd_shake(&o);
    pair_say(&o.side, "x");
    odd_turn(&o);
    assert_int_equal(SSL_read(o.ssl, text, 1), 1);
    session = SSL_get1_session(o.ssl);
    assert_int_equal(SSL_SESSION_get_max_early_data(session), 0);
    SSL_set_shutdown(o.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    odd_close(&o);
    SSL_SESSION_set_max_early_data(session, 1000); /* a client that does not care */
    odd_open(&o, true);
    odd_speak(&o);
    assert_int_equal(SSL_set_session(o.ssl, session), 1);
    assert_int_equal(SSL_write_early_data(o.ssl, "POST", 4, &n), 1);
    for (int i = 0; i < 100 && SSL_do_handshake(o.ssl) != 1; i++)
        odd_turn(&o);
    assert_int_equal(SSL_get_early_data_status(o.ssl), SSL_EARLY_DATA_REJECTED);
    assert_int_equal(SSL_write(o.ssl, "GET", 3), 3);
    assert_int_equal(odd_drain(&o), 3);
    odd_close(&o);
    SSL_SESSION_free(session);
    server = usual;
    tls_context_unref(giving);
    tls_tickets_free(tickets);
}

static void expect_failure(struct odd *o, enum tls_failure failure)
{
    for (int i = 0; i < 100 && o->side.progress == TLS_MORE; i++)
        odd_turn(o);
    assert_int_equal(o->side.progress, TLS_FAILED);
    if (stream_failure(&o->side.stream) != failure)
        fail_msg("%s instead of %s", tls_failure_name(stream_failure(&o->side.stream)), tls_failure_name(failure));
    assert_int_equal(stream_handshake(&o->side.stream), TLS_FAILED); /* and stays so */
    assert_false(stream_has_input(&o->side.stream));
}

static void test_not_tls(void **state)
{
    static const char *const texts[] = { "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n",
                                         "\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff", "\x80\x2e\x01\x00\x02 an SSL 2 client hello",
                                         "\x15\x03\x03 junk" };

    (void)state;
    for (int as_server = 0; as_server < 2; as_server++)
        for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
            size_t len = i == 2 ? 10 : strlen(texts[i]);
            struct odd o;

            odd_open(&o, as_server);
            assert_int_equal(send(o.fd, texts[i], len, 0), len);
            shutdown(o.fd, SHUT_WR);
            for (int k = 0; k < 100 && o.side.progress == TLS_MORE; k++)
                odd_turn(&o);
            assert_int_equal(o.side.progress, TLS_FAILED);
            assert_true(stream_failure(&o.side.stream) == TLS_FAILED_PROTOCOL ||
                        stream_failure(&o.side.stream) == TLS_FAILED_CLOSED);
            if (i < 2)
                assert_int_equal(stream_failure(&o.side.stream), TLS_FAILED_PROTOCOL);
            odd_close(&o);
        }
}

static void test_closed_in_the_middle(void **state)
{
    for (int how = 0; how < 4; how++) {
        struct linger now = { 1, 0 };
        struct odd o;

        (void)state;
        odd_open(&o, how & 1);
        odd_speak(&o);
        if (how & 1)
            SSL_do_handshake(o.ssl); /* its hello */
        odd_turn(&o);
        if (how & 2)
            assert_int_equal(setsockopt(o.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
        shutdown(o.fd, SHUT_WR);
        if (how & 2) {
            close(o.fd);
            o.fd = -1;
        }
        expect_failure(&o, TLS_FAILED_CLOSED);
        odd_close(&o);
    }
}

static void test_old_versions(void **state)
{
    for (int as_server = 0; as_server < 2; as_server++)
        for (int version = TLS1_VERSION; version < TLS1_2_VERSION; version++) {
            struct odd o;

            (void)state;
            odd_open(&o, as_server);
            SSL_CTX_set_max_proto_version(o.ctx, version);
            odd_shake(&o);
            expect_failure(&o, as_server ? TLS_FAILED_PROTOCOL : TLS_FAILED_ALERT);
            odd_close(&o);
        }
}

static int chooses_h2(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in, unsigned in_len, void *arg)
{
    (void)ssl;
    (void)in;
    (void)in_len;
    (void)arg;
    *out = (const unsigned char *)"h2";
    *len = 2;
    return SSL_TLSEXT_ERR_OK;
}

static int chooses_nothing(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in, unsigned in_len,
                           void *arg)
{
    (void)chooses_h2(ssl, out, len, in, in_len, arg);
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void test_alpn(void **state)
{
    struct odd o;

    (void)state;
    odd_open(&o, true);
    SSL_CTX_set_alpn_protos(o.ctx, (const unsigned char *)"\2h2\10http/1.0", 12);
    odd_shake(&o);
    expect_failure(&o, TLS_FAILED_ALPN);
    odd_close(&o);
    odd_open(&o, false);
    SSL_CTX_set_alpn_select_cb(o.ctx, chooses_h2, NULL); /* what nobody offered */
    odd_shake(&o);
    expect_failure(&o, TLS_FAILED_PROTOCOL);
    odd_close(&o);
    odd_open(&o, false);
    SSL_CTX_set_alpn_select_cb(o.ctx, chooses_nothing, NULL);
    odd_shake(&o);
    expect_failure(&o, TLS_FAILED_ALPN);
    odd_close(&o);
    odd_open(&o, true);
    SSL_CTX_set_alpn_protos(o.ctx, (const unsigned char *)"\2h2\10http/1.1", 12);
    odd_shake(&o);
    assert_int_equal(o.side.progress, TLS_DONE);
    odd_close(&o);
}

/* Two sockets and the test between them: it hands bytes on as it likes. */
struct middle {
    struct tls_pair_of_ends ends;
    int client, server;
};

static void middle_open(struct middle *m)
{
    int one[2], two[2];

    memset(m, 0, sizeof(*m));
    prompt_pair(one);
    prompt_pair(two);
    m->ends.loop = loop_new();
    m->client = one[1];
    m->server = two[1];
    assert_true(stream_open(&m->ends.client.stream, m->ends.loop, one[0], pair_on_ready, &m->ends.client));
    assert_true(stream_open(&m->ends.server.stream, m->ends.loop, two[0], pair_on_ready, &m->ends.server));
    assert_true(stream_secure_server(&m->ends.server.stream, server, NULL));
    assert_true(stream_secure_client(&m->ends.client.stream, client, &(struct tls_peer){ .name = SPAN("a.example") }));
    pair_begin(&m->ends.server);
    pair_begin(&m->ends.client);
}

static void middle_close(struct middle *m)
{
    close(m->client);
    close(m->server);
    pair_close(&m->ends);
}

/* Hands one byte on, changed by `change`; false: there is none. */
static bool hand_on(int from, int to, char change)
{
    char byte;

    if (recv(from, &byte, 1, MSG_DONTWAIT) != 1)
        return false;
    byte ^= change;
    assert_int_equal(send(to, &byte, 1, MSG_NOSIGNAL), 1);
    return true;
}

static void hand_on_until_settled(struct middle *m)
{
    for (int i = 0, idle = 0; idle < 50 && i < 20000; i++) {
        bool moved = hand_on(m->client, m->server, 0);

        moved |= hand_on(m->server, m->client, 0);
        idle = moved || !pair_is_settled(&m->ends) ? 0 : idle + 1;
        loop_turn(m->ends.loop);
    }
}

static void test_one_byte_pieces(void **state)
{
    struct middle m;
    char text[64];

    (void)state;
    middle_open(&m);
    hand_on_until_settled(&m);
    assert_int_equal(m.ends.client.progress, TLS_DONE);
    assert_int_equal(m.ends.server.progress, TLS_DONE);
    pair_say(&m.ends.client, "in pieces");
    hand_on_until_settled(&m);
    assert_string_equal(pair_hear(&m.ends, &m.ends.server, text, sizeof(text)), "in pieces");
    middle_close(&m);
}

/* A byte that was changed on the way ends the stream; what came before it is good. */
static void test_changed_byte(void **state)
{
    struct middle m;
    char text[64];

    (void)state;
    middle_open(&m);
    hand_on_until_settled(&m);
    pair_say(&m.ends.client, "good");
    hand_on_until_settled(&m);
    pair_say(&m.ends.client, "changed");
    for (int i = 0; i < 10; i++)
        loop_turn(m.ends.loop);
    for (int i = 0; i < 64; i++)
        hand_on(m.client, m.server, i == 8);
    assert_string_equal(pair_hear(&m.ends, &m.ends.server, text, sizeof(text)), "good");
    assert_string_equal(pair_hear(&m.ends, &m.ends.server, text, sizeof(text)), "");
    assert_true(m.ends.server.stream.failed);
    assert_false(m.ends.server.stream.eof);
    assert_int_equal(stream_failure(&m.ends.server.stream), TLS_FAILED_PROTOCOL);
    middle_close(&m);
}

static int with_much(SSL *ssl, void *arg)
{
    static const char much[1000];

    (void)arg;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), much, sizeof(much));
}

static SSL_TICKET_RETURN as_usual(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t len, SSL_TICKET_STATUS status,
                                  void *arg)
{
    (void)ssl;
    (void)session;
    (void)name;
    (void)len;
    (void)status;
    (void)arg;
    return SSL_TICKET_RETURN_IGNORE;
}

/* Half a message after the handshake: what is said meanwhile is not lost, and leaves at the latest when the rest has come. */
static void test_half_a_ticket(void **state)
{
    struct odd o;
    char *bytes, text[64];
    int len, got;
    BIO *held;

    (void)state;
    odd_open(&o, false);
    SSL_CTX_set_session_ticket_cb(o.ctx, with_much, as_usual, NULL);
    SSL_CTX_set_max_send_fragment(o.ctx, 512);
    odd_shake(&o);
    odd_drain(&o);
    held = BIO_new(BIO_s_mem());
    SSL_set0_wbio(o.ssl, held);
    assert_int_equal(SSL_new_session_ticket(o.ssl), 1);
    assert_int_equal(SSL_do_handshake(o.ssl), 1);
    len = (int)BIO_get_mem_data(held, &bytes);
    assert_true(len > 1000);
    assert_int_equal(send(o.fd, bytes, 700, 0), 700);
    assert_int_equal(odd_drain(&o), 0);
    pair_say(&o.side, "meanwhile");
    assert_int_equal(stream_look(&o.side.stream), 0);
    assert_int_equal(send(o.fd, bytes + 700, (size_t)len - 700, 0), len - 700);
    assert_int_equal(odd_drain(&o), 0);
    stream_flush(&o.side.stream);
    odd_turn(&o);
    got = SSL_read(o.ssl, text, sizeof(text));
    assert_int_equal(got, 9);
    assert_memory_equal(text, "meanwhile", 9);
    assert_int_equal(stream_waiting(&o.side.stream), 0);
    assert_false(o.side.stream.failed);
    odd_close(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_updates),
        cmocka_unit_test(test_renegotiation),
        cmocka_unit_test(test_early_data),
        cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_closed_in_the_middle),
        cmocka_unit_test(test_old_versions),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_one_byte_pieces),
        cmocka_unit_test(test_changed_byte),
        cmocka_unit_test(test_half_a_ticket),
        cmocka_unit_test(test_slow_key_updates),
        cmocka_unit_test(test_many_in_a_record), /* the last: it sets the clock */
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
