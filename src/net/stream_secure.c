/* SPDX-License-Identifier: ISC */
/*
 * How streams become secured, and how that fails. A handshake is driven by its owner (stream_handshake()) until it is done; what
 * the owner says meanwhile waits. Failures are told apart by what the owner has to say of them: an alert of the peer comes first,
 * then the end of the socket, then what OpenSSL found.
 *
 * After the handshake OpenSSL's messages are counted: KeyUpdate costs its receiver more than its sender, and is bounded.
 */
#include "net/tls_end.h"

#include "base/clock.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 16u /* handshake messages, and records with them, in a second, after the handshake */

/*
 * What comes of handshakes once the handshake is done: KeyUpdate, session tickets, and attempts to negotiate again. Messages are
 * counted, since a record can hold thousands of some; and records, since a message can be in as many pieces as it has bytes.
 */
static void on_message(int sent, int version, int type, const void *data, size_t len, SSL *ssl, void *arg)
{
    struct tls_end *e = SSL_get_app_data(ssl);
    bool is_record = type == SSL3_RT_HEADER || type == SSL3_RT_INNER_CONTENT_TYPE;
    uint64_t now;

    (void)version;
    (void)arg;
    if (sent || !e->done || len == 0 ||
        !(type == SSL3_RT_HANDSHAKE || (is_record && *(const unsigned char *)data == SSL3_RT_HANDSHAKE)))
        return;
    now = clock_ms();
    if (now - e->since >= 1000) {
        e->since = now;
        e->messages = e->records = 0;
    }
    e->flooded |= ++*(is_record ? &e->records : &e->messages) > MESSAGES;
}

static void on_info(const SSL *ssl, int where, int value)
{
    struct tls_end *e = SSL_get_app_data(ssl);
    int alert = value & 0xff;

    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && ((value >> 8) == SSL3_AL_FATAL || SSL_version(ssl) >= TLS1_3_VERSION) &&
        alert != SSL_AD_CLOSE_NOTIFY && alert != SSL_AD_USER_CANCELLED)
        e->alert = (uint8_t)alert;
}

static enum tls_failure failure_of_alert(const struct tls_end *e)
{
    if (e->wanted)
        return TLS_FAILED_WANTED;
    switch (e->alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_BAD_CERTIFICATE_STATUS_RESPONSE:
    case SSL_AD_CERTIFICATE_REQUIRED:
        return TLS_FAILED_REFUSED;
    case SSL_AD_NO_APPLICATION_PROTOCOL:
        return TLS_FAILED_ALPN;
    default:
        return TLS_FAILED_ALERT;
    }
}

static enum tls_failure failure_of_error(struct tls_end *e)
{
    enum tls_failure failure = TLS_FAILED_PROTOCOL;

    for (unsigned long code; (code = ERR_get_error()) != 0;) {
        int reason = ERR_GET_REASON(code);

        if (reason == ERR_R_MALLOC_FAILURE)
            failure = TLS_FAILED_MEMORY;
        if (ERR_GET_LIB(code) != ERR_LIB_SSL)
            continue;
        e->absent |= reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
        if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED || reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
            failure = TLS_FAILED_CERTIFICATE;
        else if (reason == SSL_R_NO_APPLICATION_PROTOCOL)
            failure = TLS_FAILED_ALPN;
    }
    return failure;
}

static enum tls_failure find_failure(struct tls_end *e)
{
    if (e->alert != 0)
        return failure_of_alert(e);
    if (e->raw_eof || e->raw_failed)
        return TLS_FAILED_CLOSED;
    return failure_of_error(e);
}

void tls_fail(struct stream *s)
{
    struct tls_end *e = s->tls;

    e->failure = find_failure(e);
    e->over = TLS_BROKEN;
    e->goodbye = true;
    stream_send_out(s);
    if (!s->broken)
        stream_stop_writing(s);
}

void tls_end_free(struct stream *s)
{
    struct tls_end *e = s->tls;

    s->tls = NULL;
    if (e == NULL)
        return;
    if (e->ssl != NULL && e->failure == TLS_FAILED_NOT && e->done)
        SSL_set_shutdown(e->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or its session could not be resumed */
    SSL_free(e->ssl);
    X509_free(e->refused);
    chunks_drop(&e->plain, s->loop);
    free(e->first);
    tls_leaf_unref(e->leaf);
    tls_context_unref(e->context);
    free(e);
}

void tls_moved(struct stream *s)
{
    if (s->tls == NULL)
        return;
    BIO_set_data(SSL_get_rbio(s->tls->ssl), s);
    if (s->tls->over != TLS_GOES_ON || SSL_has_pending(s->tls->ssl))
        tls_ask_again(s);
}

static struct tls_end *end_new(struct stream *s, struct tls_context *context, struct span name)
{
    struct tls_end *e = calloc(1, sizeof(*e) + name.len + 1);
    BIO *bio = tls_bio_new(s);

    if (e != NULL)
        e->ssl = SSL_new(context->ctx);
    if (e == NULL || e->ssl == NULL || bio == NULL || !SSL_set_app_data(e->ssl, e)) {
        BIO_free(bio);
        SSL_free(e != NULL ? e->ssl : NULL);
        free(e);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_bio(e->ssl, bio, bio);
    SSL_set_msg_callback(e->ssl, on_message);
    SSL_set_info_callback(e->ssl, on_info);
    e->context = tls_context_ref(context);
    e->raw = s->out.len; /* in clear, until now */
    e->encrypted = s->queued;
    memcpy(e->name, name.at != NULL ? name.at : "", name.len);
    e->peer.name = span_of(e->name, name.len);
    s->tls = e;
    return e;
}

bool stream_secure_server(struct stream *s, struct tls_context *context, struct tls_leaf *leaf)
{
    struct tls_end *e = end_new(s, context, SPAN(""));

    if (e == NULL)
        return false;
    SSL_set_accept_state(e->ssl);
    if (context->tickets != NULL && !tls_tickets_ready(context->tickets)) {
        SSL_set_options(e->ssl, SSL_OP_NO_TICKET);
        SSL_set_num_tickets(e->ssl, 0);
    }
    if (leaf != NULL && SSL_use_cert_and_key(e->ssl, leaf->certificate, context->leaf_key, leaf->chain, 1) != 1) {
        ERR_clear_error();
        tls_end_free(s);
        return false;
    }
    e->leaf = leaf != NULL ? tls_leaf_ref(leaf) : NULL;
    e->first = s->kept;
    e->first_len = s->kept_len;
    s->kept = NULL;
    s->kept_len = s->kept_size = 0;
    return true;
}

/* Whom the server must prove to be. */
static bool set_peer(struct tls_end *e, const struct tls_peer *peer)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(e->ssl);

    if (peer->address != NULL) {
        e->address = *peer->address;
        e->peer.address = &e->address;
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (peer->name.len > 0)
        return peer->name.at[0] != '.' && memchr(peer->name.at, '\0', peer->name.len) == NULL &&
               X509_VERIFY_PARAM_set1_host(param, peer->name.at, peer->name.len) == 1 &&
               SSL_set_tlsext_host_name(e->ssl, e->name) == 1;
    return peer->address != NULL &&
           X509_VERIFY_PARAM_set1_ip(param, peer->address->ip, peer->address->family == AF_INET ? 4 : 16) == 1;
}

bool stream_secure_client(struct stream *s, struct tls_context *context, const struct tls_peer *peer)
{
    struct tls_end *e = s->kept_len == 0 ? end_new(s, context, peer->name) : NULL;
    SSL_SESSION *session;

    if (e == NULL)
        return false;
    SSL_set_connect_state(e->ssl);
    if (!set_peer(e, peer)) {
        ERR_clear_error();
        tls_end_free(s);
        return false;
    }
    session = tls_sessions_take(context->sessions, &e->peer, &e->until);
    if (session != NULL)
        SSL_set_session(e->ssl, session);
    e->resumes = session;
    SSL_SESSION_free(session);
    return true;
}

bool stream_is_secure(const struct stream *s)
{
    return s->tls != NULL;
}

bool stream_is_securing(const struct stream *s)
{
    return s->tls != NULL && !s->tls->done;
}

enum tls_failure stream_failure(const struct stream *s)
{
    return s->tls != NULL ? s->tls->failure : TLS_FAILED_NOT;
}

/* A server may choose what we did not offer: OpenSSL does not look. */
static bool is_alpn_ours(const SSL *ssl)
{
    const unsigned char *name;
    unsigned len;

    SSL_get0_alpn_selected(ssl, &name, &len);
    return len == 0 || span_eq(span_of((const char *)name, len), SPAN("http/1.1"));
}

/* TLS 1.2: a ticket that replaced the one that was resumed is told by no callback. */
static void keep_renewed(struct tls_end *e)
{
    SSL_SESSION *now = SSL_get_session(e->ssl);

    if (e->resumes == NULL || !SSL_session_reused(e->ssl) || SSL_version(e->ssl) >= TLS1_3_VERSION || now == e->resumes)
        return;
    if (SSL_SESSION_is_resumable(now) && SSL_SESSION_up_ref(now))
        tls_sessions_put(e->context->sessions, &e->peer, now, e->until);
}

/*
 * Tickets of TLS 1.3 are all that a server still has to say. Where the client's first words came along with the end of its
 * handshake there will be an answer, and tickets share its packet.
 */
static void hold_tickets(struct stream *s)
{
    struct tls_end *e = s->tls;

    if (e->context->server && SSL_version(e->ssl) >= TLS1_3_VERSION && SSL_has_pending(e->ssl))
        e->held = s->out.len;
}

static void end_handshake(struct stream *s)
{
    struct tls_end *e = s->tls;

    e->done = true;
    keep_renewed(e);
    if (SSL_has_pending(e->ssl) || e->first_at < e->first_len)
        tls_ask_again(s);
    if (e->first_at == e->first_len) {
        free(e->first);
        e->first = NULL;
    }
    tls_encrypt(s);
}

enum tls_progress stream_handshake(struct stream *s)
{
    struct tls_end *e = s->tls;
    bool behind = s->out.len > 0; /* the kernel did not take all that was said before */
    int result;

    if (e->done || e->failure != TLS_FAILED_NOT)
        return e->failure == TLS_FAILED_NOT ? TLS_DONE : TLS_FAILED;
    do {
        e->starved = false;
        tls_forget_errors();
        result = SSL_do_handshake(e->ssl);
    } while (result != 1 && SSL_get_error(e->ssl, result) == SSL_ERROR_WANT_READ && !e->starved);
    if (result == 1 && is_alpn_ours(e->ssl)) {
        if (!behind)
            hold_tickets(s);
        end_handshake(s);
    } else if (result == 1 || SSL_get_error(e->ssl, result) != SSL_ERROR_WANT_READ) {
        tls_fail(s);
    }
    stream_flush(s);
    if (e->failure != TLS_FAILED_NOT)
        return TLS_FAILED;
    return e->done ? TLS_DONE : TLS_MORE;
}
