/* SPDX-License-Identifier: ISC */
/* The minter process and a worker that is too busy to read. */
#include "app/process.h"
#include "app/sandbox.h"
#include "base/clock.h"
#include "net_certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUESTIONS 400 /* more answers than a socket holds */
#define PATIENCE 10000

static struct ipc_message message;

static int in_memory(struct span text)
{
    int fd = memfd_create("pem", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.at, text.len), text.len);
    return fd;
}

static pid_t start(int monitor, int minter)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        close(monitor);
        _exit(minter_main(&(struct process_args){ .ipc = minter, .sandbox = &(struct sandbox){ .wanted = SANDBOX_OFF } }));
    }
    close(minter);
    return child;
}

static void introduce(int monitor, int worker)
{
    struct cert ca = cert_make_ca("CA");
    struct wire_minter_key key = { .number = 1, .rate = 100000 };
    const uint16_t number = 1;
    struct wire_peer peer = { .kind = PROCESS_WORKER };
    int fds[2] = { in_memory(ca.pem), in_memory(ca.key_pem) };

    assert_true(ipc_send_fds(monitor, IPC_MINTER_KEY, &key, sizeof(key), fds, 2));
    assert_true(ipc_send(monitor, IPC_COMMIT, &number, sizeof(number)));
    assert_true(ipc_send_fds(monitor, IPC_PEER, &peer, sizeof(peer), &worker, 1));
    for (size_t i = 0; i < 2; i++)
        close(fds[i]);
    close(worker);
    cert_free(&ca);
}

static void ask(int fd, const struct engine_leaf_request *request)
{
    struct pollfd room = { .fd = fd, .events = POLLOUT };

    while (!ipc_send(fd, IPC_LEAF_WANTED, request, sizeof(*request)))
        assert_int_equal(poll(&room, 1, PATIENCE), 1);
}

/* How many more came; each must be a leaf, in the order of the questions. */
static uint64_t read_answers(int fd, uint64_t next)
{
    static struct wire_leaf leaf;

    for (; ipc_receive(fd, &message) == IPC_MESSAGE; next++) {
        assert_int_equal(message.type, IPC_LEAF);
        assert_true(ipc_read(&message, &leaf, sizeof(leaf)));
        assert_int_equal(leaf.request, next);
        assert_true(leaf.len > 0);
        ipc_release(&message);
    }
    return next;
}

/* It asks until nothing more is taken, and only then reads: no answer is lost. */
static void test_busy_worker(void **state)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    unsigned char *der = NULL;
    struct engine_leaf_request request = { .name = "a.example", .until = INT64_MAX / 2 };
    int monitor[2], worker[2], status;
    uint64_t next = 1;
    pid_t child;

    (void)state;
    assert_true(ipc_pair(monitor));
    assert_true(ipc_pair(worker));
    child = start(monitor[0], monitor[1]);
    introduce(monitor[0], worker[1]);
    request.key_len = (uint16_t)i2d_PUBKEY(key, &der);
    memcpy(request.public_key, der, request.key_len);
    for (request.request = 1; request.request <= QUESTIONS; request.request++) {
        struct pollfd room = { .fd = worker[0], .events = POLLOUT };

        if (poll(&room, 1, 1000) == 0) /* the minter waits for us */
            next = read_answers(worker[0], next);
        ask(worker[0], &request);
    }
    while (next <= QUESTIONS) {
        struct pollfd some = { .fd = worker[0], .events = POLLIN };

        assert_int_equal(poll(&some, 1, PATIENCE), 1);
        next = read_answers(worker[0], next);
    }
    close(monitor[0]);
    close(worker[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_busy_worker) };

    clock_tick();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
