/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_H1_LINE_H
#define POSTERN_PROTO_H1_LINE_H

#include "proto/h1.h"

/*
 * Looks for the end of the line in `text`, from *at on; what lies before *at was looked at already. H1_DONE: a CRLF begins at *at.
 * H1_MORE: the text ends first, and *at is where to go on (a last CR is looked at again). H1_BAD: at *at stands a CR without LF, an
 * LF without CR, or another control character (RFC 9110 5.5; HTAB is text).
 */
MUST_CHECK enum h1_progress h1_line_end(struct span text, size_t *at);

#endif
