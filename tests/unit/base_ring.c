/* SPDX-License-Identifier: ISC */
/* The ring between two processes: order, drops, wake-ups. */
#include "base/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct item {
    uint64_t number;
    uint64_t copies[6];
};

static void *shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(memory != MAP_FAILED);
    return memory;
}

static struct item item_of(uint64_t number)
{
    struct item item = { .number = number };

    for (int i = 0; i < 6; i++)
        item.copies[i] = number;
    return item;
}

static bool whole(const struct item *item)
{
    for (int i = 0; i < 6; i++)
        if (item->copies[i] != item->number)
            return false;
    return true;
}

static void test_full_and_empty(void **state)
{
    size_t bytes = ring_bytes(4, sizeof(struct item));
    void *memory = shared(bytes);
    struct ring writer, reader;
    struct item item;

    (void)state;
    ring_attach(&writer, memory, 4, sizeof(struct item));
    ring_attach(&reader, memory, 4, sizeof(struct item));
    assert_false(ring_take(&reader, &item));
    for (uint64_t i = 1; i <= 6; i++) {
        item = item_of(i);
        assert_int_equal(ring_put(&writer, &item), i <= 4);
    }
    assert_int_equal(ring_dropped(&reader), 2);
    for (uint64_t i = 1; i <= 4; i++) {
        assert_true(ring_take(&reader, &item));
        assert_int_equal(item.number, i);
    }
    assert_false(ring_take(&reader, &item));
    assert_true(ring_put(&writer, &item));
    munmap(memory, bytes);
}

/* Of a part that was put only that part is written over. */
static void test_parts(void **state)
{
    size_t bytes = ring_bytes(4, sizeof(struct item));
    void *memory = shared(bytes);
    struct item one = item_of(1), two = item_of(2);
    struct ring r;

    (void)state;
    ring_attach(&r, memory, 4, sizeof(struct item));
    assert_true(ring_put_part(&r, &two, sizeof(two.number)));
    assert_true(ring_take(&r, &one));
    assert_int_equal(one.number, 2);
    assert_int_equal(one.copies[0], 1);
    assert_true(ring_put_part(&r, &two, SIZE_MAX));
    memset((unsigned char *)memory + bytes - 4 * (8 + sizeof(two)), 0xff, 8); /* a writer that lies about how much it put */
    memset((unsigned char *)memory + bytes - 3 * (8 + sizeof(two)), 0xff, 8);
    assert_true(ring_take(&r, &one));
    assert_true(whole(&one) && one.number == 2);
    munmap(memory, bytes);
}

/* As many as can wait are never more than the ring has, wherever it began; and what never had to wait touches its first slots. */
static void test_begins_again(void **state)
{
    size_t bytes = ring_bytes(64, sizeof(struct item));
    char *memory = shared(bytes);
    uint64_t put = 0, taken = 0, before;
    struct ring writer, reader;
    struct item item;

    (void)state;
    ring_attach(&writer, memory, 64, sizeof(struct item));
    ring_attach(&reader, memory, 64, sizeof(struct item));
    for (int i = 0; i < 1000; i++) {
        item = item_of(++put);
        assert_true(ring_put(&writer, &item));
        assert_true(ring_take(&reader, &item));
        assert_int_equal(item.number, ++taken);
        assert_false(ring_take(&reader, &item));
        assert_true(ring_sleep(&reader));
    }
    for (size_t i = bytes - 40 * sizeof(struct item); i < bytes; i++)
        assert_int_equal(memory[i], 0);
    for (unsigned burst = 1; burst <= 70; burst++) {
        before = put;
        for (unsigned i = 0; i < burst; i++) {
            item = item_of(put + 1);
            put += ring_put(&writer, &item);
        }
        assert_int_equal(put - before, burst > 64 ? 64 : burst);
        while (taken < put) {
            assert_true(ring_take(&reader, &item));
            assert_int_equal(item.number, ++taken);
        }
        assert_false(ring_take(&reader, &item));
    }
    munmap(memory, bytes);
}

/* The writer said where it begins again, and has not put anything there yet: the reader finds the ring empty. */
static void test_begins_again_soon(void **state)
{
    size_t bytes = ring_bytes(32, sizeof(struct item));
    char *memory = shared(bytes);
    uint64_t start = 32;
    struct ring writer, reader;
    struct item item;

    (void)state;
    ring_attach(&writer, memory, 32, sizeof(struct item));
    ring_attach(&reader, memory, 32, sizeof(struct item));
    for (uint64_t i = 1; i <= 20; i++) {
        item = item_of(i);
        assert_true(ring_put(&writer, &item));
        assert_true(ring_take(&reader, &item));
    }
    memcpy(memory + 8, &start, sizeof(start)); /* behind the writer's position */
    assert_false(ring_take(&reader, &item));
    assert_true(ring_sleep(&reader));
    item = item_of(21); /* also from a writer that comes after one that was killed there */
    assert_true(ring_put(&writer, &item));
    assert_true(ring_take(&reader, &item));
    assert_int_equal(item.number, 21);
    assert_false(ring_take(&reader, &item));
    assert_int_equal(ring_dropped(&reader), 0);
    munmap(memory, bytes);
}

static void test_wake(void **state)
{
    size_t bytes = ring_bytes(4, sizeof(struct item));
    void *memory = shared(bytes);
    struct ring r;
    struct item item = item_of(1);

    (void)state;
    ring_attach(&r, memory, 4, sizeof(struct item));
    assert_true(ring_put(&r, &item));
    assert_false(ring_must_wake(&r)); /* nobody sleeps */
    assert_false(ring_sleep(&r));     /* there is something to read */
    assert_false(ring_must_wake(&r));
    assert_true(ring_take(&r, &item));
    assert_true(ring_sleep(&r));
    assert_true(ring_put(&r, &item));
    assert_true(ring_must_wake(&r));
    assert_false(ring_must_wake(&r)); /* once is enough */
    munmap(memory, bytes);
}

/* A reader that lies about how far it read only makes the writer drop. */
static void test_reader_lies(void **state)
{
    size_t bytes = ring_bytes(4, sizeof(struct item));
    unsigned char *memory = shared(bytes);
    struct ring r;
    struct item item = item_of(1);

    (void)state;
    memset(memory + 64, 0xee, 64); /* the reader's cache line: tail and sleeping */
    ring_attach(&r, memory, 4, sizeof(struct item));
    for (int i = 0; i < 100; i++)
        (void)!ring_put(&r, &item);
    assert_int_equal(ring_dropped(&r), 100);
    munmap(memory, bytes);
}

enum { ITEMS = 200000 };

/* Takes until the last item: in order, whole. Returns how many were taken through `taken`. */
static int consume(struct ring *r, uint64_t *taken)
{
    uint64_t last = 0;
    struct item item;

    while (last < ITEMS) {
        if (!ring_take(r, &item)) {
            sched_yield();
            continue;
        }
        if (item.number <= last || !whole(&item))
            return 1;
        last = item.number;
        (*taken)++;
    }
    return 0;
}

static void test_two_processes(void **state)
{
    size_t bytes = ring_bytes(64, sizeof(struct item));
    void *memory = shared(bytes);
    uint64_t *taken = shared(sizeof(*taken)), tries = ITEMS - 1;
    struct ring r;
    struct item item;
    int status;
    pid_t child;

    (void)state;
    ring_attach(&r, memory, 64, sizeof(struct item));
    child = fork();
    if (child == 0)
        _exit(consume(&r, taken));
    for (uint64_t i = 1; i < ITEMS; i++) {
        item = item_of(i);
        (void)!ring_put(&r, &item);
        if (i % 64 == 0)
            sched_yield();
    }
    item = item_of(ITEMS);
    for (bool put = false; !put; tries++) {
        put = ring_put(&r, &item);
        sched_yield();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(*taken + ring_dropped(&r), tries); /* nothing is lost that is not counted */
    munmap(memory, bytes);
    munmap(taken, sizeof(*taken));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_full_and_empty), cmocka_unit_test(test_parts),
                                        cmocka_unit_test(test_begins_again),   cmocka_unit_test(test_begins_again_soon),
                                        cmocka_unit_test(test_wake),           cmocka_unit_test(test_reader_lies),
                                        cmocka_unit_test(test_two_processes) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
