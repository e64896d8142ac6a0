/* SPDX-License-Identifier: ISC */
/* The runtime folder, its lock and its socket; and the listening sockets that come, stay and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/listeners.h"
#include "app/runtime_dir.h"
#include "app/socket_path.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORKERS 3

static char base[64], folder[96], socket_path[128], error[8192];

static bool opens(struct runtime_dir *r, const char *configured)
{
    return runtime_dir_open(r, configured, error, sizeof(error));
}

static void test_socket_is_ours_alone(void **state)
{
    struct runtime_dir r;
    struct stat st;

    (void)state;
    assert_true(opens(&r, folder));
    assert_int_equal(lstat(socket_path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_string_equal(r.path, socket_path);
    runtime_dir_close(&r);
    assert_int_equal(lstat(socket_path, &st), -1);
}

static void test_one_posternd_a_folder(void **state)
{
    struct runtime_dir first, second;

    (void)state;
    assert_true(opens(&first, folder));
    assert_false(opens(&second, folder));
    assert_non_null(strstr(error, "another posternd"));
    assert_int_equal(access(socket_path, F_OK), 0); /* the first one's socket was not touched */
    runtime_dir_close(&first);
    assert_true(opens(&second, folder));
    runtime_dir_close(&second);
}

/* Another posternd takes over: its socket comes into the place of ours in one step, and our end removes nothing of it. */
static void test_changes_hands(void **state)
{
    struct runtime_dir first, second, third;
    char path[160];
    ino_t pid_file;

    (void)state;
    assert_true(opens(&first, folder));
    assert_true(runtime_dir_publish(&first));
    pid_file = first.pid_file;
    assert_true(runtime_dir_is(first.folder, folder));
    assert_false(runtime_dir_is(first.folder, base));
    assert_true(runtime_dir_inherit(&second, dup(first.folder), folder, error, sizeof(error)));
    assert_string_equal(second.path, socket_path);
    assert_true(second.socket_file != first.socket_file);
    assert_true(runtime_dir_publish(&second));
    assert_true(second.pid_file != pid_file);
    runtime_dir_close(&first);
    assert_int_equal(access(socket_path, F_OK), 0);
    snprintf(path, sizeof(path), "%s/posternd.pid", folder);
    assert_int_equal(access(path, F_OK), 0);
    assert_false(opens(&third, folder)); /* the lock is still held */
    runtime_dir_close(&second);
    assert_int_equal(access(socket_path, F_OK), -1);
    assert_int_equal(access(path, F_OK), -1);
    assert_true(opens(&third, folder));
    runtime_dir_close(&third);
}

static void test_stale_socket_is_replaced(void **state)
{
    struct runtime_dir r;

    (void)state;
    assert_true(opens(&r, folder));
    close(r.socket);
    close(r.folder); /* as if it had died */
    assert_int_equal(access(socket_path, F_OK), 0);
    assert_true(opens(&r, folder));
    runtime_dir_close(&r);
}

static void test_what_stands_in_the_way(void **state)
{
    char victim[128];
    struct runtime_dir r;
    struct stat st;
    int fd;

    (void)state;
    snprintf(victim, sizeof(victim), "%s/victim", base);
    fd = open(victim, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(symlink(victim, socket_path), 0);
    assert_false(opens(&r, folder));
    assert_true(lstat(socket_path, &st) == 0 && S_ISLNK(st.st_mode));
    assert_true(lstat(victim, &st) == 0 && S_ISREG(st.st_mode));
    unlink(socket_path);
    assert_int_equal(rename(victim, socket_path), 0);
    assert_false(opens(&r, folder));
    assert_true(lstat(socket_path, &st) == 0 && S_ISREG(st.st_mode));
    unlink(socket_path);
}

static void test_folders(void **state)
{
    char link[128], deep[256];
    struct runtime_dir r;

    (void)state;
    assert_int_equal(chmod(folder, 0777), 0);
    assert_false(opens(&r, folder));
    assert_int_equal(chmod(folder, 0720), 0);
    assert_false(opens(&r, folder));
    assert_int_equal(chmod(folder, 01777), 0);
    assert_true(opens(&r, folder));
    runtime_dir_close(&r);
    assert_int_equal(chmod(folder, 0700), 0);
    snprintf(link, sizeof(link), "%s/link", base);
    assert_int_equal(symlink(folder, link), 0);
    assert_false(opens(&r, link));
    unlink(link);
    snprintf(deep, sizeof(deep), "%s/%0100d", folder, 1);
    assert_false(opens(&r, deep)); /* a socket's path has 107 bytes */
    assert_non_null(strstr(error, "too long"));
    rmdir(deep);
}

static void test_default_folder_is_private(void **state)
{
    char wanted[PATH_MAX], found[PATH_MAX];
    struct runtime_dir r;
    struct stat st;

    (void)state;
    assert_int_equal(setenv("XDG_RUNTIME_DIR", base, 1), 0);
    snprintf(wanted, sizeof(wanted), "%s/postern", base);
    socket_default_dir(found);
    assert_string_equal(found, wanted);
    assert_true(opens(&r, NULL));
    assert_true(stat(wanted, &st) == 0 && (st.st_mode & 0777) == 0700);
    runtime_dir_close(&r);
    assert_int_equal(chmod(wanted, 0750), 0);
    assert_false(opens(&r, NULL));
    rmdir(wanted);
    unsetenv("XDG_RUNTIME_DIR");
    assert_int_equal(setenv("TMPDIR", "relative", 1), 0); /* not believed */
    socket_default_dir(found);
    assert_memory_equal(found, "/tmp/postern-", 13);
    unsetenv("TMPDIR");
}

/* A snapshot with listeners at these ports, 0 at the end. */
static struct conf *conf_with(const unsigned *ports)
{
    char text[1024] = "zones = ( { name = \"in\"; networks = [ \"127.0.0.0/8\" ]; } );\nlisteners = (";
    struct conf_messages messages;
    struct conf *conf;

    for (unsigned i = 0; ports[i] != 0; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text),
                 "%s{ name = \"l%u\"; mode = \"explicit\"; address = \"127.0.0.1:%u\"; from = \"in\"; }", i > 0 ? "," : "", i,
                 ports[i]);
    strcat(text, ");\n");
    conf_messages_init(&messages);
    conf = conf_parse("test", span_str(text), &messages);
    assert_non_null(conf);
    conf_messages_fini(&messages);
    return conf;
}

/* Two ports that are free now. */
static void find_ports(unsigned ports[2])
{
    for (int i = 0; i < 2; i++) {
        struct sockaddr_storage sa;
        struct addr a;
        socklen_t len;
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        assert_true(addr_parse(&a, SPAN("127.0.0.1"), 0));
        len = addr_to_sockaddr(&a, &sa);
        assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
        assert_true(addr_from_sockaddr(&a, (struct sockaddr *)&sa, len));
        ports[i] = a.port;
        close(fd);
    }
}

static void prepare(struct listeners *out, const struct conf *conf, const struct listeners *old)
{
    if (!listeners_prepare(out, conf, old, WORKERS, error, sizeof(error)))
        fail_msg("%s", error);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_same_address_same_sockets(void **state)
{
    struct listeners none = { 0, NULL }, first, second;
    unsigned ports[2];
    int kept, gone;

    (void)state;
    find_ports(ports);
    struct conf *both = conf_with((unsigned[]){ ports[0], ports[1], 0 }), *one = conf_with((unsigned[]){ ports[1], 0 });
    prepare(&first, both, &none);
    assert_int_equal(first.count, 2);
    gone = first.items[0].fds[WORKERS - 1];
    kept = first.items[1].fds[WORKERS - 1];
    assert_true(is_open(gone) && is_open(kept));
    prepare(&second, one, &first);
    assert_int_equal(second.items[0].fds[WORKERS - 1], kept);
    listeners_commit(&first, &second);
    assert_true(is_open(kept));
    assert_false(is_open(gone));
    listeners_commit(&second, &none);
    assert_false(is_open(kept));
    conf_free(both);
    conf_free(one);
}

static void test_failure_changes_nothing(void **state)
{
    struct listeners none = { 0, NULL }, first, second;
    unsigned ports[2];
    int kept;

    (void)state;
    find_ports(ports);
    struct conf *one = conf_with((unsigned[]){ ports[0], 0 }), *both = conf_with((unsigned[]){ ports[0], ports[1], 0 });
    prepare(&first, one, &none);
    kept = first.items[0].fds[0];
    prepare(&second, both, &first);
    listeners_cancel(&second, &first);
    assert_true(is_open(kept));
    /* Somebody listens there, even with SO_REUSEPORT: no silent sharing. */
    assert_false(listeners_prepare(&second, one, &none, WORKERS, error, sizeof(error)));
    assert_non_null(strstr(error, "127.0.0.1"));
    assert_true(is_open(kept));
    listeners_commit(&first, &none);
    conf_free(both);
    conf_free(one);
}

static int setup(void **state)
{
    (void)state;
    umask(022);
    strcpy(base, "/tmp/postern-places-XXXXXX");
    if (mkdtemp(base) == NULL)
        return -1;
    snprintf(folder, sizeof(folder), "%s/run", base);
    snprintf(socket_path, sizeof(socket_path), "%s/%s", folder, SOCKET_NAME);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rmdir(folder);
    return rmdir(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_socket_is_ours_alone),
        cmocka_unit_test(test_one_posternd_a_folder),
        cmocka_unit_test(test_changes_hands),
        cmocka_unit_test(test_stale_socket_is_replaced),
        cmocka_unit_test(test_what_stands_in_the_way),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_default_folder_is_private),
        cmocka_unit_test(test_same_address_same_sockets),
        cmocka_unit_test(test_failure_changes_nothing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
