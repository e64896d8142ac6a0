/* SPDX-License-Identifier: ISC */
/*
 * One WebSocket through the real session code, between a client and a server that say what the input asks for, valid or not, whole
 * or in pieces, under one of several policies (strip, pass, inspect; close, drop, log; rules that hold messages), with reloads that
 * change or forbid it, kills, drains and time. What each end received is judged when all is over (websocket_judge.h):
 *
 *   - it is valid RFC 6455 and RFC 7692, our own frames too, and nothing stands behind a close frame;
 *   - each frame is the next one that the other end sent, byte for byte, or one of ours; none is missing unless the policy drops;
 *   - who always read, answered pings and stayed sees the end of its connection behind a close frame, or within a frame;
 *   - the loop comes to rest, and no session outlives the last timeout.
 */
#include "../wire/wire_dial.h"

#include "base/clock.h"
#include "session/engine.h"
#include "session/session.h"
#include "session/websocket.h"

#include <errno.h>
#include <stddef.h>

#include "session_world.h"
#include "websocket_speaker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 64
#define TURNS_MAX 20000
#define GENERATIONS 3

/* Paths /0 to /7. Generation g gives path p the group (p + 3g) % 8; the second one denies /1, the third one all. */
#define GROUPS 8
static const struct {
    const char *text;
    bool passes, drops, holds;
} groups[GROUPS] = {
    { "", false, false, false },
    { "websocket = { deflate = \"pass\"; };", true, false, false },
    { "websocket = { deflate = \"inspect\"; };", false, false, false },
    { "websocket = { deflate = \"inspect\"; message_bytes = 4096; on_violation = \"drop_message\"; tunnels = false; ping_interval "
      "= 1.0;"
      " match = ( { name = \"word\"; pattern = \"hi\"; } ); };",
      false, true, true },
    { "websocket = { deflate = \"inspect\"; on_violation = \"log\"; opcodes = \"text\"; ping_interval = 1.0; age = 30.0;"
      " client = { messages_per_second = 5; }; };",
      false, false, false },
    { "websocket = { message_bytes = 70000; on_violation = \"drop_message\"; server = { messages_per_client_message = 2; };"
      " match = ( { name = \"json\"; from = \"client\"; json = { depth = 3; }; } ); };",
      false, true, true },
    { "websocket = { deflate = \"inspect\"; message_bytes = 9000; fragments = 4; control_frames = 5; idle = 3.0; tunnels = false;"
      " match = ( { name = \"word\"; pattern = \"hi\"; from = \"server\"; } ); };",
      false, false, true },
    { "websocket = { deflate = \"pass\"; on_violation = \"drop_message\"; ping_interval = 2.0; opcodes = \"binary\";"
      " server = { first = false; }; };",
      true, true, false },
};

/* Offer, answer, and what that means: context of the client's and the server's, and their windows. */
static const struct {
    const char *offer, *answer;
    bool no_context[2];
    int bits[2];
} agreements[] = {
    { "", "", { false, false }, { 15, 15 } },
    { "permessage-deflate", "permessage-deflate", { false, false }, { 15, 15 } },
    { "permessage-deflate; client_max_window_bits",
      "permessage-deflate; client_max_window_bits=10; server_max_window_bits=9",
      { false, false },
      { 10, 9 } },
    { "permessage-deflate; server_no_context_takeover",
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
      { true, true },
      { 15, 15 } },
    { "permessage-deflate; client_no_context_takeover; client_max_window_bits",
      "permessage-deflate; client_no_context_takeover",
      { true, false },
      { 15, 15 } },
};
#define AGREEMENTS (sizeof(agreements) / sizeof(agreements[0]))

static struct harness {
    struct loop *loop;
    struct engine *engine;
    struct generation *generations[GENERATIONS];
    unsigned generation;
    struct shard *shard;
    struct ring ring;
    void *ring_memory;
    uint64_t now;
    bool drained;
    unsigned path;
    struct end ends[2];          /* client, server */
    struct judge_rules rules[2]; /* of what each one receives */
} h;

static void turn(void)
{
    unsigned idle = 0;

    for (unsigned i = 0; idle < 3; i++) {
        REQUIRE(i < TURNS_MAX);
        idle = loop_turn(h.loop) ? 0 : idle + 1;
    }
}

static void settle(void)
{
    turn();
    hear(&h.ends[0]);
    hear(&h.ends[1]);
}

static void advance(uint64_t ms)
{
    for (uint64_t end = h.now + ms; h.now < end;) {
        clock_set(h.now += end - h.now < 100 ? end - h.now : 100);
        settle();
        for (unsigned i = 0; i < 2; i++) /* who is lively answers at once */
            if (h.ends[i].lively)
                flush(&h.ends[i], SAID_MAX);
        settle();
    }
}

static struct generation *make_generation(unsigned number)
{
    static char text[8192];
    size_t n;

    n = (size_t)snprintf(text, sizeof(text),
                         "zones = ( { name = \"inside\"; networks = [ \"127.0.0.0/8\" ]; } );\n"
                         "timeouts = { tunnel_idle = 60.0; message = 4.0; };\n"
                         "listeners = ( { name = \"app\"; mode = \"reverse\"; address = \"127.0.0.1:8080\"; upstreams = [ "
                         "\"93.184.216.34:80\" ]; } );\n"
                         "policies = ( { name = \"no\"; paths = \"/%s\"; action = \"deny\"; }",
                         number == 2   ? "*"
                         : number == 1 ? "1"
                                       : "x");
    for (unsigned p = 0; p < GROUPS; p++)
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              ",\n{ name = \"p%u\"; paths = \"/%u\"; protocols = \"websocket\"; action = \"allow\"; %s }", p, p,
                              groups[(p + 3 * number) % GROUPS].text);
    snprintf(text + n, sizeof(text) - n, " );\n");
    return world_generation(text, "", (uint16_t)(number + 1));
}

/* What all inputs share. */
static void begin_process(void)
{
    world_open(&h.shard, &h.ring, &h.ring_memory);
    for (unsigned i = 0; i < GENERATIONS; i++)
        h.generations[i] = make_generation(i);
    h.now = 1000000;
}

static void begin(void)
{
    if (h.shard == NULL)
        begin_process();
    clock_set(h.now += 100000);
    h.loop = loop_new();
    h.engine = world_engine(h.loop, &h.shard, &h.ring);
    engine_set_generation(h.engine, h.generations[h.generation = 0]);
    h.drained = false;
}

static void note_group(void)
{
    unsigned group = (h.path + 3 * h.generation) % GROUPS;

    for (unsigned i = 0; i < 2; i++) {
        h.rules[i].may_drop |= groups[group].drops;
        h.rules[i].may_hold |= groups[group].holds;
        h.rules[i].reads_compressed &= !groups[group].passes;
    }
}

static void say_text(int fd, const char *text)
{
    REQUIRE(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* Reads a head, and nothing behind it: nobody has said a frame yet. */
static bool read_head(struct end *e, const char *begin)
{
    bool good;

    hear(e);
    good = e->got_len > strlen(begin) && memcmp(e->got, begin, strlen(begin)) == 0;
    REQUIRE(!good || memmem(e->got, e->got_len, "\r\n\r\n", 4) == e->got + e->got_len - 4);
    e->got_len = 0;
    e->head_len = good;
    return good;
}

static void open_client(void)
{
    const struct conf_listener *listener = &h.generations[0]->conf->listeners[0];
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct addr address;
    int fds[2];

    wire_pair(fds);
    REQUIRE(getpeername(fds[1], (struct sockaddr *)&sa, &len) == 0 && addr_from_sockaddr(&address, (struct sockaddr *)&sa, len));
    end_init(&h.ends[0], fds[0], true);
    end_init(&h.ends[1], -1, false);
    engine_accept(h.engine, fds[1], &address, &listener->address, &listener->address, ORIGINAL_FOUND);
}

static void set_rules(unsigned agreement, bool on)
{
    for (unsigned i = 0; i < 2; i++) { /* of what end i says, and the other one receives */
        struct end *e = &h.ends[i];
        bool no_context = agreements[agreement].no_context[i];
        int bits = agreements[agreement].bits[i];

        e->deflates = on;
        e->no_context = no_context;
        REQUIRE(deflateInit2(&e->zlib, 6, Z_DEFLATED, -bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
        h.rules[1 - i] = (struct judge_rules){ i == 0, on, no_context, bits, true, false, false };
    }
}

/* Both handshakes; false: no WebSocket comes of them. */
static bool open_websocket(struct choices *c)
{
    unsigned agreement = choose(c, AGREEMENTS);
    char text[600];
    struct addr to;
    bool on;

    h.path = choose(c, GROUPS);
    if (groups[h.path].holds && groups[h.path].drops && agreement != 0)
        agreement = 3;
    open_client();
    h.ends[0].lively = choose(c, 8) != 0;
    h.ends[1].lively = choose(c, 8) != 0;
    snprintf(text, sizeof(text),
             "GET /%u HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s\r\n\r\n",
             h.path, agreement ? "Sec-WebSocket-Extensions: " : "X: ", agreements[agreement].offer);
    say_text(h.ends[0].fd, text);
    turn();
    h.ends[1].fd = wire_take_dial(&to);
    REQUIRE(h.ends[1].fd >= 0);
    turn();
    hear(&h.ends[1]);
    on = memmem(h.ends[1].got, h.ends[1].got_len, "permessage-deflate", 18) != NULL;
    set_rules(agreement, on);
    REQUIRE(read_head(&h.ends[1], "GET /"));
    snprintf(text, sizeof(text),
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n%s%s\r\n\r\n",
             on ? "Sec-WebSocket-Extensions: " : "X: ", on ? agreements[agreement].answer : "");
    say_text(h.ends[1].fd, text);
    turn();
    note_group();
    return read_head(&h.ends[0], "HTTP/1.1 101");
}

static void on_empty(void *arg)
{
    (void)arg;
}

static void reload(unsigned generation)
{
    h.generation = generation;
    engine_set_generation(h.engine, h.generations[generation]);
    note_group();
}

/* Rare ones. */
static void disturb(struct end *e, struct choices *c)
{
    switch (choose(c, 12)) {
    case 0:
        if (e->fd >= 0 && !e->shut && shutdown(e->fd, SHUT_WR) == 0)
            e->shut = e->unfair = true;
        break;
    case 1:
        reset_end(e);
        break;
    case 2:
        e->paused = !e->paused;
        e->unfair = true;
        break;
    case 3:
        engine_kill(h.engine, 1);
        break;
    case 4:
        if (!h.drained)
            engine_drain(h.engine, 1000, on_empty, NULL);
        h.drained = true;
        break;
    case 5:
        reload(2);
        break;
    default:
        reload(choose(c, 2));
        break;
    }
}

static void step(struct choices *c)
{
    static const size_t pieces[] = { SAID_MAX, SAID_MAX, SAID_MAX, 1, 3, 50, 2000, 0 };
    unsigned what = choose(c, 64);
    struct end *e = &h.ends[what % 2];

    what /= 2;
    if (what < 16)
        say_data(e, c);
    else if (what < 20)
        say_control(e, c);
    else if (what == 20)
        say_close(e, c);
    else if (what == 21)
        say_wrong(e, c);
    else if (what == 22)
        disturb(e, c);
    else if (what == 23)
        reload(choose(c, 2));
    else if (what == 24)
        advance(100 * choose(c, 40));
    flush(e, pieces[choose(c, 8)]);
    if (choose(c, 8) != 0)
        settle();
}

/* Who went without being asked for an answer: an end that says nothing to pings gets no close frame. */
static enum closer dead_side(void)
{
    enum closer by = CLOSER_NONE;
    struct record record;

    while (ring_take(&h.ring, &record)) {
        REQUIRE(record.event < RECORD_EVENT_COUNT && record.row.reason < R_COUNT);
        if (record.event == RECORD_END && record.row.reason == R_TIMEOUT_PING)
            by = (enum closer)record.row.closed_by;
    }
    return by;
}

static void judge_ends(void)
{
    static struct judge judge;
    enum closer dead = dead_side();

    for (unsigned i = 0; i < 2; i++) {
        struct end *e = &h.ends[i], *other = &h.ends[1 - i];

        judge_stream(&judge, &h.rules[i], (struct bytes){ e->got, e->got_len }, (struct bytes){ other->said, other->said_len });
        if (e->over && !e->unfair && !e->said_close && dead != (i == 0 ? CLOSER_CLIENT : CLOSER_SERVER))
            REQUIRE(judge.closed || judge.inside);
    }
}

/* Everybody says what is left, and then goes; every session must end by its timeouts alone. */
static void finish(bool opened)
{
    for (unsigned i = 0; i < 64 && opened; i++) {
        for (unsigned k = 0; k < 2; k++)
            flush(&h.ends[k], SAID_MAX);
        settle();
    }
    if (opened)
        judge_ends();
    for (unsigned i = 0; i < 2; i++) {
        reset_end(&h.ends[i]);
        deflateEnd(&h.ends[i].zlib);
    }
    for (int i = 0; i < 4; i++) {
        clock_set(h.now += 6000);
        turn();
    }
    REQUIRE(engine_open_sessions(h.engine) == 0);
    engine_free(h.engine);
    loop_free(h.loop);
    dead_side();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct choices choices = { data, size };
    bool opened;

    begin();
    opened = open_websocket(&choices);
    for (unsigned i = 0; i < STEPS && opened && choices.len > 0; i++)
        step(&choices);
    finish(opened);
    return 0;
}
