/* SPDX-License-Identifier: ISC */
/*
 * Field names, and which fields end here. Names are found by a hash of length, first and last letter that has no collisions among
 * the names below: one comparison a field. Connection options are read by our own parser (C15; llhttp before 9.4.2 misses "close"
 * before a tab). Every field that an option names is dropped, with two exceptions: Host and the framing fields make the head
 * malformed, for dropping them would change which message it is; and fields that we judge or that RFC 9110 7.6.1 forbids to name
 * stay, so that what was judged is what is sent.
 */
#include "proto/h1_fields.h"

#include "base/mutant.h"

#include <string.h>

#define SLOTS 128
/* Names begin and end with a letter, and | 0x20 makes it lower case. Two names in one slot would be a compiler warning. */
#define SLOT(length, first, last)                                                                                                  \
    (((length) + 2u * ((unsigned char)(first) | 0x20u) + 23u * ((unsigned char)(last) | 0x20u)) % SLOTS)
#define NAME(first, last, text, id) [SLOT(sizeof(text) - 1, first, last)] = { { text, sizeof(text) - 1 }, id }

static const struct {
    struct span name;
    enum h1_name id;
} names[SLOTS] = {
    NAME('h', 't', "Host", H1_HOST),
    NAME('c', 'n', "Connection", H1_CONNECTION),
    NAME('c', 'h', "Content-Length", H1_CONTENT_LENGTH),
    NAME('t', 'g', "Transfer-Encoding", H1_TRANSFER_ENCODING),
    NAME('t', 'e', "TE", H1_TE),
    NAME('t', 'r', "Trailer", H1_TRAILER),
    NAME('u', 'e', "Upgrade", H1_UPGRADE),
    NAME('e', 't', "Expect", H1_EXPECT),
    NAME('v', 'a', "Via", H1_VIA),
    NAME('m', 's', "Max-Forwards", H1_MAX_FORWARDS),
    NAME('k', 'e', "Keep-Alive", H1_KEEP_ALIVE),
    NAME('p', 'n', "Proxy-Connection", H1_PROXY_CONNECTION),
    NAME('p', 'n', "Proxy-Authorization", H1_PROXY_AUTHORIZATION),
    NAME('p', 'e', "Proxy-Authenticate", H1_PROXY_AUTHENTICATE),
    NAME('p', 'o', "Proxy-Authentication-Info", H1_PROXY_AUTHENTICATION_INFO),
    NAME('f', 'd', "Forwarded", H1_FORWARDED),
    NAME('x', 'r', "X-Forwarded-For", H1_X_FORWARDED_FOR),
    NAME('x', 't', "X-Forwarded-Host", H1_X_FORWARDED_HOST),
    NAME('x', 'o', "X-Forwarded-Proto", H1_X_FORWARDED_PROTO),
    NAME('x', 'p', "X-Real-IP", H1_X_REAL_IP),
    NAME('h', 's', "HTTP2-Settings", H1_HTTP2_SETTINGS),
    NAME('o', 'n', "Origin", H1_ORIGIN),
    NAME('a', 't', "Accept", H1_ACCEPT),
    NAME('s', 'y', "Sec-WebSocket-Key", H1_WS_KEY),
    NAME('s', 'n', "Sec-WebSocket-Version", H1_WS_VERSION),
    NAME('s', 'l', "Sec-WebSocket-Protocol", H1_WS_PROTOCOL),
    NAME('s', 's', "Sec-WebSocket-Extensions", H1_WS_EXTENSIONS),
    NAME('s', 't', "Sec-WebSocket-Accept", H1_WS_ACCEPT),
    NAME('a', 'n', "Authorization", H1_AUTHORIZATION),
    NAME('w', 'e', "WWW-Authenticate", H1_WWW_AUTHENTICATE),
    NAME('d', 'e', "Date", H1_DATE),
    NAME('s', 'r', "Server", H1_SERVER),
    NAME('c', 'l', "Cache-Control", H1_CACHE_CONTROL),
};

/* The same but for case, and for '_' in the place of '-'. */
static bool is_alike(struct span name, struct span known)
{
    for (size_t i = 0; i < name.len && name.len == known.len; i++)
        if (byte_lower(name.at[i] == '_' ? '-' : name.at[i]) != byte_lower(known.at[i]))
            return false;
    return name.len == known.len;
}

/* Servers that make variables of names (CGI, WSGI) take X_Real_IP for X-Real-IP: who may not say the one says neither. */
enum h1_name h1_name_find(struct span name)
{
    size_t slot = name.len > 0 ? SLOT(name.len, name.at[0], name.at[name.len - 1]) : 0;
    struct span known = names[slot].name;

    if (name.len > 0 && span_ieq(known, name))
        return names[slot].id;
    return known.len > 0 && known.at[0] == 'X' && FAULT(C11_VARIABLE, is_alike(name, known)) ? names[slot].id : H1_OTHER;
}

#define BIT(id) (UINT64_C(1) << (id))

/* Hop-by-hop whether Connection names them or not. */
static const uint64_t hop_by_nature = BIT(H1_CONNECTION) | BIT(H1_TRANSFER_ENCODING) | BIT(H1_TE) | BIT(H1_TRAILER) |
                                      BIT(H1_UPGRADE) | BIT(H1_KEEP_ALIVE) | BIT(H1_PROXY_CONNECTION) |
                                      BIT(H1_PROXY_AUTHORIZATION) | BIT(H1_PROXY_AUTHENTICATE) | BIT(H1_PROXY_AUTHENTICATION_INFO) |
                                      BIT(H1_HTTP2_SETTINGS);
/* May not be named by Connection. */
static const uint64_t framing_or_host = BIT(H1_HOST) | BIT(H1_CONTENT_LENGTH) | BIT(H1_TRANSFER_ENCODING);
/* End-to-end even if Connection names them. */
static const uint64_t end_to_end = BIT(H1_ORIGIN) | BIT(H1_AUTHORIZATION) | BIT(H1_WWW_AUTHENTICATE) | BIT(H1_CACHE_CONTROL) |
                                   BIT(H1_DATE) | BIT(H1_WS_KEY) | BIT(H1_WS_VERSION) | BIT(H1_WS_PROTOCOL) |
                                   BIT(H1_WS_EXTENSIONS) | BIT(H1_WS_ACCEPT);

/* The options of all Connection fields: three that have a meaning of their own, all others as names of fields. */
struct options {
    bool close, keep_alive, upgrade;
    size_t count, other_count;
    uint64_t known;                    /* BIT() of the names that we know */
    struct span other[H1_OPTIONS_MAX]; /* and the names that we do not */
};

static enum reason take_option(struct options *o, struct span option)
{
    enum h1_name id = h1_name_find(option);

    if (FAULT(C15_TOKEN, !span_is_token(option)) || o->count++ == H1_OPTIONS_MAX || FAULT(C15_FRAMING, BIT(id) & framing_or_host))
        return R_HEAD_MALFORMED;
    if (FAULT(C15_CLOSE, span_ieq(option, SPAN("close"))))
        o->close = true;
    else if (span_ieq(option, SPAN("keep-alive")))
        o->keep_alive = true;
    else if (id == H1_UPGRADE)
        o->upgrade = true;
    else if (FAULT(C15_NAMED, id == H1_OTHER))
        o->other[o->other_count++] = option;
    else if (!(BIT(id) & end_to_end))
        o->known |= BIT(id);
    return R_NONE;
}

/* Empty members are none (RFC 9110 5.6.1.2). */
static enum reason read_options(const struct h1_head *head, struct options *o)
{
    enum reason why = R_NONE;
    struct span list, option;

    for (size_t i = 0; i < head->field_count && why == R_NONE; i++) {
        if (head->fields[i].id != H1_CONNECTION)
            continue;
        list = head->fields[i].value;
        while (why == R_NONE && span_next_item(&list, &option))
            why = option.len > 0 ? take_option(o, option) : R_NONE;
    }
    return why;
}

static bool is_named(const struct options *o, const struct h1_field *field)
{
    if (field->id != H1_OTHER)
        return (o->known & BIT(field->id)) != 0;
    for (size_t i = 0; i < o->other_count; i++)
        if (span_ieq(o->other[i], field->name))
            return true;
    return false;
}

static enum reason read_hop(struct h1_head *head)
{
    struct options o = { .count = 0 };
    enum reason why = read_options(head, &o);
    const struct h1_field *upgrade = h1_find(head, H1_UPGRADE);

    for (size_t i = 0; i < head->field_count; i++)
        head->fields[i].hop = (BIT(head->fields[i].id) & hop_by_nature) || is_named(&o, &head->fields[i]);
    head->keep_alive = !o.close && (head->minor == 1 || o.keep_alive);
    head->upgrade = o.upgrade && upgrade != NULL && head->minor == 1;
    head->upgrade_websocket = head->upgrade && h1_count(head, H1_UPGRADE) == 1 && span_ieq(upgrade->value, SPAN("websocket"));
    return why;
}

enum reason h1_connection_read(struct h1_head *head)
{
    if (head->names & hop_by_nature) /* Connection is one of them */
        return read_hop(head);
    head->keep_alive = head->minor == 1; /* `hop` and `upgrade` are false from the beginning */
    return R_NONE;
}

/* The scheme that a challenge or credentials begin with; of a list of parameters, one of those. */
static bool is_of_connection(struct span item)
{
    const char *space = item.len > 0 ? memchr(item.at, ' ', item.len) : NULL;
    struct span scheme = span_of(item.at, space != NULL ? (size_t)(space - item.at) : item.len);

    return span_ieq(scheme, SPAN("negotiate")) || span_ieq(scheme, SPAN("ntlm"));
}

bool h1_logs_in(const struct h1_head *head)
{
    struct span list, item;

    if (!h1_has(head, H1_AUTHORIZATION) && !h1_has(head, H1_WWW_AUTHENTICATE))
        return false;
    for (size_t i = 0; i < head->field_count; i++) {
        list = head->fields[i].value;
        if (head->fields[i].id != H1_AUTHORIZATION && head->fields[i].id != H1_WWW_AUTHENTICATE)
            continue;
        while (span_next_item(&list, &item))
            if (is_of_connection(item))
                return true;
    }
    return false;
}
