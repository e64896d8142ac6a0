/* SPDX-License-Identifier: ISC */
/*
 * The filter process: everything that talks netlink to netfilter, with CAP_NET_ADMIN and nothing else. It commits what a generation
 * says before any other process gets it, watches that the table stays so, blocks clients, tells workers what connection tracking
 * knows of their flows, and keeps rows of the flows that pass without them.
 *
 * When it dies nothing opens: rules stay in the kernel, and its replacement takes over what it finds there. When the monitor dies
 * it ends too, and the rules stay. They go only when the monitor says so: at a clean stop, or when the configuration drops them.
 */
#include "app/filter.h"

#include "app/privileges.h"

#include "base/clock.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_S 2
#define DUMP_SHARE 20 /* dumps take at most one part in this many of the time */
#define ACCOUNTING "/proc/sys/net/netfilter/nf_conntrack_acct"

static void stop(struct filter *f, int exit_code)
{
    f->exit_code = exit_code;
    event_base_loopbreak(f->base);
}

static void on_joined(void *arg, unsigned worker, uint64_t number, const struct conntrack_entry *entry)
{
    struct wire_conntrack message = { .number = number };

    message.flow =
        (struct engine_flow){ entry->id, entry->mark, entry->destroyed ? CONNTRACK_CLOSED : entry->state, entry->server };
    peers_tell(arg, worker, IPC_FLOW, &message, sizeof(message));
}

static void on_entry(void *arg, const struct conntrack_entry *entry)
{
    struct filter *f = arg;

    flows_event(f->flows, entry);
}

/* All flows, for what events did not tell: byte counts, and what was lost. Slow dumps come less often. */
static void dump(struct filter *f)
{
    uint64_t began = clock_ms();

    flows_dump_begin(f->flows);
    if (conntrack_dump(f->conntrack, on_entry, f))
        flows_dump_end(f->flows);
    else
        log_error("connection tracking cannot be listed: %s", strerror(errno));
    clock_tick();
    f->dump_ms = clock_ms() + (clock_ms() - began) * DUMP_SHARE;
}

static void on_conntrack(int fd, short what, void *arg)
{
    struct filter *f = arg;
    bool lost = false;

    (void)fd;
    (void)what;
    clock_tick();
    conntrack_read(f->conntrack, on_entry, f, &lost);
    if (lost) {
        log_remote("events of connection tracking were lost: listing all flows");
        f->dump_ms = 0;
    }
}

/* Without it the kernel counts no bytes of flows. Only possible once connection tracking is there: after the first commit. */
static void count_bytes(void)
{
    int fd = open(ACCOUNTING, O_RDWR | O_CLOEXEC);
    char now = '0';

    if (fd >= 0 && read(fd, &now, 1) == 1 && now != '1') {
        if (pwrite(fd, "1\n", 2, 0) == 2)
            log_info("the kernel counts the bytes of flows from now on (net.netfilter.nf_conntrack_acct = 1)");
        else
            log_warn(ACCOUNTING ": %s: bytes of forwarded flows are not counted", strerror(errno));
    } else if (fd < 0)
        log_warn(ACCOUNTING ": %s: bytes of forwarded flows may not be counted", strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void tell_monitor(struct filter *f, enum ipc_type type, const void *data, size_t len)
{
    if (!ipc_send(f->args->ipc, type, data, len))
        log_error("the monitor cannot be told: %s", strerror(errno));
}

static void refuse(struct filter *f, const char *error)
{
    tell_monitor(f, IPC_REFUSED, error, strlen(error));
    if (f->current == NULL)
        stop(f, 1);
}

static void judge_again(struct filter *f)
{
    size_t deleted = flows_judge_again(f->flows, f->conntrack);

    if (deleted > 0)
        log_info("%zu flows that the policy does not open were ended", deleted);
}

/* The generation is in force: flows are seen, and judged, with its eyes. */
static void adopt(struct filter *f, struct generation *g)
{
    bool first = f->current == NULL;

    generation_unref(f->current);
    f->current = g;
    flows_set_generation(f->flows, g);
    if (first)
        count_bytes();
    judge_again(f);
    tell_monitor(f, IPC_ACCEPTED, &g->number, sizeof(g->number));
}

static void commit(struct filter *f)
{
    struct generation *g = generation_finish(&f->inbox);
    char error[NFT_ERROR] = "no packet filter is configured";

    if (g == NULL)
        refuse(f, f->inbox.error);
    else if (g->conf->packet_filter.line != 0 && filter_commit(f, g, error))
        adopt(f, g);
    else {
        generation_unref(g);
        refuse(f, error);
    }
}

/* Until now another posternd followed the flows. */
static void serve(struct filter *f)
{
    flows_retire(f->flows, false);
    if (f->current != NULL)
        judge_again(f);
}

/* Another posternd may commit the table now, or may not any more: then all must be as it was. */
static void stand_by(struct filter *f, bool on)
{
    f->standby = on;
    if (!on)
        filter_check_soon(f);
}

/* For good. */
static void hand_over(struct filter *f)
{
    f->standby = true;
    flows_retire(f->flows, true);
}

static void on_monitor_message(struct filter *f, struct ipc_message *m)
{
    uint32_t remove, on;

    if (m->type == IPC_GENERATION)
        generation_begin(&f->inbox, m);
    else if (m->type == IPC_HOSTSETS)
        generation_hostsets(&f->inbox, m);
    else if (m->type == IPC_COMMIT)
        commit(f);
    else if (m->type == IPC_PEER)
        peers_take(f, m);
    else if (m->type == IPC_PING)
        process_answer_ping(f->args->ipc);
    else if (m->type == IPC_LOG_LEVEL)
        process_set_log_level(m);
    else if (m->type == IPC_STANDBY && ipc_read(m, &on, sizeof(on)))
        stand_by(f, on);
    else if (m->type == IPC_HAND_OVER)
        hand_over(f);
    else if (m->type == IPC_SERVE)
        serve(f);
    else if (m->type == IPC_STOP && ipc_read(m, &remove, sizeof(remove)))
        stop(f, remove && !filter_remove(f) ? 1 : 0);
}

static void on_monitor(int fd, short what, void *arg)
{
    struct filter *f = arg;
    enum ipc_result result;

    (void)what;
    clock_tick();
    while ((result = ipc_receive(fd, &f->message)) == IPC_MESSAGE) {
        on_monitor_message(f, &f->message);
        ipc_release(&f->message);
    }
    if (result != IPC_END)
        return;
    log_error("the monitor is gone: the rules stay");
    stop(f, 0);
}

static void on_route(int fd, short what, void *arg)
{
    struct filter *f = arg;

    (void)fd;
    (void)what;
    (void)route_watch_read(f->route); /* it forgets its answers; nothing else is derived from them */
}

static void on_late(int fd, short what, void *arg)
{
    struct filter *f = arg;

    (void)fd;
    (void)what;
    clock_tick();
    f->check_ms = 0;
    filter_check(f);
}

static void on_tick(int fd, short what, void *arg)
{
    struct filter *f = arg;

    (void)fd;
    (void)what;
    clock_tick();
    if (f->current == NULL)
        return;
    filter_check(f);
    filter_blocks_tick(f);
    if (clock_ms() >= f->dump_ms)
        dump(f);
}

static void map_shared(struct filter *f)
{
    const struct process_args *a = f->args;

    f->shard = shard_map(a->shards[a->worker], a->rows, true);
    f->stats = shared_map_filter(a->filter_stats, true);
    if (f->shard == NULL || f->stats == NULL || !shared_map_ring(&f->log, a->rings[a->worker], true))
        fatal("shared memory cannot be mapped: %s", strerror(errno));
    memcpy(f->table, f->stats->table, sizeof(f->table));
    f->text = atomic_load_explicit(&f->stats->text, memory_order_relaxed);
    f->listing = atomic_load_explicit(&f->stats->listing, memory_order_relaxed);
}

static void open_flows(struct filter *f)
{
    struct flows_args args = {
        .shard = f->shard, .worker = f->args->worker, .log = &f->log, .log_wake = f->args->log_wake, .joined = on_joined, .arg = f
    };

    args.first_number = f->args->first_number + count_read(f->shard, COUNT_SESSIONS_OPENED) + 1;
    f->conntrack = conntrack_open();
    if (f->conntrack == NULL)
        fatal("connection tracking: %s", strerror(errno));
    f->route = args.route = route_open();
    if (f->route == NULL)
        fatal("routing: %s", strerror(errno));
    f->flows = flows_new(&args);
    f->blocks = blocks_new();
    f->hostile = hostile_new();
    if (f->flows != NULL && f->args->waits)
        flows_retire(f->flows, true);
    if (f->flows == NULL || f->blocks == NULL || f->hostile == NULL)
        fatal("no memory");
}

static void start(struct filter *f)
{
    static const struct timeval tick = { TICK_S, 0 };

    json_object_seed(0);
    (void)getprotobyname("none"); /* loads what the C library needs for nftables' questions: later no code can be loaded */
    clock_tick();
    map_shared(f);
    open_flows(f);
    peers_init(f);
    f->base = event_base_new();
    if (f->base == NULL)
        fatal("no event loop: %s", strerror(errno));
    f->monitor_event = event_new(f->base, f->args->ipc, EV_READ | EV_PERSIST, on_monitor, f);
    f->conntrack_event = event_new(f->base, conntrack_fd(f->conntrack), EV_READ | EV_PERSIST, on_conntrack, f);
    f->route_event = event_new(f->base, route_watch_fd(f->route), EV_READ | EV_PERSIST, on_route, f);
    f->late_event = event_new(f->base, -1, 0, on_late, f);
    f->tick_event = event_new(f->base, -1, EV_PERSIST, on_tick, f);
    if (f->late_event == NULL || f->monitor_event == NULL || event_add(f->monitor_event, NULL) < 0 || f->conntrack_event == NULL ||
        event_add(f->conntrack_event, NULL) < 0 || f->route_event == NULL || event_add(f->route_event, NULL) < 0 ||
        f->tick_event == NULL || event_add(f->tick_event, &tick) < 0)
        fatal("the monitor cannot be listened to");
    privileges_close_door(f->args->sandbox, PROCESS_FILTER);
}

static void end(struct filter *f)
{
    peers_close(f);
    filter_close(f);
    event_free(f->monitor_event);
    event_free(f->conntrack_event);
    event_free(f->route_event);
    event_free(f->late_event);
    event_free(f->tick_event);
    event_base_free(f->base);
    flows_free(f->flows);
    conntrack_close(f->conntrack);
    route_close(f->route);
    blocks_free(f->blocks);
    hostile_free(f->hostile);
    generation_unref(f->current);
    shard_unmap(f->shard);
    shared_unmap_ring(&f->log);
    shared_unmap_filter(f->stats);
}

int filter_main(const struct process_args *args)
{
    static struct filter f;

    f.args = args;
    start(&f);
    event_base_dispatch(f.base);
    end(&f);
    return f.exit_code;
}
