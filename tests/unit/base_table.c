/* SPDX-License-Identifier: ISC */
/* The session table: rows, readers beside a writer, names, counts, ended streams, and what is left when a worker dies. */
#include "base/table.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS 200u

#include "base_shard.h"

static void test_geometry(void **state)
{
    int fd = make_memory(ROWS);

    (void)state;
    assert_null(shard_map(fd, 0, true));
    assert_null(shard_map(fd, 100 * ROWS, true));
    assert_int_equal(errno, EINVAL);
    assert_null(shard_map(-1, ROWS, true));
    shard_unmap(NULL);
    close(fd);
    assert_true(sizeof(struct row) <= 640);
}

static void test_rows_lowest_first(void **state)
{
    struct fixture *f = *state;
    struct row *row[ROWS], copy;

    for (unsigned i = 0; i < ROWS; i++) {
        row[i] = row_take(f->writer);
        assert_non_null(row[i]);
        assert_ptr_equal(row[i], row[0] + i);
        assert_int_equal(row[i]->state, ROW_NEW);
    }
    assert_null(row_take(f->writer));
    assert_int_equal(count_read(f->reader, COUNT_ROWS_HIGH), ROWS);
    row[130]->number = 7;
    row_release(f->writer, row[130]);
    row_release(f->writer, row[64]);
    assert_false(row_read(f->reader, 64, &copy, NULL));
    assert_true(row_read(f->reader, 65, &copy, NULL));
    assert_ptr_equal(row_take(f->writer), row[64]);
    assert_ptr_equal(row_take(f->writer), row[130]);
    assert_int_equal(row[130]->number, 0);
    assert_null(row_take(f->writer));
    assert_false(row_read(f->reader, ROWS, &copy, NULL));
    assert_false(row_read(f->reader, UINT32_MAX, &copy, NULL));
}

static void test_row_changing(void **state)
{
    struct fixture *f = *state;
    struct row *row = row_take(f->writer), copy;

    row_begin(f->writer, row);
    assert_false(row_read(f->reader, 0, &copy, NULL));
    strcpy(row->host, "a.example");
    row_end(f->writer, row);
    assert_true(row_read(f->reader, 0, &copy, NULL));
    assert_string_equal(copy.host, "a.example");
}

static void test_strings_end(void **state)
{
    struct fixture *f = *state;
    struct row *row = row_take(f->writer), copy;

    memset(row->host, 'h', sizeof(row->host));
    memset(row->path, 'p', sizeof(row->path));
    assert_true(row_read(f->reader, 0, &copy, NULL));
    assert_int_equal(strlen(copy.host), ROW_HOST - 1);
    assert_int_equal(strlen(copy.path), ROW_PATH - 1);
}

static bool all_same(const char *text, size_t size)
{
    for (size_t i = 1; i < size; i++)
        if (text[i] != text[0])
            return false;
    return true;
}

/* Reads until a copy says that the writer is done; 0 if none of them was torn. */
static int hammer(const struct shard *s)
{
    struct row copy;
    uint64_t good = 0;

    for (;;) {
        if (!row_read(s, 0, &copy, NULL))
            continue;
        if (!all_same(copy.host, ROW_HOST - 1) || !all_same(copy.path, ROW_PATH - 1) || copy.host[0] != copy.path[0])
            return 1;
        good++;
        if (copy.close_code == 1000)
            return good > 1 ? 0 : 2;
    }
}

static void test_never_torn(void **state)
{
    struct fixture *f = *state;
    struct row *row = row_take(f->writer);
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0)
        _exit(hammer(f->reader));
    for (unsigned i = 0; i < 300000; i++) {
        row_begin(f->writer, row);
        memset(row->host, 'a' + (int)(i % 26), sizeof(row->host));
        memset(row->path, 'a' + (int)(i % 26), sizeof(row->path));
        row_end(f->writer, row);
        if (i % 10000 == 0)
            usleep(100); /* one processor will do */
    }
    row->close_code = 1000;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    char name[64], out[TABLE_NAME_SIZE];
    name_id lan = table_intern(f->writer, "lan0");

    assert_int_equal(table_intern(f->writer, ""), 0);
    assert_int_not_equal(lan, 0);
    assert_int_equal(table_intern(f->writer, "lan0"), lan);
    assert_string_equal(table_name(f->reader, lan, out), "lan0");
    assert_string_equal(table_name(f->reader, 0, out), "");
    assert_string_equal(table_name(f->reader, TABLE_NAMES, out), "");
    assert_string_equal(table_name(f->reader, UINT16_MAX, out), "");
    for (unsigned i = 0; i < TABLE_NAMES - 2; i++) {
        snprintf(name, sizeof(name), "name-%u", i);
        assert_int_not_equal(table_intern(f->writer, name), 0);
    }
    assert_int_equal(table_intern(f->writer, "one-too-many"), 0);
    assert_int_equal(table_intern(f->writer, "lan0"), lan);
    assert_string_equal(table_name(f->reader, table_intern(f->writer, "name-7"), out), "name-7");
}

static void test_long_name_is_cut(void **state)
{
    struct fixture *f = *state;
    char out[TABLE_NAME_SIZE];
    name_id id = table_intern(f->writer, "a-name-of-thirty-one-bytes-here-and-more");

    assert_string_equal(table_name(f->reader, id, out), "a-name-of-thirty-one-bytes-here");
    assert_int_equal(table_intern(f->writer, "a-name-of-thirty-one-bytes-here"), id);
}

static void test_new_writer_finds_all(void **state)
{
    struct fixture *f = *state;
    name_id id = table_intern(f->writer, "inside");
    struct row *first = row_take(f->writer);

    (void)first;
    shard_unmap(f->writer);
    f->writer = shard_map(f->fd, ROWS, true);
    assert_non_null(f->writer);
    assert_int_equal(table_intern(f->writer, "inside"), id);
    assert_int_equal(table_intern(f->writer, "outside"), id + 1);
    assert_non_null(row_take(f->writer));
    assert_int_equal(count_read(f->reader, COUNT_ROWS_HIGH), 2);
}

static void test_what_it_is_at(void **state)
{
    struct fixture *f = *state;
    enum phase phase = PHASE_COUNT;

    assert_int_equal(shard_at_read(f->reader, &phase), 0);
    shard_at(f->writer, UINT32_MAX + 1ull, PHASE_CLOSING);
    assert_int_equal(shard_at_read(f->reader, &phase), UINT32_MAX + 1ull);
    assert_int_equal(phase, PHASE_CLOSING);
    shard_at(f->writer, 0, PHASE_SNIFF);
    assert_int_equal(shard_at_read(f->reader, &phase), 0);
}

static void test_counters(void **state)
{
    struct fixture *f = *state;

    count_add(f->writer, COUNT_BYTES_UP, 5000000000ull);
    count_add(f->writer, COUNT_SESSIONS_OPEN, 2);
    count_sub(f->writer, COUNT_SESSIONS_OPEN, 1);
    count_reason(f->writer, R_INTERNAL);
    assert_int_equal(count_read(f->reader, COUNT_BYTES_UP), 5000000000ull);
    assert_int_equal(count_read(f->reader, COUNT_SESSIONS_OPEN), 1);
    assert_int_equal(count_reason_read(f->reader, R_INTERNAL), 1);
    assert_int_equal(count_reason_read(f->reader, R_NONE), 0);
    for (unsigned a = 0; a < COUNTERS; a++) {
        assert_true(counter_help((enum counter)a)[0] != '\0');
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(counter_name((enum counter)a), counter_name((enum counter)b));
    }
    assert_string_equal(counter_name(COUNTERS), "?");
    assert_string_equal(counter_help(COUNTERS), "?");
}

static struct addr address(const char *text)
{
    struct addr a;

    assert_true(addr_parse(&a, span_str(text), 1234));
    return a;
}

static void test_clients(void **state)
{
    struct fixture *f = *state;
    struct addr v4 = address("32.1.13.184"), other = address("32.1.13.185"), net = address("2001:db8:1:2::1"),
                same_net = address("2001:db8:1:2:ffff::9"), next_net = address("2001:db8:1:3::1"),
                lookalike = address("2001:db8:ffff:ffff::");

    assert_true(clients_add(f->writer, &v4, 1));
    v4.port = 99;
    assert_true(clients_add(f->writer, &v4, 1));
    assert_true(clients_add(f->writer, &net, 1));
    assert_int_equal(clients_read(f->reader, &v4), 2);
    assert_int_equal(clients_read(f->reader, &other), 0);
    assert_int_equal(clients_read(f->reader, &same_net), 1);
    assert_int_equal(clients_read(f->reader, &next_net), 0);
    assert_int_equal(clients_read(f->reader, &lookalike), 0);
    assert_true(clients_add(f->writer, &v4, -1));
    assert_true(clients_add(f->writer, &v4, -1));
    assert_int_equal(clients_read(f->reader, &v4), 0);
    assert_false(clients_add(f->writer, &v4, -1));
    assert_int_equal(clients_read(f->reader, &v4), 0);
}

static void test_streams(void **state)
{
    struct fixture *f = *state;
    struct addr one = address("::1"), other = address("192.0.2.1");

    assert_true(streams_add(f->writer, "chat", &one, 1));
    assert_true(streams_add(f->writer, "chat", &other, 1));
    assert_true(streams_add(f->writer, "chat", &other, 1));
    assert_true(streams_add(f->writer, "feed", &other, 1));
    assert_int_equal(streams_read(f->reader, "chat", NULL), 3);
    assert_int_equal(streams_read(f->reader, "chat", &one), 1);
    assert_int_equal(streams_read(f->reader, "chat", &other), 2);
    assert_int_equal(streams_read(f->reader, "feed", NULL), 1);
    assert_int_equal(streams_read(f->reader, "chatter", NULL), 0);
    assert_true(streams_add(f->writer, "chat", &one, -1));
    assert_int_equal(streams_read(f->reader, "chat", NULL), 2);
    assert_int_equal(streams_read(f->reader, "chat", &one), 0);
    assert_false(streams_add(f->writer, "none", &one, -1));
    shard_clear(f->writer, NULL, NULL);
    assert_int_equal(streams_read(f->reader, "chat", NULL), 0);
    assert_int_equal(streams_read(f->reader, "feed", &other), 0);
}

/* As many clients as there are rows, all different, again and again: there is always room, and nobody is forgotten. */
static void test_clients_churn(void **state)
{
    struct fixture *f = *state;
    struct addr a = address("10.0.0.0");

    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < ROWS; i++) {
            memcpy(a.ip, &(uint32_t){ round * 7919 + i * 31 }, 4);
            assert_true(clients_add(f->writer, &a, 1));
        }
        for (unsigned i = ROWS; i-- > 0;) {
            memcpy(a.ip, &(uint32_t){ round * 7919 + i * 31 }, 4);
            assert_int_equal(clients_read(f->reader, &a), 1);
            assert_true(clients_add(f->writer, &a, -1));
            assert_int_equal(clients_read(f->reader, &a), 0);
        }
    }
}

static void test_clients_full(void **state)
{
    struct fixture *f = *state;
    struct addr a = address("10.0.0.0");
    unsigned n = 0;

    for (uint32_t i = 0; i < 100 * ROWS; i++) {
        memcpy(a.ip, &i, 4);
        if (!clients_add(f->writer, &a, 1))
            break;
        n++;
    }
    assert_in_range(n, ROWS, 100 * ROWS - 1);
    assert_int_equal(clients_read(f->reader, &a), 0);
}

static void test_ended(void **state)
{
    struct fixture *f = *state;
    struct record in = { .near_count = 200 }, out;

    assert_false(ended_read(f->reader, 0, &out));
    assert_false(ended_read(f->reader, 1, &out));
    memset(in.row.path, 'x', sizeof(in.row.path));
    for (uint64_t i = 1; i <= TABLE_ENDED + 1; i++) {
        in.row.number = 10 * i;
        ended_put(f->writer, &in);
    }
    assert_int_equal(count_read(f->reader, COUNT_ENDED), TABLE_ENDED + 1);
    assert_false(ended_read(f->reader, 1, &out));
    assert_true(ended_read(f->reader, 2, &out));
    assert_int_equal(out.row.number, 20);
    assert_true(ended_read(f->reader, TABLE_ENDED + 1, &out));
    assert_int_equal(out.sequence, TABLE_ENDED + 1);
    assert_int_equal(out.near_count, NEAR_MISSES);
    assert_int_equal(strlen(out.row.path), ROW_PATH - 1);
    assert_false(ended_read(f->reader, TABLE_ENDED + 2, &out));
    assert_false(ended_read(f->reader, UINT64_MAX, &out));
}

/* Reads the newest record until the last one was seen: each must be of one piece. */
static int hammer_ended(const struct shard *s)
{
    struct record copy;

    for (;;) {
        uint64_t newest = count_read(s, COUNT_ENDED);

        if (newest < TABLE_ENDED || !ended_read(s, newest - TABLE_ENDED + 1, &copy))
            continue;
        if (copy.row.number != copy.sequence || copy.row.opened_us != copy.sequence || copy.time_us != copy.sequence)
            return 1;
        if (copy.sequence > 20 * TABLE_ENDED)
            return 0;
    }
}

static void test_ended_never_torn(void **state)
{
    struct fixture *f = *state;
    struct record in = { .event = RECORD_END };
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(hammer_ended(f->reader));
    for (uint64_t i = 1; i <= 22 * TABLE_ENDED; i++) {
        in.time_us = in.row.number = in.row.opened_us = i;
        ended_put(f->writer, &in);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void note_lost(const struct record *last, void *arg)
{
    *(uint64_t *)arg += last->row.number;
}

/* A worker dies in the middle of a change; the monitor clears; the next worker begins with nothing but totals and names. */
static void test_death(void **state)
{
    struct fixture *f = *state;
    struct addr client = address("192.0.2.1");
    struct record record = { .event = RECORD_END };
    struct row copy;
    name_id id = table_intern(f->writer, "kept");
    uint64_t lost = 0;
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct shard *mine = shard_map(f->fd, ROWS, true);

        for (uint64_t i = 1; i <= 3; i++) {
            struct row *row = row_take(mine);

            row->number = i;
            if (i == 2)
                row_release(mine, row);
            if (i == 3)
                row_begin(mine, row);
        }
        count_add(mine, COUNT_SESSIONS_OPENED, 3);
        count_add(mine, COUNT_SESSIONS_OPEN, 2);
        ended_put(mine, &record);
        _exit(clients_add(mine, &client, 1) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(clients_read(f->reader, &client), 1);
    assert_int_equal(shard_clear(f->writer, note_lost, &lost), 2);
    assert_int_equal(lost, 1 + 3);
    assert_int_equal(shard_clear(f->writer, NULL, NULL), 0);
    assert_int_equal(clients_read(f->reader, &client), 0);
    assert_int_equal(count_read(f->reader, COUNT_SESSIONS_OPEN), 0);
    assert_int_equal(count_read(f->reader, COUNT_SESSIONS_OPENED), 3);
    assert_int_equal(count_read(f->reader, COUNT_ENDED), 1);
    assert_int_equal(table_intern(f->writer, "kept"), id);
    for (uint32_t i = 0; i < 3; i++) {
        assert_false(row_read(f->reader, i, &copy, NULL));
        assert_non_null(row_take(f->writer));
        assert_true(row_read(f->reader, i, &copy, NULL));
    }
    assert_int_equal(shard_rows(f->reader), ROWS);
}

#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_geometry),
        FRESH(test_rows_lowest_first),
        FRESH(test_row_changing),
        FRESH(test_strings_end),
        FRESH(test_never_torn),
        FRESH(test_names),
        FRESH(test_long_name_is_cut),
        FRESH(test_new_writer_finds_all),
        FRESH(test_what_it_is_at),
        FRESH(test_counters),
        FRESH(test_clients),
        FRESH(test_clients_churn),
        FRESH(test_clients_full),
        FRESH(test_streams),
        FRESH(test_ended),
        FRESH(test_ended_never_torn),
        FRESH(test_death),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
