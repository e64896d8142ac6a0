/* SPDX-License-Identifier: ISC */
/*
 * The dry run. With a packet filter it begins with the first packet: where it comes in, who gets it, where it would go. What a
 * worker gets becomes the head that a client would send (explain_head.c), and that head takes the way of live requests: the same
 * parser, the same examination, the same stages. Only what happens on the wire is left out. A name is looked up only when the
 * question asks for it; otherwise the answer says how far it got without.
 *
 *   engine_explain      keeps the question; a flow that is no request goes to the packet filter alone
 *   find_destination    what a client would dial that knows of no proxy: for the packet filter and transparent listeners
 *   choose              by which listener, if any
 *   ask                 what a listener would make of it (explain_judge.c)
 *   find_addresses      by whom its name is resolved, if anybody
 */
#include "session/explain_work.h"

#include <stdlib.h>
#include <string.h>

static void free_pending(struct pending *p)
{
    if (p->link != NULL) {
        *p->link = p->next;
        if (p->next != NULL)
            p->next->link = p->link;
    }
    if (p->lookup != NULL)
        resolver_cancel(p->lookup);
    generation_unref(p->generation);
    free(p);
}

void explain_cancel_all(struct engine *e)
{
    while (e->explaining != NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): free_pending() takes the first out of the list */
        free_pending(e->explaining);
}

static const struct conf *conf_of(const struct pending *p)
{
    return p->generation->conf;
}

/* Tells the answer and ends the dry run. */
static void tell(struct pending *p)
{
    p->answer.generation = p->generation;
    p->done(&p->answer, p->arg);
    free_pending(p);
}

static void refuse_question(struct pending *p, const char *error)
{
    p->answer.error = error;
    tell(p);
}

static void answer(struct pending *p, enum reason why)
{
    struct explain_answer *a = &p->answer;
    struct judgement *j = &p->judge;

    a->reason = why;
    a->verdict = j->verdict;
    a->protocol = j->facts.known & KNOWN_PROTOCOL ? j->facts.protocol : 0;
    a->step_count = j->trail_count;
    memcpy(a->steps, j->trail, sizeof(a->steps));
    a->zone_in = j->facts.zone_in;
    a->zone_out = j->facts.zone_out;
    a->listener = j->facts.listener;
    a->host = j->host;
    a->port = j->port;
    if (j->facts.known & KNOWN_ADDRESS)
        a->server = j->facts.server;
    span_show(p->target.path, a->path, sizeof(a->path));
    if (why == R_POLICY_DENIED || why == R_NO_POLICY || why == R_TUNNEL_PROTOCOL)
        a->near_count = rules_near(p->generation->rules, &j->facts, j->last, a->near, NEAR_MISSES);
    tell(p);
}

/* The kernel decides alone: its verdict is the answer. */
static void answer_packet(struct pending *p)
{
    struct explain_answer *a = &p->answer;
    const struct explain_packet *packet = &a->packet;

    a->reason = packet->no_route && packet->verdict.reason == R_NONE && !packet->packet.local ? R_NO_ROUTE : packet->verdict.reason;
    a->verdict = (struct verdict){ .granted = a->reason == R_NONE,
                                   .drop = packet->verdict.fate == PACKET_DROP,
                                   .policy = packet->verdict.policy,
                                   .reason = a->reason };
    a->protocol = packet->packet.protocol;
    a->zone_in = packet->packet.zone_in;
    a->zone_out = packet->packet.zone_out;
    a->listener = -1;
    a->server = packet->packet.server;
    a->port = packet->packet.server.port;
    tell(p);
}

static void judge_packet(struct pending *p, unsigned protocol, const struct addr *to)
{
    struct judge_context context = engine_judge_context(p->engine, p->generation);

    explain_packet(&context, p->engine->route, protocol, &p->query.from, to, p->query.interface, &p->answer.packet);
}

static void set_addresses(struct judgement *j, const struct addr *addresses, size_t count)
{
    for (size_t i = 0; i < count && i < DIAL_ADDRESSES; i++) {
        j->addresses[i] = addresses[i];
        j->addresses[i].port = j->port;
        j->address_count = i + 1;
    }
}

static void take_result(struct pending *p, enum resolver_result result, const struct addr *addresses, size_t count)
{
    if (result == RESOLVER_OK) {
        set_addresses(&p->judge, addresses, count);
        answer(p, explain_rest(p));
    } else {
        answer(p, result == RESOLVER_NO_NAME ? R_NAME_UNRESOLVED : R_NAME_TIMEOUT);
    }
}

static void on_resolved(void *arg, enum resolver_result result, const struct addr *addresses, size_t count)
{
    struct pending *p = arg;

    p->lookup = NULL;
    take_result(p, result, addresses, count);
}

static void find_addresses(struct pending *p)
{
    struct resolver *resolver = p->engine->resolver;
    enum resolver_result result;
    const struct addr *addresses;
    size_t count;

    if (p->query.address.family != 0) {
        set_addresses(&p->judge, &p->query.address, 1);
        answer(p, explain_rest(p));
    } else if (connect_find_local(p->generation, &p->judge)) {
        answer(p, explain_rest(p));
    } else if (resolver_cached(resolver, host_span(&p->judge.dial), &result, &addresses, &count)) {
        take_result(p, result, addresses, count);
    } else if (!p->query.resolve) {
        p->answer.address_unknown = true;
        answer(p, R_NONE);
    } else {
        p->lookup = resolver_ask(resolver, host_span(&p->judge.dial), on_resolved, p);
        if (p->lookup == NULL)
            answer(p, R_MEMORY);
    }
}

static void ask(struct pending *p)
{
    enum reason why = explain_first(p);

    if (p->too_long)
        refuse_question(p, "the question is too long");
    else if (why == R_NONE)
        find_addresses(p);
    else
        answer(p, why);
}

/* The client comes in by the interface that was named, or by which it is reached. */
static int zone_in(const struct pending *p, const struct judge_context *context)
{
    char interface[IF_NAMESIZE] = "";

    if (p->query.interface != NULL)
        return judge_zone(context, &p->query.from, p->query.interface);
    if (context->route != NULL && route_find(context->route, &p->query.from, interface) != ROUTE_FOUND)
        interface[0] = '\0';
    return judge_zone(context, &p->query.from, interface);
}

/* From here on as a session of this listener. */
static void ask_listener(struct pending *p, int listener)
{
    struct judge_context context = engine_judge_context(p->engine, p->generation);
    bool transparent = conf_of(p)->listeners[listener].mode == MODE_TRANSPARENT;

    p->question = (struct examine){ .generation = p->generation,
                                    .listener = &conf_of(p)->listeners[listener],
                                    .original = transparent ? &p->destination : NULL,
                                    .hosts = &p->engine->hosts,
                                    .scratch = p->scratch };
    judge_init(&p->judge, listener, &p->query.from, zone_in(p, &context));
    if (!transparent || p->destination.family != 0) {
        ask(p);
        return;
    }
    /* Without what the client dials nothing can be said but of the flow. */
    p->answer.address_unknown = p->unresolved == R_NONE;
    if (judge_stage(&context, &p->judge, STAGE_FLOW, false) != R_NONE)
        answer(p, p->judge.verdict.reason);
    else
        answer(p, p->unresolved);
}

/* The listener that is asked for, or the first that such a request could come in by. */
static int find_listener(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->listener_count; i++)
        if (name == NULL ? conf->listeners[i].mode == MODE_EXPLICIT : strcmp(conf->listeners[i].name, name) == 0)
            return (int)i;
    return name == NULL && conf->listener_count > 0 ? 0 : -1;
}

/* Does this request go to the listener's own port, because it was asked for or because it is a proxy? */
static bool is_addressed(const struct pending *p, int listener)
{
    enum mode mode = listener >= 0 ? conf_of(p)->listeners[listener].mode : MODE_FORWARDED;

    return mode == MODE_EXPLICIT || (mode == MODE_REVERSE && p->query.listener != NULL);
}

static bool is_reached(enum packet_fate fate, bool addressed)
{
    return fate == PACKET_LISTENER || fate == (addressed ? PACKET_INPUT : PACKET_INTERCEPT);
}

/* With a packet filter: what it makes of a packet to where a client without a proxy would go, and else of one to the proxy. */
static void choose_by_packet(struct pending *p)
{
    struct judge_context context = engine_judge_context(p->engine, p->generation);
    const struct packet_verdict *verdict = &p->answer.packet.verdict;
    int listener = find_listener(conf_of(p), p->query.listener);
    struct addr to = p->destination;
    bool addressed;

    if (to.family == 0) /* interception depends on where it comes from and on the port alone */
        to.family = p->query.from.family;
    judge_packet(p, CONF_TCP, &to);
    if (p->query.listener == NULL && !p->url.connect && is_reached(verdict->fate, false) && verdict->listener >= 0)
        listener = verdict->listener; /* CONNECT is for proxies */
    addressed = is_addressed(p, listener);
    if (addressed) {
        to = explain_packet_to(&context, &conf_of(p)->listeners[listener]);
        judge_packet(p, CONF_TCP, &to);
    } else if (p->destination.family == 0 && verdict->fate != PACKET_INTERCEPT) {
        refuse_question(p, "where the client's packets go is not known: --resolve or --address say it");
        return;
    }
    if (listener >= 0 && is_reached(verdict->fate, addressed) && (addressed || verdict->listener == listener))
        ask_listener(p, listener);
    else
        answer_packet(p);
}

static void choose(struct pending *p)
{
    int listener = find_listener(conf_of(p), p->query.listener);

    if (listener < 0 && (p->query.listener != NULL || conf_of(p)->packet_filter.line == 0))
        refuse_question(p, "there is no such listener");
    else if (conf_of(p)->packet_filter.line != 0)
        choose_by_packet(p);
    else
        ask_listener(p, listener);
}

/* A client dials an address of its own family if there is one. */
static void take_destination(struct pending *p, const struct addr *addresses, size_t count)
{
    uint16_t port = p->destination.port;

    for (size_t i = count; i > 0; i--)
        if (p->destination.family != p->query.from.family)
            p->destination = addresses[i - 1];
    p->destination.port = port;
}

static void on_destination(void *arg, enum resolver_result result, const struct addr *addresses, size_t count)
{
    struct pending *p = arg;

    p->lookup = NULL;
    if (result == RESOLVER_OK)
        take_destination(p, addresses, count);
    else
        p->unresolved = result == RESOLVER_NO_NAME ? R_NAME_UNRESOLVED : R_NAME_TIMEOUT;
    choose(p);
}

/* What a client would dial by itself. Leaves it unknown where that needs a look-up that nobody asked for. */
static void find_destination(struct pending *p)
{
    struct resolver *resolver = p->engine->resolver;
    struct judgement *j = &p->judge; /* begun anew later */
    enum resolver_result result;
    const struct addr *addresses;
    size_t count;

    if (!explain_url_target(&p->url, &j->dial, &p->destination.port))
        choose(p); /* the examination will say what is wrong */
    else if (p->query.address.family != 0) {
        take_destination(p, &p->query.address, 1);
        choose(p);
    } else if (connect_find_local(p->generation, j)) {
        take_destination(p, j->addresses, j->address_count);
        choose(p);
    } else if (resolver_cached(resolver, host_span(&j->dial), &result, &addresses, &count))
        on_destination(p, result, addresses, count);
    else if (!p->query.resolve || (p->lookup = resolver_ask(resolver, host_span(&j->dial), on_destination, p)) == NULL)
        choose(p);
}

/* A flow that is no request: the kernel's alone, unless a transparent listener gets it. */
static void ask_flow(struct pending *p)
{
    const struct explain_packet *packet = &p->answer.packet;

    if (conf_of(p)->packet_filter.line == 0) {
        refuse_question(p, "no packet_filter is configured: what is no request is not decided here");
        return;
    }
    p->destination = p->query.address;
    judge_packet(p, p->query.flow, &p->destination);
    if (packet->verdict.fate == PACKET_INTERCEPT)
        ask_listener(p, packet->verdict.listener);
    else
        answer_packet(p);
}

/* A copy of a text of the question; empty, and kept_len beyond the end, if it does not fit. */
static struct span keep(struct pending *p, struct span text)
{
    char *at = p->kept + p->kept_len;

    if (p->kept_len > sizeof(p->kept) || text.len >= sizeof(p->kept) - p->kept_len) {
        p->kept_len = sizeof(p->kept) + 1;
        return span_of("", 0);
    }
    if (text.len > 0)
        memcpy(at, text.at, text.len);
    p->kept_len += text.len + 1; /* with the NUL that is there */
    return span_of(at, text.len);
}

/* Look-ups take longer than the caller keeps its texts. */
static bool keep_query(struct pending *p, const struct explain_query *query)
{
    p->query = *query;
    p->query.method = keep(p, query->method);
    p->query.url = keep(p, query->url);
    p->query.headers = keep(p, query->headers);
    if (query->listener != NULL)
        p->query.listener = keep(p, span_str(query->listener)).at;
    if (query->interface != NULL)
        p->query.interface = keep(p, span_str(query->interface)).at;
    explain_url_read(&p->url, &p->query);
    return p->kept_len <= sizeof(p->kept);
}

static bool wants_destination(const struct pending *p)
{
    int listener = find_listener(conf_of(p), p->query.listener);

    return conf_of(p)->packet_filter.line != 0 || (listener >= 0 && conf_of(p)->listeners[listener].mode == MODE_TRANSPARENT);
}

static struct pending *pending_new(struct engine *e)
{
    struct pending *p = e->generation != NULL ? calloc(1, sizeof(*p)) : NULL;

    if (p == NULL)
        return NULL;
    p->engine = e;
    p->generation = generation_ref(e->generation);
    p->next = e->explaining;
    p->link = &e->explaining;
    if (p->next != NULL)
        p->next->link = &p->next;
    e->explaining = p;
    return p;
}

void engine_explain(struct engine *e, const struct explain_query *query,
                    void (*done)(const struct explain_answer *answer, void *arg), void *arg)
{
    struct pending *p = pending_new(e);

    if (p == NULL) {
        struct explain_answer none = { .error = "no memory, or no generation yet" };

        done(&none, arg);
        return;
    }
    p->done = done;
    p->arg = arg;
    if (!keep_query(p, query))
        refuse_question(p, "the question is too long");
    else if (query->flow != 0)
        ask_flow(p);
    else if (wants_destination(p))
        find_destination(p);
    else
        choose(p);
}
