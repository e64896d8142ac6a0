/* SPDX-License-Identifier: ISC */
/* posternctl: which command lines make which requests, and what answers look like for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/ctl.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The words of a command line, split at blanks; compared with the request, or NULL: it is refused. */
static void test_requests(void **state)
{
    static const struct {
        const char *line, *request;
    } cases[] = {
        { "status", "{\"command\":\"status\"}" },
        { "doctor", "{\"command\":\"doctor\"}" },
        { "doctor now", NULL },
        { "filter", "{\"command\":\"filter\"}" },
        { "blocks", "{\"command\":\"blocks\"}" },
        { "blocks 1", NULL },
        { "inspected", "{\"command\":\"inspected\"}" },
        { "inspected a.test", NULL },
        { "block 10.0.0.1", "{\"command\":\"block\",\"address\":\"10.0.0.1\"}" },
        { "block fd00::/8 31536000", "{\"command\":\"block\",\"address\":\"fd00::/8\",\"seconds\":31536000}" },
        { "block 10.0.0.1 31536001", NULL },
        { "block 10.0.0.1 0", NULL },
        { "block 10.0.0.1 1m", NULL },
        { "block 10.0.0.1 -1", NULL },
        { "block 10.0.0.1/8", NULL },
        { "block example.com", NULL },
        { "block", NULL },
        { "block 10.0.0.1 5 6", NULL },
        { "unblock 10.0.0.0/8", "{\"command\":\"unblock\",\"address\":\"10.0.0.0/8\"}" },
        { "unblock 10.0.0.1 5", NULL },
        { "unblock", NULL },
        { "kill 1-5", "{\"command\":\"kill\",\"id\":\"1-5\"}" },
        { "sessions mark=0x53000001", "{\"command\":\"sessions\",\"filters\":[\"mark=0x53000001\"]}" },
        { "explain 1-5", "{\"command\":\"explain\",\"id\":\"1-5\"}" },
        { "explain --from 10.0.0.1 udp://192.0.2.1:53",
          "{\"command\":\"explain\",\"from\":\"10.0.0.1\",\"method\":\"-\",\"url\":\"udp://192.0.2.1:53\",\"headers\":[]}" },
        { "explain --from 10.0.0.1 --interface lan0 - ICMP://192.0.2.1",
          "{\"command\":\"explain\",\"from\":\"10.0.0.1\",\"interface\":\"lan0\",\"method\":\"-\",\"url\":\"ICMP://192.0.2.1\","
          "\"headers\":[]}" },
        { "explain --from 10.0.0.1 GET http://x/",
          "{\"command\":\"explain\",\"from\":\"10.0.0.1\",\"method\":\"GET\",\"url\":\"http://x/\",\"headers\":[]}" },
        { "explain --from 10.0.0.1 http://x/", NULL },
        { "explain tcp://192.0.2.1:53", NULL },
        { "explain udp://192.0.2.1:53 x", NULL },
        { "explain --from 10.0.0.1", NULL },
        { "nonsense", NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[256], *words[16] = { NULL }, *rest = line, *text;
        json_t *request;
        int count = 0;

        strcpy(line, cases[i].line);
        while (count < 15 && (words[count] = strsep(&rest, " ")) != NULL)
            count++;
        request = ctl_request(count, words);
        text = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
        if ((text == NULL) != (cases[i].request == NULL) || (text != NULL && strcmp(text, cases[i].request) != 0))
            fail_msg("%s: %s", cases[i].line, text != NULL ? text : "refused");
        free(text);
        json_decref(request);
    }
}

/* What ctl_print() writes to standard output. */
static char *printed(const char *command, const char *answer)
{
    static char text[8192];
    json_t *object = json_loads(answer, 0, NULL);
    FILE *file = tmpfile();
    int out = dup(STDOUT_FILENO);
    size_t len;

    assert_non_null(object);
    assert_non_null(file);
    fflush(stdout);
    assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
    ctl_print(command, object);
    fflush(stdout);
    assert_true(dup2(out, STDOUT_FILENO) >= 0);
    close(out);
    rewind(file);
    len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    fclose(file);
    json_decref(object);
    return text;
}

static void assert_says(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void assert_silent(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("\"%s\" is in:\n%s", part, text);
}

static void test_sessions(void **state)
{
    const char *text = printed("sessions", "{\"sessions\":[{\"id\":\"0-1\",\"mode\":\"explicit\",\"client\":\"10.0.0.1:5\","
                                           "\"upstream\":\"10.0.0.9:7\"}]}");

    (void)state;
    assert_says(text, "0-1");
    assert_silent(text, "CONNTRACK");
    assert_silent(text, "NAT");
    text = printed("sessions", "{\"sessions\":[{\"id\":\"2-1\",\"mode\":\"forwarded\",\"conntrack_state\":\"ESTABLISHED\","
                               "\"client\":\"10.0.0.1:5\",\"destination\":\"192.0.2.1:22\",\"translated\":\"10.77.1.5:22\","
                               "\"upstream\":\"203.0.113.1:6\"},{\"id\":\"2-2\",\"mode\":\"forwarded\",\"client\":\"10.0.0.1:6\","
                               "\"destination\":\"192.0.2.1:22\",\"translated\":\"192.0.2.1:22\",\"upstream\":\"10.0.0.1:6\"}]}");
    assert_says(text, "CONNTRACK");
    assert_says(text, "ESTABLISHED");
    assert_says(text, "from 203.0.113.1:6 to 10.77.1.5:22");
    assert_silent(text, "from 10.0.0.1:6");
    text = printed("show", "{\"session\":{\"id\":\"2-1\",\"mark\":1392508929,\"mode\":\"forwarded\",\"client\":\"10.0.0.1:5\","
                           "\"upstream\":\"203.0.113.1:6\"}}");
    assert_says(text, "0x53000001");
    assert_says(text, "nat             from 203.0.113.1:6");
}

/* The column is there if a session has TLS; a server name that is the host anyway is not said again. */
static void test_tls(void **state)
{
    char *text = printed("sessions", "{\"sessions\":[{\"id\":\"0-1\",\"host\":\"a.test\"}]}");

    (void)state;
    assert_silent(text, "TLS");
    text = printed("sessions",
                   "{\"sessions\":[{\"id\":\"0-1\",\"host\":\"a.test\"},"
                   "{\"id\":\"0-2\",\"host\":\"b\",\"tls_client\":{\"way\":\"inspected\"},\"tls_server\":{\"way\":\"inspected\"}},"
                   "{\"id\":\"0-3\",\"host\":\"c\",\"tls_client\":{\"way\":\"ended\"},\"tls_server\":{\"way\":\"ended\"}},"
                   "{\"id\":\"0-4\",\"host\":\"d\",\"tls_server\":{\"way\":\"ended\"}},"
                   "{\"id\":\"0-5\",\"host\":\"e\",\"tls_client\":{\"way\":\"peeked\"}}]}");
    assert_says(text, "a.test  -                 -");
    assert_says(text, "b       inspected         -");
    assert_says(text, "c       ended, to server  -");
    assert_says(text, "d       to server         -");
    assert_says(text, "e       peeked            -");
    text = printed("show", "{\"session\":{\"id\":\"0-1\",\"tls_client\":{\"way\":\"ended\",\"resumed\":true}}}");
    assert_says(text, "tls_client      way ended  resumed yes");
    text = printed("denials", "{\"denials\":[{\"id\":\"0-1\",\"host\":\"a.test\",\"tls_client\":{\"sni\":\"a.test\"}}]}");
    assert_silent(text, "SNI");
    text = printed("denials", "{\"denials\":[{\"id\":\"0-1\",\"host\":\"a.test\",\"tls_client\":{\"sni\":\"b.test\"}}]}");
    assert_says(text, "SNI");
    assert_says(text, "b.test");
    text = printed("inspected", "{\"inspected\":[{\"name\":\"a.test\",\"shown\":12,\"refused\":3,\"last\":\"then\","
                                "\"last_refused\":\"now\",\"last_client\":\"10.0.0.1:5\"}]}");
    assert_says(text, "a.test     12        3  then  now           10.0.0.1:5");
}

static void test_pings(void **state)
{
    const char *rows =
        "{\"sessions\":[{\"protocol\":\"icmp\",\"mode\":\"forwarded\",\"client\":\"10.0.0.1:0\",\"server\":\"[fd00::1]:0\","
        "\"upstream\":\"10.0.0.9:0\"}]}";

    (void)state;
    assert_silent(printed("sessions", rows), ":0");
    assert_says(printed("sessions", rows), " fd00::1 ");
    assert_says(printed("sessions", rows), "from 10.0.0.9 ");
    assert_silent(printed("show", "{\"session\":{\"protocol\":\"icmp\",\"client\":\"10.0.0.1:0\"}}"), ":0");
    assert_says(printed("show", "{\"session\":{\"protocol\":\"tcp\",\"client\":\"10.0.0.1:0\"}}"), "10.0.0.1:0");
}

static void test_explained(void **state)
{
    const char *text = printed("explain", "{\"verdict\":\"denied\",\"packet\":{\"interface_in\":\"lan0\",\"zone_in\":\"inside\","
                                          "\"fate\":\"drop\",\"interface_out\":\"wan0\",\"local\":false,\"blocked\":false,\"near\":"
                                          "[{\"name\":\"dns\",\"file\":\"f\",\"line\":3,\"did_not_fit\":[\"ports\",\"to\"]}]}}");
    static const char *const order[] = { "denied",    "interface in  lan0", "zone in       inside", "intercepted   no",
                                         "by wan0",   "zone out",           "is not blocked",       "policy        -",
                                         "dns (f:3)", "ports, to",          "NAT           none",   "fate          drop" };

    (void)state;
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        const char *found = strstr(text, order[i]);

        if (found == NULL)
            fail_msg("\"%s\" is not behind the ones before it:\n%s", order[i], text);
        text = found;
    }
    text = printed("explain", "{\"packet\":{\"fate\":\"intercept\",\"listener\":\"web\",\"intercept\":\"redirect\",\"near\":[]}}");
    assert_says(text, "by listener web (redirect)");
    assert_says(text, "redirected to the listener");
    assert_says(text, "whether the client is blocked is not known");
    text =
        printed("explain", "{\"packet\":{\"fate\":\"translate\",\"forward\":\"10.0.0.5:22\",\"masquerade\":true,\"interface_out\":"
                           "\"lan0\",\"near\":[],\"notes\":[\"mind\"]}}");
    assert_says(text, "to 10.0.0.5:22, from the address of lan0");
    assert_says(text, "note: mind");
    assert_silent(printed("explain", "{\"verdict\":\"allowed\"}"), "packet");
}

static void test_filter_commands(void **state)
{
    const char *text = printed("doctor", "{\"checks\":[{\"name\":\"rules\",\"ok\":true,\"finding\":\"there\",\"canary\":\"tried\"},"
                                         "{\"name\":\"self\",\"ok\":false,\"finding\":\"none\",\"mend\":\"do this\"}]}");

    (void)state;
    assert_says(text, "ok      rules: there\n        canary: tried\n");
    assert_says(text, "NOT OK  self: none\n        mend: do this\n");
    assert_string_equal(printed("filter", "{\"table\":\"table inet postern {\\n}\\n\"}"), "table inet postern {\n}\n");
    assert_string_equal(printed("block", "{\"address\":\"10.0.0.1\",\"seconds\":60}"), "10.0.0.1 is blocked for 60 s\n");
    assert_string_equal(printed("unblock", "{\"address\":\"10.0.0.1\",\"was_blocked\":true}"), "10.0.0.1 is no longer blocked\n");
    assert_string_equal(printed("unblock", "{\"address\":\"10.0.0.1\",\"was_blocked\":false}"), "10.0.0.1 was not blocked\n");
    assert_string_equal(printed("watch", "{\"time\":\"t\",\"changes\":true,\"sessions\":[],\"ended\":[]}"), "");
    assert_says(printed("watch", "{\"time\":\"t\",\"sessions\":[],\"ended\":[]}"), "t: 0 sessions open, 0 ended\n");
    assert_says(printed("blocks", "{\"blocks\":[{\"address\":\"10.0.0.1\",\"seconds\":60,\"why\":\"loop\"}]}"),
                "10.0.0.1       60  loop");
}

static void test_status(void **state)
{
    static const struct {
        const char *command, *answer;
        int status;
    } cases[] = {
        { "status", "{}", 0 },
        { "kill", "{\"killed\":0}", 1 },
        { "kill", "{\"killed\":3}", 0 },
        { "doctor", "{\"checks\":[]}", 0 },
        { "doctor", "{\"checks\":[{\"ok\":true},{\"ok\":true}]}", 0 },
        { "doctor", "{\"checks\":[{\"ok\":true},{\"ok\":false}]}", 1 },
        { "blocks", "{\"blocks\":[]}", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *answer = json_loads(cases[i].answer, 0, NULL);

        if (ctl_status(cases[i].command, answer) != cases[i].status)
            fail_msg("%s %s", cases[i].command, cases[i].answer);
        json_decref(answer);
    }
}

#define WATCHED(messages, bytes)                                                                                                   \
    "{\"time\":\"now\",\"changes\":true,\"sessions\":[{\"id\":\"0-7\",\"protocol\":\"websocket\",\"messages_up\":" messages        \
    ",\"messages_down\":2,\"bytes_up\":" bytes ",\"bytes_down\":10}],\"ended\":[{\"id\":\"0-8-1\"}]}"

/* Rates are known from the second reading on, and of a session that ended nothing is known any more. */
static void test_rates(void **state)
{
    static const char gone[] = "{\"time\":\"now\",\"changes\":true,\"sessions\":[],\"ended\":[{\"id\":\"0-7-1\"}]}";
    const char *text;

    (void)state;
    clock_set(1000);
    text = printed("watch", WATCHED("1", "100"));
    assert_null(strstr(text, "MESSAGES/S"));
    clock_set(3000);
    text = printed("watch", WATCHED("4", "300"));
    assert_non_null(strstr(text, "MESSAGES/S"));
    assert_non_null(strstr(text, "1.5"));
    assert_non_null(strstr(text, "100"));
    printed("watch", gone);
    text = printed("watch", WATCHED("9", "900"));
    assert_null(strstr(text, "MESSAGES/S"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_requests),  cmocka_unit_test(test_sessions),
                                        cmocka_unit_test(test_tls),       cmocka_unit_test(test_pings),
                                        cmocka_unit_test(test_explained), cmocka_unit_test(test_filter_commands),
                                        cmocka_unit_test(test_status),    cmocka_unit_test(test_rates) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
