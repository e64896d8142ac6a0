/* SPDX-License-Identifier: ISC */
/*
 * The real session code between scripted clients and scripted servers, over loopback, on a clock that the input moves. The input is
 * a list of steps: who says what, when the loop turns, who goes. For any input this must hold:
 *
 *   - what a server is sent is strict HTTP/1.1 or, after an upgrade, strict frames;
 *   - an answer that a server gave when it owed none reaches no client, and one that it owed only the client that it was owed to:
 * each answer carries a mark, and each request says whose it is;
 *   - the loop comes to rest, and no session outlives the last timeout;
 *   - nothing leaks, nothing crashes (sanitizers).
 *
 * Whether an answer is owed is known while a server has said whole messages only; after other bytes (WILD) its marks are still
 * bound to the client whose request was last, and none may pass before a first request.
 */
#include "../wire/wire_dial.h"
#include "session_ends.h"
#include "session_world.h"

#include "base/clock.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 48
#define TURNS_MAX 20000
#define SIDES 4

/* The low four bits of a step; the next two say which client or (from the latest) server; the next one spares the turn behind it.
 */
enum op {
    OP_CLIENT_SAYS,
    OP_CLIENT_BYTES,
    OP_CLIENT_ENDS,
    OP_CLIENT_RESETS,
    OP_CLIENT_PAUSES,
    OP_SERVER_SAYS,
    OP_SERVER_BYTES,
    OP_SERVER_ENDS,
    OP_SERVER_RESETS,
    OP_SERVER_PAUSES,
    OP_ADVANCE,
    OP_RELOAD,
    OP_KILL,
    OP_DRAIN,
    OP_FLOOD,
    OP_TURN
};

static void take_dials(void)
{
    struct addr to, tunnel;
    int fd;

    REQUIRE(addr_parse(&tunnel, SPAN(TUNNEL_HOST), 0));
    while ((fd = wire_take_dial(&to)) >= 0) {
        struct end spare = { .fd = fd };

        if (h.origin_count == ORIGINS) {
            reset_end(&spare);
            continue;
        }
        struct origin *o = &h.origins[h.origin_count++];

        memset(o, 0, offsetof(struct origin, bytes));
        o->end.fd = fd;
        o->reading = addr_same_ip(&to, &tunnel) ? READ_ANYTHING : READ_HEAD;
    }
}

static void turn(void)
{
    unsigned idle = 0;

    for (unsigned i = 0; idle < 3; i++) {
        REQUIRE(i < TURNS_MAX);
        idle = loop_turn(h.loop) ? 0 : idle + 1;
    }
    take_dials();
    for (unsigned i = 0; i < CLIENTS; i++)
        read_client(i);
    for (unsigned i = 0; i < h.origin_count; i++)
        read_origin(&h.origins[i]);
}

static void say(struct end *e, const char *bytes, size_t len)
{
    if (e->fd >= 0 && !e->ended && len > 0 && send(e->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        REQUIRE(errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
}

/* In some pieces, with a turn between two of them. */
static void say_pieces(struct end *e, const char *bytes, size_t len, unsigned pieces)
{
    for (size_t at = 0; at < len;) {
        size_t n = len / pieces + 1 < len - at ? len / pieces + 1 : len - at;

        say(e, bytes + at, n);
        at += n;
        if (at < len)
            turn();
    }
}

/* Fills in what stands for client and mark. */
static size_t fill(char *out, struct span text, unsigned client, const char *mark)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] != '%') {
            out[len++] = text.at[i];
        } else if (text.at[++i] == 'c') {
            out[len++] = (char)('0' + client);
        } else {
            memcpy(out + len, mark, MARK_BYTES);
            len += MARK_BYTES;
        }
    }
    return len;
}

static void open_client(unsigned client)
{
    const struct conf_listener *listener = &h.generations[0]->conf->listeners[client >= 2 ? client - 1 : 0];
    struct end *c = &h.clients[client];
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct addr address, original = listener->address;
    int fds[2];

    if (listener->mode == MODE_TRANSPARENT)
        REQUIRE(addr_parse_port(&original, h.opened++ % 2 ? SPAN("93.184.216.34:80") : SPAN(TUNNEL_HOST ":443")));
    if (c->fd >= 0)
        return;
    wire_pair(fds);
    REQUIRE(getpeername(fds[1], (struct sockaddr *)&sa, &len) == 0 && addr_from_sockaddr(&address, (struct sockaddr *)&sa, len));
    *c = (struct end){ .fd = fds[0] };
    engine_accept(h.engine, fds[1], &address, &listener->address, &original, ORIGINAL_FOUND);
}

static void client_says(unsigned client, uint8_t argument)
{
    static const unsigned count = sizeof(client_messages) / sizeof(client_messages[0]);
    char text[1024];

    say_pieces(&h.clients[client], text, fill(text, client_messages[argument % 32 % count], client, ""), 1 + argument / 32);
}

/* Who may see what this server says now? */
static uint8_t allowed_now(const struct origin *o)
{
    if (o->reading == READ_ANYTHING)
        return ANYBODY;
    if (o->heads == 0 || (o->reading != READ_FRAMES && !o->is_wild && o->heads <= o->answers))
        return 0;
    return o->owner;
}

/* What it said changes what it owes, and what it may be sent. */
static void count_answer(struct origin *o, enum effect effect)
{
    bool owed = o->heads > o->answers && !o->is_wild;

    if (o->reading == READ_ANYTHING || o->reading == READ_FRAMES || effect == INTERIM)
        return;
    if (effect == FINAL && owed && !o->is_head) {
        o->answers++;
        if (o->reading == READ_NOTHING)
            o->reading = READ_HEAD;
    } else if (effect == SWITCH && owed && o->reading == READ_NOTHING) {
        o->reading = READ_FRAMES;
        ws_reader_init(&o->frames, WS_CLIENT);
    } else {
        o->is_wild = true; /* from here on it is not known what belongs to what */
        if (o->reading == READ_NOTHING)
            o->reading = READ_ANYTHING;
    }
}

static void server_says(struct origin *o, uint8_t argument)
{
    static const unsigned count = sizeof(server_messages) / sizeof(server_messages[0]);
    unsigned i = argument % 32 % count;
    char text[1024], mark[MARK_BYTES + 1];

    if (h.marks == MARKS || o->end.paused)
        return;
    read_origin(o);
    h.allowed[h.marks] = allowed_now(o);
    snprintf(mark, sizeof(mark), "~%016llx~", (unsigned long long)mark_value(h.marks++));
    count_answer(o, server_messages[i].effect);
    say_pieces(&o->end, text, fill(text, server_messages[i].text, 0, mark), 1 + argument / 32);
}

static void end_side(struct end *e)
{
    if (e->fd >= 0 && !e->ended)
        shutdown(e->fd, SHUT_WR);
    e->ended = true;
}

static void advance(uint64_t ms)
{
    clock_set(h.now += ms);
    turn();
}

static void server_bytes(struct origin *o, const char *bytes, size_t len)
{
    o->is_wild = true;
    if (o->reading == READ_NOTHING)
        o->reading = READ_ANYTHING;
    say(&o->end, bytes, len);
}

static void flood(struct end *c, struct origin *o, bool is_server)
{
    static char bytes[30000];

    memset(bytes, 'x', sizeof(bytes));
    if (!is_server)
        say(c, bytes, sizeof(bytes));
    else if (o != NULL)
        server_bytes(o, bytes, sizeof(bytes));
}

static void on_empty(void *arg)
{
    (void)arg;
}

static void drain(uint64_t ms)
{
    if (!h.draining)
        engine_drain(h.engine, ms, on_empty, NULL);
    h.draining = true;
}

static void client_step(enum op op, unsigned client, struct span argument)
{
    struct end *c = &h.clients[client];

    if (!h.draining && op <= OP_CLIENT_BYTES)
        open_client(client);
    if (op == OP_CLIENT_SAYS)
        client_says(client, (uint8_t)argument.len);
    else if (op == OP_CLIENT_BYTES && memmem(argument.at, argument.len, "wner", 4) == NULL) /* nobody speaks for another */
        say(c, argument.at, argument.len);
    else if (op == OP_CLIENT_ENDS)
        end_side(c);
    else if (op == OP_CLIENT_RESETS)
        reset_end(c);
    else if (op == OP_CLIENT_PAUSES)
        c->paused = !c->paused;
}

static void server_step(enum op op, struct origin *o, struct span argument)
{
    if (op == OP_SERVER_SAYS)
        server_says(o, (uint8_t)argument.len);
    else if (op == OP_SERVER_BYTES)
        server_bytes(o, argument.at, argument.len);
    else if (op == OP_SERVER_ENDS)
        end_side(&o->end);
    else if (op == OP_SERVER_RESETS)
        reset_end(&o->end);
    else
        o->end.paused = !o->end.paused;
}

/* One step; `argument.len` is the byte behind it, `argument.at` the bytes behind that for those that say them. */
static void step(enum op op, unsigned who, struct span argument)
{
    struct origin *o = who < h.origin_count ? &h.origins[h.origin_count - 1 - who] : NULL;

    switch (op) {
    case OP_CLIENT_SAYS:
    case OP_CLIENT_BYTES:
    case OP_CLIENT_ENDS:
    case OP_CLIENT_RESETS:
    case OP_CLIENT_PAUSES:
        client_step(op, who, argument);
        break;
    case OP_SERVER_SAYS:
    case OP_SERVER_BYTES:
    case OP_SERVER_ENDS:
    case OP_SERVER_RESETS:
    case OP_SERVER_PAUSES:
        if (o != NULL)
            server_step(op, o, argument);
        break;
    case OP_ADVANCE:
        advance(argument.len * 50);
        break;
    case OP_RELOAD:
        h.generation ^= 1;
        engine_set_generation(h.engine, h.generations[h.generation]);
        break;
    case OP_KILL:
        engine_kill(h.engine, 1 + argument.len % 8);
        break;
    case OP_DRAIN:
        drain(argument.len * 50);
        break;
    case OP_FLOOD:
        flood(&h.clients[who], o, argument.len % 2);
        break;
    case OP_TURN:
        turn();
        break;
    }
}

static struct generation *make_generation(const char *action)
{
    char text[sizeof(script_config) + 16];

    snprintf(text, sizeof(text), script_config, action);
    return world_generation(text, script_hosts, action[0] == 'a' ? 1 : 2);
}

/* What all inputs share. */
static void begin_process(void)
{
    world_open(&h.shard, &h.ring, &h.ring_memory);
    h.generations[0] = make_generation("allow");
    h.generations[1] = make_generation("deny");
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
    for (unsigned i = 0; i < CLIENTS; i++)
        h.clients[i] = (struct end){ .fd = -1 };
    h.origin_count = h.marks = h.opened = 0;
    h.draining = false;
}

/* Everybody goes (with a reset, which leaves no port behind); then every session must end by its timeouts alone. */
static void finish(void)
{
    struct record record;

    for (unsigned i = 0; i < CLIENTS; i++)
        reset_end(&h.clients[i]);
    for (unsigned i = 0; i < h.origin_count; i++)
        reset_end(&h.origins[i].end);
    for (int i = 0; i < 4; i++)
        advance(6000);
    REQUIRE(engine_open_sessions(h.engine) == 0);
    engine_free(h.engine);
    take_dials();
    for (unsigned i = 0; i < h.origin_count; i++)
        reset_end(&h.origins[i].end);
    loop_free(h.loop);
    while (ring_take(&h.ring, &record))
        REQUIRE(record.event < RECORD_EVENT_COUNT && record.row.reason < R_COUNT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = { (const char *)data, size };

    begin();
    for (int i = 0; i < STEPS && rest.len >= 2; i++) {
        uint8_t first = (uint8_t)rest.at[0];
        enum op op = (enum op)(first % 16);
        struct span argument = { rest.at + 2, (uint8_t)rest.at[1] };

        rest = span_skip(rest, 2);
        if (op == OP_CLIENT_BYTES || op == OP_SERVER_BYTES) {
            argument.len = argument.len < rest.len ? argument.len : rest.len;
            rest = span_skip(rest, argument.len);
        }
        step(op, first / 16 % SIDES, argument);
        if (!(first & 0x40))
            turn();
    }
    finish();
    return 0;
}
