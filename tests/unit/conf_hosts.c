/* SPDX-License-Identifier: ISC */
/* The hosts file and resolv.conf: what is read, what is passed over, in which order. */
#include "conf/conf_hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "addr addr" that the name has in the text. */
static char *found(struct span text, const char *name, size_t max)
{
    static char all[1024];
    struct conf_hosts *hosts = conf_hosts_parse(text);
    struct addr addrs[8];
    char one[ADDR_TEXT];
    size_t count, len = 0;

    assert_non_null(hosts);
    count = conf_hosts_find(hosts, span_str(name), addrs, max);
    assert_true(count <= max);
    all[0] = '\0';
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i > 0 ? " " : "", addr_text(&addrs[i], one));
    conf_hosts_free(hosts);
    return all;
}

#define HOSTS                                                                                                                      \
    "# a comment\n"                                                                                                                \
    "127.0.0.1\tlocalhost localhost.localdomain\n"                                                                                 \
    "::1 localhost ip6-localhost # localhost6\r\n"                                                                                 \
    "\n"                                                                                                                           \
    "  10.0.0.1 Gate.Example. gate#x y\n"                                                                                          \
    "10.0.0.2 gate.example\n"                                                                                                      \
    "10.0.0.3\n"                                                                                                                   \
    "10.0.0 bad1\n"                                                                                                                \
    "010.0.0.4 bad2\n"                                                                                                             \
    "fe80::1%lo bad3\n"                                                                                                            \
    "::ffff:10.0.0.5 mapped bad..name -ok\n"                                                                                       \
    "10.0.0.6 b\303\274cher.example\n"                                                                                             \
    "10.0.0.7 last"

static void hosts(void **state)
{
    static const struct {
        const char *name, *want;
    } cases[] = {
        { "localhost", "127.0.0.1 ::1" },
        { "localhost.localdomain", "127.0.0.1" },
        { "ip6-localhost", "::1" },
        { "localhost6", "" },
        { "gate.example", "10.0.0.1 10.0.0.2" },
        { "gate", "10.0.0.1" },
        { "y", "" },
        { "bad1", "" },
        { "bad2", "" },
        { "bad3", "" },
        { "mapped", "10.0.0.5" },
        { "-ok", "10.0.0.5" },
        { "xn--bcher-kva.example", "10.0.0.6" },
        { "last", "10.0.0.7" },
        { "", "" },
        { "zzz", "" },
        { "Gate.Example", "" }, /* look-ups are by the normalised name */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(found(SPAN(HOSTS), cases[i].name, 8), cases[i].want);
    assert_string_equal(found(SPAN(HOSTS), "localhost", 1), "127.0.0.1");
    assert_string_equal(found(SPAN(HOSTS), "localhost", 0), "");
    assert_string_equal(found(SPAN(""), "localhost", 8), "");
    assert_string_equal(found(SPAN("1.2.3.4 a\0b\n1.2.3.5 b\n"), "b", 8), "1.2.3.5");
}

/* More entries than the first allocation holds; all of one name come in the order of the file. */
static void many_hosts(void **state)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    (void)state;
    assert_non_null(out);
    for (unsigned i = 1; i <= 200; i++)
        fprintf(out, "10.0.0.%u same n%u\n", i, i);
    fclose(out);
    assert_string_equal(found(span_str(text), "same", 3), "10.0.0.1 10.0.0.2 10.0.0.3");
    assert_string_equal(found(span_str(text), "n200", 3), "10.0.0.200");
    free(text);
}

/* Memory from elsewhere: what is no table is refused, and a wrong offset or length leads nowhere. */
static void foreign_memory(void **state)
{
    struct conf_hosts *hosts = conf_hosts_parse(SPAN("10.0.0.1 a.example\n10.0.0.2 b.example\n"));
    struct span memory = conf_hosts_memory(hosts);
    char *copy = malloc(memory.len);
    const struct conf_hosts *opened;
    struct addr found;

    (void)state;
    assert_ptr_equal(conf_hosts_open(memory), hosts);
    assert_null(conf_hosts_open(span_of(NULL, 0)));
    assert_null(conf_hosts_open(span_of(memory.at, memory.len - 1)));
    assert_null(conf_hosts_open(span_of(memory.at, 8)));
    memcpy(copy, memory.at, memory.len);
    for (size_t bit = 0; bit < 8 * memory.len; bit++) {
        copy[bit / 8] ^= (char)(1 << bit % 8);
        opened = conf_hosts_open(span_of(copy, memory.len));
        if (opened != NULL)
            assert_true(conf_hosts_find(opened, SPAN("b.example"), &found, 1) <= 1);
        copy[bit / 8] ^= (char)(1 << bit % 8);
    }
    opened = conf_hosts_open(span_of(copy, memory.len));
    assert_non_null(opened);
    assert_int_equal(conf_hosts_find(opened, SPAN("b.example"), &found, 1), 1);
    free(copy);
    conf_hosts_free(hosts);
}

static void servers(void **state)
{
    static const char text[] =
        "# nameserver 9.9.9.9\nnameserver 10.0.0.1\nnameserver\t::1 # x\n nameserver 10.0.0.2\noptions ndots:5\n"
        "nameserver fe80::1%eth0\nnameserver\nnameserver2 10.0.0.3\nnameserver 10.0.0.4;x\nnameserver 10.0.0.5";
    static const char *const want[] = { "10.0.0.1:53", "[::1]:53", "10.0.0.4:53", "10.0.0.5:53" };
    struct addr out[8];
    char shown[ADDR_TEXT];

    (void)state;
    assert_int_equal(conf_resolv_servers(SPAN(text), out, 8), 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(addr_port_text(&out[i], shown), want[i]);
    assert_int_equal(conf_resolv_servers(SPAN(text), out, 2), 2);
    assert_int_equal(conf_resolv_servers(SPAN(text), out, 0), 0);
    assert_int_equal(conf_resolv_servers(SPAN(""), out, 8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts),
        cmocka_unit_test(many_hosts),
        cmocka_unit_test(foreign_memory),
        cmocka_unit_test(servers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
