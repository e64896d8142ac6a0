/* SPDX-License-Identifier: ISC */
/* The frames that the parsing relay looks at; see relay_frames.h. Simpler than a firewall may be: fragments are not put in order.
 */
#include "relay_frames.h"

#include <string.h>

#define SCRATCH 65536
#define ASCII_8 0x8080808080808080ull
enum { TEXT = 1, LAST_DATA = 2, CLOSE = 8, PONG = 10, CONTROL_MAX = 125 };

static bool head_is_good(const struct frame *f)
{
    unsigned opcode = f->head[0] & 0x0f;
    bool is_last = (f->head[0] & 0x80) != 0;

    if ((f->head[0] & 0x70) != 0 || opcode > PONG || (opcode > LAST_DATA && opcode < CLOSE))
        return false;
    return opcode < CLOSE || (is_last && f->left <= CONTROL_MAX);
}

/* How many bytes follow this first one of a character; -1: no character begins so. */
static int bytes_behind(unsigned char first)
{
    if (first < 0x80)
        return 0;
    if (first < 0xc2 || first > 0xf4)
        return -1;
    return first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
}

static size_t ascii_run(const unsigned char *at, size_t n)
{
    uint64_t word;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        memcpy(&word, at + i, 8);
        if ((word & ASCII_8) != 0)
            break;
    }
    return i;
}

static bool is_utf8(struct frames *f, const unsigned char *at, size_t n)
{
    size_t i = 0;
    int behind;

    while (i < n) {
        if (f->more_bytes > 0) {
            if ((at[i++] & 0xc0) != 0x80)
                return false;
            f->more_bytes--;
            continue;
        }
        i += ascii_run(at + i, n - i);
        if (i == n)
            break;
        behind = bytes_behind(at[i++]);
        if (behind < 0)
            return false;
        f->more_bytes = (unsigned)behind;
    }
    return true;
}

/* Looks at payload, as much as there is room for; returns how much, 0 when it is not good. */
static size_t take_payload(struct frames *f, const unsigned char *at, size_t n)
{
    static unsigned char scratch[SCRATCH];
    size_t take = n < f->frame.left ? n : (size_t)f->frame.left;

    take = take < SCRATCH ? take : SCRATCH;
    if (frame_is_masked(&f->frame)) {
        frame_unmask(&f->frame, at, scratch, take);
        at = scratch;
    }
    return (f->frame.head[0] & 0x0f) != TEXT || is_utf8(f, at, take) ? take : 0;
}

/* Bytes up to the end of the HTTP head. */
static size_t pass_http(struct frames *f, const unsigned char *at, size_t n)
{
    size_t i = 0;

    for (; i < n && f->crlf < 4; i++)
        f->crlf = at[i] == "\r\n\r\n"[f->crlf] ? f->crlf + 1 : at[i] == '\r';
    return i;
}

bool frames_are_good(struct frames *f, const unsigned char *at, size_t n)
{
    size_t used = f->crlf < 4 ? pass_http(f, at, n) : 0;

    while (used < n) {
        size_t taken = 0;

        if (!frame_has_head(&f->frame)) {
            used += frame_head_feed(&f->frame, at + used, n - used);
            if (!frame_has_head(&f->frame))
                break;
            if (!head_is_good(&f->frame))
                return false;
        } else {
            taken = take_payload(f, at + used, n - used);
            if (taken == 0)
                return false;
            used += taken;
        }
        if (taken > 0 || f->frame.left == 0)
            frame_pass(&f->frame, taken);
    }
    return true;
}
