/* SPDX-License-Identifier: ISC */
/*
 * How long a message is (RFC 9112 6.3): the question whose two answers are request smuggling. Seeing a field decides, not what
 * another parser made of it, and what the standard lets a recipient guess is refused: a message has one Content-Length or one
 * Transfer-Encoding, the coding is exactly "chunked", and only HTTP/1.1 has it. Checks C9, C10, C12 and C13.
 */
#include "proto/h1_fields.h"

enum reason h1_length_read(struct span value, uint64_t *length)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.at[i] < '0' || value.at[i] > '9')
            return R_FRAMING_AMBIGUOUS;
    if (value.len == 0)
        return R_FRAMING_AMBIGUOUS;
    return value.len <= 19 && span_u64(value, INT64_MAX, length) ? R_NONE : R_BODY_TOO_LARGE;
}

/* What the message itself says. */
static enum reason read_declared(struct h1_head *head)
{
    const struct h1_field *length = h1_find(head, H1_CONTENT_LENGTH), *coding = h1_find(head, H1_TRANSFER_ENCODING);
    enum reason why = R_NONE;

    head->framing = H1_NO_BODY;
    if (h1_count(head, H1_CONTENT_LENGTH) + h1_count(head, H1_TRANSFER_ENCODING) > 1)
        return R_FRAMING_AMBIGUOUS;
    if (coding != NULL) {
        head->framing = H1_CHUNKED;
        why = head->minor == 1 && span_ieq(coding->value, SPAN("chunked")) ? R_NONE : R_FRAMING_AMBIGUOUS;
    } else if (length != NULL) {
        head->framing = H1_LENGTH;
        head->has_length = true;
        why = h1_length_read(length->value, &head->length);
    }
    return why;
}

static bool has_body(const struct h1_head *head)
{
    return head->framing == H1_CHUNKED || head->length > 0;
}

enum reason h1_framing_request(struct h1_head *head)
{
    enum reason why = read_declared(head);

    if (why == R_NONE && (head->is_connect || head->upgrade) && has_body(head))
        why = R_FRAMING_AMBIGUOUS;
    return why;
}

/* A 101 ends HTTP on the connection: only if we asked for that, and with nothing that speaks of a body. */
static enum reason switching_check(const struct h1_head *head, const struct h1_asked *asked)
{
    if (!asked->upgrade)
        return R_UPGRADE_UNASKED;
    return head->upgrade && head->framing == H1_NO_BODY ? R_NONE : R_FRAMING_AMBIGUOUS;
}

enum reason h1_framing_response(struct h1_head *head, const struct h1_asked *asked)
{
    bool interim = head->status < 200;
    bool tunnel = asked->connect && head->status >= 200 && head->status < 300;
    enum reason why = read_declared(head);

    if (why == R_NONE && head->status == 101)
        why = switching_check(head, asked);
    if (why == R_NONE && (interim || head->status == 204) && has_body(head))
        why = R_FRAMING_AMBIGUOUS;
    if (asked->head || tunnel || interim || head->status == 204 || head->status == 304) {
        head->framing = H1_NO_BODY;
    } else if (head->framing == H1_NO_BODY) {
        head->framing = H1_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    return why;
}
