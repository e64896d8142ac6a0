/* SPDX-License-Identifier: ISC */
/*
 * Trailers (RFC 9110 6.5). They come after everything has been decided, so nothing in them may decide anything: the section is read
 * as strictly as a head, fields that frame or route make the body malformed, and only names of the list below are passed on, as
 * trailers; none is ever merged into a head. A name is on the list if it only describes the content that went before it.
 */
#include "proto/h1_body.h"
#include "proto/h1_fields.h"

#include "base/mutant.h"

#include <string.h>

static const struct span passed_on[] = {
    SPAN("Server-Timing"), SPAN("Digest"),     SPAN("Content-Digest"), SPAN("Repr-Digest"),  SPAN("Content-MD5"),
    SPAN("ETag"),          SPAN("X-Checksum"), SPAN("grpc-status"),    SPAN("grpc-message"), SPAN("grpc-status-details-bin"),
};

static bool is_passed_on(struct span name)
{
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
        if (span_ieq(passed_on[i], name))
            return true;
    return false;
}

/* Takes the next line, CRLF included; false at the end. Every line has one: h1_body_next() has looked. */
static bool next_line(struct span *section, struct span *line)
{
    const char *end = section->len > 0 ? memchr(section->at, '\n', section->len) : NULL;

    if (end == NULL)
        return false;
    *line = span_of(section->at, (size_t)(end + 1 - section->at));
    *section = span_skip(*section, line->len);
    return true;
}

/* What stands before the colon; not a token if there is none, if a space stands before it, or if the line is folded. */
static struct span name_of(struct span line)
{
    const char *colon = memchr(line.at, ':', line.len);

    return colon ? span_of(line.at, (size_t)(colon - line.at)) : line;
}

bool h1_trailers_check(struct span section)
{
    struct span line, name;
    enum h1_name id;
    size_t count = 0;

    while (next_line(&section, &line)) {
        name = name_of(line);
        if (FAULT(C3_TRAILERS, ++count > H1_TRAILER_FIELDS) || FAULT(C8_TRAILER, !span_is_token(name)))
            return false;
        id = h1_name_find(name);
        if (FAULT(C11_TRAILER_FRAMING, id == H1_CONTENT_LENGTH || id == H1_TRANSFER_ENCODING || id == H1_HOST))
            return false;
    }
    return true;
}

size_t h1_trailers_filter(struct span trailers, char *out)
{
    struct span line;
    size_t written = 0;

    while (next_line(&trailers, &line)) {
        if (FAULT(C11_TRAILER, !is_passed_on(name_of(line))))
            continue;
        memcpy(out + written, line.at, line.len);
        written += line.len;
    }
    return written;
}
