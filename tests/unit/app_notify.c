/* SPDX-License-Identifier: ISC */
/* What a service manager hears: over a path and over an abstract name, and how often it gets a sign of life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/notify.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char heard[1024];

/* Listens as the manager does; `name` begins with '/' or '@'. */
static int manager(const char *name)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(sa.sun_path, name, strlen(name));
    if (name[0] == '@')
        sa.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static bool hears(int fd)
{
    ssize_t got = recv(fd, heard, sizeof(heard) - 1, 0);

    heard[got > 0 ? got : 0] = '\0';
    return got > 0;
}

static void talk(const char *name)
{
    int fd = manager(name);
    char line[64];
    struct notify n;

    notify_open(&n);
    notify_ready(&n, "Serving");
    assert_true(hears(fd));
    snprintf(line, sizeof(line), "READY=1\nMAINPID=%d\nSTATUS=Serving\n", (int)getpid());
    assert_string_equal(heard, line);
    notify_reloading(&n);
    assert_true(hears(fd));
    assert_int_equal(strncmp(heard, "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
    notify_stopping(&n, 5);
    assert_true(hears(fd));
    assert_non_null(strstr(heard, "STOPPING=1\n"));
    assert_non_null(strstr(heard, "EXTEND_TIMEOUT_USEC=5000\n"));
    assert_false(hears(fd));
    close(fd);
}

static void test_words(void **state)
{
    char path[64], abstract[64];

    (void)state;
    snprintf(path, sizeof(path), "/tmp/postern-notify-%d", (int)getpid());
    snprintf(abstract, sizeof(abstract), "@postern-notify-%d", (int)getpid());
    talk(path);
    unlink(path);
    talk(abstract);
}

static void test_nobody(void **state)
{
    static const char *const names[] = { "", "relative", "vsock:1:2" };
    struct notify n;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        notify_open(&n);
        assert_int_equal(n.to_len, 0);
        notify_ready(&n, "nobody hears");
    }
    unsetenv("NOTIFY_SOCKET");
    notify_open(&n);
    assert_int_equal(n.to_len, 0);
}

/* Twice as often as it is asked for; and only if it is us who are asked. */
static void test_signs_of_life(void **state)
{
    char name[64], pid[16];
    struct notify n;
    int fd;

    (void)state;
    snprintf(name, sizeof(name), "@postern-watchdog-%d", (int)getpid());
    fd = manager(name);
    setenv("WATCHDOG_USEC", "3000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    notify_open(&n);
    assert_int_equal(n.watchdog_ms, 0);
    assert_null(getenv("WATCHDOG_PID"));
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    notify_open(&n);
    assert_int_equal(n.watchdog_ms, 1500);
    notify_step(&n);
    assert_true(hears(fd));
    assert_string_equal(heard, "WATCHDOG=1\n");
    notify_step(&n);
    assert_false(hears(fd));
    n.next_ms = clock_ms();
    notify_step(&n);
    assert_true(hears(fd));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_words), cmocka_unit_test(test_nobody),
                                        cmocka_unit_test(test_signs_of_life) };

    clock_tick();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
