/* SPDX-License-Identifier: ISC */
/* Request heads. The first byte says in which steps the rest arrives. */
#include "proto_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_one_length(const struct h1_head *head)
{
    REQUIRE(h1_count(head, H1_CONTENT_LENGTH) + h1_count(head, H1_TRANSFER_ENCODING) <= 1);
    REQUIRE(h1_count(head, H1_HOST) == 1 || (head->minor == 0 && h1_count(head, H1_HOST) == 0));
    REQUIRE(head->framing != H1_UNTIL_CLOSE && head->length <= INT64_MAX);
    REQUIRE((h1_count(head, H1_TRANSFER_ENCODING) == 1) == (head->framing == H1_CHUNKED));
    REQUIRE(!(head->is_connect || head->upgrade) || (head->framing != H1_CHUNKED && head->length == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct h1_head head;
    char text[8192];
    int len;

    if (size < 2 || !read_head(&head, H1_REQUEST, span_of((const char *)data + 1, size - 1), 1 + data[0] % 64, NULL))
        return 0;
    require_one_length(&head);
    len = sprintf(text, "%.*s %.*s HTTP/1.%u\r\n", (int)head.method.len, head.method.at, (int)head.target.len, head.target.at,
                  head.minor);
    require_rewritten(&head, text, (size_t)len, NULL);
    return 0;
}
