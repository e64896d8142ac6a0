/* SPDX-License-Identifier: ISC */
/* Addresses in all their spellings, networks, special-purpose blocks (RFC 6890) and the prefixes that carry one. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_literals(void **state)
{
    static const struct {
        const char *text, *shown; /* NULL: no literal */
    } cases[] = {
        { "0.0.0.0", "0.0.0.0" },
        { "255.255.255.255", "255.255.255.255" },
        { "::", "::" },
        { "::1", "::1" },
        { "FD00:EC2::254", "fd00:ec2::254" },
        { "::ffff:127.0.0.1", "127.0.0.1" },
        { "::ffff:7f00:1", "127.0.0.1" },
        { "0:0:0:0:0:FFFF:127.0.0.1", "127.0.0.1" },
        { "::127.0.0.1", "::127.0.0.1" },
        { "0000:0000:0000:0000:0000:ffff:255.255.255.255", "255.255.255.255" },
        { "", NULL },
        { "1.2.3", NULL },
        { "1.2.3.4.", NULL },
        { "1.2.3.256", NULL },
        { "01.2.3.4", NULL },
        { "0177.0.0.1", NULL },
        { "0x7f.0.0.1", NULL },
        { "2130706433", NULL },
        { " 1.2.3.4", NULL },
        { "[::1]", NULL },
        { "fe80::1%lo", NULL },
        { "1::2::3", NULL },
        { "12345::", NULL },
        { "localhost", NULL },
        { "0000:0000:0000:0000:0000:ffff:255.255.255.2555", NULL },
    };
    char shown[ADDR_TEXT];
    struct addr a;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool good = addr_parse(&a, span_str(cases[i].text), 443);

        if (good != (cases[i].shown != NULL))
            fail_msg("%s", cases[i].text);
        assert_int_equal(a.port, good ? 443 : 0);
        assert_string_equal(addr_text(&a, shown), good ? cases[i].shown : "");
    }
    assert_false(addr_parse(&a, SPAN("1.2.3.4\0"), 0));
}

static void test_ports(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        { "1.2.3.4:80", "1.2.3.4:80" },
        { "[::1]:65535", "[::1]:65535" },
        { "[::ffff:1.2.3.4]:1", "1.2.3.4:1" },
        { "0.0.0.0:1", "0.0.0.0:1" },
        { "1.2.3.4:0", NULL },
        { "1.2.3.4:65536", NULL },
        { "1.2.3.4:", NULL },
        { "1.2.3.4", NULL },
        { ":80", NULL },
        { "", NULL },
        { "[]:80", NULL },
        { "[:80", NULL },
        { "::1:80", NULL },
        { "[1.2.3.4]:80", NULL },
        { "[::1]80", NULL },
        { "[::1]:80:80", NULL },
        { "1.2.3.4:80:80", NULL },
        { "1.2.3.4:+80", NULL },
        { "host:80", NULL },
    };
    char shown[ADDR_TEXT];
    struct addr a;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (addr_parse_port(&a, span_str(cases[i].text)) != (cases[i].shown != NULL))
            fail_msg("%s", cases[i].text);
        if (cases[i].shown != NULL)
            assert_string_equal(addr_port_text(&a, shown), cases[i].shown);
    }
    memset(&a, 0, sizeof(a));
    assert_string_equal(addr_port_text(&a, shown), "");
}

/* What inet_aton(3) would take, as in the vectors of the family connect-addr. */
static void test_loose(void **state)
{
    static const struct {
        const char *text, *shown; /* "": a number that is no address; NULL: no number */
    } cases[] = {
        { "127.0.0.1", "127.0.0.1" },
        { "127.0.0.1.", "127.0.0.1" },
        { "0177.0.0.1", "127.0.0.1" },
        { "0x7f.1", "127.0.0.1" },
        { "0X7F000001", "127.0.0.1" },
        { "2130706433", "127.0.0.1" },
        { "2852039166", "169.254.169.254" },
        { "0xa9.0xfe.0xa9.0xfe", "169.254.169.254" },
        { "0251.0376.0251.0376", "169.254.169.254" },
        { "169.16689662", "169.254.169.254" },
        { "127.1", "127.0.0.1" },
        { "10.0.65535", "10.0.255.255" },
        { "0", "0.0.0.0" },
        { "0x", "0.0.0.0" },
        { "4294967295", "255.255.255.255" },
        { "4294967296", "" },
        { "99999999999999999999999999999", "" },
        { "256.0.0.1", "" },
        { "1.2.3.256", "" },
        { "1.2.65536", "" },
        { "1.16777216", "" },
        { "08.0.0.1", "" },
        { "019.0.0.1", "" },
        { "0x100.0.0.1", "" },
        { "1.2.3.4.5", NULL },
        { "", NULL },
        { ".", NULL },
        { ".1", NULL },
        { "1..2", NULL },
        { "1.2.3.4..", NULL },
        { "a.b", NULL },
        { "face", NULL },
        { "1e100.net", NULL },
        { "0xcafe.com", NULL },
        { "0xfg", NULL },
        { "-1", NULL },
        { "1.2.3.4 ", NULL },
    };
    char shown[ADDR_TEXT];
    struct addr a;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (addr_parse_loose(&a, span_str(cases[i].text), 7) != (cases[i].shown != NULL))
            fail_msg("%s", cases[i].text);
        if (cases[i].shown != NULL)
            assert_string_equal(addr_text(&a, shown), cases[i].shown);
    }
}

/* The C library writes the same. */
static void test_random_texts(void **state)
{
    char ours[ADDR_TEXT], theirs[ADDR_TEXT], with_port[ADDR_TEXT];
    struct addr a;

    (void)state;
    srand(7);
    for (int i = 0; i < 200000; i++) {
        a = (struct addr){ .family = rand() % 4 == 0 ? AF_INET : AF_INET6, .port = (uint16_t)rand() };
        for (size_t k = 0; k < sizeof(a.ip); k++)
            a.ip[k] = rand() % 3 == 0 ? (uint8_t)rand() : rand() % 6 == 0 ? 0xff : 0;
        assert_non_null(inet_ntop(a.family, a.ip, theirs, sizeof(theirs)));
        assert_string_equal(addr_text(&a, ours), theirs);
        snprintf(with_port, sizeof(with_port), a.family == AF_INET6 ? "[%.45s]:%u" : "%.45s:%u", theirs, a.port);
        assert_string_equal(addr_port_text(&a, ours), with_port);
    }
}

static void test_sockaddr(void **state)
{
    static const char *const texts[] = { "192.0.2.7:8080", "[2001:db8::1]:443" };
    struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
    struct sockaddr_storage ss;
    struct addr a, b;
    socklen_t len;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_true(addr_parse_port(&a, span_str(texts[i])));
        len = addr_to_sockaddr(&a, &ss);
        assert_true(addr_from_sockaddr(&b, (struct sockaddr *)&ss, len));
        assert_true(addr_eq(&a, &b));
        assert_false(addr_from_sockaddr(&b, (struct sockaddr *)&ss, len - 1));
    }
    memcpy(&mapped.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16);
    assert_true(addr_from_sockaddr(&a, (struct sockaddr *)&mapped, sizeof(mapped)));
    assert_int_equal(a.family, AF_INET);
    ss.ss_family = AF_UNIX;
    assert_false(addr_from_sockaddr(&a, (struct sockaddr *)&ss, sizeof(ss)));
    assert_int_equal(a.family, 0);
}

static struct addr address(const char *text)
{
    struct addr a;

    if (!addr_parse(&a, span_str(text), 1))
        fail_msg("%s", text);
    return a;
}

static void test_compare(void **state)
{
    struct addr a = address("1.2.3.4"), b = a, six = address("102:304::");

    (void)state;
    b.port = 2;
    assert_true(addr_same_ip(&a, &b));
    assert_false(addr_eq(&a, &b));
    assert_false(addr_same_ip(&a, &six));
    assert_true(addr_is_any(&(struct addr){ .family = AF_INET }));
    assert_true(addr_is_any(&(struct addr){ .family = AF_INET6 }));
    assert_false(addr_is_any(&a));
    a = address("127.255.0.3");
    assert_true(addr_is_loopback(&a));
    a = address("128.0.0.1");
    assert_false(addr_is_loopback(&a));
    a = address("::1");
    assert_true(addr_is_loopback(&a));
    a = address("::2");
    assert_false(addr_is_loopback(&a));
}

static void test_networks(void **state)
{
    static const struct {
        const char *network, *inside, *outside; /* inside NULL: refused */
    } cases[] = {
        { "10.0.0.0/8", "10.255.255.255", "11.0.0.0" },
        { "192.0.2.128/25", "192.0.2.128", "192.0.2.127" },
        { "192.0.2.6/31", "192.0.2.7", "192.0.2.8" },
        { "192.0.2.7", "192.0.2.7", "192.0.2.6" },
        { "192.0.2.7/32", "192.0.2.7", "192.0.2.6" },
        { "0.0.0.0/0", "255.1.2.3", "::1" },
        { "::/0", "2001:db8::1", "1.2.3.4" },
        { "fd00::/8", "fdff::", "fe00::" },
        { "2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::" },
        { "::1", "::1", "::2" },
        { "::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0" },
        { "::ffff:0:0/96", "200.1.2.3", "::1" },
        { "::ffff:10.1.2.3", "10.1.2.3", "10.1.2.4" },
        { "::ffff:10.0.0.0/8", NULL, NULL },
        { "::ffff:10.0.0.0/95", NULL, NULL },
        { "10.0.0.1/8", NULL, NULL },
        { "192.0.2.1/31", NULL, NULL },
        { "10.0.0.0/33", NULL, NULL },
        { "::/129", NULL, NULL },
        { "fd00::1/127", NULL, NULL },
        { "10.0.0.0/", NULL, NULL },
        { "10.0.0.0/-1", NULL, NULL },
        { "10/8", NULL, NULL },
        { "", NULL, NULL },
        { "/8", NULL, NULL },
    };
    struct network n;
    struct addr in, out;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (network_parse(&n, span_str(cases[i].network)) != (cases[i].inside != NULL))
            fail_msg("%s", cases[i].network);
        if (cases[i].inside == NULL)
            continue;
        in = address(cases[i].inside);
        out = address(cases[i].outside);
        assert_true(network_has(&n, &in));
        assert_false(network_has(&n, &out));
        assert_true(network_inside(&n, &n));
    }
}

static void test_inside(void **state)
{
    struct network wide, narrow, other;

    (void)state;
    assert_true(network_parse(&wide, SPAN("10.0.0.0/8")) && network_parse(&narrow, SPAN("10.7.0.0/16")) &&
                network_parse(&other, SPAN("11.0.0.0/16")));
    assert_true(network_inside(&narrow, &wide));
    assert_false(network_inside(&wide, &narrow));
    assert_false(network_inside(&other, &wide));
}

/* First and last address of each block, and the neighbours where those are ordinary. */
static void test_special(void **state)
{
    static const struct {
        const char *address, *block; /* NULL: ordinary */
    } cases[] = {
        { "0.0.0.0", "0.0.0.0/8" },
        { "0.255.255.255", "0.0.0.0/8" },
        { "1.0.0.0", NULL },
        { "9.255.255.255", NULL },
        { "10.0.0.0", "10.0.0.0/8" },
        { "10.255.255.255", "10.0.0.0/8" },
        { "11.0.0.0", NULL },
        { "100.63.255.255", NULL },
        { "100.64.0.0", "100.64.0.0/10" },
        { "100.100.100.200", "100.64.0.0/10" },
        { "100.127.255.255", "100.64.0.0/10" },
        { "100.128.0.0", NULL },
        { "126.255.255.255", NULL },
        { "127.0.0.1", "127.0.0.0/8" },
        { "127.255.255.255", "127.0.0.0/8" },
        { "128.0.0.0", NULL },
        { "169.253.255.255", NULL },
        { "169.254.169.254", "169.254.0.0/16" },
        { "169.255.0.0", NULL },
        { "172.15.255.255", NULL },
        { "172.16.0.0", "172.16.0.0/12" },
        { "172.31.255.255", "172.16.0.0/12" },
        { "172.32.0.0", NULL },
        { "192.0.0.8", "192.0.0.0/24" },
        { "192.0.1.0", NULL },
        { "192.0.2.1", "192.0.2.0/24" },
        { "192.31.196.1", "192.31.196.0/24" },
        { "192.52.193.1", "192.52.193.0/24" },
        { "192.88.99.1", "192.88.99.0/24" },
        { "192.167.255.255", NULL },
        { "192.168.0.0", "192.168.0.0/16" },
        { "192.168.255.255", "192.168.0.0/16" },
        { "192.169.0.0", NULL },
        { "192.175.48.1", "192.175.48.0/24" },
        { "198.17.255.255", NULL },
        { "198.18.0.0", "198.18.0.0/15" },
        { "198.19.255.255", "198.18.0.0/15" },
        { "198.20.0.0", NULL },
        { "198.51.100.1", "198.51.100.0/24" },
        { "203.0.113.1", "203.0.113.0/24" },
        { "203.0.114.0", NULL },
        { "223.255.255.255", NULL },
        { "224.0.0.1", "224.0.0.0/4" },
        { "239.255.255.255", "224.0.0.0/4" },
        { "240.0.0.1", "240.0.0.0/4" },
        { "255.255.255.254", "240.0.0.0/4" },
        { "255.255.255.255", "255.255.255.255" },
        { "::", "::/128" },
        { "::1", "::1/128" },
        { "::2", "::/96" },
        { "::127.0.0.1", "::/96" },
        { "::8.8.8.8", "::/96" },
        { "::ffff:127.0.0.1", "127.0.0.0/8" },
        { "::ffff:8.8.8.8", NULL },
        { "64:ff9b::127.0.0.1", "64:ff9b::/96" },
        { "64:ff9b::a9fe:a9fe", "64:ff9b::/96" },
        { "64:ff9b::8.8.8.8", NULL },
        { "64:ff9b:1::8.8.8.8", "64:ff9b:1::/48" },
        { "64:ff9b:2::1", NULL },
        { "100::1", "100::/64" },
        { "100:0:0:1::1", "100:0:0:1::/64" },
        { "100:0:0:2::1", NULL },
        { "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001::/32" }, /* Teredo: client 127.0.0.1 */
        { "2001:0:a00:1:8000:63bf:f7f7:f7f7", "2001::/32" },     /* Teredo: server 10.0.0.1 */
        { "2001:0:4136:e378:8000:63bf:f7f7:f7f7", NULL },        /* Teredo: 8.8.8.8 */
        { "2001:2::1", "2001:2::/48" },
        { "2001:2:1::", NULL },
        { "2001:10::1", "2001:10::/28" },
        { "2001:20::1", "2001:20::/28" },
        { "2001:2f:ffff::", "2001:20::/28" },
        { "2001:30::", NULL },
        { "2001:db8::1", "2001:db8::/32" },
        { "2001:db9::", NULL },
        { "2002:7f00:1::", "2002::/16" },
        { "2002:a9fe:a9fe::1", "2002::/16" },
        { "2002:808:808::1", NULL },
        { "3fff:fff::1", "3fff::/20" },
        { "3fff:1000::1", NULL },
        { "5f00::1", "5f00::/16" },
        { "fbff::", NULL },
        { "fc00::", "fc00::/7" },
        { "fd00:ec2::254", "fc00::/7" },
        { "fe00::", NULL },
        { "fe80::1", "fe80::/10" },
        { "febf::", "fe80::/10" },
        { "fec0::1", "fec0::/10" },
        { "ff02::1", "ff00::/8" },
        { "2606:4700:4700::1111", NULL },
    };
    struct network block, expected;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct addr a = address(cases[i].address);

        if (addr_special(&a, &block) != (cases[i].block != NULL))
            fail_msg("%s", cases[i].address);
        if (cases[i].block == NULL)
            continue;
        assert_true(network_parse(&expected, span_str(cases[i].block)));
        assert_int_equal(block.bits, expected.bits);
        assert_true(addr_same_ip(&block.base, &expected.base));
        assert_true(network_has(&block, &a));
    }
}

static bool is_listed_special(const struct addr *a)
{
    struct network block;

    for (size_t i = 0; addr_special_block(i, &block); i++)
        if (network_has(&block, a))
            return true;
    return false;
}

/* The list holds what addr_special() holds, and nothing else but Teredo. */
static void test_special_blocks(void **state)
{
    static const char *const wraps[] = { "2002::", "64:ff9b::", "2001::", "8000::", "::" };
    struct network block;
    struct addr a;

    (void)state;
    srand(5);
    for (size_t i = 0; addr_special_block(i, &block); i++) {
        struct network in;

        assert_true(network_is_special(&block));
        assert_true(addr_special(&block.base, &in) || memcmp(block.base.ip, "\x20\x01\0\0", 4) == 0);
    }
    for (int i = 0; i < 20000; i++) {
        assert_true(addr_parse(&a, span_str(wraps[rand() % 5]), 0));
        for (size_t k = rand() % 2 ? 2 : 12; k < 16; k++)
            a.ip[k] = rand() % 4 == 0 ? 10 : (uint8_t)(a.ip[k] | rand());
        if (memcmp(a.ip, "\x20\x01\0\0", 4) == 0)
            assert_true(is_listed_special(&a));
        else
            assert_int_equal(is_listed_special(&a), addr_special(&a, &block));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),       cmocka_unit_test(test_ports),   cmocka_unit_test(test_loose),
        cmocka_unit_test(test_sockaddr),       cmocka_unit_test(test_compare), cmocka_unit_test(test_networks),
        cmocka_unit_test(test_random_texts),   cmocka_unit_test(test_inside),  cmocka_unit_test(test_special),
        cmocka_unit_test(test_special_blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
