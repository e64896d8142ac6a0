/* SPDX-License-Identifier: ISC */
/*
 * The ClientHello of TLS (RFC 8446 4.1.2), read for what a rule can ask of a stream that stays encrypted: the server name (RFC 6066
 * 3), the protocols (ALPN, RFC 7301), the version, and whether there is an Encrypted ClientHello (extension 0xfe0d), which makes
 * the server name the outer one. First the handshake message is put together from its records, then it is read from beginning to
 * end, so that a length that lies shows. Values that nobody knows, GREASE (RFC 8701) included, are skipped. A hello in which two
 * servers could read different names is malformed: the extension twice, more than one name, a name that is none.
 *
 * Each call begins at the first byte: hellos mostly come in one piece, and HELLO_MAX bounds the work when they do not.
 */
#include "proto/hello.h"

#include <string.h>

#define RECORD_HEADER 5
#define RECORD_MAX 16384
#define MESSAGE_HEADER 4
#define TYPE_HANDSHAKE 22
#define TYPE_CLIENT_HELLO 1
#define TLS12 0x0303

enum extension { EXTENSION_SERVER_NAME = 0, EXTENSION_ALPN = 16, EXTENSION_VERSIONS = 43, EXTENSION_ECH = 0xfe0d };

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

static bool read_alpn(struct hello *out, struct reader data)
{
    struct reader list = take_vector(&data, 2, 2, UINT16_MAX);

    if (list.bad || data.left > 0)
        return false;
    out->has_alpn = true;
    while (list.left > 0) {
        struct reader name = take_vector(&list, 1, 1, UINT8_MAX);
        struct span protocol = span_of((const char *)name.at, name.left);

        out->alpn_http1 = out->alpn_http1 || span_eq(protocol, SPAN("http/1.1")) || span_eq(protocol, SPAN("http/1.0"));
        out->alpn_h2 = out->alpn_h2 || span_eq(protocol, SPAN("h2"));
    }
    return !list.bad;
}

/* supported_versions replaces the version field of the hello; what is no TLS version is GREASE or of the future. */
static bool read_versions(struct hello *out, struct reader data)
{
    struct reader list = take_vector(&data, 1, 2, 254);
    unsigned highest = 0;

    while (list.left > 0) {
        unsigned version = take_number(&list, 2);

        if (version >> 8 == 3 && version > highest)
            highest = version;
    }
    out->version = (uint16_t)highest;
    return !list.bad && data.left == 0;
}

static bool read_extension(struct hello *out, unsigned type, struct reader data)
{
    switch (type) {
    case EXTENSION_SERVER_NAME:
        return read_server_name(out, data);
    case EXTENSION_ALPN:
        return read_alpn(out, data);
    case EXTENSION_VERSIONS:
        return read_versions(out, data);
    case EXTENSION_ECH:
        out->has_ech = true;
        return true;
    }
    return true;
}

/* No extension may come twice (RFC 8446 4.2). The set covers types below 64: all that is read here but ECH. */
static bool read_extensions(struct hello *out, struct reader *body)
{
    struct reader list;
    uint64_t seen = 0;

    if (body->left == 0) /* before TLS 1.3 there may be none at all */
        return !body->bad;
    list = take_vector(body, 2, 0, UINT16_MAX);
    while (list.left > 0) {
        unsigned type = take_number(&list, 2);
        struct reader data = take_vector(&list, 2, 0, UINT16_MAX);
        uint64_t bit = type < 64 ? 1ull << type : 0;

        if (list.bad || (seen & bit) != 0 || !read_extension(out, type, data))
            return false;
        seen |= bit;
    }
    return !list.bad && body->left == 0;
}

static bool read_hello(struct hello *out, struct reader body)
{
    unsigned version = take_number(&body, 2);
    struct reader suites;

    out->version = (uint16_t)(version < TLS12 ? version : TLS12);
    body.bad = body.bad || version >> 8 != 3 || body.left < 32;
    for (int i = 0; i < 8; i++)
        take_number(&body, 4); /* the random value */
    take_vector(&body, 1, 0, 32);
    suites = take_vector(&body, 2, 2, 65534);
    take_vector(&body, 1, 1, 255);
    return !body.bad && suites.left % 2 == 0 && read_extensions(out, &body);
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

/*
 * Puts the message together. DONE: it is complete and ends where a record ends; nothing may stand behind it in its record, because
 * a client has nothing to say before the server's answer.
 */
static enum hello_progress assemble(struct span in, uint8_t message[HELLO_MAX], size_t *have)
{
    const uint8_t *at = (const uint8_t *)in.at;
    size_t left = in.len < HELLO_MAX ? in.len : HELLO_MAX;

    *have = 0;
    while (left > 0) {
        size_t len, n, need;

        if (!record_is_good(at, left))
            return HELLO_BAD;
        if (left < RECORD_HEADER)
            break;
        len = (size_t)at[3] << 8 | at[4];
        at += RECORD_HEADER;
        left -= RECORD_HEADER;
        n = len < left ? len : left;
        memcpy(message + *have, at, n);
        *have += n;
        at += n;
        left -= n;
        need = message_length(message, *have);
        if ((*have > 0 && message[0] != TYPE_CLIENT_HELLO) || need > HELLO_MAX || (need > 0 && *have - n + len > need))
            return HELLO_BAD;
        if (need == *have && need > 0)
            return HELLO_DONE;
    }
    return in.len < HELLO_MAX ? HELLO_MORE : HELLO_BAD;
}

enum hello_progress hello_parse(struct span in, struct hello *out)
{
    uint8_t message[HELLO_MAX];
    size_t have;
    enum hello_progress progress = assemble(in, message, &have);

    memset(out, 0, sizeof(*out));
    if (progress != HELLO_DONE)
        return progress;
    return read_hello(out, (struct reader){ message + MESSAGE_HEADER, have - MESSAGE_HEADER, false }) ? HELLO_DONE : HELLO_BAD;
}
