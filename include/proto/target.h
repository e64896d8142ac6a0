/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_TARGET_H
#define POSTERN_PROTO_TARGET_H

#include "base/reason.h"
#include "proto/host.h"

/* A request target (RFC 9112 3.2), taken apart and normalised. */
enum target_form { TARGET_ORIGIN, TARGET_ABSOLUTE, TARGET_AUTHORITY, TARGET_ASTERISK };
enum target_scheme { SCHEME_NONE, SCHEME_HTTP, SCHEME_WS, SCHEME_HTTPS, SCHEME_WSS };

struct target {
    enum target_form form;
    enum target_scheme scheme; /* absolute-form only */
    struct span authority;     /* absolute- and authority-form, as written: */
    struct host host;
    uint16_t port;     /* 0: none */
    struct span path;  /* into `buffer`: normalised, "/" for an empty one; "*" for the asterisk-form, and for OPTIONS in
                          absolute-form without path and query (RFC 9112 3.2.4) */
    struct span query; /* into the text: from '?' on, unchanged; or empty */
};

/*
 * Reads `text` for `method`. The normalised path is written to `buffer`, at most `size` bytes of it; the result points into both.
 * Normalised means: escapes of unreserved characters decoded, other escapes in upper-case hex, dot segments removed (RFC 3986
 * 6.2.2), and what clients write raw against RFC 3986 ('"', '<', '>', '[', ']', '^', '`', '{', '|', '}') escaped, so that it can be
 * longer than what was written: TARGET_BUFFER(text.len) bytes are always enough.
 *
 * Returns R_NONE or R_TARGET_MALFORMED: '#', controls, space, DEL and 8-bit bytes anywhere; in the path malformed escapes, a raw
 * '\', encoded NUL, CR, LF, '/' or '\', climbing above the root, ".." behind an empty segment; userinfo, '*' with a method other
 * than OPTIONS, a scheme other than http, ws, https and wss,
 * authority-form with another method than CONNECT or without a port, anything but
 * authority-form with CONNECT; and no room in `buffer`.
 */
#define TARGET_BUFFER(len) (3 * (size_t)(len) + 1)
MUST_CHECK enum reason target_parse(struct target *out, struct span method, struct span text, char *buffer, size_t size);

/* Does `path` fit `pattern`, in which '*' stands for any run of characters? Both to the letter. */
bool target_path_fits(struct span path, struct span pattern);
/* The same, as a server sees it that takes runs of slashes in the path for one. */
bool target_path_fits_merged(struct span path, struct span pattern);

#endif
