/* SPDX-License-Identifier: ISC */
/*
 * Leaves of a worker: what is kept and what is asked for, who waits and who does not, and the limits of a client. The minter and
 * TLS are played by this file.
 */
#include "session/leaves.h"

#include "base/clock.h"
#include "policy/generation.h"
#include "session/engine.h"
#include "session/secure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000
#define YEAR (365 * 24 * 3600)

struct tls_context {
    int refs;
};
struct tls_leaf {
    int refs;
    char der[64], chain[16];
};
struct secure {
    struct tls_context *inspect;
};

static int living; /* leaves that somebody still holds */

struct tls_context *tls_context_ref(struct tls_context *context)
{
    context->refs++;
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (context != NULL)
        context->refs--;
}

struct span tls_inspect_public_key(const struct tls_context *context)
{
    (void)context;
    return SPAN("key");
}

struct tls_leaf *tls_leaf_new(struct tls_context *context, struct span der, struct span chain)
{
    struct tls_leaf *leaf = calloc(1, sizeof(*leaf));

    (void)context;
    if (span_eq(der, SPAN("misfit"))) {
        free(leaf);
        return NULL;
    }
    leaf->refs = 1;
    living++;
    memcpy(leaf->der, der.at, der.len);
    memcpy(leaf->chain, chain.at, chain.len);
    return leaf;
}

struct tls_leaf *tls_leaf_ref(struct tls_leaf *leaf)
{
    leaf->refs++;
    return leaf;
}

void tls_leaf_unref(struct tls_leaf *leaf)
{
    if (leaf == NULL || --leaf->refs > 0)
        return;
    living--;
    free(leaf);
}

struct tls_context *secure_inspect(const struct secure *secure)
{
    return secure->inspect;
}

struct span secure_inspect_chain(const struct secure *secure)
{
    (void)secure;
    return SPAN("chain");
}

/* The minter: what it was asked. */
static struct engine_leaf_request asked[2 * LEAVES_KEPT];
static size_t asked_count;
static bool deaf;

static bool on_leaf_wanted(void *arg, const struct engine_leaf_request *request)
{
    (void)arg;
    if (deaf)
        return false;
    asked[asked_count++] = *request;
    return true;
}

/* Somebody who waits. */
struct waiter {
    struct leaf_wait wait;
    struct tls_leaf *leaf;
    int told;
    void (*then)(struct waiter *w);
};

static void on_done(void *arg, struct tls_leaf *leaf)
{
    struct waiter *w = arg;

    w->told++;
    w->leaf = leaf;
    if (w->then != NULL)
        w->then(w);
}

static struct leaves *leaves;
static struct tls_context contexts[2];
static struct secure secures[2] = { { &contexts[0] }, { &contexts[1] } };
static struct generation generations[2];
static struct addr client;
static uint64_t now_ms;

static int set_up(void **state)
{
    struct engine_minter minter = { on_leaf_wanted, NULL };

    (void)state;
    now_ms += 3600 * SECOND;
    clock_set(now_ms);
    asked_count = 0;
    deaf = false;
    contexts[0].refs = contexts[1].refs = 1;
    for (int i = 0; i < 2; i++)
        generations[i] = (struct generation){ .refs = 1000000, .secure = &secures[i] };
    assert_true(addr_parse(&client, SPAN("192.0.2.1"), 1));
    leaves = leaves_new(&minter);
    assert_non_null(leaves);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    leaves_free(leaves);
    assert_int_equal(living, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(contexts[i].refs, 1);
        assert_int_equal(generations[i].refs, 1000000);
    }
    return 0;
}

static struct leaf_wanted wanted(const char *name)
{
    struct leaf_wanted w = {
        .generation = &generations[0], .client = &client, .from = 1, .until = (int64_t)(clock_wall_us() / 1000000) + YEAR
    };

    assert_true(host_parse(&w.name, span_str(name)));
    return w;
}

static enum reason ask(struct waiter *w, const struct leaf_wanted *what)
{
    w->wait.done = on_done;
    w->wait.arg = w;
    return leaves_ask(leaves, &w->wait, what, &w->leaf);
}

static void answer(size_t question, const char *der)
{
    leaves_answer(leaves, asked[question].request, span_str(der));
}

static void forget(struct waiter *w)
{
    tls_leaf_unref(w->leaf);
    w->leaf = NULL;
}

static void asked_once_and_kept(void **state)
{
    struct waiter a = { 0 }, b = { 0 }, c = { 0 };
    struct leaf_wanted w = wanted("www.example");

    (void)state;
    assert_int_equal(ask(&a, &w), R_COUNT);
    assert_int_equal(ask(&b, &w), R_COUNT);
    assert_int_equal(asked_count, 1);
    assert_string_equal(asked[0].name, "www.example");
    assert_int_equal(asked[0].key_len, 3);
    assert_memory_equal(asked[0].public_key, "key", 3);
    assert_int_equal(asked[0].until, w.until);
    answer(0, "leaf");
    assert_int_equal(a.told, 1);
    assert_int_equal(b.told, 1);
    assert_ptr_equal(a.leaf, b.leaf);
    assert_string_equal(a.leaf->der, "leaf");
    assert_string_equal(a.leaf->chain, "chain");
    assert_int_equal(ask(&c, &w), R_NONE);
    assert_ptr_equal(c.leaf, a.leaf);
    assert_int_equal(asked_count, 1);
    answer(0, "again"); /* nobody asked */
    assert_int_equal(a.told, 1);
    forget(&a);
    forget(&b);
    forget(&c);
}

/* Every part of the key makes another leaf. */
static void other_questions(void **state)
{
    struct waiter w[6] = { 0 };
    struct leaf_wanted base = wanted("www.example"), other;

    (void)state;
    assert_int_equal(ask(&w[0], &base), R_COUNT);
    other = wanted("www2.example");
    assert_int_equal(ask(&w[1], &other), R_COUNT);
    other = base;
    other.until++;
    assert_int_equal(ask(&w[2], &other), R_COUNT);
    other = base;
    other.from++;
    assert_int_equal(ask(&w[3], &other), R_COUNT);
    other = base;
    other.failing = true;
    assert_int_equal(ask(&w[4], &other), R_COUNT);
    other = base;
    other.generation = &generations[1];
    assert_int_equal(ask(&w[5], &other), R_COUNT);
    assert_int_equal(asked_count, 6);
    other = base;
    other.failing = true;
    other.until++; /* means nothing there */
    leaves_cancel(&w[4].wait);
    assert_int_equal(ask(&w[4], &other), R_COUNT);
    assert_int_equal(asked_count, 6);
    leaves_lost(leaves);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(w[i].told, 1);
        assert_null(w[i].leaf);
    }
}

static void refused_and_misfit(void **state)
{
    struct waiter a = { 0 }, b = { 0 };
    struct leaf_wanted w = wanted("www.example");

    (void)state;
    assert_int_equal(ask(&a, &w), R_COUNT);
    answer(0, "");
    assert_int_equal(a.told, 1);
    assert_null(a.leaf);
    assert_int_equal(ask(&b, &w), R_COUNT); /* not remembered */
    answer(1, "misfit");
    assert_int_equal(b.told, 1);
    assert_null(b.leaf);
}

static void cancelled(void **state)
{
    struct waiter w[3] = { 0 }, late = { 0 };
    struct leaf_wanted what = wanted("www.example");

    (void)state;
    leaves_cancel(&late.wait); /* it never waited */
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(ask(&w[i], &what), R_COUNT);
    leaves_cancel(&w[1].wait);
    leaves_cancel(&w[1].wait);
    leaves_cancel(&w[0].wait);
    leaves_cancel(&w[2].wait);
    answer(0, "leaf"); /* kept all the same */
    assert_int_equal(w[0].told + w[1].told + w[2].told, 0);
    assert_int_equal(ask(&late, &what), R_NONE);
    forget(&late);
}

static struct waiter crowd[4];

static void cancel_the_others(struct waiter *self)
{
    for (size_t i = 0; i < 4; i++)
        if (&crowd[i] != self)
            leaves_cancel(&crowd[i].wait);
}

static void who_is_told_may_cancel_others(void **state)
{
    struct leaf_wanted what = wanted("www.example");
    int told = 0;

    (void)state;
    memset(crowd, 0, sizeof(crowd));
    for (size_t i = 0; i < 4; i++) {
        crowd[i].then = cancel_the_others;
        assert_int_equal(ask(&crowd[i], &what), R_COUNT);
    }
    answer(0, "leaf");
    for (size_t i = 0; i < 4; i++) {
        told += crowd[i].told;
        forget(&crowd[i]);
    }
    assert_int_equal(told, 1);
}

static void ask_again(struct waiter *w)
{
    struct leaf_wanted what = wanted("www.example");

    w->then = NULL;
    assert_int_equal(ask(w, &what), R_COUNT);
}

/* Who asks again when the minter is lost waits for the next one, and is not lost with it. */
static void who_is_told_may_ask_again(void **state)
{
    struct waiter w = { .then = ask_again };
    struct leaf_wanted what = wanted("www.example");

    (void)state;
    assert_int_equal(ask(&w, &what), R_COUNT);
    leaves_lost(leaves);
    assert_int_equal(w.told, 1);
    assert_int_equal(asked_count, 2);
    answer(1, "leaf");
    assert_int_equal(w.told, 2);
    assert_string_equal(w.leaf->der, "leaf");
    forget(&w);
}

static void nobody_to_ask(void **state)
{
    struct waiter w = { 0 };
    struct leaf_wanted what = wanted("www.example");
    struct engine_minter none = { NULL, NULL };
    struct leaves *alone = leaves_new(&none);

    (void)state;
    deaf = true;
    assert_int_equal(ask(&w, &what), R_MINT_FAILED);
    assert_int_equal(leaves_ask(alone, &w.wait, &what, &w.leaf), R_MINT_FAILED);
    generations[0].secure = NULL;
    assert_int_equal(ask(&w, &what), R_MINT_FAILED);
    assert_null(w.wait.link);
    leaves_free(alone);
}

static void fill(size_t first, size_t count)
{
    char name[64];

    for (size_t i = first; i < first + count; i++) {
        struct waiter w = { 0 };
        struct leaf_wanted what;

        snprintf(name, sizeof(name), "n%zu.example", i);
        what = wanted(name);
        clock_set(now_ms += SECOND);
        assert_int_equal(ask(&w, &what), R_COUNT);
        answer(asked_count - 1, name);
        forget(&w);
    }
}

static void least_recently_used_goes(void **state)
{
    struct leaf_wanted first = wanted("n0.example"), second = wanted("n1.example"), third = wanted("n2.example");
    struct waiter w = { 0 };

    (void)state;
    fill(0, 3); /* the same length of life as seen from here */
    first.until = asked[0].until;
    second.until = asked[1].until;
    third.until = asked[2].until;
    fill(3, LEAVES_KEPT - 3);
    assert_int_equal(living, LEAVES_KEPT);
    assert_int_equal(ask(&w, &first), R_NONE); /* used: the second is the oldest now */
    forget(&w);
    fill(LEAVES_KEPT, 1);
    assert_int_equal(living, LEAVES_KEPT);
    assert_int_equal(ask(&w, &first), R_NONE);
    forget(&w);
    assert_int_equal(ask(&w, &third), R_NONE);
    forget(&w);
    assert_int_equal(ask(&w, &second), R_COUNT);
    leaves_cancel(&w.wait);
}

static void stale_ones_are_asked_for_again(void **state)
{
    struct leaf_wanted soon = wanted("soon.example"), failing = wanted("failing.example"), good = wanted("good.example");
    struct waiter w[3] = { 0 };

    (void)state;
    soon.until = (int64_t)(clock_wall_us() / 1000000) + 100;
    failing.failing = true;
    assert_int_equal(ask(&w[0], &soon), R_COUNT);
    assert_int_equal(ask(&w[1], &failing), R_COUNT);
    assert_int_equal(ask(&w[2], &good), R_COUNT);
    for (size_t i = 0; i < 3; i++) {
        answer(i, "leaf");
        forget(&w[i]);
    }
    clock_set(now_ms += 99 * SECOND);
    assert_int_equal(ask(&w[0], &soon), R_NONE);
    forget(&w[0]);
    clock_set(now_ms += 1 * SECOND);
    assert_int_equal(ask(&w[0], &soon), R_COUNT);
    assert_int_equal(ask(&w[1], &failing), R_NONE);
    forget(&w[1]);
    clock_set(now_ms += 3500 * SECOND);
    assert_int_equal(ask(&w[1], &failing), R_COUNT);
    assert_int_equal(ask(&w[2], &good), R_NONE);
    forget(&w[2]);
    leaves_cancel(&w[0].wait);
    leaves_cancel(&w[1].wait);
}

static void new_generation(void **state)
{
    struct leaf_wanted what = wanted("www.example");
    struct waiter w = { 0 };

    (void)state;
    assert_int_equal(ask(&w, &what), R_COUNT);
    answer(0, "leaf");
    forget(&w);
    leaves_renew(leaves, &generations[0]);
    assert_int_equal(living, 1);
    leaves_renew(leaves, &generations[1]);
    assert_int_equal(living, 0);
    assert_int_equal(ask(&w, &what), R_COUNT);
    leaves_renew(leaves, &generations[1]); /* an open question is not touched */
    answer(1, "leaf");
    assert_int_equal(w.told, 2);
    forget(&w);
}

static enum reason ask_for_number(struct waiter *w, unsigned number)
{
    char name[64];
    struct leaf_wanted what;

    snprintf(name, sizeof(name), "limit%u.example", number);
    what = wanted(name);
    return ask(w, &what);
}

static void open_questions_of_a_client(void **state)
{
    struct waiter w[LEAVES_CLIENT_OPEN + 1] = { 0 }, other = { 0 };
    unsigned i;

    (void)state;
    for (i = 0; i < LEAVES_CLIENT_OPEN; i++) {
        assert_int_equal(ask_for_number(&w[i], i), R_COUNT);
        clock_set(now_ms += SECOND);
    }
    assert_int_equal(ask_for_number(&w[i], i), R_MINT_FAILED);
    assert_true(addr_parse(&client, SPAN("192.0.2.2"), 1));
    assert_int_equal(ask_for_number(&other, 1000), R_COUNT);
    assert_true(addr_parse(&client, SPAN("192.0.2.1"), 2)); /* another port is no other client */
    assert_int_equal(ask_for_number(&w[i], i), R_MINT_FAILED);
    answer(0, "");
    assert_int_equal(ask_for_number(&w[i], i), R_COUNT);
    leaves_lost(leaves);
    assert_int_equal(ask_for_number(&w[i], i), R_COUNT);
    leaves_cancel(&w[i].wait);
}

static void new_names_of_a_client(void **state)
{
    struct waiter w = { 0 };
    unsigned i;

    (void)state;
    for (i = 0; i < 4 * LEAVES_CLIENT_NEW; i++) {
        assert_int_equal(ask_for_number(&w, i), R_COUNT);
        answer(i, "leaf");
        forget(&w);
    }
    assert_int_equal(ask_for_number(&w, i), R_MINT_FAILED);
    assert_int_equal(ask_for_number(&w, i - 1), R_NONE); /* what is kept costs nothing */
    forget(&w);
    clock_set(now_ms += SECOND / LEAVES_CLIENT_NEW + 1);
    assert_int_equal(ask_for_number(&w, i), R_COUNT);
    leaves_cancel(&w.wait);
    assert_int_equal(ask_for_number(&w, i + 1), R_MINT_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(asked_once_and_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_questions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_and_misfit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_told_may_cancel_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_told_may_ask_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_to_ask, set_up, tear_down),
        cmocka_unit_test_setup_teardown(least_recently_used_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stale_ones_are_asked_for_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(new_generation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(open_questions_of_a_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(new_names_of_a_client, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
