/* SPDX-License-Identifier: ISC */
/*
 * The life of a session, and the table of its phases: the security rule of Postern can be read down one column. Where on_server is
 * NULL the server may not speak, and nothing reads its socket.
 *
 * Nothing is freed inside a callback: session_close() ends all activity, writes the record, frees the row, unlinks the session and
 * puts it on the dead list, which the engine reaps at the end of the loop's turn. Until then it is there, in phase dead, for
 * whoever still holds it.
 */
#include "session/handshake.h"
#include "session/state.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef bool handler(struct session *s);

#define TO(p) (1u << PHASE_##p)

static const struct {
    handler *on_client;
    handler *on_server; /* NULL: the server may not speak */
    enum row_state state;
    unsigned next; /* legal successors */
} phases[PHASE_COUNT] = {
    [PHASE_SNIFF] = { sniff_on_client, NULL, ROW_NEW, TO(SOCKS) | TO(HANDSHAKE) | TO(HTTP) | TO(TUNNEL_WAIT) | TO(CLOSING) },
    [PHASE_SOCKS] = { socks_on_client, NULL, ROW_NEW, TO(TUNNEL_WAIT) | TO(CLOSING) },
    [PHASE_HANDSHAKE] = { NULL, NULL, ROW_ESTABLISHED, TO(SNIFF) | TO(HTTP) | TO(CLOSING) },
    [PHASE_HTTP] = { request_on_client, answer_on_server, ROW_ESTABLISHED, TO(TUNNEL_WAIT) | TO(UPGRADE_WAIT) | TO(CLOSING) },
    [PHASE_TUNNEL_WAIT] = { NULL, NULL, ROW_ESTABLISHED, TO(PEEK) | TO(HANDSHAKE) | TO(TUNNEL) | TO(CLOSING) },
    [PHASE_PEEK] = { peek_on_client, peek_on_server, ROW_ESTABLISHED,
                     TO(SNIFF) | TO(HANDSHAKE) | TO(HTTP) | TO(TUNNEL) | TO(CLOSING) },
    [PHASE_TUNNEL] = { tunnel_on_client, tunnel_on_server, ROW_ESTABLISHED, TO(CLOSING) },
    [PHASE_UPGRADE_WAIT] = { NULL, answer_on_server, ROW_ESTABLISHED, TO(HTTP) | TO(WEBSOCKET) | TO(CLOSING) },
    [PHASE_WEBSOCKET] = { websocket_on_client, websocket_on_server, ROW_ESTABLISHED, TO(CLOSING) },
    [PHASE_CLOSING] = { closing_on_client, closing_on_server, ROW_CLOSING, 0 },
    [PHASE_DEAD] = { NULL, NULL, ROW_CLOSED, 0 },
};

bool session_is_dead(const struct session *s)
{
    return s->phase == PHASE_DEAD;
}

enum reason session_refusal(const struct session *s)
{
    if (s->refused != R_NONE)
        return s->refused;
    return s->engine->pressure.level == PRESSURE_FULL ? R_OVERLOAD : R_NONE;
}

void session_set_phase(struct session *s, enum phase phase)
{
    if (phase != PHASE_DEAD && !(phases[s->phase].next & (1u << phase)))
        fatal("session %u-%llu: phase %s does not follow %s", s->engine->args.worker, (unsigned long long)s->row->number,
              phase_name(phase), phase_name(s->phase));
    s->phase = phase;
    s->phase_since = s->progress = clock_ms();
    s->row->phase = (uint8_t)phase;
    s->row->state = (uint8_t)phases[phase].state;
}

static void on_ready(void *owner)
{
    session_run(owner);
}

static bool run_handler(struct session *s, handler *h, struct stream *side)
{
    return h != NULL && stream_is_open(side) && stream_has_input(side) && h(s);
}

/*
 * A reset, or a write that failed, ends the session when it is the client's; the server's is the business of its handler, and that
 * of a WebSocket, too: its server is told, and gets what waits for it.
 */
static bool client_is_lost(struct session *s)
{
    if (!s->client.broken || session_is_dead(s))
        return false;
    if (s->websocket != NULL) {
        if (s->phase == PHASE_WEBSOCKET)
            websocket_broken(s);
        return false;
    }
    session_close(s, s->phase == PHASE_CLOSING ? R_NONE : handshake_lost(s), CLOSER_CLIENT);
    return true;
}

/* Sends what waits; true if whoever feeds this side had to stop and may go on now. */
static bool flush(struct session *s, struct stream *side)
{
    uint32_t waited = stream_waiting(side);
    bool was_full = stream_is_full(side);

    stream_flush(side);
    if (stream_waiting(side) < waited)
        session_moved(s, side);
    return was_full && !stream_is_full(side);
}

/* It said its end and we ours: nothing is left to wait for. */
static bool is_over(const struct stream *side)
{
    return !stream_is_open(side) || side->failed || (side->eof && side->shut_sent);
}

static bool client_is_over(const struct session *s)
{
    return is_over(&s->client) || (s->phase == PHASE_CLOSING && s->client_leaves && stream_waiting(&s->client) == 0);
}

static bool close_when_over(struct session *s)
{
    if ((s->phase != PHASE_CLOSING && s->phase != PHASE_TUNNEL) || !client_is_over(s) || !is_over(&s->server))
        return false;
    session_close(s, R_NONE, s->phase == PHASE_TUNNEL ? s->ended_by : CLOSER_POSTERN);
    return true;
}

void session_run(struct session *s)
{
    bool moved = true;

    if (s->running || session_is_dead(s))
        return;
    s->running = true;
    shard_at(s->engine->shard, s->number, s->phase);
    while (moved && !session_is_dead(s)) {
        moved = s->tls != NULL && handshake_run(s);
        if (!session_is_dead(s))
            moved |= run_handler(s, phases[s->phase].on_client, &s->client);
        if (!session_is_dead(s))
            moved |= run_handler(s, phases[s->phase].on_server, &s->server);
        if (session_is_dead(s))
            break;
        moved |= flush(s, &s->server);
        moved |= flush(s, &s->client);
        if (client_is_lost(s) || close_when_over(s))
            break;
    }
    s->running = false;
    if (!session_is_dead(s))
        timers_update(s);
}

static void link_session(struct session *s)
{
    struct engine *e = s->engine;

    s->next = e->sessions;
    s->link = &e->sessions;
    if (s->next != NULL)
        s->next->link = &s->next;
    e->sessions = s;
    e->open++;
    numbers_add(e->numbers, s);
}

static void unlink_session(struct session *s)
{
    *s->link = s->next;
    if (s->next != NULL)
        s->next->link = s->link;
    s->engine->open--;
    numbers_remove(s->engine->numbers, s);
}

const struct conf_listener *session_listener(const struct session *s)
{
    return &s->generation->conf->listeners[s->listener];
}

const struct addr *session_original(const struct session *s)
{
    return session_listener(s)->mode == MODE_TRANSPARENT ? &s->row->destination : NULL;
}

static void fill_row(struct session *s, const struct arrival *arrival)
{
    struct engine *e = s->engine;
    struct judge_context context = engine_judge_context(e, s->generation);
    const struct conf_listener *listener = session_listener(s);
    struct row *row = s->row;
    char interface[IF_NAMESIZE] = "";

    if (zones_need_interfaces(s->generation->conf))
        route_interface_name(e->route, listener_ingress(arrival->fd), interface);
    s->zone_in = judge_zone(&context, &arrival->client, interface);
    row_begin(e->shard, row);
    row->number = s->number;
    row->worker = (uint8_t)e->args.worker;
    row->opened_us = clock_wall_us();
    row->generation = s->generation->number;
    row->mode = (uint8_t)listener->mode;
    row->listener = table_intern(e->shard, listener->name);
    row->interface_in = table_intern(e->shard, interface);
    row->zone_in = table_intern(e->shard, zones_name(s->generation->conf, s->zone_in));
    row->client = arrival->client;
    row->destination = arrival->destination;
    row_end(e->shard, row);
}

/* Everything but the descriptor; NULL: no room. */
static struct session *make_session(struct engine *e, const struct arrival *arrival)
{
    struct session *s = calloc(1, sizeof(*s));

    if (s == NULL || (s->row = row_take(e->shard)) == NULL)
        goto fail;
    if (arrival->refused == R_NONE && !clients_add(e->shard, &arrival->client, 1))
        goto fail;
    s->engine = e;
    s->generation = generation_ref(e->generation);
    s->listener = arrival->listener;
    s->refused = arrival->refused;
    count_add(e->shard, COUNT_SESSIONS_TOLD, s->refused != R_NONE);
    s->number = e->next_number++;
    s->server.fd = -1;
    timer_init(&s->timer, timers_fire, s);
    link_session(s);
    fill_row(s, arrival);
    count_add(e->shard, COUNT_SESSIONS_OPENED, 1);
    count_add(e->shard, COUNT_SESSIONS_OPEN, 1);
    kernel_opened(s);
    return s;
fail:
    if (s != NULL && s->row != NULL)
        row_release(e->shard, s->row);
    free(s);
    return NULL;
}

/* The first phase. What nobody can say where to is no flow of ours: it ends without a byte. */
static void begin(struct session *s)
{
    s->client.can_read = true; /* data often comes with the handshake; a wrong guess costs one read */
    s->phase = session_listener(s)->mode == MODE_REVERSE && session_listener(s)->tls.line == 0 ? PHASE_HTTP : PHASE_SNIFF;
    s->opened = s->phase_since = s->progress = clock_ms();
    s->row->phase = (uint8_t)s->phase;
    s->row->state = ROW_NEW;
    if (s->refused != R_NO_ORIGINAL_DESTINATION && s->refused != R_LOOP) {
        session_run(s);
        return;
    }
    report_event(s, s->refused, CLOSER_POSTERN);
    session_drop(s, s->refused);
}

struct session *session_open(struct engine *e, const struct arrival *arrival)
{
    struct session *s = make_session(e, arrival);

    if (s == NULL) {
        close(arrival->fd);
        return NULL;
    }
    if (!stream_open(&s->client, e->loop, arrival->fd, on_ready, s)) {
        session_close(s, R_INTERNAL, CLOSER_POSTERN);
        return NULL;
    }
    begin(s);
    return s;
}

/* Would an end in order look like success to the client, though it is none? A tunnel, or an answer without a length, that was cut.
 */
static bool end_would_lie(const struct session *s, enum reason why)
{
    if (why == R_NONE)
        return false;
    return s->phase == PHASE_TUNNEL || (s->exchange != NULL && s->exchange->answer_begun && s->exchange->answer_closes);
}

static void end_session(struct session *s, enum reason why, enum closer by, bool reset)
{
    struct engine *e = s->engine;

    report_end(s, RECORD_END, why, by, NULL);
    connect_cancel(s);
    /* What waits is lost: that is no end in order. An end in order lingers, and its packets would be tracked anew. */
    stream_close(&s->client, reset || s->evicted || stream_waiting(&s->client) > 0);
    stream_close(&s->server, why != R_NONE || stream_waiting(&s->server) > 0);
    if (s->websocket != NULL)
        count_sub(e->shard, COUNT_WEBSOCKETS_OPEN, 1);
    exchange_free(s);
    caps_give(s);
    timer_clear(loop_wheel(e->loop), &s->timer);
    count_sub(e->shard, COUNT_SESSIONS_OPEN, 1);
    session_set_phase(s, PHASE_DEAD);
    kernel_closed(s);
    if (s->refused == R_NONE && !clients_add(e->shard, &s->row->client, -1))
        log_debug("a client's count was already gone");
    row_release(e->shard, s->row);
    s->row = NULL;
    count_sub(e->shard, COUNT_SESSIONS_TOLD, s->refused != R_NONE);
    unlink_session(s);
    s->next = e->dead;
    e->dead = s;
}

void session_close(struct session *s, enum reason why, enum closer by)
{
    if (!session_is_dead(s))
        end_session(s, why, by, end_would_lie(s, why));
}

void session_drop(struct session *s, enum reason why)
{
    if (!session_is_dead(s))
        end_session(s, why, CLOSER_POSTERN, true);
}

void session_free(struct session *s)
{
    websocket_free(s);
    standing_free(s);
    if (s->tunnel != NULL)
        free(s->tunnel->judge);
    free(s->tunnel);
    handshake_free(s);
    generation_unref(s->generation);
    free(s);
}

void session_finish(struct session *s, enum reason why, enum closer by)
{
    if (session_is_dead(s) || s->phase == PHASE_CLOSING)
        return;
    if (end_would_lie(s, why) || stream_is_securing(&s->client)) { /* in a handshake there is no end in order */
        session_close(s, why, by);
        return;
    }
    report_end(s, RECORD_END, why, by, NULL);
    if (s->row->reason == R_NONE) {
        s->row->reason = (uint8_t)why;
        s->row->closed_by = (uint8_t)by;
    }
    connect_cancel(s);
    exchange_free(s);
    caps_give(s);
    websocket_stop(s);
    session_set_phase(s, PHASE_CLOSING);
    s->client_leaves = s->client_leaves && !stream_is_secure(&s->client) && !stream_has_input(&s->client);
    if (!s->client_leaves)
        stream_shutdown(&s->client);
    if (ledger_is_settled(&s->ledger))
        connect_drop(s, false); /* idle: nobody waits for its end */
    else if (stream_is_open(&s->server))
        stream_shutdown(&s->server);
}

void session_finish_flow(struct session *s, enum reason why)
{
    if (s->account.open)
        report_end(s, RECORD_END, why, CLOSER_POSTERN, NULL);
    else if (why != R_TIMEOUT_KEEPALIVE)
        report_event(s, why, CLOSER_POSTERN);
    session_finish(s, why, CLOSER_POSTERN);
}

int session_find_listener(const struct session *s, const struct conf *conf)
{
    int listener = engine_find_listener(conf, &session_listener(s)->address);

    if (listener < 0 || (enum mode)s->row->mode != conf->listeners[listener].mode)
        return -1;
    return (conf->listeners[listener].tls.line != 0) == (session_listener(s)->tls.line != 0) ? listener : -1;
}

bool session_adopt_generation(struct session *s)
{
    struct generation *fresh = s->engine->generation;
    struct judge_context context;
    char interface[TABLE_NAME_SIZE];
    int listener;

    if (s->generation == fresh)
        return true;
    listener = session_find_listener(s, fresh->conf);
    if (listener < 0 || handshake_is_outdated(s, fresh, listener))
        return false;
    generation_unref(s->generation);
    s->generation = generation_ref(fresh);
    s->listener = listener;
    context = engine_judge_context(s->engine, fresh);
    s->zone_in = judge_zone(&context, &s->row->client, table_name(s->engine->shard, s->row->interface_in, interface));
    s->row->generation = fresh->number;
    s->row->listener = table_intern(s->engine->shard, session_listener(s)->name);
    s->row->zone_in = table_intern(s->engine->shard, zones_name(fresh->conf, s->zone_in));
    return true;
}

/* What still comes is read and thrown away, so that the kernel does not answer it with a reset that overtakes our last bytes. */
static bool discard(struct stream *side)
{
    struct span input = stream_input(side, true);

    if (!stream_taken(side, input, input.len))
        side->failed = true;
    return input.len > 0;
}

/* Who speaks on behind its last request is waited for after all: what of it comes after close() would be answered with a reset. */
bool closing_on_client(struct session *s)
{
    bool heard = discard(&s->client);

    if (heard && s->client_leaves) {
        s->client_leaves = false;
        stream_shutdown(&s->client);
    }
    return heard;
}

bool closing_on_server(struct session *s)
{
    return discard(&s->server);
}
