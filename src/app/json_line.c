/* SPDX-License-Identifier: ISC */
/*
 * Fields of one JSON object, a byte after the other. Whether there is room is asked once a field, for the most that it can be.
 */
#include "app/json_line.h"

#include "base/digits.h"

#include <string.h>

/* The key, if it and a value of `most` bytes have room. */
static bool put_key(struct json_line *l, struct span key, size_t most)
{
    size_t comma = l->at[-1] == '{';

    if ((size_t)(l->end - l->at) < JSON_KEY_MAX + most) {
        l->overflow = true;
        return false;
    }
    memcpy(l->at, key.at + comma, JSON_KEY_MAX);
    l->at += key.len - comma;
    return true;
}

void json_line_open(struct json_line *l, char *out, size_t size)
{
    *out = '{';
    *l = (struct json_line){ .at = out + 1, .end = out + size - 2 };
}

size_t json_line_close(struct json_line *l, const char *out)
{
    *l->at++ = '}';
    *l->at++ = '\n';
    return l->overflow ? 0 : (size_t)(l->at - out);
}

void json_line_text(struct json_line *l, struct span key, const char *text, size_t size)
{
    const char *stop = text + size;
    char *at;

    if (*text == '\0' || !put_key(l, key, 2 * size + 2))
        return;
    at = l->at;
    *at++ = '"';
    for (; text < stop && *text != '\0'; text++) {
        char c = *text >= 0x20 && *text <= 0x7e ? *text : '?';

        if (c == '"' || c == '\\')
            *at++ = '\\';
        *at++ = c;
    }
    *at++ = '"';
    l->at = at;
}

void json_line_word(struct json_line *l, struct span key, const char *word)
{
    size_t len = strlen(word);

    if (len == 0 || !put_key(l, key, len + 2))
        return;
    *l->at++ = '"';
    memcpy(l->at, word, len);
    l->at += len;
    *l->at++ = '"';
}

void json_line_number(struct json_line *l, struct span key, uint64_t number)
{
    if (put_key(l, key, DIGITS_MAX))
        l->at = digits_decimal(l->at, number);
}

void json_line_addr(struct json_line *l, struct span key, const struct addr *address)
{
    if (address->family == 0 || !put_key(l, key, ADDR_TEXT + 2))
        return;
    *l->at++ = '"';
    l->at = addr_port_put(address, l->at);
    *l->at++ = '"';
}

void json_line_true(struct json_line *l, struct span key, bool value)
{
    if (!value || !put_key(l, key, 4))
        return;
    memcpy(l->at, "true", 4);
    l->at += 4;
}

void json_line_begin(struct json_line *l, struct span key)
{
    if (put_key(l, key, 1))
        *l->at++ = '{';
}

void json_line_end(struct json_line *l)
{
    if (l->at < l->end)
        *l->at++ = '}';
    else
        l->overflow = true;
}
