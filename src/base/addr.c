/* SPDX-License-Identifier: ISC */
/*
 * Addresses and networks. There is one spelling of an address inside Postern: IPv4 in four bytes, IPv6 in sixteen, IPv4-mapped
 * turned into IPv4 at the door. Everything that compares addresses (zones, policies, loops, special-purpose blocks) relies on that.
 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static size_t ip_len(const struct addr *a)
{
    return a->family == AF_INET6 ? 16 : 4;
}

static void set_ip4(struct addr *out, const uint8_t *ip, uint16_t port)
{
    memset(out, 0, sizeof(*out));
    out->family = AF_INET;
    out->port = port;
    memcpy(out->ip, ip, 4);
}

static void set_ip6(struct addr *out, const uint8_t *ip, uint16_t port)
{
    static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

    if (memcmp(ip, mapped, sizeof(mapped)) == 0) {
        set_ip4(out, ip + 12, port);
        return;
    }
    out->family = AF_INET6;
    out->port = port;
    memcpy(out->ip, ip, 16);
}

bool addr_from_sockaddr(struct addr *out, const struct sockaddr *sa, socklen_t len)
{
    memset(out, 0, sizeof(*out));
    if (sa->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *in = (const void *)sa;

        set_ip4(out, (const uint8_t *)&in->sin_addr, ntohs(in->sin_port));
        return true;
    }
    if (sa->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *in6 = (const void *)sa;

        set_ip6(out, in6->sin6_addr.s6_addr, ntohs(in6->sin6_port));
        return true;
    }
    return false;
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (a->family == AF_INET6) {
        struct sockaddr_in6 *in6 = (void *)out;

        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(a->port);
        memcpy(&in6->sin6_addr, a->ip, 16);
        return sizeof(*in6);
    }
    struct sockaddr_in *in = (void *)out;

    in->sin_family = AF_INET;
    in->sin_port = htons(a->port);
    memcpy(&in->sin_addr, a->ip, 4);
    return sizeof(*in);
}

bool addr_parse(struct addr *out, struct span text, uint16_t port)
{
    char buf[INET6_ADDRSTRLEN];
    uint8_t ip[16];

    memset(out, 0, sizeof(*out));
    if (!span_cstr(text, buf, sizeof(buf)))
        return false;
    if (inet_pton(AF_INET, buf, ip) == 1)
        set_ip4(out, ip, port);
    else if (inet_pton(AF_INET6, buf, ip) == 1)
        set_ip6(out, ip, port);
    return out->family != 0;
}

static bool has_colon(struct span text)
{
    return text.len > 0 && memchr(text.at, ':', text.len) != NULL;
}

bool addr_parse_port(struct addr *out, struct span text)
{
    struct span host = text, digits;
    bool bracketed;
    uint64_t port;
    size_t colon = text.len;

    memset(out, 0, sizeof(*out));
    while (colon > 0 && text.at[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    digits = span_skip(text, colon);
    host.len = colon - 1;
    bracketed = host.len >= 2 && host.at[0] == '[' && host.at[host.len - 1] == ']';
    if (bracketed)
        host = span_of(host.at + 1, host.len - 2);
    if (bracketed != has_colon(host))
        return false; /* brackets are for IPv6, and IPv6 is in brackets */
    return span_u64(digits, 65535, &port) && port > 0 && addr_parse(out, host, (uint16_t)port);
}

/*
 * One part of a loosely written IPv4 address: 0x hex, 0 octal, or decimal. Returns false if it is no number at all. "08" is one
 * whose value nobody agrees about: it is out of every range.
 */
static bool loose_number(struct span part, uint64_t *value)
{
    unsigned base = 10;

    if (part.len >= 2 && part.at[0] == '0' && byte_lower(part.at[1]) == 'x') {
        base = 16;
        part = span_skip(part, 2);
    } else if (part.len > 1 && part.at[0] == '0') {
        base = 8;
    }
    *value = 0;
    if (part.len == 0)
        return base == 16; /* "0x" is read as zero by some */
    for (size_t i = 0; i < part.len; i++) {
        int digit = byte_hex(part.at[i]);

        if (digit < 0 || (base != 16 && digit > 9))
            return false;
        if (base == 8 && digit > 7)
            *value = UINT64_MAX;
        else if (*value <= UINT32_MAX)
            *value = *value * base + (unsigned)digit;
    }
    return true;
}

bool addr_parse_loose(struct addr *out, struct span text, uint16_t port)
{
    uint64_t parts[4], ip = 0;
    size_t n = 0, start = 0;
    bool in_range = true;

    memset(out, 0, sizeof(*out));
    if (text.len > 0 && text.at[text.len - 1] == '.')
        text.len--;
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.at[i] != '.')
            continue;
        if (i == start || n == 4 || !loose_number(span_of(text.at + start, i - start), &parts[n++]))
            return false;
        start = i + 1;
    }
    for (size_t i = 0; i + 1 < n; i++) {
        in_range = in_range && parts[i] <= 255;
        ip |= parts[i] << (24 - 8 * i);
    }
    in_range = in_range && parts[n - 1] <= (UINT32_MAX >> (8 * (n - 1)));
    ip |= parts[n - 1];
    if (in_range) {
        uint8_t bytes[4] = { (uint8_t)(ip >> 24), (uint8_t)(ip >> 16), (uint8_t)(ip >> 8), (uint8_t)ip };

        set_ip4(out, bytes, port);
    }
    return true;
}

bool addr_same_ip(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, ip_len(a)) == 0;
}

bool addr_is_bound_to(const struct addr *own, const struct addr *a)
{
    return own->family == a->family && own->port == a->port && (addr_is_any(own) || addr_same_ip(own, a));
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return a->port == b->port && addr_same_ip(a, b);
}

bool addr_is_any(const struct addr *a)
{
    static const uint8_t zero[16];

    return memcmp(a->ip, zero, ip_len(a)) == 0;
}

bool addr_is_loopback(const struct addr *a)
{
    static const uint8_t one[16] = { [15] = 1 };

    return a->family == AF_INET6 ? memcmp(a->ip, one, 16) == 0 : a->ip[0] == 127;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (whole > 0 && a[0] != b[0]) /* most of them, and worth no call */
        return false;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool network_has(const struct network *n, const struct addr *a)
{
    return n->base.family == a->family && same_bits(n->base.ip, a->ip, n->bits);
}

bool network_inside(const struct network *inner, const struct network *outer)
{
    return inner->bits >= outer->bits && network_has(outer, &inner->base);
}

static bool host_bits_zero(const struct network *n)
{
    for (unsigned bit = n->bits; bit < ip_len(&n->base) * 8; bit++)
        if (n->base.ip[bit / 8] & (0x80u >> (bit % 8)))
            return false;
    return true;
}

bool network_parse(struct network *out, struct span text)
{
    const char *slash = text.len > 0 ? memchr(text.at, '/', text.len) : NULL;
    struct span ip = slash ? span_of(text.at, (size_t)(slash - text.at)) : text;
    uint64_t bits, most;
    unsigned mapped;

    memset(out, 0, sizeof(*out));
    if (!addr_parse(&out->base, ip, 0))
        return false;
    mapped = out->base.family == AF_INET && has_colon(ip) ? 96 : 0; /* bits of ::ffff:0:0/96, which are gone now */
    bits = most = ip_len(&out->base) * 8 + mapped;
    if (slash && (!span_u64(span_skip(text, ip.len + 1), most, &bits) || bits < mapped))
        return false;
    out->bits = (uint8_t)(bits - mapped);
    return host_bits_zero(out);
}

/* RFC 6890 and its successors, the longest block first where one lies in another. */
static const struct special {
    uint16_t family;
    uint8_t bits;
    uint8_t ip[16];
} special_blocks[] = {
    { AF_INET, 32, { 255, 255, 255, 255 } },
    { AF_INET, 8, { 0 } },
    { AF_INET, 8, { 10 } },
    { AF_INET, 10, { 100, 64 } },
    { AF_INET, 8, { 127 } },
    { AF_INET, 16, { 169, 254 } },
    { AF_INET, 12, { 172, 16 } },
    { AF_INET, 24, { 192, 0, 0 } },
    { AF_INET, 24, { 192, 0, 2 } },
    { AF_INET, 24, { 192, 31, 196 } },
    { AF_INET, 24, { 192, 52, 193 } },
    { AF_INET, 24, { 192, 88, 99 } },
    { AF_INET, 16, { 192, 168 } },
    { AF_INET, 24, { 192, 175, 48 } },
    { AF_INET, 15, { 198, 18 } },
    { AF_INET, 24, { 198, 51, 100 } },
    { AF_INET, 24, { 203, 0, 113 } },
    { AF_INET, 4, { 224 } },
    { AF_INET, 4, { 240 } },
    { AF_INET6, 128, { 0 } },
    { AF_INET6, 128, { [15] = 1 } },
    { AF_INET6, 96, { 0 } }, /* IPv4-compatible, deprecated: always special */
    { AF_INET6, 64, { 0x01 } },
    { AF_INET6, 64, { 0x01, [7] = 0x01 } },
    { AF_INET6, 48, { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 } },
    { AF_INET6, 32, { 0x20, 0x01, 0x0d, 0xb8 } },
    { AF_INET6, 28, { 0x20, 0x01, 0x00, 0x20 } },
    { AF_INET6, 28, { 0x20, 0x01, 0x00, 0x10 } },
    { AF_INET6, 48, { 0x20, 0x01, 0x00, 0x02 } },
    { AF_INET6, 20, { 0x3f, 0xff } },
    { AF_INET6, 16, { 0x5f } },
    { AF_INET6, 7, { 0xfc } },
    { AF_INET6, 10, { 0xfe, 0x80 } },
    { AF_INET6, 10, { 0xfe, 0xc0 } },
    { AF_INET6, 8, { 0xff } },
};

/* Prefixes that carry an IPv4 address inside: special if what they carry is. Teredo carries the client's inverted. */
static const struct wrapper {
    uint8_t bits;
    uint8_t at; /* where the IPv4 address begins */
    uint8_t invert;
    uint8_t ip[16];
} wrappers[] = {
    { 16, 2, 0x00, { 0x20, 0x02 } },
    { 96, 12, 0x00, { 0x00, 0x64, 0xff, 0x9b } },
    { 32, 12, 0xff, { 0x20, 0x01, 0x00, 0x00 } },
    { 32, 4, 0x00, { 0x20, 0x01, 0x00, 0x00 } },
};

static bool special_plain(const struct addr *a, struct network *block)
{
    for (size_t i = 0; i < sizeof(special_blocks) / sizeof(special_blocks[0]); i++) {
        const struct special *s = &special_blocks[i];

        if (s->family != a->family || !same_bits(s->ip, a->ip, s->bits))
            continue;
        memset(block, 0, sizeof(*block));
        block->base.family = s->family;
        block->bits = s->bits;
        memcpy(block->base.ip, s->ip, 16);
        return true;
    }
    return false;
}

static bool special_wrapped(const struct addr *a, struct network *block)
{
    for (size_t i = 0; i < sizeof(wrappers) / sizeof(wrappers[0]); i++) {
        const struct wrapper *w = &wrappers[i];
        struct network inner;
        struct addr carried;
        uint8_t ip[4];

        if (!same_bits(w->ip, a->ip, w->bits))
            continue;
        for (size_t k = 0; k < 4; k++)
            ip[k] = a->ip[w->at + k] ^ w->invert;
        set_ip4(&carried, ip, 0);
        if (!special_plain(&carried, &inner))
            continue;
        memset(block, 0, sizeof(*block));
        block->base.family = AF_INET6;
        block->bits = w->bits;
        memcpy(block->base.ip, w->ip, 16);
        return true;
    }
    return false;
}

bool addr_special(const struct addr *a, struct network *block)
{
    return special_plain(a, block) || (a->family == AF_INET6 && special_wrapped(a, block));
}

/* A special-purpose block of IPv4 as one wrapper spells it; or the whole wrapper, if it says more than a prefix can. */
static void wrap(const struct special *s, const struct wrapper *w, struct network *block)
{
    block->base.family = AF_INET6;
    block->bits = w->bits;
    memcpy(block->base.ip, w->ip, sizeof(w->ip));
    if (w->invert != 0)
        return;
    block->bits = (uint8_t)(8 * w->at + s->bits);
    memcpy(block->base.ip + w->at, s->ip, 4);
}

bool addr_special_block(size_t index, struct network *block)
{
    const size_t blocks = sizeof(special_blocks) / sizeof(special_blocks[0]), kinds = sizeof(wrappers) / sizeof(wrappers[0]);
    size_t four = 0;

    memset(block, 0, sizeof(*block));
    if (index < blocks) {
        block->base.family = special_blocks[index].family;
        block->bits = special_blocks[index].bits;
        memcpy(block->base.ip, special_blocks[index].ip, 16);
        return true;
    }
    while (special_blocks[four].family == AF_INET)
        four++;
    index -= blocks;
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): the table begins with those of IPv4 */
    if (index / four >= kinds)
        return false;
    wrap(&special_blocks[index % four], &wrappers[index / four], block);
    return true;
}

bool network_is_special(const struct network *n)
{
    for (size_t i = 0; i < sizeof(special_blocks) / sizeof(special_blocks[0]); i++) {
        const struct special *s = &special_blocks[i];

        if (s->family == n->base.family && n->bits >= s->bits && same_bits(s->ip, n->base.ip, s->bits))
            return true;
    }
    for (size_t i = 0; i < sizeof(wrappers) / sizeof(wrappers[0]); i++)
        if (n->base.family == AF_INET6 && n->bits >= wrappers[i].bits && same_bits(wrappers[i].ip, n->base.ip, wrappers[i].bits))
            return true;
    return false;
}
