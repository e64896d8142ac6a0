/* SPDX-License-Identifier: ISC */
/*
 * Other protocols at the start of a binary stream. The stream grows byte by byte, each time in a block of its own size: nothing
 * beyond it is read, a yes stays a yes, and what lies behind SNIFF_HIDDEN_MAX does not matter.
 */
#include "proto/sniff.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST (SNIFF_HIDDEN_MAX + 4)

static bool ask(const uint8_t *data, size_t n)
{
    char *block = malloc(n + (n == 0));
    bool yes;

    memcpy(block, data, n);
    yes = sniff_hidden(span_of(block, n));
    free(block);
    return yes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool was = false;

    for (size_t n = 0; n <= size && n <= MOST; n++) {
        bool is = ask(data, n);

        if ((was && !is) || (n > SNIFF_HIDDEN_MAX && is != was))
            abort();
        was = is;
    }
    return 0;
}
