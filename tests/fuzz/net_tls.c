/* SPDX-License-Identifier: ISC */
/*
 * Secured streams and what peers send. The first byte says which end the stream is, and whether the rest is what a peer sends raw,
 * in pieces, or a script for a peer that speaks TLS well up to there: data, KeyUpdates, a close_notify, raw bytes between the
 * records. Whatever comes, the stream ends or waits; nothing that was not sent arrives, and nothing is left behind.
 */
#include "net/stream.h"
#include "../unit/net_certs.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static struct tls_context *server, *client;
static SSL_CTX *peers[2]; /* by: is the stream the server? */

static struct tls_context *must(struct tls_context *context, const char *error)
{
    if (context == NULL)
        fatal("%s", error);
    return context;
}

static void begin(void)
{
    struct cert own = cert_make((struct cert_spec){ .cn = "x", .names = "DNS:a.example", .ca = "CA:TRUE" });
    struct tls_pair pair = { own.pem, own.key_pem, { NULL, 0 } };
    struct tls_server_settings s = { .pairs = &pair, .pair_count = 1, .min_version = 0x0303, .keylog = -1 };
    struct tls_client_settings c = { .trust = own.pem, .verify = true, .min_version = 0x0303, .keylog = -1 };
    char error[TLS_ERROR] = "";

    signal(SIGPIPE, SIG_IGN); /* the peer's OpenSSL writes without MSG_NOSIGNAL */
    loop = loop_new();        /* no tls_start(): what only the secure heap points to would look leaked */
    if (loop == NULL)
        fatal("no loop");
    server = must(tls_server_new(&s, error), error);
    client = must(tls_client_new(&c, error), error);
    peers[0] = SSL_CTX_new(TLS_server_method());
    peers[1] = SSL_CTX_new(TLS_client_method());
    if (SSL_CTX_use_certificate(peers[0], own.x509) != 1 || SSL_CTX_use_PrivateKey(peers[0], own.key) != 1)
        fatal("no peer");
    cert_free(&own);
}

static void on_ready(void *owner)
{
    (void)owner;
}

/* What an owner does at each turn; returns how many bytes came. */
static size_t run(struct stream *s)
{
    struct span input;

    loop_turn(loop);
    if (stream_is_securing(s) && stream_handshake(s) != TLS_DONE)
        return 0;
    if (stream_look(s) < -1)
        fatal("no answer");
    if (!stream_has_input(s))
        return 0;
    input = stream_input(s, true);
    if (!stream_taken(s, input, input.len / 2))
        fatal("no memory");
    input = stream_input(s, false);
    if (!stream_taken(s, input, input.len) || !stream_put(s, "answer", 6))
        fatal("no memory");
    stream_flush(s);
    return input.len;
}

static void send_raw(int fd, const uint8_t *data, size_t size)
{
    if (size > 0 && send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return; /* the stream is gone */
}

/* Pieces of as many bytes as the byte in front says. */
static void speak_raw(struct stream *s, int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        size_t n = 1u + data[0] * 4u;

        data++;
        size--;
        n = n < size ? n : size;
        send_raw(fd, data, n);
        data += n;
        size -= n;
        if (run(s) > 0)
            fatal("input out of nothing");
    }
}

static void step(SSL *peer, int fd, const uint8_t **data, size_t *size)
{
    static const char zeros[70000];
    uint8_t what = (*data)[0];
    size_t n = what >> 3;

    (*data)++;
    (*size)--;
    switch (what & 7u) {
    case 0:
    case 1:
        SSL_write(peer, zeros, (int)(1 + n * n * 70));
        break;
    case 2:
        SSL_key_update(peer, n & 1 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(peer);
        break;
    case 3:
        SSL_shutdown(peer);
        break;
    case 4:
        n = n < *size ? n : *size;
        send_raw(fd, *data, n);
        *data += n;
        *size -= n;
        break;
    case 5:
        SSL_renegotiate(peer);
        SSL_do_handshake(peer);
        break;
    case 6:
        shutdown(fd, SHUT_WR);
        break;
    case 7:
        SSL_set_max_send_fragment(peer, 512 + (long)n * 100);
        break;
    }
}

static void speak_tls(struct stream *s, int fd, bool is_server, const uint8_t *data, size_t size)
{
    SSL *peer = SSL_new(peers[is_server]);
    char text[4096];

    SSL_set_fd(peer, fd);
    if (is_server)
        SSL_set_connect_state(peer);
    else
        SSL_set_accept_state(peer);
    if (size > 0 && (data[0] & 1))
        SSL_set_max_proto_version(peer, TLS1_2_VERSION);
    for (int i = 0; i < 10 && stream_is_securing(s); i++) {
        SSL_do_handshake(peer);
        run(s);
    }
    while (size > 0) {
        ERR_clear_error();
        step(peer, fd, &data, &size);
        run(s);
        SSL_read(peer, text, sizeof(text));
    }
    SSL_free(peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_peer peer = { .name = SPAN("a.example") };
    struct stream s;
    bool is_server;
    int fds[2];

    if (loop == NULL)
        begin();
    if (size < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0)
        return 0;
    is_server = data[0] & 1;
    if (!stream_open(&s, loop, fds[0], on_ready, &s) ||
        !(is_server ? stream_secure_server(&s, server, NULL) : stream_secure_client(&s, client, &peer)))
        fatal("no stream");
    run(&s);
    if (data[0] & 2)
        speak_tls(&s, fds[1], is_server, data + 1, size - 1);
    else
        speak_raw(&s, fds[1], data + 1, size - 1);
    shutdown(fds[1], SHUT_WR);
    run(&s);
    stream_shutdown(&s);
    run(&s);
    stream_close(&s, data[0] & 4);
    close(fds[1]);
    ERR_clear_error();
    return 0;
}
