/* SPDX-License-Identifier: ISC */
/* Response heads. The first byte says what was asked (its low three bits: HEAD, CONNECT, upgrade) and in which steps the rest
 * arrives. */
#include "proto_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_framing(const struct h1_head *head, const struct h1_asked *asked)
{
    bool bodyless = asked->head || head->status < 200 || head->status == 204 || head->status == 304;

    REQUIRE(head->status >= 100 && head->status <= 599);
    REQUIRE(!bodyless || head->framing == H1_NO_BODY);
    REQUIRE(head->status != 101 || (asked->upgrade && head->upgrade));
    REQUIRE(head->framing != H1_UNTIL_CLOSE || !head->keep_alive);
    REQUIRE(head->framing != H1_CHUNKED || (head->minor == 1 && !head->has_length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct h1_head head;
    struct h1_asked asked;
    char text[8192];

    if (size < 2)
        return 0;
    asked = (struct h1_asked){ .head = data[0] & 1, .connect = data[0] & 2, .upgrade = data[0] & 4 };
    if (!read_head(&head, H1_RESPONSE, span_of((const char *)data + 1, size - 1), 1 + data[0] / 8, &asked))
        return 0;
    require_framing(&head, &asked);
    require_rewritten(&head, text, (size_t)sprintf(text, "HTTP/1.%u %03u X\r\n", head.minor, head.status), &asked);
    return 0;
}
