/* SPDX-License-Identifier: ISC */
/* Keys of session tickets as one posternd tells them to the next: the same on the other side, or nothing at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/ticket_keys.h"

#include <stdio.h>
#include <string.h>

static struct tls_ticket_key keys[TLS_TICKET_KEYS];

static int make_keys(void **state)
{
    uint8_t *bytes = (uint8_t *)keys;

    (void)state;
    for (size_t i = 0; i < sizeof(keys); i++)
        bytes[i] = (uint8_t)(i * 31 + 7);
    return 0;
}

static void test_round(void **state)
{
    struct tls_ticket_key read[TLS_TICKET_KEYS];
    char text[TICKET_KEYS_TEXT];
    uint64_t left;

    (void)state;
    for (size_t count = 1; count <= TLS_TICKET_KEYS; count++) {
        memset(read, 0, sizeof(read));
        ticket_keys_write(keys, count, 3599123, text);
        assert_int_equal(ticket_keys_read(text, read, &left), count);
        assert_int_equal(left, 3599123);
        assert_memory_equal(read, keys, count * sizeof(keys[0]));
    }
    ticket_keys_write(keys, TLS_TICKET_KEYS, INT64_MAX, text);
    assert_int_equal(ticket_keys_read(text, read, &left), TLS_TICKET_KEYS);
}

static void refused(const char *text)
{
    static const struct tls_ticket_key none[TLS_TICKET_KEYS];
    struct tls_ticket_key read[TLS_TICKET_KEYS];
    uint64_t left = 5;

    memset(read, 0, sizeof(read));
    assert_int_equal(ticket_keys_read(text, read, &left), 0);
    assert_int_equal(left, 5);
    assert_memory_equal(read, none, sizeof(none));
}

/* A digit or a key too few or too many, what is no digit, no time. */
static void test_refused(void **state)
{
    char text[2 * TICKET_KEYS_TEXT], one[TICKET_KEYS_TEXT], *digit;

    (void)state;
    refused("");
    refused("1000");
    refused("1000 ");
    refused("1000 00ff");
    ticket_keys_write(keys, TLS_TICKET_KEYS, 1000, text);
    text[strlen(text) - 1] = '\0';
    refused(text);
    ticket_keys_write(keys, TLS_TICKET_KEYS, 1000, text);
    strcat(text, "0");
    refused(text);
    ticket_keys_write(keys, TLS_TICKET_KEYS, 1000, text);
    digit = text + strlen(text) - 1;
    *digit = 'g';
    refused(text);
    ticket_keys_write(keys, TLS_TICKET_KEYS, 1000, text);
    ticket_keys_write(keys, 1, 1000, one);
    strcat(text, strchr(one, ' '));
    refused(text);
    ticket_keys_write(keys, 1, (uint64_t)INT64_MAX + 1, text);
    refused(text);
    ticket_keys_write(keys, 1, 1000, text);
    text[0] = '-';
    refused(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_round), cmocka_unit_test(test_refused) };

    return cmocka_run_group_tests(tests, make_keys, NULL);
}
