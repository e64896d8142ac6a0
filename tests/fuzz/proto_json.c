/* SPDX-License-Identifier: ISC */
/*
 * JSON. The first byte is the depth that is allowed. A text that is good stays good with white space around it and in an array one
 * level deeper, and is no longer good one byte shorter, unless it is a number or ends in white space. What is asked for never makes
 * a bad text good.
 */
#include "proto/json_scan.h"

#include "proto/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_good(struct span text, uint32_t depth)
{
    char *longer = malloc(text.len + 4);
    char last = text.at[text.len - 1];

    must(longer != NULL);
    memcpy(longer, " [", 2);
    memcpy(longer + 2, text.at, text.len);
    memcpy(longer + 2 + text.len, "]\n", 2);
    must(json_scan(span_of(longer, text.len + 4), depth + 1, NULL, 0));
    must(!json_scan(span_of(longer, text.len + 4), 0, NULL, 0));
    must(!json_scan(span_of(longer, text.len + 2), depth + 1, NULL, 0));
    longer[1] = ' ';
    longer[2 + text.len] = '\t';
    must(json_scan(span_of(longer, text.len + 4), depth, NULL, 0));
    must(utf8_feed(0, text) == 0);
    if (strchr("]}\"el", last) != NULL)
        must(!json_scan(span_of(text.at, text.len - 1), JSON_DEPTH_MAX, NULL, 0));
    free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_wanted wanted[] = { { .path = "a" }, { .path = "b" }, { .path = "a.b" }, { .path = "\xc3\xa9" } };
    struct span text;
    bool good;

    if (size == 0)
        return 0;
    text = span_of((const char *)data + 1, size - 1);
    good = json_scan(text, data[0], NULL, 0);
    if (json_scan(text, data[0], wanted, 4)) {
        must(good && (!wanted[2].found || wanted[2].begun) && wanted[0].found == (wanted[0].found || wanted[2].begun));
        must(json_scan(text, data[0] + 1u, wanted, 4));
    }
    if (good)
        check_good(text, data[0]);
    return 0;
}
