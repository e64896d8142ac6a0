/* SPDX-License-Identifier: ISC */
/*
 * The resolver and a name server that the test plays itself, on loopback, in the same thread: questions are read from a socket
 * between two turns of the loop and answered, or not, as the name says. c-ares waits in real time, the cache lives on the test's
 * clock.
 */
#include "net/resolver.h"
#include "net_pair.h"

#include <ares.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TYPE_A 1
#define TYPE_CNAME 5
#define TYPE_AAAA 28
#define NEGATIVE_TTL 5000u

struct fixture {
    struct loop *loop;
    struct resolver *resolver;
    struct addr servers[2];
    int sockets[2];
    unsigned questions[2]; /* that each server got */
    unsigned lose;         /* questions to pass over */
    bool mute;
    uint64_t now;
};

/* What `done` was told. */
struct told {
    unsigned times;
    enum resolver_result result;
    size_t count;
    struct addr addresses[RESOLVER_ADDRESSES];
    struct fixture *fixture;
    const char *asks; /* a name to ask for again from inside */
    unsigned asked;
    struct told *then;
};

static void on_done(void *arg, enum resolver_result result, const struct addr *addresses, size_t count)
{
    struct told *t = arg;

    if (t->asks != NULL && t->asked++ == 0)
        assert_non_null(resolver_ask(t->fixture->resolver, span_str(t->asks), on_done, t->then));
    t->times++;
    t->result = result;
    t->count = count;
    memcpy(t->addresses, addresses, count * sizeof(*addresses));
}

static void begin(struct fixture *f)
{
    clock_set(1000000);
    *f = (struct fixture){ .loop = loop_new(), .now = 1000000 };
    assert_non_null(f->loop);
    turn_idly(f->loop);
    for (int i = 0; i < 2; i++) {
        f->servers[i] = loopback(i ? "127.0.0.3" : "127.0.0.2", 0);
        f->sockets[i] = bound_socket(&f->servers[i], SOCK_DGRAM);
        assert_true(f->sockets[i] >= 0);
    }
    f->resolver = resolver_new(f->loop);
    assert_non_null(f->resolver);
    resolver_configure(f->resolver, f->servers, 1, NEGATIVE_TTL);
}

static void end(struct fixture *f)
{
    resolver_free(f->resolver);
    for (int i = 0; i < 2; i++)
        if (f->sockets[i] >= 0)
            close(f->sockets[i]);
    loop_free(f->loop);
}

struct message {
    uint8_t bytes[1500];
    size_t len;
};

static void put16(struct message *m, unsigned v)
{
    m->bytes[m->len++] = (uint8_t)(v >> 8);
    m->bytes[m->len++] = (uint8_t)v;
}

/* A record whose name is what stands at `name`, a compression pointer (RFC 1035 4.1.4). */
static void put_record(struct message *m, unsigned name, unsigned type, uint32_t ttl, const void *data, size_t len)
{
    put16(m, 0xc000 | name);
    put16(m, type);
    put16(m, 1);
    put16(m, ttl >> 16);
    put16(m, ttl & 0xffff);
    put16(m, (unsigned)len);
    memcpy(m->bytes + m->len, data, len);
    m->len += len;
    m->bytes[7]++; /* answers */
}

static void put_addresses(struct message *m, unsigned name, unsigned type, uint32_t ttl, unsigned count)
{
    for (unsigned i = 1; i <= count; i++) {
        uint8_t four[4] = { 192, 0, 2, (uint8_t)i }, six[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = (uint8_t)i };

        if (type == TYPE_A)
            put_record(m, name, type, ttl, four, sizeof(four));
        else
            put_record(m, name, type, ttl, six, sizeof(six));
    }
}

static bool begins(const char *name, const char *word)
{
    return strncmp(name, word, strlen(word)) == 0;
}

/* The names are the script: "both", "four", "six", "many" have addresses; "short", "zero" and "alias" differ in their TTL. */
static void put_answer(struct message *m, const char *name, unsigned type)
{
    static const uint8_t alias[] = { 5, 'o', 't', 'h', 'e', 'r', 0xc0, 12 };
    uint32_t ttl = begins(name, "zero") ? 0 : begins(name, "short") ? 2 : 60;

    if (begins(name, "nobody"))
        m->bytes[3] |= 3; /* NXDOMAIN */
    else if (begins(name, "broken"))
        m->bytes[3] |= 2; /* SERVFAIL */
    else if (begins(name, "alias") && type == TYPE_A) {
        put_record(m, 12, TYPE_CNAME, 3, alias, sizeof(alias));
        put_addresses(m, (unsigned)(m->len - sizeof(alias)), type, ttl, 1);
    } else if (begins(name, "many"))
        put_addresses(m, 12, type, ttl, 20);
    else if (begins(name, type == TYPE_A ? "six" : "four") || begins(name, "empty") || begins(name, "alias"))
        return;
    else
        put_addresses(m, 12, type, type == TYPE_AAAA && begins(name, "uneven") ? 2 : ttl, 1);
}

static void send_message(int fd, const struct message *m, const struct sockaddr_storage *to, socklen_t len)
{
    assert_int_equal(sendto(fd, m->bytes, m->len, 0, (const struct sockaddr *)to, len), m->len);
}

/* Reads one question and answers it; false if there is none. */
static bool serve_one(struct fixture *f, int server)
{
    struct message m;
    struct sockaddr_storage from;
    socklen_t from_len = sizeof(from);
    ssize_t n = recvfrom(f->sockets[server], m.bytes, 512, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    char name[256] = "";
    size_t at = 12;

    if (n < 17)
        return false;
    f->questions[server]++;
    if (f->mute || (f->lose > 0 && f->lose--))
        return true;
    for (size_t used = 0; m.bytes[at] != 0; at += m.bytes[at] + 1u) {
        memcpy(name + used, m.bytes + at + 1, m.bytes[at]);
        used += m.bytes[at];
        name[used++] = '.';
    }
    m.len = at + 5;
    m.bytes[2] |= 0x80; /* an answer */
    m.bytes[3] = 0x80;
    memset(m.bytes + 6, 0, 6);
    if (begins(name, "forged")) { /* the wrong id, with an address that must not be believed, in front of the right one */
        struct message forged = m;

        forged.bytes[0] ^= 0x55;
        put_addresses(&forged, 12, m.bytes[at + 2], 60, 9);
        send_message(f->sockets[server], &forged, &from, from_len);
    }
    put_answer(&m, name, m.bytes[at + 2]);
    send_message(f->sockets[server], &m, &from, from_len);
    return true;
}

/* The clock of cache and timers goes on while something is awaited, and stands still as soon as it came. */
static void run(struct fixture *f, const unsigned *what, unsigned least)
{
    for (uint64_t stop = wait_now_ms() + 2 * WAIT_MS; *what < least && wait_now_ms() < stop;) {
        clock_set(f->now += 5);
        if (!loop_turn(f->loop))
            poll(NULL, 0, 1);
        for (int i = 0; i < 2; i++)
            while (f->sockets[i] >= 0 && serve_one(f, i))
                ;
    }
    assert_true(*what >= least);
}

static void run_idly(struct fixture *f)
{
    for (int n = 0; n < 20; n++) {
        loop_turn(f->loop);
        for (int i = 0; i < 2; i++)
            while (f->sockets[i] >= 0 && serve_one(f, i))
                ;
    }
}

static void advance(struct fixture *f, uint64_t ms)
{
    f->now += ms;
    clock_set(f->now);
    run_idly(f);
}

static struct told ask(struct fixture *f, const char *name)
{
    struct told t = { 0 };

    assert_non_null(resolver_ask(f->resolver, span_str(name), on_done, &t));
    assert_int_equal(t.times, 0); /* later, never at once */
    run(f, &t.times, 1);
    run_idly(f);
    assert_int_equal(t.times, 1);
    return t;
}

static bool is_cached(struct fixture *f, const char *name, enum resolver_result expected, size_t expected_count)
{
    enum resolver_result result;
    const struct addr *addresses;
    size_t count;

    if (!resolver_cached(f->resolver, span_str(name), &result, &addresses, &count))
        return false;
    assert_int_equal(result, expected);
    assert_int_equal(count, expected_count);
    return true;
}

static bool has(const struct told *t, const char *text)
{
    struct addr a = loopback(text, 0);

    for (size_t i = 0; i < t->count; i++)
        if (addr_same_ip(&t->addresses[i], &a))
            return true;
    return false;
}

static void test_both_families(void **state)
{
    struct fixture f;
    struct told t;

    (void)state;
    begin(&f);
    assert_false(is_cached(&f, "both.example", RESOLVER_OK, 0));
    t = ask(&f, "both.example");
    assert_int_equal(t.result, RESOLVER_OK);
    assert_int_equal(t.count, 2);
    assert_true(has(&t, "192.0.2.1") && has(&t, "2001:db8::1"));
    assert_int_equal(f.questions[0], 2);
    assert_true(is_cached(&f, "both.example", RESOLVER_OK, 2));
    assert_false(is_cached(&f, "both.exampl", RESOLVER_OK, 2));
    t = ask(&f, "four.example");
    assert_int_equal(t.count, 1);
    assert_true(has(&t, "192.0.2.1"));
    t = ask(&f, "six.example");
    assert_int_equal(t.count, 1);
    assert_true(has(&t, "2001:db8::1"));
    end(&f);
}

static void test_at_most(void **state)
{
    struct fixture f;
    struct told t;

    (void)state;
    begin(&f);
    t = ask(&f, "many.example"); /* 20 of each family */
    assert_int_equal(t.result, RESOLVER_OK);
    assert_int_equal(t.count, RESOLVER_ADDRESSES);
    end(&f);
}

static void test_no_name(void **state)
{
    static const char *const names[] = { "nobody.example", "empty.example" };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        struct told t;

        begin(&f);
        t = ask(&f, names[i]);
        assert_int_equal(t.result, RESOLVER_NO_NAME);
        assert_int_equal(t.count, 0);
        advance(&f, NEGATIVE_TTL);
        assert_true(is_cached(&f, names[i], RESOLVER_NO_NAME, 0));
        advance(&f, 1);
        assert_false(is_cached(&f, names[i], RESOLVER_NO_NAME, 0));
        end(&f);
    }
}

static void test_no_negative_cache(void **state)
{
    struct fixture f;
    struct told t;

    (void)state;
    begin(&f);
    resolver_configure(f.resolver, f.servers, 1, 0);
    t = ask(&f, "nobody.example");
    assert_int_equal(t.result, RESOLVER_NO_NAME);
    assert_false(is_cached(&f, "nobody.example", RESOLVER_NO_NAME, 0));
    end(&f);
}

/* The record that expires first decides: of both families, and of the aliases on the way. */
static void test_ttl(void **state)
{
    static const struct {
        const char *name;
        uint64_t ttl;
        size_t count;
    } rows[] = {
        { "both.example", 60000, 2 }, { "short.example", 2000, 2 }, { "uneven.example", 2000, 2 }, { "alias.example", 3000, 1 }
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f;
        struct told t;

        begin(&f);
        t = ask(&f, rows[i].name);
        assert_int_equal(t.result, RESOLVER_OK);
        assert_int_equal(t.count, rows[i].count);
        advance(&f, rows[i].ttl);
        assert_true(is_cached(&f, rows[i].name, RESOLVER_OK, rows[i].count));
        advance(&f, 1);
        if (is_cached(&f, rows[i].name, RESOLVER_OK, rows[i].count))
            fail_msg("%s outlived its TTL", rows[i].name);
        ask(&f, rows[i].name);
        assert_int_equal(f.questions[0], 4);
        end(&f);
    }
}

static void test_ttl_zero(void **state)
{
    struct fixture f;
    struct told t;

    (void)state;
    begin(&f);
    t = ask(&f, "zero.example");
    assert_int_equal(t.result, RESOLVER_OK);
    assert_int_equal(t.count, 2);
    assert_false(is_cached(&f, "zero.example", RESOLVER_OK, 2));
    end(&f);
}

/* No answer is not an answer: nothing is remembered. */
static void test_no_server(void **state)
{
    struct fixture f;
    struct addr broadcast = loopback("255.255.255.255", 53);
    struct told t;

    (void)state;
    begin(&f);
    close(f.sockets[0]);
    f.sockets[0] = -1;
    t = ask(&f, "both.example"); /* the port refuses */
    assert_int_equal(t.result, RESOLVER_TIMEOUT);
    assert_false(is_cached(&f, "both.example", RESOLVER_TIMEOUT, 0));
    resolver_configure(f.resolver, &broadcast, 1, NEGATIVE_TTL);
    t = ask(&f, "both.example"); /* the kernel refuses, before the question is out */
    assert_int_equal(t.result, RESOLVER_TIMEOUT);
    assert_false(is_cached(&f, "both.example", RESOLVER_TIMEOUT, 0));
    end(&f);
}

static void test_server_fails(void **state)
{
    struct fixture f;
    struct told t;

    (void)state;
    begin(&f);
    t = ask(&f, "broken.example");
    assert_int_equal(t.result, RESOLVER_TIMEOUT); /* the server did not say that there is no such name */
    assert_false(is_cached(&f, "broken.example", RESOLVER_TIMEOUT, 0));
    end(&f);
}

/* A question that gets lost is asked again, by c-ares, after real time. */
static void test_lost_question(void **state)
{
    struct fixture f;
    struct told t = { 0 };

    (void)state;
    begin(&f);
    f.lose = 2;
    assert_non_null(resolver_ask(f.resolver, SPAN("both.example"), on_done, &t));
    run(&f, &t.times, 1);
    assert_int_equal(t.result, RESOLVER_OK);
    assert_int_equal(t.count, 2);
    end(&f);
}

static void test_wrong_id(void **state)
{
    struct fixture f;
    struct told t;

    (void)state;
    begin(&f);
    t = ask(&f, "forged.example");
    assert_int_equal(t.result, RESOLVER_OK);
    assert_int_equal(t.count, 2);
    assert_false(has(&t, "192.0.2.9"));
    end(&f);
}

/* However many ask, the server is asked once. */
static void test_coalesced(void **state)
{
    struct fixture f;
    struct told t[3] = { { 0 } };
    struct resolver_query *second;

    (void)state;
    begin(&f);
    for (int i = 0; i < 3; i++) {
        struct resolver_query *q = resolver_ask(f.resolver, SPAN("both.example"), on_done, &t[i]);

        assert_non_null(q);
        if (i == 1)
            second = q;
    }
    resolver_cancel(second);
    run(&f, &t[0].times, 1);
    assert_int_equal(t[1].times, 0);
    assert_int_equal(t[2].times, 1);
    assert_int_equal(t[2].count, 2);
    assert_int_equal(f.questions[0], 2);
    end(&f);
}

/* The answer to a question that nobody waits for any more is still worth remembering. */
static void test_cancel(void **state)
{
    struct fixture f;
    struct told t = { 0 };
    struct resolver_query *q;

    (void)state;
    begin(&f);
    q = resolver_ask(f.resolver, SPAN("both.example"), on_done, &t);
    assert_non_null(q);
    resolver_cancel(q);
    for (int i = 0; i < 100 && !is_cached(&f, "both.example", RESOLVER_OK, 2); i++) {
        run_idly(&f);
        poll(NULL, 0, 1);
    }
    assert_true(is_cached(&f, "both.example", RESOLVER_OK, 2));
    assert_int_equal(t.times, 0);
    end(&f);
}

static void test_change_of_servers(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    ask(&f, "both.example");
    resolver_configure(f.resolver, f.servers, 1, NEGATIVE_TTL + 1);
    assert_true(is_cached(&f, "both.example", RESOLVER_OK, 2)); /* the same ones */
    resolver_configure(f.resolver, &f.servers[1], 1, NEGATIVE_TTL);
    assert_false(is_cached(&f, "both.example", RESOLVER_OK, 2));
    ask(&f, "both.example");
    assert_int_equal(f.questions[0], 2);
    assert_int_equal(f.questions[1], 2);
    end(&f);
}

/* Questions that are under way when the servers change are put to the new ones. */
static void test_change_with_open_questions(void **state)
{
    struct fixture f;
    struct told t = { 0 }, cancelled = { 0 };
    struct resolver_query *q;

    (void)state;
    begin(&f);
    f.mute = true;
    assert_non_null(resolver_ask(f.resolver, SPAN("both.example"), on_done, &t));
    q = resolver_ask(f.resolver, SPAN("six.example"), on_done, &cancelled);
    assert_non_null(q);
    run(&f, &f.questions[0], 4);
    resolver_configure(f.resolver, &f.servers[1], 1, NEGATIVE_TTL);
    resolver_cancel(q);
    f.mute = false;
    run(&f, &t.times, 1);
    assert_int_equal(t.result, RESOLVER_OK);
    assert_int_equal(t.count, 2);
    assert_int_equal(f.questions[0], 4);
    assert_true(f.questions[1] >= 2);
    ask(&f, "four.example");
    assert_int_equal(f.questions[0], 4); /* and later ones, too */
    assert_int_equal(cancelled.times, 0);
    end(&f);
}

/* Who is told may ask at once, for another name or for the same. */
static void test_ask_from_inside(void **state)
{
    static const char *const again[] = { "four.example", "both.example" };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        struct told then = { 0 }, other = { 0 }, first = { .fixture = &f, .asks = again[i], .then = &then };

        begin(&f);
        assert_non_null(resolver_ask(f.resolver, SPAN("both.example"), on_done, &other));
        assert_non_null(resolver_ask(f.resolver, SPAN("both.example"), on_done, &first));
        run(&f, &then.times, 1);
        assert_int_equal(then.result, RESOLVER_OK);
        assert_int_equal(first.times, 1);
        assert_int_equal(other.times, 1);
        assert_int_equal(other.count, 2);
        assert_int_equal(then.count, i == 0 ? 1 : 2);
        end(&f);
    }
}

/* Names that c-ares itself refuses are answered like others: later, once. */
static void test_refused_at_once(void **state)
{
    struct fixture f;
    struct told t;

    (void)state;
    begin(&f);
    t = ask(&f, "hidden.onion"); /* RFC 7686 */
    assert_int_equal(t.result, RESOLVER_NO_NAME);
    t = ask(&f, "two..dots");
    assert_int_equal(t.result, RESOLVER_NO_NAME);
    assert_int_equal(f.questions[0], 0);
    end(&f);
}

/* Whoever still waits is told nothing; nothing leaks, nothing is touched later. */
static void test_free_with_open_questions(void **state)
{
    struct fixture f;
    struct told t = { 0 };

    (void)state;
    begin(&f);
    f.mute = true;
    assert_non_null(resolver_ask(f.resolver, SPAN("both.example"), on_done, &t));
    assert_non_null(resolver_ask(f.resolver, SPAN("both.example"), on_done, &t));
    assert_non_null(resolver_ask(f.resolver, SPAN("six.example"), on_done, &t));
    run(&f, &f.questions[0], 4);
    assert_non_null(resolver_ask(f.resolver, SPAN("hidden.onion"), on_done, &t)); /* refused, not yet told */
    resolver_free(f.resolver);
    f.resolver = NULL;
    advance(&f, 60000);
    assert_int_equal(t.times, 0);
    assert_int_equal(wheel_pause(loop_wheel(f.loop), clock_ms()), -1);
    end(&f);
}

/* A bounded number of questions; answers make room, the oldest first. */
static void test_too_many(void **state)
{
    enum { BOUND = 16384 };
    struct fixture f;
    struct told t = { 0 };
    char name[64];

    (void)state;
    begin(&f);
    f.mute = true;
    for (int i = 0; i < BOUND; i++) {
        snprintf(name, sizeof(name), "n%d.example", i);
        if (resolver_ask(f.resolver, span_str(name), on_done, &t) == NULL)
            fail_msg("question %d", i);
        if (i % 64 == 0)
            run_idly(&f);
    }
    assert_null(resolver_ask(f.resolver, SPAN("one-more.example"), on_done, &t));
    assert_non_null(resolver_ask(f.resolver, SPAN("n7.example"), on_done, &t)); /* one that is asked already */
    assert_int_equal(t.times, 0);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_families),
        cmocka_unit_test(test_at_most),
        cmocka_unit_test(test_no_name),
        cmocka_unit_test(test_no_negative_cache),
        cmocka_unit_test(test_ttl),
        cmocka_unit_test(test_ttl_zero),
        cmocka_unit_test(test_no_server),
        cmocka_unit_test(test_server_fails),
        cmocka_unit_test(test_lost_question),
        cmocka_unit_test(test_wrong_id),
        cmocka_unit_test(test_coalesced),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_change_of_servers),
        cmocka_unit_test(test_change_with_open_questions),
        cmocka_unit_test(test_ask_from_inside),
        cmocka_unit_test(test_refused_at_once),
        cmocka_unit_test(test_free_with_open_questions),
        cmocka_unit_test(test_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
