/* SPDX-License-Identifier: ISC */
/*
 * The socket pairs with workers and control. Workers tell of their sessions and ask for sockets; what they say is believed as far
 * as connection tracking bears it out. A session's flow must be there, and be one that workers have, not one that the kernel
 * forwards or lets in to others; only that one can a worker end. It gets a socket with the address of a client only if the client
 * has such a flow to it, and the configuration a listener that preserves addresses; and it can call only such a client hostile.
 * Nothing here waits: a message that a worker does not take is lost, an answer to control is kept until it does.
 */
#include "app/filter.h"

#include "base/clock.h"
#include "filter/spoof.h"
#include "policy/packet.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE 65536
#define MESSAGES_A_TURN 256 /* of one peer, before others have their turn */

/* An answer on its way to control. */
struct outgoing {
    struct outgoing *next;
    uint64_t request;
    size_t len, sent;
    char text[];
};

static void peer_init(struct filter *f, struct filter_peer *p, unsigned worker)
{
    *p = (struct filter_peer){ .filter = f, .worker = worker, .fd = -1 };
}

void peers_init(struct filter *f)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        peer_init(f, &f->workers[i], i);
    peer_init(f, &f->control, f->args->workers);
}

static void peer_close(struct filter_peer *p)
{
    if (p->fd < 0)
        return;
    event_free(p->event);
    event_free(p->writable);
    close(p->fd);
    while (p->first != NULL) {
        struct outgoing *next = p->first->next;

        free(p->first);
        p->first = next;
    }
    if (p != &p->filter->control)
        flows_leave_all(p->filter->flows, p->worker);
    peer_init(p->filter, p, p->worker);
}

void peers_close(struct filter *f)
{
    for (unsigned i = 0; i < f->args->workers; i++)
        peer_close(&f->workers[i]);
    peer_close(&f->control);
}

void peers_tell(struct filter *f, unsigned worker, enum ipc_type type, const void *data, size_t len)
{
    struct filter_peer *p = &f->workers[worker];

    if (p->fd >= 0 && !ipc_send(p->fd, type, data, len) && errno != EPIPE)
        log_remote("worker %u cannot be told: %s", worker, strerror(errno));
}

void peers_tell_blocked(struct filter *f, const struct network *network)
{
    for (unsigned i = 0; i < f->args->workers; i++)
        peers_tell(f, i, IPC_BLOCKED, network, sizeof(*network));
}

static bool is_for_listener(const struct filter *f, const struct addr *destination)
{
    const struct conf *conf = f->current != NULL ? f->current->conf : NULL;

    for (size_t i = 0; conf != NULL && i < conf->listener_count; i++)
        if (addr_is_bound_to(&conf->listeners[i].address, destination))
            return true;
    return false;
}

/* To a listener (no kind, or let in by a policy), intercepted, or from another worker. */
static bool is_for_workers(const struct filter *f, const struct conntrack_entry *entry)
{
    unsigned kind = packet_mark_kind(entry->mark);

    return kind == 0 || kind == PACKET_MARK_INTERCEPTED || kind == PACKET_MARK_WORKER ||
           (kind == PACKET_MARK_INPUT && is_for_listener(f, &entry->destination));
}

/* Has the worker a session with this number and client? */
static bool is_client_of(const struct filter *f, unsigned worker, uint64_t number, const struct addr *client)
{
    struct conntrack_entry entry;

    return flows_find(f->flows, worker, number, &entry) && addr_same_ip(&entry.client, client);
}

static void on_flow_opened(struct filter *f, unsigned worker, const struct wire_flow *flow)
{
    struct wire_conntrack answer = { .number = flow->number, .flow = { .state = CONNTRACK_UNTRACKED } };
    struct conntrack_entry entry;

    if (conntrack_find(f->conntrack, IPPROTO_TCP, &flow->client, &flow->destination, &entry) && is_for_workers(f, &entry)) {
        if (!flows_join(f->flows, worker, flow->number, &entry))
            log_remote("a flow of worker %u cannot be followed", worker);
        answer.flow = (struct engine_flow){ entry.id, entry.mark, entry.state, entry.server };
    }
    peers_tell(f, worker, IPC_FLOW, &answer, sizeof(answer));
}

static void on_flow_closed(struct filter *f, unsigned worker, const struct wire_flow *flow)
{
    struct conntrack_entry entry;

    if (flow->remove && flows_find(f->flows, worker, flow->number, &entry) && !conntrack_delete(f->conntrack, &entry) &&
        errno != ENOENT)
        log_remote("a flow cannot be deleted: %s", strerror(errno));
    flows_leave(f->flows, worker, flow->number);
}

static void on_socket(struct filter *f, unsigned worker, const struct wire_socket *wanted)
{
    struct wire_socket_made made = { wanted->request, 0 };
    bool may = f->current != NULL && conf_preserves_addresses(f->current->conf) &&
               is_client_of(f, worker, wanted->number, &wanted->client);
    int fd = may ? spoof_socket(f->conntrack, &wanted->client, &wanted->server) : -1, peer = f->workers[worker].fd;

    if (fd < 0)
        made.error = may ? errno : EPERM;
    if (!ipc_send_fds(peer, IPC_SOCKET_MADE, &made, sizeof(made), &fd, fd >= 0 ? 1 : 0))
        log_remote("worker %u cannot be given a socket: %s", worker, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void on_worker_message(struct filter *f, unsigned worker, const struct ipc_message *m)
{
    struct wire_flow flow;
    struct wire_hostile hostile;
    struct wire_socket wanted;

    if (m->type == IPC_FLOW_OPENED && ipc_read(m, &flow, sizeof(flow)))
        on_flow_opened(f, worker, &flow);
    else if (m->type == IPC_FLOW_CLOSED && ipc_read(m, &flow, sizeof(flow)))
        on_flow_closed(f, worker, &flow);
    else if (m->type == IPC_HOSTILE && ipc_read(m, &hostile, sizeof(hostile)) && hostile.reason < R_COUNT &&
             is_client_of(f, worker, hostile.number, &hostile.client))
        filter_on_hostile(f, &hostile.client, (enum reason)hostile.reason);
    else if (m->type == IPC_SOCKET && ipc_read(m, &wanted, sizeof(wanted)))
        on_socket(f, worker, &wanted);
}

static void on_control_message(struct filter *f, const struct ipc_message *m)
{
    uint64_t request;

    if (m->type == IPC_ASK && ipc_read(m, &request, sizeof(request)))
        filter_on_ask(f, request, ipc_rest(m, sizeof(request)));
}

static void on_peer(int fd, short what, void *arg)
{
    struct filter_peer *p = arg;
    struct filter *f = p->filter;
    enum ipc_result result = IPC_NOTHING;

    (void)what;
    clock_tick();
    for (unsigned i = 0; i < MESSAGES_A_TURN && (result = ipc_receive(fd, &f->message)) == IPC_MESSAGE; i++) {
        if (p == &f->control)
            on_control_message(f, &f->message);
        else
            on_worker_message(f, p->worker, &f->message);
        ipc_release(&f->message);
    }
    if (result == IPC_END)
        peer_close(p);
}

/* true: all of it is sent. */
static bool send_pieces(struct filter_peer *p, struct outgoing *out)
{
    while (out->sent < out->len) {
        size_t len = out->len - out->sent < PIECE ? out->len - out->sent : PIECE;
        struct wire_answer head = { out->request, out->sent + len < out->len };

        if (!ipc_send_two(p->fd, IPC_ANSWER, &head, sizeof(head), span_of(out->text + out->sent, len)))
            return false;
        out->sent += len;
    }
    return true;
}

static void send_answers(struct filter_peer *p)
{
    while (p->first != NULL && send_pieces(p, p->first)) {
        struct outgoing *next = p->first->next;

        free(p->first);
        p->first = next;
    }
    if (p->first != NULL)
        (void)event_add(p->writable, NULL);
}

static void on_writable(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    send_answers(arg);
}

void peers_answer(struct filter *f, uint64_t request, const char *text)
{
    struct outgoing **last = &f->control.first, *out;
    size_t len = strlen(text);

    out = f->control.fd >= 0 ? malloc(sizeof(*out) + len) : NULL;
    if (out == NULL)
        return;
    out->next = NULL;
    out->request = request;
    out->len = len;
    out->sent = 0;
    memcpy(out->text, text, len);
    while (*last != NULL)
        last = &(*last)->next;
    *last = out;
    send_answers(&f->control);
}

static struct filter_peer *find_peer(struct filter *f, const struct ipc_message *m)
{
    struct wire_peer who;

    if (!ipc_read(m, &who, sizeof(who)))
        return NULL;
    if (who.kind == PROCESS_CONTROL)
        return &f->control;
    return who.kind == PROCESS_WORKER && who.worker < f->args->workers ? &f->workers[who.worker] : NULL;
}

void peers_take(struct filter *f, struct ipc_message *m)
{
    struct filter_peer *p = find_peer(f, m);
    int fd = p != NULL ? ipc_take_fd(m, 0) : -1;

    if (fd < 0)
        return;
    peer_close(p);
    p->fd = fd;
    p->event = event_new(f->base, fd, EV_READ | EV_PERSIST, on_peer, p);
    p->writable = event_new(f->base, fd, EV_WRITE, on_writable, p);
    if (p->event == NULL || p->writable == NULL || event_add(p->event, NULL) < 0)
        fatal("no memory for a peer");
}
