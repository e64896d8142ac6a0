/* SPDX-License-Identifier: ISC */
/* Which files are trusted, and that nothing that is no file makes the monitor wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[128], other[128], error[FILE_ERROR];

static void write_file(const char *name, const char *text, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    assert_int_equal(chmod(name, mode), 0);
}

static bool is_read(enum file_trust trust, size_t max)
{
    size_t len = 0;
    char *text = file_read(path, trust, max, &len, error);
    bool good = text != NULL && strcmp(text, "0123456789") == 0 && len == 10;

    free(text);
    return good;
}

/* Secrets are also hidden from the group and others. */
static void test_secrets(void **state)
{
    static const struct {
        mode_t mode;
        bool good;
    } cases[] = { { 0600, true }, { 0400, true }, { 0640, false }, { 0604, false }, { 0660, false }, { 0644, false } };
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file(path, "0123456789", cases[i].mode);
        assert_int_equal(is_read(FILE_SECRET, 100), cases[i].good);
        fd = file_open_secrets(path, error);
        assert_int_equal(fd >= 0, cases[i].good);
        if (fd >= 0)
            close(fd);
    }
    write_file(path, "0123456789", 0600);
    assert_int_equal(symlink(path, other), 0);
    assert_int_equal(file_open_secrets(other, error), -1); /* somebody else's link leads somewhere else */
    unlink(other);
    assert_int_equal(chmod(folder, 0777), 0);
    assert_false(is_read(FILE_SECRET, 100));
    assert_int_equal(chmod(folder, 0700), 0);
    unlink(path);
    fd = file_open_secrets(path, error);
    assert_true(fd >= 0);
    close(fd);
    fd = file_open(path, FILE_SECRET, 100, error);
    assert_true(fd >= 0);
    close(fd);
    write_file(path, "0123456789", 0600);
}

static void test_modes(void **state)
{
    static const struct {
        mode_t file, folder;
        bool good;
    } cases[] = {
        { 0600, 0700, true },  { 0644, 0755, true },  { 0444, 0555, true },   { 0660, 0755, false },
        { 0646, 0755, false }, { 0666, 0755, false }, { 0644, 0777, false },  { 0644, 0775, false },
        { 0644, 0757, false }, { 0644, 01777, true }, { 0666, 01777, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file(path, "0123456789", cases[i].file);
        assert_int_equal(chmod(folder, cases[i].folder), 0);
        if (is_read(FILE_TRUSTED, 100) != cases[i].good)
            fail_msg("file %o in folder %o", cases[i].file, cases[i].folder);
        assert_true(is_read(FILE_SYSTEM, 100));
        assert_int_equal(chmod(folder, 0700), 0);
        unlink(path);
    }
}

static void test_a_folder_above_that_all_can_write(void **state)
{
    char inner[96];

    (void)state;
    snprintf(inner, sizeof(inner), "%s/inner", folder);
    assert_int_equal(mkdir(inner, 0755), 0);
    snprintf(path, sizeof(path), "%s/file", inner);
    write_file(path, "0123456789", 0644);
    assert_true(is_read(FILE_TRUSTED, 100));
    assert_int_equal(chmod(folder, 0777), 0);
    assert_false(is_read(FILE_TRUSTED, 100));
    assert_non_null(strstr(error, folder));
    assert_int_equal(chmod(folder, 0700), 0);
    unlink(path);
    rmdir(inner);
    snprintf(path, sizeof(path), "%s/file", folder);
}

static void test_size_at_the_limit(void **state)
{
    (void)state;
    write_file(path, "0123456789", 0600);
    assert_true(is_read(FILE_TRUSTED, 10));
    assert_false(is_read(FILE_TRUSTED, 9));
    assert_non_null(strstr(error, "too large"));
    unlink(path);
}

/* A file that says it is empty and is not: /proc. */
static void test_size_is_not_believed(void **state)
{
    size_t len;
    char *text = file_read("/proc/self/status", FILE_SYSTEM, 65536, &len, error);

    (void)state;
    assert_non_null(text);
    assert_true(len > 100);
    free(text);
    assert_null(file_read("/proc/self/status", FILE_SYSTEM, 10, &len, error));
}

static void test_no_file(void **state)
{
    size_t len;

    (void)state;
    assert_null(file_read(path, FILE_TRUSTED, 100, &len, error));
    assert_int_equal(errno, ENOENT);
    assert_non_null(strstr(error, path));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(is_read(FILE_TRUSTED, 100)); /* and does not wait for a writer */
    assert_non_null(strstr(error, "regular"));
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(is_read(FILE_TRUSTED, 100));
    rmdir(path);
    assert_null(file_read("/dev/zero", FILE_SYSTEM, 100, &len, error));
}

static void test_links_are_followed_to_what_is_checked(void **state)
{
    (void)state;
    write_file(other, "0123456789", 0600);
    assert_int_equal(symlink(other, path), 0);
    assert_true(is_read(FILE_TRUSTED, 100));
    assert_int_equal(chmod(other, 0666), 0);
    assert_false(is_read(FILE_TRUSTED, 100));
    unlink(path);
    unlink(other);
}

static void test_foreign_owner(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    write_file(path, "0123456789", 0600);
    assert_int_equal(chown(path, 12345, 0), 0);
    assert_false(is_read(FILE_TRUSTED, 100));
    assert_true(is_read(FILE_SYSTEM, 100));
    unlink(path);
    write_file(path, "0123456789", 0600);
    assert_int_equal(chown(folder, 12345, 0), 0);
    assert_false(is_read(FILE_TRUSTED, 100));
    assert_int_equal(chown(folder, 0, 0), 0);
    unlink(path);
}

static void test_log(void **state)
{
    struct stat st;
    int fd;

    (void)state;
    umask(0);
    fd = file_open_log(path, error);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(write(fd, "a", 1), 1);
    close(fd);
    fd = file_open_log(path, error);
    assert_int_equal(write(fd, "b", 1), 1);
    assert_true(fstat(fd, &st) == 0 && st.st_size == 2); /* appended */
    close(fd);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(file_open_log(path, error), -1); /* nobody reads: no waiting */
    unlink(path);
    assert_int_equal(file_open_log("/nonexistent/x", error), -1);
    assert_non_null(strstr(error, "/nonexistent/x"));
    fd = file_open_log("-", error);
    assert_true(fd > 2);
    close(fd);
}

static void test_memory_files(void **state)
{
    int fd = memfd_sealed("test", SPAN("content")), reader;
    void *memory;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 1), -1);
    close(fd);

    fd = memfd_sized("test", 4096);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1), -1);
    assert_int_equal(ftruncate(fd, 8192), -1);
    assert_int_equal(pwrite(fd, "x", 1, 0), 1);
    reader = memfd_read_only(fd);
    assert_true(reader >= 0);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0), MAP_FAILED);
    memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, reader, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_int_equal(*(char *)memory, 'x');
    assert_int_equal(mprotect(memory, 4096, PROT_READ | PROT_WRITE), -1);
    munmap(memory, 4096);
    close(reader);
    close(fd);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/postern-files-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/file", folder);
    snprintf(other, sizeof(other), "%s/other", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_a_folder_above_that_all_can_write),
        cmocka_unit_test(test_size_at_the_limit),
        cmocka_unit_test(test_size_is_not_believed),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_links_are_followed_to_what_is_checked),
        cmocka_unit_test(test_foreign_owner),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_memory_files),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
