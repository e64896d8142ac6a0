/* SPDX-License-Identifier: ISC */
/* The TLS files of a generation: read, held to their modes, looked at, sent, made contexts of, wiped. And the key log. */
#include "app/files.h"
#include "app/generation_load.h"
#include "app/generation_tls.h"
#include "app/monitor.h"
#include "app/worker_tls.h"
#include "base/clock.h"
#include "net_certs.h"
#include "session/secure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SITE(text)                                                                                                                 \
    "zones = ({ name = \"in\"; networks = \"10.0.0.0/8\"; });\n"                                                                   \
    "listeners = ({ name = \"site\"; mode = \"reverse\"; address = \"127.0.0.1:1\"; upstreams = \"a:1\"; tls = {\n" text           \
    "}; });\npolicies = ({ name = \"p\"; from = \"in\"; action = \"allow\"; });\n"
#define INSPECT INSPECTING("")
#define OWN "certificate = \"%1$s/ec.pem\";\nkey = \"%1$s/ec.key\";\n"
#define INSPECTING(text)                                                                                                           \
    "zones = ({ name = \"in\"; networks = \"10.0.0.0/8\"; });\n"                                                                   \
    "policies = ({ name = \"p\"; from = \"in\"; tls = \"inspect\"; action = \"allow\"; " text " });\n"                             \
    "listeners = ({ name = \"l\"; mode = \"explicit\"; address = \"127.0.0.1:1\"; });\n"                                           \
    "tls = { inspect_certificate = \"%1$s/ca.pem\";\ninspect_key = \"%1$s/ca.key\"; trust = \"%1$s/ca.pem\"; };\n"

static char folder[64], conf_path[96], *said;
static size_t said_len;
static struct cert ca, ec, rsa;
static struct ipc_message message;

static const char *in_folder(const char *name)
{
    static char path[2][128];
    static unsigned turn;

    turn ^= 1;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
    return path[turn];
}

static void write_file(const char *name, struct span content, mode_t mode)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content.at, content.len), content.len);
    close(fd);
    assert_int_equal(chmod(in_folder(name), mode), 0);
}

static struct blueprint *make(const char *format)
{
    static char text[8192];
    struct blueprint *b;
    FILE *out;

    snprintf(text, sizeof(text), format, folder);
    write_file("postern.conf", span_str(text), 0600);
    free(said);
    out = open_memstream(&said, &said_len);
    assert_non_null(out);
    b = blueprint_make(conf_path, 7, "postern-1a2b3c4d", NULL, out, out);
    fclose(out);
    return b;
}
static void check_refused(const char *format, const char *want)
{
    struct blueprint *b = make(format);

    if (b != NULL || strstr(said, want) == NULL)
        print_error("wanted: %s\nsaid: %s\n", want, said);
    assert_null(b);
    assert_non_null(strstr(said, want));
}

static void check_good(const char *format)
{
    struct blueprint *b = make(format);

    if (b == NULL)
        print_error("%s\n", said);
    assert_non_null(b);
    blueprint_free(b);
}

static void test_modes_of_keys(void **state)
{
    static const struct {
        mode_t mode;
        bool good;
    } cases[] = { { 0600, true }, { 0400, true }, { 0640, false }, { 0604, false }, { 0620, false }, { 0644, false } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(chmod(in_folder("ec.key"), cases[i].mode), 0);
        if (cases[i].good)
            check_good(SITE(OWN));
        else
            check_refused(SITE(OWN), "postern.conf:4: listeners.site.tls.key: ");
    }
    assert_int_equal(chmod(in_folder("ec.key"), 0600), 0);
    assert_int_equal(chmod(in_folder("ec.pem"), 0666), 0);
    check_refused(SITE(OWN), "postern.conf:3: listeners.site.tls.certificate: ");
    assert_int_equal(chmod(in_folder("ec.pem"), 0644), 0);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    write_file("empty.pem", span_of(NULL, 0), 0600);
    write_file("junk.pem", SPAN("junk\n"), 0600);
    check_refused(SITE("certificate = \"%1$s/none.pem\";\nkey = \"%1$s/none.key\";"), ":3: listeners.site.tls.certificate: ");
    assert_non_null(strstr(said, ":4: listeners.site.tls.key: ")); /* both at once */
    check_refused(SITE("certificate = \"%1$s/ec.pem\";\nkey = \"%1$s/rsa.key\";"), ":4: listeners.site.tls.key: ");
    check_refused(SITE("certificate = \"%1$s/ec.pem\";\nkey = \"%1$s/empty.pem\";"), "the file is empty");
    check_refused(SITE("certificate = \"%1$s/empty.pem\";\nkey = \"%1$s/ec.key\";"), "the file is empty");
    check_refused(SITE("certificate = \"%1$s/junk.pem\";\nkey = \"%1$s/ec.key\";"), ":3: listeners.site.tls.certificate: ");
    check_refused(SITE(OWN "client_certificates = \"optional\";\nca = \"%1$s/junk.pem\";"), ":6: listeners.site.tls.ca: ");
}

/* A certificate with its key behind it would give the key to everybody who gets the certificate. */
static void test_keys_among_certificates(void **state)
{
    struct span both = certs_join(ca.pem, ca.key_pem);

    (void)state;
    write_file("ca.pem", both, 0600);
    check_refused(INSPECT, "ca.pem: holds a private key");
    write_file("ca.pem", ca.pem, 0600);
    check_good(INSPECT);
    free((char *)both.at);
}

/* Loads what was sent into `fds[0]` as control does; NULL: it is not taken. */
static struct generation *load_in_control(const int fds[2])
{
    struct generation_inbox in = { 0 };

    while (ipc_receive(fds[1], &message) == IPC_MESSAGE) {
        if (message.type == IPC_GENERATION)
            generation_begin(&in, &message);
        else if (message.type == IPC_TLS_ENDS)
            generation_tls_ends(&in, &message);
        ipc_release(&message);
    }
    close(fds[0]);
    close(fds[1]);
    return generation_finish(&in);
}

static int64_t end_of(const struct cert *c)
{
    int64_t from, until;

    assert_true(tls_certificate_life(c->pem, &from, &until));
    return until;
}

/* Of what is shown and of what leaves are signed with, and of nothing else. */
static void check_ends(const char *conf, const char *path, int64_t until)
{
    struct blueprint *b = make(conf);
    struct generation *g;
    unsigned told = 0;
    int fds[2];

    assert_non_null(b);
    assert_true(ipc_pair(fds));
    assert_true(blueprint_send(b, fds[0]) && blueprint_send_tls_ends(b, fds[0]));
    g = load_in_control(fds);
    assert_non_null(g);
    for (size_t i = 0; i < g->conf->tls_file_count; i++) {
        if (g->tls_ends[i] == 0)
            continue;
        told++;
        assert_string_equal(g->conf->tls_files[i].path, in_folder(path));
        assert_int_equal(g->tls_ends[i], until);
    }
    assert_int_equal(told, 1);
    generation_unref(g);
    blueprint_free(b);
}

static void test_when_certificates_end(void **state)
{
    (void)state;
    check_ends(SITE(OWN), "ec.pem", end_of(&ec));
    check_ends(INSPECT, "ca.pem", end_of(&ca));
}

/* As many as there may be go in several messages, which together are all, each once. */
static void test_ends_of_very_many(void **state)
{
    static int64_t ends[10000];
    struct conf conf = { .tls_file_count = 10000 };
    const struct blueprint b = { .conf = &conf, .tls_ends = ends };
    uint64_t first, seen = 0;
    int fds[2];

    (void)state;
    for (size_t i = 0; i < 10000; i++)
        ends[i] = (int64_t)i;
    assert_true(ipc_pair(fds));
    assert_true(blueprint_send_tls_ends(&b, fds[0]));
    while (ipc_receive(fds[1], &message) == IPC_MESSAGE) {
        struct span some = ipc_rest(&message, sizeof(first));

        assert_int_equal(message.type, IPC_TLS_ENDS);
        assert_true(ipc_read(&message, &first, sizeof(first)));
        assert_int_equal(first, seen);
        assert_true(first + some.len / sizeof(ends[0]) <= 10000);
        assert_memory_equal(some.at, &ends[first], some.len);
        seen += some.len / sizeof(ends[0]);
    }
    assert_int_equal(seen, 10000);
    close(fds[0]);
    close(fds[1]);
}

/* The monitor is believed, but not beyond the files that there are. */
static void test_ends_of_files_that_are_not_there(void **state)
{
    struct blueprint *b = make(SITE(OWN));
    const int64_t ends[2] = { 1, 2 };
    uint64_t first;

    (void)state;
    assert_non_null(b);
    first = b->conf->tls_file_count - 1;
    for (size_t count = 0; count <= 2; count++) {
        struct generation *g;
        int fds[2];

        assert_true(ipc_pair(fds));
        assert_true(blueprint_send(b, fds[0]));
        assert_true(
            ipc_send_two(fds[0], IPC_TLS_ENDS, &first, sizeof(first), span_of((const char *)ends, count * sizeof(ends[0]))));
        g = load_in_control(fds);
        assert_int_equal(g != NULL, count == 1);
        generation_unref(g);
    }
    blueprint_free(b);
}

/* Sends it as the monitor does and loads it as a worker does. */
static struct generation *load(const struct blueprint *b, struct worker_tls *t, const struct generation *before)
{
    struct generation_inbox in = { 0 };
    struct generation *g;
    char error[WORKER_TLS_ERROR];
    int fds[2];

    assert_true(ipc_pair(fds));
    assert_true(blueprint_send(b, fds[0]) && blueprint_send_tls(b, fds[0]));
    while (ipc_receive(fds[1], &message) == IPC_MESSAGE) {
        if (message.type == IPC_GENERATION)
            generation_begin(&in, &message);
        else if (message.type == IPC_TLS_FILES)
            generation_tls_files(&in, &message);
        else if (message.type == IPC_KEYLOG)
            worker_tls_keylog(t, &message);
        ipc_release(&message);
    }
    close(fds[0]);
    close(fds[1]);
    g = generation_finish(&in);
    if (g == NULL)
        print_error("%s\n", in.error);
    assert_non_null(g);
    if (!worker_tls_make(t, g, before, error))
        fail_msg("%s", error);
    assert_null(g->tls_files);
    return g;
}

static void test_round_trip(void **state)
{
    struct host host;
    struct worker_tls t;
    struct blueprint *b = make(SITE(OWN)), *again = make(SITE(OWN));
    struct generation *g, *next;

    (void)state;
    assert_non_null(b);
    assert_non_null(again);
    assert_true(host_parse(&host, SPAN("www.a.x")));
    worker_tls_start(&t);
    g = load(b, &t, NULL);
    next = load(again, &t, g);
    assert_non_null(secure_site(g->secure, 0, &host));
    assert_ptr_equal(secure_site(g->secure, 0, &host), secure_site(next->secure, 0, &host));
    blueprint_free(b);
    blueprint_free(again);
    generation_unref(g);
    assert_non_null(secure_site(next->secure, 0, &host)); /* it does not need the monitor's files any more */
    generation_unref(next);
    worker_tls_end(&t);
}

/* Nobody but the monitor can write a key, and its bytes go when the generation does. */
static void test_keys_are_wiped(void **state)
{
    struct blueprint *b = make(SITE(OWN));
    int index, fd;
    char *seen;

    (void)state;
    assert_non_null(b);
    index = b->conf->listeners[0].tls.pairs[0].key;
    assert_int_equal(b->tls_secrets[index].len, ec.key_pem.len);
    assert_int_equal(b->tls_secrets[b->conf->listeners[0].tls.pairs[0].certificate].len, 0);
    fd = fcntl(b->tls_fds[index], F_DUPFD_CLOEXEC, 3);
    assert_true(fd >= 0);
    seen = mmap(NULL, ec.key_pem.len, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(seen, MAP_FAILED);
    assert_memory_equal(seen, ec.key_pem.at, ec.key_pem.len);
    blueprint_free(b);
    for (size_t i = 0; i < ec.key_pem.len; i++)
        assert_int_equal(seen[i], 0);
    munmap(seen, ec.key_pem.len);
    close(fd);
}

/* Workers get what they need, in descriptors that cannot write; the CA's key is not among it. */
static void test_what_workers_get(void **state)
{
    struct blueprint *b = make(INSPECT);
    uint32_t indices[IPC_FDS];
    size_t seen = 0;
    int fds[2];

    (void)state;
    if (b == NULL)
        fail_msg("%s", said);
    assert_true(ipc_pair(fds));
    assert_true(blueprint_send_tls(b, fds[0]));
    while (ipc_receive(fds[1], &message) == IPC_MESSAGE) {
        if (message.type == IPC_TLS_FILES) {
            assert_true(ipc_read(&message, indices, message.fd_count * sizeof(indices[0])));
            for (size_t i = 0; i < message.fd_count; i++) {
                assert_int_not_equal(indices[i], b->conf->tls.inspect_key);
                assert_ptr_equal(mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, message.fds[i], 0), MAP_FAILED);
                seen++;
            }
        }
        ipc_release(&message);
    }
    assert_int_equal(seen, b->conf->tls_file_count - 1);
    assert_int_equal(b->tls_secrets[b->conf->tls.inspect_key].len, 0); /* it was never read */
    close(fds[0]);
    close(fds[1]);
    blueprint_free(b);
}

static void test_the_minters_key_is_checked(void **state)
{
    struct blueprint *b = make(INSPECT);
    FILE *out;

    (void)state;
    assert_non_null(b);
    assert_true(blueprint_check_minter(b, stderr));
    blueprint_free(b);
    write_file("ca.key", ec.key_pem, 0600);
    b = make(INSPECT);
    assert_non_null(b);
    free(said);
    out = open_memstream(&said, &said_len);
    assert_false(blueprint_check_minter(b, out));
    fclose(out);
    assert_non_null(strstr(said, ":5: tls.inspect_key: "));
    blueprint_free(b);
    assert_int_equal(symlink(in_folder("ca.key"), in_folder("alias.key")), 0); /* it must not get to the workers by another path */
    write_file("ca.key", ca.key_pem, 0600);
    check_refused(INSPECTING("upstream_tls = { certificate = \"%1$s/ca.pem\"; key = \"%1$s/alias.key\"; };"),
                  ":2: policies.p.upstream_tls.key: is the key of tls.inspect_key");
    unlink(in_folder("alias.key"));
    write_file("ca.key", ca.key_pem, 0644);
    check_refused(INSPECT, ":5: tls.inspect_key: ");
    write_file("ca.key", ca.key_pem, 0600);
}

/* Files that a worker did not expect make no generation. */
static void test_broken_on_the_way(void **state)
{
    static const uint32_t wrong[] = { 99, 0 };
    struct blueprint *b = make(SITE(OWN));
    struct generation_inbox in = { 0 };
    int fds[2];

    (void)state;
    assert_non_null(b);
    assert_true(ipc_pair(fds));
    for (size_t i = 0; i < 2; i++) {
        assert_true(blueprint_send(b, fds[0]) && blueprint_send_tls(b, fds[0]));
        assert_true(ipc_send_fds(fds[0], IPC_TLS_FILES, &wrong[i], sizeof(wrong[i]), &b->text_fd, 1)); /* none such; one twice */
        while (ipc_receive(fds[1], &message) == IPC_MESSAGE) {
            if (message.type == IPC_GENERATION)
                generation_begin(&in, &message);
            else if (message.type == IPC_TLS_FILES)
                generation_tls_files(&in, &message);
            ipc_release(&message);
        }
        assert_null(generation_finish(&in));
    }
    close(fds[0]);
    close(fds[1]);
    blueprint_free(b);
}

static void test_key_log(void **state)
{
    struct blueprint *b = make(SITE(OWN) "tls = { keylog = \"%1$s/keylog\"; };");
    struct worker_tls t;
    struct generation *g;
    char error[FILE_ERROR];
    struct stat st;
    int number;

    (void)state;
    assert_non_null(b);
    assert_non_null(strstr(said, "keylog: the secrets of ALL TLS sessions"));
    assert_int_equal(access(in_folder("keylog"), F_OK), -1); /* a check makes no file */
    assert_true(blueprint_open_keylog(b, error));
    assert_int_equal(stat(in_folder("keylog"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    worker_tls_start(&t);
    g = load(b, &t, NULL);
    number = t.keylog;
    assert_true(number >= 0 && t.logs_keys);
    generation_unref(g);
    blueprint_free(b);
    b = make(SITE(OWN)); /* no log any more: the number stays, and leads nowhere */
    g = load(b, &t, NULL);
    assert_int_equal(t.keylog, number);
    assert_false(t.logs_keys);
    generation_unref(g);
    blueprint_free(b);
    worker_tls_end(&t);
    assert_int_equal(chmod(in_folder("keylog"), 0644), 0);
    b = make(SITE(OWN) "tls = { keylog = \"%1$s/keylog\"; };");
    assert_non_null(b);
    assert_false(blueprint_open_keylog(b, error));
    assert_non_null(strstr(error, "keylog"));
    blueprint_free(b);
}

static void test_tickets(void **state)
{
    struct tls_ticket_key keys[TLS_TICKET_KEYS + 1] = { { .name = "k" } };
    struct worker_tls t;
    int fds[2];

    (void)state;
    worker_tls_start(&t);
    assert_true(ipc_pair(fds));
    for (size_t count = 0; count <= TLS_TICKET_KEYS + 1; count++) {
        assert_true(ipc_send(fds[0], IPC_TICKETS, keys, count * sizeof(keys[0])));
        assert_int_equal(ipc_receive(fds[1], &message), IPC_MESSAGE);
        worker_tls_tickets(&t, &message);
        for (size_t i = 0; i < message.len; i++)
            assert_int_equal(message.data[i], 0);
        ipc_release(&message);
    }
    close(fds[0]);
    close(fds[1]);
    worker_tls_end(&t);
}

/* What a step of the monitor logs. */
static const char *step_says(struct monitor *m, uint64_t ms)
{
    static char text[1024];
    int kept = dup(STDERR_FILENO), log = memfd_create("log", MFD_CLOEXEC);
    ssize_t len;

    assert_true(kept >= 0 && log >= 0 && dup2(log, STDERR_FILENO) >= 0);
    clock_set(ms);
    certificates_step(m);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    len = pread(log, text, sizeof(text) - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    close(kept);
    close(log);
    return text;
}

/* Who never reloads hears of it, too: once a day, and not when it was just loaded. */
static void test_certificates_are_looked_at_each_day(void **state)
{
    static struct monitor m;
    const char *want = "warn monitor: ",
               *place = "postern.conf:3: listeners.site.tls.certificate: the certificate expires in 9 days";
    struct cert soon = cert_make((struct cert_spec){ .cn = "s", .names = "DNS:s.x", .issuer = &ca, .until = 10 * DAY - 60 });
    const uint64_t day = DAY * 1000ull;

    (void)state;
    write_file("soon.pem", soon.pem, 0644);
    write_file("soon.key", soon.key_pem, 0600);
    m.current = make(SITE("certificate = \"%1$s/soon.pem\";\nkey = \"%1$s/soon.key\";"));
    m.life = LIFE_SERVING;
    assert_non_null(m.current);
    assert_non_null(strstr(said, place));
    log_open("monitor", LOG_LEVEL_INFO);
    assert_string_equal(step_says(&m, 1000), "");
    assert_string_equal(step_says(&m, day + 999), "");
    for (unsigned i = 1; i <= 2; i++) {
        const char *text = step_says(&m, i * day + 1000);

        assert_non_null(strstr(text, want));
        assert_non_null(strstr(text, place));
        assert_string_equal(step_says(&m, i * day + 2000), "");
    }
    blueprint_free(m.current);
    m.current = make(SITE(OWN)); /* a new one was loaded */
    assert_non_null(m.current);
    assert_string_equal(step_says(&m, 3 * day + 1000), "");
    blueprint_free(m.current);
    unlink(in_folder("soon.pem"));
    unlink(in_folder("soon.key"));
    cert_free(&soon);
}

static int setup(void **state)
{
    (void)state;
    if (!tls_start())
        return -1;
    clock_tick();
    strcpy(folder, "/tmp/postern-gentls-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(conf_path, sizeof(conf_path), "%s/postern.conf", folder);
    ca = cert_make((struct cert_spec){ .cn = "ca", .ca = "critical,CA:TRUE", .from = -DAY, .until = 90 * DAY });
    ec = cert_make((struct cert_spec){ .cn = "ec", .names = "DNS:www.a.x", .issuer = &ca, .from = -DAY, .until = 90 * DAY });
    rsa = cert_make((struct cert_spec){ .cn = "rsa", .names = "DNS:r.x", .issuer = &ca, .rsa_bits = 2048 });
    write_file("ca.pem", ca.pem, 0644);
    write_file("ca.key", ca.key_pem, 0600);
    write_file("ec.pem", ec.pem, 0644);
    write_file("ec.key", ec.key_pem, 0600);
    write_file("rsa.key", rsa.key_pem, 0600);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = { "ca.pem", "ca.key",    "ec.pem",   "ec.key",      "rsa.key",
                                         "keylog", "empty.pem", "junk.pem", "postern.conf" };

    (void)state;
    free(said);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(in_folder(names[i]));
    cert_free(&ca);
    cert_free(&ec);
    cert_free(&rsa);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes_of_keys),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_keys_among_certificates),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_keys_are_wiped),
        cmocka_unit_test(test_what_workers_get),
        cmocka_unit_test(test_the_minters_key_is_checked),
        cmocka_unit_test(test_broken_on_the_way),
        cmocka_unit_test(test_key_log),
        cmocka_unit_test(test_tickets),
        cmocka_unit_test(test_certificates_are_looked_at_each_day),
        cmocka_unit_test(test_when_certificates_end),
        cmocka_unit_test(test_ends_of_very_many),
        cmocka_unit_test(test_ends_of_files_that_are_not_there),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
