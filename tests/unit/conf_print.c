/* SPDX-License-Identifier: ISC */
/* posternd -T: what is printed reads back to the same snapshot, without a word. */
#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The printed form; freed by the caller. */
static char *printed(const char *text, size_t max_warnings)
{
    struct conf_messages messages;
    struct conf *conf = conf_parse("f", span_str(text), &messages);
    char *out;

    if (conf == NULL)
        print_error("%s\nof: %s\n", messages.errors[0], text);
    assert_non_null(conf);
    assert_true(messages.warning_count <= max_warnings);
    out = conf_print(conf);
    assert_non_null(out);
    conf_free(conf);
    conf_messages_fini(&messages);
    return out;
}

static void check_round(const char *text, size_t max_warnings)
{
    char *once = printed(text, max_warnings), *twice = printed(once, max_warnings);

    assert_string_equal(once, twice);
    free(once);
    free(twice);
}

static void examples(void **state)
{
    static const char *const names[] = { "default.conf",     "postern.conf", "explicit.conf",  "reverse.conf",
                                         "transparent.conf", "gateway.conf", "terminate.conf", "inspect.conf" };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[512], text[32768] = "";
        FILE *file;

        snprintf(path, sizeof(path), SOURCE_DIR "/etc/%s", names[i]);
        file = fopen(path, "r");
        assert_non_null(file);
        assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
        fclose(file);
        check_round(text, 0);
    }
    check_round("", 3);
}

/* Values of every type that are not the default, and texts with all that has to be escaped. */
#define FULL                                                                                                                       \
    "workers = 64; user = \"a \\\"b\\\" \\\\ c\"; runtime_dir = \"/run/\\\\x\303\274\";"                                           \
    "log = { level = \"debug\"; access = \"-\"; interval = 0.001; }; admin = { address = \"[::1]:9128\"; };"                       \
    "resolver = { servers = [ \"1.2.3.4\", \"[2001:db8::1]:5353\" ]; hosts = \"/h\"; timeout = 1.5; negative_ttl = 86400; };"      \
    "limits = { sessions = 0x10; body_bytes = 4611686018427387904L; interim = 0; };"                                               \
    "zones = ({ name = \"a\"; interfaces = \"lo\"; }, { name = \"b\"; networks = [ \"::/0\", \"1.2.3.4\" ]; });"                   \
    "packet_filter = { backend = \"nftables\"; table = \"t-1\"; on_exit = \"open\"; masquerade = [ \"a\", \"b\" ];"                \
    "helpers = [ \"sane\", \"ftp\" ]; block_seconds = 31536000; block_after = 1000000;"                                            \
    "forwards = ({ from = \"b\"; protocol = \"udp\"; port = 65535; to = \"[fd00::1]:1\"; },"                                       \
    "{ from = [ \"a\", \"b\" ]; protocol = \"tcp\"; port = 3; to = \"10.0.0.1:65535\"; }); };"                                     \
    "listeners = ({ name = \"t\"; mode = \"transparent\"; address = \"0.0.0.0:2\"; intercept = \"redirect\"; ports = ( 80, "       \
    "\"81-90\" );"                                                                                                                 \
    "host_check = \"resolve\"; preserve_client_address = true; }, { name = \"e\"; mode = \"explicit\"; address = \"0.0.0.0:1\"; "  \
    "from = \"a\"; via = \"off\"; forwarded = "                                                                                    \
    "\"append\"; },"                                                                                                               \
    "{ name = \"r\"; mode = \"reverse\"; address = \"[::]:1\"; upstreams = [ \"[::1]:1\", \"x:2\", \"https://[::1]:3\" ]; via = "  \
    "\"v\"; "                                                                                                                      \
    "tls = { certificate = \"/c\"; key = \"/k\"; ocsp = \"/o\"; unknown_name = \"first\"; profile = \"compatible\"; "              \
    "client_certificates = \"required\"; ca = \"/a\"; crl = \"/r\"; tickets = false; }; },"                                        \
    "{ name = \"s\"; mode = \"reverse\"; address = \"[::]:2\"; upstreams = \"x:1\"; tls = { min_version = \"1.3\"; "               \
    "certificates = ({ certificate = \"/c\"; key = \"/k\"; }, { certificate = \"/d\"; key = \"/l\"; ocsp = \"/o\"; }); }; });"     \
    "tls = { inspect_certificate = \"/ca\"; inspect_key = \"/cakey\"; trust = \"/t\"; crl = \"/r\"; ticket_seconds = 60; "         \
    "mint_rate = 7; };"                                                                                                            \
    "policies = ({ name = \"p\"; from = [ \"a\", \"b\" ]; to = \"b\"; clients = \"1.2.3.4\"; listeners = [ \"e\" ];"               \
    "hosts = [ \"*.x\", \"::1\" ]; hosts_file = \"/a\\\"b\"; networks = \"fd00::/8\"; ports = ( 1, \"2-3\" ); methods = \"GET\";"  \
    "paths = \"/\\\"\\\\*\"; headers = [ \"A: \\\"x\\\"\", \"B\" ]; protocols = [ \"tunnel\", \"http\", \"websocket\" ];"          \
    "action = \"allow\"; upstream_reuse = \"shared\"; websocket = { origins = \"null\"; origin_required = false;"                  \
    "subprotocols = [ \"a\", \"b\" ]; deflate = \"inspect\"; inflate_ratio = 2000; opcodes = \"text\"; message_bytes = "           \
    "67108864;"                                                                                                                    \
    "frame_bytes = 7; fragments = 0; control_frames = 1; ping_interval = 1.5; idle = 2; age = 3; streams = 5; "                    \
    "streams_per_client = 4; tunnels = false; on_violation = \"drop_message\";"                                                    \
    "client = { send = false; messages_per_second = 0; control_frames = 9; };"                                                     \
    "server = { opcodes = [ \"binary\", \"text\" ]; message_bytes = 8; messages_per_second = 10; "                                 \
    "bytes_per_second = 4611686018427387904L; burst = 0.5; "                                                                       \
    "first = true; messages_per_client_message = 11; bytes_per_client_byte = 12; quiet_after = 86400; };"                          \
    "match = ({ name = \"m\"; from = \"server\"; pattern = \"\\\"\\\\d\"; action = \"allow\"; }, "                                 \
    "{ name = \"n\"; json = { bytes = 5; depth = 6; required = [ \"a\", \"b.c\" ]; forbidden = \"d\"; }; }, "                      \
    "{ name = \"o\"; from = \"server\"; json = { }; }); }; }, "                                                                    \
    "{ name = \"i\"; from = \"a\"; action = \"allow\"; tls = \"inspect\"; sni = \"optional\"; ech = \"deny\"; "                    \
    "tls_fingerprints = [ \"t13d*\", \"t*\" ]; client_certificates = [ \"DNS:A.x\", \"CN=\\\"a\\\"\" ]; "                          \
    "upstream_tls = { trust = \"/t\"; crl = \"/r2\"; verify = true; certificate = \"/e\"; key = \"/l\"; min_version = \"1.3\"; "   \
    "server_name = \"A.x\"; pin = [ \"sha256/MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\", "                                     \
    "\"sha256///////////////////////////////////////////8=\" ]; }; },"                                                             \
    "{ name = \"q\"; from = \"a\"; action = \"allow\"; websocket = { }; },"                                                        \
    "{ name = \"s\"; to = [ \"self\", \"a\" ]; protocols = [ \"icmp\", \"tcp\", \"udp\" ]; action = \"allow\"; },"                 \
    "{ name = \"r\"; action = \"drop\"; });"

static void everything(void **state)
{
    static const char *const lines[] = {
        "workers = 64;",
        "user = \"a \\\"b\\\" \\\\ c\";",
        "interval = 0.001;",
        "address = \"[::1]:9128\";",
        "servers = [ \"1.2.3.4:53\", \"[2001:db8::1]:5353\" ];",
        "timeout = 1.500;",
        "negative_ttl = 86400.0;",
        "sessions = 16;",
        "body_bytes = 4611686018427387904L;",
        "interim = 0;",
        "sessions_per_client = 256;",
        "interfaces = [ \"lo\" ];",
        "networks = [ \"::/0\", \"1.2.3.4/32\" ];",
        "via = \"off\";",
        "mode = \"transparent\";",
        "intercept = \"redirect\";",
        "ports = [ \"80\", \"81-90\" ];",
        "host_check = \"resolve\";",
        "preserve_client_address = true;",
        "to = [ \"self\", \"a\" ];",
        "protocols = [ \"tcp\", \"udp\", \"icmp\" ];",
        "packet_filter = {",
        "backend = \"nftables\";",
        "table = \"t-1\";",
        "on_exit = \"open\";",
        "masquerade = [ \"a\", \"b\" ];",
        "helpers = [ \"sane\", \"ftp\" ];",
        "block_seconds = 31536000;",
        "block_after = 1000000;",
        "    from = [ \"a\", \"b\" ];",
        "protocol = \"udp\";",
        "port = 65535;",
        "to = \"[fd00::1]:1\";",
        "via = \"v\";",
        "upstreams = [ \"[::1]:1\", \"x:2\", \"https://[::1]:3\" ];",
        "tls = {",
        "certificates = (",
        "certificate = \"/c\";",
        "certificate = \"/d\";",
        "key = \"/k\";",
        "ocsp = \"/o\";",
        "unknown_name = \"first\";",
        "profile = \"compatible\";",
        "min_version = \"1.2\";",
        "min_version = \"1.3\";",
        "client_certificates = \"required\";",
        "ca = \"/a\";",
        "crl = \"/r\";",
        "tickets = false;",
        "inspect_certificate = \"/ca\";",
        "inspect_key = \"/cakey\";",
        "ticket_seconds = 60.0;",
        "mint_rate = 7;",
        "tls = \"inspect\";",
        "sni = \"optional\";",
        "ech = \"deny\";",
        "tls_fingerprints = [ \"t13d*\", \"t*\" ];",
        "client_certificates = [ \"DNS:a.x\", \"CN=\\\"a\\\"\" ];",
        "verify = true;",
        "server_name = \"a.x\";",
        "pin = [ \"sha256/MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\", \"sha256///////////////////////////////////////////8=\" "
        "];",
        "hosts_file = \"/a\\\"b\";",
        "ports = [ \"1\", \"2-3\" ];",
        "paths = [ \"/\\\"\\\\*\" ];",
        "headers = [ \"A: \\\"x\\\"\", \"B\" ];",
        "protocols = [ \"http\", \"websocket\", \"tunnel\" ];",
        "origin_required = false;",
        "deflate = \"inspect\";",
        "inflate_ratio = 2000;",
        "ping_interval = 1.500;",
        "idle = 2.0;",
        "age = 3.0;",
        "streams = 5;",
        "streams_per_client = 4;",
        "tunnels = false;",
        "on_violation = \"drop_message\";",
        "opcodes = [ \"text\" ];",
        "message_bytes = 67108864;",
        "opcodes = [ \"text\", \"binary\" ];",
        "message_bytes = 8;",
        "frame_bytes = 7;",
        "fragments = 0;",
        "control_frames = 9;",
        "control_frames = 1;",
        "bytes_per_second = 4611686018427387904L;",
        "burst = 0.500;",
        "messages_per_client_message = 11;",
        "bytes_per_client_byte = 12;",
        "quiet_after = 86400.0;",
        "from = [ \"server\" ];",
        "pattern = \"\\\"\\\\d\";",
        "action = \"allow\";",
        "bytes = 5;",
        "depth = 6;",
        "required = [ \"a\", \"b.c\" ];",
        "forbidden = [ \"d\" ];",
        "from = [ \"client\", \"server\" ];",
        "action = \"drop\";",
    };
    char *out = printed(FULL, 3); /* the push contract of a client that may say nothing */

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (strstr(out, lines[i]) == NULL)
            print_error("no %s in %s\n", lines[i], out);
        assert_non_null(strstr(out, lines[i]));
    }
    free(out);
    check_round(FULL, 3);
}

/* What was not given and has no default is not printed. */
static void absent(void **state)
{
    static const char *const keys[] = {
        "user",   "runtime_dir",  "access",           "admin",         "websocket",           "protocols",
        "via",    "from",         "hosts_file",       "packet_filter", "inspect_certificate", "trust",
        "keylog", "upstream_tls", "tls_fingerprints", "intercept",     "host_check",          "preserve_client_address"
    };
    char *out = printed("listeners = ({ name = \"l\"; mode = \"explicit\"; address = \"127.0.0.1:1\"; });"
                        "policies = ({ name = \"p\"; action = \"deny\"; });",
                        2);

    (void)state;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char key[64];

        snprintf(key, sizeof(key), " %s = ", keys[i]);
        assert_null(strstr(out, key));
        assert_true(strncmp(out, key + 1, strlen(key + 1)) != 0);
    }
    free(out);
}

/* What a websocket group says of both sides is printed with each, so that nothing is said twice; a rule without json prints none.
 */
static void sides_and_rules(void **state)
{
    static const char text[] =
        "policies = ({ name = \"p\"; action = \"allow\"; websocket = { fragments = 7; client = { fragments = 8; };"
        "match = ({ name = \"m\"; pattern = \"x\"; }); }; });";
    char *out = printed(text, 4), *client = strstr(out, "client = {"), *server = strstr(out, "server = {");

    (void)state;
    assert_true(client != NULL && server > client);
    assert_true(strstr(out, "fragments") > client);
    assert_true(strstr(out, "fragments = 8;") < server);
    assert_true(strstr(out, "fragments = 7;") > server);
    assert_null(strstr(out, "json"));
    assert_null(strstr(out, "quiet_after"));
    free(out);
    check_round(text, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples),
        cmocka_unit_test(everything),
        cmocka_unit_test(absent),
        cmocka_unit_test(sides_and_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
