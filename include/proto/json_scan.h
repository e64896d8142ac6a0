/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_JSON_SCAN_H
#define POSTERN_PROTO_JSON_SCAN_H

#include "base/span.h"

/*
 * Reads a JSON text (RFC 8259) without building anything: is it valid, how deep does it nest, and which members does its outermost
 * object have? Strict: one value, no duplicate names at the paths that are asked for (nor of the object on the way to one), valid
 * UTF-8, escapes that are characters (no half of a surrogate pair), numbers by the grammar, no byte order mark. Names are compared
 * after their escapes are resolved. Neither memory nor stack grows with the text.
 */
#define JSON_DEPTH_MAX 1024

struct json_wanted {
    const char *path;         /* "a", or "a.b" for member b of the object a; the first dot divides */
    bool found;               /* set by json_scan() */
    bool begun;               /* set by json_scan(): there is an "a" on the way to "a.b" */
    struct span outer, inner; /* for json_scan(): the parts of the path */
    bool deep, here;          /* for json_scan(): there is an inner one; the outer one is being read */
};
/*
 * false: not JSON, deeper than `depth` (the outermost array or object is 1; more than JSON_DEPTH_MAX is never allowed), or a name
 * that is asked for stands twice.
 */
MUST_CHECK bool json_scan(struct span text, uint32_t depth, struct json_wanted *wanted, size_t count);

/* The same for texts that take long: `late` is asked now and then, and true ends it with false. */
MUST_CHECK bool json_scan_until(struct span text, uint32_t depth, struct json_wanted *wanted, size_t count, bool (*late)(void *arg),
                                void *arg);

#endif
