/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_JSON_SCAN_H
#define POSTERN_PROTO_JSON_SCAN_H

#include "base/span.h"

/*
 * Reads a JSON text (RFC 8259) without building anything: is it valid, how deep does it nest, and which members does its outermost
 * object have? Strict: one value, no duplicate names at the paths that are asked for, valid UTF-8 and escapes, numbers by the
 * grammar. Names are compared after their escapes are resolved.
 */
struct json_wanted {
    const char *path; /* "a", or "a.b" for member b of the object a */
    bool found;       /* set by json_scan() */
};
/* false: not JSON, deeper than `depth`, or a name that is asked for stands twice. */
MUST_CHECK bool json_scan(struct span text, uint32_t depth, struct json_wanted *wanted, size_t count);

#endif
