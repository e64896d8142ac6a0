/* SPDX-License-Identifier: ISC */
/*
 * Addresses as text (RFC 5952), by hand: every request and every line of the log has some, and inet_ntop() takes a printf for each
 * part of one.
 */
#include "base/addr.h"

#include "base/digits.h"

#include <string.h>

static char *put_ip4(char *out, const uint8_t *ip)
{
    for (unsigned i = 0; i < 4; i++) {
        if (i > 0)
            *out++ = '.';
        out = digits_decimal(out, ip[i]);
    }
    return out;
}

/* The longest run of zero groups, the first of them if two are as long; a single one is no run. */
static unsigned longest_run(const uint16_t groups[8], unsigned *start)
{
    unsigned longest = 0;

    for (unsigned i = 0, len; i < 8; i += len + 1) {
        for (len = 0; i + len < 8 && groups[i + len] == 0; len++)
            continue;
        if (len > longest && len > 1) {
            longest = len;
            *start = i;
        }
    }
    return longest;
}

static char *put_ip6(char *out, const uint8_t *ip)
{
    unsigned start = 8, run, last;
    uint16_t groups[8];

    for (unsigned i = 0; i < 8; i++)
        groups[i] = (uint16_t)(ip[2 * i] << 8 | ip[2 * i + 1]);
    run = longest_run(groups, &start);
    last = start == 0 && (run == 6 || (run == 5 && groups[5] == 0xffff)) ? 6 : 8; /* an IPv4 address behind the others */
    for (unsigned i = 0; i < last; i++) {
        if (i > 0 || start == 0)
            *out++ = ':';
        if (i == start)
            i += run - 1;
        else
            out = digits_hex(out, groups[i]);
    }
    if (run > 0 && start + run == last)
        *out++ = ':';
    if (last == 8)
        return out;
    if (run < 6)
        *out++ = ':';
    return put_ip4(out, ip + 12);
}

static char *put_ip(char *out, const struct addr *a)
{
    if (a->family == 0)
        return out;
    return a->family == AF_INET6 ? put_ip6(out, a->ip) : put_ip4(out, a->ip);
}

char *addr_text(const struct addr *a, char *out)
{
    *put_ip(out, a) = '\0';
    return out;
}

char *addr_port_put(const struct addr *a, char *out)
{
    if (a->family == 0)
        return out;
    if (a->family == AF_INET6)
        *out++ = '[';
    out = put_ip(out, a);
    if (a->family == AF_INET6)
        *out++ = ']';
    *out++ = ':';
    return digits_decimal(out, a->port);
}

char *addr_port_text(const struct addr *a, char *out)
{
    *addr_port_put(a, out) = '\0';
    return out;
}
