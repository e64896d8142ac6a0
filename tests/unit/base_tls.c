/* SPDX-License-Identifier: ISC */
/* TLS facts beside rows, what they cost those that have none, and the names of minted certificates. */
#include "base/clock.h"
#include "base/ring.h"
#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS 2000u

#include "base_shard.h"

static size_t memory_used(const struct fixture *f)
{
    struct stat st;

    assert_int_equal(fstat(f->fd, &st), 0);
    return (size_t)st.st_blocks * 512;
}

/* A row that is used again has none of the facts of the one before. */
static void test_beside_rows(void **state)
{
    struct fixture *f = *state;
    struct tls_facts out[DIRECTIONS], *facts;
    struct row *plain = row_take(f->writer), *row = row_take(f->writer), copy;

    row_begin(f->writer, row);
    facts = row_tls(f->writer, row);
    facts[UP].version = 0x0304;
    strcpy(facts[UP].ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
    strcpy(facts[DOWN].subject, "CN=a.test");
    row_end(f->writer, row);
    row_begin(f->writer, row);
    assert_ptr_equal(row_tls(f->writer, row), facts); /* the second call keeps them */
    row_end(f->writer, row);
    assert_true(row_read(f->reader, 1, &copy, out));
    assert_true(copy.tls && out[UP].version == 0x0304 && out[DOWN].version == 0);
    assert_string_equal(out[DOWN].subject, "CN=a.test");
    assert_true(row_read(f->reader, 1, &copy, NULL));
    memset(out, 'x', sizeof(out));
    assert_true(row_read(f->reader, 0, &copy, out));
    assert_true(!copy.tls && out[UP].version == 'x' * 257);
    row_release(f->writer, row);
    assert_ptr_equal(row_take(f->writer), row);
    assert_false(row->tls);
    row_begin(f->writer, row);
    facts = row_tls(f->writer, row);
    row_end(f->writer, row);
    assert_true(facts[UP].version == 0 && facts[UP].ja4[0] == '\0' && facts[DOWN].subject[0] == '\0');
    assert_false(plain->tls);
}

/* Whoever wrote them: strings end, and only what can be printed is in them. */
static void test_mended(void **state)
{
    struct fixture *f = *state;
    struct tls_facts out[DIRECTIONS];
    struct row *row = row_take(f->writer), copy;

    row_begin(f->writer, row);
    memset(row_tls(f->writer, row), 'x', DIRECTIONS * sizeof(struct tls_facts));
    strcpy(row_tls(f->writer, row)[UP].subject, "CN=a\n\x1b[2J\xff b\"");
    row_end(f->writer, row);
    assert_true(row_read(f->reader, 0, &copy, out));
    for (unsigned side = 0; side < DIRECTIONS; side++) {
        assert_int_equal(strlen(out[side].name), TLS_NAME - 1);
        assert_int_equal(strlen(out[side].ja4), TLS_JA4 - 1);
        assert_int_equal(strlen(out[side].issuer), TLS_SUBJECT - 1);
    }
    assert_string_equal(out[UP].subject, "CN=a??[2J? b\"");
    assert_int_equal(strlen(out[DOWN].subject), TLS_SUBJECT - 1);
}

static void test_plain_rows_cost_nothing(void **state)
{
    struct fixture *f = *state;
    struct row *row = NULL;
    size_t before, between;

    before = memory_used(f);
    for (unsigned i = 0; i < ROWS; i++) {
        row = row_take(f->writer);
        row_begin(f->writer, row);
        row_end(f->writer, row);
    }
    between = memory_used(f);
    assert_in_range(between - before, ROWS * sizeof(struct row) - 4096, ROWS * sizeof(struct row) + 4 * 4096);
    row_begin(f->writer, row);
    row_tls(f->writer, row)[DOWN].version = 0x0303;
    row_end(f->writer, row);
    assert_in_range(memory_used(f) - between, 4096, 2 * 4096);
}

/* A record without TLS ends behind the host: neither ring copies more. */
static void test_records(void **state)
{
    struct fixture *f = *state;
    struct row *row = row_take(f->writer);
    struct record record, out;
    struct ring ring;
    void *memory = aligned_alloc(64, (ring_bytes(2, sizeof(record)) + 63) & ~(size_t)63);

    memset(&record, 0, sizeof(record));
    memset(record.tls, 's', sizeof(record.tls));
    row_record(f->writer, row, &record);
    memset(record.row.host, 'h', ROW_HOST - 1);
    assert_int_equal(record_bytes(&record), (offsetof(struct record, row.host) + ROW_HOST + 7) / 8 * 8);
    assert_true(record_bytes(&record) <= offsetof(struct record, tls));
    strcpy(record.row.host, "example.com");
    assert_int_equal(record_bytes(&record), (offsetof(struct record, row.host) + 12 + 7) / 8 * 8);
    assert_int_equal(record.tls[UP].version, 's' * 257);
    ended_put(f->writer, &record);
    assert_true(ended_read(f->reader, 1, &out));
    assert_true(!out.row.tls && out.tls[UP].version == 0);
    assert_string_equal(out.row.host, "example.com");
    memset(memory, 0, ring_bytes(2, sizeof(record)));
    ring_attach(&ring, memory, 2, sizeof(record));
    assert_true(ring_put_part(&ring, &record, record_bytes(&record)));
    assert_true(ring_take(&ring, &out));
    assert_true(!out.row.tls && out.tls[UP].version == 0);
    assert_string_equal(out.row.host, "example.com");

    row_begin(f->writer, row);
    row_tls(f->writer, row)[DOWN].suite = 0x1302;
    row_end(f->writer, row);
    row_record(f->writer, row, &record);
    assert_int_equal(record_bytes(&record), sizeof(record));
    ended_put(f->writer, &record);
    assert_true(ended_read(f->reader, 2, &out));
    assert_true(out.row.tls && out.tls[DOWN].suite == 0x1302 && out.tls[UP].version == 0);
    assert_true(ring_put_part(&ring, &record, record_bytes(&record)));
    assert_true(ring_take(&ring, &out));
    assert_true(out.row.tls && out.tls[DOWN].suite == 0x1302);
    assert_true(ring_put_part(&ring, &record, SIZE_MAX)); /* never more than a slot */
    free(memory);
}

static void note_lost(const struct record *last, void *arg)
{
    *(struct record *)arg = *last;
}

static void test_lost_with_facts(void **state)
{
    struct fixture *f = *state;
    struct row *row = row_take(f->writer);
    struct record last = { 0 };

    row_begin(f->writer, row); /* it died here */
    strcpy(row_tls(f->writer, row)[UP].name, "a.test");
    assert_int_equal(shard_clear(f->writer, note_lost, &last), 1);
    assert_true(last.row.tls);
    assert_string_equal(last.tls[UP].name, "a.test");
    assert_int_equal(last.time_us, 0);
}

/* Reads until a copy says that the writer is done; 0 if row and facts always were of one piece. */
static int hammer(const struct shard *s)
{
    struct tls_facts tls[DIRECTIONS];
    struct row copy;

    for (;;) {
        if (!row_read(s, 0, &copy, tls) || !copy.tls)
            continue;
        if (copy.host[0] != tls[UP].name[0] || copy.host[0] != tls[DOWN].issuer[TLS_SUBJECT - 2])
            return 1;
        if (copy.close_code == 1000)
            return 0;
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
    for (unsigned i = 0; i < 200000; i++) {
        struct tls_facts *facts;
        char c = (char)('a' + i % 26);

        row_begin(f->writer, row);
        facts = row_tls(f->writer, row);
        memset(row->host, c, sizeof(row->host));
        memset(facts[UP].name, c, sizeof(facts[UP].name));
        memset(facts[DOWN].issuer, c, sizeof(facts[DOWN].issuer));
        if (i == 199999)
            row->close_code = 1000;
        row_end(f->writer, row);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static bool find_inspected(const struct shard *s, const char *name, struct inspected *out)
{
    for (uint32_t i = 0; i < TABLE_INSPECTED; i++)
        if (inspected_read(s, i, out) && strcmp(out->name, name) == 0)
            return true;
    return false;
}

static struct addr address(const char *text)
{
    struct addr out;

    assert_true(addr_parse(&out, span_str(text), 1234));
    return out;
}

static void test_inspected(void **state)
{
    struct fixture *f = *state;
    struct addr one = address("192.0.2.1"), two = address("192.0.2.2");
    struct inspected out;

    assert_false(inspected_read(f->reader, 0, &out));
    assert_false(inspected_read(f->reader, TABLE_INSPECTED, &out));
    assert_false(inspected_read(f->reader, UINT32_MAX, &out));
    inspected_add(f->writer, SPAN("a.test"), &one, false);
    inspected_add(f->writer, SPAN("b.test"), &two, true);
    inspected_add(f->writer, SPAN("a.test"), &two, false);
    inspected_add(f->writer, SPAN(""), &two, true);
    assert_true(find_inspected(f->reader, "a.test", &out));
    assert_true(out.shown == 2 && out.refused == 0 && out.last_us > 0 && out.last_refused_us == 0);
    assert_int_equal(out.last_client.family, 0);
    assert_true(find_inspected(f->reader, "b.test", &out));
    assert_true(out.shown == 1 && out.refused == 1 && out.last_refused_us == out.last_us && addr_eq(&out.last_client, &two));
    inspected_add(f->writer, SPAN("b.test"), &one, false);
    assert_true(find_inspected(f->reader, "b.test", &out));
    assert_true(out.shown == 2 && out.refused == 1 && addr_eq(&out.last_client, &two)); /* that of the last refusal */
    assert_false(inspected_read(f->reader, 2, &out));
}

/* A new writer goes on where the one before was; one that died in the middle of a change leaves a place that is mended. */
static void test_inspected_new_writer(void **state)
{
    struct fixture *f = *state;
    struct addr client = address("192.0.2.1");
    struct shard *second;
    struct inspected out;

    inspected_add(f->writer, SPAN("a.test"), &client, true);
    second = shard_map(f->fd, ROWS, true);
    inspected_add(second, SPAN("a.test"), &client, false);
    assert_true(find_inspected(f->reader, "a.test", &out));
    assert_int_equal(out.shown, 2);
    assert_false(inspected_read(f->reader, 1, &out));
    shard_unmap(second);
}

static void test_inspected_forgets_the_oldest(void **state)
{
    struct fixture *f = *state;
    struct addr client = address("192.0.2.1");
    struct inspected out;
    char name[32];

    for (unsigned i = 0; i < TABLE_INSPECTED; i++) {
        snprintf(name, sizeof(name), "n%u.test", i);
        inspected_add(f->writer, span_str(name), &client, false);
    }
    inspected_add(f->writer, SPAN("n0.test"), &client, true);
    inspected_add(f->writer, SPAN("new.test"), &client, false);
    assert_true(find_inspected(f->reader, "n0.test", &out) && out.shown == 2);
    assert_true(find_inspected(f->reader, "new.test", &out) && out.shown == 1 && out.refused == 0);
    assert_false(find_inspected(f->reader, "n1.test", &out));
    assert_true(find_inspected(f->reader, "n2.test", &out));
}

#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(test_beside_rows),
        FRESH(test_mended),
        FRESH(test_plain_rows_cost_nothing),
        FRESH(test_records),
        FRESH(test_lost_with_facts),
        FRESH(test_never_torn),
        FRESH(test_inspected),
        FRESH(test_inspected_new_writer),
        FRESH(test_inspected_forgets_the_oldest),
    };

    clock_tick();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
