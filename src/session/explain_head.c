/* SPDX-License-Identifier: ISC */
/*
 * From an operator's question to the bytes that a client would send: a request in absolute form to an explicit listener, CONNECT
 * for what is inside TLS, origin form to a listener that the client takes for the server. Nothing is checked here: the head goes
 * through the parser and the checks of live ones.
 */
#include "session/explain_head.h"

#include <string.h>

void explain_url_read(struct explain_url *out, const struct explain_query *query)
{
    struct span url = query->url;
    const char *colon = url.len > 3 ? memmem(url.at, url.len, "://", 3) : NULL;
    struct span rest = colon ? span_skip(url, (size_t)(colon - url.at) + 3) : url;
    size_t n = 0;

    while (n < rest.len && rest.at[n] != '/' && rest.at[n] != '?' && rest.at[n] != '#')
        n++;
    out->scheme = colon ? span_of(url.at, (size_t)(colon - url.at)) : span_of(NULL, 0);
    out->authority = span_of(rest.at, n);
    out->websocket = span_ieq(out->scheme, SPAN("ws")) || span_ieq(out->scheme, SPAN("wss"));
    out->tls = span_ieq(out->scheme, SPAN("https")) || span_ieq(out->scheme, SPAN("wss"));
    out->connect = span_eq(query->method, SPAN("CONNECT"));
}

bool explain_url_target(const struct explain_url *url, struct host *host, uint16_t *port)
{
    if (!host_parse_authority(host, port, url->authority))
        return false;
    if (*port == 0)
        *port = url->tls ? 443 : 80;
    return true;
}

static bool has_field(struct span headers, const char *name)
{
    size_t len = strlen(name);

    while (headers.len > 0) {
        const char *end = memchr(headers.at, '\n', headers.len);
        size_t line = end ? (size_t)(end - headers.at) + 1 : headers.len;

        if (line > len && headers.at[len] == ':' && span_ieq(span_of(headers.at, len), span_str(name)))
            return true;
        headers = span_skip(headers, line);
    }
    return false;
}

static bool has_port(struct span authority)
{
    while (authority.len > 0 && authority.at[authority.len - 1] != ':' && authority.at[authority.len - 1] != ']')
        authority.len--;
    return authority.len > 0 && authority.at[authority.len - 1] == ':';
}

/* CONNECT wants a port; that of TLS need not be said in an URL. */
static void write_connect(const struct explain_url *url, const struct explain_query *query, struct text *t)
{
    bool bare = url->tls && !has_port(url->authority);

    text_format(t, "CONNECT %.*s%s HTTP/1.1\r\n", (int)url->authority.len, url->authority.at, bare ? ":443" : "");
    if (!has_field(query->headers, "Host"))
        text_format(t, "Host: %.*s%s\r\n", (int)url->authority.len, url->authority.at, bare ? ":443" : "");
}

static void write_request(const struct explain_url *url, const struct explain_query *query, enum mode mode, struct text *t)
{
    struct span target = query->url;

    if (mode != MODE_EXPLICIT && url->scheme.len > 0)
        target = span_skip(target, (size_t)(url->authority.at - target.at) + url->authority.len);
    text_put(t, query->method);
    text_put(t, SPAN(" "));
    text_put(t, target.len > 0 ? target : SPAN("/"));
    text_put(t, SPAN(" HTTP/1.1\r\n"));
    if (!has_field(query->headers, "Host"))
        text_field(t, SPAN("Host"), url->authority);
    if (url->websocket && !has_field(query->headers, "Upgrade"))
        text_put(t, SPAN("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"));
}

void explain_head_write(const struct explain_url *url, const struct explain_query *query, enum mode mode, struct text *text)
{
    if (url->tls || url->connect)
        write_connect(url, query, text);
    else
        write_request(url, query, mode, text);
    text_put(text, query->headers);
    text_put(text, SPAN("\r\n"));
}

void explain_head_write_inside(const struct explain_url *url, const struct explain_query *query, struct text *text)
{
    write_request(url, query, MODE_REVERSE, text);
    text_put(text, query->headers);
    text_put(text, SPAN("\r\n"));
}
