/* SPDX-License-Identifier: ISC */
/*
 * The logger process: takes records from the ring of every writer, makes lines of them and writes them in batches. It is a process
 * of its own so that a disk that hangs stops nothing else: the rings fill, new records are dropped and counted, and when the disk
 * is back the lines go on. It opens no file: the monitor opens and passes descriptors. It ends when the last writer and the monitor
 * have ended and the rings are empty.
 */
#include "app/process.h"

#include "app/access_json.h"
#include "app/ipc.h"
#include "app/log_output.h"
#include "app/privileges.h"
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define LINGER_MS 10     /* after records came: wait for more without being woken for each */
#define RETRY_MS 1000    /* the rest of a line that the disk refused */
#define LAST_WAIT_MS 100 /* at the end, for a reader that does not read: LAST_WAITS of these */
#define LAST_WAITS 20
#define SAY_LOST_EVERY 10000 /* lines lost between two warnings */

struct logger {
    const struct process_args *args;
    struct ring rings[WRITERS_MAX];
    struct shard *shards[WRITERS_MAX];
    struct log_stats *stats;
    struct log_output output;
    struct ipc_message message;
    struct record record; /* as it was taken; believed in nothing */
    uint64_t said_lost;
    unsigned last_waits;
    int ipc;
    bool told; /* where to write, or that nothing is to be written */
    bool over; /* no writer and no monitor is left */
};

static void map_shared(struct logger *l)
{
    const struct process_args *a = l->args;

    for (unsigned i = 0; i < a->writers; i++) {
        l->shards[i] = shard_map(a->shards[i], a->rows, false);
        if (l->shards[i] == NULL || !shared_map_ring(&l->rings[i], a->rings[i], true))
            fatal("shared memory cannot be mapped: %s", strerror(errno));
    }
    l->stats = shared_map_stats(a->log_stats, true);
    if (l->stats == NULL)
        fatal("shared memory cannot be mapped: %s", strerror(errno));
}

/* Moves records into the batch, a writer after the other; true if there was one. */
static bool take_records(struct logger *l)
{
    bool any = false;
    char *line;

    for (unsigned i = 0; i < l->args->writers; i++)
        while ((line = log_output_room(&l->output, ACCESS_LINE)) != NULL && ring_take(&l->rings[i], &l->record)) {
            if (l->output.fd >= 0)
                log_output_added(&l->output, access_line(&l->record, l->shards[i], line));
            any = true;
        }
    return any;
}

static void publish(struct logger *l)
{
    const struct log_output *o = &l->output;

    atomic_store_explicit(&l->stats->written, o->written, memory_order_relaxed);
    atomic_store_explicit(&l->stats->lost, o->lost, memory_order_relaxed);
    if (o->lost == l->said_lost || (l->said_lost != 0 && o->lost - l->said_lost < SAY_LOST_EVERY))
        return;
    log_warn("%llu lines of the access log could not be written", (unsigned long long)o->lost);
    l->said_lost = o->lost;
}

static void on_message(struct logger *l, struct ipc_message *m)
{
    if (m->type == IPC_LOG_FILE) {
        log_output_set(&l->output, ipc_take_fd(m, 0));
        l->told = true;
    } else if (m->type == IPC_PING)
        process_answer_ping(l->ipc);
    else if (m->type == IPC_LOG_LEVEL)
        process_set_log_level(m);
}

static void read_monitor(struct logger *l)
{
    enum ipc_result result;

    while ((result = ipc_receive(l->ipc, &l->message)) == IPC_MESSAGE) {
        on_message(l, &l->message);
        ipc_release(&l->message);
    }
    if (result == IPC_END) {
        close(l->ipc);
        l->ipc = -1;
    }
}

static bool all_rings_sleep(struct logger *l)
{
    bool sleep = true;

    for (unsigned i = 0; i < l->args->writers; i++)
        sleep = ring_sleep(&l->rings[i]) && sleep;
    return sleep;
}

/* Waits: for room in the output if it is blocked, or else for records. */
static void wait_for_more(struct logger *l, bool blocked, int ms)
{
    struct pollfd fds[4] = { { .fd = l->ipc, .events = POLLIN },
                             { .fd = l->over ? -1 : l->args->alive, .events = POLLIN },
                             { .fd = blocked ? -1 : l->args->log_wake, .events = POLLIN },
                             { .fd = blocked ? l->output.fd : -1, .events = POLLOUT } };
    uint64_t wakes;

    if (poll(fds, 4, ms) < 0 && errno != EINTR)
        fatal("poll: %s", strerror(errno));
    if (fds[0].revents != 0)
        read_monitor(l);
    if (fds[1].revents != 0)
        l->over = true;
    if (fds[2].revents != 0 && read(l->args->log_wake, &wakes, sizeof(wakes)) < 0 && errno != EAGAIN)
        log_error("the wake-up descriptor: %s", strerror(errno));
}

/* One turn; false: everything is written and nobody is left who could say more. */
static bool turn(struct logger *l)
{
    bool any = take_records(l), full = log_output_room(&l->output, ACCESS_LINE) == NULL, flushed = log_output_flush(&l->output);

    publish(l);
    if (!flushed && l->over && ++l->last_waits > LAST_WAITS)
        return false;
    if (!flushed)
        wait_for_more(l, true, l->over ? LAST_WAIT_MS : -1);
    else if (any)
        wait_for_more(l, false, l->over || full ? 0 : LINGER_MS); /* a full batch left records behind: no rest */
    else if (l->over)
        return false;
    else if (all_rings_sleep(l))
        wait_for_more(l, false, l->output.used > 0 ? RETRY_MS : -1);
    return true;
}

/* Until it is known where to write: the logger before this one may have left records, which are not to be thrown away. */
static void wait_for_output(struct logger *l)
{
    struct pollfd fd = { .fd = l->ipc, .events = POLLIN };

    while (!l->told && l->ipc >= 0) {
        if (poll(&fd, 1, -1) < 0 && errno != EINTR)
            fatal("poll: %s", strerror(errno));
        read_monitor(l);
    }
}

int logger_main(const struct process_args *args)
{
    static struct logger l;
    uint16_t none = 0;

    l.args = args;
    l.ipc = args->ipc;
    log_output_init(&l.output);
    map_shared(&l);
    l.output.written = atomic_load_explicit(&l.stats->written, memory_order_relaxed);
    l.output.lost = l.said_lost = atomic_load_explicit(&l.stats->lost, memory_order_relaxed);
    privileges_close_door(args->sandbox, PROCESS_LOGGER);
    if (!ipc_send(l.ipc, IPC_ACCEPTED, &none, sizeof(none)))
        fatal("the monitor cannot be told: %s", strerror(errno));
    wait_for_output(&l);
    while (turn(&l))
        continue;
    for (unsigned i = 0; i < args->writers; i++) {
        shared_unmap_ring(&l.rings[i]);
        shard_unmap(l.shards[i]);
    }
    shared_unmap_stats(l.stats);
    return 0;
}
