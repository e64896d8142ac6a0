/* SPDX-License-Identifier: ISC */
/* The Prometheus text: summed over shards, well-formed, and with a set of labels that no client can change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/metrics.h"
#include "app_fake_view.h"

static char *text;
static size_t text_len;

static void write_text(const struct view *v)
{
    FILE *file;

    free(text);
    file = open_memstream(&text, &text_len);
    assert_non_null(file);
    metrics_write(v, file);
    fclose(file);
}

static void assert_has(const char *line)
{
    if (strstr(text, line) == NULL)
        fail_msg("missing: %s", line);
}

static size_t count_lines(void)
{
    size_t lines = 0;

    for (const char *p = text; *p != '\0'; p++)
        lines += *p == '\n';
    return lines;
}

static void test_sums(void **state)
{
    struct view v;

    (void)state;
    fake_view(&v);
    count_add(v.shards[0], COUNT_REQUESTS, 5);
    count_add(v.shards[1], COUNT_REQUESTS, 7);
    v.status.workers[1].restarts = 2;
    v.status.memory_used = 700;
    v.status.memory_limit = 1000;
    v.status.pressure = PRESSURE_HIGH;
    write_text(&v);
    assert_has("\npostern_requests_total 12\n");
    assert_has("# TYPE postern_requests_total counter\n");
    assert_has("# HELP postern_requests_total ");
    assert_has("# TYPE postern_sessions_open gauge\npostern_sessions_open 3\n");
    assert_has("postern_reasons_total{reason=\"no-policy\"} 2\n");
    assert_has("postern_reasons_total{reason=\"lost\"} 0\n");
    assert_has("postern_build_info{version=\"" POSTERN_VERSION "\"} 1\n");
    assert_has("\npostern_workers 2\n");
    assert_has("\npostern_workers_up 2\n");
    assert_has("\npostern_worker_restarts_total 2\n");
    assert_has("\npostern_memory_bytes 700\n");
    assert_has("\npostern_memory_limit_bytes 1000\n");
    assert_has("\npostern_memory_pressure 1\n");
    v.status.workers[0].ready = 0;
    write_text(&v);
    assert_has("\npostern_workers_up 1\n");
    fake_view_fini(&v);
}

/* Lines lost on the way to the logger, and in the logger. */
static void test_dropped(void **state)
{
    static struct record record;
    struct log_stats stats = { 40, 2 };
    size_t size = ring_bytes(LOG_SLOTS, sizeof(struct record));
    void *memory = calloc(1, size + 64);
    struct view v;

    (void)state;
    fake_view(&v);
    v.log_stats = &stats;
    ring_attach(&v.rings[1], (void *)(((uintptr_t)memory + 63) & ~(uintptr_t)63), LOG_SLOTS, sizeof(struct record));
    for (unsigned i = 0; i < LOG_SLOTS + 3; i++)
        assert_int_equal(ring_put(&v.rings[1], &record), i < LOG_SLOTS);
    write_text(&v);
    assert_has("\npostern_log_dropped_total 5\n");
    assert_has("\npostern_log_written_total 40\n");
    free(memory);
    fake_view_fini(&v);
}

static void test_labels_are_ours(void **state)
{
    struct view v;
    size_t before;

    (void)state;
    fake_view(&v);
    write_text(&v);
    before = count_lines();
    for (unsigned i = 3; i < FAKE_ROWS; i++)
        fake_row(v.shards[0], 0, i + 10, "10.0.0.9:9", "evil\"}\n1.example");
    for (unsigned i = 0; i < 100; i++)
        fake_denial(v.shards[1], 1, i + 100, 1);
    write_text(&v);
    assert_int_equal(count_lines(), before);
    assert_null(strstr(text, "example"));
    fake_view_fini(&v);
}

static void test_every_line_is_well_formed(void **state)
{
    struct view v;

    (void)state;
    fake_view(&v);
    write_text(&v);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        const char *value = strrchr(line, ' ');

        if (line[0] == '#')
            assert_true(strncmp(line, "# HELP postern_", 15) == 0 || strncmp(line, "# TYPE postern_", 15) == 0);
        else
            assert_true(strncmp(line, "postern_", 8) == 0 && value != NULL && strspn(value + 1, "0123456789") == strlen(value + 1));
    }
    fake_view_fini(&v);
}

/* A generation with a packet filter, or without. */
static struct generation *some_generation(const char *filter)
{
    struct generation *g = calloc(1, sizeof(*g));
    struct conf_messages messages;
    char conf[512];

    snprintf(conf, sizeof(conf),
             "zones = ({ name = \"in\"; interfaces = [ \"lan0\" ]; }); policies = ({ name = \"p\"; action = \"deny\"; }); %s",
             filter);
    conf_messages_init(&messages);
    assert_non_null(g);
    g->refs = 1;
    g->conf = conf_parse("f", span_str(conf), &messages);
    if (g->conf == NULL)
        fail_msg("%s", messages.errors[0]);
    conf_messages_fini(&messages);
    return g;
}

static void test_filter(void **state)
{
    struct generation *with = some_generation("packet_filter = { backend = \"nftables\"; };"), *without = some_generation("");
    struct filter_stats stats = { .commits = 3, .mended = 1, .blocks = 2 };
    struct view v;

    (void)state;
    fake_view(&v);
    v.filter_stats = &stats;
    v.generation = without;
    write_text(&v);
    assert_null(strstr(text, "postern_filter_"));
    assert_true(view_healthy(&v));
    v.generation = with;
    assert_false(view_healthy(&v));
    v.status.filter = 99;
    v.status.filter_restarts = 4;
    write_text(&v);
    assert_has("\npostern_filter_up 0\n");
    assert_false(view_healthy(&v));
    v.status.filter_ready = 1;
    write_text(&v);
    assert_has("\npostern_filter_up 1\n");
    assert_has("\npostern_filter_restarts_total 4\n");
    assert_has("\npostern_filter_commits_total 3\n");
    assert_has("\npostern_filter_mended_total 1\n");
    assert_has("\npostern_filter_blocked 2\n");
    assert_true(view_healthy(&v));
    generation_unref(with);
    generation_unref(without);
    fake_view_fini(&v);
}

/* What a path has between quotes, too. A file that has no certificate of ours has no line. */
static void test_certificates(void **state)
{
    static const char conf[] =
        "listeners = ({ name = \"front\"; mode = \"reverse\"; address = \"127.0.0.1:1\"; upstreams = \"a:1\";"
        " tls = { certificate = \"/tmp/a \\\"b\\\\c.pem\"; key = \"/tmp/a.key\"; }; });";
    struct generation *g = some_generation(conf), *none = some_generation("");
    struct view v;

    (void)state;
    fake_view(&v);
    v.generation = none;
    write_text(&v);
    assert_null(strstr(text, "postern_certificate_"));
    v.generation = g;
    g->tls_ends = calloc(g->conf->tls_file_count, sizeof(*g->tls_ends));
    assert_non_null(g->tls_ends);
    write_text(&v);
    assert_null(strstr(text, "postern_certificate_"));
    g->tls_ends[g->conf->listeners[0].tls.pairs[0].certificate] = 1893456000;
    write_text(&v);
    assert_has("# TYPE postern_certificate_end_timestamp_seconds gauge\n"
               "postern_certificate_end_timestamp_seconds{key=\"listeners.front.tls.certificate\",file=\"/tmp/a \\\"b\\\\c.pem\"}"
               " 1893456000\n");
    assert_null(strstr(text, "a.key"));
    generation_unref(g);
    generation_unref(none);
    fake_view_fini(&v);
}

static void test_health(void **state)
{
    struct view v;

    (void)state;
    fake_view(&v);
    assert_true(view_healthy(&v));
    v.status.workers[1].ready = 0;
    assert_false(view_healthy(&v));
    v.status.workers[1].ready = 1;
    v.status.workers[0].pid = 0;
    assert_false(view_healthy(&v));
    v.status.workers[0].pid = 1;
    v.status.draining = 1;
    assert_false(view_healthy(&v));
    fake_view_fini(&v);
}

static int teardown(void **state)
{
    (void)state;
    free(text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_labels_are_ours),
        cmocka_unit_test(test_every_line_is_well_formed),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_health),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
