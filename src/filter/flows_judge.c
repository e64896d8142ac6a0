/* SPDX-License-Identifier: ISC */
/*
 * Flows under a new policy. The ruleset judges the first packet of a flow and lets the later ones follow, so a flow that was opened
 * under an old policy would live on: here each is judged by the same function that explains first packets, and what would not be
 * opened any more is deleted. Its later packets then are first packets, and the ruleset has its say. The mark of what stays gets
 * the policy's number of now, because numbers are places in the configuration and may have moved.
 *
 * Fail closed: what cannot be judged (the protocol is none that policies know, the flow that it is related to is gone) is deleted.
 */
#include "filter/flows_state.h"

#include "filter/sock_destroy.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define REVOKE 0u /* instead of a mark */

static unsigned protocol_of(uint8_t protocol)
{
    switch (protocol) {
    case IPPROTO_TCP:
        return CONF_TCP;
    case IPPROTO_UDP:
        return CONF_UDP;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
        return CONF_ICMP;
    }
    return 0;
}

static bool comes_from(const struct conf_forward *forward, const char *zone)
{
    for (size_t i = 0; i < forward->from.count; i++)
        if (strcmp(forward->from.items[i], zone) == 0)
            return true;
    return false;
}

/* Is there still a port forward that does the same? */
static uint32_t translated_mark(const struct flows *f, const struct flow *flow)
{
    const struct conf *conf = f->generation->conf;
    const struct conf_packet_filter *filter = &conf->packet_filter;
    const struct conntrack_entry *e = &flow->entry;
    int in, out;

    flow_zones(f, flow, &in, &out);
    for (size_t i = 0; i < filter->forward_count; i++) {
        const struct conf_forward *forward = &filter->forwards[i];

        if (forward->protocol == protocol_of(e->protocol) && forward->port == e->destination.port &&
            addr_eq(&forward->to, &e->server) && comes_from(forward, zones_name(conf, in)))
            return packet_mark(PACKET_MARK_TRANSLATED, (int)i);
    }
    return REVOKE;
}

static struct packet_verdict judge(const struct flows *f, const struct flow *flow)
{
    const struct conntrack_entry *e = &flow->entry;
    struct packet packet = { .protocol = protocol_of(e->protocol),
                             .client = e->client,
                             .server = e->server,
                             .local = packet_mark_kind(e->mark) == PACKET_MARK_INPUT };

    if (packet.protocol == CONF_ICMP)
        packet.client.port = 0; /* there it is the id */
    flow_zones(f, flow, &packet.zone_in, &packet.zone_out);
    return packet_judge(f->generation->rules, &packet);
}

static uint32_t forwarded_mark(const struct flows *f, const struct flow *flow)
{
    struct packet_verdict verdict;

    if (protocol_of(flow->entry.protocol) == 0)
        return REVOKE;
    verdict = judge(f, flow);
    return verdict.fate == PACKET_FORWARD ? packet_mark(PACKET_MARK_FORWARDED, verdict.policy) : REVOKE;
}

/* Those stay in any case: who reloads over ssh stays logged in. Their mark names the policy that would let them in, or none. */
static uint32_t input_mark(const struct flows *f, const struct flow *flow)
{
    struct packet_verdict verdict = { .fate = PACKET_DROP };

    if (protocol_of(flow->entry.protocol) != 0)
        verdict = judge(f, flow);
    return packet_mark(PACKET_MARK_INPUT, verdict.fate == PACKET_INPUT ? verdict.policy : -1);
}

/* The mark that the ruleset of now would give a flow that no helper expected; REVOKE: it would not let it pass. */
static uint32_t own_mark(const struct flows *f, const struct flow *flow)
{
    switch (packet_mark_kind(flow->entry.mark)) {
    case PACKET_MARK_TRANSLATED:
        return translated_mark(f, flow);
    case PACKET_MARK_FORWARDED:
        return forwarded_mark(f, flow);
    case PACKET_MARK_INPUT:
        return input_mark(f, flow);
    }
    return REVOKE;
}

/* A related flow bears the mark of its master, and goes its way. */
static uint32_t new_mark(const struct flows *f, const struct flow *flow)
{
    const struct conntrack_entry *e = &flow->entry;
    const struct flow *master;

    if (!e->related)
        return own_mark(f, flow);
    if (packet_mark_kind(e->mark) == PACKET_MARK_INPUT)
        return e->mark & PACKET_MARK_MASK;
    master = flow_by_tuple(f, e->master_protocol, &e->master_client, &e->master_destination);
    return master != NULL && !master->entry.related ? own_mark(f, master) : REVOKE;
}

struct judging {
    struct conntrack *conntrack;
    size_t deleted;
};

/* What is gone already, or cannot be deleted, keeps its row until its event or the next dump tells. */
static void revoke(struct flows *f, struct flow *flow, struct judging *judging)
{
    if (!conntrack_delete(judging->conntrack, &flow->entry)) {
        if (errno != ENOENT)
            log_error("a flow that the policy no longer allows cannot be deleted: %s", strerror(errno));
        return;
    }
    judging->deleted++;
    flow->why = R_REVOKED;
    if (flow->row != NULL)
        flow_row_end(f, flow);
    flow_remove(f, flow);
}

static void renew(struct flows *f, struct flow *flow, uint32_t mark, struct conntrack *c)
{
    struct conntrack_entry *e = &flow->entry;

    if (mark != (e->mark & PACKET_MARK_MASK) && !conntrack_remark(c, e, mark)) {
        if (errno != ENOENT)
            log_error("the mark of a flow cannot be renewed: %s", strerror(errno));
        return;
    }
    e->mark = (e->mark & ~PACKET_MARK_MASK) | mark;
    if (flow->row != NULL)
        flow_row_decided(f, flow);
}

static void judge_one(struct flows *f, struct flow *flow, void *arg)
{
    struct judging *judging = arg;
    uint32_t mark;

    if (flow->joined || flow->left || !flow_is_governed(&flow->entry))
        return;
    mark = new_mark(f, flow);
    if (mark == REVOKE)
        revoke(f, flow, judging);
    else
        renew(f, flow, mark, judging->conntrack);
}

static void on_entry(void *arg, const struct conntrack_entry *entry)
{
    flows_event(arg, entry);
}

size_t flows_judge_again(struct flows *f, struct conntrack *c)
{
    struct judging judging = { .conntrack = c };

    if (f->generation == NULL)
        return 0;
    flows_dump_begin(f);
    if (conntrack_dump(c, on_entry, f))
        flows_dump_end(f);
    else
        log_error("connections cannot be listed: %s; those that were known are judged", strerror(errno));
    flow_each(f, judge_one, &judging);
    return judging.deleted;
}

bool flows_end(struct conntrack *c, const struct conntrack_entry *entry, int *socket_error)
{
    if (packet_mark_kind(entry->mark) == PACKET_MARK_INPUT && !sock_destroy(entry))
        *socket_error = errno;
    return conntrack_delete(c, entry);
}

struct blocking {
    struct conntrack *conntrack;
    const struct network *clients;
    size_t deleted;
    int error; /* of the last socket that could not be ended; 0: none */
};

/* A session's flow is its worker's to end, with what its protocol says at the end. */
static bool is_to_be_blocked(const struct blocking *b, const struct flow *flow)
{
    return flow_is_governed(&flow->entry) && !flow->joined && !flow->left && network_has(b->clients, &flow->entry.client);
}

static void block_one(struct flows *f, struct flow *flow, void *arg)
{
    struct blocking *b = arg;

    (void)f;
    if (!is_to_be_blocked(b, flow))
        return;
    flow->why = R_BLOCKED;
    if (flows_end(b->conntrack, &flow->entry, &b->error))
        b->deleted++;
}

size_t flows_block(struct flows *f, struct conntrack *c, const struct network *clients)
{
    struct blocking b = { c, clients, 0, 0 };

    flow_each(f, block_one, &b);
    if (b.error != 0)
        log_warn("sockets on this machine cannot be ended: %s; what blocked clients have open goes on after the block",
                 strerror(b.error));
    return b.deleted;
}
