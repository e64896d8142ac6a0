/* SPDX-License-Identifier: ISC */
/*
 * WebSocket frames of one direction, checked while they pass (RFC 6455 5). The reader holds no byte: it says how many bytes of what
 * it is shown are good, and which way they go. A data frame's header is taken as soon as it is complete and its payload as it
 * comes; a control frame is taken whole or not at all, so that an invalid close frame never passes in part.
 *
 * What is refused is refused with the frame that it stands in, as far as that frame has not been passed on yet. So when an offence
 * is found in the call in which its frame began, the stream that was passed on ends between two frames, and the session can put a
 * close frame behind it; otherwise ws_at_boundary() says no, and only the connection can be closed.
 *
 * A run is what one call returns: bytes that go one way. The frame that would go another way ends it, and is taken by the next
 * call; what on_frame() said of it is kept until then (asked), so that each frame is asked about, and counted by its owner, once.
 * Control frames go their own way between the frames of a message that is dropped or held.
 *
 * Most frames do not come here: whole messages that nobody is asked about go the short way, in ws_frame_whole.c. Headers of all
 * others are read by ws_frame_header.c; what a policy says of rates and contents is its owner's, in the calls.
 */
#include "proto/utf8.h"
#include "proto/ws_frame_header.h"

#include "base/mutant.h"

#include <string.h>

#define NO_STATUS 1005 /* stands for a close frame without a code, never on the wire (RFC 6455 7.1.5) */

/* One call of ws_feed(). */
struct run {
    const uint8_t *at;
    size_t len, done;
    size_t frame; /* where the current frame began, if it did so in this run */
    bool began;   /* it did */
    bool begins;  /* it is the first of a message */
    bool counted; /* it is a data frame, in r->frames */
    bool ended;   /* r->ended as it was before the frame */
    uint8_t opcode;
};

void ws_reader_init(struct ws_reader *r, enum ws_sender sender)
{
    memset(r, 0, sizeof(*r));
    r->sender = sender;
}

bool ws_at_boundary(const struct ws_reader *r)
{
    return r->left == 0 || r->message_way != WS_PASS;
}

static void set_mask(struct ws_reader *r, const struct ws_header *h)
{
    if (h->mask != NULL)
        memcpy(r->mask, h->mask, sizeof(r->mask));
    r->mask_at = 0;
}

static enum reason ask(struct ws_reader *r, const struct ws_header *h, struct span control)
{
    bool is_control = ws_is_control(h->opcode), begins = !is_control && h->opcode != WS_CONTINUATION;
    struct ws_frame frame = { .opcode = h->opcode, .fin = h->fin, .begins = begins, .payload = h->payload, .control = control };

    frame.compressed = begins ? h->compressed : !is_control && r->compressed;
    r->asked_way = WS_PASS;
    if (r->calls.on_frame == NULL || (r->calls.control_only && !is_control))
        return R_NONE;
    return r->calls.on_frame(r->calls.arg, &frame, &r->asked_way);
}

/* Which way does this frame go? Its owner is asked once, however often the frame is looked at. */
static enum reason choose_way(struct ws_reader *r, const struct ws_header *h, struct span control, enum ws_way *way)
{
    enum reason why = r->asked ? R_NONE : ask(r, h, control);

    r->asked = why == R_NONE;
    *way = h->opcode == WS_CONTINUATION ? r->message_way : r->asked_way;
    return why;
}

/* True if the frame goes the way of this run. Then it is in it. */
static bool joins(struct ws_reader *r, const struct run *run, enum ws_way way)
{
    if (run->done > 0 && way != r->way)
        return false;
    r->way = way;
    r->asked = false;
    return true;
}

static void begin_message(struct ws_reader *r, const struct ws_header *h, enum ws_way way)
{
    r->message = h->opcode;
    r->message_way = way;
    r->message_bytes = 0;
    r->fragments = 0;
    r->compressed = h->compressed;
    r->begun = way == WS_PASS;
}

/* All of a data frame has come. A text message must not end within a character. */
static enum reason end_data(struct ws_reader *r)
{
    if (!r->fin)
        return R_NONE;
    if (FAULT(UTF8_CUT, r->utf8 != 0))
        return R_UTF8_INVALID;
    r->message = 0;
    r->message_bytes = 0;
    r->ended = true;
    return R_NONE;
}

static enum reason begin_data(struct ws_reader *r, const struct ws_header *h, enum ws_way way)
{
    set_mask(r, h);
    r->frames[h->opcode]++;
    if (h->opcode != WS_CONTINUATION)
        begin_message(r, h, way);
    r->fragments++;
    r->message_bytes += h->payload;
    r->left = h->payload;
    r->fin = h->fin;
    r->ended = false;
    return h->payload == 0 ? end_data(r) : R_NONE;
}

/* Takes `n` bytes of payload, at most what is left of the frame. */
static enum reason take_payload(struct ws_reader *r, const uint8_t *at, size_t n)
{
    const uint8_t *mask = r->sender == WS_CLIENT ? r->mask : NULL;
    struct span payload = span_of((const char *)at, n);
    unsigned mask_at = r->mask_at;
    enum reason why = R_NONE;

    r->mask_at = (uint8_t)((mask_at + n) & 3);
    if (r->message == WS_TEXT && !r->compressed)
        r->utf8 = mask == NULL ? utf8_feed(r->utf8, payload) : utf8_feed_masked(r->utf8, payload, mask, mask_at);
    if (FAULT(UTF8_MESSAGE, r->utf8 == UTF8_BAD))
        return R_UTF8_INVALID;
    if (r->calls.on_payload != NULL && r->message_way != WS_DROP)
        why = r->calls.on_payload(r->calls.arg, payload, mask, mask_at);
    if (why == R_NONE && r->left == n)
        why = end_data(r);
    if (why == R_NONE)
        r->left -= n;
    return why;
}

static enum reason check_close(const struct ws_reader *r, struct span payload, uint16_t *code)
{
    const uint8_t *at = (const uint8_t *)payload.at;

    *code = NO_STATUS;
    if (payload.len == 0)
        return R_NONE;
    if (FAULT(CLOSE_SIZE, payload.len == 1))
        return R_CLOSE_MALFORMED;
    *code = (uint16_t)((at[0] ^ r->mask[0]) << 8 | (at[1] ^ r->mask[1]));
    if (FAULT(CLOSE_CODE, !ws_close_code_valid(*code)))
        return R_CLOSE_MALFORMED;
    return FAULT(CLOSE_UTF8, utf8_feed_masked(0, span_skip(payload, 2), r->mask, 2) != 0) ? R_UTF8_INVALID : R_NONE;
}

/* Takes a control frame, all of which is there. False: it is not in this run. */
static bool take_control(struct ws_reader *r, struct run *run, const struct ws_header *h, enum reason *why)
{
    struct span payload = span_of((const char *)run->at + run->done + h->size, (size_t)h->payload);
    uint16_t code = 0;
    enum ws_way way = WS_PASS;

    set_mask(r, h);
    if (h->opcode == WS_CLOSE)
        *why = check_close(r, payload, &code);
    if (*why == R_NONE)
        *why = choose_way(r, h, payload, &way);
    if (*why != R_NONE || !joins(r, run, way))
        return false;
    if (h->opcode == WS_CLOSE) {
        r->closed = true;
        r->close_code = code;
    }
    r->frames[WS_KIND_CLOSE + (h->opcode - WS_CLOSE)]++;
    r->ended = false;
    run->done += h->size + payload.len;
    return true;
}

/* Takes what begins here: a whole control frame, or the header of a data frame. False: more is needed, or it is not in this run. */
static bool take_unit(struct ws_reader *r, struct run *run, enum reason *why)
{
    size_t available = run->len - run->done;
    struct ws_header h;
    enum ws_way way;

    run->frame = run->done;
    run->began = true;
    run->begins = run->counted = false;
    run->ended = r->ended;
    if (!ws_header_read(r, run->at + run->done, available, &h, why))
        return false;
    if (ws_is_control(h.opcode))
        return available - h.size >= h.payload && take_control(r, run, &h, why);
    *why = choose_way(r, &h, span_of(NULL, 0), &way);
    if (*why != R_NONE || !joins(r, run, way))
        return false;
    run->begins = h.opcode != WS_CONTINUATION;
    run->counted = true;
    run->opcode = h.opcode;
    run->done += h.size;
    *why = begin_data(r, &h, way);
    return *why == R_NONE;
}

/* Takes messages of one frame that are whole, as long as there are such. False: what begins here is something else. */
static bool take_whole(struct ws_reader *r, struct run *run)
{
    size_t n = run->done > 0 && r->way != WS_PASS ? 0 : ws_whole_take(r, run->at + run->done, run->len - run->done);

    run->done += n;
    return n > 0;
}

static bool take_more(struct ws_reader *r, struct run *run, enum reason *why)
{
    size_t n = run->len - run->done;

    if (r->left == 0)
        return take_whole(r, run) || take_unit(r, run, why);
    if (run->done == 0)
        r->way = r->message_way;
    n = r->left < n ? (size_t)r->left : n;
    *why = take_payload(r, run->at + run->done, n);
    run->done += n;
    return *why == R_NONE;
}

/* The frame that offends is not passed on, not even its header, if it began in this run. */
static size_t give_back(struct ws_reader *r, const struct run *run)
{
    if (!run->began)
        return 0;
    r->left = 0;
    r->ended = run->ended;
    r->begun = r->begun && !run->begins;
    r->frames[run->opcode] -= run->counted;
    return run->frame;
}

size_t ws_feed(struct ws_reader *r, struct span in, enum reason *why)
{
    struct run run = { .at = (const uint8_t *)in.at, .len = in.len };

    *why = R_NONE;
    r->ended = false;
    while (run.done < in.len && !(r->ended && r->way == WS_HOLD))
        if (!take_more(r, &run, why))
            break;
    return *why == R_NONE ? run.done : give_back(r, &run);
}
