/* SPDX-License-Identifier: ISC */
/* What filters accept and which rows they choose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/filters.h"
#include "app_fake_view.h"

static void test_fits(void **state)
{
    static const struct {
        const char *filter;
        bool one, three; /* rows 0-1 and 1-1 */
    } cases[] = {
        { "id=0-1", true, false },
        { "id!=0-1", false, true },
        { "worker=1", false, true },
        { "state=ESTABLISHED", true, true },
        { "STATE=established", true, true },
        { "state!=ESTABLISHED", false, false },
        { "phase=websocket", true, true },
        { "mode=explicit", true, true },
        { "listener=proxy", true, true },
        { "protocol=http", false, false },
        { "client=10.0.0.1", true, false },
        { "client=10.0.0.0/8", true, false },
        { "client!=10.0.0.0/8", false, true },
        { "client=fd00::/8", false, true },
        { "client=10.0.0.1:1000", true, false },
        { "client~:1000", true, true },
        { "host=one.example", true, false },
        { "host~EXAMPLE", true, true },
        { "policy=web", true, true },
        { "policy!=web", false, false },
        { "path~/ch", true, true },
        { "path=/chat=x", false, false },
        { "zone_in!=inside", true, true },
        { "status=0", true, true },
        { "server=10.0.0.1", false, false },
        { "conntrack=4711", true, false },
        { "conntrack=0", false, true },
        { "conntrack_state=established", true, false },
        { "conntrack_state!=ESTABLISHED", false, true },
        { "translated=10.77.1.0/24", true, false },
        { "translated!=10.77.1.5", false, true },
        { "translated=10.77.1.5:22", true, false },
        { "mark=1392508933", true, false },
        { "mark=0x53000005", true, false },
        { "mark!=0X53000005", false, true },
        { "mark~0x53", false, false },
        { "mark=0x", false, false },
    };
    struct view v;

    (void)state;
    fake_view(&v);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct filters set = { 0 };
        struct row one, three;
        const char *fault = filters_add(&set, span_str(cases[i].filter));

        assert_null(fault);
        assert_true(row_read(v.shards[0], 0, &one, NULL) && row_read(v.shards[1], 0, &three, NULL));
        one.conntrack = 4711;
        one.conntrack_state = CONNTRACK_ESTABLISHED;
        one.mark = 0x53000005;
        assert_true(addr_parse_port(&one.translated, SPAN("10.77.1.5:22")));
        if (filters_fit(&set, &one, NULL, v.shards[0]) != cases[i].one ||
            filters_fit(&set, &three, NULL, v.shards[1]) != cases[i].three)
            fail_msg("%s", cases[i].filter);
    }
    fake_view_fini(&v);
}

static void test_all_have_to_fit(void **state)
{
    struct filters set = { 0 };
    struct view v;
    struct row row;

    (void)state;
    fake_view(&v);
    assert_true(row_read(v.shards[0], 0, &row, NULL));
    assert_true(filters_fit(&set, &row, NULL, v.shards[0]));
    assert_null(filters_add(&set, SPAN("worker=0")));
    assert_null(filters_add(&set, SPAN("host=two.example")));
    assert_false(filters_fit(&set, &row, NULL, v.shards[0]));
    assert_true(row_read(v.shards[0], 1, &row, NULL));
    assert_true(filters_fit(&set, &row, NULL, v.shards[0]));
    fake_view_fini(&v);
}

static void test_refused(void **state)
{
    static const char *const bad[] = { "",      "=",     "=x",      "host",       "host!", "host!x",
                                       "host=", "host~", "hosts=x", "nonsense~x", "!=x",   "host!~x" };
    char value[FILTER_VALUE + 8] = "host=";
    struct filters set = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (filters_add(&set, span_str(bad[i])) == NULL)
            fail_msg("%s was accepted", bad[i]);
    assert_int_equal(set.count, 0);
    assert_non_null(filters_add(&set, span_of("host=a\0b", 8)));
    memset(value + 5, 'a', FILTER_VALUE);
    assert_non_null(filters_add(&set, span_of(value, 5 + FILTER_VALUE)));
    assert_null(filters_add(&set, span_of(value, 5 + FILTER_VALUE - 1)));
    for (int i = 1; i < FILTERS_MAX; i++)
        assert_null(filters_add(&set, SPAN("worker=0")));
    assert_non_null(filters_add(&set, SPAN("worker=0")));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_fits), cmocka_unit_test(test_all_have_to_fit),
                                        cmocka_unit_test(test_refused) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
