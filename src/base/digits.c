/* SPDX-License-Identifier: ISC */
/*
 * Numbers as digits. They come last one first, so their count is found before the first is written.
 */
#include "base/digits.h"

static unsigned decimal_width(uint64_t n)
{
    unsigned width = 1;

    for (; n >= 10000; n /= 10000)
        width += 4;
    return width + (n >= 10) + (n >= 100) + (n >= 1000);
}

char *digits_padded(char *out, uint64_t n, unsigned width)
{
    for (unsigned i = width; i > 0; i--, n /= 10)
        out[i - 1] = (char)('0' + n % 10);
    return out + width;
}

char *digits_decimal(char *out, uint64_t n)
{
    if (n < 10) { /* most parts of most addresses, and what did not happen */
        *out = (char)('0' + n);
        return out + 1;
    }
    return digits_padded(out, n, decimal_width(n));
}

char *digits_hex(char *out, uint64_t n)
{
    unsigned shift = 0;

    while (shift < 60 && n >> (shift + 4) != 0)
        shift += 4;
    for (;; shift -= 4) {
        *out++ = "0123456789abcdef"[n >> shift & 15];
        if (shift == 0)
            return out;
    }
}
