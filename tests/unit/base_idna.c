/* SPDX-License-Identifier: ISC */
/* Names in one spelling. */
#include "base/idna.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define LABEL63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DOTTED62 LABEL63 "." LABEL63 "." LABEL63 "."
#define LABEL61 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_names(void **state)
{
    static const struct {
        const char *text, *name; /* NULL: refused */
    } cases[] = {
        { "example", "example" },
        { "WWW.Example.COM", "www.example.com" },
        { "example.com.", "example.com" },
        { "_dmarc.a-b.example", "_dmarc.a-b.example" },
        { LABEL63 ".x", LABEL63 ".x" },
        { "a" LABEL63 ".x", NULL },
        { DOTTED62 LABEL61, DOTTED62 LABEL61 }, /* 253 bytes */
        { DOTTED62 LABEL61 ".", DOTTED62 LABEL61 },
        { DOTTED62 "a" LABEL61, NULL }, /* 254 */
        { "b\xc3\xbc"
          "cher.example",
          "xn--bcher-kva.example" },
        { "B\xc3\x9c"
          "CHER.example",
          "xn--bcher-kva.example" },
        { "b\xc3\xbc"
          "cher\xe3\x80\x82"
          "example",
          "xn--bcher-kva.example" },                    /* ideographic full stop */
        { "fa\xc3\x9f.example", "xn--fa-hia.example" }, /* nontransitional: sharp s stays */
        { "", NULL },
        { ".", NULL },
        { "..", NULL },
        { ".a", NULL },
        { "a..b", NULL },
        { "a..", NULL },
        { "a b", NULL },
        { "a/b", NULL },
        { "a:80", NULL },
        { "*.a", NULL },
        { "a%41", NULL },
        { "user@a", NULL },
        { "\xff\xfe", NULL }, /* not UTF-8 */
        { "a\xe2\x80\x8b.b c", NULL },
        { "\xef\xbc\x8f.example", NULL }, /* a full-width slash becomes one */
    };
    char out[HOST_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool good = idna_to_ascii(span_str(cases[i].text), out);

        if (good != (cases[i].name != NULL))
            fail_msg("%s", cases[i].text);
        if (good)
            assert_string_equal(out, cases[i].name);
    }
}

static void test_nul(void **state)
{
    char out[HOST_TEXT];

    (void)state;
    assert_false(idna_to_ascii(SPAN("a\0b"), out));
    assert_false(idna_to_ascii(SPAN("\xc3\xbc\0b"), out));
    assert_false(idna_to_ascii(span_of(NULL, 0), out));
}

static void test_long_unicode(void **state)
{
    char text[2000], out[HOST_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xbc", 2);
    assert_false(idna_to_ascii(span_of(text, 1022), out));
    assert_false(idna_to_ascii(span_of(text, sizeof(text)), out));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_names), cmocka_unit_test(test_nul),
                                        cmocka_unit_test(test_long_unicode) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
