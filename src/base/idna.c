/* SPDX-License-Identifier: ISC */
/*
 * Names in one spelling. ASCII names, nearly all, are folded here without asking anybody; names with other bytes go through libidn2
 * and are then held to the same rules.
 */
#include "base/idna.h"

#include <idn2.h>
#include <stdlib.h>
#include <string.h>

static bool label_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool fold_ascii(struct span text, char *out)
{
    size_t label = 0;

    if (text.len > 0 && text.at[text.len - 1] == '.')
        text.len--;
    if (text.len == 0 || text.len > 253)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = byte_lower(text.at[i]);

        if (c == '.' ? label == 0 : !label_byte(c) || label == 63)
            return false;
        label = c == '.' ? 0 : label + 1;
        out[i] = c;
    }
    out[text.len] = '\0';
    return label > 0;
}

static bool is_ascii(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.at[i] >= 0x80)
            return false;
    return true;
}

bool idna_to_ascii(struct span text, char out[HOST_TEXT])
{
    char unicode[1024], *ascii = NULL;
    bool good;

    out[0] = '\0';
    if (is_ascii(text))
        return fold_ascii(text, out);
    if (!span_cstr(text, unicode, sizeof(unicode)))
        return false;
    good = idn2_to_ascii_8z(unicode, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) == IDN2_OK && fold_ascii(span_str(ascii), out);
    idn2_free(ascii);
    return good;
}
