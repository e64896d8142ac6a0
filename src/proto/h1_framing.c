/* SPDX-License-Identifier: ISC */
/*
 * How long a message is (RFC 9112 6.3): the question whose two answers are request smuggling. Seeing a field decides, not what
 * another parser made of it, and what the standard lets a recipient guess is refused: a message has one Content-Length or one
 * Transfer-Encoding, the coding is exactly "chunked", and only HTTP/1.1 has it. Checks C9, C10, C12 and C13.
 */
#include "proto/h1_fields.h"

#include "base/mutant.h"

enum reason h1_length_read(struct span value, uint64_t *length)
{
    for (size_t i = 0; i < value.len; i++)
        if (FAULT(C10_DIGITS, value.at[i] < '0' || value.at[i] > '9'))
            return R_FRAMING_AMBIGUOUS;
    if (FAULT(C10_EMPTY, value.len == 0))
        return R_FRAMING_AMBIGUOUS;
    return FAULT(C10_SIZE, value.len > 19 || !span_u64(value, INT64_MAX, length)) ? R_BODY_TOO_LARGE : R_NONE;
}

/* What the message itself says. */
static enum reason read_declared(struct h1_head *head)
{
    const struct h1_field *length = h1_find(head, H1_CONTENT_LENGTH), *coding = h1_find(head, H1_TRANSFER_ENCODING);
    enum reason why = R_NONE;

    head->framing = H1_NO_BODY;
    if (FAULT(C9_COUNT, h1_count(head, H1_CONTENT_LENGTH) + h1_count(head, H1_TRANSFER_ENCODING) > 1))
        return R_FRAMING_AMBIGUOUS;
    if (coding != NULL) {
        head->framing = H1_CHUNKED;
        if (FAULT(C9_VERSION, head->minor == 0) || FAULT(C9_CODING, !span_ieq(coding->value, SPAN("chunked"))))
            why = R_FRAMING_AMBIGUOUS;
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

    if (why == R_NONE && FAULT(C13_BODY, (head->is_connect || head->upgrade) && has_body(head)))
        why = R_FRAMING_AMBIGUOUS;
    return why;
}

/* A 101 ends HTTP on the connection: only if we asked for that, and with nothing that speaks of a body. */
static enum reason switching_check(const struct h1_head *head, const struct h1_asked *asked)
{
    if (FAULT(C13_UNASKED, !asked->upgrade))
        return R_UPGRADE_UNASKED;
    return FAULT(C13_SWITCH, !head->upgrade || head->framing != H1_NO_BODY) ? R_FRAMING_AMBIGUOUS : R_NONE;
}

enum reason h1_framing_response(struct h1_head *head, const struct h1_asked *asked)
{
    bool interim = head->status < 200;
    bool tunnel = asked->connect && head->status >= 200 && head->status < 300;
    enum reason why = read_declared(head);

    if (why == R_NONE && head->status == 101)
        why = switching_check(head, asked);
    if (why == R_NONE && FAULT(C12_BODY, (interim || head->status == 204) && has_body(head)))
        why = R_FRAMING_AMBIGUOUS;
    if (FAULT(C12_HEAD, asked->head) || FAULT(C12_TUNNEL, tunnel) || interim ||
        FAULT(C12_STATUS, head->status == 204 || head->status == 304)) {
        head->framing = H1_NO_BODY;
    } else if (head->framing == H1_NO_BODY) {
        head->framing = H1_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    return why;
}
