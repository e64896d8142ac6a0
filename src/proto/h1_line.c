/* SPDX-License-Identifier: ISC */
/*
 * The first sieve: where lines end. Lines of heads and trailers are text, and the only control characters in them are HTAB and the
 * CRLF at their end. Whoever finds the next control character therefore finds the end of the line and every bare CR, bare LF and
 * NUL in one pass, and no parser behind this one can disagree with the next hop about where a line ends (RFC 9112 2.2). Eight bytes
 * are looked at in a step. Called for every head by h1_scan() and for trailers by h1_body_next().
 */
#include "proto/h1_line.h"

#include <string.h>

static bool is_control(unsigned char c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

/* May one of eight bytes be a control character? HTAB says yes too. (A byte is below n if subtracting n borrows into its top bit.)
 */
static bool may_hold_control(const char *at)
{
    const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;
    uint64_t word, del;

    memcpy(&word, at, sizeof(word));
    del = word ^ (ones * 0x7f);
    return ((((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & tops) != 0;
}

static size_t skip_text(struct span text, size_t at)
{
    while (at < text.len) {
        if (text.len - at >= sizeof(uint64_t) && !may_hold_control(text.at + at))
            at += sizeof(uint64_t);
        else if (!is_control((unsigned char)text.at[at]))
            at++;
        else
            break;
    }
    return at;
}

enum h1_progress h1_line_end(struct span text, size_t *at)
{
    *at = skip_text(text, *at);
    if (*at == text.len)
        return H1_MORE;
    if (text.at[*at] != '\r')
        return H1_BAD;
    if (*at + 1 == text.len)
        return H1_MORE;
    return text.at[*at + 1] == '\n' ? H1_DONE : H1_BAD;
}
