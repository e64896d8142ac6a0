/* SPDX-License-Identifier: ISC */
/*
 * Both ends of what bench/tls/run measures: an origin in clear, and a client that speaks TLS to the proxy. The client does one
 * thing at a time, so that nothing waits in the proxy; what is measured is the proxy's CPU time, by who calls this.
 *
 *   ends serve PORT                            GET /N is answered by N bytes; a WebSocket handshake is agreed to, and that is all
 *   ends handshakes PORT VERSION full|resumed COUNT     connections, each with one small request; VERSION is 12 or 13
 *   ends requests PORT COUNT                   on one connection
 *   ends bulk PORT MIB                         one answer
 *   ends idle PORT COUNT                       WebSockets; says "open", and ends when its input does
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD 4096
#define BLOCK 65536
#define STACK 65536
#define NAME "bench.test"
#define SMALL 100
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

static char zeros[BLOCK];

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

static void no_delay(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* The origin. */

static int write_all(int fd, const char *data, size_t len)
{
    for (ssize_t n; len > 0; data += n, len -= (size_t)n)
        if ((n = send(fd, data, len, MSG_NOSIGNAL)) <= 0)
            return -1;
    return 0;
}

static int answer(int fd, const char *head)
{
    unsigned long len = strtoul(head + strlen("GET /"), NULL, 10);
    char text[128];

    snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %lu\r\n\r\n", len);
    if (write_all(fd, text, strlen(text)) < 0)
        return -1;
    for (size_t n; len > 0; len -= n) {
        n = len < BLOCK ? len : BLOCK;
        if (write_all(fd, zeros, n) < 0)
            return -1;
    }
    return 0;
}

static int agree(int fd, const char *key)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[256], encoded[64];
    unsigned len;

    snprintf(text, sizeof(text), "%.24s" GUID, key);
    EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)encoded, digest, (int)len);
    snprintf(text, sizeof(text),
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
             encoded);
    return write_all(fd, text, strlen(text));
}

static void *serve_one(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char head[HEAD + 1];
    size_t len = 0;

    for (ssize_t n; (n = recv(fd, head + len, HEAD - len, 0)) > 0;) {
        len += (size_t)n;
        head[len] = '\0';
        if (strstr(head, "\r\n\r\n") == NULL)
            continue;
        const char *key = strcasestr(head, "sec-websocket-key: ");

        if ((key != NULL ? agree(fd, key + strlen("sec-websocket-key: ")) : answer(fd, head)) < 0)
            break;
        len = 0;
    }
    close(fd);
    return NULL;
}

static void serve(int port)
{
    struct sockaddr_in at = local(port);
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    pthread_attr_t attributes;

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(listener, 1024) < 0)
        err(1, "port %d", port);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pthread_t thread;

        if (fd < 0)
            err(1, "accept");
        no_delay(fd);
        if (pthread_create(&thread, &attributes, serve_one, (void *)(intptr_t)fd) != 0)
            errx(1, "no thread");
    }
}

/* The client. */

static SSL *dial(SSL_CTX *context, int port, SSL_SESSION *session)
{
    struct sockaddr_in at = local(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SSL *ssl = SSL_new(context);

    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        err(1, "port %d", port);
    no_delay(fd);
    SSL_set_fd(ssl, fd);
    SSL_set_tlsext_host_name(ssl, NAME);
    if (session != NULL)
        SSL_set_session(ssl, session);
    if (SSL_connect(ssl) != 1)
        errx(1, "no handshake");
    return ssl;
}

static void hang_up(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);

    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}

/* One request, and all of its answer. */
static void ask(SSL *ssl, unsigned long size)
{
    char text[BLOCK];
    int len = snprintf(text, sizeof(text), "GET /%lu HTTP/1.1\r\nHost: " NAME "\r\n\r\n", size), n;
    size_t got = 0;
    char *body = NULL;

    if (SSL_write(ssl, text, len) != len)
        errx(1, "cannot write");
    while (body == NULL) {
        if (got + 1 >= sizeof(text) || (n = SSL_read(ssl, text + got, (int)(sizeof(text) - 1 - got))) <= 0)
            errx(1, "no head");
        got += (size_t)n;
        text[got] = '\0';
        body = strstr(text, "\r\n\r\n");
    }
    if (strncmp(text, "HTTP/1.1 200", strlen("HTTP/1.1 200")) != 0)
        errx(1, "%.40s", text);
    for (got -= (size_t)(body + 4 - text); got < size; got += (size_t)n)
        if ((n = SSL_read(ssl, text, sizeof(text))) <= 0)
            errx(1, "cut");
}

static void open_websocket(SSL *ssl)
{
    static const char request[] = "GET /ws HTTP/1.1\r\nHost: " NAME "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    char text[HEAD];
    int n;

    if (SSL_write(ssl, request, sizeof(request) - 1) <= 0 || (n = SSL_read(ssl, text, sizeof(text))) <= 0 ||
        strncmp(text, "HTTP/1.1 101", strlen("HTTP/1.1 101")) != 0)
        errx(1, "no WebSocket");
}

static SSL_CTX *context_for(int version)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    int number = version == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;

    SSL_CTX_set_min_proto_version(context, number);
    SSL_CTX_set_max_proto_version(context, number);
    SSL_CTX_set1_groups_list(context, "X25519:P-256");
    return context;
}

static void handshakes(int port, int version, int resumed, long count)
{
    SSL_CTX *context = context_for(version);
    SSL_SESSION *session = NULL;

    for (long i = 0; i < count; i++) {
        SSL *ssl = dial(context, port, session);

        if (i > 0 && SSL_session_reused(ssl) != resumed)
            errx(1, resumed ? "not resumed" : "resumed");
        ask(ssl, SMALL);
        if (resumed) {
            SSL_SESSION_free(session);
            session = SSL_get1_session(ssl);
        }
        hang_up(ssl);
    }
}

static void requests(int port, long count, unsigned long size)
{
    SSL *ssl = dial(context_for(13), port, NULL);

    for (long i = 0; i < count; i++)
        ask(ssl, size);
    hang_up(ssl);
}

static void idle(int port, long count)
{
    SSL_CTX *context = context_for(13);

    for (long i = 0; i < count; i++)
        open_websocket(dial(context, port, NULL));
    puts("open");
    fflush(stdout);
    (void)!getchar();
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    int port = argc > 2 ? atoi(argv[2]) : 0;

    if (strcmp(what, "serve") == 0)
        serve(port);
    else if (strcmp(what, "handshakes") == 0 && argc == 6)
        handshakes(port, atoi(argv[3]), strcmp(argv[4], "resumed") == 0, atol(argv[5]));
    else if (strcmp(what, "requests") == 0 && argc == 4)
        requests(port, atol(argv[3]), SMALL);
    else if (strcmp(what, "bulk") == 0 && argc == 4)
        requests(port, 1, strtoul(argv[3], NULL, 10) << 20);
    else if (strcmp(what, "idle") == 0 && argc == 4)
        idle(port, atol(argv[3]));
    else
        errx(2, "see the source");
    return 0;
}
