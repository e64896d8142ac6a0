/* SPDX-License-Identifier: ISC */
/*
 * Request targets and hosts. Input: a method, a space, a target. What is accepted must be in normal form: read again it gives
 * itself, it has no dot segment, and every byte may stand in a path (RFC 3986 3.3).
 */
#include "proto/target.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_host(const struct host *h)
{
    char text[HOST_TEXT + 2];
    struct host again;
    struct span name = host_span(h);
    size_t len = 0;

    must(name.len > 0 && name.len < HOST_TEXT && h->name[name.len] == '\0' && h->ip.port == 0);
    if (h->ip.family == AF_INET6)
        text[len++] = '[';
    memcpy(text + len, name.at, name.len);
    len += name.len;
    if (h->ip.family == AF_INET6)
        text[len++] = ']';
    must(host_parse(&again, span_of(text, len)) && host_eq(h, &again) && h->ip.family == again.ip.family);
}

static void check_segment(struct span segment)
{
    must(!span_eq(segment, SPAN(".")) && !span_eq(segment, SPAN("..")));
}

static void check_path(struct span path)
{
    size_t start = 1;

    must(path.len > 0 && path.at[0] == '/');
    for (size_t i = 1; i <= path.len; i++) {
        if (i < path.len && path.at[i] != '/') {
            char c = path.at[i];

            must(c > ' ' && c < 0x7f && strchr("\"#<>?[\\]^`{|}", c) == NULL);
            continue;
        }
        check_segment(span_of(path.at + start, i - start));
        start = i + 1;
    }
    must(target_path_fits(path, path) && target_path_fits(path, SPAN("/*")));
}

static void check_again(const struct target *t)
{
    size_t len = t->path.len + t->query.len;
    char *text = malloc(len), *buffer = malloc(TARGET_BUFFER(len));
    struct target again;

    memcpy(text, t->path.at, t->path.len);
    if (t->query.len > 0)
        memcpy(text + t->path.len, t->query.at, t->query.len);
    must(target_parse(&again, SPAN("GET"), span_of(text, len), buffer, TARGET_BUFFER(len)) == R_NONE);
    must(again.form == TARGET_ORIGIN && span_eq(again.path, t->path) && span_eq(again.query, t->query));
    free(buffer);
    free(text);
}

static void run_target(struct span method, struct span text)
{
    size_t room = TARGET_BUFFER(text.len);
    char *buffer = malloc(room);
    struct target t;

    if (target_parse(&t, method, text, buffer, room) == R_NONE) {
        if (t.form == TARGET_ABSOLUTE || t.form == TARGET_AUTHORITY)
            check_host(&t.host);
        if (t.path.len > 0 && !span_eq(t.path, SPAN("*"))) {
            check_path(t.path);
            check_again(&t);
            must(target_parse(&t, method, text, buffer, t.path.len - 1) != R_NONE);
        }
    }
    free(buffer);
}

static void run_host(struct span text)
{
    static struct host_memo memo;
    struct host h, recalled;
    uint16_t port, recalled_port;
    bool good;

    if (host_parse(&h, text))
        check_host(&h);
    good = host_parse_authority(&h, &port, text);
    if (good)
        check_host(&h);
    must(host_recall_authority(&memo, &recalled, &recalled_port, text) == good);
    must(!good || (host_eq(&h, &recalled) && port == recalled_port));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data, size), method = in;
    const char *space = size > 0 ? memchr(in.at, ' ', in.len) : NULL;

    run_host(in);
    if (space == NULL)
        return 0;
    method.len = (size_t)(space - in.at);
    run_target(method, span_skip(in, method.len + 1));
    run_host(span_skip(in, method.len + 1));
    return 0;
}
