/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_PROTO_WS_DEFLATE_H
#define POSTERN_PROTO_WS_DEFLATE_H

#include "proto/h1.h"

/* permessage-deflate (RFC 7692): what is negotiated, and inflating it as a stream. The only place that knows zlib. */
struct ws_deflate {
    bool on;    /* offered acceptably (in an offer), agreed (in an agreement) */
    bool named; /* in an offer: permessage-deflate was offered at all, acceptably or not */
    bool alone; /* in an offer: ws_deflate_no_context() was called */
    bool server_no_context, client_no_context;
    uint8_t server_bits, client_bits; /* window bits, 8 to 15; 0: not said */
    bool client_bits_said;            /* client_max_window_bits was offered, with or without a value */
};

/*
 * The first acceptable offer of permessage-deflate among the Sec-WebSocket-Extensions of a request; out->on is false if there is
 * none. Unknown, repeated or ill-valued parameters make an offer unacceptable (RFC 7692 7.1). Other extensions are passed over. The
 * fields must fit the grammar (ws_request_check()).
 */
void ws_deflate_offer(const struct h1_head *head, struct ws_deflate *out);
/* From here on every message is to be inflated alone, so that one may vanish: the offer asks for it both ways, and the agreement,
 * which the client is told, demands it. */
void ws_deflate_no_context(struct ws_deflate *offer);
/* An offer as it is passed on, e.g. "permessage-deflate; client_max_window_bits", or an agreement as the client is told. Returns
 * `out`, which holds WS_DEFLATE_TEXT bytes; "" if it is not on. */
#define WS_DEFLATE_TEXT 160
const char *ws_deflate_text(const struct ws_deflate *d, bool is_offer, char *out);
/*
 * Checks the answer's Sec-WebSocket-Extensions against the offer that was passed on (offer->on false: there must be none). R_NONE
 * with the agreement in `out`, or R_EXTENSION_UNOFFERED.
 */
MUST_CHECK enum reason ws_deflate_answer(const struct h1_head *head, const struct ws_deflate *offer, struct ws_deflate *out);

/* Inflates the messages of one direction. It takes about 7 KiB, and 32 KiB more once there was something to remember.
 * A sender that uses a larger window than was agreed on is not caught: what it says is read as its receiver would, if that can. */
struct ws_inflater;
struct ws_inflate_limits {
    uint64_t message_bytes; /* inflated; 0: none */
    uint32_t ratio; /* inflated bytes for each compressed byte of the message, beyond the first 64 KiB; asked every 16 KiB; 0: none
                     */
};
/* NULL: no memory. */
MUST_CHECK struct ws_inflater *ws_inflater_new(const struct ws_deflate *agreed, bool of_client,
                                               const struct ws_inflate_limits *limits);
void ws_inflater_free(struct ws_inflater *i);
/*
 * Payload of a compressed message (unmasked); `end`: the message ends with it. Inflated bytes are handed to `sink` in pieces that
 * are at most 16 KiB and valid during the call; what it refuses is returned. Nothing beyond a limit reaches it. After anything but
 * R_NONE the inflater says the same for ever. R_NONE, R_MEMORY, R_DEFLATE_MALFORMED, R_DEFLATE_RATIO, R_MESSAGE_TOO_BIG.
 */
MUST_CHECK enum reason ws_inflate(struct ws_inflater *i, struct span in, bool end,
                                  enum reason (*sink)(void *arg, struct span piece), void *arg);

#endif
