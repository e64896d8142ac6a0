/* SPDX-License-Identifier: ISC */
/* The websocket group of a policy: what is read and with which defaults, what is refused, what is worth a warning. */
#include "conf_said.h"

/* One policy with a group that is under test; its line is the group's. */
#define WS(text) POLICY("from = \"in\"; protocols = \"websocket\"; websocket = { " text " };")
#define MATCH(text) WS("match = ({ name = \"r\"; " text " });")
#define P "f:1: policies.p.websocket"
#define TWO "{ name = \"a\"; pattern = \"x\"; }, { name = \"b\"; "

static void values_that_are_refused(void **state)
{
    static const struct said cases[] = {
        { WS(""), "" },
        { WS("deflate = \"inspect\"; inflate_ratio = 0; tunnels = false; on_violation = \"drop_message\";"), "" },
        { WS("deflate = \"off\"; on_violation = \"drop\";"),
          P ".deflate: \"off\" is none of \"strip\", \"deny\", \"pass\", \"inspect\"\n" P
            ".on_violation: \"drop\" is none of \"close\", \"drop_message\", \"log\"; did you mean \"drop_message\"?\n" },
        { WS("opcodes = [ ];"), P ".opcodes: the list is empty; leave the key out if any will do\n" },
        { WS("opcodes = [ \"text\", \"bin\" ];"), P ".opcodes: \"bin\" is none of \"text\", \"binary\"\n" },
        { WS("opcodes = [ \"text\", \"binary\", \"text\" ];"), P ".opcodes: the list has more than 2 items\n" },
        { WS("message_bytes = -1;"), P ".message_bytes: expected a whole number from 0 to 4611686018427387904\n" }, /* said once */
        { WS("ping_interval = 0; idle = 0.0; age = 86401; server = { quiet_after = 0; };"),
          P ".ping_interval: expected seconds, from 0.001 to 86400\n" P ".idle: expected seconds, from 0.001 to 86400\n" P
            ".age: expected seconds, from 0.001 to 86400\n" P ".server.quiet_after: expected seconds, from 0.001 to 86400\n" },
        { WS("client = 1; server = ();"),
          P ".client: expected a group: { key = value; }\n" P ".server: expected a group: { key = value; }\n" },
        { WS("client = { first = true; }; server = { frist = true; };"),
          P ".client.first: unknown key; did you mean \"burst\"?\n" P ".server.frist: unknown key; did you mean \"first\"?\n" },
        { WS("messages_per_second = 1;"), P ".messages_per_second: unknown key\n" },
        { WS("client = { burst = 0; };"), P ".client.burst: expected seconds, from 0.001 to 86400\n" },
    };

    (void)state;
    CHECK(cases);
}

static void rules_that_are_refused(void **state)
{
    static const struct said cases[] = {
        { MATCH("pattern = \"(?i)drop\\\\s+table\";"), "" },
        { MATCH("pattern = \"x\"; from = [ \"client\", \"server\" ]; action = \"deny\";"), "" },
        { MATCH("json = { };"), "" },
        { MATCH("json = { bytes = 16777216; depth = 1; required = \"a\"; forbidden = [ \"b.c\", \"d\" ]; };"), "" },
        { WS("match = ();"), "" },
        { WS("match = { };"), P ".match: expected a list of at most 256 groups: ( { ... }, { ... } )\n" },
        { WS("match = ({ pattern = \"x\"; });"), P ".match[0].name: is required\n" },
        { WS("match = ({ name = \"R 1\"; pattern = \"x\"; });"),
          P ".match[0].name: \"R 1\" is no name: a letter, then at most 30 of a-z, 0-9 and \"-\"\n" },
        { WS("match = (" TWO "pattern = \"y\"; }, { name = \"b\"; pattern = \"z\"; });"),
          P ".match.b.name: the name \"b\" is already used in line 1\n" },
        { MATCH("from = \"both\"; pattern = \"x\";"), P ".match.r.from: \"both\" is none of \"client\", \"server\"\n" },
        { MATCH("pattern = \"x\"; action = \"drop\";"), P ".match.r.action: \"drop\" is none of \"deny\", \"allow\"\n" },
        { MATCH("pattern = \"\";"), P ".match.r.pattern: expected a string that is not empty\n" },
        { MATCH("json = { depth = 0; };"), P ".match.r.json.depth: expected a whole number from 1 to 1000\n" },
        { MATCH("json = { depth = 1001; };"), P ".match.r.json.depth: expected a whole number from 1 to 1000\n" },
        { MATCH("json = { required = [ \"a..b\", \".a\", \"a.\", \"a.b.c\" ]; };"),
          P ".match.r.json.required: \"a..b\" names no member; expected \"a\", or \"a.b\" for b in the object a\n" P
            ".match.r.json.required: \".a\" names no member; expected \"a\", or \"a.b\" for b in the object a\n" P
            ".match.r.json.required: \"a.\" names no member; expected \"a\", or \"a.b\" for b in the object a\n" P
            ".match.r.json.required: \"a.b.c\" names no member; expected \"a\", or \"a.b\" for b in the object a\n" },
        { MATCH(""), P ".match.r: needs either pattern or json\n" },
        { MATCH("pattern = \"x\"; json = { };"), P ".match.r: has both pattern and json; make it two rules\n" },
        { MATCH("json = { }; action = \"allow\";"),
          P ".match.r.action: a json rule can only deny: what it does not deny goes on to the next rule\n" },
        { MATCH("json = { required = [ \"a\", \"b.c\", \"bb\" ]; forbidden = [ \"b\", \"a\", \"b.d\" ]; };"),
          P ".match.r.json.forbidden: \"b\" is forbidden and \"b.c\" is required: no message is both\n" P
            ".match.r.json.forbidden: \"a\" is forbidden and \"a\" is required: no message is both\n" },
    };
    static const struct {
        const char *text, *begin;
    } bad[] = {
        { MATCH("pattern = \"(\";"), P ".match.r.pattern: is no regular expression: " },
        { MATCH("pattern = \"[z-a]\";"), P ".match.r.pattern: is no regular expression: " },
        { MATCH("pattern = \"\303\";"), P ".match.r.pattern: is no regular expression: " },
    };

    (void)state;
    CHECK(cases);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *all = all_said(span_str(bad[i].text));

        assert_int_equal(strncmp(all, bad[i].begin, strlen(bad[i].begin)), 0);
        assert_ptr_equal(strchr(all, '\n'), all + strlen(all) - 1);
        free(all);
    }
}

static void what_rules_need(void **state)
{
    static const char holding[] = P ".match: needs message_bytes from 1 to 67108864: each message is held until it is judged\n";
    static const struct said cases[] = {
        { WS("message_bytes = 0;"), "" },
        { WS("message_bytes = 67108864; match = ({ name = \"r\"; pattern = \"x\"; });"), "" },
        { WS("message_bytes = 67108865; match = ({ name = \"r\"; pattern = \"x\"; });"), holding },
        { WS("message_bytes = 0; match = ({ name = \"r\"; pattern = \"x\"; });"), holding },
        { WS("client = { message_bytes = 0; }; match = ({ name = \"r\"; pattern = \"x\"; });"), holding },
        { WS("client = { message_bytes = 0; }; match = ({ name = \"r\"; from = \"server\"; pattern = \"x\"; });"), "" },
        { WS("server = { message_bytes = 0; }; match = ({ name = \"r\"; from = \"server\"; pattern = \"x\"; });"), holding },
        { WS("deflate = \"pass\"; match = ({ name = \"r\"; pattern = \"x\"; });"),
          P ".match: reads messages, which deflate = \"pass\" leaves unread\n" },
        { WS("deflate = \"pass\"; match = ();"), "" },
        { WS("deflate = \"pass\"; tunnels = false;"), P ".tunnels: reads messages, which deflate = \"pass\" leaves unread\n" },
        { WS("deflate = \"deny\"; tunnels = false; match = ({ name = \"r\"; pattern = \"x\"; });"), "" },
    };

    (void)state;
    CHECK(cases);
}

static void rules_that_do_nothing(void **state)
{
    static const struct said cases[] = {
        { WS("client = { send = false; }; match = ({ name = \"r\"; from = \"client\"; pattern = \"x\"; });"),
          "W " P ".match.r.from: is never asked: this side may not send messages\n" },
        { WS("client = { send = false; }; match = ({ name = \"r\"; pattern = \"x\"; });"), "" },
        { WS("opcodes = \"binary\"; match = ({ name = \"r\"; pattern = \"x\"; });"),
          "W " P ".match.r.pattern: is never asked: opcodes allow no text messages\n" },
        { WS("opcodes = \"binary\"; match = ({ name = \"r\"; json = { }; });"),
          "W " P ".match.r.json: denies every message: opcodes allow only binary ones, which are not JSON\n" },
        { WS("opcodes = \"binary\"; server = { opcodes = \"text\"; }; match = ({ name = \"r\"; json = { }; });"), "" },
        { WS("match = (" TWO "pattern = \"x\"; });"),
          "W " P ".match.b.pattern: is never asked: an earlier rule has the same pattern\n" },
        { WS("match = ({ name = \"a\"; from = \"client\"; pattern = \"x\"; }, { name = \"b\"; pattern = \"x\"; });"), "" },
        { WS("match = (" TWO "from = \"server\"; pattern = \"x\"; });"),
          "W " P ".match.b.pattern: is never asked: an earlier rule has the same pattern\n" },
        { MATCH("pattern = \"x\"; action = \"allow\";"),
          "W " P ".match.r.action: changes nothing: no rule behind it denies, and what no rule fits is allowed\n" },
        { WS("match = ({ name = \"a\"; pattern = \"x\"; action = \"allow\"; }, { name = \"b\"; pattern = \".\"; });"), "" },
        { WS("match = ({ name = \"a\"; from = \"client\"; pattern = \"x\"; action = \"allow\"; },"
             "{ name = \"b\"; from = \"server\"; json = { }; });"),
          "W " P ".match.a.action: changes nothing: no rule behind it denies, and what no rule fits is allowed\n" },
        { MATCH("pattern = \"x\";") "limits = { held_bytes = 33554432; };", "" },
        { MATCH("pattern = \"x\";") "limits = { held_bytes = 33554431; };",
          "W " P ".match: limits.held_bytes has no room for a message of message_bytes as it came and as it reads\n" },
        { WS("client = { message_bytes = 0; }; match = ({ name = \"r\"; from = \"server\"; pattern = \"x\"; });") "limits = { "
                                                                                                                  "held_bytes = "
                                                                                                                  "65536; };",
          "W " P ".match: limits.held_bytes has no room for a message of message_bytes as it came and as it reads\n" },
        { WS("message_bytes = 32768; match = ({ name = \"r\"; pattern = \"x\"; });") "limits = { held_bytes = 65536; };", "" },
        { WS("match = ();") "limits = { held_bytes = 65536; };", "" },
        { MATCH("json = { bytes = 16777217; };"), "W " P ".match.r.json.bytes: is never reached: it is more than message_bytes\n" },
    };

    (void)state;
    CHECK(cases);
}

static void bounds_that_do_nothing(void **state)
{
    static const char never[] = "W " P ".server.messages_per_second: is never looked at: this side may not send messages\n"
                                "W " P ".server.bytes_per_second: is never looked at: this side may not send messages\n"
                                "W " P ".server.first: is never looked at: this side may not send messages\n"
                                "W " P ".server.messages_per_client_message: is never looked at: this side may not send messages\n"
                                "W " P ".server.bytes_per_client_byte: is never looked at: this side may not send messages\n"
                                "W " P ".server.quiet_after: is never looked at: this side may not send messages\n";
    static const struct said cases[] = {
        { WS("server = { send = false; messages_per_second = 1; bytes_per_second = 1; first = false;"
             "messages_per_client_message = 1; bytes_per_client_byte = 1; quiet_after = 1; };"),
          never },
        { WS("server = { first = false; messages_per_client_message = 1; };"), "" },
        { WS("client = { send = false; bytes_per_second = 1; };"),
          "W " P ".client.bytes_per_second: is never looked at: this side may not send messages\n" },
        { WS("client = { send = false; };"), "" },
        { WS("client = { send = false; }; server = { send = false; };"), "W " P ": neither side may send messages\n" },
        { WS("client = { send = false; }; server = { first = false; };"),
          "W " P ".server.first: neither side may send messages: the client may not, and the server may not before it\n" },
        { WS("message_bytes = 100; frame_bytes = 100;"), "" },
        { WS("message_bytes = 100; client = { frame_bytes = 101; };"),
          "W " P ".client.frame_bytes: is never reached: it is more than message_bytes\n" },
        { WS("message_bytes = 0; frame_bytes = 101;"), "" },
        { WS("client = { burst = 2; };"), "W " P ".client.burst: means nothing without messages_per_second or bytes_per_second\n" },
        { WS("client = { burst = 2; bytes_per_second = 1; }; server = { burst = 1; };"), "" },
        { WS("inflate_ratio = 101;"), "W " P ".inflate_ratio: means nothing unless deflate is \"inspect\"\n" },
        { WS("opcodes = \"text\"; tunnels = false;"), "W " P ".tunnels: means nothing: no binary messages are allowed\n" },
        { WS("opcodes = \"text\"; client = { opcodes = \"binary\"; }; tunnels = false;"), "" },
        { WS("streams = 2; streams_per_client = 2;"), "" },
        { WS("streams = 2; streams_per_client = 3;"), "W " P ".streams_per_client: is never reached: it is more than streams\n" },
        { WS("client = { send = false; }; server = { messages_per_client_message = 1; bytes_per_client_byte = 1; quiet_after = 1; "
             "};"),
          "W " P ".server.messages_per_client_message: is for the whole stream: the client may not send messages\n"
          "W " P ".server.bytes_per_client_byte: is for the whole stream: the client may not send messages\n"
          "W " P ".server.quiet_after: is for the whole stream: the client may not send messages\n" },
        { WS("streams_per_client = 3;"), "" },
        { WS("age = 10; idle = 9.999; ping_interval = 9.999;"), "" },
        { WS("age = 10; idle = 10;"), "W " P ".idle: is never reached: it is not less than age\n" },
        { WS("age = 10; ping_interval = 11;"), "W " P ".ping_interval: is never reached: it is not less than age\n" },
        { WS("idle = 10; ping_interval = 11;"), "" }, /* one side speaks, the other is asked */
    };

    (void)state;
    CHECK(cases);
}

/* The one policy of a text that must be accepted; the snapshot is freed by the caller. */
static const struct conf_websocket *parse(const char *text, struct conf **conf)
{
    struct conf_messages messages;

    *conf = conf_parse("f", span_str(text), &messages);
    if (*conf == NULL)
        print_error("%s\n", messages.errors[0]);
    assert_non_null(*conf);
    conf_messages_fini(&messages);
    return &(*conf)->policies[0].websocket;
}

static void check_side_defaults(const struct conf_ws_side *side)
{
    assert_true(side->send);
    assert_int_equal(side->opcodes, CONF_TEXT | CONF_BINARY);
    assert_int_equal(side->message_bytes, 16777216);
    assert_int_equal(side->frame_bytes, 0);
    assert_int_equal(side->fragments, 131072);
    assert_int_equal(side->control_frames, 100);
    assert_int_equal(side->messages_per_second, 0);
    assert_int_equal(side->bytes_per_second, 0);
    assert_int_equal(side->burst, 1000);
}

static void defaults(void **state)
{
    static const char *const texts[] = { POLICY("from = \"in\";"), WS("") };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct conf *conf;
        const struct conf_websocket *ws = parse(texts[i], &conf);

        assert_int_equal(ws->line, i);
        assert_int_equal(ws->origins.count + ws->subprotocols.count + ws->match_count, 0);
        assert_true(ws->origin_required);
        assert_int_equal(ws->deflate, DEFLATE_STRIP);
        assert_int_equal(ws->inflate_ratio, 100);
        check_side_defaults(&ws->sides[UP]);
        check_side_defaults(&ws->sides[DOWN]);
        assert_true(ws->server_first);
        assert_int_equal(ws->messages_per_client_message, 0);
        assert_int_equal(ws->bytes_per_client_byte, 0);
        assert_int_equal(ws->quiet_after, 0);
        assert_int_equal(ws->ping_interval, 0);
        assert_int_equal(ws->idle, 0);
        assert_int_equal(ws->age, 0);
        assert_int_equal(ws->streams, 0);
        assert_int_equal(ws->streams_per_client, 0);
        assert_true(ws->tunnels);
        assert_int_equal(ws->on_violation, VIOLATION_CLOSE);
        conf_free(conf);
    }
}

/* What is said of both sides holds for both, and what a side says of itself comes before it, wherever it stands. */
static void both_sides_and_one(void **state)
{
    struct conf *conf;
    const struct conf_websocket *ws =
        parse(WS("server = { opcodes = \"text\"; fragments = 0; control_frames = 4; };"
                 "opcodes = \"binary\"; message_bytes = 1; frame_bytes = 1; fragments = 2; control_frames = 3;"
                 "client = { message_bytes = 4611686018427387904L; send = false; messages_per_second = 5; bytes_per_second = 6;"
                 " burst = 0.25; };"),
              &conf);
    const struct conf_ws_side *client = &ws->sides[UP], *server = &ws->sides[DOWN];

    (void)state;
    assert_int_equal(client->opcodes, CONF_BINARY);
    assert_int_equal(server->opcodes, CONF_TEXT);
    assert_true(client->message_bytes == 1ull << 62);
    assert_int_equal(server->message_bytes, 1);
    assert_int_equal(client->frame_bytes, 1);
    assert_int_equal(server->frame_bytes, 1);
    assert_int_equal(client->fragments, 2);
    assert_int_equal(server->fragments, 0);
    assert_int_equal(client->control_frames, 3);
    assert_int_equal(server->control_frames, 4);
    assert_false(client->send);
    assert_true(server->send);
    assert_int_equal(client->messages_per_second, 5);
    assert_int_equal(client->bytes_per_second, 6);
    assert_int_equal(client->burst, 250);
    assert_int_equal(server->messages_per_second, 0);
    assert_int_equal(server->burst, 1000);
    conf_free(conf);
}

static void rules(void **state)
{
    struct conf *conf;
    const struct conf_websocket *ws =
        parse(WS("server = { first = false; messages_per_client_message = 1; bytes_per_client_byte = 2; quiet_after = 3.5; };"
                 "match = ({ name = \"a\"; from = \"server\"; pattern = \"x\\\\d\"; action = \"allow\"; },\n"
                 "{ name = \"b\"; json = { bytes = 9; required = [ \"a\", \"b.c\" ]; }; },"
                 "{ name = \"c\"; from = [ \"client\" ]; json = { depth = 1000; forbidden = \"d\"; }; });"),
              &conf);
    const struct conf_ws_match *m = ws->matches;

    (void)state;
    assert_false(ws->server_first);
    assert_int_equal(ws->messages_per_client_message, 1);
    assert_int_equal(ws->bytes_per_client_byte, 2);
    assert_int_equal(ws->quiet_after, 3500);
    assert_int_equal(ws->match_count, 3);
    assert_string_equal(m[0].name, "a");
    assert_true(!m[0].of_client && m[0].of_server && m[0].allow && !m[0].json);
    assert_string_equal(m[0].pattern, "x\\d");
    assert_int_equal(m[1].line, 2);
    assert_true(m[1].of_client && m[1].of_server && !m[1].allow && m[1].json);
    assert_null(m[1].pattern);
    assert_int_equal(m[1].json_bytes, 9);
    assert_int_equal(m[1].json_depth, 32);
    assert_int_equal(m[1].required.count, 2);
    assert_string_equal(m[1].required.items[1], "b.c");
    assert_int_equal(m[1].forbidden.count, 0);
    assert_true(m[2].of_client && !m[2].of_server);
    assert_int_equal(m[2].json_depth, 1000);
    assert_string_equal(m[2].forbidden.items[0], "d");
    conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_that_are_refused), cmocka_unit_test(rules_that_are_refused),
        cmocka_unit_test(what_rules_need),         cmocka_unit_test(rules_that_do_nothing),
        cmocka_unit_test(bounds_that_do_nothing),  cmocka_unit_test(defaults),
        cmocka_unit_test(both_sides_and_one),      cmocka_unit_test(rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
