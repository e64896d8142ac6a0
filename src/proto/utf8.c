/* SPDX-License-Identifier: ISC */
/*
 * UTF-8 as it passes, masked or not. Between characters the state is 0; inside one it says how many bytes are still to come and
 * which range the next one must lie in: only the second byte of a character has a range of its own (RFC 3629 4), and that range is
 * what keeps overlong forms, surrogates and everything above U+10FFFF out.
 *
 * Most text is ASCII, so 32 or 8 bytes are looked at in one go wherever a character may begin; other characters are taken whole
 * where eight bytes are there, and byte by byte near the end and where they are wrong. The mask of a WebSocket frame is laid over
 * them as a word that is turned to the position in the frame; bytes without a mask are bytes under a mask of zeros.
 */
#include "proto/utf8.h"

#include <endian.h>
#include <string.h>

#define STATE(left, low, high) ((uint32_t)(left) << 16 | (low) << 8 | (high))
#define LANES(value) ((uint64_t)(value)*0x0001000100010001ull)
#define HIGH_BITS 0x8080808080808080ull

static uint32_t lead_byte(uint8_t byte)
{
    if (byte < 0x80)
        return 0;
    if (byte < 0xc2 || byte > 0xf4)
        return UTF8_BAD;
    if (byte < 0xe0)
        return STATE(1, 0x80, 0xbf);
    if (byte < 0xf0)
        return STATE(2, byte == 0xe0 ? 0xa0 : 0x80, byte == 0xed ? 0x9f : 0xbf);
    return STATE(3, byte == 0xf0 ? 0x90 : 0x80, byte == 0xf4 ? 0x8f : 0xbf);
}

static uint32_t next_byte(uint32_t state, uint8_t byte)
{
    uint32_t left = state >> 16;

    if (left == 0)
        return lead_byte(byte);
    if (byte < (state >> 8 & 0xff) || byte > (state & 0xff))
        return UTF8_BAD;
    return left == 1 ? 0 : STATE(left - 1, 0x80, 0xbf);
}

/* Of eight bytes, first byte lowest, how many stand before the first whose high bit is set in `high` (one is)? */
static size_t bytes_before(uint64_t high)
{
    return (size_t)__builtin_ctzll(high) / 8;
}

/*
 * Good characters of two bytes at the front: how many bytes they are. A lane of 16 bits is one of them if both bytes have the right
 * high bits and, lest it be overlong, its lead has more than its lowest bit: only then does the sum reach bit 8.
 */
static size_t pairs_front(uint64_t word)
{
    uint64_t wrong = ((word & LANES(0xc0e0)) ^ LANES(0x80c0)) | (~((word & LANES(0x1e)) + LANES(0xfe)) & LANES(0x100));

    return wrong == 0 ? sizeof(word) : (size_t)__builtin_ctzll(wrong) / 16 * 2;
}

/* How many bytes the good characters of more than one byte are that these begin with, first byte lowest: one, or some of two bytes
 * each. Zeros may stand for bytes that are not there. */
static size_t characters_front(uint64_t c)
{
    if ((c & 0xc0e0c0e0) == 0x80c080c0)
        return pairs_front(c);
    if ((c & 0xc0e0) == 0x80c0)
        return (c & 0x1e) != 0 ? 2 : 0; /* not overlong; one alone is quicker this way */
    if ((c & 0xc0c0f0) == 0x8080e0)
        return (c & 0x200f) != 0 && (c & 0x200f) != 0x200d ? 3 : 0; /* neither overlong nor a surrogate */
    if ((c & 0xc0c0c0f8) == 0x808080f0)
        return (c & 0x3007) != 0 && ((c & 0x04) == 0 || (c & 0x3003) == 0) ? 4 : 0; /* nor above U+10FFFF */
    return 0;
}

/* How many bytes at the front are ASCII, but for up to seven at the end; `key` is the mask from the first of them on. */
static size_t ascii_front(const char *at, size_t len, uint64_t key)
{
    size_t i = 0;
    uint64_t w[4];

    for (; len - i >= sizeof(w); i += sizeof(w)) {
        memcpy(w, at + i, sizeof(w));
        if ((((w[0] ^ key) | (w[1] ^ key) | (w[2] ^ key) | (w[3] ^ key)) & HIGH_BITS) != 0)
            break;
    }
    for (; len - i >= sizeof(key); i += sizeof(key)) {
        memcpy(w, at + i, sizeof(key));
        w[0] = le64toh((w[0] ^ key) & HIGH_BITS);
        if (w[0] != 0)
            return i + bytes_before(w[0]);
    }
    return i;
}

/* Whole characters at the front; 0 if the first must be looked at byte by byte. */
static size_t whole_front(const char *at, size_t len, uint64_t key)
{
    uint64_t word;
    size_t ascii;

    if (len < sizeof(word))
        return 0;
    memcpy(&word, at, sizeof(word));
    word = le64toh(word ^ key);
    if ((word & 0x80) != 0)
        return characters_front(word);
    if ((word & HIGH_BITS) == 0)
        return ascii_front(at, len, key);
    ascii = bytes_before(word & HIGH_BITS);
    return ascii + characters_front(word >> 8 * ascii);
}

/* Eight bytes of mask from position `at` of it on. */
static inline uint64_t key_from(const uint8_t mask[4], size_t at)
{
    unsigned turn = at % 4 * 8;
    uint32_t word;

    memcpy(&word, mask, sizeof(word));
    word = le32toh(word);
    word = htole32(word >> turn | word << (-turn & 31));
    return (uint64_t)word << 32 | word;
}

uint32_t utf8_feed(uint32_t state, struct span bytes)
{
    static const uint8_t no_mask[4];

    return utf8_feed_masked(state, bytes, no_mask, 0);
}

/* Are the last eight bytes ASCII? There are as many. */
static bool ends_in_ascii(struct span bytes, const uint8_t mask[4], size_t at)
{
    size_t start = bytes.len - sizeof(uint64_t);
    uint64_t word;

    memcpy(&word, bytes.at + start, sizeof(word));
    return ((word ^ key_from(mask, at + start)) & HIGH_BITS) == 0;
}

uint32_t utf8_feed_masked(uint32_t state, struct span bytes, const uint8_t mask[4], unsigned at)
{
    size_t i = state == 0 ? ascii_front(bytes.at, bytes.len, key_from(mask, at)) : 0;

    if (i > 0 && bytes.len - i < sizeof(uint64_t) && ends_in_ascii(bytes, mask, at))
        return 0; /* to the last; rather than what is left byte by byte */
    while (i < bytes.len && state != UTF8_BAD) {
        size_t whole = state == 0 ? whole_front(bytes.at + i, bytes.len - i, key_from(mask, at + i)) : 0;

        if (whole == 0)
            state = next_byte(state, (uint8_t)bytes.at[i] ^ mask[(at + i) & 3]);
        i += whole > 0 ? whole : 1;
    }
    return state;
}
