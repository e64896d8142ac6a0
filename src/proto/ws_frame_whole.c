/* SPDX-License-Identifier: ISC */
/*
 * The short way for what nearly all traffic is: messages of one frame that lie whole in what was read, under a policy that says
 * nothing about single ones. They are taken many in a row, so that what is done for a run (its way, its counters, the state of the
 * reader) is done once for all of them, and a frame costs a look at its header, and at its payload if that is text.
 *
 * It refuses nothing. Whatever is not plainly good here, and what comes behind it, is left to ws_frame.c, which knows why.
 */
#include "proto/utf8.h"
#include "proto/ws_frame_header.h"

#include "base/mutant.h"

#include <string.h>

#define NOT_A_BYTE 256u

/* What a frame may be. */
struct fit {
    unsigned text, binary; /* first byte of a whole message */
    uint8_t masked;        /* WS_MASKED or 0, as the second byte has to have it */
    size_t most;           /* payload */
};

struct frame {
    size_t header, payload;
};

static struct fit fit_of(const struct ws_reader *r, size_t len)
{
    struct fit f = { WS_FIN | WS_TEXT, WS_FIN | WS_BINARY, r->sender == WS_CLIENT ? WS_MASKED : 0, len };

    if (r->limits.no_text)
        f.text = NOT_A_BYTE;
    if (r->limits.no_binary)
        f.binary = NOT_A_BYTE;
    if (r->limits.frame_bytes > 0 && r->limits.frame_bytes < f.most)
        f.most = (size_t)r->limits.frame_bytes;
    if (r->limits.message_bytes > 0 && r->limits.message_bytes < f.most)
        f.most = (size_t)r->limits.message_bytes;
    return f;
}

/* Is it whole, with a length below 64 KiB in the fewest bytes, and masked as it must be? */
static inline bool read_frame(const struct fit *fit, const uint8_t *at, size_t available, struct frame *f)
{
    size_t form;

    if (available < 4)
        return false;
    form = at[1] ^ fit->masked;
    f->header = fit->masked ? 6 : 2;
    f->payload = form;
    if (form == 126) {
        f->header += 2;
        f->payload = (size_t)at[2] << 8 | at[3];
        form = FAULT(FRAME_LENGTH_FORM, f->payload < 126) ? 127 : 126;
    }
    return form <= 126 && f->payload <= fit->most && available >= f->header && available - f->header >= f->payload;
}

static bool is_text(const struct fit *fit, const uint8_t *at, const struct frame *f)
{
    static const uint8_t no_mask[4];
    const uint8_t *payload = at + f->header;

    return utf8_feed_masked(0, span_of((const char *)payload, f->payload), fit->masked ? payload - 4 : no_mask, 0) == 0;
}

/*
 * A binary frame, `size` bytes long, with its length in the second byte: how many frames begin with the same two bytes, itself and
 * those behind it? Where one begins does not have to be loaded from the one before it, which is most of the work in a flood of
 * equal ones.
 */
static inline size_t count_alike(const uint8_t *at, size_t len, size_t size)
{
    size_t n = 1;

    while (len - n * size >= size && at[n * size] == at[0] && at[n * size + 1] == at[1])
        n++;
    return n;
}

static bool is_asked_about(const struct ws_calls *calls)
{
    return calls->on_payload != NULL || (calls->on_frame != NULL && !calls->control_only);
}

/* As the last one of them leaves it. */
static void set_taken(struct ws_reader *r, uint32_t texts, uint32_t binaries)
{
    r->frames[WS_TEXT] += texts;
    r->frames[WS_BINARY] += binaries;
    r->fragments = 1;
    r->way = r->message_way = WS_PASS;
    r->compressed = false;
    r->fin = r->ended = r->begun = true;
}

size_t ws_whole_take(struct ws_reader *r, const uint8_t *at, size_t len)
{
    uint32_t texts = 0, binaries = 0;
    struct frame f;
    struct fit fit;
    size_t done = 0;

    if (r->left > 0 || r->message != 0 || r->closed || r->asked || is_asked_about(&r->calls))
        return 0;
    fit = fit_of(r, len);
    while (read_frame(&fit, at + done, len - done, &f)) {
        size_t size = f.header + f.payload, n = 1;

        if (at[done] == fit.binary) {
            n = f.payload < 126 ? count_alike(at + done, len - done, size) : 1;
            binaries += (uint32_t)n;
        } else if (at[done] == fit.text && !FAULT(UTF8_WHOLE, !is_text(&fit, at + done, &f))) {
            texts++;
        } else {
            break;
        }
        done += n * size;
    }
    if (done > 0)
        set_taken(r, texts, binaries);
    return done;
}
