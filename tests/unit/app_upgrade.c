/* SPDX-License-Identifier: ISC */
/* What one posternd passes on to the next: written, read by a child over exec's way of inheriting, and refused where it is not
 * true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/ipc.h"
#include "app/listeners.h"
#include "app/upgrade.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char error[256];
static struct addr address;

static int listen_somewhere(void)
{
    int fd;

    assert_true(addr_parse_port(&address, SPAN("127.0.97.2:39140")));
    fd = listener_open(&address, error, sizeof(error));
    assert_true(fd >= 0);
    return fd;
}

static int shard_read_only(uint32_t rows)
{
    int rw = memfd_create("shard", MFD_CLOEXEC), fd;
    char path[64];

    assert_int_equal(ftruncate(rw, (off_t)shard_bytes(rows)), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", rw);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    close(rw);
    return fd;
}

static struct handover something(void)
{
    static int listening[1];
    struct handover h = { .generation = 7,
                          .number = 123456,
                          .folder = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                          .admin = -1,
                          .lock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
                          .table = "postern",
                          .listening = listening,
                          .listening_count = 1,
                          .layout = upgrade_layout(),
                          .writers = 2,
                          .rows = 4 };

    listening[0] = listen_somewhere();
    h.shards[0] = shard_read_only(4);
    h.shards[1] = shard_read_only(4);
    return h;
}

static void close_one(int fd, void *arg)
{
    (void)arg;
    close(fd);
}

/* In a child of ours, as after exec: what it says of the handover in its exit status. */
static int read_in_child(int (*look)(void), const char *value, int channel, int text)
{
    char both[32];
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        snprintf(both, sizeof(both), "%d %d", channel, text);
        setenv(UPGRADE_VARIABLE, value != NULL ? value : both, 1);
        _exit(look());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int is_whole(void)
{
    struct handover h;
    struct addr found;

    if (!upgrade_read(&h, error, sizeof(error)) || h.channel < 0 || getenv(UPGRADE_VARIABLE) != NULL)
        return 1;
    if (h.generation != 7 || h.number != 123456 || h.folder < 0 || h.admin != -1 || h.lock < 0 || strcmp(h.table, "postern") != 0)
        return 2;
    if (h.listening_count != 1 || !listener_find(h.listening[0], &found) || !addr_eq(&found, &address))
        return 3;
    if (h.writers != 2 || h.rows != 4 || h.layout != upgrade_layout())
        return 4;
    return (fcntl(h.listening[0], F_GETFD) & FD_CLOEXEC) != 0 && h.pid == getppid() && upgrade_say(h.channel, UPGRADE_READY, "")
               ? 0
               : 5;
}

static int is_refused(void)
{
    struct handover h;

    return !upgrade_read(&h, error, sizeof(error)) && error[0] != '\0' ? 0 : 1;
}

static void test_whole(void **state)
{
    struct handover h = something();
    char said[UPGRADE_TEXT];
    enum upgrade_word word;
    int pair[2], text = upgrade_write(&h);

    (void)state;
    assert_true(text >= 0 && ipc_pair(pair));
    assert_int_equal(read_in_child(is_whole, NULL, pair[1], text), 0);
    assert_int_equal(upgrade_hear(pair[0], &word, said), 1);
    assert_int_equal(word, UPGRADE_READY);
    assert_int_equal(upgrade_hear(pair[0], &word, said), 0);
    close(pair[1]);
    assert_int_equal(upgrade_hear(pair[0], &word, said), -1);
    close(pair[0]);
    close(text);
    upgrade_each_fd(&h, close_one, NULL);
}

static void refused(const struct handover *h)
{
    int pair[2], text = upgrade_write(h);

    assert_true(text >= 0 && ipc_pair(pair));
    assert_int_equal(read_in_child(is_refused, NULL, pair[1], text), 0);
    close(pair[0]);
    close(pair[1]);
    close(text);
}

/* Each descriptor is looked at. */
static void test_untrue(void **state)
{
    struct handover good = something(), h;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), small = shard_read_only(0), writable = memfd_create("shard", MFD_CLOEXEC);

    (void)state;
    assert_int_equal(ftruncate(writable, (off_t)shard_bytes(4)), 0);
    h = good;
    h.folder = null;
    refused(&h);
    h = good;
    h.lock = null;
    refused(&h);
    h = good;
    h.admin = good.lock; /* a socket, but it does not listen */
    refused(&h);
    h = good;
    h.listening = &good.lock;
    refused(&h);
    h = good;
    h.shards[1] = small;
    refused(&h);
    h = good;
    h.shards[1] = writable;
    refused(&h);
    h = good;
    h.shards[1] = null;
    refused(&h);
    upgrade_each_fd(&good, close_one, NULL);
    close(null);
    close(small);
    close(writable);
}

static void refused_text(const char *line)
{
    int pair[2], text = memfd_create("text", MFD_CLOEXEC);

    assert_true(ipc_pair(pair) && write(text, line, strlen(line)) == (ssize_t)strlen(line));
    assert_int_equal(read_in_child(is_refused, NULL, pair[1], text), 0);
    close(pair[0]);
    close(pair[1]);
    close(text);
}

static void test_not_understood(void **state)
{
    (void)state;
    refused_text("");
    refused_text("postern-handover 1\n");
    refused_text("postern-handover 3\n");
    refused_text("postern-handover 2\nwhat 7\n");
    refused_text("postern-handover 2\nlisten\n");
    refused_text("postern-handover 2\nlisten 999\n");
    assert_int_equal(read_in_child(is_refused, "", 0, 0), 0);
    assert_int_equal(read_in_child(is_refused, "x y", 0, 0), 0);
    assert_int_equal(read_in_child(is_refused, "0 1", 0, 0), 0);
    assert_int_equal(read_in_child(is_refused, "998 999", 0, 0), 0);
}

/* Not our parent at the other end of the channel: here it is the reader itself. */
static int is_refused_by_itself(void)
{
    int pair[2];
    char value[32];

    if (!ipc_pair(pair))
        return 1;
    snprintf(value, sizeof(value), "%d %d", pair[0], pair[1]);
    setenv(UPGRADE_VARIABLE, value, 1);
    return is_refused();
}

static void test_not_our_parent(void **state)
{
    (void)state;
    assert_int_equal(read_in_child(is_refused_by_itself, "", 0, 0), 0);
}

static void test_numbers(void **state)
{
    uint64_t out[3];

    (void)state;
    assert_int_equal(upgrade_numbers("7", out, 3), 1);
    assert_int_equal(out[0], 7);
    assert_int_equal(upgrade_numbers("0 18446744073709551615 3", out, 3), 3);
    assert_true(out[1] == UINT64_MAX && out[2] == 3);
    assert_int_equal(upgrade_numbers("", out, 3), 0);
    assert_int_equal(upgrade_numbers("1 2 3 4", out, 3), 0);
    assert_int_equal(upgrade_numbers("1 x", out, 3), 0);
    assert_int_equal(upgrade_numbers("1  2", out, 3), 0);
    assert_int_equal(upgrade_numbers("-1", out, 3), 0);
}

static void test_nothing_is_a_plain_start(void **state)
{
    struct handover h;

    (void)state;
    unsetenv(UPGRADE_VARIABLE);
    assert_true(upgrade_read(&h, error, sizeof(error)));
    assert_int_equal(h.channel, -1);
    assert_int_equal(h.folder, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_whole),          cmocka_unit_test(test_untrue),
                                        cmocka_unit_test(test_not_understood), cmocka_unit_test(test_numbers),
                                        cmocka_unit_test(test_not_our_parent), cmocka_unit_test(test_nothing_is_a_plain_start) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
