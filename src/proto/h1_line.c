/* SPDX-License-Identifier: ISC */
/*
 * The first sieve: where lines end. Lines of heads and trailers are text, and the only control characters in them are HTAB and the
 * CRLF at their end. Whoever finds the next control character therefore finds the end of the line and every bare CR, bare LF and
 * NUL in one pass, and no parser behind this one can disagree with the next hop about where a line ends (RFC 9112 2.2). Sixteen or
 * eight bytes are looked at in a step. Called for every head by h1_scan() and for trailers by h1_body_next().
 */
#include "proto/h1_line.h"

#ifdef __SSE2__
#include <emmintrin.h>
#else
#include <endian.h>
#endif
#include <string.h>

static bool is_control(unsigned char c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

/* Which of STEP bytes are control characters, BITS bits of the answer a byte: the first byte's are the lowest. */
#ifdef __SSE2__
#define STEP 16
#define BITS 1

static uint64_t find_controls(const char *at)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)at);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')), del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));

    return (uint64_t)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del));
}
#else
#define STEP 8
#define BITS 8

/* The top bit of each byte of `word` that is zero; no byte's sum reaches the next one. */
static uint64_t zeros(uint64_t word)
{
    const uint64_t low = UINT64_MAX / 255 * 0x7f;

    return ~(((word & low) + low) | word | low);
}

static uint64_t find_controls(const char *at)
{
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    word = le64toh(word);
    return (zeros(word & (ones * 0xe0)) & ~zeros(word ^ (ones * '\t'))) | zeros(word ^ (ones * 0x7f));
}
#endif

/* The last step looks back at bytes that were seen: only the very first bytes of a text are taken one by one. */
static size_t skip_text(struct span text, size_t at)
{
    while (text.len - at >= STEP) {
        uint64_t found = find_controls(text.at + at);

        if (found != 0)
            return at + (size_t)__builtin_ctzll(found) / BITS;
        at += STEP;
    }
    if (text.len >= STEP && at < text.len) {
        uint64_t found = find_controls(text.at + text.len - STEP) >> (BITS * (at + STEP - text.len));

        return found != 0 ? at + (size_t)__builtin_ctzll(found) / BITS : text.len;
    }
    while (at < text.len && !is_control((unsigned char)text.at[at]))
        at++;
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
