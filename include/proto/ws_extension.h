/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_WS_EXTENSION_H
#define POSTERN_PROTO_WS_EXTENSION_H

#include "base/span.h"

/* The grammar of one member of Sec-WebSocket-Extensions (RFC 6455 9.1), read from its front. */
struct ws_param {
    struct span name;
    bool has_value;
    char value[8]; /* quotes and escapes resolved; a longer one is cut to 7 bytes */
};

/* The extension's name; false if there is none. */
MUST_CHECK bool ws_extension_name(struct span *item, struct span *name);
/* Its next parameter. Call it while `item` is not empty; false: it does not fit the grammar. */
MUST_CHECK bool ws_extension_param(struct span *item, struct ws_param *param);

#endif
