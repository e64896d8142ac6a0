/* SPDX-License-Identifier: ISC */
/*
 * Chunked bodies. The first byte says in which steps the rest arrives, and whether there is a limit. What is decoded, the verdict
 * and the bytes left for the next message do not depend on the steps; and the payload, encoded again as one chunk with the same
 * trailers, is decoded to itself.
 */
#include "require.h"

#include "proto/h1_body.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX 65536

struct decoded {
    enum h1_body_result last;
    enum reason why;
    char payload[INPUT_MAX];
    size_t len, unread;
    struct span trailers;
};

static void decode(struct decoded *out, struct span in, size_t step, uint64_t limit)
{
    struct span window = span_of(in.at, 0), data;
    size_t unread = in.len;
    struct h1_body body;

    h1_body_init(&body, H1_CHUNKED, 0, limit);
    out->len = 0;
    out->why = R_NONE;
    for (;;) {
        out->last = h1_body_next(&body, &window, &data, &out->trailers, &out->why);
        if (out->last == H1_BODY_DATA) {
            REQUIRE(data.len > 0 && data.at >= in.at && data.at + data.len <= window.at);
            memcpy(out->payload + out->len, data.at, data.len);
            out->len += data.len;
        } else if (out->last == H1_BODY_MORE && unread > 0) {
            size_t more = unread < step ? unread : step;

            window.len += more;
            unread -= more;
        } else {
            break;
        }
    }
    out->unread = window.len + unread;
    REQUIRE(h1_body_may_end(&body) == (out->last == H1_BODY_END));
    REQUIRE(limit == 0 || out->len <= limit);
}

static void require_same(const struct decoded *a, const struct decoded *b)
{
    REQUIRE(a->last == b->last && a->why == b->why && a->len == b->len);
    REQUIRE(memcmp(a->payload, b->payload, a->len) == 0);
    REQUIRE(span_eq(a->trailers, b->trailers));
}

static void require_rewritten(const struct decoded *first)
{
    static char text[2 * INPUT_MAX];
    static struct decoded again;
    size_t len = 0;

    if (first->len > 0)
        len = (size_t)sprintf(text, "%zx\r\n", first->len);
    memcpy(text + len, first->payload, first->len);
    len += first->len;
    len += (size_t)sprintf(text + len, "%s0\r\n", first->len > 0 ? "\r\n" : "");
    memcpy(text + len, first->trailers.len > 0 ? first->trailers.at : "", first->trailers.len);
    len += first->trailers.len;
    len += (size_t)sprintf(text + len, "\r\n");
    decode(&again, span_of(text, len), len, 0);
    require_same(first, &again);
    REQUIRE(again.unread == 0);
    REQUIRE(h1_trailers_filter(first->trailers, text) <= first->trailers.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct decoded whole, cut;
    struct span in;
    uint64_t limit;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    in = span_of((const char *)data + 1, size - 1);
    limit = data[0] & 1 ? 64 : 0;
    decode(&whole, in, in.len, limit);
    decode(&cut, in, 1 + data[0] / 2, limit);
    require_same(&whole, &cut);
    if (whole.last != H1_BODY_END)
        return 0;
    REQUIRE(whole.unread == cut.unread);
    require_rewritten(&whole);
    return 0;
}
