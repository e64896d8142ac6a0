/* SPDX-License-Identifier: ISC */
/*
 * permessage-deflate (RFC 7692): who may compress how, and what the compressed bytes say.
 *
 * An offer is a list of alternatives. The first one that is good is passed on, written anew, and no other: what the server may then
 * answer is known exactly, and is checked against it (7.1.1, 7.1.2). The agreement that comes out of that is told to the client. It
 * never promises more than what the two would have agreed on without us: it can only have more restrictions, and only those that
 * may stand in any answer.
 *
 * Inflating is done with the largest window, whatever was agreed: that reads every stream, also those that were made with a window
 * of 256 bytes, which zlib itself can neither make nor, in a window of that size, read. Output goes through a buffer on the stack,
 * never over a multiple of 16 KiB of a message in one piece, and there the ratio is asked: so the verdict does not depend on how
 * the input was cut. A message must end where it can: with the four bytes that its sender removed (7.2.1) put back, no block
 * and no byte is begun. So an empty message is one byte, and none is no message. A block with BFINAL ends the stream of zlib but
 * not the message (7.2.3.4); reading goes on behind it with the same window.
 */
#include "proto/ws_deflate.h"

#include "proto/ws_extension.h"

#include "base/mutant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST
#include <zlib.h>

#define NAME "permessage-deflate"
#define PIECE 16384
#define FREE_BYTES 65536 /* of a message: no ratio is asked before */

/* A decimal number without leading zeros, 8 to 15; 0 if it is not. */
static uint8_t window_bits(const struct ws_param *p)
{
    uint64_t bits;

    if (!p->has_value || p->value[0] == '0' || !span_u64(span_str(p->value), 15, &bits) || bits < 8)
        return 0;
    return (uint8_t)bits;
}

static bool take_flag(const struct ws_param *p, bool *flag)
{
    if (p->has_value || *flag)
        return false;
    *flag = true;
    return true;
}

/* `bare`: the parameter may stand without a value. */
static bool take_bits(const struct ws_param *p, bool bare, bool *said, uint8_t *bits)
{
    if (*said)
        return false;
    *said = true;
    *bits = window_bits(p);
    return *bits > 0 || (bare && !p->has_value);
}

static bool read_params(struct span item, bool is_offer, struct ws_deflate *out)
{
    bool server_bits_said = false;
    struct ws_param p;

    while (item.len > 0) {
        bool good = false;

        if (!ws_extension_param(&item, &p))
            return false;
        if (span_eq(p.name, SPAN("server_no_context_takeover")))
            good = take_flag(&p, &out->server_no_context);
        else if (span_eq(p.name, SPAN("client_no_context_takeover")))
            good = take_flag(&p, &out->client_no_context);
        else if (span_eq(p.name, SPAN("server_max_window_bits")))
            good = take_bits(&p, false, &server_bits_said, &out->server_bits);
        else if (span_eq(p.name, SPAN("client_max_window_bits")))
            good = take_bits(&p, is_offer, &out->client_bits_said, &out->client_bits);
        if (!good)
            return false;
    }
    return true;
}

/* An alternative of the offer. */
static void read_offer(struct span item, struct ws_deflate *out)
{
    struct ws_deflate read = { .on = true, .named = true };
    struct span name;

    if (!ws_extension_name(&item, &name) || !span_eq(name, SPAN(NAME)))
        return;
    out->named = true;
    if (!out->on && read_params(item, true, &read))
        *out = read;
}

void ws_deflate_offer(const struct h1_head *head, struct ws_deflate *out)
{
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < head->field_count; i++) {
        struct span list = head->fields[i].value, item;

        if (head->fields[i].id != H1_WS_EXTENSIONS)
            continue;
        while (span_next_item(&list, &item))
            read_offer(item, out);
    }
}

void ws_deflate_no_context(struct ws_deflate *offer)
{
    offer->alone = offer->server_no_context = offer->client_no_context = true;
}

const char *ws_deflate_text(const struct ws_deflate *d, bool is_offer, char *out)
{
    char server[32] = "", client[32] = "";

    if (d->server_bits > 0)
        snprintf(server, sizeof(server), "; server_max_window_bits=%u", d->server_bits);
    if (d->client_bits > 0)
        snprintf(client, sizeof(client), "; client_max_window_bits=%u", d->client_bits);
    else if (is_offer && d->client_bits_said)
        snprintf(client, sizeof(client), "; client_max_window_bits");
    out[0] = '\0';
    if (d->on)
        snprintf(out, WS_DEFLATE_TEXT, NAME "%s%s%s%s", d->server_no_context ? "; server_no_context_takeover" : "",
                 d->client_no_context ? "; client_no_context_takeover" : "", server, client);
    return out;
}

/* May this be the answer to that offer? A value of client_max_window_bits in an offer is a hint and binds no answer (7.1.2.2). */
static bool fits_offer(const struct ws_deflate *answer, const struct ws_deflate *offer)
{
    if (offer->server_no_context && !answer->server_no_context)
        return false;
    if (offer->server_bits > 0 && (answer->server_bits == 0 || answer->server_bits > offer->server_bits))
        return false;
    return offer->client_bits_said || !answer->client_bits_said;
}

static bool read_answer(struct span value, const struct ws_deflate *offer, struct ws_deflate *out)
{
    struct span item = { 0 }, name;

    if (!offer->on || value.len == 0 || value.at[value.len - 1] == ',')
        return false;
    if (!span_next_item(&value, &item) || value.len > 0)
        return false;
    if (!ws_extension_name(&item, &name) || !span_eq(name, SPAN(NAME)) || !read_params(item, false, out))
        return false;
    return fits_offer(out, offer);
}

enum reason ws_deflate_answer(const struct h1_head *head, const struct ws_deflate *offer, struct ws_deflate *out)
{
    size_t count = h1_count(head, H1_WS_EXTENSIONS);

    memset(out, 0, sizeof(*out));
    if (count == 0)
        return R_NONE;
    if (FAULT(ACCEPT_EXTENSION, count > 1 || !read_answer(h1_find(head, H1_WS_EXTENSIONS)->value, offer, out))) {
        memset(out, 0, sizeof(*out));
        return R_EXTENSION_UNOFFERED;
    }
    out->on = true;
    if (offer->alone)
        out->client_no_context = true;
    return R_NONE;
}

struct ws_inflater {
    z_stream z;
    struct ws_inflate_limits limits;
    bool alone;          /* each message begins with an empty window */
    bool stopped;        /* behind a block with BFINAL */
    enum reason verdict; /* not R_NONE: it stays that */
    uint64_t in, out;    /* bytes of the message so far */
};

struct ws_inflater *ws_inflater_new(const struct ws_deflate *agreed, bool of_client, const struct ws_inflate_limits *limits)
{
    struct ws_inflater *i = calloc(1, sizeof(*i));

    if (i == NULL)
        return NULL;
    i->limits = *limits;
    i->alone = of_client ? agreed->client_no_context : agreed->server_no_context;
    if (inflateInit2(&i->z, -MAX_WBITS) != Z_OK) {
        free(i);
        return NULL;
    }
    return i;
}

void ws_inflater_free(struct ws_inflater *i)
{
    if (i == NULL)
        return;
    inflateEnd(&i->z);
    free(i);
}

/* How many bytes may come out in one piece: up to the next multiple of PIECE, and one more than message_bytes to know of it. */
static unsigned next_room(const struct ws_inflater *i)
{
    uint64_t room = PIECE - i->out % PIECE;

    if (i->limits.message_bytes > 0 && i->limits.message_bytes - i->out < room)
        room = i->limits.message_bytes - i->out + 1;
    return (unsigned)room;
}

static enum reason check_limits(const struct ws_inflater *i)
{
    uint64_t ratio = i->limits.ratio;

    if (i->limits.message_bytes > 0 && i->out > i->limits.message_bytes)
        return R_MESSAGE_TOO_BIG;
    if (ratio > 0 && i->out % PIECE == 0 && i->out > FREE_BYTES && (i->out - FREE_BYTES - 1) / ratio >= i->in)
        return R_DEFLATE_RATIO;
    return R_NONE;
}

struct outlet {
    enum reason (*sink)(void *arg, struct span piece);
    void *arg;
};

/* One call of inflate(), and what came out of it. *more: call again. */
static enum reason step(struct ws_inflater *i, const struct outlet *to, bool *more)
{
    unsigned char piece[PIECE];
    unsigned had = i->z.avail_in, room = next_room(i), made;
    enum reason why;
    int result;

    i->z.next_out = piece;
    i->z.avail_out = room;
    result = inflate(&i->z, Z_SYNC_FLUSH);
    made = room - i->z.avail_out;
    i->in += had - i->z.avail_in;
    i->out += made;
    if (result == Z_MEM_ERROR)
        return R_MEMORY;
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return R_DEFLATE_MALFORMED;
    why = check_limits(i);
    if (why == R_NONE && made > 0)
        why = to->sink(to->arg, span_of((const char *)piece, made));
    i->stopped = result == Z_STREAM_END;
    *more = i->stopped ? i->z.avail_in > 0 : i->z.avail_out == 0 || (i->z.avail_in > 0 && result == Z_OK);
    return why;
}

static enum reason feed(struct ws_inflater *i, struct span in, const struct outlet *to)
{
    bool more = in.len > 0;
    enum reason why = R_NONE;

    i->z.next_in = (const unsigned char *)in.at;
    i->z.avail_in = (unsigned)in.len;
    while (more && why == R_NONE) {
        if (i->stopped && inflateResetKeep(&i->z) != Z_OK)
            return R_INTERNAL;
        why = step(i, to, &more);
    }
    return why;
}

/* Behind a block with BFINAL, or between two blocks with no bit unread (zlib.h, inflate(): what data_type says). */
static bool is_at_end(const struct ws_inflater *i)
{
    return i->stopped || ((i->z.data_type & 128) != 0 && (i->z.data_type & 7) == 0);
}

/* Puts the tail back (7.2.2), unless the message ended with a block that has BFINAL: behind that there is nothing to complete. */
static enum reason finish(struct ws_inflater *i, const struct outlet *to)
{
    enum reason why = i->in > 0 ? R_NONE : R_DEFLATE_MALFORMED;

    if (why == R_NONE && !i->stopped)
        why = feed(i, SPAN("\0\0\xff\xff"), to);
    if (why == R_NONE && !is_at_end(i))
        why = R_DEFLATE_MALFORMED;
    i->in = i->out = 0;
    if (why == R_NONE && i->alone) {
        why = inflateReset(&i->z) == Z_OK ? R_NONE : R_INTERNAL;
        i->stopped = false;
    }
    return why;
}

enum reason ws_inflate(struct ws_inflater *i, struct span in, bool end, enum reason (*sink)(void *arg, struct span piece),
                       void *arg)
{
    const struct outlet to = { sink, arg };

    while (i->verdict == R_NONE && in.len > 0) {
        size_t n = in.len < INT32_MAX ? in.len : INT32_MAX;

        i->verdict = feed(i, span_of(in.at, n), &to);
        in = span_skip(in, n);
    }
    if (i->verdict == R_NONE && end)
        i->verdict = finish(i, &to);
    return i->verdict;
}
