/* SPDX-License-Identifier: ISC */
/*
 * Keys of session tickets as text. What is read is looked at to the end before any of it is used, and nothing of it stays here.
 */
#include "app/ticket_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEY_DIGITS (2 * sizeof(struct tls_ticket_key))

void ticket_keys_write(const struct tls_ticket_key *keys, size_t count, uint64_t left_ms, char out[TICKET_KEYS_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = (const uint8_t *)keys;
    char *at = out + snprintf(out, TICKET_KEYS_TEXT, "%" PRIu64, left_ms);

    for (size_t i = 0; i < count * sizeof(*keys); i++) {
        if (i % sizeof(*keys) == 0)
            *at++ = ' ';
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    *at = '\0';
}

static struct span next_word(struct span *rest)
{
    const char *space = rest->len > 0 ? memchr(rest->at, ' ', rest->len) : NULL;
    struct span word = span_of(rest->at, space != NULL ? (size_t)(space - rest->at) : rest->len);

    *rest = span_skip(*rest, space != NULL ? word.len + 1 : word.len);
    return word;
}

static bool read_key(struct span word, struct tls_ticket_key *key)
{
    uint8_t *bytes = (uint8_t *)key;

    for (size_t i = 0; word.len == KEY_DIGITS && i < sizeof(*key); i++) {
        int high = byte_hex(word.at[2 * i]), low = byte_hex(word.at[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return word.len == KEY_DIGITS;
}

size_t ticket_keys_read(const char *text, struct tls_ticket_key *keys, uint64_t *left_ms)
{
    struct tls_ticket_key read[TLS_TICKET_KEYS];
    struct span rest = span_str(text);
    uint64_t left;
    bool good = span_u64(next_word(&rest), INT64_MAX, &left) && rest.len > 0;
    size_t count = 0;

    while (good && rest.len > 0)
        good = count < TLS_TICKET_KEYS && read_key(next_word(&rest), &read[count++]);
    if (good) {
        memcpy(keys, read, count * sizeof(*keys));
        *left_ms = left;
    }
    explicit_bzero(read, sizeof(read));
    return good ? count : 0;
}
