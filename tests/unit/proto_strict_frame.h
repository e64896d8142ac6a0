/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_TESTS_PROTO_STRICT_FRAME_H
#define POSTERN_TESTS_PROTO_STRICT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * A slow and strict reader of RFC 6455 (and of RSV1 as RFC 7692 has it), for one direction of which all bytes are there. It shares
 * no code with the one that it judges. Text is collected and read as a whole, at most STRICT_MAX bytes.
 */
#define STRICT_MAX (1u << 17)

struct strict {
    bool masked, may_compress;
    unsigned open; /* opcode of the open message */
    bool closed, compressed;
    unsigned opcode;  /* of the last frame */
    bool fin, inside; /* inside: of the last frame, a data frame, not all of the payload is there */
    size_t text_len;
    uint8_t text[STRICT_MAX];
};

/* Decodes each character and looks at its value. `whole`: the last one must be complete. */
static bool strict_utf8(const uint8_t *at, size_t len, bool whole)
{
    static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };

    for (size_t i = 0; i < len;) {
        unsigned more = at[i] < 0x80 ? 0 : at[i] >> 5 == 6 ? 1 : at[i] >> 4 == 14 ? 2 : at[i] >> 3 == 30 ? 3 : 4;
        uint32_t low, high;

        if (more == 4)
            return false;
        low = high = more == 0 ? at[i] : at[i] & (0x3fu >> more);
        i++;
        for (unsigned k = 0; k < more; k++) {
            bool there = i < len;

            if ((!there && whole) || (there && at[i] >> 6 != 2))
                return false;
            low = low << 6 | (there ? at[i] & 0x3fu : 0);
            high = high << 6 | (there ? at[i] & 0x3fu : 0x3fu);
            i += there;
        }
        /* Of a character that is cut off, some value that it may still have must be good. */
        if (high < least[more] || low > 0x10ffff || (low >= 0xd800 && high <= 0xdfff))
            return false;
    }
    return true;
}

static bool strict_control(struct strict *o, unsigned first, const uint8_t *payload, const uint8_t *mask, size_t len)
{
    uint8_t plain[125];
    unsigned code;

    if (o->opcode > 10 || !(first & 0x80) || len > sizeof(plain))
        return false;
    o->closed = o->opcode == 8;
    if (!o->closed || len == 0)
        return true;
    for (size_t i = 0; i < len; i++)
        plain[i] = payload[i] ^ mask[i & 3];
    code = len < 2 ? 0 : plain[0] * 256u + plain[1];
    return ((code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999)) &&
           strict_utf8(plain + 2, len - 2, true);
}

static bool strict_data(struct strict *o, unsigned first, const uint8_t *payload, const uint8_t *mask, size_t len)
{
    bool good;

    if (o->opcode > 2 || (o->opcode == 0) != (o->open != 0))
        return false;
    if (o->opcode != 0) {
        o->open = o->opcode;
        o->compressed = first & 0x40;
        o->text_len = 0;
    }
    o->fin = (first & 0x80) && !o->inside;
    if (o->open != 1 || o->compressed)
        len = 0;
    for (size_t i = 0; i < len; i++)
        o->text[o->text_len++] = payload[i] ^ mask[i & 3];
    good = o->open != 1 || o->compressed || strict_utf8(o->text, o->text_len, o->fin);
    if (o->fin)
        o->open = 0;
    return good;
}

/* Reads one frame. How long it is; 0: it is not valid, or no more than the beginning of a header or of a control frame (*cut). */
static size_t strict_frame(struct strict *o, const uint8_t *at, size_t len, bool *cut)
{
    static const uint8_t no_mask[4];
    size_t form = len < 2 ? 0 : at[1] & 127, bytes = form == 127 ? 8 : form == 126 ? 2 : 0;
    size_t head = 2 + bytes + (o->masked ? 4 : 0), there;
    const uint8_t *mask = o->masked ? at + head - 4 : no_mask;
    uint64_t payload = bytes > 0 ? 0 : form;

    *cut = len < head;
    if (*cut)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        payload = payload << 8 | at[2 + i];
    o->opcode = at[0] & 15;
    there = payload < len - head ? (size_t)payload : len - head;
    if (o->closed || at[1] >> 7 != o->masked || (bytes > 0 && payload < (form == 126 ? 126 : 65536)) || payload >> 63 != 0)
        return 0;
    if ((at[0] & 0x30) || ((at[0] & 0x40) && !(o->may_compress && (o->opcode == 1 || o->opcode == 2))))
        return 0;
    *cut = o->opcode >= 8 && there < payload;
    o->inside = o->opcode < 8 && there < payload;
    if (*cut ||
        (o->opcode >= 8 ? !strict_control(o, at[0], at + head, mask, there) : !strict_data(o, at[0], at + head, mask, there)))
        return 0;
    return head + there;
}

static void strict_init(struct strict *o, bool masked, bool may_compress)
{
    memset(o, 0, offsetof(struct strict, text));
    o->masked = masked;
    o->may_compress = may_compress;
}

/* Is it valid, from the first byte to the last? Only the payload of a data frame may be missing (o->inside). */
static inline bool strict_stream(struct strict *o, const char *bytes, size_t len)
{
    size_t n = 1;
    bool cut;

    for (size_t done = 0; done < len && n > 0; done += n)
        n = strict_frame(o, (const uint8_t *)bytes + done, len - done, &cut);
    return n > 0;
}

#endif
