/* SPDX-License-Identifier: ISC */
/* Prefixes and sets of policies, against lists searched from end to end. */
#include "policy/prefixmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MEMBERS = 150, PREFIXES = 1500, LONGEST = 8, QUESTIONS = 5000 };

static unsigned dice(unsigned sides)
{
    return (unsigned)rand() % sides;
}

/* Few different bytes, those of both ends among them, so that many begin with one another. */
static struct span some_text(char *room)
{
    static const char bytes[] = { 'a', 'b', '/', '\0', (char)0xff };
    size_t len = dice(LONGEST + 1);

    for (size_t i = 0; i < len; i++)
        room[i] = bytes[dice(dice(4) ? 2 : 5)];
    return span_of(room, len);
}

static void test_against_list(void **state)
{
    static struct prefixmap_item items[PREFIXES], list[PREFIXES];
    static char rooms[PREFIXES][LONGEST], room[LONGEST];
    struct sets *sets = sets_new(MEMBERS);
    uint64_t base[(MEMBERS + 63) / 64] = { 0 }, wanted[(MEMBERS + 63) / 64];
    struct prefixmap map;

    (void)state;
    srand(4);
    bits_add(base, 7);
    for (size_t i = 0; i < PREFIXES; i++) {
        do
            items[i] = (struct prefixmap_item){ some_text(rooms[i]), dice(MEMBERS) };
        while (items[i].prefix.len < 2); /* else all begin with it */
    }
    memcpy(list, items, sizeof(items));
    assert_true(prefixmap_build(&map, items, PREFIXES, sets, sets_intern(sets, base)));
    for (int q = 0; q < QUESTIONS; q++) {
        struct span text = some_text(room);

        memcpy(wanted, base, sizeof(base));
        for (size_t i = 0; i < PREFIXES; i++)
            if (span_starts(text, list[i].prefix))
                bits_add(wanted, list[i].member);
        assert_memory_equal(sets_at(sets, prefixmap_find(&map, text)), wanted, sizeof(wanted));
    }
    prefixmap_fini(&map);
    sets_free(sets);
}

/* Every text begins with the empty prefix; without any prefix nothing is found. */
static void test_empty(void **state)
{
    struct prefixmap_item items[] = { { span_of(NULL, 0), 1 }, { SPAN("/a"), 0 } };
    struct sets *sets = sets_new(2);
    struct prefixmap map;

    (void)state;
    assert_true(prefixmap_build(&map, items, 2, sets, 0));
    assert_int_equal(*sets_at(sets, prefixmap_find(&map, span_of(NULL, 0))), 2);
    assert_int_equal(*sets_at(sets, prefixmap_find(&map, SPAN("/"))), 2);
    assert_int_equal(*sets_at(sets, prefixmap_find(&map, SPAN("/ab"))), 3);
    prefixmap_fini(&map);
    assert_true(prefixmap_build(&map, items, 0, sets, 0));
    assert_int_equal(prefixmap_find(&map, SPAN("/a")), 0);
    prefixmap_fini(&map);
    sets_free(sets);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_against_list), cmocka_unit_test(test_empty) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
