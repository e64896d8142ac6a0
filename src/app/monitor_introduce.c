/* SPDX-License-Identifier: ISC */
/*
 * Introductions: what a child is told when it has just been born, and the socket pairs between children, over which they speak
 * without the monitor. Control speaks with every worker and with filter, every worker with filter and minter. A pair that broke
 * because one of the two died is made anew when its replacement comes; filter's when it has committed and minter's when it has a
 * key, so that nobody waits for one that cannot answer yet.
 */
#include "app/monitor.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Sockets on their way to a worker, as many a message as it can carry. */
struct batch {
    struct addr addresses[IPC_FDS];
    int fds[IPC_FDS];
    size_t count;
};

static bool send_batch(const struct child *c, enum ipc_type type, struct batch *b)
{
    size_t count = b->count;

    b->count = 0;
    return count == 0 ||
           ipc_send_fds(c->ipc, type, b->addresses, count * sizeof(b->addresses[0]), b->fds, type == IPC_LISTEN ? count : 0);
}

bool child_send_listeners(const struct monitor *m, const struct child *c, enum ipc_type type, const struct listeners *from,
                          const struct listeners *without)
{
    struct batch b = { .count = 0 };
    int fds[WORKERS_MAX];

    for (size_t i = 0; i < from->count; i++) {
        size_t count =
            listeners_has(without, &from->items[i].address) ? 0 : listening_of(&from->items[i], c->index, m->shared.workers, fds);

        for (size_t k = 0; k < count; k++) {
            if (b.count == IPC_FDS && !send_batch(c, type, &b))
                return false;
            b.addresses[b.count] = from->items[i].address;
            b.fds[b.count++] = fds[k];
        }
    }
    return send_batch(c, type, &b);
}

/* Filter that is started by a reload gets what it is asked about; everybody else what is in force. */
static bool send_generation(struct monitor *m, struct child *c)
{
    const struct listeners none = { 0, NULL };
    const struct blueprint *next = c->kind == PROCESS_FILTER ? m->reload.next : NULL;
    const struct blueprint *b = next != NULL && next->conf->packet_filter.line != 0 ? next : m->current;

    return monitor_send_generation(m, b, c) &&
           (c->kind != PROCESS_WORKER || m->upgrade.role == UPGRADE_WAITING ||
            child_send_listeners(m, c, IPC_LISTEN, &m->listeners, &none)) &&
           ipc_send(c->ipc, IPC_COMMIT, &b->number, sizeof(b->number));
}

static bool speak(const struct child *a, const struct child *b)
{
    if (a->kind == PROCESS_MINTER || b->kind == PROCESS_MINTER)
        return a->kind == PROCESS_WORKER || b->kind == PROCESS_WORKER;
    return a->kind != b->kind && a->kind != PROCESS_LOGGER && b->kind != PROCESS_LOGGER;
}

static bool can_be_connected(const struct child *c)
{
    return c->ipc >= 0 && ((c->kind != PROCESS_FILTER && c->kind != PROCESS_MINTER) || c->ready);
}

static void connect_two(struct child *a, struct child *b)
{
    struct wire_peer to_a = { b->kind, b->index }, to_b = { a->kind, a->index };
    char name_a[32], name_b[32];
    int pair[2];

    if (!ipc_pair(pair)) {
        log_error("%s and %s cannot be connected: %s", child_name(a, name_a), child_name(b, name_b), strerror(errno));
        return;
    }
    if (!ipc_send_fds(a->ipc, IPC_PEER, &to_a, sizeof(to_a), &pair[0], 1) ||
        !ipc_send_fds(b->ipc, IPC_PEER, &to_b, sizeof(to_b), &pair[1], 1))
        log_error("%s and %s cannot be connected: %s", child_name(a, name_a), child_name(b, name_b), strerror(errno));
    close(pair[0]);
    close(pair[1]);
}

void child_connect(struct monitor *m, struct child *c)
{
    for (size_t i = 0; i < m->child_count; i++)
        if (speak(c, &m->children[i]) && can_be_connected(c) && can_be_connected(&m->children[i]))
            connect_two(c, &m->children[i]);
}

bool child_introduce(struct monitor *m, struct child *c)
{
    const uint32_t on = true;

    if (c->kind == PROCESS_LOGGER) {
        monitor_send_log(m);
        return true;
    }
    if (c->kind == PROCESS_MINTER)
        return minter_introduce(m, c); /* its peers come when it is ready */
    if (c->kind == PROCESS_FILTER && upgrade_tries(m) && !ipc_send(c->ipc, IPC_STANDBY, &on, sizeof(on)))
        return false;
    if (!send_generation(m, c))
        return false;
    child_connect(m, c);
    return true;
}
