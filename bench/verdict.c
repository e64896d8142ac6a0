/* SPDX-License-Identifier: ISC */
/*
 * What deciding costs, by itself: no socket, no event loop, no other process. The verdict over 1, 20 and 200 policies of mixed
 * conditions, where the first policy fits, where the last one does and where none does; looking up names in hosts files of up to a
 * million; and the other parts of a request that are pure. Each line is the best of several rounds, in nanoseconds a call: what a
 * busy machine adds is not the code's.
 *
 *   cmake --build build/release --target bench && build/release/bench/bench_verdict [part of a line's name]
 */
#include "base/table.h"
#include "policy/ledger.h"
#include "policy/rules.h"
#include "proto/target.h"
#include "session/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 7
#define ROUND_NS 10000000ull
#define CONF_BYTES (1u << 20)

static const char *wanted = "";
static volatile uint64_t sink; /* keeps the compiler from leaving out what is measured */

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *why)
{
    fprintf(stderr, "bench_verdict: %s\n", why);
    exit(1);
}

/* One call of what is measured; `i` counts calls, so that a part can ask for another thing each time. */
typedef void part(void *state, size_t i);
#define PART static __attribute__((noinline)) void /* a name that callgrind can be told */

static void measure(const char *name, part *run, void *state)
{
    double best = 0;

    if (strstr(name, wanted) == NULL)
        return;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t began = now_ns(), ns;
        size_t calls = 0;
        double each;

        do {
            for (size_t i = 0; i < 256; i++)
                run(state, calls + i);
            calls += 256;
            ns = now_ns() - began;
        } while (ns < ROUND_NS);
        each = (double)ns / (double)calls;
        if (round == 0 || each < best)
            best = each;
    }
    printf("%-44s %9.1f ns\n", name, best);
}

/* --- verdicts --- */

static char conf_text[CONF_BYTES];

__attribute__((format(printf, 2, 3))) static size_t append(size_t len, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    len += (size_t)vsnprintf(conf_text + len, sizeof(conf_text) - len, format, args);
    va_end(args);
    return len < sizeof(conf_text) ? len : sizeof(conf_text) - 1;
}

/* Policy `i` of `count`. All but the last ask for something that the request of below is not. */
static size_t append_policy(size_t len, size_t i, size_t count)
{
    static const char *const kinds[] = {
        "hosts = [ \"host%zu.example\", \"www.host%zu.example\" ]; ports = ( 80, \"8000-8100\" );",
        "hosts = [ \"*.suffix%zu.example\" ]; methods = [ \"GET\", \"POST\" ]; from = \"in\";",
        "networks = [ \"10.%zu.0.0/16\", \"2001:db8:%zu::/48\" ]; to = \"out\";",
        "clients = [ \"172.16.%zu.0/24\" ]; ports = ( %zu );",
        "hosts = [ \"*.example\" ]; methods = [ \"DELETE\" ]; paths = [ \"/private%zu/*\" ];",
        "hosts = [ \"*.shop.example\" ]; paths = [ \"/admin%zu/*\", \"/api%zu\" ];",
        "from = \"in\"; to = \"out\"; ports = ( 443, %zu );",
        "listeners = \"other\"; hosts = [ \"*.host%zu.example\" ];",
    };

    len = append(len, "%s{ name = \"p%zu\"; action = \"%s\"; ", i > 0 ? ",\n" : "", i,
                 i % 3 == 0 && i + 1 < count ? "deny" : "allow");
    if (i + 1 == count)
        return append(len, "hosts = [ \"*.shop.example\" ]; ports = ( 80 ); }");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    len = append(len, kinds[i % 8], i, i);
#pragma GCC diagnostic pop
    return append(len, " }");
}

static struct conf *make_conf(size_t count)
{
    struct conf_messages messages;
    struct conf *conf;
    size_t len =
        append(0, "zones = ( { name = \"in\"; networks = [ \"192.168.0.0/16\" ]; }, { name = \"out\"; networks = "
                  "[ \"198.51.100.0/24\", \"0.0.0.0/0\" ]; } );\n"
                  "listeners = ( { name = \"main\"; mode = \"explicit\"; from = \"in\"; address = \"192.168.0.1:3128\"; }, "
                  "{ name = \"other\"; mode = \"explicit\"; from = \"in\"; address = \"192.168.0.1:3129\"; } );\npolicies = (");

    for (size_t i = 0; i < count; i++)
        len = append_policy(len, i, count);
    len = append(len, ");\n");
    conf_messages_init(&messages);
    conf = conf_parse("bench", span_of(conf_text, len), &messages);
    if (conf == NULL)
        die(messages.errors[0]);
    conf_messages_fini(&messages);
    return conf;
}

/* A request's facts at each of the stages that it is judged at. */
struct asked {
    struct rules *rules;
    struct host host;
    struct facts facts[3];
    int expected; /* the policy of the last stage */
};

static void ask(struct asked *a, const char *host, uint16_t port, const char *path, int expected)
{
    struct facts all = { .known = KNOWN_FLOW,
                         .listener = 0,
                         .zone_in = 0,
                         .zone_out = ZONE_NONE,
                         .protocol = CONF_HTTP,
                         .method = SPAN("GET"),
                         .path = span_str(path) };

    if (!host_parse(&a->host, span_str(host)) || !addr_parse(&all.client, SPAN("192.168.7.9"), 40000) ||
        !addr_parse(&all.server, SPAN("198.51.100.7"), port))
        die("bad facts");
    a->facts[0] = all;
    all.known |= KNOWN_TARGET | KNOWN_PROTOCOL | KNOWN_REQUEST | KNOWN_HELLO;
    all.host = &a->host;
    all.port = port;
    a->facts[1] = all;
    all.known |= KNOWN_ADDRESS;
    all.zone_out = 1;
    a->facts[2] = all;
    a->expected = expected;
    if (rules_judge(a->rules, &a->facts[2], true).policy != expected)
        die("another verdict than was meant");
}

PART judge_last(void *state, size_t i)
{
    const struct asked *a = state;

    (void)i;
    sink += (uint64_t)rules_judge(a->rules, &a->facts[2], true).policy;
}

PART judge_stages(void *state, size_t i)
{
    const struct asked *a = state;

    (void)i;
    for (int stage = 0; stage < 3; stage++)
        sink += (uint64_t)rules_judge(a->rules, &a->facts[stage], stage == 2).policy;
}

static void measure_verdict(struct asked *a, size_t count, const char *which)
{
    char name[80];

    snprintf(name, sizeof(name), "verdict, %zu policies, %s", count, which);
    measure(name, judge_last, a);
    snprintf(name, sizeof(name), "three stages, %zu policies, %s", count, which);
    measure(name, judge_stages, a);
}

static void measure_verdicts(size_t count)
{
    struct conf *conf = make_conf(count);
    struct asked a = { .rules = rules_new(conf, NULL) };

    if (a.rules == NULL)
        die("no rules");
    if (count > 1) {
        ask(&a, "www.host0.example", 80, "/", 0);
        measure_verdict(&a, count, "the first fits");
    }
    ask(&a, "www.shop.example", 80, "/articles/12/price", (int)count - 1);
    measure_verdict(&a, count, "the last fits");
    ask(&a, "www.elsewhere.test", 81, "/articles/12/price", -1);
    measure_verdict(&a, count, "none fits");
    rules_free(a.rules);
    conf_free(conf);
}

/* --- hosts files --- */

#define ASKED_NAMES 65536

struct asked_set {
    struct hostset set;
    struct host *names;
};

PART look_up(void *state, size_t i)
{
    const struct asked_set *a = state;

    sink += hostset_has(&a->set, host_span(&a->names[i % ASKED_NAMES]));
}

static struct span make_names(size_t count)
{
    char *text = malloc(32 * count + 1);
    size_t len = 0;

    if (text == NULL)
        die("no memory");
    for (size_t i = 0; i < count; i++)
        len += (size_t)sprintf(text + len, "n%zu.list%zu.example\n", i, i % 997);
    return span_of(text, len);
}

static void fill_hosts(struct host *hosts, const char *format, size_t count)
{
    char name[HOST_TEXT];

    for (size_t i = 0; i < ASKED_NAMES; i++) {
        size_t n = (i * 7919) % count;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(name, sizeof(name), format, n, n % 997);
#pragma GCC diagnostic pop
        if (!host_parse(&hosts[i], span_str(name)))
            die("bad name");
    }
}

static void measure_set(size_t count)
{
    struct asked_set a = { .names = calloc(ASKED_NAMES, sizeof(*a.names)) };
    struct span text = make_names(count);
    size_t size = hostset_size(text), bad, first_bad;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t began = now_ns();
    char name[80];

    if (a.names == NULL || memory == MAP_FAILED)
        die("no memory");
    hostset_compile(text, memory, size, &bad, &first_bad);
    snprintf(name, sizeof(name), "hosts file, %zu names", count);
    if (strstr(name, wanted) != NULL)
        printf("%-44s %9.1f ns a name, %.1f bytes a name\n", name, (double)(now_ns() - began) / (double)count,
               (double)size / (double)count);
    if (!hostset_open(&a.set, memory, size))
        die("no set");
    fill_hosts(a.names, "www.n%zu.list%zu.example", count);
    snprintf(name, sizeof(name), "hosts file, %zu names, one that is there", count);
    measure(name, look_up, &a);
    fill_hosts(a.names, "www.other%zu.site%zu.example", 1000000);
    snprintf(name, sizeof(name), "hosts file, %zu names, one that is not", count);
    measure(name, look_up, &a);
    munmap(memory, size);
    free((char *)text.at);
    free(a.names);
}

/* --- the other parts of a request --- */

static const char head_text[] = "GET /articles/12/price?currency=EUR HTTP/1.1\r\n"
                                "Host: www.shop.example\r\n"
                                "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
                                "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
                                "Accept-Language: en-US,en;q=0.5\r\n"
                                "Accept-Encoding: gzip, deflate, br\r\n"
                                "Connection: keep-alive\r\n"
                                "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
                                "\r\n";
static const char answer_text[] = "HTTP/1.1 200 OK\r\n"
                                  "Date: Sat, 01 Jan 2000 00:00:00 GMT\r\n"
                                  "Content-Type: text/html; charset=utf-8\r\n"
                                  "Content-Length: 100\r\n"
                                  "Cache-Control: max-age=60\r\n"
                                  "\r\n";
static const struct h1_limits limits = { 65536, 100, 8192 };
static struct h1_head head;

static void scan_and_parse(enum h1_kind kind, struct span text, const struct h1_asked *asked)
{
    struct h1_scan scan = { 0 };
    enum reason why;
    uint32_t len;

    if (h1_scan(&scan, kind, &limits, text, &len, &why) != H1_DONE || h1_parse(&head, kind, text, &limits, asked) != R_NONE)
        die("the head is not good");
}

PART parse_request(void *state, size_t i)
{
    (void)state;
    (void)i;
    scan_and_parse(H1_REQUEST, SPAN(head_text), NULL);
}

PART parse_answer(void *state, size_t i)
{
    const struct h1_asked asked = { 0 };

    (void)state;
    (void)i;
    scan_and_parse(H1_RESPONSE, SPAN(answer_text), &asked);
}

PART parse_target(void *state, size_t i)
{
    static char path[TARGET_BUFFER(256)];
    struct target target;
    struct host host;
    uint16_t port;

    (void)state;
    (void)i;
    if (target_parse(&target, head.method, head.target, path, sizeof(path)) != R_NONE ||
        !host_parse_authority(&host, &port, head.host))
        die("the target is not good");
}

/* The fields as they are copied; what is ours (Host, Via, framing) is some bytes more. */
PART write_head(void *state, size_t i)
{
    static char room[4096];
    struct text t;

    (void)state;
    (void)i;
    text_init(&t, room, sizeof(room));
    text_put(&t, head.method);
    text_put(&t, SPAN(" "));
    text_put(&t, head.target);
    text_put(&t, SPAN(" HTTP/1.1\r\n"));
    for (size_t k = 0; k < head.field_count; k++)
        if (!head.fields[k].hop)
            text_field(&t, head.fields[k].name, head.fields[k].value);
    text_put(&t, SPAN("\r\n"));
    sink += t.len;
}

PART keep_ledger(void *state, size_t i)
{
    static struct ledger ledger;

    (void)state;
    if (i == 0)
        ledger_init(&ledger);
    ledger_open(&ledger, false, 8);
    ledger_request_end(&ledger);
    if (ledger_bytes(&ledger) != R_NONE || !ledger_wants_position(&ledger) || ledger_causality(&ledger, true) != R_NONE ||
        ledger_answer(&ledger, 200) != R_NONE)
        die("the ledger condemned");
    ledger_answer_end(&ledger);
    sink += ledger_is_settled(&ledger);
}

static struct shard *open_shard(void)
{
    int fd = memfd_create("bench", MFD_CLOEXEC);
    struct shard *shard = fd >= 0 && ftruncate(fd, (off_t)shard_bytes(64)) == 0 ? shard_map(fd, 64, true) : NULL;

    if (shard == NULL)
        die("no shard");
    close(fd);
    return shard;
}

struct kept {
    struct shard *shard;
    struct row *row;
};

/* What changes in a row with each exchange, and the copy that its record is. */
PART write_row(void *state, size_t i)
{
    struct kept *k = state;
    static struct record record;

    row_begin(k->shard, k->row);
    k->row->method = table_intern(k->shard, "GET");
    k->row->policy = table_intern(k->shard, "p199");
    k->row->zone_out = table_intern(k->shard, "out");
    k->row->status = 200;
    span_show(SPAN("www.shop.example"), k->row->host, sizeof(k->row->host));
    span_show(SPAN("/articles/12/price"), k->row->path, sizeof(k->row->path));
    row_end(k->shard, k->row);
    k->row->bytes[DOWN] += i;
    count_add(k->shard, COUNT_REQUESTS, 1);
    row_record(k->shard, k->row, &record);
    sink += record.row.status;
}

static void measure_parts(void)
{
    struct kept kept = { .shard = open_shard() };

    kept.row = row_take(kept.shard);
    if (kept.row == NULL)
        die("no row");
    measure("answer's head, scanned and parsed", parse_answer, NULL);
    measure("request's head, scanned and parsed", parse_request, NULL);
    parse_request(NULL, 0);
    measure("target and host, parsed", parse_target, NULL);
    measure("request's head, written anew", write_head, NULL);
    measure("ledger of an exchange", keep_ledger, NULL);
    measure("row and record of an exchange", write_row, &kept);
    row_release(kept.shard, kept.row);
    shard_unmap(kept.shard);
}

int main(int argc, char **argv)
{
    static const size_t policies[] = { 1, 20, 200 }, names[] = { 1000, 10000, 100000, 1000000 };

    wanted = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
        measure_verdicts(policies[i]);
    for (size_t i = 0; strncmp("hosts file", wanted, strlen(wanted) < 10 ? strlen(wanted) : 10) == 0 && i < 4; i++)
        measure_set(names[i]);
    measure_parts();
    return 0;
}
