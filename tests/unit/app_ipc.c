/* SPDX-License-Identifier: ISC */
/* Messages between processes: what goes in comes out, whole, in order, and never more than there is room for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ipc_message message;
static char payload[IPC_BYTES + 1];

static void pair(int fds[2])
{
    assert_true(ipc_pair(fds));
}

static void close_pair(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

static void test_round_trip(void **state)
{
    int fds[2];

    (void)state;
    pair(fds);
    assert_int_equal(ipc_receive(fds[1], &message), IPC_NOTHING);
    assert_true(ipc_send(fds[0], IPC_DRAIN, "12345678", 8));
    assert_true(ipc_send(fds[0], IPC_STOP, NULL, 0));
    assert_true(ipc_send_two(fds[0], IPC_EXPLAIN, "head", 4, SPAN("tail")));
    assert_int_equal(ipc_receive(fds[1], &message), IPC_MESSAGE);
    assert_int_equal(message.type, IPC_DRAIN);
    assert_int_equal(message.len, 8);
    assert_string_equal(message.data, "12345678");
    assert_int_equal(ipc_receive(fds[1], &message), IPC_MESSAGE);
    assert_int_equal(message.type, IPC_STOP);
    assert_int_equal(message.len, 0);
    assert_int_equal(ipc_receive(fds[1], &message), IPC_MESSAGE);
    assert_true(span_eq(ipc_rest(&message, 4), SPAN("tail")));
    assert_int_equal(ipc_rest(&message, 8).len, 0);
    assert_int_equal(ipc_rest(&message, 9).len, 0);
    assert_int_equal(ipc_receive(fds[1], &message), IPC_NOTHING);
    close_pair(fds);
}

static void test_sizes(void **state)
{
    int fds[2];

    (void)state;
    pair(fds);
    memset(payload, 'x', sizeof(payload));
    assert_true(ipc_send(fds[0], IPC_EXPLAIN, payload, IPC_BYTES));
    assert_int_equal(ipc_receive(fds[1], &message), IPC_MESSAGE);
    assert_int_equal(message.len, IPC_BYTES);
    assert_memory_equal(message.data, payload, IPC_BYTES);
    assert_int_equal(message.data[IPC_BYTES], '\0');
    assert_false(ipc_send(fds[0], IPC_EXPLAIN, payload, IPC_BYTES + 1));
    assert_int_equal(errno, EMSGSIZE);
    assert_false(ipc_send_two(fds[0], IPC_EXPLAIN, payload, IPC_BYTES, SPAN("x")));
    assert_int_equal(errno, EMSGSIZE);
    close_pair(fds);
}

static void test_descriptors(void **state)
{
    int fds[2], many[IPC_FDS + 1], first;

    (void)state;
    pair(fds);
    for (size_t i = 0; i < IPC_FDS + 1; i++)
        assert_true((many[i] = open("/dev/null", O_RDONLY)) >= 0);
    assert_true(ipc_send_fds(fds[0], IPC_HOSTSETS, "x", 1, many, IPC_FDS));
    assert_false(ipc_send_fds(fds[0], IPC_HOSTSETS, "x", 1, many, IPC_FDS + 1));
    assert_int_equal(ipc_receive(fds[1], &message), IPC_MESSAGE);
    assert_int_equal(message.fd_count, IPC_FDS);
    first = ipc_take_fd(&message, 0);
    assert_true(first >= 0 && (fcntl(first, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(ipc_take_fd(&message, 0), -1);
    assert_int_equal(ipc_take_fd(&message, IPC_FDS), -1);
    first = message.fds[1];
    ipc_release(&message);
    assert_int_equal(fcntl(first, F_GETFD), -1); /* nobody took it: closed */
    for (size_t i = 0; i < IPC_FDS + 1; i++)
        close(many[i]);
    close_pair(fds);
}

static void test_end_and_nonsense(void **state)
{
    uint32_t nonsense = IPC_TYPE_COUNT;
    int fds[2];

    (void)state;
    pair(fds);
    close(fds[0]);
    assert_int_equal(ipc_receive(fds[1], &message), IPC_END);
    assert_false(ipc_send(fds[1], IPC_STOP, NULL, 0));
    assert_int_equal(errno, EPIPE);
    close(fds[1]);

    pair(fds);
    assert_int_equal(send(fds[0], &nonsense, sizeof(nonsense), 0), sizeof(nonsense));
    assert_int_equal(ipc_receive(fds[1], &message), IPC_END); /* an unknown type */
    assert_int_equal(send(fds[0], "x", 1, 0), 1);
    assert_int_equal(ipc_receive(fds[1], &message), IPC_END); /* shorter than a type */
    close_pair(fds);
}

/* A message that is too large for the receiver is no message: it must not be taken for a shorter one. */
static void test_cut_message(void **state)
{
    static char large[sizeof(uint32_t) + IPC_BYTES + 1];
    int fds[2], size = 1 << 20;

    (void)state;
    pair(fds);
    (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    assert_int_equal(send(fds[0], large, sizeof(large), 0), sizeof(large));
    assert_int_equal(ipc_receive(fds[1], &message), IPC_END);
    close_pair(fds);
}

static void test_full_socket_does_not_block(void **state)
{
    unsigned sent = 0;
    int fds[2];

    (void)state;
    pair(fds);
    while (ipc_send(fds[0], IPC_EXPLAIN, payload, 1000))
        sent++;
    assert_int_equal(errno, EAGAIN);
    assert_true(sent > 10);
    for (unsigned i = 0; i < sent; i++)
        assert_int_equal(ipc_receive(fds[1], &message), IPC_MESSAGE);
    assert_int_equal(ipc_receive(fds[1], &message), IPC_NOTHING);
    close_pair(fds);
}

static void test_read(void **state)
{
    uint64_t number;

    (void)state;
    message.len = 7;
    assert_false(ipc_read(&message, &number, sizeof(number)));
    message.len = 8;
    assert_true(ipc_read(&message, &number, sizeof(number)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_descriptors), cmocka_unit_test(test_end_and_nonsense),
        cmocka_unit_test(test_cut_message), cmocka_unit_test(test_full_socket_does_not_block),
        cmocka_unit_test(test_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
