/* SPDX-License-Identifier: ISC */
/*
 * First bytes and ClientHellos. Both parsers see the input grow: once they have decided, more bytes must not change it. The same
 * message in records of one size must read the same; a server name is a name in normal form.
 */
#include "proto/hello.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static enum hello_progress parse(struct span in, struct hello *out)
{
    char *block = malloc(in.len + 1);
    enum hello_progress progress;

    if (in.len > 0)
        memcpy(block, in.at, in.len);
    progress = hello_parse(span_of(block, in.len), out);
    free(block);
    return progress;
}

static void check_facts(const struct hello *h)
{
    struct host again;

    must(h->has_alpn || !(h->alpn_h2 || h->alpn_http1));
    must(strlen(h->ja4) == 36 && h->ja4[3] == (h->has_sni ? 'd' : 'i') && h->ja4[10] == '_' && h->ja4[23] == '_');
    if (h->has_sni)
        must(h->sni.ip.family == 0 && host_parse(&again, host_span(&h->sni)) && host_eq(&again, &h->sni));
}

static void check_same(const struct hello *a, const struct hello *b)
{
    must(a->has_sni == b->has_sni && a->has_alpn == b->has_alpn && a->has_ech == b->has_ech && a->version == b->version);
    must(strcmp(a->ja4, b->ja4) == 0);
    must(a->alpn_h2 == b->alpn_h2 && a->alpn_http1 == b->alpn_http1 && (!a->has_sni || host_eq(&a->sni, &b->sni)));
}

static void check_growth(struct span in, enum hello_progress whole, const struct hello *facts)
{
    size_t step = 1 + in.len / 64, wanted = 0;

    for (size_t n = 0; n < in.len; n += step) {
        struct hello h;
        enum hello_progress progress = parse(span_of(in.at, n), &h);

        must(progress != HELLO_DONE || n >= wanted);
        must(progress != HELLO_MORE || (h.wanted > n && h.wanted <= HELLO_MAX));
        if (progress == HELLO_MORE && h.wanted > wanted)
            wanted = h.wanted;

        if (progress == HELLO_DONE)
            check_same(&h, facts);
        must(progress == HELLO_MORE || progress == whole);
    }
    must(whole != HELLO_DONE || in.len >= wanted);
}

static void check_sniff(struct span in)
{
    enum sniff any = sniff_bytes(in), on_explicit = sniff_explicit(in);

    must(on_explicit != SNIFF_OTHER && (any == SNIFF_OTHER || any == SNIFF_MORE || any == on_explicit));
    for (size_t n = 0; n < in.len && n < 16; n++) {
        enum sniff before = sniff_bytes(span_of(in.at, n));

        must(before == SNIFF_MORE || before == any);
        before = sniff_explicit(span_of(in.at, n));
        must(before == SNIFF_MORE || before == on_explicit);
    }
}

/* The input again, as one message spread over records of 100 bytes. */
static void check_records(struct span in)
{
    char records[5 * 6 + 512], whole[5 + 512];
    size_t len = 0;
    struct hello a, b;

    if (in.len > 512 || in.len == 0)
        return;
    memcpy(whole, "\x16\x03\x01", 3);
    whole[3] = (char)(in.len >> 8);
    whole[4] = (char)in.len;
    memcpy(whole + 5, in.at, in.len);
    for (size_t i = 0; i < in.len; i += 100) {
        size_t n = in.len - i < 100 ? in.len - i : 100;

        memcpy(records + len, "\x16\x03\x01\x00", 4);
        records[len + 4] = (char)n;
        memcpy(records + len + 5, in.at + i, n);
        len += 5 + n;
    }
    if (parse(span_of(whole, 5 + in.len), &a) != HELLO_DONE)
        return;
    must(parse(span_of(records, len), &b) == HELLO_DONE);
    check_same(&a, &b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data, size);
    struct hello h;
    enum hello_progress progress = parse(in, &h);

    if (progress == HELLO_DONE)
        check_facts(&h);
    check_growth(in, progress, &h);
    check_sniff(in);
    check_records(span_skip(in, 5));
    return 0;
}
