/* SPDX-License-Identifier: ISC */
/*
 * Fingerprints that FoxIO publishes (technical_details/JA4.md and the expected output of its own test captures), from the lists
 * that are published with them; and what the text says of odd protocols, counts and lists.
 */
#include "proto/ja4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Numbers of a list "1301,c02b" into an array; how many there are. */
static size_t numbers(const char *text, uint16_t *out)
{
    size_t count = 0;

    while (*text != '\0') {
        char *end;

        out[count++] = (uint16_t)strtoul(text, &end, 16);
        text = *end == ',' ? end + 1 : end;
    }
    return count;
}

struct published {
    uint16_t version;
    struct span alpn;
    bool has_sni;
    const char *suites, *extensions, *signatures, *ja4;
};

static const char *fingerprint(const struct published *p)
{
    static char out[TLS_JA4];
    uint16_t suites[200], extensions[200], signatures[200];
    struct ja4_input in = { .version = p->version,
                            .has_sni = p->has_sni,
                            .alpn = p->alpn,
                            .suites = suites,
                            .extensions = extensions,
                            .signatures = signatures };

    in.suite_count = numbers(p->suites, suites);
    in.extension_count = numbers(p->extensions, extensions);
    in.signature_count = numbers(p->signatures, signatures);
    assert_true(ja4_write(&in, out));
    return out;
}

#define CHROME_SUITES "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
#define CHROME_EXTENSIONS "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015"
#define CHROME_SIGNATURES "0403,0804,0401,0503,0805,0501,0806,0601"
#define H2 SPAN("h2")
#define H1 SPAN("http/1.1")
#define NONE SPAN("")

static void test_published(void **state)
{
    static const struct published table[] = {
        { 0x0304, H2, true, CHROME_SUITES, CHROME_EXTENSIONS, CHROME_SIGNATURES, "t13d1516h2_8daaf6152771_e5627efa2ab1" },
        /* GREASE in front and behind, and another order */
        { 0x0304, H2, true, "4a4a," CHROME_SUITES, "dada," CHROME_EXTENSIONS ",3a3a", CHROME_SIGNATURES,
          "t13d1516h2_8daaf6152771_e5627efa2ab1" },
        { 0x0304, H1, true, CHROME_SUITES, "000d,0033,0000,ff01,002b,0023,002d,0005,0012,000b,0017,4469,0010,001b,000a,0015",
          CHROME_SIGNATURES, "t13d1516h1_8daaf6152771_e5627efa2ab1" },
        { 0x0304, H2, true, CHROME_SUITES, CHROME_EXTENSIONS, "", "t13d1516h2_8daaf6152771_6d807ffa2a79" },
        { 0x0304, NONE, true, "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035",
          "0033,002b,001b,0000,0012,002d,000d,000a,0005,0023,0017,ff01,000b,0015", "0403,0804,0401,0503,0805,0501,0806,0601",
          "t13d151400_8daaf6152771_de4a06bb82e3" },
        { 0x0304, H1, true, "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035",
          "0000,0017,0005,002b,0012,0023,000a,0033,0010,002d,001b,4469,000b,000d,ff01,0015,0029",
          "0403,0804,0401,0503,0805,0501,0806,0601", "t13d1517h1_8daaf6152771_6cdcb247c39b" },
        { 0x0303, NONE, true, "c02c,c02b,c030,c02f,c024,c023,c028,c027,c00a,c009,c014,c013,009d,009c,003d,003c,0035,002f,000a",
          "0000,0005,000a,000b,000d,0023,0017,ff01", "0804,0805,0806,0401,0501,0201,0403,0503,0203,0202,0601,0603",
          "t12d190800_d83cc789557e_7af1ed941c26" },
        { 0x0304, H2, true,
          "1301,1302,1303,c02c,c02b,c024,c023,c00a,c009,cca9,c030,c02f,c028,c027,c014,c013,cca8,009d,009c,003d,003c,0035,002f,c008,"
          "c012,000a",
          "ff01,0000,0017,000d,0005,0012,0010,000b,0033,002d,002b,000a,0015",
          "0403,0804,0401,0503,0203,0805,0805,0501,0806,0601,0201", "t13d2613h2_2802a3db6c62_845d286b0d67" },
        { 0x0304, H2, true, "1301,1303,1302,c02b,c02f,cca9,cca8,c02c,c030,c00a,c009,c013,c014,009c,009d,002f,0035",
          "0000,0017,ff01,000a,000b,0023,0010,0005,0022,0033,002b,000d,002d,001c,0015",
          "0403,0503,0603,0804,0805,0806,0401,0501,0601,0203,0201", "t13d1715h2_5b57614c22b0_3d5424432f57" },
        { 0x0301, NONE, true,
          "0039,0038,0035,0016,0013,000a,0033,0032,002f,009a,0099,0096,0005,0004,0015,0012,0009,0014,0011,0008,0006,0003,00ff",
          "0000", "", "t10d230100_6a57a6f57151_000000000000" },
        { 0x0303, H2, true,
          "c030,c02c,c028,c024,c014,c00a,009f,006b,0039,cca9,cca8,ccaa,ff85,00c4,0088,0081,009d,003d,0035,00c0,0084,c02f,c02b,c027,"
          "c023,c013,c009,009e,0067,0033,00be,0045,009c,003c,002f,00ba,0041,c011,c007,0005,0004,c012,c008,0016,000a,00ff",
          "0000,000b,000a,000d,0010", "0601,0603,efef,0501,0503,0401,0403,eeee,eded,0301,0303,0201,0203",
          "t12d4605h2_85626a9a5f7f_aaf95bb78ec9" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        assert_string_equal(fingerprint(&table[i]), table[i].ja4);
}

/* The readable part alone. */
static void expect_first(const struct published *p, const char *first)
{
    char part[11];

    snprintf(part, sizeof(part), "%s", fingerprint(p));
    assert_string_equal(part, first);
}

static void test_protocols(void **state)
{
    static const struct {
        struct span alpn;
        const char *text;
    } table[] = {
        { NONE, "00" },
        { SPAN("h"), "hh" },
        { SPAN("\xab"), "ab" },
        { SPAN(" "), "20" },
        { SPAN("\xab\xcd"), "ad" },
        { SPAN(" a"), "21" },
        { SPAN("0\xab"), "3b" },
        { SPAN("a "), "60" },
        { SPAN("01\xab\xcd"), "3d" },
        { SPAN("0\xab\xcd"
               "1"),
          "01" },
        { SPAN("Zz"), "Zz" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct published p = { 0x0303, table[i].alpn, true, "1301", "0010", "", NULL };
        char first[12];

        snprintf(first, sizeof(first), "t12d0101%s", table[i].text);
        expect_first(&p, first);
    }
}

static void test_versions(void **state)
{
    static const struct {
        uint16_t version;
        const char *first;
    } table[] = { { 0x0304, "t13i000000" }, { 0x0303, "t12i000000" }, { 0x0302, "t11i000000" }, { 0x0301, "t10i000000" },
                  { 0x0300, "ts3i000000" }, { 0x0002, "ts2i000000" }, { 0xfeff, "td1i000000" }, { 0xfefd, "td2i000000" },
                  { 0xfefc, "td3i000000" }, { 0x7f17, "t00i000000" }, { 0, "t00i000000" } };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct published p = { table[i].version, NONE, false, "", "", "", NULL };

        expect_first(&p, table[i].first);
    }
}

/* A list that is empty without GREASE, SNI and ALPN has no hash; 99 stands for more. */
static void test_counts(void **state)
{
    static char many[5 * 101 + 1];
    struct published p = { 0x0304, H2, true, "0a0a,fafa", "1a1a,0000,0010", "0403", NULL };

    (void)state;
    assert_string_equal(fingerprint(&p), "t13d0002h2_000000000000_000000000000");
    for (unsigned i = 0; i < 99; i++)
        snprintf(many + 5 * i, 6, "%04x,", 0xc000 + i);
    p.suites = many;
    expect_first(&p, "t13d9902h2");
    snprintf(many + 5 * 99, 11, "%04x,%04x", 0xd000, 0xd001);
    p.extensions = many;
    expect_first(&p, "t13d9999h2");
}

static void test_grease(void **state)
{
    unsigned count = 0;

    (void)state;
    for (unsigned value = 0; value <= UINT16_MAX; value++)
        count += ja4_is_grease(value);
    assert_int_equal(count, 16);
    assert_true(ja4_is_grease(0x0a0a) && ja4_is_grease(0xfafa) && !ja4_is_grease(0x0a1a) && !ja4_is_grease(0x0b0b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published), cmocka_unit_test(test_protocols), cmocka_unit_test(test_versions),
        cmocka_unit_test(test_counts),    cmocka_unit_test(test_grease),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
