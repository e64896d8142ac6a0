/* SPDX-License-Identifier: ISC */
/*
 * Secured streams: OpenSSL between the owner and the socket. Its BIO reads with one large recv() and notes in can_read what a short
 * one says, so that no system call is made only to hear EAGAIN; what it writes goes into the stream's output, so that several
 * records leave together and nothing ever waits inside of OpenSSL.
 *
 * Plaintext waits in `plain` until a flush or a large send: heads and what follows them share a record. It stays there while a
 * handshake is under way, or when half a handshake message lies in OpenSSL, which then writes nothing.
 *
 * The end is told as for plain streams: by a read that brings nothing. An end of the socket without close_notify is an end, too,
 * and `truncated` says so; whatever else is wrong is a failure.
 */
#include "net/tls_end.h"

#include <openssl/err.h>
#include <string.h>

#define RECORD 16384u

/* The BIO. */

static int on_bio_read(BIO *bio, char *out, size_t size, size_t *got)
{
    struct stream *s = BIO_get_data(bio);
    struct tls_end *e = s->tls;
    ssize_t n = STREAM_NOTHING;

    BIO_clear_retry_flags(bio);
    if (e->first_at < e->first_len) {
        *got = e->first_len - e->first_at < size ? e->first_len - e->first_at : size;
        memcpy(out, e->first + e->first_at, *got);
        e->first_at += (uint32_t)*got;
        return 1;
    }
    if (e->flooded || e->raw_eof || e->raw_failed)
        return 0;
    if (s->can_read)
        n = stream_recv(s, out, size);
    *got = n > 0 ? (size_t)n : 0;
    e->raw_eof = n == 0;
    e->raw_failed = n == STREAM_ERROR;
    if (n == STREAM_NOTHING) {
        e->starved = true;
        BIO_set_retry_read(bio);
    }
    return n > 0;
}

static int on_bio_write(BIO *bio, const char *data, size_t len, size_t *done)
{
    struct stream *s = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (!s->broken && !chunks_add(&s->out, s->loop, data, len))
        return 0;
    if (!s->broken)
        s->tls->raw += len;
    *done = len;
    return 1;
}

static long on_bio_ctrl(BIO *bio, int what, long number, void *arg)
{
    (void)bio;
    (void)number;
    (void)arg;
    return what == BIO_CTRL_FLUSH;
}

BIO *tls_bio_new(struct stream *s)
{
    static BIO_METHOD *method;
    BIO *bio;

    if (method == NULL) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
        if (method == NULL)
            return NULL;
        BIO_meth_set_read_ex(method, on_bio_read);
        BIO_meth_set_write_ex(method, on_bio_write);
        BIO_meth_set_ctrl(method, on_bio_ctrl);
    }
    bio = BIO_new(method);
    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    return bio;
}

/* What lies in OpenSSL's queue would be taken for the next call's error. It is empty nearly always, and clearing it costs more. */
void tls_forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* Reading. */

void tls_ask_again(struct stream *s)
{
    s->tls->ready = true;
    loop_again(s->loop, &s->again);
}

/* Neither OpenSSL nor the socket has more: asking would cost a buffer, and bring nothing. */
static bool is_empty(const struct stream *s)
{
    const struct tls_end *e = s->tls;

    return !s->can_read && e->first_at == e->first_len && !e->flooded && !e->raw_eof && !e->raw_failed && !SSL_has_pending(e->ssl);
}

/* OpenSSL returned no bytes. Is there more to read? */
static bool goes_on(struct stream *s, int result)
{
    struct tls_end *e = s->tls;

    switch (SSL_get_error(e->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return !e->starved; /* a message after the handshake was all */
    case SSL_ERROR_ZERO_RETURN:
        e->over = TLS_EOF;
        return false;
    default:
        if (e->raw_eof && e->alert == 0)
            e->over = TLS_TRUNCATED;
        else
            tls_fail(s);
        return false;
    }
}

/* The end, told to the owner. */
static void tell_over(struct stream *s)
{
    s->can_read = false;
    s->flooded = s->tls->flooded;
    s->truncated = s->tls->over == TLS_TRUNCATED;
    s->eof = s->tls->over != TLS_BROKEN;
    s->failed = s->tls->over == TLS_BROKEN || s->broken;
}

size_t tls_read(struct stream *s, char *at, size_t room)
{
    struct tls_end *e = s->tls;
    size_t got = 0;

    if (!e->done)
        return 0;
    e->ready = false;
    while (got < room && e->over == TLS_GOES_ON) {
        size_t n = 0;
        int result;

        e->starved = false;
        tls_forget_errors();
        result = SSL_read_ex(e->ssl, at + got, room - got, &n);
        got += n;
        if (e->flooded)
            tls_fail(s);
        else if (result == 1 ? is_empty(s) : !goes_on(s, result))
            break;
    }
    stream_send_out(s); /* answers of OpenSSL: alerts, KeyUpdate */
    s->received += got;
    if (got == 0 && e->over != TLS_GOES_ON)
        tell_over(s);
    else if (got == room || e->over != TLS_GOES_ON)
        tls_ask_again(s);
    return got;
}

int tls_look(struct stream *s)
{
    struct tls_end *e = s->tls;
    bool found = false;

    if (!e->done)
        return 0;
    s->can_read = true;
    e->ready = false;
    while (!found && e->over == TLS_GOES_ON) {
        size_t n = 0;
        char byte;
        int result;

        e->starved = false;
        tls_forget_errors();
        result = SSL_peek_ex(e->ssl, &byte, 1, &n);
        found = result == 1;
        if (e->flooded)
            tls_fail(s);
        else if (!found && !goes_on(s, result))
            break;
    }
    stream_send_out(s);
    if (found || e->over != TLS_GOES_ON)
        tls_ask_again(s);
    return found ? 1 : e->over != TLS_GOES_ON ? -1 : 0;
}

/* Writing. */

static void note_mark(struct stream *s)
{
    if (!s->mark.set || s->mark.written || s->tls->encrypted < s->mark.at)
        return;
    s->mark.written = true;
    s->mark.raw = s->tls->raw;
}

/* Encrypts as much as OpenSSL takes; returns how much that was. */
static size_t encrypt(struct stream *s, const char *data, size_t len)
{
    struct tls_end *e = s->tls;
    size_t done = 0;

    while (done < len && !s->broken) {
        size_t n = 0;
        int result;

        e->starved = false;
        tls_forget_errors();
        result = SSL_write_ex(e->ssl, data + done, len - done < RECORD ? len - done : RECORD, &n);
        done += n;
        e->encrypted += n;
        note_mark(s);
        if (result == 1)
            continue;
        if (SSL_get_error(e->ssl, result) == SSL_ERROR_WANT_READ)
            break;
        tls_fail(s);
        tls_ask_again(s);
    }
    return done;
}

static void say_goodbye(struct stream *s)
{
    struct tls_end *e = s->tls;

    if (e->goodbye || e->plain.len > 0)
        return;
    e->goodbye = true;
    tls_forget_errors();
    if (!s->broken)
        SSL_shutdown(e->ssl);
}

void tls_encrypt(struct stream *s)
{
    struct chunks *plain = &s->tls->plain;

    if (!s->tls->done) {
        s->tls->goodbye |= s->shut && plain->len == 0; /* a handshake that is given up: nobody waits for close_notify */
        return;
    }
    while (plain->first != NULL) {
        struct chunk *c = plain->first;
        size_t len = c->end - c->start, n = encrypt(s, c->data + c->start, len);

        if (s->broken)
            return; /* all was dropped */
        chunks_take(plain, s->loop, n);
        if (n < len)
            return;
    }
    if (s->shut)
        say_goodbye(s);
}

bool tls_put(struct stream *s, struct span data)
{
    return chunks_add(&s->tls->plain, s->loop, data.at, data.len);
}

/* What waits is filled up to a whole record; the rest is encrypted from where it lies. */
bool tls_send(struct stream *s, struct span data)
{
    struct tls_end *e = s->tls;
    size_t n = 0;

    if (e->plain.last != NULL)
        n = CHUNK_BYTES - e->plain.last->end;
    n = n < data.len ? n : data.len;
    if (!chunks_add(&e->plain, s->loop, data.at, n))
        return false;
    data = span_skip(data, n);
    tls_encrypt(s);
    if (e->done && e->plain.len == 0 && !s->broken)
        data = span_skip(data, encrypt(s, data.at, data.len));
    if (!s->broken && !chunks_add(&e->plain, s->loop, data.at, data.len))
        return false;
    stream_send_out(s);
    return true;
}

void tls_farewell(struct stream *s)
{
    struct tls_end *e = s->tls;

    if (!e->done || e->over == TLS_BROKEN || s->broken)
        return;
    e->held = 0;
    tls_encrypt(s);
    if (s->out.len > 0)
        stream_send_out(s);
    if (s->out.len > 0 || e->plain.len > 0)
        return;
    say_goodbye(s);
    stream_send_out(s);
}
