/* SPDX-License-Identifier: ISC */
/*
 * The fingerprint is text of a fixed length: ten characters that a person can read, and two hashes of 48 bits. It says which
 * program speaks TLS, as long as that program does not pretend to be another: a client can choose every byte of it. Lists are
 * hashed as lower-case hexadecimal numbers of four digits with commas between them.
 */
#include "proto/ja4.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX 99
#define HASH_DIGITS 12

enum left_out { EXTENSION_SERVER_NAME = 0, EXTENSION_ALPN = 16 }; /* told in the first part */

bool ja4_is_grease(unsigned value)
{
    return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

static int ascending(const void *a, const void *b)
{
    const uint16_t *x = a, *y = b;

    return (int)*x - (int)*y;
}

/* Without GREASE; how many are left. */
static size_t drop_grease(uint16_t *values, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (!ja4_is_grease(values[i]))
            values[kept++] = values[i];
    return kept;
}

static const char digits[] = "0123456789abcdef";

/* As text, many numbers a call of the hash. */
static bool hash_list(EVP_MD_CTX *hash, const uint16_t *values, size_t count, char first)
{
    char text[32 * 5];
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        if (i > 0 || first != '\0')
            text[len++] = i == 0 ? first : ',';
        for (unsigned digit = 0; digit < 4; digit++)
            text[len++] = digits[values[i] >> (12 - 4 * digit) & 15];
        if (len + 5 > sizeof(text) || i + 1 == count) {
            if (EVP_DigestUpdate(hash, text, len) != 1)
                return false;
            len = 0;
        }
    }
    return true;
}

/* Twelve digits of the hash of one list, or of two with "_" between them; zeros if the first is empty. */
static bool write_hash(char *out, const uint16_t *list, size_t count, const uint16_t *behind, size_t behind_count)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned char sum[EVP_MAX_MD_SIZE];
    bool good;

    memcpy(out, "000000000000", HASH_DIGITS + 1);
    good = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 && hash_list(hash, list, count, '\0') &&
           hash_list(hash, behind, behind_count, '_') && EVP_DigestFinal_ex(hash, sum, NULL) == 1;
    for (unsigned i = 0; good && count > 0 && i < HASH_DIGITS; i++)
        out[i] = digits[sum[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
    EVP_MD_CTX_free(hash);
    return good;
}

static const char *version_text(uint16_t version)
{
    static const struct {
        uint16_t version;
        char text[3];
    } known[] = { { 0x0304, "13" }, { 0x0303, "12" }, { 0x0302, "11" }, { 0x0301, "10" }, { 0x0300, "s3" },
                  { 0x0002, "s2" }, { 0xfeff, "d1" }, { 0xfefd, "d2" }, { 0xfefc, "d3" } };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].version == version)
            return known[i].text;
    return "00";
}

static bool is_alphanumeric(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Its first and last character; of a protocol that is no word, those of its bytes in hexadecimal. */
static void write_alpn(struct span alpn, char out[3])
{
    uint8_t first, last;

    memcpy(out, "00", 3);
    if (alpn.len == 0)
        return;
    first = (uint8_t)alpn.at[0];
    last = (uint8_t)alpn.at[alpn.len - 1];
    if (is_alphanumeric(first) && is_alphanumeric(last)) {
        out[0] = (char)first;
        out[1] = (char)last;
    } else {
        out[0] = digits[first >> 4];
        out[1] = digits[last & 15];
    }
}

static unsigned shown(size_t count)
{
    return count < COUNT_MAX ? (unsigned)count : COUNT_MAX;
}

bool ja4_write(struct ja4_input *in, char out[TLS_JA4])
{
    size_t suites = drop_grease(in->suites, in->suite_count), extensions = drop_grease(in->extensions, in->extension_count);
    char alpn[3], suite_hash[HASH_DIGITS + 1], extension_hash[HASH_DIGITS + 1];
    size_t hashed = 0;

    write_alpn(in->alpn, alpn);
    snprintf(out, TLS_JA4, "t%s%c%02u%02u%s", version_text(in->version), in->has_sni ? 'd' : 'i', shown(suites), shown(extensions),
             alpn);
    for (size_t i = 0; i < extensions; i++)
        if (in->extensions[i] != EXTENSION_SERVER_NAME && in->extensions[i] != EXTENSION_ALPN)
            in->extensions[hashed++] = in->extensions[i];
    qsort(in->suites, suites, sizeof(*in->suites), ascending);
    qsort(in->extensions, hashed, sizeof(*in->extensions), ascending);
    if (!write_hash(suite_hash, in->suites, suites, NULL, 0) ||
        !write_hash(extension_hash, in->extensions, hashed, in->signatures, in->signature_count))
        return false;
    snprintf(out + strlen(out), TLS_JA4 - strlen(out), "_%s_%s", suite_hash, extension_hash);
    return true;
}
