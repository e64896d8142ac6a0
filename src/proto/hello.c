/* SPDX-License-Identifier: ISC */
/*
 * The ClientHello of TLS (RFC 8446 4.1.2), read for what a rule can ask before anything is decrypted: the server name (RFC 6066 3),
 * the protocols (ALPN, RFC 7301), the version, the client's fingerprint (proto/ja4.h), and whether there is an Encrypted
 * ClientHello (extension 0xfe0d), which makes the server name the outer one. First the handshake message is put together from its
 * records, then it is read from beginning to end, so that a length that lies shows. Values that nobody knows, GREASE (RFC 8701)
 * included, are skipped. A hello in which two servers could read different names is malformed: an extension twice, more than one
 * name, a name that is none.
 *
 * No state is kept between calls. A call on a hello that is not complete only looks at the headers of its records, and says how
 * much must come before another look is worth while: who heeds that spends linear time on a hello that comes byte by byte, in
 * records of one byte. HELLO_MAX bounds the rest.
 */
#include "proto/hello.h"

#include "proto/ja4.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_HEADER 5
#define RECORD_MAX 16384
#define MESSAGE_HEADER 4
#define TYPE_HANDSHAKE 22
#define TYPE_CLIENT_HELLO 1
#define TLS12 0x0303
#define VALUES_MAX (HELLO_MAX / 2) /* numbers of two bytes in a hello */

enum extension {
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_SIGNATURES = 13,
    EXTENSION_ALPN = 16,
    EXTENSION_PRE_SHARED_KEY = 41,
    EXTENSION_VERSIONS = 43,
    EXTENSION_ECH = 0xfe0d
};

/* What the fingerprint is made of. One array holds all numbers: a hello has no room for more. */
struct collected {
    struct ja4_input ja4;
    uint16_t values[VALUES_MAX];
    size_t count;
};

/* What is left to read. Reading past the end reads zeros and leaves `bad` behind, to be asked once. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static unsigned take_number(struct reader *r, size_t bytes)
{
    unsigned value = 0;

    if (r->left < bytes) {
        r->bad = true;
        r->left = 0;
        return 0;
    }
    r->left -= bytes;
    while (bytes-- > 0)
        /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): assemble() has filled what read_hello() is shown */
        value = value << 8 | *r->at++;
    return value;
}

/* A vector with a length in front (RFC 8446 3.4), as a reader of its own. */
static struct reader take_vector(struct reader *r, size_t length_bytes, size_t min, size_t max)
{
    size_t len = take_number(r, length_bytes);
    struct reader vector = { r->at, len, false };

    if (r->bad || len > r->left || len < min || len > max) {
        r->bad = true;
        r->left = 0;
        return (struct reader){ NULL, 0, true };
    }
    r->at += len;
    r->left -= len;
    return vector;
}

/* ServerNameList: exactly one host_name, and no other kind of name is defined. */
static bool read_server_name(struct hello *out, struct reader data)
{
    struct reader list = take_vector(&data, 2, 1, UINT16_MAX);
    unsigned type = take_number(&list, 1);
    struct reader name = take_vector(&list, 2, 1, UINT16_MAX);

    if (type != 0 || list.bad || list.left > 0 || data.left > 0)
        return false;
    out->has_sni = true;
    return host_parse(&out->sni, span_of((const char *)name.at, name.left)) && out->sni.ip.family == 0;
}

/* Numbers of two bytes to the end of the vector; false if a byte is left over. */
static bool collect(struct collected *c, struct reader list)
{
    while (list.left > 0 && c->count < VALUES_MAX)
        c->values[c->count++] = (uint16_t)take_number(&list, 2);
    return !list.bad && list.left == 0;
}

static bool read_signatures(struct collected *c, struct reader data)
{
    struct reader list = take_vector(&data, 2, 2, 65534);

    c->ja4.signatures = &c->values[c->count];
    if (list.bad || data.left > 0 || !collect(c, list))
        return false;
    c->ja4.signature_count = (size_t)(&c->values[c->count] - c->ja4.signatures);
    return true;
}

static bool read_alpn(struct hello *out, struct collected *c, struct reader data)
{
    struct reader list = take_vector(&data, 2, 2, UINT16_MAX);

    if (list.bad || data.left > 0)
        return false;
    out->has_alpn = true;
    while (list.left > 0) {
        struct reader name = take_vector(&list, 1, 1, UINT8_MAX);
        struct span protocol = span_of((const char *)name.at, name.left);

        if (c->ja4.alpn.len == 0)
            c->ja4.alpn = protocol;
        out->alpn_http1 = out->alpn_http1 || span_eq(protocol, SPAN("http/1.1")) || span_eq(protocol, SPAN("http/1.0"));
        out->alpn_h2 = out->alpn_h2 || span_eq(protocol, SPAN("h2"));
    }
    return !list.bad;
}

/* supported_versions replaces the version field of the hello; what is no TLS version is GREASE or of the future. */
static bool read_versions(struct hello *out, struct collected *c, struct reader data)
{
    struct reader list = take_vector(&data, 1, 2, 254);
    unsigned highest = 0, known = 0;

    while (list.left > 0) {
        unsigned version = take_number(&list, 2);

        if (version >> 8 == 3 && version > known)
            known = version;
        if (!ja4_is_grease(version) && version > highest)
            highest = version;
    }
    out->version = (uint16_t)known;
    c->ja4.version = (uint16_t)highest;
    return !list.bad && data.left == 0;
}

static bool read_extension(struct hello *out, struct collected *c, unsigned type, struct reader data, bool is_last)
{
    switch (type) {
    case EXTENSION_SERVER_NAME:
        return read_server_name(out, data);
    case EXTENSION_SIGNATURES:
        return read_signatures(c, data);
    case EXTENSION_ALPN:
        return read_alpn(out, c, data);
    case EXTENSION_PRE_SHARED_KEY:
        return is_last; /* RFC 8446 4.2.11 */
    case EXTENSION_VERSIONS:
        return read_versions(out, c, data);
    case EXTENSION_ECH:
        out->has_ech = true;
        return true;
    }
    return true;
}

static int ascending(const void *a, const void *b)
{
    const uint16_t *x = a, *y = b;

    return (int)*x - (int)*y;
}

/* No extension may come twice (RFC 8446 4.2). */
static bool is_twice(uint16_t *types, size_t count)
{
    qsort(types, count, sizeof(*types), ascending);
    for (size_t i = 1; i < count; i++)
        if (types[i] == types[i - 1])
            return true;
    return false;
}

/* First their types, then what is in them. */
static bool read_extensions(struct hello *out, struct collected *c, struct reader *body)
{
    struct reader list, again;

    if (body->left == 0) /* before TLS 1.3 there may be none at all */
        return !body->bad;
    again = list = take_vector(body, 2, 0, UINT16_MAX);
    c->ja4.extensions = &c->values[c->count];
    while (list.left > 0 && c->count < VALUES_MAX) {
        c->values[c->count++] = (uint16_t)take_number(&list, 2);
        take_vector(&list, 2, 0, UINT16_MAX);
    }
    c->ja4.extension_count = (size_t)(&c->values[c->count] - c->ja4.extensions);
    if (list.bad || list.left > 0 || body->left > 0 || is_twice(c->ja4.extensions, c->ja4.extension_count))
        return false;
    while (again.left > 0) {
        unsigned type = take_number(&again, 2);
        struct reader data = take_vector(&again, 2, 0, UINT16_MAX);

        if (!read_extension(out, c, type, data, again.left == 0))
            return false;
    }
    return true;
}

static bool read_hello(struct hello *out, struct reader body)
{
    unsigned version = take_number(&body, 2);
    UNINITIALIZED struct collected c; /* large: what counts is set below */
    struct reader suites;

    memset(&c.ja4, 0, sizeof(c.ja4));
    c.count = 0;
    out->version = (uint16_t)(version < TLS12 ? version : TLS12);
    c.ja4.version = (uint16_t)version;
    body.bad = body.bad || version >> 8 != 3 || body.left < 32;
    for (int i = 0; i < 8; i++)
        take_number(&body, 4); /* the random value */
    take_vector(&body, 1, 0, 32);
    suites = take_vector(&body, 2, 2, 65534);
    take_vector(&body, 1, 1, 255);
    c.ja4.suites = c.ja4.extensions = c.values;
    if (body.bad || !collect(&c, suites))
        return false;
    c.ja4.suite_count = c.count;
    if (!read_extensions(out, &c, &body))
        return false;
    c.ja4.has_sni = out->has_sni;
    return ja4_write(&c.ja4, out->ja4);
}

/* Length of the whole handshake message as its header says; 0 while that is not there. */
static size_t message_length(const uint8_t *message, size_t have)
{
    if (have < MESSAGE_HEADER)
        return 0;
    return MESSAGE_HEADER + ((size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3]);
}

static bool record_is_good(const uint8_t *at, size_t available)
{
    size_t len = available >= RECORD_HEADER ? (size_t)at[3] << 8 | at[4] : 1;

    return (available < 1 || at[0] == TYPE_HANDSHAKE) && (available < 2 || at[1] == 3) && (available < 3 || at[2] <= 4) &&
           len >= 1 && len <= RECORD_MAX;
}

/* How far the records were walked over. */
struct walk {
    const uint8_t *at;
    size_t left;
    uint8_t head[MESSAGE_HEADER]; /* of the message, as far as it is there */
    size_t have, need;            /* bytes of the message; need 0: not known yet */
    size_t rest;                  /* of the record that is not complete */
    size_t records;
};

/* One record; DONE: the message ends with it. Nothing may stand behind it in its record: a client has nothing to say before the
 * server's answer. */
static enum hello_progress walk_record(struct walk *w)
{
    size_t len = (size_t)w->at[3] << 8 | w->at[4], n;

    w->at += RECORD_HEADER;
    w->left -= RECORD_HEADER;
    n = len < w->left ? len : w->left;
    for (size_t i = 0; i < n && w->have + i < MESSAGE_HEADER; i++)
        w->head[w->have + i] = w->at[i];
    w->have += n;
    w->at += n;
    w->left -= n;
    w->rest = len - n;
    w->records++;
    w->need = message_length(w->head, w->have);
    if ((w->have > 0 && w->head[0] != TYPE_CLIENT_HELLO) || w->need > HELLO_MAX || (w->need > 0 && w->have + w->rest > w->need))
        return HELLO_BAD;
    return w->need > 0 && w->need == w->have ? HELLO_DONE : HELLO_MORE;
}

/* The fewest bytes that are still to come: the rest of the message, and the header of one more record if it does not fit in this.
 */
static size_t still_missing(const struct walk *w)
{
    size_t message = (w->need > 0 ? w->need : MESSAGE_HEADER) - w->have;

    return message + (message > w->rest ? RECORD_HEADER - w->left : 0);
}

static enum hello_progress walk_records(struct span in, struct walk *w, size_t *wanted)
{
    *w = (struct walk){ .at = (const uint8_t *)in.at, .left = in.len < HELLO_MAX ? in.len : HELLO_MAX };
    while (w->left > 0) {
        enum hello_progress progress;

        if (!record_is_good(w->at, w->left))
            return HELLO_BAD;
        if (w->left < RECORD_HEADER)
            break;
        progress = walk_record(w);
        if (progress != HELLO_MORE)
            return progress;
    }
    *wanted = in.len + still_missing(w);
    return *wanted <= HELLO_MAX ? HELLO_MORE : HELLO_BAD;
}

/* The message of records that were walked over, put together in `block`. */
static void assemble(struct span in, const struct walk *w, uint8_t *block)
{
    const uint8_t *at = (const uint8_t *)in.at;

    for (size_t have = 0; have < w->need;) {
        size_t len = (size_t)at[3] << 8 | at[4];

        memcpy(block + have, at + RECORD_HEADER, len);
        at += RECORD_HEADER + len;
        have += len;
    }
}

static bool read_spread(struct hello *out, struct span in, const struct walk *w)
{
    UNINITIALIZED uint8_t block[HELLO_MAX];

    assemble(in, w, block);
    return read_hello(out, (struct reader){ block + MESSAGE_HEADER, w->need - MESSAGE_HEADER, false });
}

enum hello_progress hello_parse(struct span in, struct hello *out)
{
    struct walk w;
    enum hello_progress progress;
    bool good;

    memset(out, 0, sizeof(*out));
    progress = walk_records(in, &w, &out->wanted);
    if (progress != HELLO_DONE)
        return progress;
    if (w.records > 1)
        good = read_spread(out, in, &w);
    else
        good = read_hello(out, (struct reader){ w.at - w.need + MESSAGE_HEADER, w.need - MESSAGE_HEADER, false });
    return good ? HELLO_DONE : HELLO_BAD;
}
