/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_H1_FIELDS_H
#define POSTERN_PROTO_H1_FIELDS_H

#include "proto/h1.h"

/* What the fields of a tokenised head mean: the second half of h1_parse(), which is the only caller. */

/* The field that this name is; H1_OTHER if Postern does not look at it. Names are compared without case, and those of forwarding
 * fields (X-) with '_' as '-'. */
enum h1_name h1_name_find(struct span name);

#define H1_OPTIONS_MAX 16 /* connection options in a head */

/*
 * Reads Connection and Upgrade (RFC 9110 7.6.1 and 7.8): sets keep_alive, upgrade and upgrade_websocket, and `hop` in every field.
 * R_HEAD_MALFORMED: an option is no token, there are more than H1_OPTIONS_MAX, or one names Host or a framing field.
 */
MUST_CHECK enum reason h1_connection_read(struct h1_head *head);

/*
 * Reads Content-Length and Transfer-Encoding: sets framing, length and has_length (RFC 9112 6). There is at most one of both, once.
 * A request may have no body together with CONNECT or an upgrade; what follows a response also depends on `asked`. Returns
 * R_FRAMING_AMBIGUOUS or R_BODY_TOO_LARGE, for a 101 that nobody asked for R_UPGRADE_UNASKED.
 */
MUST_CHECK enum reason h1_framing_request(struct h1_head *head);
MUST_CHECK enum reason h1_framing_response(struct h1_head *head, const struct h1_asked *asked);

/* A Content-Length value (RFC 9110 8.6): digits only, below 2^63 and at most 19 of them. */
MUST_CHECK enum reason h1_length_read(struct span value, uint64_t *length);

#endif
