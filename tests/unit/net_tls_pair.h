/* SPDX-License-Identifier: ISC */
/* Two streams of one loop that speak TLS with each other, or one with an end that the test drives itself. Include before cmocka.h.
 */
#ifndef POSTERN_TESTS_NET_TLS_PAIR_H
#define POSTERN_TESTS_NET_TLS_PAIR_H

#include "net/stream.h"
#include "net_certs.h"
#include "net_pair.h"

#include <netinet/tcp.h>

struct tls_side {
    struct stream stream;
    enum tls_progress progress;
    bool securing;
    unsigned events;
};

struct tls_pair_of_ends {
    struct loop *loop;
    struct tls_side client, server;
};

static inline void pair_on_ready(void *owner)
{
    struct tls_side *side = owner;

    side->events++;
    if (side->securing && side->progress == TLS_MORE)
        side->progress = stream_handshake(&side->stream);
}

/* Nothing is held back by either end's kernel. */
static inline void prompt_pair(int fds[2])
{
    int yes = 1;

    tcp_pair(fds);
    for (int i = 0; i < 2; i++)
        if (setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) != 0 || fcntl(fds[i], F_SETFL, O_NONBLOCK) != 0)
            fatal("no pair");
}

static inline void pair_open(struct tls_pair_of_ends *p)
{
    int fds[2];

    prompt_pair(fds);
    memset(p, 0, sizeof(*p));
    p->loop = loop_new();
    if (p->loop == NULL || !stream_open(&p->server.stream, p->loop, fds[0], pair_on_ready, &p->server) ||
        !stream_open(&p->client.stream, p->loop, fds[1], pair_on_ready, &p->client))
        fatal("no streams");
}

static inline void pair_close(struct tls_pair_of_ends *p)
{
    stream_close(&p->client.stream, true);
    stream_close(&p->server.stream, true);
    loop_free(p->loop);
}

static inline void pair_begin(struct tls_side *side)
{
    side->securing = true;
    side->progress = stream_handshake(&side->stream);
}

/* Both are secured, or one has failed and the other one heard of it. */
static inline bool pair_is_settled(const struct tls_pair_of_ends *p)
{
    return p->client.progress != TLS_MORE && p->server.progress != TLS_MORE;
}

static inline void pair_turn(struct tls_pair_of_ends *p)
{
    if (!loop_turn(p->loop))
        poll(NULL, 0, 1);
}

static inline void pair_shake_as(struct tls_pair_of_ends *p, struct tls_context *client, struct tls_context *server,
                                 const struct tls_peer *peer, struct tls_leaf *leaf)
{
    if (!stream_secure_server(&p->server.stream, server, leaf) || !stream_secure_client(&p->client.stream, client, peer))
        fatal("not secured");
    pair_begin(&p->server);
    pair_begin(&p->client);
    for (uint64_t end = wait_now_ms() + WAIT_MS; !pair_is_settled(p) && wait_now_ms() < end;)
        pair_turn(p);
}

static inline void pair_shake(struct tls_pair_of_ends *p, struct tls_context *client, struct tls_context *server, const char *name)
{
    struct tls_peer peer = { .name = span_str(name) };

    pair_shake_as(p, client, server, &peer, NULL);
}

/* What a stream has to say, up to `size` - 1 bytes, as a string; "" if there is nothing for a while. */
static inline const char *pair_hear(struct tls_pair_of_ends *p, struct tls_side *side, char *out, size_t size)
{
    size_t have = 0;

    for (int i = 0; i < 50 && have < size - 1; i++) {
        if (stream_has_input(&side->stream)) {
            struct span input = stream_input(&side->stream, true);
            size_t n = input.len < size - 1 - have ? input.len : size - 1 - have;

            memcpy(out + have, input.at, n);
            have += n;
            if (!stream_taken(&side->stream, input, n) || (n == 0 && (side->stream.eof || side->stream.failed)))
                break;
        } else if (have > 0) {
            break;
        }
        pair_turn(p);
    }
    out[have] = '\0';
    return out;
}

static inline void pair_say(struct tls_side *side, const char *text)
{
    if (!stream_put(&side->stream, text, strlen(text)))
        fatal("no memory");
    stream_flush(&side->stream);
}

/* Contexts with the least that is needed. */

static inline struct tls_context *pair_server(const struct cert *c, struct tls_server_settings settings)
{
    struct tls_pair pair = { { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };
    char error[TLS_ERROR] = "";
    struct tls_context *context;

    if (settings.pairs == NULL) {
        pair = (struct tls_pair){ c->pem, c->key_pem, { NULL, 0 } };
        settings.pairs = &pair;
        settings.pair_count = 1;
    }
    settings.min_version = settings.min_version ? settings.min_version : 0x0303;
    settings.keylog = -1;
    context = tls_server_new(&settings, error);
    if (context == NULL)
        fatal("server: %s", error);
    return context;
}

static inline struct tls_context *pair_client(struct span trust, struct tls_client_settings settings)
{
    char error[TLS_ERROR] = "";
    struct tls_context *context;

    settings.trust = trust;
    settings.verify = trust.len > 0;
    settings.min_version = settings.min_version ? settings.min_version : 0x0303;
    settings.keylog = -1;
    context = tls_client_new(&settings, error);
    if (context == NULL)
        fatal("client: %s", error);
    return context;
}

#endif
