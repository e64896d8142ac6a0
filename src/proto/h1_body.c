/* SPDX-License-Identifier: ISC */
/*
 * Bodies as a stream. Payload is handed out where it lies; nothing is copied and nothing is kept but the numbers in struct h1_body.
 * The chunk reader takes the bytes around the payload one by one, by the grammar of RFC 9112 7.1 and nothing beside it: every
 * tolerance here (bare LF, white space, a sign, any bytes in an extension) is a way to make two parsers see two bodies. Trailers
 * are the one part that must be there as a whole before it is judged, and that stays with the caller until it is. Called by the
 * session for every body from either side.
 */
#include "proto/h1_body.h"
#include "proto/h1_line.h"

#include "base/mutant.h"

#include <string.h>

void h1_body_init(struct h1_body *body, enum h1_framing framing, uint64_t length, uint64_t limit)
{
    *body = (struct h1_body){ .framing = framing, .left = framing == H1_LENGTH ? length : 0, .limit = limit };
    body->state = CHUNK_SIZE;
}

static bool has_room(const struct h1_body *body, uint64_t more)
{
    uint64_t limit = body->limit > 0 && body->limit < INT64_MAX ? body->limit : INT64_MAX;

    return !FAULT(C10_LIMIT, more > limit - body->total);
}

/* Hands out at most `most` bytes of payload. */
static enum h1_body_result give(struct h1_body *body, uint64_t most, struct span *in, struct span *data)
{
    if (in->len == 0)
        return H1_BODY_MORE;
    *data = span_of(in->at, in->len < most ? in->len : (size_t)most);
    *in = span_skip(*in, data->len);
    body->total += data->len;
    return H1_BODY_DATA;
}

static enum h1_body_result next_of_length(struct h1_body *body, struct span *in, struct span *data, enum reason *why)
{
    enum h1_body_result result;

    if (body->left == 0)
        return H1_BODY_END;
    if (!has_room(body, body->left)) {
        *why = R_BODY_TOO_LARGE;
        return H1_BODY_BAD;
    }
    result = give(body, body->left, in, data);
    if (result == H1_BODY_DATA)
        body->left -= data->len;
    return result;
}

static enum h1_body_result next_until_close(struct h1_body *body, struct span *in, struct span *data, enum reason *why)
{
    uint64_t most = body->limit > 0 ? body->limit - body->total : UINT64_MAX;

    if (most == 0 && in->len > 0) {
        *why = R_BODY_TOO_LARGE;
        return H1_BODY_BAD;
    }
    return give(body, most, in, data);
}

static enum reason take_digit(struct h1_body *body, char c)
{
    int digit = byte_hex(c);

    if (digit < 0 || FAULT(C3_CHUNK_DIGITS, body->digits == H1_CHUNK_DIGITS))
        return R_BODY_MALFORMED;
    body->digits++;
    body->left = body->left << 4 | (unsigned)digit;
    return R_NONE;
}

/* qdtext or the second byte of a quoted-pair (RFC 9110 5.6.4): all but control characters; HTAB is none. */
static bool is_quotable(unsigned char c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

/* What may follow a size or a finished extension: another extension, or the end of the line. */
static enum reason end_extension(struct h1_body *body, char c)
{
    if (c != ';' && c != '\r')
        return R_BODY_MALFORMED;
    body->state = c == ';' ? CHUNK_EXT_NAME_FIRST : CHUNK_SIZE_LF;
    return R_NONE;
}

static enum reason take_size(struct h1_body *body, char c)
{
    return body->digits > 0 && (c == ';' || c == '\r') ? end_extension(body, c) : take_digit(body, c);
}

/* A byte of a token: the first makes `next` the state, and after it `c` may also end the token. */
static enum reason take_token(struct h1_body *body, char c, enum h1_chunk_state next)
{
    if (byte_is_token((unsigned char)c)) {
        body->state = next;
        return R_NONE;
    }
    return body->state == next ? end_extension(body, c) : R_BODY_MALFORMED;
}

static enum reason take_name(struct h1_body *body, char c)
{
    if (c == '=' && body->state == CHUNK_EXT_NAME) {
        body->state = CHUNK_EXT_VALUE_FIRST;
        return R_NONE;
    }
    return take_token(body, c, CHUNK_EXT_NAME);
}

static enum reason take_value(struct h1_body *body, char c)
{
    if (c == '"' && body->state == CHUNK_EXT_VALUE_FIRST) {
        body->state = CHUNK_EXT_QUOTED;
        return R_NONE;
    }
    return take_token(body, c, CHUNK_EXT_VALUE);
}

static enum reason take_quoted(struct h1_body *body, char c)
{
    if (FAULT(C2_CHUNK_QUOTED, !is_quotable((unsigned char)c)))
        return R_BODY_MALFORMED;
    if (body->state == CHUNK_EXT_ESCAPED)
        body->state = CHUNK_EXT_QUOTED;
    else if (c == '\\')
        body->state = CHUNK_EXT_ESCAPED;
    else if (c == '"')
        body->state = CHUNK_EXT_END;
    return R_NONE;
}

/* The size line is complete: is there room for the chunk? */
static enum reason open_chunk(struct h1_body *body)
{
    if (!has_room(body, body->left))
        return R_BODY_TOO_LARGE;
    body->state = body->left > 0 ? CHUNK_DATA : CHUNK_TRAILERS;
    body->extensions += body->line;
    body->line = 0;
    body->digits = 0;
    return R_NONE;
}

static enum reason expect(struct h1_body *body, char c, char want, enum h1_chunk_state next)
{
    body->state = next;
    return FAULT(C2_CHUNK_END, c != want) ? R_BODY_MALFORMED : R_NONE;
}

/* One byte around the payload. */
static enum reason take(struct h1_body *body, char c)
{
    switch (body->state) {
    case CHUNK_SIZE:
        return take_size(body, c);
    case CHUNK_SIZE_LF:
        return FAULT(C2_CHUNK_LINE, c != '\n') ? R_BODY_MALFORMED : open_chunk(body);
    case CHUNK_EXT_NAME_FIRST:
    case CHUNK_EXT_NAME:
        return take_name(body, c);
    case CHUNK_EXT_VALUE_FIRST:
    case CHUNK_EXT_VALUE:
        return take_value(body, c);
    case CHUNK_EXT_QUOTED:
    case CHUNK_EXT_ESCAPED:
        return take_quoted(body, c);
    case CHUNK_EXT_END:
        return end_extension(body, c);
    case CHUNK_DATA_CR:
        return expect(body, c, '\r', CHUNK_DATA_LF);
    case CHUNK_DATA_LF:
        return expect(body, c, '\n', CHUNK_SIZE);
    case CHUNK_DATA:
    case CHUNK_TRAILERS:
    case CHUNK_COMPLETE:
        break;
    }
    return R_BODY_MALFORMED;
}

static bool is_extension(enum h1_chunk_state state)
{
    return state >= CHUNK_EXT_NAME_FIRST && state <= CHUNK_EXT_END;
}

/* The bytes up to the next payload or the trailers. An extension counts from its ';' on. */
static enum reason take_between(struct h1_body *body, struct span *in)
{
    enum reason why = R_NONE;

    while (in->len > 0 && why == R_NONE && body->state != CHUNK_DATA && body->state != CHUNK_TRAILERS) {
        why = take(body, in->at[0]);
        *in = span_skip(*in, 1);
        if (is_extension(body->state))
            body->line++;
        if (FAULT(C3_EXTENSION, body->line > H1_EXTENSION_BYTES) ||
            FAULT(C3_EXTENSIONS, body->extensions + body->line > H1_EXTENSIONS_BYTES))
            why = R_BODY_MALFORMED;
    }
    return why;
}

/* Looks for the empty line; body->line says how far. */
static enum h1_body_result next_of_trailers(struct h1_body *body, struct span *in, struct span *trailers)
{
    struct span window = span_of(in->at, in->len < H1_TRAILER_BYTES ? in->len : H1_TRAILER_BYTES);
    size_t at = body->line;
    enum h1_progress end = h1_line_end(window, &at);

    while (end == H1_DONE && at > 0 && window.at[at - 1] != '\n') {
        at += 2;
        end = h1_line_end(window, &at);
    }
    body->line = (uint32_t)at;
    if (end == H1_MORE && window.len < H1_TRAILER_BYTES)
        return H1_BODY_MORE;
    if (FAULT(C2_TRAILER, end != H1_DONE) || !h1_trailers_check(span_of(window.at, at)))
        return H1_BODY_BAD;
    *trailers = span_of(window.at, at);
    *in = span_skip(*in, at + 2);
    body->state = CHUNK_COMPLETE;
    return H1_BODY_END;
}

static enum h1_body_result next_of_chunks(struct h1_body *body, struct span *in, struct span *data, struct span *trailers,
                                          enum reason *why)
{
    enum h1_body_result result;

    if (body->state == CHUNK_COMPLETE)
        return H1_BODY_END;
    *why = take_between(body, in);
    if (*why != R_NONE)
        return H1_BODY_BAD;
    if (in->len == 0)
        return H1_BODY_MORE;
    if (body->state == CHUNK_TRAILERS) {
        result = next_of_trailers(body, in, trailers);
        *why = result == H1_BODY_BAD ? R_BODY_MALFORMED : R_NONE;
        return result;
    }
    result = give(body, body->left, in, data);
    body->left -= data->len;
    if (body->left == 0)
        body->state = CHUNK_DATA_CR;
    return result;
}

enum h1_body_result h1_body_next(struct h1_body *body, struct span *in, struct span *data, struct span *trailers, enum reason *why)
{
    *data = *trailers = span_of(NULL, 0);
    switch (body->framing) {
    case H1_NO_BODY:
        return H1_BODY_END;
    case H1_LENGTH:
        return next_of_length(body, in, data, why);
    case H1_CHUNKED:
        return next_of_chunks(body, in, data, trailers, why);
    case H1_UNTIL_CLOSE:
        return next_until_close(body, in, data, why);
    }
    return H1_BODY_BAD;
}

uint64_t h1_body_blind(const struct h1_body *body)
{
    return body->framing == H1_LENGTH && body->total > 0 && body->left > 0 ? body->left - 1 : 0;
}

void h1_body_pass(struct h1_body *body, uint64_t count)
{
    body->total += count;
    body->left -= count;
}

bool h1_body_may_end(const struct h1_body *body)
{
    switch (body->framing) {
    case H1_NO_BODY:
    case H1_UNTIL_CLOSE:
        return true;
    case H1_LENGTH:
        return !FAULT(C16_SHORT, body->left > 0);
    case H1_CHUNKED:
        return !FAULT(C16_CHUNKS, body->state != CHUNK_COMPLETE);
    }
    return false;
}
