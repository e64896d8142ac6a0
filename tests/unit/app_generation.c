/* SPDX-License-Identifier: ISC */
/* A generation on its way: made from files, sent, and loaded again, whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/generation_load.h"
#include "app/generation_make.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZONES "zones = ( { name = \"in\"; networks = [ \"10.0.0.0/8\" ]; } );\n"
#define LISTENERS "listeners = ( { name = \"proxy\"; mode = \"explicit\"; address = \"127.0.0.1:3128\"; from = \"in\"; } );\n"
#define POLICY "{ name = \"p%u\"; from = \"in\"; hosts_file = \"%s\"; action = \"deny\"; }"

static char folder[64], path[96], names[96], hosts[96], text[65536], *said;
static size_t said_len;
static struct ipc_message message;

static void write_file(const char *name, const char *content)
{
    FILE *file = fopen(name, "w");

    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    fclose(file);
    assert_int_equal(chmod(name, 0600), 0);
}

/* A configuration with this many policies, each with a hosts file. */
static void write_configuration(unsigned policies)
{
    size_t used =
        (size_t)snprintf(text, sizeof(text),
                         "resolver = { servers = [ \"192.0.2.53\" ]; hosts = \"%s\"; };\n" ZONES LISTENERS "policies = (\n", hosts);

    for (unsigned i = 0; i < policies; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s" POLICY "\n", i > 0 ? ", " : "", i, names);
    snprintf(text + used, sizeof(text) - used, ");\n");
    write_file(path, text);
}

static struct blueprint *make_after(const char *file, const struct blueprint *before)
{
    FILE *out;
    struct blueprint *b;

    free(said);
    out = open_memstream(&said, &said_len);
    assert_non_null(out);
    b = blueprint_make(file, 7, "postern-1a2b3c4d", before, out, out);
    fclose(out);
    return b;
}

static struct blueprint *make(const char *file)
{
    return make_after(file, NULL);
}

static void feed(struct generation_inbox *in, struct ipc_message *m)
{
    if (m->type == IPC_GENERATION)
        generation_begin(in, m);
    else if (m->type == IPC_HOSTSETS)
        generation_hostsets(in, m);
    ipc_release(m);
}

static struct generation *load(const struct blueprint *b, struct generation_inbox *in)
{
    int fds[2];

    assert_true(ipc_pair(fds));
    assert_true(blueprint_send(b, fds[0]));
    while (ipc_receive(fds[1], &message) == IPC_MESSAGE)
        feed(in, &message);
    close(fds[0]);
    close(fds[1]);
    return generation_finish(in);
}

static void test_round_trip(void **state)
{
    static const unsigned counts[] = { 0, 1, IPC_FDS - 1, IPC_FDS, IPC_FDS + 1, 2 * IPC_FDS };

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct generation_inbox in = { 0 };
        struct blueprint *b;
        struct generation *g;
        struct addr found;

        write_configuration(counts[i]);
        b = make(path);
        if (b == NULL)
            fail_msg("%s", said);
        g = load(b, &in);
        assert_non_null(g);
        assert_int_equal(g->number, 7);
        assert_string_equal(g->instance, "postern-1a2b3c4d");
        assert_string_equal(g->conf->file, path);
        assert_int_equal(g->conf->policy_count, counts[i]);
        assert_int_equal(g->server_count, 1);
        assert_int_equal(conf_hosts_find(g->hosts, SPAN("printer.example"), &found, 1), 1);
        for (unsigned p = 0; p < counts[i]; p++) {
            assert_true(hostset_has(&g->files[p], SPAN("sub.tracker.example")));
            assert_false(hostset_has(&g->files[p], SPAN("example")));
        }
        generation_unref(g);
        blueprint_free(b);
    }
}

static ino_t memory_of(const struct blueprint *b, size_t policy)
{
    struct stat st;

    assert_int_equal(fstat(b->sets[policy].fd, &st), 0);
    return st.st_ino;
}

/* A hosts file whose text is the same is not compiled again, whatever its times; what is wrong in it is said again. */
static void test_taking_over(void **state)
{
    struct generation_inbox in = { 0 };
    struct blueprint *first, *same, *other;
    struct generation *g;

    (void)state;
    write_configuration(2);
    write_file(names, "tracker.example\nno name\n");
    first = make(path);
    assert_non_null(first);
    assert_int_equal(memory_of(first, 0), memory_of(first, 1)); /* two policies, one text */
    write_file(names, "tracker.example\nno name\n");
    same = make_after(path, first);
    assert_non_null(same);
    assert_int_equal(memory_of(same, 0), memory_of(first, 0));
    assert_non_null(strstr(said, "names:2: 1 lines are no host names"));
    write_file(names, "trackes.example\nno name\n"); /* as long as before */
    other = make_after(path, same);
    assert_non_null(other);
    assert_int_not_equal(memory_of(other, 0), memory_of(same, 0));
    blueprint_free(first);
    blueprint_free(other);
    g = load(same, &in); /* it has no part in what the others had */
    assert_non_null(g);
    assert_true(hostset_has(&g->files[1], SPAN("tracker.example")));
    generation_unref(g);
    blueprint_free(same);
    write_file(names, "tracker.example\n");
}

static void test_the_embedded_default(void **state)
{
    struct generation_inbox in = { 0 };
    struct blueprint *b = make(NULL);
    struct generation *g;

    (void)state;
    assert_non_null(b);
    g = load(b, &in);
    assert_non_null(g);
    assert_string_equal(g->conf->file, "default.conf");
    assert_int_equal(g->conf->listener_count, 1);
    generation_unref(g);
    blueprint_free(b);
}

static void assert_refused(const char *word)
{
    if (make(path) != NULL)
        fail_msg("accepted, but should say: %s", word);
    if (strstr(said, word) == NULL)
        fail_msg("\"%s\" is not in: %s", word, said);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    write_file(path, "nonsense = 1;\n");
    assert_refused("nonsense");
    write_file(path, ZONES LISTENERS "policies = ( { name = \"a\"; hosts_file = \"/nonexistent/1\"; action = \"deny\"; },"
                                     "{ name = \"b\"; hosts_file = \"/nonexistent/2\"; action = \"deny\"; } );\n");
    assert_refused("/nonexistent/1");
    assert_refused("/nonexistent/2"); /* both at once */
    write_configuration(1);
    assert_int_equal(chmod(names, 0666), 0);
    assert_refused("hosts_file");
    assert_int_equal(chmod(names, 0600), 0);
    assert_int_equal(chmod(hosts, 0666), 0);
    assert_refused("resolver.hosts");
    assert_int_equal(chmod(hosts, 0600), 0);
    unlink(names);
    assert_int_equal(mkfifo(names, 0600), 0);
    assert_refused("regular");
    unlink(names);
    write_file(names, "tracker.example\n");
}

static void test_lines_that_are_no_names_are_said(void **state)
{
    struct blueprint *b;

    (void)state;
    write_file(names, "tracker.example\n-- no name --\n\nother.example # why\n\xff\n");
    write_configuration(1);
    b = make(path);
    assert_non_null(b);
    assert_non_null(strstr(said, ":2: 2 lines"));
    blueprint_free(b);
    write_file(names, "tracker.example\n");
}

static void test_a_missing_hosts_file_of_the_system_is_empty(void **state)
{
    struct blueprint *b;

    (void)state;
    write_configuration(0);
    unlink(hosts);
    b = make(path);
    assert_non_null(b);
    blueprint_free(b);
    write_file(hosts, "10.1.1.1 printer.example\n");
}

/* Messages that do not make a generation: the reason is said, nothing leaks, the next one is taken in. */
static void test_broken_on_the_way(void **state)
{
    struct generation_inbox in = { 0 };
    struct blueprint *b;
    struct generation *g;
    uint32_t policy = 5;
    int fds[2];

    (void)state;
    assert_null(generation_finish(&in));
    assert_string_not_equal(in.error, "");
    write_configuration(1);
    b = make(path);
    assert_non_null(b);
    assert_true(ipc_pair(fds));
    assert_true(ipc_send(fds[0], IPC_GENERATION, "short", 5));
    assert_int_equal(ipc_receive(fds[1], &message), IPC_MESSAGE);
    feed(&in, &message);
    assert_null(generation_finish(&in));
    assert_true(blueprint_send(b, fds[0]));
    assert_true(ipc_send_fds(fds[0], IPC_HOSTSETS, &policy, sizeof(policy), &b->sets[0].fd, 1)); /* there is no policy 5 */
    while (ipc_receive(fds[1], &message) == IPC_MESSAGE)
        feed(&in, &message);
    assert_null(generation_finish(&in));
    assert_true(blueprint_send(b, fds[0]));
    policy = 0;
    assert_true(ipc_send_fds(fds[0], IPC_HOSTSETS, &policy, sizeof(policy), &b->text_fd, 1)); /* twice, and no set */
    while (ipc_receive(fds[1], &message) == IPC_MESSAGE)
        feed(&in, &message);
    assert_null(generation_finish(&in));
    close(fds[0]);
    close(fds[1]);
    g = load(b, &in);
    assert_non_null(g);
    generation_unref(g);
    blueprint_free(b);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/postern-generation-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/postern.conf", folder);
    snprintf(names, sizeof(names), "%s/names", folder);
    snprintf(hosts, sizeof(hosts), "%s/hosts", folder);
    write_file(names, "tracker.example\n");
    write_file(hosts, "10.1.1.1 printer.example\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(said);
    unlink(path);
    unlink(names);
    unlink(hosts);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_taking_over),
        cmocka_unit_test(test_the_embedded_default),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_lines_that_are_no_names_are_said),
        cmocka_unit_test(test_a_missing_hosts_file_of_the_system_is_empty),
        cmocka_unit_test(test_broken_on_the_way),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
