/* SPDX-License-Identifier: ISC */
/*
 * The table of keys: that it is consistent in itself, that each bound holds (at it and one past it), that the defaults are those of
 * the design, and that the examples in etc/ are accepted and postern.conf and gateway.conf
 * show every key.
 */
#include "conf/conf_file.h"
#include "conf/conf_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct span read_example(const char *name)
{
    static char text[65536];
    char path[512];
    FILE *file;
    size_t len;

    snprintf(path, sizeof(path), SOURCE_DIR "/etc/%s", name);
    file = fopen(path, "r");
    assert_non_null(file);
    len = fread(text, 1, sizeof(text), file);
    assert_true(len < sizeof(text));
    fclose(file);
    return span_of(text, len);
}

static bool accepted(const char *text)
{
    struct conf_messages messages;
    struct conf *conf = conf_parse("test.conf", span_str(text), &messages);
    bool good = conf != NULL;

    assert_int_equal(good, messages.error_count == 0);
    conf_free(conf);
    conf_messages_fini(&messages);
    return good;
}

static void rows_are_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];

        assert_ptr_equal(conf_key_find(key->in, key->name), key); /* no name twice in one group */
        assert_non_null(key->help);
        assert_int_equal(key->help[strlen(key->help) - 1], '.');
        assert_int_equal(key->type == KEY_WORD || key->type == KEY_PROTOCOLS || key->type == KEY_FLAG || key->type == KEY_BIT ||
                             key->type == KEY_WORDS || key->type == KEY_BITS || key->type == KEY_SENDERS ||
                             key->type == KEY_VERSION,
                         key->words != NULL);
        if (key->type == KEY_U32 || key->type == KEY_U64 || key->type == KEY_SECONDS)
            assert_true(key->min <= key->standard && key->standard <= key->max);
    }
    assert_null(conf_key_find(IN_TOP, "sessions"));
}

/* What stands around a key of these groups, so that nothing else is wrong. */
#define WEBSOCKET(text) "policies = ({ name = \"p\"; action = \"allow\"; websocket = { " text " }; });"
static const char *const places[] = {
    [IN_TOP] = "%s = %s;",
    [IN_LOG] = "log = { %s = %s; };",
    [IN_RESOLVER] = "resolver = { %s = %s; };",
    [IN_LIMITS] = "limits = { %s = %s; };",
    [IN_TIMEOUTS] = "timeouts = { %s = %s; };",
    [IN_FILTER] = "packet_filter = { backend = \"nftables\"; %s = %s; };",
    [IN_WEBSOCKET] = WEBSOCKET("%s = %s;"),
    [IN_WS_CLIENT] = WEBSOCKET("client = { %s = %s; };"),
    [IN_WS_SERVER] = WEBSOCKET("server = { %s = %s; };"),
    [IN_TLS] = "tls = { %s = %s; };",
    [IN_HEALTH] = "listeners = ({ name = \"r\"; mode = \"reverse\"; address = \"127.0.0.1:1\"; upstreams = \"127.0.0.1:2\"; "
                  "health = { path = \"/\"; %s = %s; }; });",
    [IN_WS_JSON] = WEBSOCKET("match = ({ name = \"r\"; json = { %s = %s; }; });"),
};

/* "limits = { sessions = 1; };" and is that accepted? */
static bool value_accepted(const struct conf_key *key, const char *value)
{
    char text[256];
    const char *more = strcmp(key->name, "header_bytes") == 0 ? "limits = { uri_bytes = 64; %s = %s; };"
                       : strcmp(key->name, "uri_bytes") == 0  ? "limits = { header_bytes = 65536; %s = %s; };"
                                                              : NULL;

    assert_non_null(places[key->in]);
    snprintf(text, sizeof(text), more ? more : places[key->in], key->name, value);
    return accepted(text);
}

static void numbers_hold_their_bounds(void **state)
{
    char value[64];
    unsigned seen = 0;

    (void)state;
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];

        if (key->type != KEY_U32 && key->type != KEY_U64)
            continue;
        snprintf(value, sizeof(value), "%lluL", (unsigned long long)key->min);
        assert_true(value_accepted(key, value));
        snprintf(value, sizeof(value), "%lldL", (long long)key->min - 1);
        assert_false(value_accepted(key, value));
        snprintf(value, sizeof(value), "%lluL", (unsigned long long)key->max);
        assert_true(value_accepted(key, value));
        snprintf(value, sizeof(value), "%lluL", (unsigned long long)key->max + 1);
        assert_false(value_accepted(key, value));
        assert_false(value_accepted(key, "8.0"));
        assert_false(value_accepted(key, "\"8\""));
        assert_false(value_accepted(key, "true"));
        seen++;
    }
    assert_int_equal(seen, 41);
}

static void seconds_hold_their_bounds(void **state)
{
    static const char *const good[] = { "0.001", "1", "1.5", "86400", "86400.0", "1e2" };
    static const char *const bad[] = { "0",     "0.0",    "-1",   "-0.5",  "0.0009", "86400.001", "86401",
                                       "1e400", "-1e400", "true", "\"1\"", "[1]",    "{}",        "86401L" };
    unsigned seen = 0;

    (void)state;
    for (size_t i = 0; i < conf_key_count; i++) {
        if (conf_keys[i].type != KEY_SECONDS && conf_keys[i].type != KEY_TIME)
            continue;
        for (size_t k = 0; k < sizeof(good) / sizeof(good[0]); k++)
            assert_true(value_accepted(&conf_keys[i], good[k]));
        for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
            assert_false(value_accepted(&conf_keys[i], bad[k]));
        seen++;
    }
    assert_int_equal(seen, 23);
}

static void defaults_are_those_of_the_design(void **state)
{
    struct conf_messages messages;
    struct conf *conf = conf_parse("f", SPAN(""), &messages);

    (void)state;
    assert_non_null(conf);
    assert_int_equal(conf->workers, 0);
    assert_null(conf->user);
    assert_null(conf->runtime_dir);
    assert_int_equal(conf->log_level, LOG_LEVEL_INFO);
    assert_null(conf->log_access);
    assert_int_equal(conf->log_interval, 60000);
    assert_int_equal(conf->admin.family, 0);
    assert_int_equal(conf->resolver_server_count, 0);
    assert_string_equal(conf->resolver_hosts, "/etc/hosts");
    assert_int_equal(conf->resolver_timeout, 2000);
    assert_int_equal(conf->resolver_negative_ttl, 5000);
    assert_int_equal(conf->limits.sessions, 100000);
    assert_int_equal(conf->limits.sessions_per_client, 256);
    assert_int_equal(conf->limits.header_bytes, 32768);
    assert_int_equal(conf->limits.header_count, 100);
    assert_int_equal(conf->limits.uri_bytes, 8192);
    assert_int_equal(conf->limits.body_bytes, 0);
    assert_int_equal(conf->limits.pipeline, 8);
    assert_int_equal(conf->limits.interim, 8);
    assert_int_equal(conf->limits.held_bytes, 268435456);
    assert_int_equal(conf->timeouts.handshake, 10000);
    assert_int_equal(conf->timeouts.header, 10000);
    assert_int_equal(conf->timeouts.body, 60000);
    assert_int_equal(conf->timeouts.connect, 10000);
    assert_int_equal(conf->timeouts.response, 60000);
    assert_int_equal(conf->timeouts.keepalive, 75000);
    assert_int_equal(conf->timeouts.tunnel_idle, 600000);
    assert_int_equal(conf->timeouts.message, 60000);
    assert_int_equal(conf->timeouts.drain, 30000);
    assert_int_equal(conf->timeouts.stall, 5000);
    assert_int_equal(conf->packet_filter.line, 0);
    assert_string_equal(conf->packet_filter.table, "postern");
    assert_false(conf->packet_filter.open_on_exit);
    assert_int_equal(conf->packet_filter.masquerade.count, 0);
    assert_int_equal(conf->packet_filter.helpers.count, 0);
    assert_int_equal(conf->packet_filter.forward_count, 0);
    assert_int_equal(conf->packet_filter.block_seconds, 600);
    assert_int_equal(conf->packet_filter.block_after, 0);
    assert_int_equal(conf->tls.inspect_certificate, -1);
    assert_int_equal(conf->tls.inspect_key, -1);
    assert_int_equal(conf->tls.trust, -1);
    assert_int_equal(conf->tls.crl, -1);
    assert_null(conf->tls.keylog);
    assert_int_equal(conf->tls.ticket_life, 3600000);
    assert_int_equal(conf->tls.mint_rate, 50);
    assert_int_equal(conf->tls_file_count, 0);
    conf_free(conf);
    conf_messages_fini(&messages);
}

static void examples_are_accepted(void **state)
{
    static const char *const names[] = { "default.conf", "postern.conf",     "explicit.conf",
                                         "reverse.conf", "transparent.conf", "gateway.conf" };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct conf_messages messages;
        struct conf *conf = conf_parse(names[i], read_example(names[i]), &messages);

        if (messages.error_count + messages.warning_count > 0)
            print_error("%s\n", messages.error_count ? messages.errors[0] : messages.warnings[0]);
        assert_non_null(conf);
        assert_int_equal(messages.error_count + messages.warning_count, 0);
        conf_free(conf);
        conf_messages_fini(&messages);
    }
}

/* Marks the keys that occur below `node`. */
static void mark(const struct conf_node *node, enum conf_group in, bool *seen)
{
    for (size_t i = 0; i < conf_node_count(node); i++) {
        const struct conf_node *member = conf_node_at(node, i);
        const struct conf_key *key = conf_key_find(in, conf_node_name(member));

        assert_non_null(key);
        seen[key - conf_keys] = true;
        if (key->type == KEY_GROUP)
            mark(member, key->opens, seen);
        for (size_t k = 0; key->type == KEY_ITEMS && k < conf_node_count(member); k++)
            mark(conf_node_at(member, k), key->opens, seen);
    }
}

static void mark_example(const char *name, bool *seen)
{
    struct conf_report report = { .file = name };
    struct conf_file *file = conf_file_open(read_example(name), &report);

    assert_non_null(file);
    mark(conf_file_root(file), IN_TOP, seen);
    conf_file_close(file);
}

static void examples_show_every_key(void **state)
{
    bool seen[256] = { false };

    (void)state;
    assert_true(conf_key_count <= 256);
    mark_example("postern.conf", seen);
    mark_example("gateway.conf", seen);
    assert_non_null(
        memmem(read_example("postern.conf").at, read_example("postern.conf").len, "# keylog ", 9)); /* worth a warning */
    seen[conf_key_find(IN_TLS, "keylog") - conf_keys] = true;
    for (size_t i = 0; i < conf_key_count; i++) {
        if (!seen[i])
            print_error("%s\n", conf_keys[i].name);
        assert_true(seen[i]);
    }
}

static void embedded_default_is_the_file(void **state)
{
    (void)state;
    assert_true(span_eq(conf_default_text(), read_example("default.conf")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_complete),
        cmocka_unit_test(numbers_hold_their_bounds),
        cmocka_unit_test(seconds_hold_their_bounds),
        cmocka_unit_test(defaults_are_those_of_the_design),
        cmocka_unit_test(examples_are_accepted),
        cmocka_unit_test(examples_show_every_key),
        cmocka_unit_test(embedded_default_is_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
