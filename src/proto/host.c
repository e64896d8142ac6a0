/* SPDX-License-Identifier: ISC */
/*
 * Hosts in one spelling. Everything that names a server (request target, Host, SOCKS request, TLS server name, rule) passes through
 * host_parse() once, and is compared only in the form that it has then. Whoever can write one server in two ways that compare as
 * different gets around every rule, so each spelling that some resolver reads as an address becomes that address, and what could be
 * read in two ways is refused.
 *
 * Not here: which hosts are allowed (policy/), and names in Unicode (base/idna.h): a request may only carry A-labels.
 */
#include "proto/host.h"

#include "base/mutant.h"

#include <string.h>

static void set_name(struct host *out, const char *text)
{
    out->len = (uint16_t)strlen(text);
    memcpy(out->name, text, out->len + 1u);
}

void host_clear(struct host *out)
{
    memset(&out->ip, 0, sizeof(out->ip));
    out->name[0] = '\0';
    out->len = 0;
}

void host_from_addr(struct host *out, const struct addr *ip)
{
    char text[ADDR_TEXT];

    host_from_literal(out, ip, span_str(addr_text(ip, text)));
}

void host_from_literal(struct host *out, const struct addr *ip, struct span text)
{
    out->ip = *ip;
    out->ip.port = 0;
    out->len = (uint16_t)text.len;
    memcpy(out->name, text.at, text.len);
    out->name[text.len] = '\0';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "12", "0x1f", "0x": what a resolver takes for a part of an address. */
static bool is_number(struct span label)
{
    bool hex = label.len >= 2 && label.at[0] == '0' && byte_lower(label.at[1]) == 'x';

    for (size_t i = hex ? 2 : 0; i < label.len; i++)
        if (hex ? byte_hex(label.at[i]) < 0 : !is_digit(label.at[i]))
            return false;
    return true;
}

static struct span last_label(struct span name)
{
    size_t dot = name.len;

    while (dot > 0 && name.at[dot - 1] != '.')
        dot--;
    return span_skip(name, dot);
}

/* The text between the brackets of an IPv6 literal (RFC 3986 3.2.2); IPvFuture and zone ids are no address to addr_parse(). */
static bool parse_literal(struct host *out, struct span text)
{
    struct span inner = span_of(text.at + 1, text.len - 2);
    struct addr ip;

    if (text.at[text.len - 1] != ']' || inner.len == 0 || memchr(inner.at, ':', inner.len) == NULL || !addr_parse(&ip, inner, 0))
        return false;
    host_from_addr(out, &ip);
    return true;
}

static bool is_reg_name(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = byte_lower(text.at[i]);

        if (!(c >= 'a' && c <= 'z') && !is_digit(c) && c != '-' && c != '.' && c != '_')
            return false;
    }
    return true;
}

bool host_parse(struct host *out, struct span text)
{
    struct addr ip;

    host_clear(out);
    if (text.len >= 2 && text.at[0] == '[')
        return parse_literal(out, text);
    if (FAULT(C6_NAME, !is_reg_name(text)))
        return false;
    if (addr_parse_loose(&ip, text, 0)) {
        host_from_addr(out, &ip);
        return ip.family != 0;
    }
    if (!idna_to_ascii(text, out->name) || FAULT(C6_NUMBER, is_number(last_label(span_str(out->name))))) {
        set_name(out, "");
        return false;
    }
    out->len = (uint16_t)strlen(out->name);
    return true;
}

/* Where the port's colon is, or the end: behind the bracket of a literal, otherwise the first colon. */
static size_t host_end(struct span authority)
{
    size_t i = 0;

    if (authority.len > 0 && authority.at[0] == '[')
        while (i < authority.len && authority.at[i] != ']')
            i++;
    while (i < authority.len && authority.at[i] != ':')
        i++;
    return i;
}

bool host_parse_authority(struct host *out, uint16_t *port, struct span text)
{
    size_t end = host_end(text);
    uint64_t number = 0;

    *port = 0;
    if (!host_parse(out, span_of(text.at, end)))
        return false;
    if (end == text.len)
        return true;
    if (FAULT(C6_PORT, !span_u64(span_skip(text, end + 1), UINT16_MAX, &number) || number == 0))
        return false;
    *port = (uint16_t)number;
    return true;
}

/* Where a text is kept: names differ in length, in the middle and before their port. */
static struct host_memo_entry *memo_entry(struct host_memo *memo, struct span text)
{
    size_t middle = text.len / 2;

    return &memo->entries[(text.len + 5u * (unsigned char)text.at[0] + 3u * (unsigned char)text.at[middle] +
                           (unsigned char)text.at[text.len - 1]) %
                          HOST_MEMO];
}

static void copy_host(struct host *out, const struct host *from)
{
    out->ip = from->ip;
    out->len = from->len;
    memcpy(out->name, from->name, from->len + 1u);
}

bool host_recall_authority(struct host_memo *memo, struct host *out, uint16_t *port, struct span text)
{
    struct host_memo_entry *entry;

    if (text.len == 0 || text.len > HOST_MEMO_TEXT)
        return host_parse_authority(out, port, text);
    entry = memo_entry(memo, text);
    if (span_eq(text, span_of(entry->text, entry->len))) {
        copy_host(out, &entry->host);
        *port = entry->port;
        return true;
    }
    if (!host_parse_authority(out, port, text))
        return false;
    memcpy(entry->text, text.at, text.len);
    entry->len = (uint16_t)text.len;
    entry->port = *port;
    copy_host(&entry->host, out);
    return true;
}

bool host_eq(const struct host *a, const struct host *b)
{
    return span_eq(host_span(a), host_span(b));
}

struct span host_span(const struct host *h)
{
    return span_of(h->name, h->len);
}
