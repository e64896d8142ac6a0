/* SPDX-License-Identifier: ISC */
/* A generation lives as long as its last reference, and unmaps its hosts files with it. (Leaks are the sanitizer's to see.) */
#include "policy/generation.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define FILE_BYTES 4096

static struct generation *make(void)
{
    static const char text[] =
        "zones = ( { name = \"all\"; networks = [ \"0.0.0.0/0\" ]; } );\n"
        "listeners = ( { name = \"web\"; mode = \"explicit\"; address = \"127.0.0.1:3128\"; } );\n"
        "policies = ( { name = \"a\"; from = \"all\"; action = \"allow\"; }, { name = \"b\"; action = \"deny\"; } );\n";
    struct generation *g = calloc(1, sizeof(*g));
    struct conf_messages messages;

    assert_non_null(g);
    g->refs = 1;
    g->conf = conf_parse("test.conf", span_str(text), &messages);
    assert_non_null(g->conf);
    conf_messages_fini(&messages);
    g->hosts = conf_hosts_parse(SPAN("127.0.0.1 localhost\n"));
    g->files = calloc(g->conf->policy_count, sizeof(*g->files));
    assert_non_null(g->files);
    g->rules = rules_new(g->conf, g->files);
    assert_non_null(g->rules);
    return g;
}

static bool is_mapped(void *memory)
{
    unsigned char there;

    return mincore(memory, FILE_BYTES, &there) == 0 || errno != ENOMEM;
}

static void test_last_reference(void **state)
{
    struct generation *g = make();
    void *memory = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(memory != MAP_FAILED);
    g->files[1].memory = memory; /* only the second policy has a file */
    g->files[1].size = FILE_BYTES;
    assert_ptr_equal(generation_ref(g), g);
    assert_int_equal(g->refs, 2);
    generation_unref(g);
    assert_int_equal(g->refs, 1);
    assert_true(is_mapped(memory));
    generation_unref(g);
    assert_false(is_mapped(memory));
}

/* As it stands when making one failed half way. */
static void test_unfinished(void **state)
{
    struct generation *g = calloc(1, sizeof(*g));

    (void)state;
    assert_non_null(g);
    g->refs = 1;
    generation_unref(g);
    generation_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_last_reference), cmocka_unit_test(test_unfinished) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
