/* SPDX-License-Identifier: ISC */
/*
 * Message heads: llhttp as the tokenizer, and the judgement over its tokens. This is the only file that sees llhttp. It gets a
 * complete head that h1_scan() has found good, in one piece and in a fresh parser, with no lenient flag, and is stopped where the
 * head ends: it never reads a body, never decides a length and never keeps state between messages (each of these has been a
 * vulnerability). Its callbacks only note where tokens are; what fields mean is decided in h1_fields.c and h1_framing.c. Called by
 * the session for every head from either side.
 */
#include "proto/h1_fields.h"

#include "base/mutant.h"

#include <llhttp.h>
#include <string.h>

#if LLHTTP_VERSION_MAJOR < 9 && !LLHTTP_STRICT_MODE
#error "llhttp before 9 must be compiled with -DLLHTTP_STRICT_MODE=1 in every unit: its loose mode lets requests be smuggled"
#endif

/* One run of the tokenizer. `why` is the reason for which a callback stopped it. */
struct reading {
    struct h1_head *head;
    const struct h1_limits *limits;
    enum reason why;
};

static int stop(struct reading *r, enum reason why)
{
    r->why = why;
    return HPE_USER;
}

static int on_method(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *r = parser->data;

    r->head->method = span_of(at, len);
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *r = parser->data;

    r->head->target = span_of(at, len);
    return FAULT(C3_URI, len > r->limits->uri_bytes) ? stop(r, R_URI_TOO_LONG) : 0;
}

/* An empty name passes through llhttp 8. */
static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *r = parser->data;
    struct h1_head *head = r->head;
    struct span name = span_of(at, len);

    if (FAULT(C8_EMPTY, len == 0))
        return stop(r, R_HEAD_MALFORMED);
    if (FAULT(C3_NAME, len > H1_NAME_BYTES) || head->field_count == H1_FIELDS_MAX ||
        FAULT(C3_FIELDS, head->field_count == r->limits->header_count))
        return stop(r, R_HEAD_TOO_LARGE);
    h1_add(head, (struct h1_field){ name, span_of(at + len, 0), h1_name_find(name), false });
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *r = parser->data;

    r->head->fields[r->head->field_count - 1].value = span_trim(span_of(at, len));
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_method = on_method,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

/* llhttp stopped inside a Content-Length: is it too large, or no number? */
static enum reason length_refusal(const struct h1_head *head, struct span bytes)
{
    struct span name = head->fields[head->field_count - 1].name;
    const char *value = name.at + name.len + 1;
    const char *end = memchr(value, '\r', (size_t)(bytes.at + bytes.len - value));
    uint64_t length;

    return h1_length_read(span_trim(span_of(value, (size_t)(end - value))), &length) == R_BODY_TOO_LARGE ? R_BODY_TOO_LARGE
                                                                                                         : R_FRAMING_AMBIGUOUS;
}

static enum reason refusal(const struct reading *r, llhttp_errno_t error, struct span bytes)
{
    switch (error) {
    case HPE_USER:
        return r->why;
    case HPE_INVALID_METHOD:
        return R_METHOD_UNKNOWN;
    case HPE_INVALID_CONTENT_LENGTH:
        return length_refusal(r->head, bytes);
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_TRANSFER_ENCODING:
        return R_FRAMING_AMBIGUOUS;
    default:
        return R_HEAD_MALFORMED;
    }
}

/* Methods that only other protocols have, which llhttp knows too: Icecast's SOURCE, HTTP/2's PRI, RTSP's (RFC 2326 10). */
static bool is_foreign(unsigned method)
{
    return method >= HTTP_SOURCE && method <= HTTP_FLUSH;
}

/* RFC 9110 9.2.2 */
static bool is_idempotent(unsigned method)
{
    return method == HTTP_GET || method == HTTP_HEAD || method == HTTP_OPTIONS || method == HTTP_TRACE || method == HTTP_PUT ||
           method == HTTP_DELETE;
}

static void note_method(struct h1_head *head, unsigned method)
{
    head->is_get = method == HTTP_GET;
    head->is_head = method == HTTP_HEAD;
    head->is_connect = method == HTTP_CONNECT;
    head->is_idempotent = is_idempotent(method);
}

static enum reason tokenize(struct h1_head *head, struct span bytes, const struct h1_limits *limits)
{
    struct reading reading = { head, limits, R_NONE };
    llhttp_t parser;
    llhttp_errno_t error;

    llhttp_init(&parser, head->kind == H1_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser.data = &reading;
    error = llhttp_execute(&parser, bytes.at, bytes.len);
    if (FAULT(C4_FOREIGN, head->kind == H1_REQUEST && is_foreign(parser.method)))
        return R_METHOD_UNKNOWN;
    if (error != HPE_PAUSED)
        return refusal(&reading, error, bytes);
    head->minor = parser.http_minor;
    if (head->kind == H1_REQUEST)
        note_method(head, parser.method);
    else
        head->status = parser.status_code;
    return R_NONE;
}

static enum reason read_host(struct h1_head *head)
{
    const struct h1_field *host = h1_find(head, H1_HOST);
    size_t count = h1_count(head, H1_HOST);

    if (host != NULL && count == 1)
        head->host = host->value;
    if (FAULT(C7_TWICE, count > 1) || FAULT(C7_MISSING, count == 0 && head->minor == 1))
        return R_HOST_MALFORMED;
    return FAULT(C7_EMPTY, count == 1 && head->host.len == 0) ? R_HOST_MALFORMED : R_NONE;
}

/* RFC 9110 10.1.1: HTTP/1.0 clients do not know interim answers, whatever they send. */
static enum reason read_expect(struct h1_head *head)
{
    for (size_t i = 0; i < head->field_count && h1_has(head, H1_EXPECT); i++) {
        if (head->fields[i].id != H1_EXPECT)
            continue;
        if (!span_ieq(head->fields[i].value, SPAN("100-continue")))
            return R_EXPECTATION_UNKNOWN;
        head->expects_continue = head->minor == 1;
    }
    return R_NONE;
}

static enum reason parse_request(struct h1_head *head)
{
    enum reason why = h1_connection_read(head);

    if (why == R_NONE)
        why = h1_framing_request(head);
    if (why == R_NONE)
        why = read_host(head);
    return why == R_NONE ? read_expect(head) : why;
}

static enum reason parse_response(struct h1_head *head, const struct h1_asked *asked)
{
    enum reason why = h1_connection_read(head);

    return why == R_NONE ? h1_framing_response(head, asked) : why;
}

enum reason h1_parse(struct h1_head *head, enum h1_kind kind, struct span bytes, const struct h1_limits *limits,
                     const struct h1_asked *asked)
{
    enum reason why;

    memset(head, 0, offsetof(struct h1_head, fields));
    head->kind = kind;
    why = tokenize(head, bytes, limits);
    if (kind == H1_REQUEST)
        return why == R_NONE ? parse_request(head) : why;
    if (why == R_NONE)
        why = parse_response(head, asked);
    return why == R_NONE || why == R_UPGRADE_UNASKED ? why : R_RESPONSE_MALFORMED;
}

const struct h1_field *h1_find(const struct h1_head *head, enum h1_name id)
{
    for (size_t i = 0; i < head->field_count && h1_has(head, id); i++)
        if (head->fields[i].id == id)
            return &head->fields[i];
    return NULL;
}

size_t h1_count(const struct h1_head *head, enum h1_name id)
{
    size_t count = 0;

    for (size_t i = 0; i < head->field_count && h1_has(head, id); i++)
        count += head->fields[i].id == id;
    return count;
}

bool h1_self_test(void)
{
    static const char smuggled[] =
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Abc:\rxTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n0\r\n\r\n";
    static const llhttp_settings_t none;
    llhttp_t parser;

    llhttp_init(&parser, HTTP_REQUEST, &none);
    return llhttp_execute(&parser, smuggled, sizeof(smuggled) - 1) != HPE_OK;
}
