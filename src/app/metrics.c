/* SPDX-License-Identifier: ISC */
/*
 * The counters of all shards as Prometheus reads them. What is counted is in one list (base/table.h); here it only gets its prefix,
 * and its type from its name: what ends in _total is a counter. Labels are texts of the configuration, never those of clients.
 */
#include "app/metrics.h"

#include "app/sandbox.h"

#include <string.h>

static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP postern_%s %s\n# TYPE postern_%s %s\n", name, help, name, type);
}

static void write_metric(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
    write_head(out, name, type, help);
    fprintf(out, "postern_%s %llu\n", name, (unsigned long long)value);
}

static const char *type_of(const char *name)
{
    size_t len = strlen(name);

    return len > 6 && strcmp(name + len - 6, "_total") == 0 ? "counter" : "gauge";
}

static void write_reasons(const struct view *v, FILE *out)
{
    write_head(out, "reasons_total", "counter", "Streams ended or denied, by reason.");
    for (unsigned r = 0; r < R_COUNT; r++)
        fprintf(out, "postern_reasons_total{reason=\"%s\"} %llu\n", reason_name((enum reason)r),
                (unsigned long long)view_reason(v, (enum reason)r));
}

static void write_filter(const struct view *v, FILE *out)
{
    const struct filter_stats *stats = v->filter_stats;

    if (stats == NULL || !view_has_filter(v))
        return;
    write_metric(out, "filter_up", "gauge", "Is the filter process up, and the packet filter committed?",
                 v->status.filter != 0 && v->status.filter_ready);
    write_metric(out, "filter_restarts_total", "counter", "Times that the filter process was started again after a death.",
                 v->status.filter_restarts);
    write_metric(out, "filter_commits_total", "counter", "Times that the ruleset was committed.",
                 atomic_load_explicit(&stats->commits, memory_order_relaxed));
    write_metric(out, "filter_mended_total", "counter", "Times that another program had changed it and it was put back.",
                 atomic_load_explicit(&stats->mended, memory_order_relaxed));
    write_metric(out, "filter_blocked", "gauge", "Addresses and networks that are blocked now.",
                 atomic_load_explicit(&stats->blocks, memory_order_relaxed));
}

static void write_minter(const struct view *v, FILE *out)
{
    if (!view_has_minter(v))
        return;
    write_metric(out, "minter_up", "gauge", "Is the minter up, and its key good?", v->status.minter != 0 && v->status.minter_ready);
    write_metric(out, "minter_restarts_total", "counter", "Times that the minter was started again after a death.",
                 v->status.minter_restarts);
}

/* A text of the configuration between quotes. */
static void write_label(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\' || *text == '\n')
            fputc('\\', out);
        fputc(*text == '\n' ? 'n' : *text, out);
    }
}

/* Each file is there once, under the first key that names it. */
static void write_certificates(const struct view *v, FILE *out)
{
    const struct generation *g = v->generation;
    bool any = false;

    for (size_t i = 0; g != NULL && g->tls_ends != NULL && i < g->conf->tls_file_count; i++) {
        if (g->tls_ends[i] == 0)
            continue;
        if (!any)
            write_head(out, "certificate_end_timestamp_seconds", "gauge",
                       "When a certificate that we show, or sign with, is no longer valid.");
        any = true;
        fprintf(out, "postern_certificate_end_timestamp_seconds{key=\"%s\",file=\"", g->conf->tls_files[i].key);
        write_label(out, g->conf->tls_files[i].path);
        fprintf(out, "\"} %lld\n", (long long)g->tls_ends[i]);
    }
}

static void write_upstream(FILE *out, const char *name, const struct conf_listener *listener, const struct conf_upstream *upstream,
                           uint64_t value)
{
    char text[UPSTREAM_TEXT];

    fprintf(out, "postern_%s{listener=\"%s\",upstream=\"%s\"} %llu\n", name, listener->name, conf_upstream_text(upstream, text),
            (unsigned long long)value);
}

static void write_upstreams(const struct view *v, FILE *out)
{
    static const struct {
        const char *name, *type, *help;
    } metrics[] = { { "upstream_up", "gauge", "May requests be sent to this upstream? Doubtful ones are not up." },
                    { "upstream_failures_total", "counter", "Requests that this upstream failed." },
                    { "upstream_checks_total", "counter", "Checks of this upstream." },
                    { "upstream_check_failures_total", "counter", "Checks of this upstream that were not good." } };
    const struct conf *conf = v->generation != NULL ? v->generation->conf : NULL;

    for (size_t m = 0; conf != NULL && m < sizeof(metrics) / sizeof(metrics[0]); m++) {
        write_head(out, metrics[m].name, metrics[m].type, metrics[m].help);
        for (size_t i = 0; i < conf->listener_count; i++)
            for (size_t k = 0; k < conf->listeners[i].upstream_count; k++) {
                const struct conf_upstream *upstream = &conf->listeners[i].upstreams[k];
                struct health_facts facts = view_upstream(v, &conf->listeners[i], upstream);
                const uint64_t values[] = { facts.state == HEALTH_UP, facts.failures, facts.checks, facts.check_failures };

                write_upstream(out, metrics[m].name, &conf->listeners[i], upstream, values[m]);
            }
    }
}

static void write_processes(const struct view *v, FILE *out)
{
    uint64_t up = 0, restarts = 0;

    for (unsigned i = 0; i < v->workers; i++) {
        up += v->status.workers[i].pid != 0 && v->status.workers[i].ready;
        restarts += v->status.workers[i].restarts;
    }
    write_metric(out, "workers", "gauge", "Worker processes that should run.", v->workers);
    write_metric(out, "workers_up", "gauge", "Worker processes that serve.", up);
    write_metric(out, "worker_restarts_total", "counter", "Workers started again after a death.", restarts);
    write_metric(out, "generation", "gauge", "Number of the configuration in force.",
                 v->generation != NULL ? v->generation->number : 0);
    write_metric(out, "memory_bytes", "gauge", "Memory that all processes take, or their control group if that is shorter of it.",
                 v->status.memory_used);
    write_metric(out, "memory_limit_bytes", "gauge", "What it is held against.", v->status.memory_limit);
    write_metric(out, "memory_pressure", "gauge",
                 "0: good; 1: tight, clients are held to their shares; 2: full, new work is refused.", v->status.pressure);
    write_metric(out, "sessions_limit", "gauge", "Sessions that there is room for.", v->status.sessions_limit);
}

static void write_sandbox(const struct view *v, FILE *out)
{
    write_metric(out, "sandbox_landlock", "gauge", "Version of Landlock that processes are held by; 0: none.",
                 v->status.sandbox.landlock);
    write_metric(out, "sandbox_system_calls", "gauge", "Are the system calls of processes limited?", v->status.sandbox.calls);
    write_metric(out, "sandbox_own_users", "gauge", "Has each kind of process a user of its own?",
                 v->status.sandbox.users == USERS_OWN);
}

void metrics_write(const struct view *v, FILE *out)
{
    uint64_t written = v->log_stats != NULL ? atomic_load_explicit(&v->log_stats->written, memory_order_relaxed) : 0;

    write_head(out, "build_info", "gauge", "The version that runs; always 1.");
    fprintf(out, "postern_build_info{version=\"%s\"} 1\n", POSTERN_VERSION);
    for (unsigned c = 0; c < COUNTERS; c++)
        write_metric(out, counter_name((enum counter)c), type_of(counter_name((enum counter)c)), counter_help((enum counter)c),
                     view_count(v, (enum counter)c));
    write_metric(out, "log_written_total", "counter", "Access-log lines written.", written);
    write_processes(v, out);
    write_sandbox(v, out);
    write_filter(v, out);
    write_minter(v, out);
    write_certificates(v, out);
    write_upstreams(v, out);
    write_reasons(v, out);
}
