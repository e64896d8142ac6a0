/* SPDX-License-Identifier: ISC */
/* What the kernel says of memory: of this very process and a file of its own, and of control groups that the test draws. */
#include "app/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1ull << 20)

static char root[] = "/tmp/postern-groups-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(root) == NULL;
}

static int teardown(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", root);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

/* Makes the folders of the name, too. */
static void put(const char *name, const char *text)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s", path_of(name));
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
        *slash = '\0';
        mkdir(path, 0755);
    }
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static struct memory_group find(const char *self)
{
    struct memory_group g;
    char path[256];

    put("self", self);
    snprintf(path, sizeof(path), "%s", path_of("self"));
    memory_group_find(&g, path, root);
    return g;
}

static void expect_use(const struct memory_group *g, uint64_t expected_used, uint64_t expected_limit)
{
    uint64_t used, limit;

    assert_true(memory_group_read(g, &used, &limit));
    assert_int_equal(used, expected_used);
    assert_int_equal(limit, expected_limit);
}

static void test_version_2(void **state)
{
    struct memory_group g;

    (void)state;
    put("memory.stat", "");
    put("a.slice/memory.max", "max\n");
    put("a.slice/b.service/memory.max", "104857600\n");
    put("a.slice/b.service/memory.current", "62914560\n");
    put("a.slice/b.service/memory.stat", "anon 1\nfile 20971520\nkernel 5\nshmem 10485760\nfile_mapped 7\n");
    g = find("0::/a.slice/b.service\n");
    expect_use(&g, 50 * MIB, 100 * MIB); /* 60, without the 10 that are cached files and not shmem */
    put("a.slice/b.service/memory.current", "52428799\n");
    expect_use(&g, 50 * MIB - 1, 100 * MIB); /* far from the limit nobody asks what is cached */
    put("a.slice/b.service/memory.max", "max\n");
    assert_false(memory_group_read(&g, &(uint64_t){ 0 }, &(uint64_t){ 0 }));
}

static void test_the_lowest_counts(void **state)
{
    struct memory_group g;

    (void)state;
    put("low/memory.max", "1048576\n");
    put("low/memory.current", "4096\n");
    put("low/high/memory.max", "2097152\n");
    g = find("0::/low/high\n");
    expect_use(&g, 4096, MIB);
    put("low/high/memory.max", "524288\n");
    put("low/high/memory.current", "0\n");
    g = find("0::/low/high\n");
    expect_use(&g, 0, MIB / 2);
}

static void test_version_1(void **state)
{
    struct memory_group g;

    (void)state;
    put("memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("memory/box/memory.limit_in_bytes", "33554432\n");
    put("memory/box/memory.usage_in_bytes", "31457280\n");
    put("memory/box/memory.stat", "cache 5\nshmem 5\ntotal_cache 2097152\ntotal_shmem 1048576\n");
    g = find("12:cpu,cpuacct:/box\n4:memory:/box\n0::/\n");
    expect_use(&g, 29 * MIB, 32 * MIB);
}

static void test_none(void **state)
{
    static const char *const selves[] = { "", "0::/nowhere\n", "4:memory:/nowhere\n", "garbage\n", "4:cpu:/box\n" };
    struct memory_group g;

    (void)state;
    for (size_t i = 0; i < sizeof(selves) / sizeof(selves[0]); i++) {
        g = find(selves[i]);
        assert_string_equal(g.folder, "");
        assert_false(memory_group_read(&g, &(uint64_t){ 0 }, &(uint64_t){ 0 }));
    }
    memory_group_find(&g, "/nonexistent", root);
    assert_string_equal(g.folder, "");
}

static void test_process(void **state)
{
    uint64_t before = memory_of_process(getpid());
    char *more = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(before > 0 && more != MAP_FAILED);
    memset(more, 1, 64 * MIB);
    assert_in_range(memory_of_process(getpid()) - before, 60 * MIB, 80 * MIB);
    munmap(more, 64 * MIB);
    assert_int_equal(memory_of_process(0), 0);
}

/* Only what was written of it, and not for a process that maps it. */
static void test_file(void **state)
{
    int fd = memfd_create("test", 0);
    uint64_t before = memory_of_process(getpid());
    char *shared;

    (void)state;
    assert_int_equal(ftruncate(fd, 64 * MIB), 0);
    assert_int_equal(memory_of_file(fd), 0);
    shared = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(shared != MAP_FAILED);
    memset(shared, 1, 16 * MIB);
    assert_int_equal(memory_of_file(fd), 16 * MIB);
    assert_true(memory_of_process(getpid()) < before + 8 * MIB);
    munmap(shared, 64 * MIB);
    close(fd);
    assert_int_equal(memory_of_file(-1), 0);
    assert_true(memory_of_machine() > 64 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_2), cmocka_unit_test(test_the_lowest_counts), cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_none),      cmocka_unit_test(test_process),           cmocka_unit_test(test_file),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
