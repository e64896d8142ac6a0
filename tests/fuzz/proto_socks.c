/* SPDX-License-Identifier: ISC */
/*
 * SOCKS 5. Each parser sees the input grow byte by byte: it may only say MORE until it decides, and must not change its mind then.
 * An accepted request has a host in normal form.
 */
#include "proto/socks.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

struct outcome {
    enum socks_progress progress;
    size_t used;
    enum reason why;
    enum socks_reply reply;
    struct socks_request request;
};

static struct outcome greeting(struct span in)
{
    struct outcome o = { .reply = SOCKS_SUCCEEDED };

    o.progress = socks_greeting(in, &o.used, &o.why);
    return o;
}

static struct outcome request(struct span in)
{
    struct outcome o = { .reply = SOCKS_SUCCEEDED };

    o.progress = socks_request(in, &o.request, &o.used, &o.reply, &o.why);
    must((o.progress == SOCKS_BAD) == (o.reply != SOCKS_SUCCEEDED));
    if (o.progress == SOCKS_DONE)
        must(o.request.port != 0 && o.request.host.len > 0);
    return o;
}

static void check_growth(struct span in, struct outcome (*parse)(struct span in))
{
    struct outcome whole = parse(in);
    bool decided = false;

    must(whole.used <= in.len && (whole.progress == SOCKS_BAD) == (whole.why != R_NONE));
    for (size_t n = 0; n < in.len; n++) {
        char *block = malloc(n + 1);
        struct outcome o;

        memcpy(block, in.at, n);
        o = parse(span_of(block, n));
        free(block);
        must(o.used <= n);
        if (o.progress == SOCKS_MORE) {
            must(!decided);
            continue;
        }
        decided = true;
        must(o.progress == whole.progress && o.used == whole.used && o.why == whole.why && o.reply == whole.reply);
        if (o.progress == SOCKS_DONE)
            must(host_eq(&o.request.host, &whole.request.host) && o.request.port == whole.request.port);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data, size < 300 ? size : 300);

    check_growth(in, greeting);
    check_growth(in, request);
    return 0;
}
